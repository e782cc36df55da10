// SPDX-License-Identifier: BSD-2-Clause
//! Targets of the router's bus: whatever a ubusd, or anyone behind it, sends.

use mlvpn_core::words::time::{Duration, Instant};
use mlvpnd::blobmsg::{Builder, Table};
use mlvpnd::frames::{Frames, MAX_RECEIVED};
use mlvpnd::session::{Heard, Published, Session};

/// A table that is accepted means the same when it is written again, and then stays the same to the byte.
pub fn blobmsg(data: &[u8]) {
    let Ok(table) = Table::parse(data) else { return };
    let rewrite = |table: &Table<'_>| {
        let mut copy = Builder::new();
        copy.fields(table);
        copy.finish().expect("no longer than what it was read from")
    };
    let once = rewrite(&table);
    let read = Table::parse(&once).expect("it was written");
    let (before, after) = (crate::ubus::to_json(&table), crate::ubus::to_json(&read));
    assert_eq!(before, after);
    assert_eq!(rewrite(&read), once);
}

/// A session that is sent anything in any pieces neither panics nor holds more than it may, and answers every call.
///
/// Input: a byte for the size of the pieces, then the stream.
pub fn ubus(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let published = Published { path: "mlvpn", methods: &[("status", &[])] };
    let (mut session, mut frames, mut now) = (Session::new(published, Some("home")), Frames::new(), Instant::ORIGIN);
    session.begin();
    for piece in stream.chunks(usize::from(cut).max(1)) {
        frames.feed(piece);
        loop {
            match frames.take() {
                Ok(Some(frame)) => serve(&mut session, frame.header, frames.body(&frame), now),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(frames.held() <= MAX_RECEIVED + 2 * 256, "{} bytes are held", frames.held());
        now += Duration::from_secs(1);
        session.handle_timeout(now);
        assert!(session.deadline().is_none_or(|at| at > now), "what is due was not done");
        session.sent(usize::from(cut) * 16);
    }
}

fn serve(session: &mut Session, header: mlvpnd::message::Header, body: &[u8], now: Instant) {
    let waiting = session.outbox().len();
    if let Heard::Call(call) = session.handle(header, body, now) {
        session.answer(&call, Ok(&[])).expect("a short answer");
        assert!(session.outbox().len() >= waiting);
    }
}

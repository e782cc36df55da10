// SPDX-License-Identifier: BSD-2-Clause
//! What a sender sends, and when it may.

use mlvpn_core::words::time::{Duration, Instant};

use super::{Forced, Handshake, Sender};
use crate::simulation::tcp::congestion::Congestion;
use crate::simulation::tcp::recovery::clock;
use crate::simulation::tcp::round_trip::RoundTrip;
use crate::simulation::tcp::segment::{Ecn, Segment, narrow};

impl Sender {
    /// The next segment.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Segment> {
        match self.handshake {
            Handshake::Due(at) if at <= now => {
                self.timers.failures += 1;
                (self.last_sent, self.handshake) =
                    (now, Handshake::Due(now + RoundTrip::default().timeout(self.timers.failures - 1)));
                return Some(self.syn(now));
            }
            Handshake::Due(_) => return None,
            Handshake::Done { owes: true } => {
                (self.handshake, self.timers.failures) = (Handshake::Done { owes: false }, 0);
                return Some(self.segment(None, now));
            }
            Handshake::Done { owes: false } => {}
        }
        match self.forced.take() {
            Some(Forced::Copy(index)) if index >= self.board.first() => return Some(self.send(Some(index), now)),
            Some(Forced::New) => return Some(self.send(None, now)),
            _ => {}
        }
        if self.is_paced_out() && micros_after(self.paced_until) > now {
            return None;
        }
        if self.board.in_flight() >= self.window.segments {
            self.is_window_limited = true;
            return None;
        }
        if let Some(index) = self.board.next_resend() {
            return Some(self.send(Some(index), now));
        }
        if !self.has_room_at_receiver() || !self.is_handed_over(now) {
            self.is_window_limited = false;
            return None;
        }
        Some(self.send(None, now))
    }

    pub(super) fn syn(&self, now: Instant) -> Segment {
        Segment {
            source: self.settings.ports.0,
            destination: self.settings.ports.1,
            is_syn: true,
            max_payload: Some(self.settings.largest_payload),
            window_bytes: 64_240,
            timestamps: (clock(now), 0),
            ..Segment::default()
        }
    }

    /// A data segment, or an acknowledgement without data.
    pub(super) fn segment(&mut self, index: Option<u64>, now: Instant) -> Segment {
        let is_capable = self.settings.ecn && index.is_some();
        Segment {
            source: self.settings.ports.0,
            destination: self.settings.ports.1,
            sequence: narrow(1 + index.unwrap_or_default() * self.payload),
            acknowledged: Some(1),
            window_bytes: 64_240,
            timestamps: (clock(now), self.echo),
            payload: if index.is_some() { usize::try_from(self.payload).unwrap_or(0) } else { 0 },
            ecn: if is_capable { Ecn::Capable } else { Ecn::Not },
            is_reduced: is_capable && std::mem::take(&mut self.tells_reduced),
            ..Segment::default()
        }
    }

    pub(super) fn send(&mut self, again: Option<u64>, now: Instant) -> Segment {
        if self.board.outstanding() == 0
            && let Congestion::Cubic(cubic) = &mut self.congestion
        {
            cubic.resume(now.since(self.last_sent));
        }
        let index = match again {
            Some(index) => {
                self.board.resend(index, now);
                index
            }
            None => self.board.send(now, false),
        };
        self.sendings.segments += 1;
        self.sendings.copies += u64::from(again.is_some());
        self.recovery.note_sent(again.is_some(), now);
        self.last_sent = now;
        self.most_outstanding = if self.window.is_slow_start() {
            self.board.outstanding().max(self.most_outstanding.min(self.window.segments))
        } else {
            self.board.outstanding()
        };
        if let Some(spacing) = self.congestion.spacing() {
            self.paced_until = self.paced_until.max(now.micros() * 1_000) + spacing;
        }
        // The oldest one gets its whole time anew when it is sent again.
        if self.timers.timeout.is_none() || again == Some(self.board.first()) {
            self.timers.timeout = Some(now + self.rtt.timeout(self.timers.failures));
        }
        if again.is_none() {
            self.arm_probe(now);
        }
        self.segment(Some(index), now)
    }

    pub(super) const fn is_paced_out(&self) -> bool {
        self.paced_until > 0
    }

    /// As far as is known without the time.
    pub(super) fn wants_to_send(&self) -> bool {
        self.forced.is_some()
            || (self.board.in_flight() < self.window.segments
                && (self.board.next_resend().is_some() || self.has_room_at_receiver()))
    }

    pub(super) fn has_room_at_receiver(&self) -> bool {
        (self.board.next() + 1) * self.payload < self.receiver_edge
    }

    pub(super) fn is_handed_over(&self, now: Instant) -> bool {
        self.settings.application.is_none_or(|rate| {
            let bytes = u128::from(rate) * u128::from(now.since(self.opened_at).micros()) / 1_000_000;
            u128::from((self.board.next() + 1) * self.payload) <= bytes
        })
    }

    /// When the application hands over the next segment, while nothing else holds it back.
    pub(super) fn next_handed_over(&self, rate: u64) -> Option<Instant> {
        let bytes = u128::from((self.board.next() + 1) * self.payload) * 1_000_000;
        let micros = u64::try_from(bytes.div_ceil(u128::from(rate.max(1)))).unwrap_or(u64::MAX);
        let may = self.board.in_flight() < self.window.segments && self.has_room_at_receiver();
        (may && self.payload > 0).then(|| self.opened_at + Duration::from_micros(micros))
    }
}

/// The first whole microsecond not before `nanos` nanoseconds.
pub(super) const fn micros_after(nanos: u64) -> Instant {
    Instant::from_micros(nanos.div_ceil(1_000))
}

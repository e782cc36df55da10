// SPDX-License-Identifier: BSD-2-Clause
//! One session of protocol 2: its two keys, and per link the counter of what is sent and the window of what was seen.

use crate::memory::packet::Packet;
use crate::memory::two::{DATA_HEADER, DATA_OVERHEAD, DataFlags, DataHeader, data_nonce};
use crate::state::handshake::Established;
use crate::state::replay::{ReplayWindow, Seen};
use crate::state::session_key::{Aead, SessionKey};
use crate::words::drops::DropReason;
use crate::words::ids::{LinkId, SessionIndex};
use crate::words::limits::REPLAY_WORDS;
use crate::words::time::{Duration, Instant};

/// After this long in use the client makes new keys (WireGuard's REKEY_AFTER_TIME).
pub const REKEY_AFTER: Duration = Duration::from_secs(120);

/// After this many packets on one link it does so earlier: far below where 32 bits on the wire could mislead, and where
/// the AEAD's bounds (RFC 9771) begin to matter.
pub const REKEY_AFTER_PACKETS: u64 = 1 << 31;

/// A counter never passes this, whatever happens: then the session cannot send.
const COUNTER_LIMIT: u64 = 1 << 48;

/// The right to send one packet of a session. Moved into [`Session::seal`], so that no nonce is used twice.
#[derive(Debug)]
#[must_use = "a stamp that is not sealed is a packet number lost"]
pub struct Stamp {
    header: DataHeader,
    nonce: [u8; 12],
}

/// What is to stand in the header of a packet besides its session and counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Label {
    /// The packet's flags.
    pub flags: DataFlags,
    /// The ordering domain; 0 for none.
    pub domain: u8,
    /// The low 24 bits of the order number.
    pub order_low: u32,
}

/// A session. `LINKS` bounds the links it knows.
#[derive(Debug)]
pub struct Session<const LINKS: usize> {
    send: SessionKey,
    receive: SessionKey,
    aead: Aead,
    own_index: SessionIndex,
    peer_index: SessionIndex,
    /// Links the peer takes.
    peer_links: u8,
    /// The next counter of each link.
    counters: [u64; LINKS],
    windows: [ReplayWindow<REPLAY_WORDS>; LINKS],
    /// When data first went either way; before that, new keys are not worth making.
    used_since: Option<Instant>,
}

impl Stamp {
    /// The low 32 bits of the packet's counter on its link.
    #[must_use]
    pub const fn counter_low(&self) -> u32 {
        self.header.counter_low
    }
}

impl<const LINKS: usize> Session<LINKS> {
    /// A session that begins.
    #[must_use]
    pub fn new(established: Established) -> Self {
        Self {
            send: established.send,
            receive: established.receive,
            aead: established.aead,
            own_index: established.own_index,
            peer_index: established.peer_index,
            peer_links: established.peer.max_links,
            counters: [0; LINKS],
            windows: [const { ReplayWindow::new() }; LINKS],
            used_since: None,
        }
    }

    /// By which this end knows the session.
    #[must_use]
    pub const fn own_index(&self) -> SessionIndex {
        self.own_index
    }

    /// How its packets are sealed.
    #[must_use]
    pub const fn aead(&self) -> Aead {
        self.aead
    }

    /// Links the peer takes: numbers below this.
    #[must_use]
    pub const fn peer_links(&self) -> usize {
        self.peer_links as usize
    }

    /// Data went either way.
    pub fn note_use(&mut self, now: Instant) {
        self.used_since.get_or_insert(now);
    }

    /// Whether the client should make new keys.
    #[must_use]
    pub fn is_worn(&self, now: Instant) -> bool {
        let counted = self.counters.iter().any(|counter| *counter >= REKEY_AFTER_PACKETS);
        counted || self.used_for(now) >= REKEY_AFTER
    }

    /// When [`Session::is_worn`] becomes true by time alone.
    #[must_use]
    pub fn wears_at(&self) -> Option<Instant> {
        self.used_since.map(|since| since + REKEY_AFTER)
    }

    /// How long ago data first went either way.
    #[must_use]
    pub fn used_for(&self, now: Instant) -> Duration {
        self.used_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// The header and nonce of the next packet on `link`; None when the link is none of the session's, or its counter is
    /// spent.
    pub fn stamp(&mut self, link: LinkId, label: Label, now: Instant) -> Option<Stamp> {
        let counter = self.counters.get_mut(link.index()).filter(|counter| **counter < COUNTER_LIMIT)?;
        let number = u8::try_from(link.index()).ok()?;
        let nonce = data_nonce(number, *counter);
        let header = DataHeader {
            flags: label.flags,
            receiver: self.peer_index,
            link: number,
            domain: label.domain,
            counter_low: low_half(*counter),
            order_low: label.order_low,
            send_time: send_time(now),
        };
        *counter = counter.saturating_add(1);
        Some(Stamp { header, nonce })
    }

    /// Seals `body` into `out` and returns the datagram's length.
    pub fn seal(&self, stamp: Stamp, body: &[u8], out: &mut [u8]) -> Result<usize, DropReason> {
        let len = body.len().saturating_add(DATA_OVERHEAD);
        let (header, sealed) = datagram(out, len)?;
        *header = stamp.header.emit();
        if self.send.seal(&stamp.nonce, header, body, sealed) { Ok(len) } else { Err(DropReason::TooBig) }
    }

    /// Seals the `body_len` bytes that were written to `out` behind the header's place, and returns the datagram's
    /// length.
    pub fn seal_in_place(&self, stamp: Stamp, body_len: usize, out: &mut [u8]) -> Result<usize, DropReason> {
        let len = body_len.saturating_add(DATA_OVERHEAD);
        let (header, body) = datagram(out, len)?;
        *header = stamp.header.emit();
        if self.send.seal_in_place(&stamp.nonce, header, body) { Ok(len) } else { Err(DropReason::TooBig) }
    }

    /// Which of a link's packets arrived.
    #[must_use]
    pub fn window(&self, link: LinkId) -> Option<&ReplayWindow<REPLAY_WORDS>> {
        self.windows.get(link.index())
    }

    /// By which the peer knows the session.
    #[must_use]
    pub const fn peer_index(&self) -> SessionIndex {
        self.peer_index
    }

    /// Opens the data packet in `packet`, whose header is `header`, in place: on success `packet` is the body, and its
    /// counter is seen. A packet seen before costs no decryption.
    pub fn open(&mut self, header: &DataHeader, packet: &mut Packet) -> Result<u64, DropReason> {
        let window = self.windows.get_mut(usize::from(header.link)).ok_or(DropReason::TooManyLinks)?;
        let near = window.highest().map_or(0, |highest| highest.saturating_add(1));
        let counter = widen(u64::from(header.counter_low), 32, near);
        if window.check(counter) != Seen::Never {
            return Err(DropReason::Replayed);
        }
        let (aad, body) = packet.as_mut_bytes().split_first_chunk_mut::<DATA_HEADER>().ok_or(DropReason::Malformed)?;
        let nonce = data_nonce(header.link, counter);
        self.receive.open(&nonce, aad, body).map_err(|_| DropReason::Unauthentic)?;
        window.mark(counter);
        let len = packet.len().saturating_sub(DATA_OVERHEAD);
        if packet.trim_front(DATA_HEADER) && packet.truncate(len) { Ok(counter) } else { Err(DropReason::Malformed) }
    }
}

/// The number whose low `bits` are `low` that is nearest to `near`.
#[must_use]
pub const fn widen(low: u64, bits: u32, near: u64) -> u64 {
    let span = match 1_u64.checked_shl(bits) {
        Some(span) => span,
        None => return low,
    };
    let candidate = (near & !span.wrapping_sub(1)) | low;
    let half = span >> 1;
    if candidate.saturating_add(half) < near {
        candidate.saturating_add(span)
    } else if candidate > near.saturating_add(half) && candidate >= span {
        candidate.saturating_sub(span)
    } else {
        candidate
    }
}

fn datagram(out: &mut [u8], len: usize) -> Result<(&mut [u8; DATA_HEADER], &mut [u8]), DropReason> {
    out.get_mut(..len).and_then(|out| out.split_first_chunk_mut()).ok_or(DropReason::TooBig)
}

const fn low_half(counter: u64) -> u32 {
    (counter & 0xffff_ffff) as u32
}

/// The clock in units of 100 microseconds, modulo 65,536.
/// A time as it travels in a header: in units of 100 microseconds, modulo 65,536.
#[must_use]
pub const fn send_time(now: Instant) -> u16 {
    ((now.micros() / 100) & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_widened_to_the_nearest() {
        assert_eq!(widen(5, 32, 0), 5);
        assert_eq!(widen(0xffff_fff0, 32, 1 << 32), 0xffff_fff0);
        assert_eq!(widen(3, 32, 0xffff_fff0), (1 << 32) + 3);
        assert_eq!(widen(0xff_fff0, 24, 5), 0xff_fff0);
        assert_eq!(widen(0xff_fff0, 24, 1 << 24), 0xff_fff0);
        assert_eq!(widen(2, 24, (7 << 24) - 1), (7 << 24) + 2);
        assert_eq!(widen(2, 24, (7 << 24) + 100), (7 << 24) + 2);
    }

    #[test]
    fn widening_undoes_cutting_for_every_number_within_half_a_span() {
        let span = 1_u64 << 24;
        for near in [0, 1, span - 1, span, 5 * span + 77, u64::from(u32::MAX)] {
            for apart in [0, 1, 1000, span / 2 - 1] {
                for number in [near.saturating_add(apart), near.saturating_sub(apart)] {
                    assert_eq!(widen(number & (span - 1), 24, near), number, "{number} near {near}");
                }
            }
        }
    }
}

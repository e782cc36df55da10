// SPDX-License-Identifier: BSD-2-Clause
//! The flows of one hash: what waits, what it may send, and what it has sent.

use super::chain::Chain;
use super::codel::{Codel, MAX_PACKET};
use crate::words::class::{Class, Kind};
use crate::words::time::{Duration, Instant};

/// Groups of flows. A household has a few bulk flows at a time, of which two fall into one group with a chance of 1 in
/// 32; each group costs some 80 bytes, and the round over all of them that a drop takes stays short. RFC 8290's 1024 are
/// for machines between many users.
pub const GROUPS: usize = 32;

/// Bytes a group may send in one round: the largest packet, so that every turn sends at least one (RFC 8290, 4.1).
pub const QUANTUM: u16 = MAX_PACKET;

/// Bytes of larger packets a group may send and still be thin, until it is [`QUIET`]: two full packets, the beginning of
/// an exchange (a question, a greeting of TLS). With a third it is a transfer, whose packets must stay in order.
const LITTLE: u32 = 2 * MAX_PACKET as u32;

/// A group that sent no larger packet for this long begins anew. By then what it sent has arrived, also over a satellite,
/// so that nothing of a transfer is overtaken by its own next packet.
const QUIET: Duration = Duration::from_millis(500);

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Packets.
    pub packets: u16,
    /// Bytes.
    pub bytes: u32,
}

impl Backlog {
    /// Takes note of a packet that left.
    pub(super) fn take(&mut self, class: &Class) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u32::from(class.len));
    }
}

/// The flows of one hash. In the thin line while `thin` is not 0, otherwise in the bulk line while anything waits,
/// otherwise in none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) chain: Chain,
    pub(super) bytes: u32,
    /// How many packets at the head of the chain are thin, and their bytes.
    pub(super) thin: Backlog,
    /// Bytes it may yet send in this round; below zero when a turn's last packet was larger.
    pub(super) credit: i32,
    /// The round in which `credit` was given.
    pub(super) round: u32,
    /// Bytes of packets that are not small, sent since the group was quiet last, and when the latest was.
    lately: u32,
    lately_at: Instant,
    pub(super) codel: Codel,
}

impl Group {
    pub(super) const NEW: Self = Self {
        chain: Chain::EMPTY,
        bytes: 0,
        thin: Backlog { packets: 0, bytes: 0 },
        credit: QUANTUM as i32,
        round: 0,
        lately: 0,
        lately_at: Instant::ORIGIN,
        codel: Codel::new(),
    };

    /// Credit is for one round, and begins anew when none of bulk is there to wait for its turn.
    pub(super) fn refresh(&mut self, round: u32, is_contended: bool) {
        if self.round != round || !is_contended {
            self.credit = i32::from(QUANTUM);
            self.round = round;
        }
    }

    /// Whether a packet of this class that comes now goes before bulk, see [`Ingress::is_thin`](super::Ingress::is_thin).
    pub(super) fn lets_pass(&self, class: &Class, round: u32, is_contended: bool, now: Instant) -> bool {
        if self.chain.len != self.thin.packets {
            return false;
        }
        let large = if class.is_small() { 0 } else { u32::from(class.len) };
        let may_overtake = class.is_urgent
            || matches!(class.kind, Kind::BareAck | Kind::Opening)
            || self.has_sent_lately(now).saturating_add(large) <= LITTLE;
        let mut then = *self;
        then.refresh(round, is_contended);
        let waiting = self.thin.bytes.saturating_add(u32::from(class.len));
        may_overtake && i64::from(waiting) <= i64::from(then.credit)
    }

    const fn has_sent_lately(&self, now: Instant) -> u32 {
        if now.since(self.lately_at).micros() > QUIET.micros() { 0 } else { self.lately }
    }

    /// Takes note of a packet that leaves for a link.
    pub(super) fn charge(&mut self, class: &Class, now: Instant) {
        self.credit = self.credit.saturating_sub(i32::from(class.len));
        if class.is_small() {
            return;
        }
        self.lately = self.has_sent_lately(now).saturating_add(u32::from(class.len));
        self.lately_at = now;
    }

    /// Takes note of a packet that left the head of the chain. Whether it was thin.
    pub(super) fn forget(&mut self, class: &Class) -> bool {
        let len = u32::from(class.len);
        self.bytes = self.bytes.saturating_sub(len);
        let was_thin = self.thin.packets != 0;
        if was_thin {
            self.thin.packets = self.thin.packets.saturating_sub(1);
            self.thin.bytes = self.thin.bytes.saturating_sub(len);
        }
        was_thin
    }
}

/// The group of a flow: the lowest bits of its hash, which is even in all of them.
pub(super) const fn group_of(flow: u32) -> u8 {
    const MASK: u8 = 31;
    const { assert!(GROUPS.is_power_of_two() && MASK as usize == GROUPS - 1) };
    let [.., low] = flow.to_be_bytes();
    low & MASK
}

// SPDX-License-Identifier: BSD-2-Clause
//! The data path that both protocols share: what waits for a link, what waits for its turn at the device, and every
//! drop's reason. It knows neither keys nor headers.

use crate::memory::packet::Packet;
use crate::memory::pool::{Pool, Slot};
use crate::stages::clamp::clamp;
use crate::stages::classify::{FlowKey, classify};
use crate::stages::reorder::Reorder;
use crate::stages::schedule::{Candidate, Scheduler};
use crate::stages::too_big;
use crate::words::drops::{DropReason, Drops};
use crate::words::ids::{LinkId, Medium, Order};
use crate::words::limits::EGRESS_SLOTS;
use crate::words::time::{Duration, Instant};

/// The hold time before any link's round trip is known.
const HOLD_UNKNOWN: Duration = Duration::from_millis(100);

/// Added to the spread of the links' round-trip times: MLVPN's timestamps count whole milliseconds, and its timers
/// wake late.
const HOLD_SLACK: Duration = Duration::from_millis(10);

/// No packet is held longer: TCP's least retransmission timeout on Linux is 200 ms, and a satellite link may add as
/// much again.
const HOLD_LIMIT: Duration = Duration::from_millis(400);

/// Nothing is told apart by flow yet, so nobody gains by knowing the key.
const FLOW_KEY: FlowKey = FlowKey::new([0; 16]);

/// Queues, scheduler and reorder buffer of one tunnel.
#[derive(Debug)]
pub(super) struct Bond<const WINDOW: usize> {
    pub(super) medium: Medium,
    /// The largest inner IP packet, in bytes.
    pub(super) mtu: u16,
    /// Whether received packets are put back in order.
    pub(super) reordering: bool,
    scheduler: Scheduler,
    pub(super) reorder: Reorder<WINDOW>,
    /// Each with whether the receiver may hold it to restore order.
    egress: heapless::Deque<(Slot, bool), EGRESS_SLOTS>,
    next_order: u64,
    pub(super) drops: Drops,
}

/// The packet that is to be sent next.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) slot: Slot,
    pub(super) link: LinkId,
    /// Its place among all ordered packets; none when the receiver need not hold it.
    pub(super) order: Option<Order>,
}

/// Why no link takes the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Every usable link's socket is full.
    ForRoom,
    /// No link is up.
    ForLink,
}

/// What the hold time is computed from: a link that is up.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTripFacts {
    pub(super) smoothed: Option<Duration>,
    pub(super) deviation: Duration,
}

impl<const WINDOW: usize> Bond<WINDOW> {
    pub(super) const fn new(medium: Medium, mtu: u16, reordering: bool) -> Self {
        Self {
            medium,
            mtu,
            reordering,
            scheduler: Scheduler::new(),
            reorder: Reorder::new(),
            egress: heapless::Deque::new(),
            next_order: 0,
            drops: Drops::new(),
        }
    }

    /// Whether [`Bond::send`] takes a packet.
    pub(super) fn has_room(&self) -> bool {
        !self.egress.is_full()
    }

    /// Takes a packet from the device; `is_up` says whether any link could carry it. One that is too big becomes the
    /// answer to its sender.
    pub(super) fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, is_up: bool) {
        let Some(packet) = pool.packet_mut(&slot) else { return self.drop_slot(pool, slot, DropReason::Malformed) };
        match classify(packet.as_bytes(), self.medium, self.mtu, &FLOW_KEY) {
            Ok(_) if !is_up => self.drop_slot(pool, slot, DropReason::NoLink),
            Ok(class) => {
                clamp(packet.as_mut_bytes(), self.medium, self.mtu);
                if let Err((slot, _)) = self.egress.push_back((slot, class.ordered)) {
                    self.drop_slot(pool, slot, DropReason::QueueFull);
                }
            }
            Err(DropReason::TooBig) if too_big::answer(packet, self.medium, self.mtu) => {
                self.drops.count(DropReason::TooBig);
                if let Err((slot, reason)) = self.reorder.pass(slot) {
                    self.drop_slot(pool, slot, reason);
                }
            }
            Err(reason) => self.drop_slot(pool, slot, reason),
        }
    }

    /// The next packet and its link, out of the `candidates` that may carry it now; None when nothing waits, or nothing
    /// can be sent. Without any link what waits is dropped.
    pub(super) fn next<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        candidates: Result<&[Candidate], Wait>,
    ) -> Option<Outgoing> {
        let bytes = pool.packet(&self.egress.front()?.0).map_or(0, Packet::len);
        let chosen = match candidates {
            Ok(candidates) => self.scheduler.choose(candidates, bytes).map(LinkId::new)?,
            Err(Wait::ForRoom) => return None,
            Err(Wait::ForLink) => {
                while let Some((slot, _)) = self.egress.pop_front() {
                    self.drop_slot(pool, slot, DropReason::NoLink);
                }
                return None;
            }
        };
        let (slot, ordered) = self.egress.pop_front()?;
        let order = ordered.then_some(Order(self.next_order));
        if ordered {
            self.next_order = self.next_order.saturating_add(1);
        }
        Some(Outgoing { slot, link: chosen, order })
    }

    /// Whether a packet waits for a link.
    pub(super) fn is_waiting(&self) -> bool {
        !self.egress.is_empty()
    }

    /// Takes a packet for the device; `order` is none when it need not be held.
    pub(super) fn deliver<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        order: Option<Order>,
        slot: Slot,
        now: Instant,
    ) -> Result<(), (Slot, DropReason)> {
        if let Some(packet) = pool.packet_mut(&slot) {
            if packet.is_empty() {
                return Err((slot, DropReason::Malformed));
            }
            clamp(packet.as_mut_bytes(), self.medium, self.mtu);
        }
        match order.filter(|_| self.reordering) {
            Some(order) => self.reorder.accept(order, slot, now),
            None => self.reorder.pass(slot),
        }
    }

    /// Gives back every packet held.
    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.reorder.restart();
        while let Some(slot) = self.reorder.poll().or_else(|| Some(self.egress.pop_front()?.0)) {
            pool.put(slot);
        }
    }

    /// Counts a drop and gives the packet back.
    pub(super) fn drop_slot<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, reason: DropReason) {
        self.drops.count(reason);
        pool.put(slot);
    }
}

/// How long a packet may be held for a missing one: the slowest link may be that much behind the fastest.
pub(super) fn hold_time(links: impl Iterator<Item = RoundTripFacts>) -> Duration {
    let (mut fastest, mut slowest) = (None::<Duration>, Duration::ZERO);
    for link in links {
        let Some(smoothed) = link.smoothed else { return HOLD_UNKNOWN };
        fastest = Some(fastest.map_or(smoothed, |fastest| fastest.min(smoothed)));
        slowest = slowest.max(smoothed + link.deviation * 4);
    }
    (slowest.saturating_sub(fastest.unwrap_or_default()) + HOLD_SLACK).min(HOLD_LIMIT)
}

// SPDX-License-Identifier: BSD-2-Clause
//! The data path that both protocols share: what waits for a link, what waits for its turn at the device, and every
//! drop's reason. It knows neither keys nor headers.

use crate::memory::pool::{Pool, Slot};
use crate::stages::clamp::clamp;
use crate::stages::classify::{FlowKey, classify};
use crate::stages::ecn;
use crate::stages::ingress::{CodelLaw, Ingress, Next, Popped};
use crate::stages::reorder::{Reorder, Wait};
use crate::stages::too_big;
use crate::words::drops::{DropReason, Drops};
use crate::words::ecn::Ecn;
use crate::words::ids::{LinkId, Medium, Order};
use crate::words::limits::MAX_MTU;
use crate::words::rules::Rules;
use crate::words::time::{Duration, Instant};

/// How packets come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Any link could carry them.
    pub(super) is_up: bool,
    /// What is done with classes of packets, if anything.
    pub(super) rules: Option<&'a Rules>,
    /// The link a filter chose.
    pub(super) link: Option<LinkId>,
}

/// Queues and reorder buffer of one tunnel: up to `WINDOW` packets each, in `DOMAINS` orders.
#[derive(Debug)]
pub(super) struct Bond<const WINDOW: usize, const DOMAINS: usize> {
    pub(super) medium: Medium,
    /// The largest inner IP packet, in bytes.
    pub(super) mtu: u16,
    /// Whether received packets are put back in order.
    pub(super) reordering: bool,
    pub(super) reorder: Reorder<WINDOW, DOMAINS>,
    ingress: Ingress<WINDOW>,
    key: FlowKey,
    pub(super) drops: Drops,
}

impl<const WINDOW: usize, const DOMAINS: usize> Bond<WINDOW, DOMAINS> {
    /// An empty one. `key` is random: flows are told apart by it.
    pub(super) fn new(medium: Medium, mtu: u16, reordering: bool, key: FlowKey) -> Self {
        let max_bytes = u32::try_from(WINDOW).unwrap_or(u32::MAX).saturating_mul(MAX_MTU.into());
        Self {
            medium,
            mtu,
            reordering,
            reorder: Reorder::new(),
            ingress: Ingress::new(max_bytes),
            key,
            drops: Drops::new(),
        }
    }

    /// Whether [`Bond::send`] takes a packet.
    pub(super) fn has_room(&self) -> bool {
        !self.ingress.is_full()
    }

    /// Takes a packet from the device. One that is too big becomes the answer to its sender. One that a filter chose a link
    /// for takes that, and its receiver does not hold it.
    pub(super) fn send<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        entry: Entry<'_>,
        now: Instant,
    ) {
        let Some(packet) = pool.packet_mut(&slot) else { return self.drop_slot(pool, slot, DropReason::Malformed) };
        match classify(packet.as_bytes(), self.medium, self.mtu, &self.key) {
            Ok(_) if !entry.is_up => self.drop_slot(pool, slot, DropReason::NoLink),
            Ok(mut class) => {
                class.is_urgent = entry.rules.is_some_and(|rules| rules.action(&class).interactive);
                class.ordered &= entry.link.is_none();
                class.link = entry.link;
                clamp(packet.as_mut_bytes(), self.medium, self.mtu);
                if let Err(slot) = self.ingress.push(slot, &class, now) {
                    self.drop_slot(pool, slot, DropReason::QueueFull);
                }
                self.take_dropped(pool);
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

    /// What is to be sent next.
    pub(super) fn peek(&self) -> Option<Next> {
        self.ingress.peek()
    }

    /// For how long the bulk packet that is next has waited.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.ingress.bulk_waited(now)
    }

    /// Groups of flows with bulk.
    pub(super) fn bulk_groups(&self) -> usize {
        self.ingress.bulk_groups()
    }

    /// Lets other bulk leave before what is next.
    pub(super) fn pass_over(&mut self) {
        self.ingress.pass_over();
    }

    /// Takes the next packet to send.
    pub(super) fn pop<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        law: &CodelLaw,
        now: Instant,
    ) -> Option<Popped> {
        let popped = self.ingress.pop(law, now);
        self.take_dropped(pool);
        let mut popped = popped?;
        if popped.mark
            && let Some(packet) = pool.packet_mut(&popped.slot)
            && ecn::write(packet.as_mut_bytes(), self.medium, Ecn::Ce)
        {
            popped.class.ecn = Ecn::Ce;
        }
        Some(popped)
    }

    /// Drops what waits for a link.
    pub(super) fn drop_waiting<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, reason: DropReason) {
        self.ingress.clear();
        while let Some(slot) = self.ingress.poll_dropped() {
            self.drop_slot(pool, slot, reason);
        }
    }

    /// What the queue dropped.
    fn take_dropped<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        while let Some(slot) = self.ingress.poll_dropped() {
            self.drop_slot(pool, slot, DropReason::Congestion);
        }
    }

    /// Packets that wait for a link.
    pub(super) const fn waiting(&self) -> usize {
        self.ingress.len()
    }

    /// Whether a packet waits for a link.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.ingress.is_empty()
    }

    /// Gives an inner packet the mark that its datagram got on the way (RFC 6040).
    ///
    /// # Errors
    /// The packet's transport cannot be told of congestion by a mark, so it is to be dropped.
    pub(super) fn follow_ecn<const SLOTS: usize>(
        &self,
        pool: &mut Pool<SLOTS>,
        slot: &Slot,
        outer: Ecn,
    ) -> Result<(), DropReason> {
        let Some(packet) = pool.packet_mut(slot).filter(|_| outer != Ecn::NotEct) else { return Ok(()) };
        let inner = ecn::read(packet.as_bytes(), self.medium);
        let marked = ecn::decapsulate(inner, outer)?;
        if marked != inner {
            ecn::write(packet.as_mut_bytes(), self.medium, marked);
        }
        Ok(())
    }

    /// Takes a packet for the device; `order` is none when it need not be held.
    pub(super) fn deliver<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        order: Option<(usize, Order)>,
        slot: Slot,
        wait: Wait,
    ) -> Result<(), (Slot, DropReason)> {
        if let Some(packet) = pool.packet_mut(&slot) {
            if packet.is_empty() {
                return Err((slot, DropReason::Malformed));
            }
            clamp(packet.as_mut_bytes(), self.medium, self.mtu);
        }
        match order {
            Some((domain, order)) if self.reordering => self.reorder.accept(domain, order, slot, wait),
            Some((domain, order)) => self.reorder.pass_once(domain, order, slot),
            None => self.reorder.pass(slot),
        }
    }

    /// Gives back every packet held.
    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.reorder.restart();
        self.ingress.clear();
        while let Some(slot) = self.reorder.poll().or_else(|| self.ingress.poll_dropped()) {
            pool.put(slot);
        }
    }

    /// Counts a drop and gives the packet back.
    pub(super) fn drop_slot<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, reason: DropReason) {
        self.drops.count(reason);
        pool.put(slot);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The data path that both protocols share: what waits for a link, what waits for its turn at the device, and every
//! drop's reason. It knows neither keys nor headers.

use crate::memory::packet::Packet;
use crate::memory::pool::{Pool, Slot};
use crate::stages::clamp::clamp;
use crate::stages::classify::{Class, classify};
use crate::stages::reorder::{Reorder, Wait};
use crate::stages::too_big;
use crate::words::drops::{DropReason, Drops};
use crate::words::ids::{Medium, Order};

/// Queues and reorder buffer of one tunnel: up to `WINDOW` packets each, in `DOMAINS` orders.
#[derive(Debug)]
pub(super) struct Bond<const WINDOW: usize, const DOMAINS: usize> {
    pub(super) medium: Medium,
    /// The largest inner IP packet, in bytes.
    pub(super) mtu: u16,
    /// Whether received packets are put back in order.
    pub(super) reordering: bool,
    pub(super) reorder: Reorder<WINDOW, DOMAINS>,
    ingress: heapless::Deque<(Slot, Class), WINDOW>,
    pub(super) drops: Drops,
}

impl<const WINDOW: usize, const DOMAINS: usize> Bond<WINDOW, DOMAINS> {
    pub(super) const fn new(medium: Medium, mtu: u16, reordering: bool) -> Self {
        Self { medium, mtu, reordering, reorder: Reorder::new(), ingress: heapless::Deque::new(), drops: Drops::new() }
    }

    /// Whether [`Bond::send`] takes a packet.
    pub(super) fn has_room(&self) -> bool {
        !self.ingress.is_full()
    }

    /// Takes a packet from the device; `is_up` says whether any link could carry it. One that is too big becomes the
    /// answer to its sender.
    pub(super) fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, is_up: bool) {
        let Some(packet) = pool.packet_mut(&slot) else { return self.drop_slot(pool, slot, DropReason::Malformed) };
        match classify(packet.as_bytes(), self.medium, self.mtu) {
            Ok(_) if !is_up => self.drop_slot(pool, slot, DropReason::NoLink),
            Ok(class) => {
                clamp(packet.as_mut_bytes(), self.medium, self.mtu);
                if let Err((slot, _)) = self.ingress.push_back((slot, class)) {
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

    /// The next packet to send, and its length in bytes.
    pub(super) fn front<const SLOTS: usize>(&self, pool: &Pool<SLOTS>) -> Option<(&Class, usize)> {
        let (slot, class) = self.ingress.front()?;
        Some((class, pool.packet(slot).map_or(0, Packet::len)))
    }

    /// Takes the next packet to send.
    pub(super) fn pop(&mut self) -> Option<(Slot, Class)> {
        self.ingress.pop_front()
    }

    /// Drops what waits for a link.
    pub(super) fn drop_waiting<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, reason: DropReason) {
        while let Some((slot, _)) = self.ingress.pop_front() {
            self.drop_slot(pool, slot, reason);
        }
    }

    /// Whether a packet waits for a link.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ingress.is_empty()
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
        match order.filter(|_| self.reordering) {
            Some((domain, order)) => self.reorder.accept(domain, order, slot, wait),
            None => self.reorder.pass(slot),
        }
    }

    /// Gives back every packet held.
    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.reorder.restart();
        while let Some(slot) = self.reorder.poll().or_else(|| Some(self.ingress.pop_front()?.0)) {
            pool.put(slot);
        }
    }

    /// Counts a drop and gives the packet back.
    pub(super) fn drop_slot<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, reason: DropReason) {
        self.drops.count(reason);
        pool.put(slot);
    }
}

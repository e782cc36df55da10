// SPDX-License-Identifier: BSD-2-Clause
//! All packet memory there is, fixed at compile time.

use super::packet::Packet;

/// The right to use one packet of a pool: moved, never copied, so that a packet has one owner at a time.
///
/// Hand it back with [`Pool::put`]; a slot that is forgotten is lost to its pool.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is dropped is lost to its pool"]
pub struct Slot(u16);

/// `SLOTS` packets. All zero when new, so a pool in a `static` lies in `.bss` and costs memory only as it is used.
pub struct Pool<const SLOTS: usize> {
    packets: [Packet; SLOTS],
    /// The first `returned` entries name slots that came back.
    free: [u16; SLOTS],
    returned: u16,
    /// Slots handed out at least once: those below are known, those from here on are fresh.
    fresh: u16,
}

impl<const SLOTS: usize> Pool<SLOTS> {
    /// A pool with every packet free.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(SLOTS <= u16::MAX as usize, "a slot is named by 16 bits") };
        Self { packets: [const { Packet::new() }; SLOTS], free: [0; SLOTS], returned: 0, fresh: 0 }
    }

    /// Takes a free packet, the one put back last, whose memory is likely still cached. None when all are in use.
    pub fn take(&mut self) -> Option<Slot> {
        if let Some(last) = self.returned.checked_sub(1) {
            self.returned = last;
            return self.free.get(usize::from(last)).map(|index| Slot(*index));
        }
        if usize::from(self.fresh) < SLOTS {
            let slot = Slot(self.fresh);
            self.fresh = self.fresh.saturating_add(1);
            return Some(slot);
        }
        None
    }

    /// Gives a packet back.
    #[expect(clippy::needless_pass_by_value, reason = "the slot is spent: its owner must not keep it")]
    pub fn put(&mut self, slot: Slot) {
        if let Some(entry) = self.free.get_mut(usize::from(self.returned)) {
            *entry = slot.0;
            self.returned = self.returned.saturating_add(1);
        }
    }

    /// The packet of a slot. Each pool accepts only its own slots: one of a larger pool finds nothing here.
    #[must_use]
    pub fn packet(&self, slot: &Slot) -> Option<&Packet> {
        self.packets.get(usize::from(slot.0))
    }

    /// The packet of a slot, to change.
    pub fn packet_mut(&mut self, slot: &Slot) -> Option<&mut Packet> {
        self.packets.get_mut(usize::from(slot.0))
    }

    /// Packets that can be taken now.
    #[must_use]
    pub const fn available(&self) -> usize {
        SLOTS.saturating_sub(self.fresh as usize).saturating_add(self.returned as usize)
    }
}

impl<const SLOTS: usize> Default for Pool<SLOTS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_each_packet_once_and_takes_it_back() {
        let mut pool = Pool::<3>::new();
        let slots = [pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap()];
        assert!(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
        assert!(pool.take().is_none());
        assert_eq!(pool.available(), 0);
        for slot in slots {
            pool.put(slot);
        }
        assert_eq!(pool.available(), 3);
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_slot_of_a_larger_pool_finds_no_packet_in_a_smaller_one() {
        let mut large = Pool::<2>::new();
        let small = Pool::<1>::new();
        pool_second(&mut large, |slot| assert!(small.packet(&slot).is_none()));
    }

    fn pool_second(pool: &mut Pool<2>, check: impl FnOnce(Slot)) {
        let first = pool.take().unwrap();
        check(pool.take().unwrap());
        pool.put(first);
    }
}

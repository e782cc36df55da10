// SPDX-License-Identifier: BSD-2-Clause
//! Reorder: data packets leave in the order they were sent, unless that would hold one for too long.

use crate::memory::pool::Slot;
use crate::state::replay::{ReplayWindow, Seen};
use crate::words::drops::DropReason;
use crate::words::ids::Order;
use crate::words::limits::REPLAY_WORDS;
use crate::words::time::{Duration, Instant};

/// After this many packets in a row that are too far behind to tell, the number that is ahead of them was not the
/// peer's: the classic protocol does not protect order numbers, and one changed on its way must not end all delivery.
/// Packets that are merely late do not come in such a row, because those that are not late come between.
const STRAYS: u8 = 32;

/// No place in the ring.
const NOWHERE: u16 = u16::MAX;

/// A buffer over `WINDOW` order numbers, a power of two, from the next one to deliver.
///
/// Put in with [`accept`](Self::accept) and [`pass`](Self::pass) and take out with [`poll`](Self::poll) until it is
/// empty after each; call [`handle_timeout`](Self::handle_timeout) at [`deadline`](Self::deadline). It promises:
///
/// - no order number is delivered twice;
/// - a packet overtakes an earlier one only when that one is missing for longer than the hold time, or is `WINDOW` or
///   more numbers behind the latest;
/// - no packet waits longer than the hold time, however many are missing before it.
#[derive(Debug)]
pub struct Reorder<const WINDOW: usize> {
    /// The packet with order number `n`, for `next < n < next + WINDOW`, is held at place `n % WINDOW`.
    ring: [Place; WINDOW],
    /// The lowest order number neither delivered nor given up; none until the first packet.
    next: Option<u64>,
    /// Packets held in the ring. `held + ready.len() <= WINDOW`, always.
    held: usize,
    /// The held packet that arrived first, and the one that arrived last.
    oldest: u16,
    newest: u16,
    /// Which order numbers arrived, so that a late packet is delivered and a duplicate is not.
    seen: ReplayWindow<REPLAY_WORDS>,
    /// Packets refused in a row because they were too far behind to tell. Below [`STRAYS`].
    strays: u8,
    /// Packets for the port, in order.
    ready: heapless::Deque<Slot, WINDOW>,
}

/// One place of the ring. The held ones form a list by arrival.
#[derive(Debug)]
struct Place {
    slot: Option<Slot>,
    arrival: Instant,
    earlier: u16,
    later: u16,
}

impl Place {
    const EMPTY: Self = Self { slot: None, arrival: Instant::ORIGIN, earlier: NOWHERE, later: NOWHERE };
}

impl<const WINDOW: usize> Reorder<WINDOW> {
    const MASK: u64 = (WINDOW as u64).wrapping_sub(1);

    /// An empty buffer, which takes the first packet's number for the beginning.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(WINDOW.is_power_of_two() && WINDOW >= 2 && WINDOW < NOWHERE as usize) };
        Self {
            ring: [const { Place::EMPTY }; WINDOW],
            next: None,
            held: 0,
            oldest: NOWHERE,
            newest: NOWHERE,
            seen: ReplayWindow::new(),
            strays: 0,
            ready: heapless::Deque::new(),
        }
    }

    /// Takes in a packet that has an order number. Work: constant, and one step per number the window moves, at most
    /// `WINDOW`.
    ///
    /// # Errors
    /// The slot comes back with [`DropReason::Duplicate`] when its number arrived before or is too far behind to tell
    /// (but a long row of the latter is taken for the peer's true numbers, and the buffer counts anew with them), and with [`DropReason::QueueFull`] when the port did not drain.
    pub fn accept(&mut self, order: Order, slot: Slot, now: Instant) -> Result<(), (Slot, DropReason)> {
        let Order(order) = order;
        match self.seen.check(order) {
            Seen::Never => self.strays = 0,
            Seen::Before => return Err((slot, DropReason::Duplicate)),
            Seen::Unknown => {
                self.strays = self.strays.saturating_add(1);
                if self.strays < STRAYS {
                    return Err((slot, DropReason::Duplicate));
                }
                self.restart();
            }
        }
        let next = *self.next.get_or_insert(order);
        if order < next {
            self.pass(slot)?;
        } else if self.held.saturating_add(self.ready.len()) >= WINDOW {
            return Err((slot, DropReason::QueueFull));
        } else {
            if order.saturating_sub(next) >= WINDOW as u64 {
                self.skip_to(order.saturating_sub(WINDOW as u64).saturating_add(1));
            }
            self.hold(order, slot, now);
            self.release_run();
        }
        self.seen.mark(order);
        Ok(())
    }

    /// Takes in a packet that waits for no other.
    ///
    /// # Errors
    /// The slot comes back with [`DropReason::QueueFull`] when the port did not drain.
    pub fn pass(&mut self, slot: Slot) -> Result<(), (Slot, DropReason)> {
        if self.held.saturating_add(self.ready.len()) >= WINDOW {
            return Err((slot, DropReason::QueueFull));
        }
        self.ready.push_back(slot).map_err(|slot| (slot, DropReason::QueueFull))
    }

    /// The next packet for the device.
    pub fn poll(&mut self) -> Option<Slot> {
        self.ready.pop_front()
    }

    /// When a packet will have waited for `hold`.
    #[must_use]
    pub fn deadline(&self, hold: Duration) -> Option<Instant> {
        Some(self.ring.get(usize::from(self.oldest))?.arrival + hold)
    }

    /// Gives up the holes before every packet that has waited for `hold`.
    pub fn handle_timeout(&mut self, hold: Duration, now: Instant) {
        while self.deadline(hold).is_some_and(|deadline| deadline <= now) {
            let number = self.number_at(self.oldest);
            self.skip_to(number.saturating_add(1));
            self.release_run();
        }
    }

    /// Releases everything held and forgets what arrived: the peer counts anew.
    pub fn restart(&mut self) {
        if let Some(next) = self.next {
            // Not up to a target: at the end of the numbers there is none beyond the last that may be held.
            for step in 0..WINDOW as u64 {
                self.release(next.saturating_add(step));
            }
        }
        self.next = None;
        self.strays = 0;
        self.seen.clear();
    }

    /// The lowest order number neither delivered nor given up; none until the first packet.
    #[must_use]
    pub const fn expected(&self) -> Option<u64> {
        self.next
    }

    /// Packets that wait for a missing one.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Moves the window's start to `target`, releasing in order what is held before it.
    fn skip_to(&mut self, target: u64) {
        let next = self.next.unwrap_or(target);
        for number in next..target.min(next.saturating_add(WINDOW as u64)) {
            if self.held == 0 {
                break;
            }
            self.release(number);
        }
        self.next = Some(target);
    }

    /// Releases what is held without a hole from the window's start on.
    fn release_run(&mut self) {
        while let Some(next) = self.next
            && self.release(next)
        {
            self.next = Some(next.saturating_add(1));
        }
    }

    /// Moves the packet with this number, if held, to the port's queue.
    fn release(&mut self, number: u64) -> bool {
        let Some(place) = self.ring.get_mut(Self::place(number)) else { return false };
        let Some(slot) = place.slot.take() else { return false };
        let (earlier, later) = (place.earlier, place.later);
        self.held = self.held.saturating_sub(1);
        match self.ring.get_mut(usize::from(earlier)) {
            Some(place) => place.later = later,
            None => self.oldest = later,
        }
        match self.ring.get_mut(usize::from(later)) {
            Some(place) => place.earlier = earlier,
            None => self.newest = earlier,
        }
        // There is room: what was held is counted in `held + ready.len() <= WINDOW`.
        self.ready.push_back(slot).is_ok()
    }

    fn hold(&mut self, number: u64, slot: Slot, now: Instant) {
        let index = Self::place(number);
        let Ok(short) = u16::try_from(index) else { return };
        let last = core::mem::replace(&mut self.newest, short);
        match self.ring.get_mut(usize::from(last)) {
            Some(place) => place.later = short,
            None => self.oldest = short,
        }
        if let Some(place) = self.ring.get_mut(index) {
            *place = Place { slot: Some(slot), arrival: now, earlier: last, later: NOWHERE };
        }
        self.held = self.held.saturating_add(1);
    }

    /// The order number held at a place of the ring.
    fn number_at(&self, place: u16) -> u64 {
        let next = self.next.unwrap_or(0);
        next.saturating_add(u64::from(place).wrapping_sub(next) & Self::MASK)
    }

    const fn place(number: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "below WINDOW, which is a usize")]
        let place = (number & Self::MASK) as usize;
        place
    }
}

impl<const WINDOW: usize> Default for Reorder<WINDOW> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;
    use crate::memory::pool::Pool;

    const HOLD: Duration = Duration::from_millis(10);

    /// Sends numbers through a buffer and reads back which come out.
    struct Bench {
        reorder: Reorder<8>,
        pool: Pool<32>,
    }

    impl Bench {
        fn new() -> Self {
            Self { reorder: Reorder::new(), pool: Pool::new() }
        }

        fn put(&mut self, number: u64, at_ms: u64) -> Result<Vec<u64>, DropReason> {
            let slot = self.pool.take().unwrap();
            assert!(self.pool.packet_mut(&slot).unwrap().copy_from(&number.to_be_bytes()));
            let now = Instant::ORIGIN + Duration::from_millis(at_ms);
            self.reorder.accept(Order(number), slot, now).map_err(|(slot, reason)| {
                self.pool.put(slot);
                reason
            })?;
            Ok(self.drain())
        }

        fn drain(&mut self) -> Vec<u64> {
            let mut numbers = Vec::new();
            while let Some(slot) = self.reorder.poll() {
                let bytes = self.pool.packet(&slot).unwrap().as_bytes();
                numbers.push(u64::from_be_bytes(bytes.try_into().unwrap()));
                self.pool.put(slot);
            }
            numbers
        }

        fn timeout(&mut self, at_ms: u64) -> Vec<u64> {
            self.reorder.handle_timeout(HOLD, Instant::ORIGIN + Duration::from_millis(at_ms));
            self.drain()
        }

        fn deadline_ms(&self) -> Option<u64> {
            self.reorder.deadline(HOLD).map(|at| at.micros() / 1_000)
        }
    }

    #[test]
    fn packets_in_order_pass_at_once() {
        let mut bench = Bench::new();
        for number in 100..120 {
            assert_eq!(bench.put(number, 0), Ok(vec![number]));
        }
        assert_eq!(bench.deadline_ms(), None);
    }

    #[test]
    fn a_packet_overtaken_is_put_back_in_its_place() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(2, 1), Ok(vec![]));
        assert_eq!(bench.put(3, 2), Ok(vec![]));
        assert_eq!(bench.put(1, 3), Ok(vec![1, 2, 3]));
        assert_eq!(bench.deadline_ms(), None);
    }

    #[test]
    fn a_hole_is_given_up_when_the_first_packet_behind_it_has_waited() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(2, 5), Ok(vec![]));
        assert_eq!(bench.put(3, 14), Ok(vec![]));
        assert_eq!(bench.deadline_ms(), Some(15));
        assert!(bench.timeout(14).is_empty());
        assert_eq!(bench.timeout(15), vec![2, 3]);
        // What comes after all is late, not lost, and only once.
        assert_eq!(bench.put(1, 16), Ok(vec![1]));
        assert_eq!(bench.put(1, 17), Err(DropReason::Duplicate));
    }

    #[test]
    fn no_packet_waits_longer_than_the_hold_time_behind_several_holes() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(4, 1), Ok(vec![]));
        assert_eq!(bench.put(2, 9), Ok(vec![]));
        assert_eq!(bench.deadline_ms(), Some(11));
        assert_eq!(bench.timeout(11), vec![2, 4]);
    }

    #[test]
    fn a_number_beyond_the_window_moves_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(3, 0), Ok(vec![]));
        assert_eq!(bench.put(5, 0), Ok(vec![]));
        // A window of eight that ends at 12 begins at 5.
        assert_eq!(bench.put(12, 0), Ok(vec![3, 5]));
        assert_eq!(bench.put(1_000_000, 0), Ok(vec![12]));
        assert_eq!(bench.put(999_993, 0), Ok(vec![999_993]));
        assert_eq!(bench.timeout(10), vec![1_000_000]);
    }

    #[test]
    fn a_restart_releases_what_is_held_and_counts_anew() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(5_000, 0), Ok(vec![5_000]));
        assert_eq!(bench.put(5_002, 0), Ok(vec![]));
        bench.reorder.restart();
        assert_eq!(bench.drain(), vec![5_002]);
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(1, 0), Ok(vec![1]));
    }

    #[test]
    fn a_port_that_does_not_drain_gets_its_packets_back() {
        let mut bench = Bench::new();
        for _ in 0..8 {
            let slot = bench.pool.take().unwrap();
            assert!(bench.reorder.pass(slot).is_ok());
        }
        let slot = bench.pool.take().unwrap();
        assert!(matches!(bench.reorder.pass(slot), Err((_, DropReason::QueueFull))));
        assert!(matches!(bench.put(0, 0), Err(DropReason::QueueFull)));
    }

    #[test]
    fn a_number_changed_on_its_way_ends_delivery_for_a_few_packets_only() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(0, 0), Ok(vec![0]));
        assert_eq!(bench.put(1 << 63, 1), Ok(vec![]));
        assert_eq!(bench.timeout(11), vec![1 << 63]);
        let first = 1 + u64::from(STRAYS) - 1;
        for number in 1..first {
            assert_eq!(bench.put(number, 12), Err(DropReason::Duplicate));
        }
        assert_eq!(bench.put(first, 12), Ok(vec![first]));
        assert_eq!(bench.put(first + 1, 12), Ok(vec![first + 1]));
    }

    #[test]
    fn a_restart_releases_the_last_number_there_is_too() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(u64::MAX - 3, 0), Ok(vec![u64::MAX - 3]));
        assert_eq!(bench.put(u64::MAX, 0), Ok(vec![]));
        bench.reorder.restart();
        assert_eq!(bench.drain(), vec![u64::MAX]);
        assert_eq!((bench.reorder.held(), bench.deadline_ms()), (0, None));
        assert_eq!(bench.pool.available(), 32);
    }

    #[test]
    fn the_last_order_numbers_there_are_pass() {
        let mut bench = Bench::new();
        assert_eq!(bench.put(u64::MAX - 1, 0), Ok(vec![u64::MAX - 1]));
    }
}

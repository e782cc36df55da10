// SPDX-License-Identifier: BSD-2-Clause
//! Reorder: data packets leave in the order they were sent, unless that would hold one for too long.

mod depth;

use crate::memory::pool::Slot;
use crate::state::replay::{ReplayWindow, Seen};
use crate::words::drops::DropReason;
use crate::words::ids::Order;
use crate::words::limits::REPLAY_WORDS;
use crate::words::time::{Duration, Instant};

pub use depth::Depth;

/// After this many packets in a row that are too far behind to tell, the number that is ahead of them was not the
/// peer's: the classic protocol does not protect order numbers, and one changed on its way must not end all delivery.
/// Packets that are merely late do not come in such a row, because those that are not late come between.
const STRAYS: u8 = 32;

/// No place.
const NOWHERE: u16 = u16::MAX;

/// No packet is held longer, whatever its patience: TCP's least retransmission timeout on Linux is 200 ms, and a
/// satellite link may add as much again.
pub const HOLD_LIMIT: Duration = Duration::from_millis(400);

/// A buffer of `WINDOW` packets, a power of two, in `DOMAINS` orders of their own: a packet waits only for earlier ones
/// of its domain. In each, up to `WINDOW` order numbers from the next one to deliver are told apart.
///
/// Put in with [`accept`](Self::accept) and [`pass`](Self::pass) and take out with [`poll`](Self::poll) until it is
/// empty after each; call [`handle_timeout`](Self::handle_timeout) at [`deadline`](Self::deadline). It promises:
///
/// - no order number is delivered twice;
/// - a packet overtakes an earlier one of its domain only when the buffer ran full, when the earlier one is `WINDOW` or
///   more numbers behind the latest, or when it was missing for longer than the patience of a packet behind it, or
///   of [`prove_lost`](Self::prove_lost);
/// - no packet waits longer than [`HOLD_LIMIT`], however many are missing before it;
/// - while the port drains it, it refuses nothing but duplicates: the packet that would fill it gives up what is missing
///   before the packet that waits longest.
#[derive(Debug)]
pub struct Reorder<const WINDOW: usize, const DOMAINS: usize> {
    /// The packet of a domain with order number `n`, for `next < n < next + WINDOW`, is held at the place that is at
    /// `n % WINDOW` of the domain's ring.
    rings: [[u16; WINDOW]; DOMAINS],
    domains: [Domain; DOMAINS],
    places: [Place; WINDOW],
    /// Places that came back, and where those never used begin.
    free: u16,
    fresh: u16,
    /// Packets held: fewer than `WINDOW` between two calls, and `held + ready.len() <= WINDOW` always.
    held: usize,
    /// When the buffer was told the time last.
    now: Instant,
    /// Packets for the port, in order.
    ready: heapless::Deque<Slot, WINDOW>,
}

/// One order of packets.
#[derive(Debug)]
struct Domain {
    /// The lowest order number neither delivered nor given up; none until the first packet.
    next: Option<u64>,
    /// The held packet that arrived first, and the one that arrived last.
    oldest: u16,
    newest: u16,
    /// When the packet numbered `next` is given up; later than any time when nothing is held.
    due: Instant,
    /// What is missing below this number is proved lost, and until when it may come by being sent again.
    lost_below: u64,
    lost_until: Instant,
    /// Which order numbers arrived, so that a late packet is delivered and a duplicate is not.
    seen: ReplayWindow<REPLAY_WORDS>,
    /// Packets refused in a row because they were too far behind to tell. Below [`STRAYS`].
    strays: u8,
    depth: Depth,
}

impl Domain {
    const EMPTY: Self = Self {
        next: None,
        oldest: NOWHERE,
        newest: NOWHERE,
        due: Instant::from_micros(u64::MAX),
        lost_below: 0,
        lost_until: Instant::ORIGIN,
        seen: ReplayWindow::new(),
        strays: 0,
        depth: Depth::NONE,
    };
}

/// A held packet. Those of a domain form a list by arrival.
#[derive(Debug)]
struct Place {
    slot: Option<Slot>,
    arrival: Instant,
    /// When it has waited for as long as its link's delay makes sensible.
    until: Instant,
    earlier: u16,
    later: u16,
}

impl Place {
    const EMPTY: Self =
        Self { slot: None, arrival: Instant::ORIGIN, until: Instant::ORIGIN, earlier: NOWHERE, later: NOWHERE };
}

/// When a packet came, and for how long it may wait for an earlier one.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// When it came.
    pub at: Instant,
    /// How long an earlier one may still be behind it.
    pub patience: Duration,
}

impl<const WINDOW: usize, const DOMAINS: usize> Reorder<WINDOW, DOMAINS> {
    const MASK: u64 = (WINDOW as u64).wrapping_sub(1);

    /// An empty buffer, which takes the number of a domain's first packet for its beginning.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(WINDOW.is_power_of_two() && WINDOW >= 2 && WINDOW < NOWHERE as usize && DOMAINS >= 1) };
        Self {
            rings: [[NOWHERE; WINDOW]; DOMAINS],
            domains: [const { Domain::EMPTY }; DOMAINS],
            places: [const { Place::EMPTY }; WINDOW],
            free: NOWHERE,
            fresh: 0,
            held: 0,
            now: Instant::ORIGIN,
            ready: heapless::Deque::new(),
        }
    }

    /// Takes in a packet that has an order number in a domain. Work: constant, and one step per number the window moves,
    /// at most `WINDOW`.
    ///
    /// # Errors
    /// The slot comes back with [`DropReason::Duplicate`] when its number arrived before or is too far behind to tell
    /// (but a long row of the latter is taken for the peer's true numbers, and the domain counts anew with them), with
    /// [`DropReason::QueueFull`] when the port did not drain, and with [`DropReason::Malformed`] when there is no such
    /// domain.
    pub fn accept(&mut self, domain: usize, order: Order, slot: Slot, wait: Wait) -> Result<(), (Slot, DropReason)> {
        let Order(order) = order;
        let Some(state) = self.domains.get_mut(domain) else { return Err((slot, DropReason::Malformed)) };
        match state.seen.check(order) {
            Seen::Never => state.strays = 0,
            Seen::Before => return Err((slot, DropReason::Duplicate)),
            Seen::Unknown => {
                state.strays = state.strays.saturating_add(1);
                if state.strays < STRAYS {
                    return Err((slot, DropReason::Duplicate));
                }
                self.restart_domain(domain);
            }
        }
        self.now = wait.at;
        let Some(state) = self.domains.get_mut(domain) else { return Err((slot, DropReason::Malformed)) };
        state.depth.late = state.depth.late.saturating_add(state.next.is_some_and(|next| order < next).into());
        let next = *state.next.get_or_insert(order);
        if order <= next && self.held == 0 && self.ready.len() < WINDOW {
            // In order, or late: nothing waits.
            state.next = Some(next.max(order.saturating_add(1)));
            state.seen.mark(order);
            return self.ready.push_back(slot).map_err(|slot| (slot, DropReason::QueueFull));
        }
        if order < next {
            self.pass(slot)?;
        } else {
            if self.held.saturating_add(self.ready.len()) >= WINDOW {
                return Err((slot, DropReason::QueueFull));
            }
            if order.saturating_sub(next) >= WINDOW as u64 {
                self.skip_to(domain, order.saturating_sub(WINDOW as u64).saturating_add(1));
            }
            self.hold(domain, order, slot, wait);
            self.release_run(domain);
            if self.held >= WINDOW {
                self.make_room();
            }
        }
        if let Some(state) = self.domains.get_mut(domain) {
            state.seen.mark(order);
        }
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

    /// Takes in a packet of a domain that waits for no other, yet is not delivered twice.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn pass_once(&mut self, domain: usize, order: Order, slot: Slot) -> Result<(), (Slot, DropReason)> {
        let Order(order) = order;
        let Some(state) = self.domains.get_mut(domain) else { return Err((slot, DropReason::Malformed)) };
        if state.seen.check(order) != Seen::Never {
            return Err((slot, DropReason::Duplicate));
        }
        self.pass(slot)?;
        if let Some(state) = self.domains.get_mut(domain) {
            state.seen.mark(order);
            state.next = state.next.max(Some(order.saturating_add(1)));
        }
        Ok(())
    }

    /// Every packet of the domain before `order` that is missing is lost on its way: it can only come by being sent
    /// again, which is waited for until `until`, or until what an earlier proof of the same said.
    pub fn prove_lost(&mut self, domain: usize, order: u64, until: Instant) {
        if let Some(state) = self.domains.get_mut(domain)
            && let Some(next) = state.next.filter(|next| *next < order && state.oldest != NOWHERE)
        {
            if state.lost_below <= next {
                (state.lost_below, state.lost_until) = (order, until);
            }
            state.due = state.due.min(state.lost_until);
        }
    }

    /// The next packet for the device.
    pub fn poll(&mut self) -> Option<Slot> {
        self.ready.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.held == 0 {
            return None;
        }
        self.domains.iter().filter_map(|domain| self.due(domain)).min()
    }

    fn due(&self, domain: &Domain) -> Option<Instant> {
        let oldest = self.places.get(usize::from(domain.oldest))?;
        Some(domain.due.min(oldest.arrival + HOLD_LIMIT))
    }

    /// Gives up the missing packets whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.held > 0 {
            self.now = now;
        }
        for domain in 0..DOMAINS {
            while self.domains.get(domain).and_then(|state| self.due(state)).is_some_and(|due| due <= now) {
                self.skip_hole(domain);
            }
        }
    }

    /// Releases everything held and forgets what arrived: the peer counts anew.
    pub fn restart(&mut self) {
        for domain in 0..DOMAINS {
            self.restart_domain(domain);
        }
    }

    /// The lowest order number of a domain neither delivered nor given up; none until its first packet.
    #[must_use]
    pub fn expected(&self, domain: usize) -> Option<u64> {
        self.domains.get(domain)?.next
    }

    /// Packets that wait for a missing one.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Packets that wait for a missing one of their domain.
    #[must_use]
    pub fn is_holding(&self, domain: usize) -> bool {
        self.domains.get(domain).is_some_and(|domain| domain.oldest != NOWHERE)
    }

    /// How packets of a domain waited; none when there is no such domain.
    #[must_use]
    pub fn depth(&self, domain: usize, now: Instant) -> Option<Depth> {
        let state = self.domains.get(domain)?;
        let oldest = self.places.get(usize::from(state.oldest)).map_or(now, |place| place.arrival);
        Some(Depth { waiting: now.since(oldest), ..state.depth })
    }

    fn restart_domain(&mut self, domain: usize) {
        while self.is_holding(domain) {
            self.skip_hole(domain);
        }
        if let Some(state) = self.domains.get_mut(domain) {
            *state = Domain { depth: state.depth, ..Domain::EMPTY };
        }
    }

    /// Gives up what is missing first before the packet that waits longest.
    fn make_room(&mut self) {
        let oldest = |domain: &usize| {
            let state = self.domains.get(*domain)?;
            Some(self.places.get(usize::from(state.oldest))?.arrival)
        };
        if let Some(domain) = (0..DOMAINS).filter(|domain| self.is_holding(*domain)).min_by_key(|domain| oldest(domain))
        {
            self.skip_hole(domain);
        }
    }

    /// Gives up the missing numbers before the first packet held.
    fn skip_hole(&mut self, domain: usize) {
        let Some(next) = self.domains.get(domain).and_then(|state| state.next) else { return };
        let first = (0..WINDOW as u64)
            .map(|step| next.saturating_add(step))
            .find(|number| self.find(domain, *number).is_some());
        if let (Some(first), Some(state)) = (first, self.domains.get_mut(domain)) {
            state.next = Some(first);
            state.depth.give_up(first.saturating_sub(next));
            self.release_run(domain);
        }
    }

    /// Moves the window's start to `target`, releasing in order what is held before it.
    fn skip_to(&mut self, domain: usize, target: u64) {
        let next = self.expected(domain).unwrap_or(target);
        let mut released = 0_u64;
        for number in next..target.min(next.saturating_add(WINDOW as u64)) {
            if !self.is_holding(domain) {
                break;
            }
            released = released.saturating_add(self.release(domain, number).into());
        }
        if let Some(state) = self.domains.get_mut(domain) {
            state.depth.give_up(target.saturating_sub(next).saturating_sub(released));
            state.next = Some(target);
        }
        self.follow_head(domain);
    }

    /// Releases what is held without a hole from the window's start on.
    fn release_run(&mut self, domain: usize) {
        let mut has_moved = false;
        while let Some(next) = self.expected(domain)
            && self.release(domain, next)
        {
            has_moved = true;
            if let Some(state) = self.domains.get_mut(domain) {
                state.next = Some(next.saturating_add(1));
            }
        }
        if has_moved {
            self.follow_head(domain);
        }
    }

    /// Another number is missing first: it is waited for as long as the packet right behind it may wait.
    fn follow_head(&mut self, domain: usize) {
        let Some(next) = self.expected(domain) else { return };
        let mut due = Domain::EMPTY.due;
        if self.is_holding(domain) {
            let first = (0..WINDOW as u64).find_map(|step| self.find(domain, next.saturating_add(step)));
            due = first.and_then(|index| self.places.get(usize::from(index))).map_or(due, |place| place.until);
        }
        if let Some(state) = self.domains.get_mut(domain) {
            state.due = if next < state.lost_below { due.min(state.lost_until) } else { due };
        }
    }

    /// The place that holds the packet with this number.
    fn find(&self, domain: usize, number: u64) -> Option<u16> {
        let index = *self.rings.get(domain)?.get(Self::place(number))?;
        (index != NOWHERE).then_some(index)
    }

    /// Moves the packet with this number, if held, to the port's queue.
    fn release(&mut self, domain: usize, number: u64) -> bool {
        let Some(index) = self.find(domain, number) else { return false };
        let Some(place) = self.places.get_mut(usize::from(index)) else { return false };
        let Some(slot) = place.slot.take() else { return false };
        let (earlier, later) = (place.earlier, place.later);
        let waited = self.now.since(place.arrival);
        place.later = core::mem::replace(&mut self.free, index);
        self.held = self.held.saturating_sub(1);
        if let Some(entry) = self.rings.get_mut(domain).and_then(|ring| ring.get_mut(Self::place(number))) {
            *entry = NOWHERE;
        }
        if let Some(place) = self.places.get_mut(usize::from(earlier)) {
            place.later = later;
        }
        if let Some(place) = self.places.get_mut(usize::from(later)) {
            place.earlier = earlier;
        }
        if let Some(state) = self.domains.get_mut(domain) {
            state.depth.release(waited);
            state.oldest = if earlier == NOWHERE { later } else { state.oldest };
            state.newest = if later == NOWHERE { earlier } else { state.newest };
        }
        // There is room: what was held is counted in `held + ready.len() <= WINDOW`.
        self.ready.push_back(slot).is_ok()
    }

    /// There is a free place: fewer than `WINDOW` packets are held.
    fn hold(&mut self, domain: usize, order: u64, slot: Slot, wait: Wait) {
        let index = if self.free == NOWHERE { self.fresh } else { self.free };
        let until = wait.at + wait.patience;
        let Some(state) = self.domains.get_mut(domain) else { return };
        let Some(place) = self.places.get_mut(usize::from(index)) else { return };
        if index == self.free {
            self.free = place.later;
        } else {
            self.fresh = index.saturating_add(1);
        }
        let last = core::mem::replace(&mut state.newest, index);
        *place = Place { slot: Some(slot), arrival: wait.at, until, earlier: last, later: NOWHERE };
        state.due = state.due.min(until);
        state.depth.held = state.depth.held.saturating_add(1);
        if last == NOWHERE {
            state.oldest = index;
        }
        if let Some(place) = self.places.get_mut(usize::from(last)) {
            place.later = index;
        }
        if let Some(entry) = self.rings.get_mut(domain).and_then(|ring| ring.get_mut(Self::place(order))) {
            *entry = index;
        }
        self.held = self.held.saturating_add(1);
    }

    const fn place(number: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "below WINDOW, which is a usize")]
        let place = (number & Self::MASK) as usize;
        place
    }
}

impl<const WINDOW: usize, const DOMAINS: usize> Default for Reorder<WINDOW, DOMAINS> {
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
        reorder: Reorder<8, 1>,
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
            self.reorder.accept(0, Order(number), slot, Wait { at: now, patience: HOLD }).map_err(
                |(slot, reason)| {
                    self.pool.put(slot);
                    reason
                },
            )?;
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
            self.reorder.handle_timeout(Instant::ORIGIN + Duration::from_millis(at_ms));
            self.drain()
        }

        fn deadline_ms(&self) -> Option<u64> {
            self.reorder.deadline().map(|at| at.micros() / 1_000)
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
    fn how_packets_waited_is_counted() {
        let mut bench = Bench::new();
        let depth =
            |bench: &Bench, at_ms| bench.reorder.depth(0, Instant::ORIGIN + Duration::from_millis(at_ms)).unwrap();
        bench.put(0, 0).unwrap();
        assert_eq!(depth(&bench, 4), Depth::default());
        bench.put(3, 5).unwrap();
        bench.put(4, 9).unwrap();
        let (held, waiting) = (2, Duration::from_millis(6));
        assert_eq!(depth(&bench, 11), Depth { held, waiting, ..Depth::default() });
        bench.timeout(15);
        let (total, longest) = (Duration::from_millis(16), Duration::from_millis(10));
        let given_up = Depth { waited: 2, total, longest, given_up: 2, ..Depth::default() };
        assert_eq!(depth(&bench, 15), given_up);
        bench.put(1, 16).unwrap();
        let late = Depth { late: 1, ..given_up };
        assert_eq!((depth(&bench, 16), late.missing()), (late, 1));
        // A window that moves gives up what is not there: 5 to 99 of which 6 was held.
        bench.put(6, 20).unwrap();
        bench.put(107, 21).unwrap();
        let moved = depth(&bench, 21);
        assert_eq!((moved.given_up, moved.waited, moved.held), (2 + 94, 3, 1));
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

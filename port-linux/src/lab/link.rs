// SPDX-License-Identifier: BSD-2-Clause
//! The one model of a one-way link: a queue, a bottleneck, and a wire with delay and mishaps.
//!
//! ```text
//! offer ─▶ queue (limit) ─▶ bottleneck (rate or trace) ─▶ loss, duplicates ─▶ delay, jitter, stalls ─▶ poll
//! ```
//!
//! Pure and deterministic: time is an argument, chance comes from a seed, and nothing is read or written. The payload
//! is a handle of any kind; its length is told separately.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mlvpn_core::words::time::{Duration, Instant};

pub use super::counters::{Counters, Loss, Losses};
pub use super::direction::{BurstLoss, Capacity, Change, Direction, Handover, QueueLimit, RandomDelay, Reorder};
use super::mishaps::Mishaps;
use super::trace::{OPPORTUNITY_BYTES, Trace};

/// A packet refused by [`LinkModel::offer`], handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped<T> {
    /// The packet.
    pub item: T,
    /// Why it was refused: [`Loss::Down`] or [`Loss::QueueFull`].
    pub why: Loss,
}

/// The model of a one-way link. Drive it in any order with times that do not run backwards (an earlier time counts as
/// the latest one seen):
///
/// 1. [`offer`](Self::offer) each packet sent;
/// 2. call [`poll`](Self::poll) until it yields nothing, at the latest when [`next_event`](Self::next_event) has come.
///
/// Late calls lose nothing: what happened in between is worked out in order of time, only delivery is late. A call's
/// work grows with the packets that left the bottleneck since the last one. Packets lost inside the model are dropped
/// in place (`T`'s own `Drop` returns whatever it holds).
#[derive(Clone, Debug)]
pub struct LinkModel<T> {
    direction: Direction,
    start_nanos: u64,
    /// Everything up to here has happened. Nanoseconds, because a packet on a fast link takes fractions of a
    /// microsecond.
    now_nanos: u64,
    is_up: bool,
    /// Index into `direction.schedule`, which is sorted by time.
    next_change: usize,
    queue: VecDeque<Waiting<T>>,
    queue_bytes: u64,
    /// Unsent rest of the packet at the head of `queue`.
    head: Head,
    in_flight: BinaryHeap<Reverse<InFlight<T>>>,
    /// Number of packets put in flight; breaks ties in the order of sending.
    sequence: u64,
    latest_due_nanos: u64,
    mishaps: Mishaps,
    counters: Counters,
}

/// Unsent rest of the head packet, kept for both kinds of capacity, and the trace's position.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Bits times 10^9, so that rates in bits per second and times in nanoseconds multiply without rounding.
    nanobits: u64,
    /// Bytes still to be taken by delivery opportunities.
    trace_bytes: u64,
    /// The first opportunity not yet begun.
    next_opportunity: u64,
    /// What the last one begun can still take, if its time is now.
    left_bytes: u64,
    left_at_nanos: u64,
}

impl Head {
    /// How many new opportunities the packet needs.
    fn opportunities(&self) -> u64 {
        self.trace_bytes.saturating_sub(self.left_bytes).div_ceil(u64::from(OPPORTUNITY_BYTES))
    }

    /// Chances that passed while nothing waited are gone.
    fn forget_past(&mut self, trace: &Trace, start_nanos: u64, now_nanos: u64) {
        if self.left_at_nanos < now_nanos {
            self.left_bytes = 0;
        }
        self.next_opportunity = self.next_opportunity.max(trace.first_at_or_after(now_nanos - start_nanos));
    }

    /// The packet has been sent: takes what it used off the trace.
    fn use_up(&mut self, now_nanos: u64) {
        let used = self.opportunities();
        self.left_bytes = (self.left_bytes + used * u64::from(OPPORTUNITY_BYTES)).saturating_sub(self.trace_bytes);
        self.next_opportunity += used;
        self.left_at_nanos = now_nanos;
    }
}

#[derive(Clone, Debug)]
struct Waiting<T> {
    item: T,
    len: u32,
}

#[derive(Clone, Debug)]
struct InFlight<T> {
    due_nanos: u64,
    sequence: u64,
    item: T,
    len: u32,
}

impl<T> InFlight<T> {
    fn key(&self) -> (u64, u64) {
        (self.due_nanos, self.sequence)
    }
}

impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for InFlight<T> {}

impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T: Clone> LinkModel<T> {
    /// A link that is up and empty at `start`; `seed` decides all its mishaps.
    #[must_use]
    pub fn new(mut direction: Direction, seed: u64, start: Instant) -> Self {
        // Stable: changes of one instant keep the order they were written in.
        direction.schedule.sort_by_key(|&(at, _)| at);
        let start_nanos = nanos(start.micros());
        Self {
            direction,
            start_nanos,
            now_nanos: start_nanos,
            is_up: true,
            next_change: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            head: Head::default(),
            in_flight: BinaryHeap::new(),
            sequence: 0,
            latest_due_nanos: 0,
            mishaps: Mishaps::new(seed),
            counters: Counters::default(),
        }
    }

    /// Sends a packet of `len_bytes` (overhead not included) at `now`.
    ///
    /// # Errors
    /// The packet itself, when the link is down or its queue full. Other losses happen later and show in
    /// [`counters`](Self::counters) only, as on a real link.
    pub fn offer(&mut self, item: T, len_bytes: u32, now: Instant) -> Result<(), Dropped<T>> {
        self.advance(now);
        self.counters.offered += 1;
        self.counters.offered_bytes += u64::from(len_bytes);
        let refusal = if self.is_up { self.queue_refusal(len_bytes) } else { Some(Loss::Down) };
        if let Some(why) = refusal {
            self.counters.lost.count(why, 1);
            return Err(Dropped { item, why });
        }
        self.queue_bytes += self.wire_bytes(len_bytes);
        self.counters.queue_high_water_bytes = self.counters.queue_high_water_bytes.max(self.queue_bytes);
        self.queue.push_back(Waiting { item, len: len_bytes });
        if self.queue.len() == 1 {
            self.begin_head();
        }
        self.advance(now);
        Ok(())
    }

    /// The next packet that has arrived by `now`, in order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        self.advance(now);
        if self.in_flight.peek()?.0.due_nanos > self.now_nanos {
            return None;
        }
        let Reverse(arrived) = self.in_flight.pop()?;
        self.counters.delivered += 1;
        self.counters.delivered_bytes += u64::from(arrived.len);
        Some(arrived.item)
    }

    /// When to poll again: no packet arrives earlier. `None` while the link is empty, or stopped for good.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.peek().map(|Reverse(first)| first.due_nanos);
        // A packet that still has to pass the bottleneck arrives a whole delay later at the earliest.
        let passage = self.head_done_at().map(|at| at.saturating_add(nanos(self.direction.delay.micros())));
        let held = !(self.queue.is_empty() && self.in_flight.is_empty());
        let change = if held { self.next_change_at() } else { None };
        let earliest = [arrival, passage, change].into_iter().flatten().min()?;
        Some(Instant::from_micros(earliest.div_ceil(1_000)))
    }

    /// Applies a change now, beside whatever the schedule does.
    pub fn change(&mut self, change: Change, now: Instant) {
        self.advance(now);
        self.apply(change);
    }

    /// Takes the link up or down now; see [`Change::Up`].
    pub fn set_up(&mut self, up: bool, now: Instant) {
        self.change(Change::Up(up), now);
    }

    /// Sets the rate in bits per second now; see [`Change::Rate`].
    pub fn set_rate(&mut self, bits_per_second: u64, now: Instant) {
        self.change(Change::Rate(bits_per_second), now);
    }

    /// Whether the link is up, as of the last call that told the time.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Packets inside: waiting or on the wire.
    #[must_use]
    pub fn held(&self) -> u64 {
        (self.queue.len() + self.in_flight.len()) as u64
    }

    /// Bytes waiting for the bottleneck, overhead included.
    #[must_use]
    pub const fn queue_bytes(&self) -> u64 {
        self.queue_bytes
    }

    /// What the link has done since its start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn wire_bytes(&self, len: u32) -> u64 {
        u64::from(len) + u64::from(self.direction.overhead_bytes)
    }

    fn queue_refusal(&self, len: u32) -> Option<Loss> {
        let limit = match (self.direction.queue, &self.direction.capacity) {
            (QueueLimit::Bytes(bytes), _) => bytes,
            (QueueLimit::Time(_), Capacity::Unlimited) => u64::MAX,
            (QueueLimit::Time(span), Capacity::Rate(rate)) => bytes_in(*rate, span),
            (QueueLimit::Time(span), Capacity::Trace(trace)) => bytes_in(trace.mean_rate_bps(), span),
        };
        let full = !self.queue.is_empty() && self.queue_bytes + self.wire_bytes(len) > limit;
        full.then_some(Loss::QueueFull)
    }

    /// Lets everything happen that was due by `now`, in order of time.
    fn advance(&mut self, now: Instant) {
        let target = nanos(now.micros()).max(self.now_nanos);
        loop {
            let change = self.next_change_at().filter(|&at| at <= target);
            let done = self.head_done_at().filter(|&at| at <= target);
            match (change, done) {
                (Some(at), done) if done.is_none_or(|done| at <= done) => {
                    self.run_bottleneck_to(at);
                    let (_, change) = self.direction.schedule[self.next_change];
                    self.next_change += 1;
                    self.apply(change);
                }
                (_, Some(at)) => {
                    self.run_bottleneck_to(at);
                    self.depart();
                }
                (_, None) => return self.run_bottleneck_to(target),
            }
        }
    }

    fn next_change_at(&self) -> Option<u64> {
        let (at, _) = self.direction.schedule.get(self.next_change)?;
        Some(self.start_nanos.saturating_add(nanos(at.micros())))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Up(true) => self.is_up = true,
            Change::Up(false) => {
                self.is_up = false;
                let lost = self.lose_everything();
                self.counters.lost.count(Loss::Down, lost);
            }
            Change::Rate(rate) => self.direction.capacity = Capacity::Rate(rate),
        }
    }

    /// Empties queue and wire; how many packets they held. What has arrived but was not yet polled stays.
    fn lose_everything(&mut self) -> u64 {
        let before = self.held();
        self.queue.clear();
        self.queue_bytes = 0;
        let now_nanos = self.now_nanos;
        self.in_flight.retain(|Reverse(packet)| packet.due_nanos <= now_nanos);
        before - self.held()
    }

    /// When the head packet will have passed the bottleneck, if nothing changes.
    fn head_done_at(&self) -> Option<u64> {
        self.queue.front()?;
        match &self.direction.capacity {
            Capacity::Unlimited => Some(self.now_nanos),
            Capacity::Rate(0) => None,
            Capacity::Rate(rate) => Some(self.now_nanos.saturating_add(self.head.nanobits.div_ceil(*rate))),
            Capacity::Trace(trace) => Some(self.head_done_on(trace)),
        }
    }

    fn head_done_on(&self, trace: &Trace) -> u64 {
        match self.head.opportunities().checked_sub(1) {
            None => self.now_nanos,
            Some(further) => {
                let last = trace.nanos_of(self.head.next_opportunity.saturating_add(further));
                self.start_nanos.saturating_add(last).max(self.now_nanos)
            }
        }
    }

    /// Sends part of the head packet; the caller sees to it that no packet ends before `at`.
    fn run_bottleneck_to(&mut self, at: u64) {
        if let Capacity::Rate(rate) = self.direction.capacity {
            let sent = u128::from(at - self.now_nanos) * u128::from(rate);
            self.head.nanobits = self.head.nanobits.saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX));
        }
        self.now_nanos = at;
    }

    /// Sets the counters of the packet that has just come to the head of the queue.
    fn begin_head(&mut self) {
        let Some(len) = self.queue.front().map(|waiting| waiting.len) else { return };
        let wire = self.wire_bytes(len);
        self.head.nanobits = wire.saturating_mul(8_000_000_000);
        self.head.trace_bytes = wire;
        if let Capacity::Trace(trace) = &self.direction.capacity {
            self.head.forget_past(trace, self.start_nanos, self.now_nanos);
        }
    }

    /// The head packet has passed the bottleneck: it meets its fate, and the next one moves up.
    fn depart(&mut self) {
        let Some(waiting) = self.queue.pop_front() else { return };
        let wire = self.wire_bytes(waiting.len);
        self.queue_bytes -= wire;
        self.counters.carried_bytes += wire;
        self.head.use_up(self.now_nanos);
        self.begin_head();
        let since_start = Duration::from_micros((self.now_nanos - self.start_nanos) / 1_000);
        if let Some(why) = self.mishaps.loss(&self.direction, since_start) {
            self.counters.lost.count(why, 1);
            return;
        }
        let due_nanos = self.due_nanos();
        if self.mishaps.duplicates(&self.direction) {
            self.counters.duplicated += 1;
            self.launch(waiting.item.clone(), waiting.len, due_nanos);
        }
        self.launch(waiting.item, waiting.len, due_nanos);
    }

    fn due_nanos(&mut self) -> u64 {
        let delay = self.direction.delay + self.mishaps.delay(&self.direction);
        let mut due = self.now_nanos.saturating_add(nanos(delay.micros()));
        if self.direction.keeps_order {
            due = due.max(self.latest_due_nanos);
            self.latest_due_nanos = due;
        }
        due.saturating_add(nanos(self.mishaps.setback(&self.direction).micros()))
    }

    fn launch(&mut self, item: T, len: u32, due_nanos: u64) {
        self.in_flight.push(Reverse(InFlight { due_nanos, sequence: self.sequence, item, len }));
        self.sequence += 1;
    }
}

/// Bytes sent at `rate` bits per second in `span`.
fn bytes_in(rate: u64, span: Duration) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(span.micros()) / 8_000_000).unwrap_or(u64::MAX)
}

const fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::chance::{Probability, Shape};

    const MS: u64 = 1_000;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn model(direction: Direction) -> LinkModel<u32> {
        LinkModel::new(direction, 1, Instant::ORIGIN)
    }

    fn rate(bps: u64) -> Direction {
        Direction { capacity: Capacity::Rate(bps), delay: Duration::from_millis(10), ..Direction::default() }
    }

    /// Polls at each event until none is left; what arrived when, in microseconds.
    fn drain(link: &mut LinkModel<u32>) -> Vec<(u32, u64)> {
        let mut arrivals = Vec::new();
        while let Some(event) = link.next_event() {
            while let Some(item) = link.poll(event) {
                arrivals.push((item, event.micros()));
            }
        }
        arrivals
    }

    #[test]
    fn packets_leave_one_after_the_other_at_the_rate_and_arrive_a_delay_later() {
        let mut link = model(rate(12_000_000));
        for item in 0..3 {
            link.offer(item, 1500, at(0)).expect("fits");
        }
        assert_eq!(drain(&mut link), [(0, 11 * MS), (1, 12 * MS), (2, 13 * MS)]);
    }

    #[test]
    fn overhead_is_sent_with_each_packet() {
        let mut link = model(Direction { overhead_bytes: 100, ..rate(12_000_000) });
        link.offer(0, 1400, at(0)).expect("fits");
        assert_eq!(drain(&mut link), [(0, 11 * MS)]);
        assert_eq!((link.counters().carried_bytes, link.counters().delivered_bytes), (1500, 1400));
    }

    #[test]
    fn a_full_queue_hands_the_packet_back_but_the_first_always_fits() {
        let mut link = model(Direction { queue: QueueLimit::Bytes(2000), ..rate(8_000) });
        link.offer(0, 3000, at(0)).expect("the first always fits");
        assert_eq!(link.offer(1, 10, at(0)), Err(Dropped { item: 1, why: Loss::QueueFull }));
        assert_eq!(link.counters().lost.queue_full, 1);
        assert_eq!(link.counters().queue_high_water_bytes, 3000);
    }

    #[test]
    fn a_queue_in_milliseconds_follows_the_rate() {
        let mut link = model(Direction { queue: QueueLimit::Time(Duration::from_millis(10)), ..rate(12_000_000) });
        let taken = (0..40).filter(|&item| link.offer(item, 1500, at(0)).is_ok()).count();
        assert_eq!(taken, 10);
        link.set_rate(24_000_000, at(0));
        let taken = (0..40).filter(|&item| link.offer(item, 1500, at(0)).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn a_rate_step_applies_to_the_rest_of_the_packet_being_sent() {
        let mut link = model(rate(12_000_000));
        link.offer(0, 3000, at(0)).expect("fits");
        link.set_rate(6_000_000, at(MS));
        assert_eq!(drain(&mut link), [(0, 13 * MS)]);
    }

    #[test]
    fn a_link_going_down_loses_what_it_holds_but_not_what_has_arrived() {
        let schedule =
            vec![(Duration::from_millis(12), Change::Up(false)), (Duration::from_millis(20), Change::Up(true))];
        let mut link = model(Direction { schedule, ..rate(12_000_000) });
        for item in 0..5 {
            link.offer(item, 1500, at(0)).expect("fits");
        }
        assert_eq!(link.poll(at(15 * MS)), Some(0));
        assert_eq!(link.poll(at(15 * MS)), Some(1));
        assert_eq!(link.poll(at(15 * MS)), None);
        assert_eq!(link.offer(9, 1500, at(19 * MS)), Err(Dropped { item: 9, why: Loss::Down }));
        link.offer(10, 1500, at(20 * MS)).expect("up again");
        assert_eq!(drain(&mut link), [(10, 31 * MS)]);
        assert_eq!(link.counters().lost.down, 4);
    }

    #[test]
    fn a_stopped_link_keeps_its_queue_until_the_rate_returns() {
        let mut link = model(rate(0));
        link.offer(7, 1500, at(0)).expect("the first always fits");
        assert_eq!(link.next_event(), None);
        link.set_rate(12_000_000, at(5 * MS));
        assert_eq!(drain(&mut link), [(7, 16 * MS)]);
    }

    #[test]
    fn a_trace_delivers_1500_bytes_at_each_opportunity() {
        let trace = Trace::parse("1\n4\n10\n").expect("well formed");
        let mut link = model(Direction { capacity: Capacity::Trace(trace), ..Direction::default() });
        // Two small packets share an opportunity, a large one takes two, and unused chances are gone.
        link.offer(0, 700, at(0)).expect("fits");
        link.offer(1, 800, at(0)).expect("fits");
        link.offer(2, 1501, at(0)).expect("fits");
        assert_eq!(drain(&mut link), [(0, MS), (1, MS), (2, 10 * MS)]);
        link.offer(3, 1500, at(15 * MS)).expect("fits");
        assert_eq!(drain(&mut link), [(3, 20 * MS)]);
    }

    #[test]
    fn stalls_hold_up_those_behind_them_or_are_overtaken_as_asked() {
        let stall = RandomDelay {
            chance: Probability::from_percent(10),
            shape: Shape::Exponential,
            scale: Duration::from_millis(15),
        };
        let run = |keeps_order| {
            let mut link = model(Direction { stall: Some(stall), keeps_order, ..rate(120_000_000) });
            for item in 0..1_000 {
                link.offer(item, 1500, at(u64::from(item) * MS)).expect("fits");
            }
            drain(&mut link)
        };
        let ordered: Vec<u32> = run(true).into_iter().map(|(item, _)| item).collect();
        assert!(ordered.is_sorted() && ordered.len() == 1_000);
        let overtaken: Vec<u32> = run(false).into_iter().map(|(item, _)| item).collect();
        assert!(!overtaken.is_sorted() && overtaken.len() == 1_000);
    }

    #[test]
    fn losses_come_at_the_rates_asked_for() {
        let burst = BurstLoss {
            enter: Probability::from_millionths(5_000),
            leave: Probability::from_percent(20),
            loss_in_bad: Probability::ALWAYS,
            loss_in_good: Probability::NEVER,
        };
        let handover = Handover {
            period: Duration::from_secs(1),
            length: Duration::from_millis(100),
            loss: Probability::from_percent(50),
        };
        let mut link = model(Direction {
            random_loss: Probability::from_percent(2),
            burst_loss: Some(burst),
            handover: Some(handover),
            duplicate: Probability::from_percent(1),
            ..Direction::default()
        });
        for item in 0..100_000 {
            link.offer(item, 100, at(u64::from(item) * MS)).expect("no limit");
        }
        drain(&mut link);
        let counters = link.counters();
        assert!(counters.lost.random.abs_diff(2_000) < 200, "{counters:?}");
        // Enter / (enter + leave) = 2.4 % of packets meet the bad state.
        assert!(counters.lost.burst.abs_diff(2_400) < 500, "{counters:?}");
        // A tenth of the packets, less the first second and what the other losses took before.
        assert!(counters.lost.handover.abs_diff(4_750) < 400, "{counters:?}");
        assert!(counters.duplicated.abs_diff(900) < 150, "{counters:?}");
        assert_eq!(counters.offered + counters.duplicated, counters.delivered + counters.lost.total());
    }

    #[test]
    fn flapping_is_written_as_a_schedule() {
        let second = Duration::from_secs(1);
        let direction = Direction::default().flapping(second, second, second, 2);
        let ups: Vec<(u64, Change)> =
            direction.schedule.iter().map(|(time, change)| (time.millis(), *change)).collect();
        let expected = [
            (1_000, Change::Up(false)),
            (2_000, Change::Up(true)),
            (3_000, Change::Up(false)),
            (4_000, Change::Up(true)),
        ];
        assert_eq!(ups, expected);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The reorder buffer against a sorted list with deadlines, and against its promises.

use std::collections::{BTreeMap, HashSet};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::stages::reorder::Reorder;
use mlvpn_core::state::replay::ReplayWindow;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ids::Order;
use mlvpn_core::words::limits::REPLAY_WORDS;
use mlvpn_core::words::time::{Duration, Instant};
use proptest::prelude::*;

const WINDOW: usize = 16;
const SLOTS: usize = 24;
const HOLD: Duration = Duration::from_millis(10);

/// What a buffer should do, as plainly as it can be said.
#[derive(Default)]
struct Model {
    next: Option<u64>,
    /// Number and, for those of one arrival time, which came first.
    held: BTreeMap<u64, (Instant, usize)>,
    seen: HashSet<u64>,
    count: usize,
    strays: usize,
}

impl Model {
    fn accept(&mut self, number: u64, now: Instant) -> Result<Vec<u64>, DropReason> {
        let highest = self.seen.iter().max().copied();
        let is_far_behind = highest.is_some_and(|h| h >= number && h - number >= ReplayWindow::<REPLAY_WORDS>::SPAN);
        if is_far_behind {
            return self.stray(number, now);
        }
        if !self.seen.insert(number) {
            return Err(DropReason::Duplicate);
        }
        self.strays = 0;
        let next = *self.next.get_or_insert(number);
        if number < next {
            return Ok(vec![number]);
        }
        self.count += 1;
        self.held.insert(number, (now, self.count));
        let start = (number + 1).saturating_sub(WINDOW as u64).max(next);
        Ok(self.advance(start))
    }

    /// One far behind is refused; the last of 32 in a row is the first of a new count.
    fn stray(&mut self, number: u64, now: Instant) -> Result<Vec<u64>, DropReason> {
        self.strays += 1;
        if self.strays < 32 {
            return Err(DropReason::Duplicate);
        }
        let mut out: Vec<u64> = self.held.keys().copied().collect();
        *self = Self::default();
        out.extend(self.accept(number, now)?);
        Ok(out)
    }

    /// Gives up everything below `start`.
    fn advance(&mut self, start: u64) -> Vec<u64> {
        let mut next = start;
        let mut out: Vec<u64> = self.held.range(..start).map(|(number, _)| *number).collect();
        while self.held.contains_key(&next) {
            out.push(next);
            next += 1;
        }
        self.held.retain(|number, _| *number >= next);
        self.next = Some(next);
        out
    }

    fn timeout(&mut self, now: Instant) -> Vec<u64> {
        let mut out = Vec::new();
        while let Some((number, (at, _))) = self.held.iter().min_by_key(|(_, arrival)| **arrival)
            && *at + HOLD <= now
        {
            out.extend(self.advance(number + 1));
        }
        out
    }

    fn deadline(&self) -> Option<Instant> {
        self.held.values().min().map(|(at, _)| *at + HOLD)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet this far from the number sent last arrives.
    Arrive(i64),
    /// Microseconds pass.
    Wait(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let jump = prop_oneof![
        10 => Just(1i64),
        6 => -6..7i64,
        2 => -20..40i64,
        1 => prop::sample::select(vec![15, 16, 17, -15, -16, -17, 4_030, 4_031, 4_032, -4_031, -4_032, -4_033, 100_000, 10_000_000]),
    ];
    let step = prop_oneof![
        12 => jump.prop_map(Step::Arrive),
        4 => (0..6_000u64).prop_map(Step::Wait),
        1 => (6_000..25_000u64).prop_map(Step::Wait),
    ];
    let step = prop_oneof![200 => step, 1 => Just(Step::Restart)];
    // The numbers never come to their end: by a million packets a second, that takes half a million years.
    (prop_oneof![0..40u64, 100_000..1_000_000u64, Just(1 << 60)], proptest::collection::vec(step, 1..300))
}

/// The buffer and its pool.
struct Buffer {
    reorder: Reorder<WINDOW>,
    pool: Pool<SLOTS>,
}

impl Buffer {
    fn new() -> Self {
        Self { reorder: Reorder::new(), pool: Pool::new() }
    }

    fn put(&mut self, number: u64, now: Instant) -> Result<(), DropReason> {
        let slot = self.pool.take().expect("a drained buffer leaves packets in the pool");
        assert!(self.pool.packet_mut(&slot).unwrap().copy_from(&number.to_be_bytes()));
        self.reorder.accept(Order(number), slot, now).map_err(|(slot, reason)| {
            self.pool.put(slot);
            reason
        })
    }

    fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| {
            let slot = self.reorder.poll()?;
            let bytes = self.pool.packet(&slot).unwrap().as_bytes().try_into().unwrap();
            self.pool.put(slot);
            Some(u64::from_be_bytes(bytes))
        })
        .collect()
    }

    fn in_use(&self) -> usize {
        SLOTS - self.pool.available()
    }
}

#[test]
fn the_buffer_does_what_a_sorted_list_with_deadlines_does() {
    let check = |(start, steps): (u64, Vec<Step>)| {
        let (mut buffer, mut model) = (Buffer::new(), Model::default());
        let (mut now, mut number) = (Instant::from_micros(1_000), start);
        for step in steps {
            match step {
                Step::Arrive(jump) => {
                    number = number.saturating_add_signed(jump);
                    let expected = model.accept(number, now);
                    let put = buffer.put(number, now);
                    prop_assert_eq!(put.map(|()| buffer.drain()), expected, "number {}", number);
                }
                Step::Wait(micros) => {
                    now += Duration::from_micros(micros);
                    buffer.reorder.handle_timeout(HOLD, now);
                    prop_assert_eq!(buffer.drain(), model.timeout(now));
                }
                Step::Restart => {
                    buffer.reorder.restart();
                    let held: Vec<u64> = model.held.keys().copied().collect();
                    prop_assert_eq!(buffer.drain(), held);
                    model = Model::default();
                }
            }
            prop_assert_eq!(buffer.reorder.deadline(HOLD), model.deadline());
            prop_assert_eq!(buffer.reorder.held(), model.held.len());
            prop_assert_eq!(buffer.in_use(), model.held.len());
        }
        Ok(())
    };
    super::runner(1_500).run(&steps(), check).unwrap();
}

/// A packet on its way: sent in order, arriving after its own delay, lost or doubled.
fn arrivals() -> impl Strategy<Value = Vec<(u64, u8)>> {
    proptest::collection::vec((0..15_000u64, 0..20u8), 1..300)
}

/// What came out, and when.
type Departures = Vec<(u64, Instant)>;

/// When each packet arrived first.
type Arrivals = BTreeMap<u64, Instant>;

/// Plays packets sent 400 µs apart.
fn play(packets: &[(u64, u8)]) -> Result<(Departures, Arrivals), TestCaseError> {
    let mut flights = Vec::new();
    for (number, (delay, fate)) in packets.iter().enumerate() {
        let at = Instant::from_micros(number as u64 * 400 + delay);
        match fate {
            0 => {}
            1 => flights.extend([(at, number as u64), (at + Duration::from_millis(3), number as u64)]),
            _ => flights.push((at, number as u64)),
        }
    }
    flights.sort();
    let (mut buffer, mut out, mut arrived) = (Buffer::new(), Vec::new(), BTreeMap::new());
    let end = (Instant::from_micros(u64::MAX / 2), u64::MAX);
    for (at, number) in flights.into_iter().chain([end]) {
        while let Some(due) = buffer.reorder.deadline(HOLD).filter(|due| *due <= at) {
            buffer.reorder.handle_timeout(HOLD, due);
            let released = buffer.drain();
            prop_assert!(!released.is_empty(), "a deadline that releases nothing");
            out.extend(released.into_iter().map(|number| (number, due)));
        }
        if (at, number) != end {
            prop_assert_eq!(buffer.put(number, at).is_ok(), !arrived.contains_key(&number));
            arrived.entry(number).or_insert(at);
            out.extend(buffer.drain().into_iter().map(|number| (number, at)));
        }
        prop_assert_eq!(buffer.in_use(), buffer.reorder.held());
    }
    prop_assert_eq!(buffer.in_use(), 0);
    Ok((out, arrived))
}

#[test]
fn the_promises_hold_over_paths_that_delay_lose_and_double() {
    let check = |packets: Vec<(u64, u8)>| {
        let (out, arrived) = play(&packets)?;
        prop_assert_eq!(out.len(), arrived.len(), "each packet that arrived leaves once");
        prop_assert_eq!(out.iter().map(|(number, _)| *number).collect::<HashSet<_>>().len(), out.len());
        let first = out.first().map_or(0, |(number, _)| *number);
        for (index, (number, left)) in out.iter().enumerate() {
            prop_assert!(*left <= arrived[number] + HOLD, "{} waited too long", number);
            // What was sent before the first to arrive cannot be known to be missing.
            for (late, _) in out[index + 1..].iter().filter(|(late, _)| late < number && *late > first) {
                prop_assert!(arrived[late] >= *left, "{} overtook {}, which was there", number, late);
                let by_then = || arrived.iter().filter(|(later, at)| *later > late && **at <= *left);
                let is_overdue = by_then().any(|(_, at)| *at + HOLD <= *left);
                let is_behind = by_then().any(|(later, _)| late + WINDOW as u64 <= *later);
                prop_assert!(is_overdue || is_behind, "{} overtook {}", number, late);
            }
        }
        Ok(())
    };
    super::runner(300).run(&arrivals(), check).unwrap();
}

#[test]
fn a_port_that_drains_seldom_gets_every_slot_back() {
    let check = |(numbers, drains): (Vec<u64>, Vec<bool>)| {
        let mut buffer = Buffer::new();
        let (mut accepted, mut out) = (HashSet::new(), Vec::new());
        for (number, drain) in numbers.into_iter().zip(drains) {
            match buffer.put(number, Instant::ORIGIN) {
                Ok(()) => prop_assert!(accepted.insert(number)),
                Err(DropReason::QueueFull) => prop_assert_eq!(buffer.in_use(), WINDOW),
                Err(reason) => prop_assert_eq!(reason, DropReason::Duplicate),
            }
            prop_assert!(buffer.in_use() <= WINDOW);
            if drain {
                out.extend(buffer.drain());
            }
        }
        buffer.reorder.restart();
        out.extend(buffer.drain());
        prop_assert_eq!(buffer.in_use(), 0);
        prop_assert_eq!(out.len(), accepted.len());
        prop_assert_eq!(out.into_iter().collect::<HashSet<_>>(), accepted);
        Ok(())
    };
    let drains = proptest::collection::vec(proptest::bool::weighted(0.1), 200);
    super::runner(500).run(&(proptest::collection::vec(0..60u64, 200), drains), check).unwrap();
}

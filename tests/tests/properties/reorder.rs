// SPDX-License-Identifier: BSD-2-Clause
//! The reorder buffer against sorted lists with deadlines, and against its promises.

use std::collections::{BTreeMap, HashSet};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::stages::reorder::{HOLD_LIMIT, Reorder, Wait};
use mlvpn_core::state::replay::ReplayWindow;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ids::Order;
use mlvpn_core::words::limits::REPLAY_WORDS;
use mlvpn_core::words::time::{Duration, Instant};
use proptest::prelude::*;

const WINDOW: usize = 16;
const DOMAINS: usize = 3;
const SLOTS: usize = 24;

/// A packet that waits: when it came, after how many others, and until when it lets an earlier one come.
type Held = (Instant, usize, Instant);

/// One order, as plainly as it can be said.
#[derive(Default)]
struct Domain {
    next: Option<u64>,
    held: BTreeMap<u64, Held>,
    seen: HashSet<u64>,
    strays: usize,
    /// When `next` is given up.
    due: Option<Instant>,
    /// What is missing below is lost, and awaited until then.
    lost: Option<(u64, Instant)>,
}

impl Domain {
    /// Another number is missing first.
    fn look_anew(&mut self) {
        let first = self.held.values().next().map(|held| held.2);
        let lost = self.lost.filter(|(below, _)| self.next.is_some_and(|next| next < *below));
        self.due = first.map(|until| lost.map_or(until, |(_, lost)| until.min(lost)));
    }

    /// Gives up everything below `start`.
    fn advance(&mut self, start: u64) -> Vec<u64> {
        let behind = self.held.split_off(&start);
        let mut out: Vec<u64> = std::mem::replace(&mut self.held, behind).into_keys().collect();
        self.next = Some(start);
        self.look_anew();
        out.extend(self.run());
        out
    }

    /// What no number is missing before.
    fn run(&mut self) -> Vec<u64> {
        let mut out = Vec::new();
        while let Some(next) = self.next.filter(|next| self.held.remove(next).is_some()) {
            out.push(next);
            self.next = Some(next + 1);
        }
        if !out.is_empty() {
            self.look_anew();
        }
        out
    }

    fn skip_hole(&mut self) -> Vec<u64> {
        let first = *self.held.keys().next().expect("a hole is before what is held");
        self.advance(first)
    }

    fn oldest(&self) -> Option<(Instant, usize)> {
        self.held.values().map(|(at, count, _)| (*at, *count)).min()
    }

    fn due(&self) -> Option<Instant> {
        Some((self.oldest()?.0 + HOLD_LIMIT).min(self.due?))
    }
}

/// What a buffer should do.
#[derive(Default)]
struct Model {
    domains: [Domain; DOMAINS],
    count: usize,
}

impl Model {
    fn accept(&mut self, domain: usize, number: u64, wait: Wait) -> Result<Vec<u64>, DropReason> {
        let state = &mut self.domains[domain];
        let highest = state.seen.iter().max().copied();
        if highest.is_some_and(|h| h >= number && h - number >= ReplayWindow::<REPLAY_WORDS>::SPAN) {
            return self.stray(domain, number, wait);
        }
        if !state.seen.insert(number) {
            return Err(DropReason::Duplicate);
        }
        state.strays = 0;
        let next = *state.next.get_or_insert(number);
        if number < next {
            return Ok(vec![number]);
        }
        let mut out = Vec::new();
        if number - next >= WINDOW as u64 {
            let behind = state.held.split_off(&(number + 1 - WINDOW as u64));
            out.extend(std::mem::replace(&mut state.held, behind).into_keys());
            state.next = Some(number + 1 - WINDOW as u64);
            state.look_anew();
        }
        self.count += 1;
        let until = wait.at + wait.patience;
        state.held.insert(number, (wait.at, self.count, until));
        state.due = Some(state.due.map_or(until, |due| due.min(until)));
        out.extend(state.run());
        if self.held() >= WINDOW {
            let longest = self
                .domains
                .iter_mut()
                .filter(|state| !state.held.is_empty())
                .min_by_key(|state| state.oldest().map(|(at, _)| at));
            out.extend(longest.expect("it is full").skip_hole());
        }
        Ok(out)
    }

    /// One far behind is refused; the last of 32 in a row is the first of a new count.
    fn stray(&mut self, domain: usize, number: u64, wait: Wait) -> Result<Vec<u64>, DropReason> {
        let state = &mut self.domains[domain];
        state.strays += 1;
        if state.strays < 32 {
            return Err(DropReason::Duplicate);
        }
        let mut out: Vec<u64> = state.held.keys().copied().collect();
        *state = Domain::default();
        out.extend(self.accept(domain, number, wait)?);
        Ok(out)
    }

    fn prove_lost(&mut self, domain: usize, order: u64, until: Instant) {
        let state = &mut self.domains[domain];
        let Some(next) = state.next.filter(|next| *next < order && !state.held.is_empty()) else { return };
        let lost = *state.lost.get_or_insert((order, until));
        let lost = if lost.0 <= next { (order, until) } else { lost };
        state.lost = Some(lost);
        state.due = state.due.map(|due| due.min(lost.1));
    }

    fn timeout(&mut self, now: Instant) -> Vec<u64> {
        let mut out = Vec::new();
        for state in &mut self.domains {
            while state.due().is_some_and(|due| due <= now) {
                out.extend(state.skip_hole());
            }
        }
        out
    }

    fn restart(&mut self) -> Vec<u64> {
        let held = std::mem::take(self).domains.into_iter().flat_map(|state| state.held.into_keys());
        held.collect()
    }

    fn deadline(&self) -> Option<Instant> {
        self.domains.iter().filter_map(Domain::due).min()
    }

    fn held(&self) -> usize {
        self.domains.iter().map(|state| state.held.len()).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet of a domain, this far from the number sent last there, with this patience in microseconds.
    Arrive(usize, i64, u64),
    /// Microseconds pass.
    Wait(u64),
    /// All before the number sent last in a domain is lost, and awaited for so many microseconds.
    Lost(usize, u64),
    Restart,
}

fn steps() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let jump = prop_oneof![
        10 => Just(1i64),
        6 => -6..7i64,
        2 => -20..40i64,
        1 => prop::sample::select(vec![15, 16, 17, -15, -16, -17, 4_030, 4_031, 4_032, -4_031, -4_032, -4_033, 100_000, 10_000_000]),
    ];
    let patience = prop_oneof![8 => 0..15_000u64, 1 => Just(10_000_000)];
    let step = prop_oneof![
        12 => (0..DOMAINS, jump, patience).prop_map(|(domain, jump, patience)| Step::Arrive(domain, jump, patience)),
        3 => (0..6_000u64).prop_map(Step::Wait),
        1 => (6_000..600_000u64).prop_map(Step::Wait),
        1 => (0..DOMAINS, 0..5_000u64).prop_map(|(domain, micros)| Step::Lost(domain, micros)),
    ];
    let step = prop_oneof![200 => step, 1 => Just(Step::Restart)];
    // The numbers never come to their end: by a million packets a second, that takes half a million years.
    (prop_oneof![0..40u64, 100_000..1_000_000u64, Just(1 << 60)], proptest::collection::vec(step, 1..300))
}

/// The buffer and its pool.
struct Buffer {
    reorder: Reorder<WINDOW, DOMAINS>,
    pool: Pool<SLOTS>,
}

impl Buffer {
    fn new() -> Self {
        Self { reorder: Reorder::new(), pool: Pool::new() }
    }

    fn put(&mut self, domain: usize, number: u64, wait: Wait) -> Result<(), DropReason> {
        let slot = self.pool.take().expect("a drained buffer leaves packets in the pool");
        assert!(self.pool.packet_mut(&slot).unwrap().copy_from(&number.to_be_bytes()));
        self.reorder.accept(domain, Order(number), slot, wait).map_err(|(slot, reason)| {
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
fn the_buffer_does_what_sorted_lists_with_deadlines_do() {
    let check = |(start, steps): (u64, Vec<Step>)| {
        let (mut buffer, mut model) = (Buffer::new(), Model::default());
        let (mut now, mut numbers) = (Instant::from_micros(1_000), [start; DOMAINS]);
        for step in steps {
            match step {
                Step::Arrive(domain, jump, patience) => {
                    let number = numbers[domain].saturating_add_signed(jump);
                    numbers[domain] = number;
                    let wait = Wait { at: now, patience: Duration::from_micros(patience) };
                    let expected = model.accept(domain, number, wait);
                    let put = buffer.put(domain, number, wait);
                    prop_assert_eq!(put.map(|()| buffer.drain()), expected, "number {} of {}", number, domain);
                }
                Step::Wait(micros) => {
                    now += Duration::from_micros(micros);
                    buffer.reorder.handle_timeout(now);
                    prop_assert_eq!(buffer.drain(), model.timeout(now));
                }
                Step::Lost(domain, micros) => {
                    let until = now + Duration::from_micros(micros);
                    buffer.reorder.prove_lost(domain, numbers[domain], until);
                    model.prove_lost(domain, numbers[domain], until);
                }
                Step::Restart => {
                    buffer.reorder.restart();
                    prop_assert_eq!(buffer.drain(), model.restart());
                }
            }
            prop_assert_eq!(buffer.reorder.deadline(), model.deadline());
            prop_assert_eq!(buffer.reorder.held(), model.held());
            prop_assert_eq!(buffer.in_use(), model.held());
        }
        Ok(())
    };
    super::runner(1_500).run(&steps(), check).unwrap();
}

/// A packet on its way: of which order, arriving after its own delay, lost or doubled, and its patience.
#[derive(Clone, Copy, Debug)]
struct Fate {
    domain: usize,
    delay: u64,
    lot: u8,
    patience: u64,
}

fn arrivals() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0..DOMAINS, 0..15_000u64, 0..20u8, 0..12_000u64);
    let fate = fate.prop_map(|(domain, delay, lot, patience)| Fate { domain, delay, lot, patience });
    proptest::collection::vec(fate, 1..300)
}

/// What came out, and when; and when the buffer was full.
#[derive(Default)]
struct Play {
    out: Vec<(u64, Instant)>,
    full: HashSet<Instant>,
    /// When each packet arrived first.
    arrived: BTreeMap<u64, Instant>,
}

/// Plays packets sent 400 µs apart. Their place in the list is their order number, whatever the domain: the numbers of a
/// domain have holes.
fn play(packets: &[Fate]) -> Result<Play, TestCaseError> {
    let mut flights = Vec::new();
    for (number, fate) in packets.iter().enumerate() {
        let at = Instant::from_micros(number as u64 * 400 + fate.delay);
        match fate.lot {
            0 => {}
            1 => flights.extend([(at, number as u64), (at + Duration::from_millis(3), number as u64)]),
            _ => flights.push((at, number as u64)),
        }
    }
    flights.sort();
    let (mut buffer, mut play) = (Buffer::new(), Play::default());
    let end = (Instant::from_micros(u64::MAX / 2), u64::MAX);
    for (at, number) in flights.into_iter().chain([end]) {
        while let Some(due) = buffer.reorder.deadline().filter(|due| *due <= at) {
            buffer.reorder.handle_timeout(due);
            let released = buffer.drain();
            prop_assert!(!released.is_empty(), "a deadline that releases nothing");
            play.out.extend(released.into_iter().map(|number| (number, due)));
        }
        if (at, number) != end {
            if buffer.reorder.held() + 1 >= WINDOW {
                play.full.insert(at);
            }
            let fate = packets[usize::try_from(number).unwrap()];
            let wait = Wait { at, patience: Duration::from_micros(fate.patience) };
            prop_assert_eq!(buffer.put(fate.domain, number, wait).is_ok(), !play.arrived.contains_key(&number));
            play.arrived.entry(number).or_insert(at);
            play.out.extend(buffer.drain().into_iter().map(|number| (number, at)));
        }
        prop_assert_eq!(buffer.in_use(), buffer.reorder.held());
        prop_assert!(buffer.reorder.held() < WINDOW);
    }
    prop_assert_eq!(buffer.in_use(), 0);
    Ok(play)
}

#[test]
fn the_promises_hold_over_paths_that_delay_lose_and_double() {
    let check = |packets: Vec<Fate>| {
        let Play { out, full, arrived } = play(&packets)?;
        prop_assert_eq!(out.len(), arrived.len(), "each packet that arrived leaves once");
        prop_assert_eq!(out.iter().map(|(number, _)| *number).collect::<HashSet<_>>().len(), out.len());
        let fate = |number: u64| packets[usize::try_from(number).unwrap()];
        for domain in 0..DOMAINS {
            let out: Vec<_> = out.iter().filter(|(number, _)| fate(*number).domain == domain).collect();
            let first = out.first().map_or(0, |(number, _)| *number);
            for (index, (number, left)) in out.iter().enumerate() {
                prop_assert!(*left <= arrived[number] + HOLD_LIMIT, "{} waited too long", number);
                // What was sent before the first to arrive cannot be known to be missing.
                for (late, _) in out[index + 1..].iter().filter(|(late, _)| late < number && *late > first) {
                    prop_assert!(arrived[late] >= *left, "{} overtook {}, which was there", number, late);
                    let by_then = || {
                        let later = arrived.iter().filter(|(later, at)| *later > late && **at <= *left);
                        later.filter(|(later, _)| fate(**later).domain == domain)
                    };
                    let is_overdue =
                        by_then().any(|(later, at)| *at + Duration::from_micros(fate(*later).patience) <= *left);
                    let is_behind = by_then().any(|(later, _)| late + WINDOW as u64 <= *later);
                    let was_full = full.iter().any(|at| *at <= *left);
                    prop_assert!(is_overdue || is_behind || was_full, "{} overtook {}", number, late);
                }
            }
        }
        Ok(())
    };
    super::runner(300).run(&arrivals(), check).unwrap();
}

#[test]
fn a_hole_in_one_order_holds_back_no_packet_of_another() {
    let mut buffer = Buffer::new();
    let wait = Wait { at: Instant::ORIGIN, patience: Duration::from_secs(1) };
    for number in [0, 2, 3] {
        buffer.put(0, number, wait).unwrap();
    }
    assert_eq!(buffer.drain(), [0]);
    for number in 10..500 {
        buffer.put(1, number, wait).unwrap();
        assert_eq!(buffer.drain(), [number]);
    }
    assert_eq!(buffer.reorder.deadline(), Some(Instant::ORIGIN + HOLD_LIMIT));
    buffer.put(0, 1, wait).unwrap();
    assert_eq!(buffer.drain(), [1, 2, 3]);
}

#[test]
fn every_hole_that_is_proved_lost_is_awaited_no_longer_than_the_first() {
    let mut buffer = Buffer::new();
    let wait = Wait { at: Instant::ORIGIN, patience: Duration::from_millis(200) };
    for number in [0, 2, 4, 6, 20] {
        buffer.put(0, number, wait).unwrap();
    }
    assert_eq!(buffer.drain(), [0, 2, 4]);
    let until = Instant::ORIGIN + Duration::from_millis(30);
    buffer.reorder.prove_lost(0, 7, until);
    buffer.reorder.prove_lost(0, 7, until + Duration::from_millis(500));
    assert_eq!(buffer.reorder.deadline(), Some(until));
    buffer.reorder.handle_timeout(until);
    assert_eq!(buffer.drain(), [6]);
    // What is missing behind the proof is awaited as long as any.
    assert_eq!(buffer.reorder.deadline(), Some(Instant::ORIGIN + Duration::from_millis(200)));
}

#[test]
fn a_full_buffer_gives_up_a_hole_and_takes_every_packet() {
    let mut buffer = Buffer::new();
    let mut out = Vec::new();
    // Each order waits for its number 0; the buffer has 16 places for all of them.
    for number in 1..40 {
        for domain in 0..DOMAINS {
            if number == 1 {
                // The first number of an order is where it begins.
                buffer.put(domain, 0, Wait { at: Instant::ORIGIN, patience: HOLD_LIMIT }).unwrap();
            }
            let at = Instant::from_micros(number);
            assert_eq!(buffer.put(domain, number + 1, Wait { at, patience: HOLD_LIMIT }), Ok(()));
            out.extend(buffer.drain());
        }
    }
    buffer.reorder.handle_timeout(Instant::ORIGIN + HOLD_LIMIT + HOLD_LIMIT);
    out.extend(buffer.drain());
    assert_eq!((out.len(), buffer.in_use()), (40 * DOMAINS, 0));
}

#[test]
fn without_holding_every_packet_passes_at_once_and_only_once() {
    let mut buffer = Buffer::new();
    let mut put = |number: u64| {
        let slot = buffer.pool.take().unwrap();
        assert!(buffer.pool.packet_mut(&slot).unwrap().copy_from(&number.to_be_bytes()));
        let result = buffer.reorder.pass_once(1, Order(number), slot).map_err(|(slot, reason)| {
            buffer.pool.put(slot);
            reason
        });
        result.map(|()| buffer.drain())
    };
    for number in [5, 9, 7, 8, 6] {
        assert_eq!(put(number), Ok(vec![number]));
        assert_eq!(put(number), Err(DropReason::Duplicate));
    }
    assert_eq!(buffer.reorder.expected(1), Some(10));
}

#[test]
fn a_port_that_drains_seldom_gets_every_slot_back() {
    let check = |(numbers, drains): (Vec<u64>, Vec<bool>)| {
        let mut buffer = Buffer::new();
        let (mut accepted, mut out) = (HashSet::new(), Vec::new());
        for (number, drain) in numbers.into_iter().zip(drains) {
            let domain = usize::try_from(number).unwrap() % DOMAINS;
            match buffer.put(domain, number, Wait { at: Instant::ORIGIN, patience: HOLD_LIMIT }) {
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

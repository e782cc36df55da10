// SPDX-License-Identifier: BSD-2-Clause
//! The queue at the entrance against lists that are searched, and its CoDel against RFC 8289's pseudo-code in floats.

use std::collections::VecDeque;

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::stages::ingress::{CodelLaw, GROUPS, Ingress, QUANTUM};
use mlvpn_core::words::class::{Class, Kind};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::time::{Duration, Instant};
use proptest::prelude::*;

const CAPACITY: usize = 40;
const MAX_BYTES: u32 = 30_000;
const HASTY: CodelLaw = CodelLaw { interval: Duration::from_millis(20), target: Duration::from_millis(2) };

fn class(flow: u32, len: u16, kind: Kind, ecn: Ecn) -> Class {
    Class { flow, ports: None, len, protocol: Some(6), dscp: 0, ecn, kind, ordered: true, is_urgent: false, link: None }
}

/// A queue whose packets carry their numbers.
struct Queue<const CAPACITY: usize> {
    ingress: Ingress<CAPACITY>,
    pool: Box<Pool<CAPACITY>>,
    next: u64,
}

impl<const CAPACITY: usize> Queue<CAPACITY> {
    fn new(max_bytes: u32) -> Self {
        Self { ingress: Ingress::new(max_bytes), pool: Box::new(Pool::new()), next: 0 }
    }

    fn push(&mut self, class: &Class, now: Instant) -> u64 {
        let slot = self.pool.take().expect("a drained queue leaves a packet in the pool");
        assert!(self.pool.packet_mut(&slot).expect("its own").copy_from(&self.next.to_be_bytes()));
        self.ingress.push(slot, class, now).expect("a drained queue takes a packet");
        self.next += 1;
        self.next - 1
    }

    fn read(&mut self, slot: Slot) -> u64 {
        let number = self.pool.packet(&slot).expect("its own").as_bytes().try_into().expect("eight bytes");
        self.pool.put(slot);
        u64::from_be_bytes(number)
    }

    fn dropped(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.ingress.poll_dropped().map(|slot| self.read(slot))).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    class: Class,
    is_thin: bool,
}

/// What waits, by group, and how long each group's bulk has been passed over.
struct Model {
    groups: Vec<VecDeque<Waiting>>,
    /// Bytes of thin packets, and of other groups' bulk, since the group last had a turn.
    passed: [(u64, [u64; GROUPS]); GROUPS],
}

impl Model {
    fn new() -> Self {
        Self { groups: vec![VecDeque::new(); GROUPS], passed: [(0, [0; GROUPS]); GROUPS] }
    }

    fn bytes(&self, group: usize) -> u32 {
        self.groups[group].iter().map(|waiting| u32::from(waiting.class.len)).sum()
    }

    fn all_bytes(&self) -> u32 {
        (0..GROUPS).map(|group| self.bytes(group)).sum()
    }

    fn len(&self) -> usize {
        self.groups.iter().map(VecDeque::len).sum()
    }

    /// Takes out the heads that were evicted, each of which must have been of a fattest group.
    fn evict(&mut self, numbers: Vec<u64>) -> Result<(), TestCaseError> {
        for number in numbers {
            prop_assert!(self.len() >= CAPACITY || self.all_bytes() > MAX_BYTES, "evicted without need");
            let group = self.groups.iter().position(|group| group.front().is_some_and(|head| head.number == number));
            let group = group.ok_or_else(|| TestCaseError::fail(format!("{number} was at no head")))?;
            let fattest = (0..GROUPS).map(|group| self.bytes(group)).max();
            prop_assert_eq!(Some(self.bytes(group)), fattest);
            self.groups[group].pop_front();
        }
        prop_assert!(self.len() < CAPACITY && (self.all_bytes() <= MAX_BYTES || self.len() == 1));
        Ok(())
    }

    /// Takes out what left for a link, and before it what CoDel dropped.
    fn leave(&mut self, group: usize, number: u64, dropped: &[u64]) -> Result<Waiting, TestCaseError> {
        for number in dropped {
            let head = self.groups[group].pop_front();
            let is_droppable = |head: &Waiting| !head.is_thin && !head.class.ecn.is_capable();
            prop_assert!(head.is_some_and(|head| head.number == *number && is_droppable(&head)));
        }
        let waiting = self.groups[group].pop_front().ok_or_else(|| TestCaseError::fail("an empty group"))?;
        prop_assert_eq!(waiting.number, number, "order within a flow");
        let any_thin = self.groups.iter().flatten().any(|waiting| waiting.is_thin);
        prop_assert!(waiting.is_thin || !any_thin, "bulk went before what is thin");
        self.note(group, &waiting)
    }

    /// No bulk is passed over for longer than was promised.
    fn note(&mut self, group: usize, left: &Waiting) -> Result<Waiting, TestCaseError> {
        let (quantum, len) = (u64::from(QUANTUM), u64::from(left.class.len));
        for (other, (thin, bulk)) in self.passed.iter_mut().enumerate() {
            let waits = self.groups[other].front().is_some_and(|head| !head.is_thin);
            if other == group && !left.is_thin || !waits {
                (*thin, *bulk) = (0, [0; GROUPS]);
            } else if left.is_thin {
                *thin += len;
            } else {
                bulk[group] += len;
            }
            prop_assert!(*thin <= 2 * GROUPS as u64 * quantum, "{} bytes of thin packets", thin);
            prop_assert!(bulk.iter().all(|bytes| *bytes <= 3 * quantum), "{:?}", bulk);
        }
        Ok(*left)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Class),
    Pop,
    /// Microseconds pass.
    Wait(u64),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flow = prop_oneof![6 => 0..3u32, 2 => 0..8u32, 1 => any::<u32>()];
    let len = prop_oneof![4 => Just(1_500u16), 2 => 40..300u16, 1 => 1..=QUANTUM];
    let kind = prop::sample::select(vec![Kind::Other, Kind::Other, Kind::BareAck, Kind::Opening, Kind::Closing]);
    let ecn = prop::sample::select(Ecn::ALL.to_vec());
    let push = (flow, len, kind, ecn).prop_map(|(flow, len, kind, ecn)| Step::Push(class(flow, len, kind, ecn)));
    let step = prop_oneof![
        200 => push,
        170 => Just(Step::Pop),
        60 => (0..3_000u64).prop_map(Step::Wait),
        4 => (0..200_000u64).prop_map(Step::Wait),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 1..600)
}

#[test]
fn nothing_is_lost_nor_doubled_nor_overtakes_its_own_and_bulk_waits_no_longer_than_promised() {
    let check = |steps: Vec<Step>| {
        let (mut queue, mut model) = (Queue::<CAPACITY>::new(MAX_BYTES), Model::new());
        let mut now = Instant::from_micros(1 << 40);
        for step in steps {
            match step {
                Step::Push(class) => {
                    let is_thin = queue.ingress.is_thin(&class, now);
                    let number = queue.push(&class, now);
                    model.groups[class.flow as usize % GROUPS].push_back(Waiting { number, class, is_thin });
                    model.evict(queue.dropped())?;
                }
                Step::Pop => {
                    let next = queue.ingress.peek();
                    let popped = queue.ingress.pop(&HASTY, now);
                    prop_assert_eq!(next.map(|next| next.is_thin), popped.as_ref().map(|popped| popped.is_thin));
                    let Some(popped) = popped else {
                        prop_assert_eq!(model.len(), 0);
                        continue;
                    };
                    let number = queue.read(popped.slot);
                    let dropped = queue.dropped();
                    let left = model.leave(popped.class.flow as usize % GROUPS, number, &dropped)?;
                    prop_assert_eq!((left.class, left.is_thin), (popped.class, popped.is_thin));
                    prop_assert!(!popped.mark || popped.class.ecn.is_capable());
                    prop_assert!(!dropped.is_empty() || next.is_some_and(|next| next.class == popped.class));
                }
                Step::Wait(micros) => now += Duration::from_micros(micros),
                Step::Clear => {
                    queue.ingress.clear();
                    prop_assert_eq!(queue.dropped().len(), model.len());
                    model = Model::new();
                }
            }
            prop_assert_eq!((queue.ingress.len(), queue.ingress.backlog_bytes()), (model.len(), model.all_bytes()));
            prop_assert_eq!(CAPACITY - queue.pool.available(), model.len());
            for group in 0..GROUPS {
                let backlog = queue.ingress.backlog_of(group as u32);
                prop_assert_eq!(
                    (usize::from(backlog.packets), backlog.bytes),
                    (model.groups[group].len(), model.bytes(group))
                );
            }
        }
        Ok(())
    };
    super::runner(400).run(&steps(), check).unwrap();
}

/// RFC 8289, section 5, with marks where packets can be marked. Times in microseconds.
#[derive(Default)]
struct FloatCodel {
    queue: VecDeque<(f64, f64)>,
    first_above: f64,
    drop_next: f64,
    count: f64,
    last_count: f64,
    dropping: bool,
    signals: u32,
}

impl FloatCodel {
    /// The packet at the head, if any, and whether it may be dropped.
    fn take(&mut self, law: (f64, f64), now: f64) -> (bool, bool) {
        let (interval, target) = law;
        let Some((len, since)) = self.queue.pop_front() else {
            self.first_above = 0.0;
            return (false, false);
        };
        let _ = len;
        let behind: f64 = self.queue.iter().map(|(len, _)| len).sum();
        if now - since < target || behind <= f64::from(QUANTUM) {
            self.first_above = 0.0;
        } else if self.first_above == 0.0 {
            self.first_above = now + interval;
        } else if now >= self.first_above {
            return (true, true);
        }
        (true, false)
    }

    fn pop(&mut self, law: (f64, f64), is_markable: bool, now: f64) -> bool {
        let interval = law.0;
        let after = |at: f64, count: f64| at + interval / count.sqrt();
        let (mut is_there, mut ok) = self.take(law, now);
        if self.dropping {
            self.dropping = ok;
            while now >= self.drop_next && self.dropping {
                self.signals += 1;
                self.count += 1.0;
                if is_markable {
                    self.drop_next = after(self.drop_next, self.count);
                    return is_there;
                }
                (is_there, ok) = self.take(law, now);
                self.dropping = ok;
                if ok {
                    self.drop_next = after(self.drop_next, self.count);
                }
            }
        } else if ok {
            self.signals += 1;
            if !is_markable {
                (is_there, _) = self.take(law, now);
            }
            self.dropping = true;
            let delta = self.count - self.last_count;
            let is_recent = now - self.drop_next < 16.0 * interval;
            self.count = if delta > 1.0 && is_recent { delta } else { 1.0 };
            self.drop_next = after(now, self.count);
            self.last_count = self.count;
        }
        is_there
    }
}

/// Plays a flow that alternately sends too much and too little; how many packets it was told of, by both.
fn signals(ecn: Ecn, law: &CodelLaw, arrivals: &[bool]) -> Result<u32, TestCaseError> {
    // Ticks of 160 microseconds, whole ones of the queue's own; a packet leaves every 8.
    const TICK: u64 = 160;
    let floats = (law.interval.micros() as f64, law.target.micros() as f64);
    let (mut queue, mut model, mut signals) = (Queue::<768>::new(u32::MAX), FloatCodel::default(), 0);
    let class = class(7, 1_500, Kind::Other, ecn);
    let mut most = 0;
    for (tick, arrives) in (1_000_u64..).zip(arrivals) {
        let now = Instant::from_micros(tick * TICK);
        if *arrives && queue.ingress.len() < 760 {
            queue.push(&class, now);
            model.queue.push_back((f64::from(class.len), now.micros() as f64));
        }
        if tick % 8 != 0 {
            continue;
        }
        let popped = queue.ingress.pop(law, now);
        if popped.as_ref().is_some_and(|popped| popped.is_thin) {
            model.queue.pop_front();
        } else {
            prop_assert_eq!(model.pop(floats, ecn.is_capable(), now.micros() as f64), popped.is_some());
        }
        signals += u32::from(popped.as_ref().is_some_and(|popped| popped.mark)) + queue.dropped().len() as u32;
        popped.into_iter().for_each(|popped| queue.pool.put(popped.slot));
        most = most.max(signals.abs_diff(model.signals));
    }
    // Rounding to whole microseconds may move a signal to the packet after.
    prop_assert!(most <= 1, "{} signals apart, of {}", most, signals);
    Ok(signals)
}

#[test]
fn codel_signals_when_and_as_often_as_rfc_8289_says() {
    // Each phase: ticks, and arrivals in a thousand ticks, of which 125 leave.
    let phases = proptest::collection::vec((2_000..20_000usize, 0..180u32), 1..8);
    let strategy = (phases, any::<u64>(), prop::sample::select(vec![Ecn::NotEct, Ecn::Ect0]), 0..400u64);
    let check = |(phases, mut state, ecn, round_trip): (Vec<(usize, u32)>, u64, Ecn, u64)| {
        let mut arrivals = Vec::new();
        for (ticks, load) in phases {
            arrivals.extend((0..ticks).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % 1_000 < u64::from(load)
            }));
        }
        let law = CodelLaw::for_round_trip(Duration::from_millis(round_trip));
        signals(ecn, &law, &arrivals).map(|_| ())
    };
    super::runner(60).run(&strategy, check).unwrap();
}

#[test]
fn a_standing_queue_is_told_ever_faster_and_a_burst_is_not() {
    let law = CodelLaw::for_round_trip(Duration::ZERO);
    // 1.2 times what leaves, for 8 s; signals at 500 ms x (1/sqrt(1) + .. + 1/sqrt(n)), about 1 s x sqrt(n).
    let standing: Vec<bool> = (0..50_000).map(|tick| tick % 20 < 3).collect();
    for ecn in [Ecn::NotEct, Ecn::Ect0] {
        let told = signals(ecn, &law, &standing).unwrap();
        assert!((45..75).contains(&told), "{told} of {ecn:?}");
    }
    // 200 packets at once every 300 ms leave in 256 ms.
    let bursts: Vec<bool> = (0..50_000).map(|tick| tick % 1_875 < 200).collect();
    assert_eq!(signals(Ecn::NotEct, &law, &bursts).unwrap(), 0);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Properties of the link model, on random links and random traffic.

use mlvpn::lab::chance::{Probability, Shape};
use mlvpn::lab::link::{BurstLoss, Capacity, Change, Direction, Handover, LinkModel, QueueLimit, RandomDelay, Reorder};
use mlvpn::lab::trace::{OPPORTUNITY_BYTES, Trace};
use mlvpn_core::words::time::{Duration, Instant};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// The highest rate of the traces tried.
const HIGHEST_TRACE_BPS: u64 = 20_000_000;

/// A packet offered: microseconds after the one before, and bytes.
type Sent = (u64, u32);

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    number: usize,
    offered: Instant,
    arrived: Instant,
    len: u32,
}

fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    vec((0..3_000_u64, 0..1_600_u32), 1..300)
}

fn span(most_micros: u64) -> impl Strategy<Value = Duration> {
    (0..=most_micros).prop_map(Duration::from_micros)
}

fn chance() -> impl Strategy<Value = Probability> {
    (0..=1_000_000_u32).prop_map(Probability::from_millionths)
}

fn capacity() -> impl Strategy<Value = Capacity> {
    prop_oneof![
        Just(Capacity::Unlimited),
        (10_000..1_000_000_000_u64).prop_map(Capacity::Rate),
        (0..9_u64).prop_map(|seed| Capacity::Trace(Trace::lte(HIGHEST_TRACE_BPS / 8, HIGHEST_TRACE_BPS, seed))),
    ]
}

fn queue() -> impl Strategy<Value = QueueLimit> {
    prop_oneof![(0..100_000_u64).prop_map(QueueLimit::Bytes), span(500_000).prop_map(QueueLimit::Time)]
}

fn random_delay() -> impl Strategy<Value = RandomDelay> {
    let shape = prop_oneof![Just(Shape::Uniform), Just(Shape::HalfNormal), Just(Shape::Exponential)];
    (chance(), shape, span(50_000)).prop_map(|(chance, shape, scale)| RandomDelay { chance, shape, scale })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<bool>().prop_map(Change::Up),
        Just(Change::Rate(0)),
        (10_000..100_000_000_u64).prop_map(Change::Rate)
    ]
}

prop_compose! {
    /// A link without mishaps: capacity, queue, delay, overhead.
    fn plain_link()(capacity in capacity(), queue in queue(), delay in span(100_000), overhead_bytes in 0..60_u32) -> Direction {
        Direction { capacity, queue, delay, overhead_bytes, ..Direction::default() }
    }
}

prop_compose! {
    fn burst_loss()(enter in chance(), leave in chance(), loss_in_bad in chance(), loss_in_good in chance()) -> BurstLoss {
        BurstLoss { enter, leave, loss_in_bad, loss_in_good }
    }
}

prop_compose! {
    fn handover()(period in span(500_000), length in span(100_000), loss in chance()) -> Handover {
        Handover { period, length, loss }
    }
}

prop_compose! {
    fn delayed_link()(
        plain in plain_link(),
        jitter in option::of(random_delay()),
        stall in option::of(random_delay()),
        keeps_order in any::<bool>(),
    ) -> Direction {
        Direction { jitter, stall, keeps_order, ..plain }
    }
}

prop_compose! {
    /// A link with every kind of mishap and change.
    fn any_link()(
        delayed in delayed_link(),
        random_loss in chance(),
        burst_loss in option::of(burst_loss()),
        handover in option::of(handover()),
        reorder in option::of((chance(), span(50_000))),
        duplicate in chance(),
        schedule in vec((span(500_000), change()), 0..6),
    ) -> Direction {
        let reorder = reorder.map(|(chance, extra)| Reorder { chance, extra });
        Direction { random_loss, burst_loss, handover, reorder, duplicate, schedule, ..delayed }
    }
}

/// Offers the traffic while polling at each event, then polls until the link is empty or stopped for good.
fn run(direction: Direction, seed: u64, traffic: &[Sent]) -> (LinkModel<usize>, Vec<Arrival>) {
    let mut link = LinkModel::new(direction, seed, Instant::ORIGIN);
    let mut offered = Vec::new();
    let mut arrivals = Vec::new();
    let mut now = Instant::ORIGIN;
    for (number, &(gap, len)) in traffic.iter().enumerate() {
        now += Duration::from_micros(gap);
        collect(&mut link, Some(now), &offered, &mut arrivals);
        offered.push((now, len));
        drop(link.offer(number, len, now));
    }
    collect(&mut link, None, &offered, &mut arrivals);
    (link, arrivals)
}

fn collect(link: &mut LinkModel<usize>, until: Option<Instant>, offered: &[(Instant, u32)], to: &mut Vec<Arrival>) {
    while let Some(event) = link.next_event().filter(|&event| until.is_none_or(|until| event <= until)) {
        while let Some(number) = link.poll(event) {
            let (offered, len) = offered[number];
            to.push(Arrival { number, offered, arrived: event, len });
        }
    }
}

/// The highest rate the capacity ever has, in bits per second, and the bytes by which it may run ahead of it.
fn peak(capacity: &Capacity) -> Option<(u64, u64)> {
    match capacity {
        Capacity::Unlimited => None,
        Capacity::Rate(rate) => Some((*rate, 1)),
        // The strategy's traces stay below this; opportunities gather to whole packets and whole milliseconds.
        Capacity::Trace(_) => Some((HIGHEST_TRACE_BPS, 2 * u64::from(OPPORTUNITY_BYTES) + HIGHEST_TRACE_BPS / 4_000)),
    }
}

/// A failure prints its input and keeps its seed beside this file.
fn config() -> ProptestConfig {
    let keep = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases: 128, failure_persistence: Some(Box::new(keep)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_arrives_before_the_delay_has_passed(link in any_link(), seed: u64, traffic in traffic()) {
        let delay = link.delay;
        let (_, arrivals) = run(link, seed, &traffic);
        for arrival in arrivals {
            prop_assert!(arrival.arrived >= arrival.offered + delay, "{arrival:?}");
        }
    }

    #[test]
    fn no_window_of_time_carries_more_than_the_rate(link in plain_link(), seed: u64, traffic in traffic()) {
        let (capacity, overhead) = (link.capacity.clone(), u64::from(link.overhead_bytes));
        let (_, arrivals) = run(link, seed, &traffic);
        // Without jitter the arrivals are the departures, shifted. The packet that opens a window was sent before it.
        let Some((rate, ahead)) = peak(&capacity) else { return Ok(()) };
        for first in 0..arrivals.len() {
            let mut bytes = 0;
            for arrival in &arrivals[first + 1..] {
                bytes += u64::from(arrival.len) + overhead;
                // One microsecond for the rounding of arrival times.
                let window = arrival.arrived.since(arrivals[first].arrived).micros() + 1;
                let most = u128::from(rate) * u128::from(window) / 8_000_000 + u128::from(ahead);
                prop_assert!(u128::from(bytes) <= most, "{bytes} B in {window} us from {first}");
            }
        }
    }

    #[test]
    fn packets_arrive_in_order_unless_disorder_is_asked_for(link in any_link(), seed: u64, traffic in traffic()) {
        let orderly = Direction { keeps_order: true, reorder: None, ..link };
        let (_, arrivals) = run(orderly, seed, &traffic);
        prop_assert!(arrivals.is_sorted_by_key(|arrival| arrival.number));
    }

    #[test]
    fn every_packet_is_delivered_lost_or_held(link in any_link(), seed: u64, traffic in traffic()) {
        let (link, arrivals) = run(link, seed, &traffic);
        let counters = link.counters();
        prop_assert_eq!(counters.offered, traffic.len() as u64);
        prop_assert_eq!(counters.delivered, arrivals.len() as u64);
        prop_assert_eq!(counters.offered + counters.duplicated, counters.delivered + counters.lost.total() + link.held());
        prop_assert_eq!(counters.delivered_bytes, arrivals.iter().map(|arrival| u64::from(arrival.len)).sum::<u64>());
    }

    #[test]
    fn a_link_that_is_never_stopped_empties_itself(link in any_link(), seed: u64, traffic in traffic()) {
        let (link, _) = run(Direction { schedule: Vec::new(), ..link }, seed, &traffic);
        prop_assert_eq!((link.held(), link.queue_bytes()), (0, 0));
    }

    #[test]
    fn polling_late_or_often_changes_nothing_but_when_it_is_noticed(link in any_link(), seed: u64, traffic in traffic()) {
        let (often, arrivals) = run(link.clone(), seed, &traffic);
        let mut late = LinkModel::new(link, seed, Instant::ORIGIN);
        let mut now = Instant::ORIGIN;
        for (number, &(gap, len)) in traffic.iter().enumerate() {
            now += Duration::from_micros(gap);
            drop(late.offer(number, len, now));
        }
        let end = now + Duration::from_secs(36_000);
        let numbers: Vec<usize> = std::iter::from_fn(|| late.poll(end)).collect();
        prop_assert_eq!(numbers, arrivals.iter().map(|arrival| arrival.number).collect::<Vec<_>>());
        prop_assert_eq!(late.counters().lost, often.counters().lost);
    }
}

#[test]
fn the_same_seed_loses_the_same_packets_and_another_seed_others() {
    let lossy = Direction { random_loss: Probability::from_percent(5), ..Direction::default() };
    let traffic: Vec<Sent> = vec![(100, 1_000); 2_000];
    let survivors = |seed| -> Vec<usize> {
        run(lossy.clone(), seed, &traffic).1.into_iter().map(|arrival| arrival.number).collect()
    };
    assert_eq!(survivors(1), survivors(1));
    assert_ne!(survivors(1), survivors(2));
    // Written down once: the same on every machine.
    let lost: Vec<usize> = (0..100).filter(|number| !survivors(1).contains(number)).collect();
    assert_eq!(lost, [10, 49, 53, 59, 67, 74]);
}

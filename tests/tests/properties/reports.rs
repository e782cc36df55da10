// SPDX-License-Identifier: BSD-2-Clause
//! A receiver's reports and the sender's packets on their way, over a link that loses, doubles and reorders both.

use std::collections::{BTreeMap, HashMap, HashSet};

use mlvpn_core::memory::control::Report;
use mlvpn_core::memory::pool::Pool;
use mlvpn_core::state::arrivals::{Arrivals, Arrived};
use mlvpn_core::state::flight::{Flight, Sent};
use mlvpn_core::state::replay::{ReplayWindow, Seen};
use mlvpn_core::state::session::send_time;
use mlvpn_core::words::ids::SessionIndex;
use mlvpn_core::words::limits::REPLAY_WORDS;
use mlvpn_core::words::time::{Duration, Instant};
use proptest::prelude::*;

const SLOTS: usize = 300;
const KEPT: usize = 256;

/// What becomes of a datagram: lost, or how many microseconds it takes, and again.
type Fate = (u8, u64);

/// What is on its way.
enum Flying {
    Packet(u64),
    Report(Report),
}

struct Link {
    flight: Flight<1, KEPT>,
    pool: Pool<SLOTS>,
    arrivals: Arrivals,
    window: ReplayWindow<REPLAY_WORDS>,
    flying: BTreeMap<(Instant, usize), Flying>,
    count: usize,
    session: SessionIndex,
    arrived: HashMap<u64, Instant>,
    settled_as_lost: HashSet<u32>,
    settled: u64,
}

impl Link {
    fn new() -> Self {
        Self {
            flight: Flight::new(),
            pool: Pool::new(),
            arrivals: Arrivals::default(),
            window: ReplayWindow::new(),
            flying: BTreeMap::new(),
            count: 0,
            session: SessionIndex::new(9).unwrap(),
            arrived: HashMap::new(),
            settled_as_lost: HashSet::new(),
            settled: 0,
        }
    }

    fn launch(&mut self, now: Instant, (lot, delay): Fate, make: impl Fn() -> Flying) {
        let copies = match lot {
            0..3 => 0,
            3 => 2,
            _ => 1,
        };
        for copy in 0..copies {
            self.count += 1;
            let lands = now + Duration::from_micros(delay + copy * 2_500);
            self.flying.insert((lands, self.count), make());
        }
    }

    fn send(&mut self, counter: u64, now: Instant, fate: Fate) {
        let slot = self.pool.take().expect("the flight gives slots back");
        let low = u32::try_from(counter & 0xffff_ffff).unwrap();
        let sent = Sent { session: 9, sends: 1, counter: low, first_at: now, at: now, ..Sent::default() };
        self.flight.keep(&mut self.pool, slot, sent);
        self.launch(now, fate, || Flying::Packet(counter));
    }

    fn land(&mut self, flying: Flying, now: Instant) -> Result<(), TestCaseError> {
        match flying {
            Flying::Packet(counter) => {
                if self.window.check(counter) != Seen::Never {
                    return Ok(());
                }
                self.window.mark(counter);
                self.arrived.insert(counter, now);
                let (session, send_time) = (self.session, send_time(now));
                let arrived = Arrived { session, counter, send_time, bytes: 100, is_data: true, at: now };
                self.arrivals.take_in(arrived, &self.window);
            }
            Flying::Report(report) => {
                let kept = self.flight.kept();
                let settled = self.flight.settle(&mut self.pool, &report, now);
                self.settled += u64::from(settled.arrived + settled.lost);
                let mut lost = 0;
                while let Some((slot, sent)) = self.flight.take_lost() {
                    self.pool.put(slot);
                    prop_assert!(self.settled_as_lost.insert(sent.counter), "{} is lost twice", sent.counter);
                    lost += 1;
                }
                prop_assert!(lost <= settled.lost);
                prop_assert_eq!(kept - self.flight.kept(), (settled.arrived + settled.lost) as usize);
            }
        }
        prop_assert_eq!(SLOTS - self.pool.available(), self.flight.kept());
        Ok(())
    }

    /// Lets time pass until then.
    fn run(&mut self, until: Instant, mut report_fate: impl FnMut() -> Fate) -> Result<(), TestCaseError> {
        loop {
            let due = self.arrivals.report_at();
            let landing = self.flying.keys().next().map(|(at, _)| *at);
            let Some(next) = due.into_iter().chain(landing).min().filter(|at| *at <= until) else { return Ok(()) };
            if due.is_some_and(|due| due <= next) {
                let report = self.arrivals.report(0, &self.window, next);
                self.launch(next, report_fate(), || Flying::Report(report.clone()));
            } else if let Some((_, flying)) = self.flying.pop_first() {
                self.land(flying, next)?;
            }
        }
    }
}

fn fates(most: u64) -> impl Strategy<Value = Vec<Fate>> {
    proptest::collection::vec((0..24u8, 10_000..10_000 + most), 1..200)
}

#[test]
fn every_packet_is_settled_once_at_most_and_none_that_came_before_is_called_lost() {
    // Counters that pass 32 bits, too.
    let start = prop_oneof![Just(0u64), Just((1 << 32) - 60)];
    let strategy = (start, fates(3_000), fates(30_000));
    let check = |(start, packets, reports): (u64, Vec<Fate>, Vec<Fate>)| {
        let mut link = Link::new();
        let mut now = Instant::from_micros(1_000_000);
        let mut fates = reports.iter().copied().cycle();
        if start > 0 {
            link.window.close_up_to(start - 1);
        }
        for (counter, fate) in (start..).zip(&packets) {
            link.send(counter, now, *fate);
            now += Duration::from_micros(700);
            link.run(now, || fates.next().unwrap())?;
        }
        link.run(now + Duration::from_secs(2), || fates.next().unwrap())?;
        prop_assert!(link.settled <= packets.len() as u64, "a packet was settled twice");
        // Who is called lost and came is one that others overtook, of which the receiver takes note.
        let low = |counter: &u64| u32::try_from(counter & 0xffff_ffff).unwrap();
        let wrongly = link.arrived.keys().filter(|counter| link.settled_as_lost.contains(&low(counter))).count() as u64;
        prop_assert!(wrongly <= link.arrivals.spurious(), "{} of {}", wrongly, link.arrivals.spurious());
        link.flight.clear(&mut link.pool);
        prop_assert_eq!(link.pool.available(), SLOTS);
        Ok(())
    };
    super::runner(400).run(&strategy, check).unwrap();
}

#[test]
fn over_a_link_that_keeps_order_no_packet_that_arrives_is_called_lost_and_all_others_are() {
    let check = |(lots, reports): (Vec<u8>, Vec<Fate>)| {
        let mut link = Link::new();
        let mut now = Instant::from_micros(1_000_000);
        // Reports are late and doubled, not lost.
        let mut fates = reports.iter().map(|(lot, delay)| (lot | 3, *delay)).cycle();
        for (counter, lot) in (0..).zip(&lots) {
            link.send(counter, now, (if *lot < 3 { 0 } else { 9 }, 10_000));
            now += Duration::from_micros(700);
            link.run(now, || fates.next().unwrap())?;
        }
        let count = lots.len() as u64;
        // The last ones arrive, which shows what is missing before them.
        for counter in count..count + 3 {
            link.send(counter, now, (9, 10_000));
        }
        link.run(now + Duration::from_secs(2), || fates.next().unwrap())?;
        prop_assert_eq!(link.arrivals.spurious(), 0);
        let lost: HashSet<u32> = (0..).zip(&lots).filter(|(_, lot)| **lot < 3).map(|(counter, _)| counter).collect();
        prop_assert_eq!(&link.settled_as_lost, &lost);
        prop_assert_eq!((link.flight.kept(), link.settled), (0, count + 3));
        Ok(())
    };
    let lots = proptest::collection::vec(0..24u8, 1..200);
    super::runner(400).run(&(lots, fates(5_000)), check).unwrap();
}

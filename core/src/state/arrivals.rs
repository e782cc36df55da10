// SPDX-License-Identifier: BSD-2-Clause
//! What a receiver learns from the packets of one link, and tells their sender.

use crate::memory::control::{Gap, Report};
use crate::state::estimate::{Jitter, LeastTransit, apart};
use crate::state::replay::ReplayWindow;
use crate::state::session::send_time;
use crate::words::ids::SessionIndex;
use crate::words::limits::REPLAY_WORDS;
use crate::words::time::{Duration, Instant};

/// A sender is told this often while its packets come (simulated: 100 ms cost 2 points of throughput).
pub const REPORT_INTERVAL: Duration = Duration::from_millis(25);

/// What cannot wait, a packet found missing, is told this much later than the last report at the soonest: a burst of
/// losses is one report.
const URGENT_INTERVAL: Duration = Duration::from_millis(2);

/// A counter is missing when this many later ones arrived: neighbours may change places (RFC 9002, 6.1.1, has 3 for the
/// same reason; a resend costs less here than there).
const OVERTAKEN: u64 = 2;

/// The least time a missing counter is waited for once a link has shown that it reorders.
const MIN_TOLERANCE: Duration = Duration::from_millis(2);

/// The most.
const MAX_TOLERANCE: Duration = Duration::from_millis(30);

/// Reports without a packet that was called missing too soon, after which the waiting is halved.
const PATIENT_REPORTS: u8 = 64;

/// Packets queue when their one-way time is this much above the least, plus the jitter. In units of 100 microseconds.
const BUSY_ABOVE: u16 = 20;

/// The jitter counts up to this much, in units of 100 microseconds.
const BUSY_JITTER: u16 = 100;

/// The longest one-way time is remembered for one to two of these.
const PEAK_SPAN: Duration = Duration::from_millis(500);

/// A packet that arrived and opened.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// The session it belongs to, by the receiver's name.
    pub session: SessionIndex,
    /// Its counter on the link.
    pub counter: u64,
    /// The send time in its header.
    pub send_time: u16,
    /// Bytes of the whole datagram.
    pub bytes: u16,
    /// Whether it carries an inner packet. What carries none is not reported for its own sake, or reports would answer
    /// reports; what it shows to be missing is.
    pub is_data: bool,
    /// When.
    pub at: Instant,
}

/// The packet that arrived last.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    send_time: u16,
    transit: u16,
    is_busy: bool,
}

/// One link's arrivals. [`Arrivals::take_in`] each packet; when [`Arrivals::report_at`] has come, send what
/// [`Arrivals::report`] says.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    session: Option<SessionIndex>,
    /// Every counter below is known to have arrived or to be missing.
    settled: u64,
    /// The missing counter that is still waited for, and since when.
    awaited: Option<(u64, Instant)>,
    /// How long a missing counter is waited for.
    tolerance: Duration,
    /// Reports since a packet came that had been called missing.
    patient: u8,
    /// Where the statements of the last three regular reports ended. The next begins where the third last ended, so that
    /// each counter is spoken of in three, because any may be lost.
    stated: [u64; 3],
    bytes: u32,
    busy_bytes: u32,
    busy_micros: u32,
    last: Option<Last>,
    base: LeastTransit,
    least: Option<u16>,
    /// The longest one-way time of this half second, of the one before, and when this one began.
    peaks: [u16; 2],
    peak_since: Instant,
    jitter: Jitter,
    /// Data came since the last report: when the next is due.
    report_at: Option<Instant>,
    reported_at: Instant,
    /// When the last regular report was made.
    regular_at: Instant,
    /// Where the next report goes on, because the last one had not enough places for gaps.
    resume: Option<u64>,
    /// Counters were found missing since the last report.
    is_urgent: bool,
    /// Packets called missing that came after all.
    spurious: u64,
}

impl Arrivals {
    /// Takes note of a packet. `window` is what the session has seen of the link, this packet included.
    pub fn take_in(&mut self, arrived: Arrived, window: &ReplayWindow<REPLAY_WORDS>) {
        if self.session != Some(arrived.session) {
            self.begin(arrived.session);
        }
        if arrived.counter < self.settled {
            self.spurious = self.spurious.saturating_add(1);
            self.patient = 0;
            self.tolerance = (self.tolerance * 2).max(MIN_TOLERANCE).min(MAX_TOLERANCE);
        }
        self.time(&arrived);
        self.settle(window, arrived.at);
        if arrived.is_data || self.is_urgent {
            let due = arrived.at.max(self.reported_at + URGENT_INTERVAL);
            let due = if self.is_urgent { due } else { arrived.at + REPORT_INTERVAL };
            self.report_at = Some(self.report_at.map_or(due, |at| at.min(due)));
        }
    }

    /// When a report is due; none while no data came and nothing was found missing.
    #[must_use]
    pub const fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Whether packets were found missing that the sender does not know of.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// What there is to tell, which counts as told.
    pub fn report(&mut self, link: u8, window: &ReplayWindow<REPLAY_WORDS>, now: Instant) -> Report {
        self.settle(window, now);
        let is_regular = !self.is_urgent || now.since(self.regular_at) >= REPORT_INTERVAL;
        let [last, second, third] = self.stated;
        let end = window.highest().unwrap_or(0).saturating_add(1);
        let from = self.resume.take().unwrap_or(third);
        let from = from.max(end.saturating_sub(ReplayWindow::<REPLAY_WORDS>::SPAN)).min(self.settled);
        let mut report = Report {
            link,
            session: self.session.map_or(0, |session| session.low()),
            from: (from & 0xffff_ffff) as u32,
            bytes: self.bytes,
            busy_bytes: self.busy_bytes,
            busy_micros: self.busy_micros,
            jitter: u16::try_from(self.jitter.micros() / 10).unwrap_or(u16::MAX),
            ..Report::default()
        };
        let told_up_to = self.list(window, from, &mut report);
        if let Some(last) = self.last {
            report.echo = last.send_time;
            report.hold = u16::try_from(now.since(last.at).micros() / 100).unwrap_or(u16::MAX);
            report.least = self.least.take().unwrap_or(last.transit);
        }
        if is_regular {
            (self.stated, self.regular_at) = ([self.settled, last, second], now);
        }
        self.resume = (told_up_to < self.settled).then_some(told_up_to);
        self.is_urgent = self.resume.is_some();
        self.report_at = self.resume.map(|_| now + URGENT_INTERVAL);
        self.reported_at = now;
        self.relax();
        report
    }

    /// The one-way time of the last packet, in units of 100 microseconds, modulo 65,536.
    #[must_use]
    pub fn transit(&self) -> Option<u16> {
        Some(self.last?.transit)
    }

    /// The longest one-way time of the last half to whole second, as [`Arrivals::transit`].
    #[must_use]
    pub fn slowest(&self) -> Option<u16> {
        self.last?;
        let [now, before] = self.peaks;
        Some(if apart(now, before) > 0 { now } else { before })
    }

    /// When the last packet came.
    #[must_use]
    pub fn last_at(&self) -> Option<Instant> {
        Some(self.last?.at)
    }

    /// The mean deviation of neighbouring one-way times.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter.micros())
    }

    /// Packets that had been called missing when they came.
    #[must_use]
    pub const fn spurious(&self) -> u64 {
        self.spurious
    }

    fn begin(&mut self, session: SessionIndex) {
        self.session = Some(session);
        (self.settled, self.awaited, self.stated, self.resume) = (0, None, [0; 3], None);
        (self.bytes, self.busy_bytes, self.busy_micros) = (0, 0, 0);
    }

    fn time(&mut self, arrived: &Arrived) {
        let transit = send_time(arrived.at).wrapping_sub(arrived.send_time);
        let least = self.base.sample(transit, arrived.at);
        let queued = transit.wrapping_sub(least);
        if let Some(last) = self.last {
            self.jitter.sample(u64::from(apart(transit, last.transit).unsigned_abs()).saturating_mul(100));
        }
        let jitter = u16::try_from(self.jitter.micros() / 100).unwrap_or(u16::MAX).min(BUSY_JITTER);
        let is_busy = queued > BUSY_ABOVE.saturating_add(jitter);
        self.bytes = self.bytes.wrapping_add(arrived.bytes.into());
        if let Some(last) = self.last.filter(|last| is_busy && last.is_busy) {
            let micros = arrived.at.since(last.at).micros();
            self.busy_bytes = self.busy_bytes.wrapping_add(arrived.bytes.into());
            self.busy_micros = self.busy_micros.wrapping_add(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        let [now, before] = self.peaks;
        let is_stale = self.last.is_none_or(|last| arrived.at.since(last.at) >= PEAK_SPAN);
        if is_stale {
            (self.peaks, self.peak_since) = ([transit; 2], arrived.at);
        } else if arrived.at.since(self.peak_since) >= PEAK_SPAN {
            (self.peaks, self.peak_since) = ([transit, now], arrived.at);
        } else if apart(transit, now) > 0 {
            self.peaks = [transit, before];
        }
        self.least = Some(self.least.map_or(transit, |least| if apart(transit, least) < 0 { transit } else { least }));
        self.last = Some(Last { at: arrived.at, send_time: arrived.send_time, transit, is_busy });
    }

    /// Moves `settled` over what arrived, and over what is missing for long enough.
    fn settle(&mut self, window: &ReplayWindow<REPLAY_WORDS>, now: Instant) {
        let Some(highest) = window.highest() else { return };
        loop {
            let Some(missing) = window.next_missing(self.settled) else {
                (self.settled, self.awaited) = (highest.saturating_add(1), None);
                return;
            };
            self.settled = missing;
            let since = match self.awaited {
                Some((awaited, since)) if awaited == missing => since,
                _ => now,
            };
            self.awaited = Some((missing, since));
            let is_overtaken = highest.saturating_sub(missing) >= OVERTAKEN;
            if !is_overtaken || now.since(since) < self.tolerance {
                return;
            }
            self.settled = window.next_seen(missing).unwrap_or(highest);
            self.is_urgent = true;
        }
    }

    /// Writes what is missing from `from` on into the report, and returns the first counter it does not speak of.
    fn list(&self, window: &ReplayWindow<REPLAY_WORDS>, from: u64, report: &mut Report) -> u64 {
        let limit = self.settled.min(from.saturating_add(u16::MAX.into()));
        let mut at = from;
        while let Some(missing) = window.next_missing(at).filter(|missing| *missing < limit) {
            let end = window.next_seen(missing).unwrap_or(limit).min(limit);
            let gap = Gap { after: short(missing.saturating_sub(at)), len: short(end.saturating_sub(missing)) };
            if report.gaps.push(gap).is_err() {
                report.span = short(missing.saturating_sub(from));
                return missing;
            }
            at = end;
        }
        report.span = short(limit.saturating_sub(from));
        limit
    }

    fn relax(&mut self) {
        self.patient = self.patient.saturating_add(1);
        if self.patient >= PATIENT_REPORTS {
            self.patient = 0;
            self.tolerance = if self.tolerance <= MIN_TOLERANCE { Duration::ZERO } else { self.tolerance >> 1 };
        }
    }
}

fn short(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::memory::control::MAX_GAPS;

    /// A receiver whose one-way time is `delay`.
    struct Bench {
        arrivals: Arrivals,
        window: ReplayWindow<REPLAY_WORDS>,
        session: SessionIndex,
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(10_000_000 + micros)
    }

    impl Bench {
        fn new() -> Self {
            let session = SessionIndex::new(0x01_0203).unwrap();
            Self { arrivals: Arrivals::default(), window: ReplayWindow::new(), session }
        }

        /// A data packet that took 10 ms and `queued` more.
        fn take(&mut self, counter: u64, micros: u64, queued: u64) {
            self.put(counter, micros, queued, true);
        }

        fn put(&mut self, counter: u64, micros: u64, queued: u64, is_data: bool) {
            self.window.mark(counter);
            let send_time = send_time(Instant::from_micros(at(micros).micros() - 10_000 - queued));
            let arrived = Arrived { session: self.session, counter, send_time, bytes: 1_000, is_data, at: at(micros) };
            self.arrivals.take_in(arrived, &self.window);
        }

        fn report(&mut self, micros: u64) -> Report {
            self.arrivals.report(3, &self.window, at(micros))
        }
    }

    /// What a report says of the counters it speaks of.
    fn missing(report: &Report) -> Vec<u64> {
        let mut counter = u64::from(report.from);
        let mut missing = Vec::new();
        for gap in &report.gaps {
            counter += u64::from(gap.after);
            missing.extend(counter..counter + u64::from(gap.len));
            counter += u64::from(gap.len);
        }
        missing
    }

    #[test]
    fn a_report_is_due_an_interval_after_data_and_never_for_what_carries_none() {
        let mut bench = Bench::new();
        bench.put(0, 0, 0, false);
        assert_eq!(bench.arrivals.report_at(), None);
        bench.take(1, 100, 0);
        bench.take(2, 9_000, 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(100) + REPORT_INTERVAL));
        let report = bench.report(25_100);
        assert_eq!((report.link, report.session), (3, 3));
        assert_eq!((report.from, report.span, report.gaps.len(), report.bytes), (0, 3, 0, 3_000));
        assert_eq!((report.hold, report.echo), (161, send_time(Instant::from_micros(9_999_000))));
        assert_eq!(bench.arrivals.report_at(), None);
    }

    #[test]
    fn a_packet_that_two_later_ones_overtook_is_told_missing_at_once() {
        let mut bench = Bench::new();
        bench.take(0, 0, 0);
        bench.take(2, 1_000, 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(0) + REPORT_INTERVAL), "neighbours may change places");
        bench.take(3, 2_000, 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(2_000)));
        let report = bench.report(2_000);
        assert_eq!((report.span, missing(&report)), (4, std::vec![1]));
    }

    #[test]
    fn what_carries_no_data_shows_that_the_last_data_is_missing() {
        let mut bench = Bench::new();
        bench.take(0, 0, 0);
        bench.report(25_000);
        bench.put(2, 200_000, 0, false);
        assert_eq!(bench.arrivals.report_at(), None);
        bench.put(3, 201_000, 0, false);
        assert_eq!(bench.arrivals.report_at(), Some(at(201_000)));
        assert_eq!(missing(&bench.report(201_000)), [1]);
    }

    #[test]
    fn urgent_reports_keep_a_distance_so_that_a_burst_of_losses_is_one() {
        let mut bench = Bench::new();
        for counter in [0, 2, 3] {
            bench.take(counter, counter * 100, 0);
        }
        bench.report(300);
        bench.take(5, 400, 0);
        bench.take(6, 500, 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(300) + URGENT_INTERVAL));
    }

    #[test]
    fn a_packet_that_came_after_all_makes_the_receiver_patient() {
        let mut bench = Bench::new();
        for counter in [0, 2, 3] {
            bench.take(counter, counter * 100, 0);
        }
        bench.take(1, 400, 0);
        assert_eq!(bench.arrivals.spurious(), 1);
        bench.report(500);
        bench.take(5, 600, 0);
        bench.take(6, 700, 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(600) + REPORT_INTERVAL), "it waits now");
        bench.take(7, 600 + MIN_TOLERANCE.micros(), 0);
        bench.take(8, 700 + MIN_TOLERANCE.micros(), 0);
        assert_eq!(bench.arrivals.report_at(), Some(at(600) + MIN_TOLERANCE));
        assert_eq!(missing(&bench.report(3_000)), [4]);
    }

    #[test]
    fn every_counter_is_spoken_of_in_three_regular_reports() {
        let mut bench = Bench::new();
        let mut told = [0; 200];
        for round in 0..20 {
            for step in 0..10 {
                let counter = round * 10 + step;
                if counter % 10 != 4 {
                    bench.take(counter, round * 25_000 + step * 2_000, 0);
                }
            }
            let report = bench.report(round * 25_000 + 24_999);
            for counter in u64::from(report.from)..u64::from(report.from) + u64::from(report.span) {
                told[usize::try_from(counter).unwrap()] += 1;
                assert_eq!(missing(&report).contains(&counter), counter % 10 == 4);
            }
        }
        assert!(told[..170].iter().all(|count| *count >= 3), "{told:?}");
        assert!(told.iter().all(|count| *count <= 4), "{told:?}");
    }

    #[test]
    fn more_gaps_than_a_report_holds_are_told_in_the_next_ones() {
        let mut bench = Bench::new();
        for counter in (0..100).step_by(2) {
            bench.take(counter, 100, 0);
        }
        let (mut all, mut now) = (Vec::new(), 200);
        while let Some(due) = bench.arrivals.report_at() {
            now = now.max(due.micros() - at(0).micros());
            let report = bench.report(now);
            assert!(report.gaps.len() <= MAX_GAPS);
            all.extend(missing(&report));
        }
        assert_eq!(all, (1..97).step_by(2).collect::<Vec<_>>());
        assert!(now < 10_000);
        // They are said again with the next regular reports.
        bench.take(100, 50_000, 0);
        assert_eq!(missing(&bench.report(75_000))[0], 1);
    }

    #[test]
    fn a_new_session_counts_from_its_own_beginning() {
        let mut bench = Bench::new();
        (0..50).for_each(|counter| bench.take(counter, counter * 100, 0));
        bench.report(25_000);
        (bench.session, bench.window) = (SessionIndex::new(0x01_0204).unwrap(), ReplayWindow::new());
        bench.take(0, 30_000, 0);
        let report = bench.report(55_000);
        assert_eq!((report.session, report.from, report.span, report.bytes), (4, 0, 1, 1_000));
        assert_eq!(bench.arrivals.spurious(), 0);
    }

    #[test]
    fn bytes_and_time_count_as_busy_only_between_packets_that_both_queued() {
        let mut bench = Bench::new();
        (0..20).for_each(|counter| bench.take(counter, counter * 1_000, 0));
        assert_eq!(bench.report(25_000).busy_bytes, 0);
        // The queue grows by 20 ms at once and stays for 50 packets.
        (20..70).for_each(|counter| bench.take(counter, 30_000 + counter * 1_000, 20_000));
        let full = bench.report(110_000);
        assert!((40_000..=49_000).contains(&full.busy_bytes), "{}", full.busy_bytes);
        assert_eq!(full.busy_micros, full.busy_bytes);
        (70..90).for_each(|counter| bench.take(counter, 120_000 + counter * 1_000, 0));
        assert_eq!(bench.report(220_000).busy_bytes, full.busy_bytes);
        assert_eq!((bench.arrivals.transit(), bench.arrivals.slowest()), (Some(100), Some(300)));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! How one link is sent on: its pace, and what its receiver's reports say of it.

use crate::memory::control::Report;
use crate::state::arrivals::REPORT_INTERVAL;
use crate::state::estimate::{LeastTransit, RoundTrip, apart};
use crate::state::flight::Settled;
use crate::state::rate::{Heard, Rate};
use crate::state::session::send_time;
use crate::words::time::{Duration, Instant};

/// A link that fell behind its pace, because it was polled late, catches up with at most this much.
const BURST: Duration = Duration::from_millis(1);

/// A link counts as used to the full when it was sent this part of what its pace allows, in eighths.
const USED: u64 = 7;

/// A link with packets nothing is said of fails after one and a half round trips, four deviations and the report
/// interval, but not sooner and not later than this.
const LEAST_STALL: Duration = Duration::from_millis(80);
const MOST_STALL: Duration = Duration::from_millis(1_000);

/// A report is compared to the one before only when that is not older: send times come round after 6.5 seconds, and
/// beyond half of that earlier and later cannot be told apart.
const COMPARABLE: Duration = Duration::from_secs(3);

/// What the last report said, to which the next is compared.
#[derive(Clone, Copy, Debug)]
struct Told {
    session: u8,
    bytes: u32,
    busy_bytes: u32,
    busy_micros: u32,
    /// The send time of the report.
    at: u16,
}

/// One link's sending side.
#[derive(Clone, Copy, Debug)]
pub struct Departures {
    rate: Rate,
    /// When the next packet may leave, in nanoseconds of the port's clock: at 10 Gbit/s a packet takes 1.2
    /// microseconds.
    free_at: u64,
    rtt: RoundTrip,
    base: LeastTransit,
    transit: Option<u16>,
    jitter: Duration,
    told: Option<Told>,
    heard_at: Instant,
    /// Bytes sent since the last report.
    sent: u64,
    /// When packets of this link were last known to have arrived.
    progress_at: Instant,
    lost: u64,
    arrived: u64,
}

impl Departures {
    /// A link of which nothing is known but its configured rate in bytes per second, 0 for none.
    #[must_use]
    pub fn new(ceiling: u64) -> Self {
        Self {
            rate: Rate::new(ceiling),
            free_at: 0,
            rtt: RoundTrip::default(),
            base: LeastTransit::default(),
            transit: None,
            jitter: Duration::ZERO,
            told: None,
            heard_at: Instant::ORIGIN,
            sent: 0,
            progress_at: Instant::ORIGIN,
            lost: 0,
            arrived: 0,
        }
    }

    /// Changes the ceiling, in bytes per second; 0 for none.
    pub fn set_ceiling(&mut self, ceiling: u64) {
        self.rate.set_ceiling(ceiling);
    }

    /// The link comes back after it carried nothing.
    pub fn restart(&mut self, now: Instant) {
        self.rate.restart();
        self.told = None;
        self.sent = 0;
        self.heard_at = now;
        self.progress_at = now;
    }

    /// Takes a packet of `bytes` on the path off the link's allowance.
    pub fn charge(&mut self, bytes: usize, now: Instant) {
        let bytes = bytes as u64;
        let time = bytes.saturating_mul(1_000_000_000).checked_div(self.rate.pace()).unwrap_or(0);
        let earliest = now.micros().saturating_sub(BURST.micros()).saturating_mul(1_000);
        self.free_at = self.free_at.max(earliest).saturating_add(time);
        self.sent = self.sent.saturating_add(bytes);
    }

    /// When the next packet may leave.
    #[must_use]
    pub const fn free_at(&self) -> Instant {
        Instant::from_micros(self.free_at.div_ceil(1_000))
    }

    /// Takes in a report that left its sender at `sent_at`, in the receiver's time, and what it settled.
    pub fn hear(&mut self, report: &Report, sent_at: u16, settled: Settled, now: Instant) {
        if settled.arrived > 0 {
            self.progress_at = now;
        }
        self.lost = self.lost.saturating_add(settled.lost.into());
        self.arrived = self.arrived.saturating_add(settled.arrived.into());
        let is_comparable = now.since(self.heard_at) < COMPARABLE;
        let last = self.told.filter(|told| is_comparable && told.session == report.session);
        if last.is_some_and(|told| apart(sent_at, told.at) <= 0) {
            // It was overtaken by a later one.
            return;
        }
        let (bytes, busy_bytes, busy_micros) = (report.bytes, report.busy_bytes, report.busy_micros);
        self.told = Some(Told { session: report.session, bytes, busy_bytes, busy_micros, at: sent_at });
        let round = send_time(now).wrapping_sub(report.echo).wrapping_sub(report.hold);
        self.rtt.sample(units(round));
        self.jitter = Duration::from_micros(u64::from(report.jitter).saturating_mul(10));
        self.transit = Some(report.least);
        let least = self.base.sample(report.least, now);
        let Some(last) = last else {
            (self.heard_at, self.sent) = (now, 0);
            return;
        };
        let passed = now.since(self.heard_at);
        let allowed = self.rate.pace().saturating_mul(passed.micros()) / 1_000_000;
        let heard = Heard {
            at: now,
            rtt: self.rtt.smoothed().unwrap_or_default(),
            interval: units(sent_at.wrapping_sub(last.at)),
            bytes: bytes.wrapping_sub(last.bytes).into(),
            busy_bytes: busy_bytes.wrapping_sub(last.busy_bytes).into(),
            busy: Duration::from_micros(busy_micros.wrapping_sub(last.busy_micros).into()),
            queue: units(report.least.wrapping_sub(least)),
            jitter: self.jitter,
            arrived: settled.arrived,
            lost: settled.lost,
            is_used: self.sent.saturating_mul(8) >= allowed.saturating_mul(USED),
        };
        (self.heard_at, self.sent) = (now, 0);
        let before = self.rate.pace();
        self.rate.hear(heard);
        self.hasten(before, now);
    }

    /// What was charged at a lower pace, `before`, is not waited for at that when the pace has risen.
    fn hasten(&mut self, before: u64, now: Instant) {
        let pace = self.rate.pace();
        if pace > before {
            let now = now.micros().saturating_mul(1_000);
            let wait = u128::from(self.free_at.saturating_sub(now)).saturating_mul(before.into());
            let wait = wait.checked_div(pace.into()).and_then(|wait| u64::try_from(wait).ok()).unwrap_or(0);
            self.free_at = self.free_at.min(now.saturating_add(wait));
        }
    }

    /// For how long a packet may be without news before the link is taken for failed.
    #[must_use]
    pub fn stall(&self) -> Duration {
        let rtt = self.rtt.smoothed().unwrap_or(MOST_STALL);
        let wait = rtt + (rtt >> 1) + self.rtt.deviation().max(self.jitter) * 4;
        wait.max(LEAST_STALL).min(MOST_STALL) + REPORT_INTERVAL
    }

    /// When packets of this link were last known to have arrived.
    #[must_use]
    pub const fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// The one-way time with the queue there is, in units of 100 microseconds, modulo 65,536: to compare with other links
    /// of the same peer.
    #[must_use]
    pub const fn transit(&self) -> Option<u16> {
        self.transit
    }

    /// Round trips over this link, reports returning over any.
    #[must_use]
    pub const fn rtt(&self) -> &RoundTrip {
        &self.rtt
    }

    /// Its rate.
    #[must_use]
    pub const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// The deviation between neighbouring one-way times.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Data packets that were lost on the link, and that arrived.
    #[must_use]
    pub const fn lost_and_arrived(&self) -> (u64, u64) {
        (self.lost, self.arrived)
    }
}

/// A 16-bit time in units of 100 microseconds.
const fn units(time: u16) -> Duration {
    Duration::from_micros((time as u64).saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(20_000_000 + micros)
    }

    /// A report of a packet that left at `sent` and was held for 5 ms by a receiver whose clock is 3 s ahead, 10 ms away.
    fn hear(departures: &mut Departures, bytes: u32, sent: u64) {
        let echo = send_time(at(sent));
        let report = Report { session: 1, bytes, echo, hold: 50, least: 30_100, ..Report::default() };
        let settled = Settled { arrived: 1, ..Settled::default() };
        departures.hear(&report, send_time(at(sent + 3_015_000)), settled, at(sent + 25_000));
    }

    #[test]
    fn the_round_trip_is_what_passed_without_what_the_receiver_held() {
        let mut departures = Departures::new(0);
        hear(&mut departures, 1_000, 0);
        assert_eq!(departures.rtt().smoothed(), Some(Duration::from_millis(20)));
        assert_eq!(departures.progress_at(), at(25_000));
    }

    #[test]
    fn an_overtaken_report_settles_packets_and_changes_nothing_else() {
        let mut departures = Departures::new(0);
        hear(&mut departures, 1_000, 0);
        hear(&mut departures, 60_000, 50_000);
        let before = *departures.rate();
        let (rtt, heard) = (departures.rtt().smoothed(), departures.heard_at);
        let report = Report { session: 1, bytes: 50_000, echo: 7, ..Report::default() };
        let settled = Settled { arrived: 5, lost: 2, ..Settled::default() };
        departures.hear(&report, send_time(at(3_040_000)), settled, at(76_000));
        assert_eq!((departures.rtt().smoothed(), departures.heard_at), (rtt, heard));
        assert_eq!(departures.rate().pace(), before.pace());
        assert_eq!(departures.lost_and_arrived(), (2, 7));
    }

    #[test]
    fn the_first_report_after_a_pause_of_any_length_is_believed() {
        for pause in [100, 1_000, 2_900, 3_100, 4_000, 6_000, 6_600, 60_000] {
            let mut departures = Departures::new(0);
            hear(&mut departures, 1_000, 0);
            hear(&mut departures, 2_000, 30_000);
            hear(&mut departures, 3_000, pause * 1_000 + 60_000);
            assert_eq!(departures.heard_at, at(pause * 1_000 + 85_000), "after {pause} ms");
        }
    }

    #[test]
    fn a_link_is_charged_its_pace_and_catches_up_with_no_more_than_a_burst() {
        let mut departures = Departures::new(1_000_000);
        let pace = departures.rate().pace();
        for _ in 0..100 {
            departures.charge(1_000, at(0));
        }
        let took = departures.free_at().since(at(0)).micros();
        let exact = 100_000 * 1_000_000 / pace;
        assert!((exact - BURST.micros()..=exact + 1).contains(&took), "{took} instead of {exact}");
        departures.charge(1_000, at(10_000_000));
        assert!(departures.free_at().since(at(10_000_000)).micros() <= 1_000 * 1_000_000 / pace);
    }

    #[test]
    fn what_was_charged_at_a_low_pace_is_not_waited_for_when_the_pace_has_risen() {
        let mut departures = Departures::new(0);
        departures.set_ceiling(3_000);
        departures.charge(1_500, at(0));
        assert!(departures.free_at() >= at(498_000), "half a second");
        let before = departures.rate().pace();
        departures.set_ceiling(0);
        departures.rate.restart();
        departures.hasten(before, at(0));
        assert!(departures.free_at() < at(10_000), "{:?}", departures.free_at());
    }

    #[test]
    fn the_time_to_failure_is_bounded_whatever_the_round_trip() {
        let mut departures = Departures::new(0);
        assert_eq!(departures.stall(), MOST_STALL + REPORT_INTERVAL);
        hear(&mut departures, 1_000, 0);
        for round in 1..60 {
            hear(&mut departures, 1_000, round * 30_000);
        }
        assert_eq!(departures.stall(), LEAST_STALL + REPORT_INTERVAL);
        let report = Report { echo: 12_345, hold: 54_321, jitter: u16::MAX, session: 1, ..Report::default() };
        departures.hear(&report, send_time(at(5_000_000)), Settled::default(), at(2_000_000));
        assert_eq!(departures.stall(), MOST_STALL + REPORT_INTERVAL);
    }
}

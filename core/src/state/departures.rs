// SPDX-License-Identifier: BSD-2-Clause
//! How one link is sent on: its pace, and what its receiver's reports say of it.

use crate::memory::control::Report;
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
const REPORT_SLACK: Duration = Duration::from_millis(25);

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
        let last = self.told.filter(|told| told.session == report.session);
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
        self.rate.hear(heard);
    }

    /// For how long a packet may be without news before the link is taken for failed.
    #[must_use]
    pub fn stall(&self) -> Duration {
        let rtt = self.rtt.smoothed().unwrap_or(MOST_STALL);
        let wait = rtt + (rtt >> 1) + self.rtt.deviation().max(self.jitter) * 4;
        wait.max(LEAST_STALL).min(MOST_STALL) + REPORT_SLACK
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

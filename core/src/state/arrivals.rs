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
    /// Whether it carries an inner packet. What carries none is not reported for its own sake: reports would answer
    /// reports.
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
    /// Where the statements of the last two regular reports began to be new. Each counter is spoken of in three regular
    /// reports, because any may be lost.
    stated: [u64; 2],
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
        if arrived.is_data {
            let due = arrived.at.max(self.reported_at + URGENT_INTERVAL);
            let due = if self.is_urgent { due } else { arrived.at + REPORT_INTERVAL };
            self.report_at = Some(self.report_at.map_or(due, |at| at.min(due)));
        }
    }

    /// When a report is due; none while no data came.
    #[must_use]
    pub const fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Whether packets were found missing that the sender does not know of.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// What there is to tell, which counts as told. `room` is how many packets can still be held for order.
    pub fn report(&mut self, link: u8, window: &ReplayWindow<REPLAY_WORDS>, room: u16, now: Instant) -> Report {
        self.settle(window, now);
        let is_regular = !self.is_urgent || now.since(self.reported_at) >= REPORT_INTERVAL;
        let [newer, older] = self.stated;
        let end = window.highest().unwrap_or(0).saturating_add(1);
        let from = older.max(end.saturating_sub(ReplayWindow::<REPLAY_WORDS>::SPAN)).min(self.settled);
        let mut report = Report {
            link,
            session: self.session.map_or(0, |session| session.low()),
            from: (from & 0xffff_ffff) as u32,
            bytes: self.bytes,
            busy_bytes: self.busy_bytes,
            busy_micros: self.busy_micros,
            jitter: u16::try_from(self.jitter.micros() / 10).unwrap_or(u16::MAX),
            room,
            ..Report::default()
        };
        let told_up_to = self.list(window, from, &mut report);
        if let Some(last) = self.last {
            report.echo = last.send_time;
            report.hold = u16::try_from(now.since(last.at).micros() / 100).unwrap_or(u16::MAX);
            report.least = self.least.take().unwrap_or(last.transit);
        }
        self.stated = if told_up_to < self.settled {
            [told_up_to; 2]
        } else if is_regular {
            [self.settled, newer]
        } else {
            self.stated
        };
        let is_more = told_up_to < self.settled;
        self.report_at = is_more.then(|| now + URGENT_INTERVAL);
        self.is_urgent = is_more;
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
        (self.settled, self.awaited, self.stated) = (0, None, [0; 2]);
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

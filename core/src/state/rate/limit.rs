// SPDX-License-Identifier: BSD-2-Clause
//! Whether loss is a shallow buffer's or the link's nature, and what follows.

use crate::words::time::{Duration, Instant};

use super::Heard;

/// Loss is looked at over this long (simulated: 1 % of random loss must not cause a test).
const WINDOW: Duration = Duration::from_millis(600);

/// Over so many packets at least, of which so many were lost.
const WINDOW_PACKETS: u32 = 100;
const WINDOW_LOSSES: u32 = 10;

/// Loss above this and twice the link's usual loss is tested, in 1/65,536: 2 %.
const SUSPICIOUS: u32 = 1_311;

/// A test sends this part of the delivery rate, in 256ths: 0.85.
const TEST: u64 = 218;

/// A test takes so many packets.
const TEST_PACKETS: u32 = 400;

/// No test takes longer.
const TEST_SPAN: Duration = Duration::from_secs(3);

/// Loss above this in a test, in 1/65,536, may have fallen and be congestion still, of a link that carries far less than it
/// delivered before the test: 20 %. So many tests follow each other at most.
const HEAVY: u32 = 13_107;
const MOST_TESTS: u8 = 4;

/// Where more than this is lost, in 1/65,536, it is not for the rate: seven eighths.
const HOPELESS: u32 = 57_344;

/// A rate is measured over at least this long.
const MEASURED: Duration = Duration::from_millis(80);

/// Loss that fell below this part of what it was, in 256ths, was congestion: 0.4.
const FELL: u32 = 102;

/// A link held back is tried again after this, then twice this, and so on up to the longest.
const FIRST_HOLD: Duration = Duration::from_millis(500);
const LONGEST_HOLD: Duration = Duration::from_secs(16);

/// A limit is this part of what was delivered while packets were lost, in 256ths: 0.98.
const KEPT: u64 = 251;

/// A limit is tried by so much more, in 256ths: 6 %, doubled with each success up to a half. What is delivered must have grown
/// by a quarter of that.
const MORE: u64 = 16;
const MOST_MORE: u64 = 128;

/// A trial is no shorter: jitter makes more of a rate than the limit is tried by.
const TRIAL: Duration = Duration::from_millis(300);

/// A trial that ends with a longer queue has met the link's capacity, and no limit. Shallow buffers hold less: 4 ms.
const QUEUE: Duration = Duration::from_millis(6);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No limit; loss is watched.
    #[default]
    Watch,
    /// Sending less, from then on measured.
    Test { from: Instant, until: Instant, before: u32, delivered: u64 },
    /// Held at the limit until then.
    Hold { until: Instant },
    /// Trying more than the limit, from then on measured.
    Try { from: Instant, until: Instant },
}

/// Packets seen since.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    arrived: u32,
    lost: u32,
    since: Instant,
    /// What arrived while the link was used to the full, and in how long by the receiver's clock.
    bytes: u64,
    time: Duration,
    /// What arrived in all, and in how long.
    all_bytes: u64,
    all_time: Duration,
}

impl Window {
    fn at(since: Instant) -> Self {
        Self { since, ..Self::default() }
    }

    fn add(&mut self, heard: &Heard) {
        self.arrived = self.arrived.saturating_add(heard.arrived);
        self.lost = self.lost.saturating_add(heard.lost);
        self.all_bytes = self.all_bytes.saturating_add(heard.bytes);
        self.all_time = self.all_time + heard.interval;
        if heard.is_used {
            self.bytes = self.bytes.saturating_add(heard.bytes);
            self.time = self.time + heard.interval;
        }
    }

    /// What was delivered while the link was used to the full, in bytes per second; 0 when it hardly was.
    fn rate(&self) -> u64 {
        if self.time < MEASURED {
            return 0;
        }
        super::per_second(self.bytes, self.time)
    }

    /// What the link is known to deliver, in bytes per second: while it was used to the full, or on average where it hardly was. Bursts
    /// that are too fast for it are lost though it has room for more; only less than this is surely no burst.
    fn delivered(&self) -> u64 {
        if self.time < MEASURED { super::per_second(self.all_bytes, self.all_time) } else { self.rate() }
    }

    fn total(&self) -> u32 {
        self.arrived.saturating_add(self.lost)
    }

    /// Loss in 1/65,536.
    fn ratio(&self) -> u32 {
        let ratio = (u64::from(self.lost) << 16).checked_div(u64::from(self.total()));
        ratio.and_then(|ratio| u32::try_from(ratio).ok()).unwrap_or(0)
    }
}

/// The judge of one link's losses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    phase: Phase,
    window: Window,
    /// The loss that sending less does not end.
    baseline: u32,
    /// What is let through, in bytes per second; 0 for no limit.
    rate: u64,
    /// How long a limit is held before more is tried.
    hold: Duration,
    /// By how much more it is tried, in 256ths.
    more: u64,
    /// Tests in a row that did not end the loss.
    tests: u8,
}

impl Limit {
    /// Takes in a report; returns the capacity when that is now known from losses.
    pub(super) fn hear(&mut self, heard: &Heard, capacity: u64) -> Option<u64> {
        if self.window.since == Instant::ORIGIN {
            self.window.since = heard.at;
        }
        match self.phase {
            Phase::Test { from, .. } | Phase::Try { from, .. } if heard.at < from => return None,
            _ => self.window.add(heard),
        }
        match self.phase {
            Phase::Watch => {
                if self.is_suspicious(heard.at) {
                    self.test(heard, capacity);
                }
                None
            }
            Phase::Test { until, before, delivered, .. } => self.judge(heard, until, before, delivered),
            Phase::Hold { until } => {
                if self.is_suspicious(heard.at) {
                    self.test(heard, self.rate);
                } else if heard.at >= until && heard.is_used {
                    self.phase = Phase::Try { from: heard.at + heard.rtt + heard.rtt, until: heard.at + TEST_SPAN };
                    self.window = Window::at(heard.at);
                }
                None
            }
            Phase::Try { until, .. } => self.try_more(heard, until),
        }
    }

    /// The pace that is allowed where `pace` is wanted.
    pub(super) fn bound(&self, pace: u64) -> u64 {
        match self.phase {
            Phase::Watch => pace,
            Phase::Test { delivered, .. } => pace.min(super::part(delivered, TEST)),
            Phase::Hold { .. } => pace.min(self.rate),
            Phase::Try { .. } => pace.min(self.rate.saturating_add(super::part(self.rate, self.more))),
        }
    }

    /// Loss that is more than usual, in 1/65,536.
    fn threshold(&self) -> u32 {
        SUSPICIOUS.saturating_add(self.baseline.saturating_mul(2))
    }

    /// Whether a whole window has more loss than usual; a whole window without it begins the next.
    fn is_suspicious(&mut self, now: Instant) -> bool {
        if now.since(self.window.since) < WINDOW || self.window.total() < WINDOW_PACKETS {
            return false;
        }
        let ratio = self.window.ratio();
        let is_suspicious = self.window.lost >= WINDOW_LOSSES && ratio > self.threshold() && ratio <= HOPELESS;
        if !is_suspicious {
            // Usual loss is learned slowly.
            let ratio = if ratio > HOPELESS { self.baseline } else { ratio };
            self.baseline = self.baseline.saturating_sub(self.baseline >> 3).saturating_add(ratio >> 3);
            self.window = Window::at(now);
        }
        is_suspicious
    }

    /// Begins to send less than was delivered in the window, which is no more than `most`.
    fn test(&mut self, heard: &Heard, most: u64) {
        let delivered = if self.window.delivered() == 0 { most } else { self.window.delivered().min(most) };
        let from = heard.at + heard.rtt + (heard.rtt >> 1);
        let before = self.window.ratio();
        self.phase = Phase::Test { from, until: from + TEST_SPAN, before, delivered };
        self.window = Window::at(heard.at);
    }

    fn judge(&mut self, heard: &Heard, until: Instant, before: u32, delivered: u64) -> Option<u64> {
        if self.window.total() < TEST_PACKETS && heard.at < until {
            return None;
        }
        let ratio = self.window.ratio();
        if ratio < before.saturating_mul(FELL) >> 8 {
            (self.hold, self.more, self.tests) = (FIRST_HOLD, MORE, 0);
            self.rate = super::part(delivered, KEPT);
            return Some(self.hold_on(heard.at));
        }
        if ratio > HEAVY && ratio <= HOPELESS && self.tests < MOST_TESTS {
            self.tests = self.tests.saturating_add(1);
            self.test(heard, delivered);
            return None;
        }
        // Sending less did not help: it is the link's nature.
        (self.baseline, self.tests) = (ratio, 0);
        self.lift(heard.at);
        None
    }

    fn try_more(&mut self, heard: &Heard, until: Instant) -> Option<u64> {
        let is_lossy = self.window.lost >= WINDOW_LOSSES && self.window.ratio() > self.threshold();
        let is_long = self.window.total() >= TEST_PACKETS && self.window.time >= TRIAL;
        if !is_lossy && !is_long && heard.at < until {
            return None;
        }
        let delivered = self.window.rate();
        let is_more = delivered.saturating_sub(self.rate) >= super::part(self.rate, self.more) >> 2;
        if is_lossy {
            (self.hold, self.more) = ((self.hold * 2).min(LONGEST_HOLD), MORE);
        } else if is_more {
            (self.hold, self.more) = (FIRST_HOLD, self.more.saturating_mul(2).min(MOST_MORE));
            self.rate = delivered;
        } else if heard.is_used && heard.queue >= QUEUE {
            self.lift(heard.at);
            return None;
        }
        let rate = self.hold_on(heard.at);
        (is_more && !is_lossy).then_some(rate)
    }

    /// Holds the link to the limit from now on.
    fn hold_on(&mut self, now: Instant) -> u64 {
        self.phase = Phase::Hold { until: now + self.hold };
        self.window = Window::at(now);
        self.rate
    }

    /// Ends the limit.
    fn lift(&mut self, now: Instant) {
        (self.phase, self.rate) = (Phase::Watch, 0);
        self.window = Window::at(now);
    }
}

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

/// Loss that fell below this part of what it was, in 256ths, was congestion: 0.4.
const FELL: u32 = 102;

/// A link held back is tried again after this, then twice this, and so on up to the longest.
const FIRST_HOLD: Duration = Duration::from_millis(500);
const LONGEST_HOLD: Duration = Duration::from_secs(16);

/// A limit is this part of what was delivered while packets were lost, in 256ths: 0.98.
const KEPT: u64 = 251;

/// A limit is tried by so much more, in 256ths: 6 %.
const MORE: u64 = 16;

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
}

impl Window {
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
    hold: Duration,
}

impl Limit {
    pub(super) const fn baseline(&self) -> u32 {
        self.baseline
    }

    /// Takes in a report; returns the capacity when that is now known from losses.
    pub(super) fn hear(&mut self, heard: &Heard, capacity: u64, delivered: u64) -> Option<u64> {
        if self.window.since == Instant::ORIGIN {
            self.window.since = heard.at;
        }
        match self.phase {
            Phase::Test { from, .. } | Phase::Try { from, .. } if heard.at < from => return None,
            _ => {}
        }
        self.window.arrived = self.window.arrived.saturating_add(heard.arrived);
        self.window.lost = self.window.lost.saturating_add(heard.lost);
        match self.phase {
            Phase::Watch => {
                if self.is_suspicious(heard.at) {
                    self.test(heard, if delivered == 0 { capacity } else { delivered.min(capacity) });
                }
                None
            }
            Phase::Test { until, before, delivered, .. } => self.judge(heard, until, before, delivered),
            Phase::Hold { until } => {
                if self.is_suspicious(heard.at) {
                    self.test(heard, delivered.min(self.rate));
                } else if heard.at >= until && heard.is_used {
                    self.phase = Phase::Try { from: heard.at + heard.rtt + heard.rtt, until: heard.at + TEST_SPAN };
                    self.window = Window { since: heard.at, ..Window::default() };
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
            Phase::Try { .. } => self.rate.saturating_add(super::part(self.rate, MORE)),
        }
    }

    /// Whether a whole window has more loss than usual; a whole window without it begins the next.
    fn is_suspicious(&mut self, now: Instant) -> bool {
        if now.since(self.window.since) < WINDOW || self.window.total() < WINDOW_PACKETS {
            return false;
        }
        let threshold = SUSPICIOUS.saturating_add(self.baseline.saturating_mul(2));
        let is_suspicious = self.window.lost >= WINDOW_LOSSES && self.window.ratio() > threshold;
        if !is_suspicious {
            // Usual loss is learned slowly.
            self.baseline = self.baseline.saturating_sub(self.baseline >> 3).saturating_add(self.window.ratio() >> 3);
            self.window = Window { since: now, ..Window::default() };
        }
        is_suspicious
    }

    fn test(&mut self, heard: &Heard, delivered: u64) {
        let from = heard.at + heard.rtt + (heard.rtt >> 1);
        let before = self.window.ratio();
        self.phase = Phase::Test { from, until: from + TEST_SPAN, before, delivered };
        self.window = Window { since: heard.at, ..Window::default() };
    }

    fn judge(&mut self, heard: &Heard, until: Instant, before: u32, delivered: u64) -> Option<u64> {
        if self.window.total() < TEST_PACKETS && heard.at < until {
            return None;
        }
        let ratio = self.window.ratio();
        self.window = Window { since: heard.at, ..Window::default() };
        if ratio < before.saturating_mul(FELL) >> 8 {
            self.hold = if self.rate == 0 { FIRST_HOLD } else { (self.hold * 2).max(FIRST_HOLD).min(LONGEST_HOLD) };
            self.rate = super::part(delivered, KEPT);
            self.phase = Phase::Hold { until: heard.at + self.hold };
            return Some(self.rate);
        }
        // Sending less did not help: it is the link's nature.
        self.baseline = ratio;
        (self.phase, self.rate) = (Phase::Watch, 0);
        None
    }

    fn try_more(&mut self, heard: &Heard, until: Instant) -> Option<u64> {
        let threshold = SUSPICIOUS.saturating_add(self.baseline.saturating_mul(2));
        let is_lossy = self.window.lost >= WINDOW_LOSSES && self.window.ratio() > threshold;
        let is_over = self.window.total() >= TEST_PACKETS || heard.at >= until;
        if !is_lossy && !is_over {
            return None;
        }
        self.window = Window { since: heard.at, ..Window::default() };
        if is_lossy {
            self.hold = (self.hold * 2).max(FIRST_HOLD).min(LONGEST_HOLD);
        } else {
            self.hold = FIRST_HOLD;
            self.rate = self.rate.saturating_add(super::part(self.rate, MORE));
        }
        self.phase = Phase::Hold { until: heard.at + self.hold };
        (!is_lossy).then_some(self.rate)
    }
}

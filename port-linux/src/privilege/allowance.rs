// SPDX-License-Identifier: BSD-2-Clause
//! How much the worker may ask.

use mlvpn_core::words::time::{Duration, Instant};

/// How many requests the worker may make at once: a server with this many links of peers coming up is served without a
/// wait.
const BURST: u32 = 512;

/// How long it takes until it may make one more, so that no worker keeps a processor busy with its monitor: 125 a second.
const INTERVAL: Duration = Duration::from_millis(8);

/// How many requests the worker may make: a bucket that fills with time.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when the bucket was filled.
    filled: Instant,
    /// Whether the worker is not listened to until there is more.
    pub(super) is_waiting: bool,
}

impl Allowance {
    pub(super) const fn full(now: Instant) -> Self {
        Self { left: BURST, filled: now, is_waiting: false }
    }

    /// Whether there is one to take. At most [`BURST`] steps.
    pub(super) fn has_one(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.since(self.filled) >= INTERVAL {
            self.left += 1;
            self.filled += INTERVAL;
        }
        if self.left == BURST {
            self.filled = now;
        }
        self.left > 0
    }

    /// Takes one.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// When there will be one, while there is none.
    pub(super) fn empty_until(&self, now: Instant) -> Option<Instant> {
        let next = self.filled + INTERVAL;
        (self.left == 0 && next > now).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are taken at once.
    fn drained(allowance: &mut Allowance, now: Instant) -> u32 {
        let mut taken = 0;
        while allowance.has_one(now) {
            allowance.take();
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_burst_is_served_and_then_one_request_in_each_interval() {
        let start = Instant::ORIGIN + Duration::from_secs(100);
        let mut allowance = Allowance::full(start);
        assert_eq!(drained(&mut allowance, start), BURST);
        assert_eq!(allowance.empty_until(start), Some(start + INTERVAL));
        assert_eq!(drained(&mut allowance, start + INTERVAL * 3), 3);
        assert_eq!(drained(&mut allowance, start + INTERVAL * 3), 0);
        assert_eq!(drained(&mut allowance, start + Duration::from_secs(3600)), BURST);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A sender's round-trip times (RFC 6298 with Linux's least timeout).

use mlvpn_core::words::time::Duration;

/// Linux's TCP_RTO_MIN: the least the timeout exceeds the smoothed round trip by.
pub const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

/// The timeout before any sample (RFC 6298, 2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Linux's TCP_RTO_MAX.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Smoothed round-trip time, its deviation, and the smallest sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<u64>,
    deviation: u64,
    least: Option<u64>,
    latest: u64,
}

impl RoundTrip {
    /// Takes a sample.
    pub fn add(&mut self, sample: Duration) {
        let sample = sample.micros().max(1);
        self.latest = sample;
        match self.smoothed {
            None => (self.smoothed, self.deviation) = (Some(sample), sample / 2),
            Some(smoothed) => {
                self.deviation = (self.deviation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
        self.note_least(Duration::from_micros(sample));
    }

    /// Takes a sample for the minimum alone.
    pub fn note_least(&mut self, sample: Duration) {
        let sample = sample.micros().max(1);
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
    }

    /// The smoothed time; None before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_micros)
    }

    /// The smallest sample; None before the first.
    #[must_use]
    pub fn least(&self) -> Option<Duration> {
        self.least.map(Duration::from_micros)
    }

    /// How long to wait for an acknowledgement that does not come, after `failures` timeouts in a row.
    #[must_use]
    pub fn timeout(&self, failures: u32) -> Duration {
        let once = self.smoothed.map_or(FIRST_TIMEOUT, |smoothed| {
            Duration::from_micros(smoothed + (self.deviation * 4).max(LEAST_TIMEOUT.micros()))
        });
        (once * (1 << failures.min(16))).min(LONGEST_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_never_less_than_a_fifth_of_a_second_above_the_round_trip() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.timeout(0), FIRST_TIMEOUT);
        for _ in 0..100 {
            rtt.add(Duration::from_millis(30));
        }
        assert_eq!(rtt.timeout(0), Duration::from_millis(230));
        assert_eq!(rtt.timeout(2), Duration::from_millis(920));
        assert_eq!(rtt.least(), Some(Duration::from_millis(30)));
    }
}

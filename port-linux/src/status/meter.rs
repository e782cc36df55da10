// SPDX-License-Identifier: BSD-2-Clause
//! What a link carries, second by second.

use std::collections::VecDeque;

use mlvpn_core::words::time::{Duration, Instant};

/// How long one sample is: short enough to see a link fail over, long enough to average bursts.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Samples kept: five minutes. That is 2,400 bytes for a link.
pub const HISTORY_SAMPLES: usize = 300;

/// What was carried in one interval, in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Towards the peer.
    pub sent: u32,
    /// From the peer.
    pub received: u32,
}

/// A link's counters, and its last minutes. Bytes are those of UDP payloads.
///
/// The counters are told of each datagram; [`Meter::sample`] is called once an interval, and takes memory the first time.
#[derive(Debug, Default)]
pub struct Meter {
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
    /// Both counters of bytes at the last sample.
    sampled: (u64, u64),
    /// The newest last, at most [`HISTORY_SAMPLES`].
    samples: VecDeque<Sample>,
}

impl Meter {
    /// Counts a datagram that was sent.
    pub const fn count_sent(&mut self, bytes: usize) {
        self.sent_packets = self.sent_packets.saturating_add(1);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes as u64);
    }

    /// Counts a datagram that was received.
    pub const fn count_received(&mut self, bytes: usize) {
        self.received_packets = self.received_packets.saturating_add(1);
        self.received_bytes = self.received_bytes.saturating_add(bytes as u64);
    }

    /// Datagrams sent since the link was configured.
    #[must_use]
    pub const fn sent_packets(&self) -> u64 {
        self.sent_packets
    }

    /// Datagrams received since the link was configured.
    #[must_use]
    pub const fn received_packets(&self) -> u64 {
        self.received_packets
    }

    /// Bytes sent since the link was configured.
    #[must_use]
    pub const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Bytes received since the link was configured.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Takes a sample of what was carried in the last `elapsed`; one for each whole interval of it, so that the samples
    /// stay evenly spaced when the process slept.
    pub fn sample(&mut self, elapsed: Duration) {
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(HISTORY_SAMPLES);
        }
        let (sent, received) = std::mem::replace(&mut self.sampled, (self.sent_bytes, self.received_bytes));
        let sample = Sample {
            sent: per_second(self.sent_bytes.saturating_sub(sent), elapsed),
            received: per_second(self.received_bytes.saturating_sub(received), elapsed),
        };
        let intervals = (elapsed.micros() / SAMPLE_INTERVAL.micros()).clamp(1, HISTORY_SAMPLES as u64);
        for _ in 0..intervals {
            if self.samples.len() == HISTORY_SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
    }

    /// The last sample.
    #[must_use]
    pub fn last(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// The last `count` samples, the oldest first.
    pub fn last_samples(&self, count: usize) -> impl Iterator<Item = Sample> + '_ {
        self.samples.iter().skip(self.samples.len().saturating_sub(count)).copied()
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u32 {
    let rate = bytes.saturating_mul(1_000_000).checked_div(elapsed.micros()).unwrap_or(0);
    u32::try_from(rate).unwrap_or(u32::MAX)
}

/// When to take the next sample of every meter.
#[derive(Debug)]
pub(crate) struct Ticks {
    last: Instant,
}

impl Ticks {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { last: now }
    }

    /// When to take the next sample.
    pub(crate) fn deadline(&self) -> Instant {
        self.last + SAMPLE_INTERVAL
    }

    /// How long the sample that is due now is; `None` when none is.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Duration> {
        let elapsed = now.since(self.last);
        (elapsed >= SAMPLE_INTERVAL).then(|| {
            self.last = now;
            elapsed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_over_the_time_they_took() {
        let mut meter = Meter::default();
        assert_eq!(meter.last(), None);
        meter.count_sent(3_000);
        meter.count_received(500);
        meter.sample(Duration::from_millis(1_500));
        assert_eq!(meter.last(), Some(Sample { sent: 2_000, received: 333 }));
        meter.sample(SAMPLE_INTERVAL);
        assert_eq!(meter.last(), Some(Sample::default()));
        assert_eq!((meter.sent_bytes(), meter.received_bytes()), (3_000, 500));
        assert_eq!((meter.sent_packets(), meter.received_packets()), (1, 1));
    }

    #[test]
    fn a_late_sample_counts_for_every_interval_it_covers() {
        let mut meter = Meter::default();
        meter.count_sent(4_000);
        meter.sample(Duration::from_secs(4));
        assert_eq!(meter.last_samples(10).map(|sample| sample.sent).collect::<Vec<_>>(), [1_000; 4]);
        meter.sample(Duration::from_secs(10_000));
        assert_eq!(meter.last_samples(usize::MAX).count(), HISTORY_SAMPLES);
    }

    #[test]
    fn only_the_last_minutes_are_kept_and_the_memory_does_not_grow() {
        let mut meter = Meter::default();
        meter.sample(SAMPLE_INTERVAL);
        let capacity = meter.samples.capacity();
        for second in 0..1_000 {
            meter.count_received(second);
            meter.sample(SAMPLE_INTERVAL);
        }
        assert_eq!(meter.samples.capacity(), capacity);
        let received: Vec<u32> = meter.last_samples(2).map(|sample| sample.received).collect();
        assert_eq!(received, [998, 999]);
        assert_eq!(meter.last_samples(1_000).count(), HISTORY_SAMPLES);
    }

    #[test]
    fn a_sample_is_due_once_an_interval() {
        let mut ticks = Ticks::new(Instant::ORIGIN);
        assert_eq!(ticks.take(Instant::ORIGIN + Duration::from_millis(999)), None);
        let now = Instant::ORIGIN + Duration::from_millis(1_200);
        assert_eq!(ticks.take(now), Some(Duration::from_millis(1_200)));
        assert_eq!(ticks.deadline(), now + SAMPLE_INTERVAL);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What is learned about a link from its packets: round-trip time and loss. Integers only.

use crate::words::time::{Duration, Instant};

/// Samples of this length and longer are no round trips: the peer was stopped, or the 16-bit clock went round
/// (MLVPN 2.3 ignores them too).
const ABSURD: Duration = Duration::from_millis(5_000);

/// Smoothed round-trip time and its mean deviation (RFC 6298: gains 1/8 and 1/4).
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    /// None until the first sample.
    smoothed: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    /// Takes a sample; five seconds and more are ignored.
    pub fn sample(&mut self, sample: Duration) {
        if sample >= ABSURD {
            return;
        }
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(sample);
            self.deviation = sample >> 1;
            return;
        };
        let error = if sample > smoothed { sample - smoothed } else { smoothed - sample };
        self.deviation = self.deviation - (self.deviation >> 2) + (error >> 2);
        self.smoothed = Some(smoothed - (smoothed >> 3) + (sample >> 3));
    }

    /// The smoothed round-trip time, once there was a sample.
    #[must_use]
    pub const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The smoothed mean deviation of the samples.
    #[must_use]
    pub const fn deviation(&self) -> Duration {
        self.deviation
    }
}

/// How far one 16-bit time is ahead of another; negative when it is behind. They wrap after 65,536 units.
#[must_use]
pub const fn apart(later: u16, earlier: u16) -> i16 {
    later.wrapping_sub(earlier).cast_signed()
}

/// The mean deviation between the one-way times of neighbouring packets (RFC 3550, 6.4.1: gain 1/16).
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    /// In sixteenths of a microsecond.
    scaled: u64,
}

impl Jitter {
    /// Takes the difference of two neighbours, in microseconds.
    pub fn sample(&mut self, micros: u64) {
        self.scaled = self.scaled.saturating_sub(self.scaled >> 4).saturating_add(micros);
    }

    /// The mean deviation in microseconds.
    #[must_use]
    pub const fn micros(&self) -> u64 {
        self.scaled >> 4
    }
}

/// The least one-way time is remembered for three of these: long enough that a link in use was empty once, short enough
/// to follow clocks that drift and routes that change.
const EPOCH: Duration = Duration::from_secs(5);

/// The least of the one-way times of the last 10 to 15 seconds, in units that wrap at 65,536.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastTransit {
    /// The least of each epoch, the current one first.
    epochs: [Option<u16>; 3],
    /// When the current one began.
    since: Instant,
}

impl LeastTransit {
    /// Takes a sample, and returns the least.
    pub fn sample(&mut self, transit: u16, now: Instant) -> u16 {
        let [current, before, oldest] = self.epochs;
        let passed = now.since(self.since);
        if passed >= EPOCH * 3 || current.is_none() {
            self.epochs = [Some(transit), None, None];
            self.since = now;
        } else if passed >= EPOCH {
            self.epochs = [Some(transit), current, before];
            self.since = now;
        } else {
            self.epochs = [current.map(|least| lesser(least, transit)), before, oldest];
        }
        self.epochs.into_iter().flatten().fold(transit, lesser)
    }

    /// The least; none before the first sample.
    #[must_use]
    pub fn least(&self) -> Option<u16> {
        self.epochs.into_iter().flatten().reduce(lesser)
    }
}

const fn lesser(one: u16, other: u16) -> u16 {
    if apart(one, other) < 0 { one } else { other }
}

/// Which of a link's last 64 packets arrived.
#[derive(Clone, Copy, Debug)]
pub struct LossWindow {
    /// Bit `i` says whether the packet `i` before the last arrived.
    arrived: u64,
    last: Option<u64>,
}

impl LossWindow {
    /// Packets the window covers.
    pub const SPAN: u32 = u64::BITS;

    /// A window that has seen no loss.
    #[must_use]
    pub const fn new() -> Self {
        Self { arrived: u64::MAX, last: None }
    }

    /// Notes the arrival of the packet with this counter. A jump of more than the window starts it afresh, as after a
    /// reconnection.
    pub fn arrival(&mut self, counter: u64) {
        let Some(last) = self.last else {
            self.last = Some(counter);
            return;
        };
        if let Some(ahead) = counter.checked_sub(last) {
            match u32::try_from(ahead).ok().filter(|ahead| *ahead <= Self::SPAN) {
                Some(ahead) => self.arrived = self.arrived.checked_shl(ahead).unwrap_or(0) | 1,
                None => self.arrived = u64::MAX,
            }
            self.last = Some(counter);
        } else if let Some(bit) = u32::try_from(last.saturating_sub(counter)).ok().and_then(|n| 1u64.checked_shl(n)) {
            self.arrived |= bit;
        }
    }

    /// Loss over the window in percent, rounded down.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let percent = self.arrived.count_zeros().saturating_mul(100) / Self::SPAN;
        u8::try_from(percent).unwrap_or(100)
    }
}

impl Default for LossWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_taken_whole_and_later_ones_by_an_eighth() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.smoothed(), None);
        rtt.sample(Duration::from_millis(80));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(80)));
        assert_eq!(rtt.deviation(), Duration::from_millis(40));
        rtt.sample(Duration::from_millis(160));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(90)));
        assert_eq!(rtt.deviation(), Duration::from_millis(50));
    }

    #[test]
    fn five_seconds_are_no_round_trip() {
        let mut rtt = RoundTrip::default();
        rtt.sample(Duration::from_millis(5_000));
        assert_eq!(rtt.smoothed(), None);
    }

    #[test]
    fn each_packet_missing_counts_once_and_no_more_when_it_comes_late() {
        let mut loss = LossWindow::new();
        for counter in (0..64).filter(|counter| counter % 4 != 3) {
            loss.arrival(counter);
        }
        // Counter 63 is ahead of all seen, so 15 of the 16 gaps are known: 23 %.
        assert_eq!(loss.percent(), 23);
        loss.arrival(3);
        loss.arrival(35);
        assert_eq!(loss.percent(), 20);
    }

    #[test]
    fn a_gap_of_exactly_the_window_is_total_loss_and_a_longer_one_a_new_start() {
        let mut loss = LossWindow::new();
        loss.arrival(0);
        loss.arrival(64);
        assert_eq!(loss.percent(), 98);
        loss.arrival(64 + 65);
        assert_eq!(loss.percent(), 0);
        loss.arrival(1);
        assert_eq!(loss.percent(), 0);
    }
}

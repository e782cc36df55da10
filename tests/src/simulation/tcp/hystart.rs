// SPDX-License-Identifier: BSD-2-Clause
//! HyStart (Ha and Rhee, 2011) with the constants of Linux: slow start ends before the queue overflows, when
//! acknowledgements come in a train as long as half the round trip, or round trips grow.

use mlvpn_core::words::time::{Duration, Instant};

/// Below this window, in segments, nothing is looked for.
const LOW_WINDOW: u64 = 16;

/// Round trips looked at in each round.
const SAMPLES: u32 = 8;

/// Growth of the round trip that ends slow start: an eighth of the least one, within these bounds.
const LEAST_GROWTH: Duration = Duration::from_millis(4);
const MOST_GROWTH: Duration = Duration::from_millis(16);

/// Acknowledgements closer than this belong to one train.
const TRAIN_GAP: Duration = Duration::from_millis(2);

/// See the module's description.
#[derive(Debug, Default)]
pub struct HyStart {
    is_found: bool,
    /// The round ends when this segment is acknowledged.
    round_end: u64,
    round_start: Instant,
    last_ack: Instant,
    least_in_round: Option<Duration>,
    samples: u32,
}

impl HyStart {
    /// Takes a round trip seen in slow start and the least one ever, with `first` the oldest and `next` the next segment
    /// to be sent. True when slow start should end.
    pub fn is_over(
        &mut self,
        window: u64,
        (first, next): (u64, u64),
        (rtt, least): (Duration, Duration),
        now: Instant,
    ) -> bool {
        if self.is_found || window < LOW_WINDOW {
            return false;
        }
        if first > self.round_end {
            self.begin_round(next, now);
        }
        self.is_found = self.has_train(least, now) || self.has_grown(rtt, least);
        self.is_found
    }

    /// Everything was lost: slow start begins anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn begin_round(&mut self, next: u64, now: Instant) {
        (self.round_end, self.round_start, self.last_ack) = (next, now, now);
        (self.least_in_round, self.samples) = (None, 0);
    }

    fn has_train(&mut self, least: Duration, now: Instant) -> bool {
        if now.since(self.last_ack) > TRAIN_GAP {
            return false;
        }
        self.last_ack = now;
        now.since(self.round_start) > least >> 1
    }

    fn has_grown(&mut self, rtt: Duration, least: Duration) -> bool {
        let smallest = self.least_in_round.map_or(rtt, |smallest| smallest.min(rtt));
        self.least_in_round = Some(smallest);
        if self.samples < SAMPLES {
            self.samples += 1;
            return false;
        }
        smallest > least + (least >> 3).clamp(LEAST_GROWTH, MOST_GROWTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn slow_start_ends_when_eight_round_trips_in_a_round_have_grown_by_an_eighth() {
        let mut hystart = HyStart::default();
        let mut sample = |count: u64, rtt| {
            // Far enough apart that no train forms.
            let now = Instant::from_micros(1_000_000 + count * 5_000);
            hystart.is_over(20, (count, count + 100), (rtt, MS(80)), now)
        };
        assert!((1..=20).all(|count| !sample(count, MS(89))));
        // The smallest of the round counts, so growth within a round ends nothing.
        assert!((21..=100).all(|count| !sample(count, MS(95))));
        let ends = (101..=120).find(|count| sample(*count, MS(91)));
        assert_eq!(ends, Some(110), "the ninth sample of the next round");
    }

    #[test]
    fn a_train_of_half_a_round_trip_ends_slow_start() {
        let mut hystart = HyStart::default();
        let mut over = |micros: u64| {
            let now = Instant::from_micros(1_000_000 + micros);
            hystart.is_over(20, (1, 100), (MS(80), MS(80)), now)
        };
        let ends = (0..100).map(|count| count * 1_000).find(|micros| over(*micros));
        assert_eq!(ends, Some(41_000));
    }
}

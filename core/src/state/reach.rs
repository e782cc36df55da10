// SPDX-License-Identifier: BSD-2-Clause
//! Reach: links that are much slower to arrive join the bulk when those before them are full, and leave when they would do.
//!
//! A flow is delivered in order, so all of it takes as long as its slowest link. A window `W` brings `W / T` through links whose
//! slowest takes a round trip of `T`: one more link makes the whole faster only when the window fills the links before it for the
//! longer round trip, too. Then as much stands at the entrance as they carry in the difference, and a packet waits there
//! for as long as the difference is. A link joins at half of that, because windows grow (simulated: links 280 ms apart are full 2 s
//! sooner than with all of it, and a small window loses nothing); it leaves when no more is sent than the links before it carry.
//! Links whose times differ by little are used at once: a window grows past that in a few round trips.

use crate::words::time::{Duration, Instant};

/// Links with one-way times up to this much above the least are always in reach (simulated: links 30 ms apart start better
/// together, links 140 ms apart hold a small window back for seconds).
const NEAR: Duration = Duration::from_millis(50);

/// What is sent is measured over at least this long, and a round trip.
const SPAN: Duration = Duration::from_millis(250);

/// The links before would do when what is sent is at most this part of what they carry, in eighths.
const SPARE: u64 = 7;

/// What there is to see of the links in use. Distances are one-way times beyond the least.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// The largest distance in reach, and the one before that.
    pub farthest: Duration,
    /// See `farthest`.
    pub before: Duration,
    /// The least distance out of reach, if any.
    pub next: Option<Duration>,
    /// What the links before the farthest carry together, in bytes per second.
    pub carried_before: u64,
    /// The longest round trip in reach.
    pub rtt: Duration,
    /// For how long the next bulk packet has waited.
    pub waited: Duration,
    /// Bytes sent over all links since the beginning.
    pub sent: u64,
}

/// How far bulk goes. [`Reach::note_empty`] whenever nothing waits, [`Reach::look`] now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// The distance that bulk goes, when that is beyond [`NEAR`].
    far: Duration,
    /// How much later the next link's packets arrive than those of the farthest in reach; zero when all are.
    step: Duration,
    /// Since when and from which count what is sent is measured, and whether nothing waited at any moment of it.
    since: Instant,
    sent: u64,
    was_empty: bool,
}

impl Reach {
    /// Whether bulk takes a link at this distance.
    #[must_use]
    pub fn covers(&self, distance: Duration) -> bool {
        distance <= NEAR.max(self.far)
    }

    /// How much later than the others the next link's packets arrive that could join; zero when there is none.
    #[must_use]
    pub const fn step(&self) -> Duration {
        self.step
    }

    /// Says that nothing waits.
    pub fn note_empty(&mut self) {
        self.was_empty = self.far > NEAR;
    }

    /// Has a link join or leave.
    pub fn look(&mut self, look: &Look, now: Instant) {
        self.step = look.next.map_or(Duration::ZERO, |next| next.saturating_sub(look.farthest));
        if let Some(next) = look.next.filter(|_| look.waited >= self.step >> 1) {
            self.far = next;
            self.measure_anew(look.sent, now);
        } else if self.far > NEAR && now.since(self.since) >= SPAN.max(look.rtt) {
            let passed = now.since(self.since).micros();
            let bytes = look.sent.saturating_sub(self.sent);
            let rate = bytes.saturating_mul(1_000_000).checked_div(passed).unwrap_or(0);
            let is_enough = rate.saturating_mul(8) <= look.carried_before.saturating_mul(SPARE);
            if self.was_empty && is_enough {
                self.far = look.before;
            }
            self.measure_anew(look.sent, now);
        }
    }

    const fn measure_anew(&mut self, sent: u64, now: Instant) {
        (self.since, self.sent, self.was_empty) = (now, sent, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_000_000 + millis * 1_000)
    }

    /// A link of 1 MB/s, and one that takes 280 ms longer.
    fn before(waited: u64, sent: u64) -> Look {
        Look { next: Some(ms(280)), rtt: ms(40), waited: ms(waited), sent, ..Look::default() }
    }

    fn after(sent: u64) -> Look {
        Look { farthest: ms(280), carried_before: 1_000_000, rtt: ms(320), sent, ..Look::default() }
    }

    #[test]
    fn near_links_are_always_used_and_far_ones_when_packets_wait_for_half_of_the_difference() {
        let mut reach = Reach::default();
        assert!(reach.covers(ms(50)) && !reach.covers(ms(280)));
        reach.look(&before(139, 0), at(0));
        assert_eq!((reach.covers(ms(280)), reach.step()), (false, ms(280)));
        reach.look(&before(140, 0), at(5));
        assert!(reach.covers(ms(280)) && !reach.covers(ms(281)));
    }

    #[test]
    fn a_far_link_leaves_when_the_others_carry_what_is_sent() {
        let mut reach = Reach::default();
        reach.look(&before(280, 0), at(0));
        let mut sent = 0;
        for step in 1..100 {
            sent += 50_000;
            reach.note_empty();
            reach.look(&after(sent), at(50 * step));
            assert!(reach.covers(ms(280)), "1 MB/s at {} ms", 50 * step);
        }
        for step in 100..120 {
            sent += 40_000;
            reach.note_empty();
            reach.look(&after(sent), at(50 * step));
        }
        assert!(!reach.covers(ms(280)) && reach.covers(ms(50)));
    }

    #[test]
    fn a_far_link_stays_while_packets_wait() {
        let mut reach = Reach::default();
        reach.look(&before(280, 0), at(0));
        for step in 1..100 {
            reach.look(&after(10_000 * step), at(50 * step));
        }
        assert!(reach.covers(ms(280)));
    }
}

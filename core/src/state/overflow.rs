// SPDX-License-Identifier: BSD-2-Clause
//! Tiers: links of a higher rank join when those below are full, and leave again when they would do.
//!
//! Whether they are full shows at the tunnel's entrance: a packet waits and no link in use takes it yet. One that merely
//! arrives in a bunch waits for moments; demand that exceeds the links keeps the queue standing.

use crate::words::policy::BACKUP;
use crate::words::time::{Duration, Instant};

/// The queue at the entrance must have stood for this long, on balance, before the next rank joins: shorter than a page
/// takes that a user waits for, longer than a burst.
const JOIN_AFTER: Duration = Duration::from_secs(1);

/// Time without a queue counts this much more than time with one. So links that are busy for less than four fifths of
/// the time are not full, however bunched their packets come, while the moments for which a TCP connection that halves its
/// window leaves a full link empty delay the join only a little.
const EASE: u64 = 4;

/// Links join for at least this long, and leave after so long without need: some round trips of a TCP that fills what it
/// is given, and what one segment of a streamed film and the next are apart.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// What is sent is measured over at least this long; time in which nobody looked counts for no more.
const SPAN: Duration = Duration::from_millis(250);

/// The lower ranks would do when what is sent is at most this part of their pace, in eighths.
const SPARE: u64 = 7;

/// What there is to see of the links in use.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The lowest rank with a usable link.
    pub lowest: u8,
    /// The lowest usable rank that has not joined, backups aside.
    pub next: Option<u8>,
    /// The highest rank that has joined, and the one below it.
    pub highest: u8,
    /// See `highest`.
    pub below: u8,
    /// How fast the links of ranks lower than `highest` may be sent on together, in bytes per second.
    pub pace_below: u64,
    /// Bytes sent over all links since the beginning.
    pub sent: u64,
}

/// Which ranks carry data. [`Overflow::note`] whenever packets were to be sent, [`Overflow::look`] now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overflow {
    /// The highest rank that has joined.
    joined: u8,
    lowest: u8,
    /// The queue stands since the last look.
    is_standing: bool,
    looked_at: Instant,
    /// For how long it stood, on balance.
    pressure: Duration,
    /// Since when, and from which count, the sending rate is measured.
    span_at: Instant,
    span_sent: u64,
    /// For how long the lower ranks would have done.
    spare: Duration,
}

impl Overflow {
    /// The highest rank that carries data when `lowest` is the lowest one usable. Backups carry only alone.
    #[must_use]
    pub fn limit(&self, lowest: u8) -> u8 {
        if lowest >= BACKUP { lowest } else { self.joined.max(lowest).min(BACKUP.saturating_sub(1)) }
    }

    /// Says whether packets wait because no link in use has room.
    pub const fn note(&mut self, is_standing: bool) {
        self.is_standing = is_standing;
    }

    /// Has links join or leave.
    pub fn look(&mut self, look: &Look, now: Instant) {
        if look.lowest < self.lowest && self.lowest < BACKUP {
            // A lower link is back, and not at its pace yet: what carried in its place helps until it is not needed.
            self.joined = self.joined.max(self.lowest);
            self.spare = Duration::ZERO;
        }
        self.lowest = look.lowest;
        if look.next.is_none() && look.highest == look.lowest {
            // No other rank could join, none could leave.
            (self.pressure, self.spare) = (Duration::ZERO, Duration::ZERO);
            return;
        }
        let passed = now.since(self.looked_at).min(SPAN);
        self.looked_at = now;
        self.press(look, passed);
        self.ease(look, now);
    }

    fn press(&mut self, look: &Look, passed: Duration) {
        if !self.is_standing {
            let eased = (passed * EASE).min(self.pressure);
            self.pressure = self.pressure.saturating_sub(eased);
            return;
        }
        self.pressure = (self.pressure + passed).min(JOIN_AFTER);
        if let Some(next) = look.next.filter(|_| self.pressure >= JOIN_AFTER) {
            self.joined = next;
            (self.pressure, self.spare) = (Duration::ZERO, Duration::ZERO);
        }
    }

    fn ease(&mut self, look: &Look, now: Instant) {
        let span = now.since(self.span_at);
        if span < SPAN {
            return;
        }
        let sent = look.sent.saturating_sub(self.span_sent);
        (self.span_at, self.span_sent) = (now, look.sent);
        let rate = sent.saturating_mul(1_000_000).checked_div(span.micros()).unwrap_or(0);
        let would_do = rate.saturating_mul(8) <= look.pace_below.saturating_mul(SPARE);
        self.spare = if would_do { self.spare + span.min(SPAN) } else { Duration::ZERO };
        if self.spare >= LEAVE_AFTER && look.highest > look.lowest {
            self.joined = look.below;
            self.spare = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: u64 = 1_000_000;

    #[derive(Default)]
    struct Bench {
        overflow: Overflow,
        at: u64,
        sent: u64,
    }

    impl Bench {
        /// Two ranks, 0 and 2, seen every 5 ms for `millis`, sending at `rate`; the queue stands when `stands` says so.
        /// Returns the highest rank in use then.
        fn run(&mut self, millis: u64, rate: u64, stands: impl Fn(u64) -> bool) -> u8 {
            for step in 0..millis / 5 {
                self.at += 5_000;
                self.sent += rate / 200;
                self.overflow.note(stands(step));
                let highest = self.overflow.limit(0);
                let next = (highest == 0).then_some(2);
                let look = Look { lowest: 0, next, highest, below: 0, pace_below: PACE, sent: self.sent };
                self.overflow.look(&look, Instant::from_micros(self.at));
            }
            self.overflow.limit(0)
        }
    }

    #[test]
    fn a_higher_rank_joins_after_a_second_of_demand_and_leaves_after_five_without() {
        let mut bench = Bench::default();
        assert_eq!(bench.run(995, PACE, |_| true), 0);
        assert_eq!(bench.run(10, PACE, |_| true), 2);
        assert_eq!(bench.run(30_000, PACE, |_| false), 2, "the lower rank alone would be full");
        assert_eq!(bench.run(4_500, PACE / 2, |_| false), 2);
        assert_eq!(bench.run(1_000, PACE / 2, |_| false), 0);
    }

    #[test]
    fn bunched_packets_on_links_with_room_are_no_demand_and_a_short_gap_does_not_hide_it() {
        let mut bench = Bench::default();
        assert_eq!(bench.run(60_000, PACE / 2, |step| step % 10 < 7), 0, "a queue for 70 % of the time");
        assert_eq!(bench.run(4_000, PACE, |step| step % 200 >= 20), 2, "a gap of 100 ms in every second");
    }

    #[test]
    fn backups_carry_only_alone_and_what_stood_in_helps_a_link_that_is_back() {
        let mut overflow = Overflow::default();
        assert_eq!(overflow.limit(BACKUP), BACKUP);
        let mut look = Look { lowest: 3, next: None, highest: 3, below: 3, pace_below: 0, sent: 0 };
        overflow.look(&look, Instant::from_micros(1));
        (look.lowest, look.highest) = (0, 3);
        overflow.look(&look, Instant::from_micros(2));
        assert_eq!(overflow.limit(0), 3);
        (look.lowest, look.highest) = (BACKUP, BACKUP);
        overflow.look(&look, Instant::from_micros(3));
        look.lowest = 0;
        overflow.look(&look, Instant::from_micros(4));
        assert!(overflow.limit(0) < BACKUP);
    }
}

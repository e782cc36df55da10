// SPDX-License-Identifier: BSD-2-Clause
//! Schedule: which link carries the next packet.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996) over the links: each has a virtual time that a packet of `n`
//! bytes moves forward by `n / rate`, and the link that is furthest back is next. So each carries bytes in proportion
//! to its rate, whatever their sizes, and one that was away or blocked does not catch up in a burst.

use crate::words::limits::MAX_LINKS;

/// Virtual time units a second of sending takes: 2^32, so that a packet of 64 bytes at 100 Gbit/s still counts 21.
const UNITS_PER_SEC_LOG2: u32 = 32;

/// Virtual time starts over here, far from overflow: a user may write rates as small weights ("1" and "2"), and then it
/// runs millions of times faster than the clock on the wall.
const REBASE: u64 = 1 << 62;

/// What the scheduler must know of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The link's place, below [`MAX_LINKS`].
    pub index: usize,
    /// Its rate in bytes per second; 0 when unknown, which counts as the mean of the known ones.
    pub rate_bytes_per_sec: u64,
}

/// Chooses links.
#[derive(Debug)]
pub struct Scheduler {
    /// Virtual time at which each link has sent what was given to it.
    finish: [u64; MAX_LINKS],
    /// Virtual time at which the packet chosen last began.
    clock: u64,
}

impl Scheduler {
    /// A scheduler that has chosen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { finish: [0; MAX_LINKS], clock: 0 }
    }

    /// The candidate that is to carry the next `bytes`; None when there is none. Work: two rounds over the candidates.
    pub fn choose(&mut self, candidates: &[Candidate], bytes: usize) -> Option<usize> {
        let unknown = mean_known_rate(candidates);
        let (start, candidate) = candidates
            .iter()
            .filter_map(|candidate| Some((self.finish.get(candidate.index)?.max(&self.clock), candidate)))
            .min_by_key(|(start, candidate)| (**start, candidate.index))?;
        let start = *start;
        let rate = if candidate.rate_bytes_per_sec == 0 { unknown } else { candidate.rate_bytes_per_sec };
        let cost = ((bytes as u64) << UNITS_PER_SEC_LOG2).checked_div(rate).unwrap_or(0).max(1);
        self.clock = start;
        if start >= REBASE {
            self.rebase();
        }
        let start = self.clock;
        if let Some(finish) = self.finish.get_mut(candidate.index) {
            *finish = start.saturating_add(cost);
        }
        Some(candidate.index)
    }

    /// Moves virtual time back to zero, keeping every difference.
    fn rebase(&mut self) {
        for finish in &mut self.finish {
            *finish = finish.saturating_sub(self.clock);
        }
        self.clock = 0;
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

/// The mean of the rates that are known; one byte per second when none is, so that all count alike.
fn mean_known_rate(candidates: &[Candidate]) -> u64 {
    let known = candidates.iter().filter(|candidate| candidate.rate_bytes_per_sec != 0);
    let (sum, count) =
        known.fold((0u64, 0u64), |(sum, count), c| (sum.saturating_add(c.rate_bytes_per_sec), count.saturating_add(1)));
    sum.checked_div(count).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: usize, rate_bytes_per_sec: u64) -> Candidate {
        Candidate { index, rate_bytes_per_sec }
    }

    fn shares(candidates: &[Candidate], packets: usize) -> [u64; MAX_LINKS] {
        let mut scheduler = Scheduler::new();
        let mut bytes = [0; MAX_LINKS];
        for packet in 0..packets {
            let len = 64 + packet * 97 % 1_400;
            bytes[scheduler.choose(candidates, len).unwrap()] += len as u64;
        }
        bytes
    }

    #[test]
    fn bytes_are_shared_in_proportion_to_the_rates() {
        let bytes = shares(&[candidate(0, 5_000_000), candidate(1, 1_250_000)], 10_000);
        assert!(bytes[0].abs_diff(4 * bytes[1]) <= 4 * 1_464, "{bytes:?}");
    }

    #[test]
    fn without_rates_the_links_take_turns() {
        let mut scheduler = Scheduler::new();
        let candidates = [candidate(0, 0), candidate(1, 0), candidate(2, 0)];
        let chosen: [usize; 6] = core::array::from_fn(|_| scheduler.choose(&candidates, 1_400).unwrap());
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_link_that_was_away_does_not_catch_up() {
        let mut scheduler = Scheduler::new();
        let both = [candidate(0, 1_000), candidate(1, 1_000)];
        for _ in 0..100 {
            assert_eq!(scheduler.choose(&both[..1], 1_000), Some(0));
        }
        let on_second = (0..10).filter(|_| scheduler.choose(&both, 1_000) == Some(1)).count();
        assert!((5..=6).contains(&on_second), "{on_second} of 10");
    }

    #[test]
    fn tiny_rates_are_weights_and_never_run_out_of_time() {
        let mut scheduler = Scheduler { clock: REBASE - 1, finish: [REBASE - 1; MAX_LINKS] };
        let candidates = [candidate(0, 1), candidate(1, 2)];
        let on_second = (0..300).filter(|_| scheduler.choose(&candidates, 1_500) == Some(1)).count();
        assert!((199..=201).contains(&on_second), "{on_second} of 300");
        assert!(scheduler.clock < REBASE);
    }

    #[test]
    fn without_links_none_is_chosen() {
        assert_eq!(Scheduler::new().choose(&[], 1_000), None);
        assert_eq!(Scheduler::new().choose(&[candidate(MAX_LINKS, 1)], 1_000), None);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The path MTU of one link in one direction, found by padded probes (RFC 8899: Datagram Packetization Layer Path MTU
//! Discovery), without ICMP.
//!
//! Sizes are whole IP packets. A size is *proved* when a probe of it was answered. The search tries the interface's own
//! MTU first, because most paths carry it, then halves the interval. Later it proves the size again now and then; when
//! that fails the path has shrunk, and the search starts over from the base.

use crate::words::time::{Duration, Instant};

/// What every path is taken to carry: IPv6's least MTU (RFC 8200), RFC 8899's BASE_PLPMTU.
pub const BASE: u16 = 1280;

/// The smallest size that is ever assumed, after the base failed as well: IPv4's least reassembly (RFC 791).
pub const FLOOR: u16 = 576;

/// A size that was not answered this often does not pass (RFC 8899: MAX_PROBES).
const TRIES: u8 = 3;

/// The search ends when the interval is this small: the largest MTU used by nobody differs by less.
const RESOLUTION: u16 = 8;

/// A proved size is proved again after this long, so that a path that shrinks is noticed (RFC 8899 suggests minutes;
/// a tunnel's black hole stops every download, so sooner).
const CONFIRM: Duration = Duration::from_secs(10);

/// After this long a larger size is tried again (RFC 8899: PMTU_RAISE_TIMER, 600 s).
const RAISE: Duration = Duration::from_secs(600);

/// The least wait for an answer.
const MIN_WAIT: Duration = Duration::from_millis(200);

/// The search on one path. See the module's description.
#[derive(Clone, Copy, Debug)]
pub struct MtuSearch {
    /// The largest size that passed.
    proved: u16,
    /// Every size from here on does not pass, or is not possible on the interface.
    refused: u16,
    /// What the interface can send.
    ceiling: u16,
    /// The first search has ended.
    is_known: bool,
    /// The size that is on its way.
    trial: Option<Trial>,
    /// When to confirm the proved size, and how often.
    confirm_at: Instant,
    confirm_every: Duration,
    /// When to try larger sizes again.
    raise_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    size: u16,
    tries: u8,
    /// When the last try counts as unanswered.
    expires: Instant,
}

impl MtuSearch {
    /// A search on a path whose interface carries `ceiling` bytes. Nothing is proved, and the base is assumed.
    #[must_use]
    pub fn new(ceiling: u16, now: Instant) -> Self {
        let ceiling = ceiling.max(FLOOR);
        Self {
            proved: BASE.min(ceiling),
            refused: ceiling.saturating_add(1),
            ceiling,
            is_known: false,
            trial: None,
            confirm_at: now,
            confirm_every: CONFIRM,
            raise_at: now + RAISE,
        }
    }

    /// The largest packet that may be sent, in bytes of the whole IP packet.
    #[must_use]
    pub const fn usable(&self) -> u16 {
        self.proved
    }

    /// What the interface can send.
    #[must_use]
    pub const fn ceiling(&self) -> u16 {
        self.ceiling
    }

    /// The size of the probe that is to be sent now, if any; `rtt` is the path's round trip. It counts as sent.
    pub fn probe(&mut self, rtt: Duration, now: Instant) -> Option<u16> {
        if self.trial.is_some_and(|trial| trial.expires > now) {
            return None;
        }
        if let Some(trial) = self.trial.take_if(|trial| trial.tries >= TRIES) {
            self.fail(trial.size, now);
        }
        let trial = self.trial.or_else(|| self.next_size(now).map(|size| Trial { size, tries: 0, expires: now }))?;
        let wait = (rtt * 2).max(MIN_WAIT);
        self.trial = Some(Trial { tries: trial.tries.saturating_add(1), expires: now + wait, ..trial });
        Some(trial.size)
    }

    /// A probe of `size` was answered.
    pub fn answered(&mut self, size: u16, now: Instant) {
        if size > self.ceiling || size >= self.refused {
            return;
        }
        if self.trial.is_some_and(|trial| trial.size <= size) {
            self.trial = None;
        }
        if size >= self.proved {
            self.proved = size;
            self.confirm_at = now + self.confirm_every;
        }
        self.is_known |= !self.is_searching();
    }

    /// A data packet of `size` arrived: when that is about the proved size, nothing needs to be proved for a while. Under
    /// loss, probes alone would call a path shrunk by chance.
    pub fn arrived(&mut self, size: u16, now: Instant) {
        if size.saturating_add(RESOLUTION) < self.proved {
            return;
        }
        self.trial.take_if(|trial| trial.size <= self.proved);
        self.confirm_at = now + CONFIRM;
    }

    /// Whether the first search has ended, so that [`MtuSearch::usable`] is more than a guess.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// The path may be another now: prove its size again at once.
    pub fn doubt(&mut self, now: Instant) {
        self.confirm_at = now;
        self.raise_at = now;
    }

    /// Has proved sizes proved again only as often as larger ones are tried, where every padded probe costs money.
    pub const fn confirm_seldom(&mut self, is_seldom: bool) {
        self.confirm_every = if is_seldom { RAISE } else { CONFIRM };
    }

    /// The interface's MTU changed, or the path did: search again.
    pub fn restart(&mut self, ceiling: u16, now: Instant) {
        let (proved, confirm_every) = (self.proved, self.confirm_every);
        *self = Self { confirm_every, ..Self::new(ceiling, now) };
        self.proved = proved.min(self.ceiling).min(BASE);
    }

    /// When [`MtuSearch::probe`] has something to send.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self.trial {
            Some(trial) => trial.expires,
            None if self.is_searching() => Instant::ORIGIN,
            None => self.confirm_at.min(self.raise_at),
        }
    }

    /// Whether a size is on its way, or the search has not ended.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.trial.is_some() || self.is_searching()
    }

    const fn is_searching(&self) -> bool {
        self.refused.saturating_sub(self.proved) > RESOLUTION
            || (self.refused > self.ceiling && self.proved < self.ceiling)
    }

    fn next_size(&mut self, now: Instant) -> Option<u16> {
        if now >= self.raise_at {
            self.raise_at = now + RAISE;
            self.refused = self.ceiling.saturating_add(1);
        }
        if self.is_searching() {
            // Nothing refused yet: the interface's own MTU first.
            let middle = self.proved.saturating_add(self.refused.saturating_sub(self.proved) >> 1);
            return Some(if self.refused > self.ceiling { self.ceiling } else { middle });
        }
        (now >= self.confirm_at).then_some(self.proved)
    }

    fn fail(&mut self, size: u16, now: Instant) {
        if size <= self.proved {
            // What used to pass does not: a black hole. Start from the base, or below it.
            self.refused = size;
            self.proved = if size > BASE { BASE } else { FLOOR }.min(size.saturating_sub(1)).max(FLOOR);
            self.confirm_at = now;
        } else {
            self.refused = self.refused.min(size);
        }
        self.is_known |= !self.is_searching();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    /// Runs a search for a while over a path that carries `path` bytes; returns the largest usable size at the end and
    /// how many probes it took.
    fn run(search: &mut MtuSearch, path: u16, from_ms: u64, for_ms: u64) -> (u16, u32) {
        let mut probes = 0;
        for ms in from_ms..from_ms + for_ms {
            let now = Instant::ORIGIN + Duration::from_millis(ms);
            if let Some(size) = search.probe(RTT, now) {
                probes += 1;
                if size <= path {
                    search.answered(size, now + RTT);
                }
            }
        }
        (search.usable(), probes)
    }

    #[test]
    fn a_path_as_wide_as_its_interface_is_found_with_one_probe() {
        let mut search = MtuSearch::new(1500, Instant::ORIGIN);
        assert_eq!(search.usable(), BASE);
        assert_eq!(run(&mut search, 1500, 0, 1_000), (1500, 1));
    }

    #[test]
    fn narrower_paths_are_found_within_the_resolution() {
        for path in [1492, 1480, 1472, 1420, 1400, 1358, 1281, 1280] {
            let mut search = MtuSearch::new(1500, Instant::ORIGIN);
            let (usable, probes) = run(&mut search, path, 0, 8_000);
            assert!(usable <= path && path - usable <= RESOLUTION, "{path}: {usable}");
            assert!(probes <= 25, "{path}: {probes} probes");
        }
    }

    #[test]
    fn a_path_that_shrinks_is_noticed_and_found_again() {
        let mut search = MtuSearch::new(1500, Instant::ORIGIN);
        assert_eq!(run(&mut search, 1500, 0, 5_000).0, 1500);
        let (usable, _) = run(&mut search, 1400, 5_000, 20_000);
        assert!((1392..=1400).contains(&usable), "{usable}");
        let (usable, _) = run(&mut search, 1000, 25_000, 30_000);
        assert!((992..=1000).contains(&usable), "{usable}");
    }

    #[test]
    fn a_path_that_widens_is_found_after_the_raise_timer() {
        let mut search = MtuSearch::new(1500, Instant::ORIGIN);
        assert!(run(&mut search, 1400, 0, 10_000).0 <= 1400);
        assert_eq!(run(&mut search, 1500, 10_000, 620_000).0, 1500);
    }

    #[test]
    fn answers_to_sizes_never_probed_prove_nothing() {
        let mut search = MtuSearch::new(1400, Instant::ORIGIN);
        search.answered(9000, Instant::ORIGIN);
        assert_eq!(search.usable(), BASE);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! When to try again what failed: soon at first, then ever more rarely.

use mlvpn_core::words::time::{Duration, Instant};

/// The first wait: MLVPN 2.3.5's `MLVPN_IO_TIMEOUT_DEFAULT`.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait: MLVPN 2.3.5's `MLVPN_IO_TIMEOUT_MAXIMUM`.
const LONGEST: Duration = Duration::from_secs(60);

/// The waits between attempts at one thing: 1 s, doubling to 60 s, and 1 s again after a success.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next_wait: Duration,
    /// When the last attempt failed and when to make the next; `None` while nothing failed.
    failed: Option<Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    at: Instant,
    retry_at: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// Nothing failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { next_wait: FIRST, failed: None }
    }

    /// An attempt failed at `now`; says when to make the next.
    pub fn failed(&mut self, now: Instant) -> Instant {
        let retry_at = now + self.next_wait;
        self.next_wait = (self.next_wait * 2).min(LONGEST);
        self.failed = Some(Failed { at: now, retry_at });
        retry_at
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// The world changed (an address appeared): the next attempt may be made at once, but not within `spacing` of the
    /// last. The waits go on growing, so that a world that changes all the time is not asked all the time.
    pub fn hurry(&mut self, now: Instant, spacing: Duration) {
        if let Some(failed) = &mut self.failed {
            failed.retry_at = failed.retry_at.min(now.max(failed.at + spacing));
        }
    }

    /// When to try again; `None` while nothing failed.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.failed.map(|failed| failed.retry_at)
    }

    /// Whether an attempt may be made at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.retry_at().is_none_or(|retry_at| retry_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_a_minute() {
        let mut backoff = Backoff::new();
        let now = Instant::from_micros(5);
        let waits: Vec<u64> = (0..9).map(|_| backoff.failed(now).since(now).millis() / 1_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new();
        let now = Instant::from_micros(5);
        for _ in 0..4 {
            backoff.failed(now);
        }
        assert!(!backoff.is_due(now));
        backoff.succeeded();
        assert!(backoff.is_due(now) && backoff.retry_at().is_none());
        assert_eq!(backoff.failed(now), now + Duration::from_secs(1));
    }

    #[test]
    fn a_change_brings_the_next_attempt_forward_but_wakes_nothing_that_did_not_fail() {
        let mut backoff = Backoff::new();
        let (now, second) = (Instant::from_micros(5), Duration::from_secs(1));
        backoff.hurry(now, second);
        assert_eq!(backoff.retry_at(), None);
        for _ in 0..4 {
            backoff.failed(now);
        }
        backoff.hurry(now + second * 3, second);
        assert_eq!(backoff.retry_at(), Some(now + second * 3));
        backoff.hurry(now + second * 5, second);
        assert_eq!(backoff.retry_at(), Some(now + second * 3), "a later change puts nothing off");
    }

    #[test]
    fn changes_without_end_are_one_attempt_a_spacing_and_the_waits_grow_on() {
        let mut backoff = Backoff::new();
        let second = Duration::from_secs(1);
        let mut attempts = 0;
        for millis in 0..10_000 {
            let now = Instant::ORIGIN + Duration::from_millis(millis);
            if backoff.is_due(now) {
                attempts += 1;
                backoff.failed(now);
            }
            backoff.hurry(now, second);
        }
        assert_eq!(attempts, 10);
        let now = Instant::ORIGIN + second * 10;
        assert_eq!(backoff.failed(now), now + second * 60);
    }
}

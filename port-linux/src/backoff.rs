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
    /// When to try again; `None` while nothing failed.
    retry_at: Option<Instant>,
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
        Self { next_wait: FIRST, retry_at: None }
    }

    /// An attempt failed at `now`; says when to make the next.
    pub fn failed(&mut self, now: Instant) -> Instant {
        let retry_at = now + self.next_wait;
        self.next_wait = (self.next_wait * 2).min(LONGEST);
        self.retry_at = Some(retry_at);
        retry_at
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// The world changed (an address appeared): the next attempt may be made at once, and waits start short again.
    pub fn hurry(&mut self, now: Instant) {
        if self.retry_at.is_some() {
            *self = Self { next_wait: FIRST, retry_at: Some(now) };
        }
    }

    /// When to try again; `None` while nothing failed.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether an attempt may be made at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|retry_at| retry_at <= now)
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
    fn a_change_makes_the_next_attempt_due_at_once_but_wakes_nothing_that_did_not_fail() {
        let mut backoff = Backoff::new();
        let now = Instant::from_micros(5);
        backoff.hurry(now);
        assert_eq!(backoff.retry_at(), None);
        backoff.failed(now);
        backoff.failed(now);
        backoff.hurry(now);
        assert!(backoff.is_due(now));
        assert_eq!(backoff.failed(now), now + Duration::from_secs(1));
    }
}

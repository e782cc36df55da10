// SPDX-License-Identifier: BSD-2-Clause
//! CUBIC (RFC 9438) as Linux computes it, in integers: C = 0.4, beta = 717/1024, fast convergence, and a window that is
//! never below what Reno's would be.

use mlvpn_core::words::time::{Duration, Instant};

use super::congestion::{Acked, Window};
use super::hystart::HyStart;

/// The factor a loss multiplies the window with, in 1024ths.
const BETA: u64 = 717;

/// The window is computed anew this often while it does not change: Linux's 1/32 s.
const AGAIN: Duration = Duration::from_micros(31_250);

/// Round trips within this time after a loss say nothing about slow start.
const QUIET: Duration = Duration::from_secs(1);

/// See the module's description. Windows are in segments.
#[derive(Debug, Default)]
pub struct Cubic {
    hystart: HyStart,
    /// The window before the last loss.
    last_max: u64,
    least_rtt: Option<Duration>,
    epoch: Option<Epoch>,
    is_hystart_off: bool,
}

/// Growth since the last loss.
#[derive(Debug)]
struct Epoch {
    start: Instant,
    /// The window of the plateau.
    origin: u64,
    /// Milliseconds from the start to the plateau.
    plateau_millis: u64,
    /// What Reno's window would be, and segments acknowledged towards its next increase.
    reno: u64,
    reno_acked: u64,
    computed_at: Instant,
    computed_for: u64,
    /// Acknowledged segments for one segment of growth.
    count: u64,
}

impl Cubic {
    /// Without HyStart, as `net.ipv4.tcp_cubic.hystart=0`: for comparison.
    #[must_use]
    pub fn without_hystart() -> Self {
        Self { is_hystart_off: true, ..Self::default() }
    }

    /// Round trips are looked at, whatever happens to the window.
    pub fn note_rtt(&mut self, window: &mut Window, acked: &Acked) {
        let Some(rtt) = acked.rtt else { return };
        let is_quiet = self.epoch.as_ref().is_some_and(|epoch| acked.now.since(epoch.start) < QUIET);
        if is_quiet {
            return;
        }
        let least = self.least_rtt.map_or(rtt, |least| least.min(rtt));
        self.least_rtt = Some(least);
        let edges = (acked.first, acked.next);
        if !self.is_hystart_off
            && window.is_slow_start()
            && self.hystart.is_over(window.segments, edges, (rtt, least), acked.now)
        {
            window.threshold = window.segments;
        }
    }

    /// Segments were acknowledged and the window may grow.
    pub fn grow(&mut self, window: &mut Window, acked: &Acked) {
        let mut segments = acked.segments;
        if window.is_slow_start() {
            let grown = (window.segments + segments).min(window.threshold);
            segments -= grown - window.segments;
            window.segments = grown;
            if segments == 0 {
                return;
            }
        }
        let count = self.update(window.segments, segments, acked.now);
        window.creep(count, segments);
    }

    /// A loss: the new threshold.
    pub fn reduced(&mut self, window: u64) -> u64 {
        self.epoch = None;
        self.last_max = if window < self.last_max { window * (1024 + BETA) / 2048 } else { window };
        (window * BETA / 1024).max(2)
    }

    /// Everything was lost.
    pub fn reset(&mut self) {
        *self = Self { is_hystart_off: self.is_hystart_off, ..Self::default() };
    }

    /// The sender was idle for a while: the curve waits for it.
    pub fn resume(&mut self, idle: Duration) {
        if let Some(epoch) = &mut self.epoch {
            epoch.start += idle;
        }
    }

    /// Acknowledged segments for one segment of growth.
    fn update(&mut self, window: u64, acked: u64, now: Instant) -> u64 {
        let delay_millis = self.least_rtt.map_or(0, Duration::millis);
        let last_max = self.last_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(window, last_max, now));
        epoch.reno_acked += acked;
        if epoch.computed_for == window && now.since(epoch.computed_at) <= AGAIN {
            return epoch.count;
        }
        (epoch.computed_at, epoch.computed_for) = (now, window);
        let target = epoch.target(now.since(epoch.start).millis() + delay_millis);
        let mut count = if target > window { window / (target - window) } else { window * 100 };
        // Before the first loss nothing is known: at least 5 % each round trip, as Linux does.
        if last_max == 0 {
            count = count.min(20);
        }
        epoch.count = epoch.at_least_reno(window, count).max(2);
        epoch.count
    }
}

impl Epoch {
    fn new(window: u64, last_max: u64, now: Instant) -> Self {
        let (origin, plateau_millis) = if last_max <= window {
            (window, 0)
        } else {
            // K = cbrt((W_max - W) / C) seconds; in milliseconds 10^9 goes under the root.
            (last_max, cube_root((last_max - window) * 2_500_000_000))
        };
        let (reno, reno_acked) = (window, 0);
        Self { start: now, origin, plateau_millis, reno, reno_acked, computed_at: now, computed_for: 0, count: 1 }
    }

    /// W(t) = C (t - K)^3 + W_max.
    fn target(&self, millis: u64) -> u64 {
        let distance = u128::from(millis.abs_diff(self.plateau_millis));
        let delta = u64::try_from(distance * distance * distance * 4 / 10_000_000_000).unwrap_or(u64::MAX);
        if millis < self.plateau_millis { self.origin.saturating_sub(delta) } else { self.origin.saturating_add(delta) }
    }

    /// Reno with this beta grows one segment for window (1 + beta) / 3 (1 - beta) acknowledged ones: 15/8 in Linux's
    /// rounding.
    fn at_least_reno(&mut self, window: u64, count: u64) -> u64 {
        let needed = (window * 15 / 8).max(1);
        while self.reno_acked > needed {
            self.reno_acked -= needed;
            self.reno += 1;
        }
        if self.reno > window { count.min(window / (self.reno - window)) } else { count }
    }
}

/// The largest number whose cube does not exceed `value`.
fn cube_root(value: u64) -> u64 {
    let mut root: u64 = 0;
    for bit in (0..22).rev() {
        let candidate = root | (1 << bit);
        if u128::from(candidate).pow(3) <= u128::from(value) {
            root = candidate;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_rounded_down() {
        for (value, root) in [(0, 0), (1, 1), (7, 1), (8, 2), (26, 2), (27, 3), (1_000_000_000, 1_000)] {
            assert_eq!(cube_root(value), root, "{value}");
        }
    }

    #[test]
    fn after_a_loss_the_window_returns_to_its_old_size_after_k_seconds() {
        let mut cubic = Cubic::default();
        let mut window = Window { segments: 1_000, threshold: 1_000, ..Window::default() };
        window.threshold = cubic.reduced(1_000);
        window.segments = window.threshold;
        assert_eq!(window.segments, 700);
        // K = cbrt(1000 x 0.3 / 0.4) = 9.09 s, and 2.3 s before it five segments are missing; a round trip of 100 ms whose whole window is acknowledged.
        let mut back = None;
        for round in 0..150_u64 {
            let now = Instant::from_micros(round * 100_000);
            let segments = window.segments;
            cubic.grow(&mut window, &Acked { segments, ..Acked::none(now) });
            if back.is_none() && window.segments >= 995 {
                back = Some(round);
            }
        }
        assert!(back.is_some_and(|round| (64..=72).contains(&round)), "{back:?}");
        assert!(window.segments > 1_010 && window.segments < 1_200, "{}", window.segments);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! BBR version 1 as in Linux (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 2016): paces at the
//! highest delivery rate of the last ten round trips, and keeps two of its products with the least round trip on the way.
//!
//! Left out: the detection of token-bucket policers, which acts on loss above 20 %.

use std::collections::VecDeque;

use mlvpn_core::words::time::{Duration, Instant};

use super::congestion::{Acked, INITIAL_WINDOW, Window};
use crate::random::Random;

/// Gains in 256ths: 2/ln 2 in start-up, its inverse while draining, two products in the window.
const UNIT: u64 = 256;
const HIGH_GAIN: u64 = 739;
const DRAIN_GAIN: u64 = 88;
const WINDOW_GAIN: u64 = 512;

/// The gains of the eight phases of cruising: probe, drain, cruise.
const CYCLE: [u64; 8] = [320, 192, 256, 256, 256, 256, 256, 256];

/// Round trips for which a delivery rate counts.
const RATE_ROUNDS: u64 = 10;

/// The least round trip is forgotten after this long, and looked for with almost nothing on the way for so long.
const LEAST_RTT_FOR: Duration = Duration::from_secs(10);
const PROBE_FOR: Duration = Duration::from_millis(200);

/// The smallest window in segments.
const LEAST_WINDOW: u64 = 4;

/// The pipe is full when three rounds brought less than a quarter more.
const FULL_ROUNDS: u32 = 3;

/// Pacing stays this much below the rate, in percent, so that queues drain.
const PACING_MARGIN: u64 = 1;

/// What aggregated acknowledgements add to the window is at most what this time delivers.
const MOST_AGGREGATION: Duration = Duration::from_millis(100);

/// Rounds for which aggregation is remembered, in each of two windows.
const AGGREGATION_ROUNDS: u64 = 5;

/// Segments per microsecond have this many fractional bits.
const SCALE: u32 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    Cruise,
    ProbeRtt,
}

/// See the module's description.
#[derive(Debug)]
pub struct Bbr {
    mode: Mode,
    random: Random,
    /// Delivery rates by round, falling.
    rates: VecDeque<(u64, u64)>,
    round: u64,
    round_ends_at: u64,
    is_round_start: bool,
    least_rtt: Option<Duration>,
    least_rtt_at: Instant,
    full_rate: u64,
    full_rounds: u32,
    is_full: bool,
    phase: usize,
    phase_since: Instant,
    probe_until: Option<Instant>,
    is_probe_round_done: bool,
    /// The window before a loss or a probe.
    saved: u64,
    was_recovering: bool,
    conserves: bool,
    aggregation: Aggregation,
    /// Nanoseconds between two segments.
    spacing: u64,
    has_rtt: bool,
}

/// How many more segments arrive at once than the rate explains.
#[derive(Debug, Default)]
struct Aggregation {
    since: Instant,
    acked: u64,
    most: [u64; 2],
    rotated_in: u64,
}

impl Bbr {
    /// At a connection's start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            mode: Mode::Startup,
            random: Random::new(seed),
            rates: VecDeque::new(),
            round: 0,
            round_ends_at: 0,
            is_round_start: false,
            least_rtt: None,
            least_rtt_at: Instant::ORIGIN,
            full_rate: 0,
            full_rounds: 0,
            is_full: false,
            phase: 0,
            phase_since: Instant::ORIGIN,
            probe_until: None,
            is_probe_round_done: false,
            saved: 0,
            was_recovering: false,
            conserves: false,
            aggregation: Aggregation::default(),
            // Before any round trip is known, one of a millisecond is assumed.
            spacing: 1_000_000 * UNIT / (HIGH_GAIN * INITIAL_WINDOW),
            has_rtt: false,
        }
    }

    /// Nanoseconds from one segment to the next.
    #[must_use]
    pub const fn spacing(&self) -> u64 {
        self.spacing
    }

    /// Remembers the window before a loss.
    pub fn save(&mut self, window: u64) {
        let is_open = !self.was_recovering && self.mode != Mode::ProbeRtt;
        self.saved = if is_open { window } else { self.saved.max(window) };
    }

    /// All was lost.
    pub const fn lose_all(&mut self) {
        (self.full_rate, self.is_round_start, self.was_recovering) = (0, true, true);
    }

    /// Sets window and pace after an acknowledgement.
    pub fn update(&mut self, window: &mut Window, acked: &Acked) {
        let is_app_limited = acked.sample.is_some_and(|sample| sample.stamp.is_app_limited);
        self.update_rate(acked);
        self.aggregation.note(acked, self.rate(), (window.segments, self.round, self.is_round_start));
        self.update_phase(acked);
        self.check_full(is_app_limited);
        self.check_drain(acked);
        self.update_least_rtt(window, acked);
        self.set_spacing(acked);
        self.set_window(window, acked);
    }

    fn rate(&self) -> u64 {
        self.rates.front().map_or(0, |(_, rate)| *rate)
    }

    const fn gain(&self) -> u64 {
        match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => DRAIN_GAIN,
            Mode::Cruise => CYCLE[self.phase],
            Mode::ProbeRtt => UNIT,
        }
    }

    fn update_rate(&mut self, acked: &Acked) {
        self.is_round_start = false;
        let Some(sample) = acked.sample else { return };
        if sample.stamp.delivered >= self.round_ends_at {
            self.round_ends_at = acked.delivered;
            self.round += 1;
            (self.is_round_start, self.conserves) = (true, false);
        }
        let sending = sample.sent_at.since(sample.stamp.first_sent_at);
        let interval = sending.max(acked.now.since(sample.stamp.delivered_at)).micros();
        // Shorter than any round trip: a burst of acknowledgements.
        if interval == 0 || self.least_rtt.is_some_and(|least| interval < least.micros()) {
            return;
        }
        let rate = ((acked.delivered - sample.stamp.delivered) << SCALE) / interval;
        if sample.stamp.is_app_limited && rate < self.rate() {
            return;
        }
        let round = self.round;
        self.rates.retain(|(seen_in, other)| *other > rate && seen_in + RATE_ROUNDS >= round);
        self.rates.push_back((round, rate));
    }

    /// Segments on the way at the rate and the least round trip, times `gain`.
    fn product(&self, gain: u64) -> u64 {
        let Some(least) = self.least_rtt else { return INITIAL_WINDOW };
        let exact = u128::from(self.rate()) * u128::from(least.micros()) * u128::from(gain);
        u64::try_from(exact.div_ceil(u128::from(UNIT) << SCALE)).unwrap_or(u64::MAX)
    }

    /// What is kept on the way: some segments more, for those that wait in the hosts.
    fn target(&self, gain: u64) -> u64 {
        let in_a_millisecond = 1_000_000 / self.spacing.max(1);
        let whole = self.product(gain) + 3 * in_a_millisecond.max(2);
        let even = whole + whole % 2;
        if self.mode == Mode::Cruise && self.phase == 0 { even + 2 } else { even }
    }

    fn update_phase(&mut self, acked: &Acked) {
        if self.mode != Mode::Cruise {
            return;
        }
        let is_long = acked.now.since(self.phase_since) > self.least_rtt.unwrap_or_default();
        let gain = self.gain();
        let is_over = match gain {
            UNIT => is_long,
            gain if gain > UNIT => is_long && (acked.lost > 0 || acked.was_in_flight >= self.target(gain)),
            _ => is_long || acked.was_in_flight <= self.target(UNIT),
        };
        if is_over {
            (self.phase, self.phase_since) = ((self.phase + 1) % CYCLE.len(), acked.now);
        }
    }

    fn check_full(&mut self, is_app_limited: bool) {
        if self.is_full || !self.is_round_start || is_app_limited {
            return;
        }
        if self.rate() >= self.full_rate * 5 / 4 {
            (self.full_rate, self.full_rounds) = (self.rate(), 0);
        } else {
            self.full_rounds += 1;
            self.is_full = self.full_rounds >= FULL_ROUNDS;
        }
    }

    fn check_drain(&mut self, acked: &Acked) {
        if self.mode == Mode::Startup && self.is_full {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && acked.in_flight <= self.target(UNIT) {
            self.cruise(acked.now);
        }
    }

    /// Any phase but the draining one comes first.
    fn cruise(&mut self, now: Instant) {
        let back = usize::try_from(self.random.below(7)).unwrap_or(0);
        let last = CYCLE.len() - 1 - back;
        (self.mode, self.phase, self.phase_since) = (Mode::Cruise, (last + 1) % CYCLE.len(), now);
    }

    fn update_least_rtt(&mut self, window: &mut Window, acked: &Acked) {
        let is_old = self.least_rtt.is_some() && acked.now.since(self.least_rtt_at) > LEAST_RTT_FOR;
        if let Some(rtt) = acked.rtt.filter(|rtt| is_old || self.least_rtt.is_none_or(|least| *rtt <= least)) {
            (self.least_rtt, self.least_rtt_at) = (Some(rtt), acked.now);
        }
        if is_old && self.mode != Mode::ProbeRtt {
            self.save(window.segments);
            (self.mode, self.probe_until) = (Mode::ProbeRtt, None);
        }
        if self.mode == Mode::ProbeRtt {
            self.probe_rtt(window, acked);
        }
    }

    fn probe_rtt(&mut self, window: &mut Window, acked: &Acked) {
        match self.probe_until {
            None if acked.in_flight <= LEAST_WINDOW => {
                self.probe_until = Some(acked.now + PROBE_FOR);
                (self.is_probe_round_done, self.round_ends_at) = (false, acked.delivered);
            }
            None => {}
            Some(until) => {
                self.is_probe_round_done |= self.is_round_start;
                if self.is_probe_round_done && acked.now > until {
                    self.least_rtt_at = acked.now;
                    window.segments = window.segments.max(self.saved);
                    if self.is_full { self.cruise(acked.now) } else { self.mode = Mode::Startup }
                }
            }
        }
    }

    fn set_spacing(&mut self, acked: &Acked) {
        if !self.has_rtt
            && let Some(smoothed) = acked.smoothed
        {
            self.has_rtt = true;
            self.spacing = (smoothed.micros() * 1_000 * UNIT / (HIGH_GAIN * INITIAL_WINDOW)).max(1);
        }
        let rate = u128::from(self.rate()) * u128::from(self.gain()) * u128::from(100 - PACING_MARGIN);
        if rate == 0 {
            return;
        }
        let exact = (u128::from(1_000 * UNIT * 100) << SCALE) / rate;
        let spacing = u64::try_from(exact).unwrap_or(u64::MAX).max(1);
        if self.is_full || spacing < self.spacing {
            self.spacing = spacing;
        }
    }

    fn set_window(&mut self, window: &mut Window, acked: &Acked) {
        if acked.segments > 0 && !self.is_governed_by_loss(window, acked) {
            let gain = match self.mode {
                Mode::Startup | Mode::Drain => HIGH_GAIN,
                Mode::Cruise => WINDOW_GAIN,
                Mode::ProbeRtt => UNIT,
            };
            let aggregated = if self.is_full { self.aggregation.allowance(self.rate()) } else { 0 };
            let target = self.target(gain) + aggregated;
            if self.is_full {
                window.segments = (window.segments + acked.segments).min(target);
            } else if window.segments < target || acked.delivered < INITIAL_WINDOW {
                window.segments += acked.segments;
            }
            window.segments = window.segments.max(LEAST_WINDOW);
        }
        if self.mode == Mode::ProbeRtt {
            window.segments = window.segments.min(LEAST_WINDOW);
        }
    }

    /// The first round of a recovery sends no more than arrives.
    fn is_governed_by_loss(&mut self, window: &mut Window, acked: &Acked) -> bool {
        if acked.lost > 0 {
            window.segments = window.segments.saturating_sub(acked.lost).max(1);
        }
        let is_recovering = acked.is_recovering || acked.is_loss;
        if acked.is_recovering && !self.was_recovering {
            (self.conserves, self.round_ends_at) = (true, acked.delivered);
            window.segments = acked.in_flight + acked.segments;
        } else if !is_recovering && self.was_recovering {
            self.conserves = false;
            window.segments = window.segments.max(self.saved);
        }
        self.was_recovering = is_recovering;
        if self.conserves {
            window.segments = window.segments.max(acked.in_flight + acked.segments);
        }
        self.conserves
    }
}

impl Aggregation {
    fn note(&mut self, acked: &Acked, rate: u64, (window, round, is_round_start): (u64, u64, bool)) {
        if acked.segments == 0 {
            return;
        }
        if is_round_start && round >= self.rotated_in + AGGREGATION_ROUNDS {
            self.most = [0, self.most[0]];
            self.rotated_in = round;
        }
        let explained = |since| delivered_in(rate, acked.now.since(since));
        if self.acked <= explained(self.since) {
            (self.acked, self.since) = (0, acked.now);
        }
        self.acked += acked.segments;
        let extra = self.acked.saturating_sub(explained(self.since)).min(window);
        self.most[0] = self.most[0].max(extra);
    }

    fn allowance(&self, rate: u64) -> u64 {
        self.most[0].max(self.most[1]).min(delivered_in(rate, MOST_AGGREGATION))
    }
}

/// Segments delivered in `span` at `rate`.
fn delivered_in(rate: u64, span: Duration) -> u64 {
    u64::try_from((u128::from(rate) * u128::from(span.micros())) >> SCALE).unwrap_or(u64::MAX)
}

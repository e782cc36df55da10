// SPDX-License-Identifier: BSD-2-Clause
//! How a sender finds out how much it may have on the way: one of the algorithms below, behind one interface.

use mlvpn_core::words::time::{Duration, Instant};

use super::bbr::Bbr;
use super::cubic::Cubic;
use super::scoreboard::Stamp;

/// Which algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// CUBIC with HyStart: Linux's default.
    #[default]
    Cubic,
    /// The same without HyStart.
    CubicWithoutHystart,
    /// BBR, version 1.
    Bbr,
}

/// The window a sender starts with, in segments (RFC 6928).
pub const INITIAL_WINDOW: u64 = 10;

/// The congestion window, in segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub segments: u64,
    /// Where slow start ends.
    pub threshold: u64,
    /// Acknowledged segments towards the next segment of growth.
    pub credit: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { segments: INITIAL_WINDOW, threshold: u64::MAX >> 1, credit: 0 }
    }
}

impl Window {
    /// Whether the window doubles in each round trip.
    #[must_use]
    pub const fn is_slow_start(&self) -> bool {
        self.segments < self.threshold
    }

    /// One segment of growth for each `count` acknowledged.
    pub fn creep(&mut self, count: u64, acked: u64) {
        let count = count.max(1);
        // The pace may have risen since the credit was gathered.
        if self.credit >= count {
            self.credit = 0;
            self.segments += 1;
        }
        self.credit += acked;
        self.segments += self.credit / count;
        self.credit %= count;
    }
}

/// What an acknowledgement brought, as far as algorithms care.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// The time.
    pub now: Instant,
    /// Segments that arrived.
    pub segments: u64,
    /// Segments newly taken for lost.
    pub lost: u64,
    /// Round trip of the newest segment that arrived and was sent once.
    pub rtt: Option<Duration>,
    /// The sender's smoothed round trip.
    pub smoothed: Option<Duration>,
    /// The oldest segment not acknowledged, and the next to be sent.
    pub first: u64,
    /// See `first`.
    pub next: u64,
    /// Segments on their way, before and after.
    pub was_in_flight: u64,
    /// See `was_in_flight`.
    pub in_flight: u64,
    /// Segments that arrived since the connection began.
    pub delivered: u64,
    /// What was known when the newest segment that arrived was sent, when that was, and when the last delivery was.
    pub sample: Option<Sample>,
    /// Losses are being repaired.
    pub is_recovering: bool,
    /// All was lost, and not yet repaired.
    pub is_loss: bool,
}

/// What a delivery rate is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// As of the sending of the newest segment that arrived.
    pub stamp: Stamp,
    /// When it was sent.
    pub sent_at: Instant,
}

impl Acked {
    /// Nothing, at `now`.
    #[must_use]
    pub const fn none(now: Instant) -> Self {
        Self {
            now,
            segments: 0,
            lost: 0,
            rtt: None,
            smoothed: None,
            first: 0,
            next: 0,
            was_in_flight: 0,
            in_flight: 0,
            delivered: 0,
            sample: None,
            is_recovering: false,
            is_loss: false,
        }
    }
}

/// The algorithm of a sender.
#[derive(Debug)]
pub enum Congestion {
    /// See [`Cubic`].
    Cubic(Cubic),
    /// See [`Bbr`].
    Bbr(Box<Bbr>),
}

impl Congestion {
    /// The algorithm at a connection's start. `seed` decides what BBR leaves to chance.
    #[must_use]
    pub fn new(algorithm: Algorithm, seed: u64) -> Self {
        match algorithm {
            Algorithm::Cubic => Self::Cubic(Cubic::default()),
            Algorithm::CubicWithoutHystart => Self::Cubic(Cubic::without_hystart()),
            Algorithm::Bbr => Self::Bbr(Box::new(Bbr::new(seed))),
        }
    }

    /// Whether the algorithm alone decides over the window, also while losses are repaired.
    #[must_use]
    pub const fn rules_alone(&self) -> bool {
        matches!(self, Self::Bbr(_))
    }

    /// The new threshold after a loss.
    pub fn reduced(&mut self, window: &Window) -> u64 {
        match self {
            Self::Cubic(cubic) => cubic.reduced(window.segments),
            Self::Bbr(bbr) => {
                bbr.save(window.segments);
                window.threshold
            }
        }
    }

    /// All was lost.
    pub fn reset(&mut self) {
        match self {
            Self::Cubic(cubic) => cubic.reset(),
            Self::Bbr(bbr) => bbr.lose_all(),
        }
    }

    /// Nanoseconds from one segment to the next; None when only the window limits.
    #[must_use]
    pub fn spacing(&self) -> Option<u64> {
        match self {
            Self::Cubic(_) => None,
            Self::Bbr(bbr) => Some(bbr.spacing()),
        }
    }
}

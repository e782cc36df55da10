// SPDX-License-Identifier: BSD-2-Clause
//! How much arrives, over times long enough to be a rate.

use crate::words::time::Duration;

use super::{Heard, per_second, towards};

/// A rate is measured over at least this long (simulated: shorter is noise).
const SPAN: Duration = Duration::from_millis(80);

/// The best rate of late sinks by a thirty-second per span: to half of it in two seconds.
const FADING: u32 = 5;

/// What is usual sinks by so much, as a shift, of what it is above a rate that turned out to be all: a quarter.
const SUNK: u32 = 2;

/// The usual rate moves a thirty-second of the way per span: two and a half seconds.
const USUAL: u32 = 5;

/// The delivery rates of one link, in bytes per second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    bytes: u64,
    time: Duration,
    /// The link was used as far as its pace allows in the whole span.
    is_used: bool,
    /// In the last whole span, and in the one before.
    now: u64,
    before: u64,
    best: u64,
    usual: u64,
}

impl Delivery {
    /// Begins a span: what came before was sent on other terms.
    pub(super) fn begin(&mut self) {
        (self.bytes, self.time) = (0, Duration::ZERO);
    }

    /// Takes in a report; no rate is higher than `most`. Whether a span is whole in which the link was used.
    pub(super) fn hear(&mut self, heard: &Heard, most: u64) -> bool {
        self.is_used = heard.is_used && (self.is_used || self.time == Duration::ZERO);
        self.bytes = self.bytes.saturating_add(heard.bytes);
        self.time = self.time + heard.interval;
        if self.time < SPAN {
            return false;
        }
        (self.now, self.before) = (per_second(self.bytes, self.time).min(most), self.now);
        self.best = self.now.max(self.best.saturating_sub(self.best >> FADING));
        if self.is_used {
            self.usual = if self.usual == 0 { self.now } else { towards(self.usual, self.now, USUAL) };
        }
        self.begin();
        self.is_used
    }

    /// The link turned out to carry only `rate`.
    pub(super) fn sink(&mut self, rate: u64) {
        self.usual = towards(self.usual, rate.min(self.usual), SUNK);
    }

    /// The rate in the last span.
    pub(super) const fn rate(&self) -> u64 {
        self.now
    }

    /// The lower rate of the last two spans: behind a stall, one shows more than the link carries.
    pub(super) fn sure_rate(&self) -> u64 {
        self.now.min(self.before)
    }

    /// The best rate of late.
    pub(super) const fn best(&self) -> u64 {
        self.best
    }

    /// The mean rate over some seconds in which the link was used; 0 when it never was.
    pub(super) const fn usual(&self) -> u64 {
        self.usual
    }
}

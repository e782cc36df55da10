// SPDX-License-Identifier: BSD-2-Clause
//! What a path is used for, agreed on between the ends: the client's configuration governs both directions.
//!
//! The client says its terms over the path itself once that is up, and again whenever they change or a session begins,
//! until they are acknowledged. It counts what the path carried both ways, so it knows when a quota is used up, and says
//! that with the terms. Terms that are the defaults are said only when they were others before.

use crate::memory::control::{Control, Terms};
use crate::state::link::{LinkSettings, Phase, Role};
use crate::words::event::Health;
use crate::words::policy::{MAX_TIER, MAX_WEIGHT, Stop, Usage, rank};
use crate::words::time::{Duration, Instant};

use super::probing::IDLE_INTERVAL;
use super::{Answer, Errand, Path, Place};

/// Terms that nobody acknowledges are said again after the path's patience, doubled so often: a server that cannot take
/// them is asked every half a minute or so, and one behind a lossy link soon has them.
const DOUBLINGS: u32 = 6;

/// An idle path that costs money is probed this often: RFC 4787 demands that address translators keep a place for two
/// minutes, and where one does not the server is silent until the client speaks again.
pub(super) const METERED_INTERVAL: Duration = Duration::from_secs(110);

/// The terms, and who knows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accord {
    /// A client's own, a server's as it was told.
    pub(super) terms: Terms,
    /// The client's need not be said.
    is_settled: bool,
    /// Others than the defaults were ever said.
    was_said: bool,
    /// When to say them, and how often they were.
    say_at: Instant,
    said: u32,
    /// The server was told in this session, so that only later terms count.
    is_heard: bool,
    usage: Usage,
}

impl Accord {
    pub(super) fn new(settings: &LinkSettings) -> Self {
        let terms = terms_of(settings, Stop::None);
        Self {
            terms,
            is_settled: terms == Terms::default(),
            was_said: false,
            say_at: Instant::ORIGIN,
            said: 0,
            is_heard: false,
            usage: Usage::default(),
        }
    }

    const fn say(&mut self) {
        self.is_settled = false;
        self.say_at = Instant::ORIGIN;
        self.said = 0;
    }

    pub(super) fn new_session(&mut self) {
        self.is_heard = false;
        if self.was_said || self.terms != Terms::default() {
            self.say();
        }
    }
}

/// What `settings` mean for the other end.
const fn terms_of(settings: &LinkSettings, stop: Stop) -> Terms {
    let policy = &settings.policy;
    Terms {
        number: 0,
        tier: policy.tier,
        weight: policy.weight,
        is_backup: settings.fallback_only,
        is_metered: policy.is_metered,
        stop,
        rate: policy.receive_bytes_per_sec,
    }
}

impl Path {
    /// In which order the path carries data, the lowest first; see [`rank`]. None while it is not up or must carry none.
    #[must_use]
    pub fn rank(&self) -> Option<u8> {
        let Terms { tier, is_backup, stop, .. } = self.accord.terms;
        (self.phase == Phase::Up).then(|| rank(self.health, tier, is_backup, stop)).flatten()
    }

    /// Whether the path is up and not silent, whatever it may carry.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.phase == Phase::Up && self.health != Health::Silent
    }

    /// The tier somebody set for it.
    #[must_use]
    pub const fn tier(&self) -> u8 {
        self.accord.terms.tier
    }

    /// Its share beside others of its tier; 0 for none in particular.
    #[must_use]
    pub const fn weight(&self) -> u8 {
        self.accord.terms.weight
    }

    /// Whether data costs money.
    #[must_use]
    pub const fn is_metered(&self) -> bool {
        self.accord.terms.is_metered
    }

    /// What its quota makes of it.
    #[must_use]
    pub const fn stop(&self) -> Stop {
        self.accord.terms.stop
    }

    /// The most that may be sent, in bytes per second; 0 when nobody said.
    #[must_use]
    pub const fn ceiling(&self) -> u64 {
        match self.role {
            Role::Client => self.settings.rate_bytes_per_sec,
            Role::Server => self.accord.terms.rate,
        }
    }

    /// What it has carried, handshakes aside (300 bytes in two minutes of use).
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.accord.usage
    }

    /// The port knows of earlier use, or that a day or a month has begun.
    pub fn set_usage(&mut self, usage: Usage) {
        self.accord.usage = usage;
        self.renew_terms();
    }

    /// Counts a datagram of `bytes`, either way.
    pub(super) fn count(&mut self, bytes: usize, place: Option<Place>) {
        let overhead = place.map_or(0, |place| place.overhead());
        self.accord.usage.count(bytes.saturating_add(overhead) as u64);
        if self.accord.usage.stop(&self.settings.policy.quota) != self.accord.terms.stop {
            self.renew_terms();
        }
    }

    /// The settings or the usage changed.
    pub(super) fn renew_terms(&mut self) {
        if self.role == Role::Server {
            return;
        }
        let old = self.accord.terms;
        let stop = self.accord.usage.stop(&self.settings.policy.quota);
        let terms = Terms { number: old.number, ..terms_of(&self.settings, stop) };
        if terms != old {
            self.accord.terms = Terms { number: old.number.wrapping_add(1), ..terms };
            self.accord.say();
        }
        self.follow_terms();
    }

    /// A server's client has started anew, so what its last run said is void unless it was said again already.
    pub fn forget_terms(&mut self) {
        if self.role == Role::Server && !self.accord.is_heard {
            self.accord.terms = Terms::default();
            self.follow_terms();
        }
    }

    fn follow_terms(&mut self) {
        self.mtu.confirm_seldom(self.accord.terms.is_metered);
    }

    /// How often an idle path is probed.
    pub(super) const fn idle_interval(&self) -> Duration {
        if self.accord.terms.is_metered { METERED_INTERVAL } else { IDLE_INTERVAL }
    }

    pub(super) fn terms_at(&self) -> Option<Instant> {
        let is_due = self.role == Role::Client && self.phase == Phase::Up && !self.accord.is_settled;
        is_due.then_some(self.accord.say_at)
    }

    /// The terms, when they are to be said.
    pub(super) fn say_terms(&mut self, to: Place, now: Instant) -> Option<Errand> {
        self.terms_at().filter(|at| *at <= now)?;
        let mut wait = self.patience();
        for _ in 0..self.accord.said.min(DOUBLINGS) {
            wait = wait * 2;
        }
        self.accord.say_at = now + wait;
        self.accord.said = self.accord.said.saturating_add(1);
        self.accord.was_said = true;
        Some(Errand { frame: Control::Terms(self.accord.terms), to, pad_to: 0 })
    }

    /// The client said its terms. A copy that was overtaken by later ones is acknowledged and nothing else.
    pub(super) fn take_terms(&mut self, terms: Terms, from: Place) {
        if self.role != Role::Server {
            return;
        }
        let age = self.accord.terms.number.wrapping_sub(terms.number);
        if !self.accord.is_heard || age == 0 || age > u8::MAX >> 1 {
            self.accord.is_heard = true;
            self.accord.terms =
                Terms { tier: terms.tier.clamp(1, MAX_TIER), weight: terms.weight.min(MAX_WEIGHT), ..terms };
            self.follow_terms();
        }
        self.answer(Answer::Terms { number: terms.number }, from);
    }

    pub(super) fn settle_terms(&mut self, number: u8) {
        self.accord.is_settled |= number == self.accord.terms.number;
    }
}

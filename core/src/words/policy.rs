// SPDX-License-Identifier: BSD-2-Clause
//! What a user wants a link used for, and what becomes of that: its *rank*, the order in which links are used.

use serde::{Deserialize, Serialize};

use super::event::Health;

/// Nine steps of preference are more than anyone has links for.
pub const MAX_TIER: u8 = 9;

/// Shares a hundredfold apart leave one link idle.
pub const MAX_WEIGHT: u8 = 100;

/// The rank of backups. Links of lower ranks, one less than their tier, are ordinary ones.
pub const BACKUP: u8 = MAX_TIER;

/// The rank of links beyond their tolerances for loss or delay.
pub const IMPAIRED: u8 = BACKUP + 1;

/// The rank of links that are silent: they carry nothing.
pub const SILENT: u8 = IMPAIRED + 1;

/// How much a link may carry in a time, in bytes of IP packets both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// From here on it is a backup.
    pub soft: Option<u64>,
    /// From here on it carries nothing but what keeps it alive.
    pub hard: Option<u64>,
}

impl Limits {
    fn stop(self, used: u64) -> Stop {
        if self.hard.is_some_and(|hard| used >= hard) {
            Stop::Hard
        } else if self.soft.is_some_and(|soft| used >= soft) {
            Stop::Soft
        } else {
            Stop::None
        }
    }
}

/// A link's limits for a day and for a month. When each begins is the port's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// For a day.
    pub day: Limits,
    /// For a month.
    pub month: Limits,
}

/// What a link has carried, in bytes of IP packets both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Since the day began.
    pub day: u64,
    /// Since the month began.
    pub month: u64,
}

impl Usage {
    /// Adds a packet.
    pub const fn count(&mut self, bytes: u64) {
        self.day = self.day.saturating_add(bytes);
        self.month = self.month.saturating_add(bytes);
    }

    /// Which limit is reached: the harder one of the two.
    #[must_use]
    pub fn stop(&self, quota: &Quota) -> Stop {
        quota.day.stop(self.day).max(quota.month.stop(self.month))
    }
}

/// What a link's quota makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stop {
    /// Nothing: it is not used up.
    #[default]
    None,
    /// A backup.
    Soft,
    /// A link that carries only what keeps it alive.
    Hard,
}

/// What a user may set about the use of a link of protocol 2, besides being a backup and its sending rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPolicy {
    /// 1 to [`MAX_TIER`]: a link joins when those of lower tiers are full, or none of them is usable.
    pub tier: u8,
    /// 1 to [`MAX_WEIGHT`], or 0 for none: see [`Scheduler`](../../stages/schedule/struct.Scheduler.html).
    pub weight: u8,
    /// Data costs money: seldom probed, never sent duplicates.
    pub is_metered: bool,
    /// The most that is to be received, in bytes per second; 0 for any.
    pub receive_bytes_per_sec: u64,
    /// How much it may carry.
    pub quota: Quota,
}

impl Default for LinkPolicy {
    fn default() -> Self {
        Self { tier: 1, weight: 0, is_metered: false, receive_bytes_per_sec: 0, quota: Quota::default() }
    }
}

/// The rank of a link that is up; none when it must carry no data whatever happens.
#[must_use]
pub fn rank(health: Health, tier: u8, is_backup: bool, stop: Stop) -> Option<u8> {
    let is_backup = is_backup || stop == Stop::Soft;
    match health {
        _ if stop == Stop::Hard => None,
        Health::Silent => Some(SILENT),
        Health::Lossy | Health::Slow => Some(IMPAIRED),
        Health::Good if is_backup => Some(BACKUP),
        Health::Good => Some(tier.clamp(1, MAX_TIER).saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harder_limit_of_day_and_month_counts() {
        let limits = |soft, hard| Limits { soft: Some(soft), hard: Some(hard) };
        let quota = Quota { day: limits(100, 200), month: limits(1_000, 1_100) };
        let stop = |day, month| Usage { day, month }.stop(&quota);
        assert_eq!(stop(99, 999), Stop::None);
        assert_eq!((stop(100, 999), stop(0, 1_000)), (Stop::Soft, Stop::Soft));
        assert_eq!((stop(200, 999), stop(100, 1_100)), (Stop::Hard, Stop::Hard));
        assert_eq!(Usage { day: u64::MAX, month: u64::MAX }.stop(&Quota::default()), Stop::None);
    }

    #[test]
    fn a_used_up_link_is_a_backup_and_then_none() {
        assert_eq!(rank(Health::Good, 1, false, Stop::None), Some(0));
        assert_eq!(rank(Health::Good, 1, false, Stop::Soft), Some(BACKUP));
        assert_eq!(rank(Health::Good, 1, false, Stop::Hard), None);
        assert_eq!(rank(Health::Good, MAX_TIER, false, Stop::None), Some(BACKUP - 1));
        assert_eq!(rank(Health::Lossy, 1, true, Stop::None), Some(IMPAIRED));
        assert_eq!(rank(Health::Silent, 1, false, Stop::Soft), Some(SILENT));
    }
}

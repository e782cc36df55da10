// SPDX-License-Identifier: BSD-2-Clause
//! What a link is to be used for, and how a class of packets is to be treated.
//!
//! Typed here, once, for the bonding engine that will take them; until then the daemon says that it does not.

use crate::options::{self, InUci, SectionKind};
use crate::package::Package;
use crate::value::{self, MAX_VALUE_BYTES, Value};

/// Values of one list in a class. Nobody's rule names more; [`ClassRule::read`] says when one does.
pub const MAX_MATCHES: usize = 8;
/// Bytes of a link's name, as in mlvpn.conf.
pub const MAX_LINK_NAME_BYTES: usize = 64;

/// How much data a link may carry in a time, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Beyond it the link is used as a backup.
    pub soft: Option<u64>,
    /// Beyond it the link is not used.
    pub hard: Option<u64>,
}

/// What a `config link` says about the use of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPolicy {
    /// Share of the traffic, 1 to 100, against the other links' weights; absent: what the link is measured to carry.
    pub weight: Option<u32>,
    /// 1 to 9: a link joins when those of lower tiers are full or down.
    pub tier: u32,
    /// Used only while every other link is down.
    pub backup: bool,
    /// Data costs money.
    pub metered: bool,
    /// Limits for a day.
    pub day: Quota,
    /// Limits for a month.
    pub month: Quota,
    /// The day on which the month begins, 1 to 28.
    pub month_start: u32,
    /// Ceiling of what is sent, in bytes per second; 0: none.
    pub rate_up: u64,
    /// Ceiling of what is received, in bytes per second; 0: none.
    pub rate_down: u64,
}

impl Default for LinkPolicy {
    fn default() -> Self {
        Self {
            weight: None,
            tier: 1,
            backup: false,
            metered: false,
            day: Quota::default(),
            month: Quota::default(),
            month_start: 1,
            rate_up: 0,
            rate_down: 0,
        }
    }
}

impl LinkPolicy {
    /// Reads the section of this index. A value that is none counts as absent.
    #[must_use]
    pub fn read(package: &Package<'_, '_>, section: usize) -> Self {
        let mut policy = Self::default();
        for_each(package, section, SectionKind::Link, |uci, value| match (uci.name, value) {
            ("weight", Value::Number(weight)) => policy.weight = Some(weight),
            ("tier", Value::Number(tier)) => policy.tier = tier,
            ("backup", Value::Flag(backup)) => policy.backup = backup,
            ("metered", Value::Flag(metered)) => policy.metered = metered,
            ("quota_day_soft", Value::Bytes(bytes)) => policy.day.soft = Some(bytes),
            ("quota_day_hard", Value::Bytes(bytes)) => policy.day.hard = Some(bytes),
            ("quota_month_soft", Value::Bytes(bytes)) => policy.month.soft = Some(bytes),
            ("quota_month_hard", Value::Bytes(bytes)) => policy.month.hard = Some(bytes),
            ("quota_month_start", Value::Number(day)) => policy.month_start = day,
            ("rate_up", Value::Bytes(rate)) => policy.rate_up = rate,
            ("rate_down", Value::Bytes(rate)) => policy.rate_down = rate,
            _ => {}
        });
        policy
    }
}

/// What a `config class` says. A packet belongs to the class when each list that is not empty has a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassRule {
    /// IP protocols.
    pub protocols: heapless::Vec<u8, MAX_MATCHES>,
    /// Ports at either end, as first and last.
    pub ports: heapless::Vec<(u16, u16), MAX_MATCHES>,
    /// DSCPs.
    pub dscps: heapless::Vec<u8, MAX_MATCHES>,
    /// The name of the link to send through while it is up.
    pub link: Option<heapless::String<MAX_LINK_NAME_BYTES>>,
    /// Send through two links; the first copy counts.
    pub duplicate: bool,
    /// Send first, through the link that is soonest there.
    pub interactive: bool,
}

/// A list of a class has more than [`MAX_MATCHES`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyMatches;

impl ClassRule {
    /// Reads the section of this index. A value that is none counts as absent.
    ///
    /// # Errors
    /// A list is too long.
    pub fn read(package: &Package<'_, '_>, section: usize) -> Result<Self, TooManyMatches> {
        let mut rule = Self::default();
        let mut fits = true;
        for_each(package, section, SectionKind::Class, |uci, value| match (uci.name, value) {
            ("proto", Value::Number(protocol)) => fits &= add(&mut rule.protocols, u8::try_from(protocol).ok()),
            ("dscp", Value::Number(dscp)) => fits &= add(&mut rule.dscps, u8::try_from(dscp).ok()),
            ("port", Value::Ports { first, last }) => fits &= add(&mut rule.ports, Some((first, last))),
            ("link", Value::Text(name)) => rule.link = heapless::String::try_from(name).ok(),
            ("duplicate", Value::Flag(duplicate)) => rule.duplicate = duplicate,
            ("interactive", Value::Flag(interactive)) => rule.interactive = interactive,
            _ => {}
        });
        fits.then_some(rule).ok_or(TooManyMatches)
    }

    /// True when the rule says nothing of which packets it is for.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.protocols.is_empty() && self.ports.is_empty() && self.dscps.is_empty()
    }

    /// True when the rule says nothing of what to do with its packets.
    #[must_use]
    pub const fn does_nothing(&self) -> bool {
        self.link.is_none() && !self.duplicate && !self.interactive
    }
}

fn add<T>(list: &mut heapless::Vec<T, MAX_MATCHES>, value: Option<T>) -> bool {
    value.is_none_or(|value| list.push(value).is_ok())
}

/// Each value of a section that is what its option may be. Values too long to be one are none.
fn for_each(
    package: &Package<'_, '_>,
    section: usize,
    kind: SectionKind,
    mut take: impl FnMut(&'static InUci, Value<'_>),
) {
    for entry in package.entries_of(section) {
        let Some(name) = entry.name.copied::<MAX_LINK_NAME_BYTES>() else { continue };
        let Some((_, uci)) = options::find_uci(kind, &name) else { continue };
        let Some(text) = entry.value.copied::<MAX_VALUE_BYTES>() else { continue };
        if let Some(value) = value::read(uci.kind, &text) {
            take(uci, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Entry, Section};

    fn package(text: &str, check: impl Fn(&Package<'_, '_>)) {
        let (mut sections, mut entries) = ([Section::default(); 2], [Entry::default(); 32]);
        check(&Package::read(text, &mut sections, &mut entries).expect("a package"));
    }

    #[test]
    fn a_link_that_says_nothing_is_an_ordinary_one() {
        package("config link wan\n", |package| assert_eq!(LinkPolicy::read(package, 0), LinkPolicy::default()));
    }

    #[test]
    fn a_links_policy_is_read_typed() {
        let text = "config link lte\n option weight 20\n option tier 2\n option backup on\n option metered 1\n \
            option quota_day_soft 500MB\n option quota_day_hard 1GB\n option quota_month_soft 15GB\n \
            option quota_month_hard '20 GB'\n option quota_month_start 14\n option rate_up 8mbit\n option rate_down 40mbit\n";
        let expected = LinkPolicy {
            weight: Some(20),
            tier: 2,
            backup: true,
            metered: true,
            day: Quota { soft: Some(500_000_000), hard: Some(1_000_000_000) },
            month: Quota { soft: Some(15_000_000_000), hard: Some(20_000_000_000) },
            month_start: 14,
            rate_up: 1_000_000,
            rate_down: 5_000_000,
        };
        package(text, |package| assert_eq!(LinkPolicy::read(package, 0), expected));
    }

    #[test]
    fn a_class_is_read_typed_and_a_list_without_end_is_refused() {
        let text = "config class voip\n list proto udp\n list port 5060\n list port 10000-20000\n list dscp EF\n \
            option link wan\n option duplicate 1\n option interactive 1\n";
        package(text, |package| {
            let rule = ClassRule::read(package, 0).expect("a rule");
            assert_eq!(rule.protocols.as_slice(), [17]);
            assert_eq!(rule.ports.as_slice(), [(5060, 5060), (10_000, 20_000)]);
            assert_eq!((rule.dscps.as_slice(), rule.link.as_deref()), (&[46][..], Some("wan")));
            assert!(rule.duplicate && rule.interactive && !rule.matches_all() && !rule.does_nothing());
        });
        let many = std::format!("config class c\n{}", " list port 1\n".repeat(MAX_MATCHES + 1));
        package(&many, |package| assert_eq!(ClassRule::read(package, 0), Err(TooManyMatches)));
    }
}

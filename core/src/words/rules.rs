// SPDX-License-Identifier: BSD-2-Clause
//! Rules of the user's for classes of packets: which packets, and what to do with them.

use super::class::Class;
use super::ids::LinkId;

/// Values of one list of a rule: a telephone's ports and a game's are no more, and every engine keeps the rules.
pub const MAX_MATCHES: usize = 8;

/// The values of a list; its length takes one byte.
pub type Matches<T> = heapless::Vec<T, MAX_MATCHES, u8>;

/// Rules of a tunnel. Each packet that waits is compared with them until one matches, so there are few.
pub const MAX_RULES: usize = 16;

/// DSCPs there are: six bits (RFC 2474).
const DSCPS: u8 = 64;

/// What is done with the packets of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Send them through this link while it is up, whatever its tier; while it is not, or its quota is used up, they are
    /// packets like others.
    pub link: Option<LinkId>,
    /// Send those that are thin through two links, unless that takes too much of the second: see `COPY_SHARE` of the
    /// peer's engine.
    pub duplicate: bool,
    /// Take them for packets somebody waits for, whatever their size: first, and through the quickest link, as long as
    /// their flow does not flood.
    pub interactive: bool,
}

/// Packets and what to do with them. A packet belongs to the rule when each list that is not empty has a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// IP protocols.
    pub protocols: Matches<u8>,
    /// Ports at either end, as first and last.
    pub ports: Matches<(u16, u16)>,
    /// DSCPs, bit by bit; see [`Rule::match_dscp`].
    dscps: u64,
    /// What to do.
    pub action: Action,
}

impl Rule {
    /// Has the rule match this DSCP, too. False when there is none such.
    pub fn match_dscp(&mut self, dscp: u8) -> bool {
        self.dscps |= bit(dscp);
        dscp < DSCPS
    }

    /// Whether a packet belongs to the rule.
    #[must_use]
    pub fn matches(&self, class: &Class) -> bool {
        let is_of = |protocol: u8| self.protocols.contains(&protocol);
        let within = |port: u16| self.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        (self.protocols.is_empty() || class.protocol.is_some_and(is_of))
            && (self.ports.is_empty() || class.ports.is_some_and(|(from, to)| within(from) || within(to)))
            && (self.dscps == 0 || self.dscps & bit(class.dscp) != 0)
    }
}

fn bit(dscp: u8) -> u64 {
    1_u64.checked_shl(u32::from(dscp)).unwrap_or(0)
}

/// The rules of a tunnel, in order: the first that matches counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub heapless::Vec<Rule, MAX_RULES, u8>);

impl Rules {
    /// What to do with a packet; nothing special when no rule matches. Work: at most [`MAX_RULES`] rules of
    /// [`MAX_MATCHES`] values each.
    #[must_use]
    pub fn action(&self, class: &Class) -> Action {
        let Self(rules) = self;
        rules.iter().find(|rule| rule.matches(class)).map_or_else(Action::default, |rule| rule.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::class::Kind;
    use crate::words::ecn::Ecn;

    fn class(protocol: u8, ports: Option<(u16, u16)>, dscp: u8) -> Class {
        let (kind, ecn, protocol) = (Kind::Other, Ecn::NotEct, Some(protocol));
        Class { flow: 1, ports, len: 100, protocol, dscp, ecn, kind, ordered: true, is_urgent: false, link: None }
    }

    fn rule(protocol: u8, range: (u16, u16), link: usize) -> Rule {
        let action = Action { link: Some(LinkId::new(link)), ..Action::default() };
        Rule {
            protocols: [protocol].into_iter().collect(),
            ports: [range].into_iter().collect(),
            action,
            ..Rule::default()
        }
    }

    #[test]
    fn every_list_must_match_and_a_port_may_be_at_either_end() {
        let mut rule = rule(17, (5_060, 5_061), 0);
        assert!(rule.match_dscp(46) && !rule.match_dscp(64));
        assert!(rule.matches(&class(17, Some((5_061, 9)), 46)) && rule.matches(&class(17, Some((9, 5_060)), 46)));
        assert!(!rule.matches(&class(6, Some((5_061, 9)), 46)));
        assert!(!rule.matches(&class(17, Some((5_062, 9)), 46)));
        assert!(!rule.matches(&class(17, None, 46)), "a fragment shows no port");
        assert!(!rule.matches(&class(17, Some((5_061, 9)), 0)));
        assert!(Rule::default().matches(&class(1, None, 63)));
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = Rules([rule(17, (1, 100), 1), rule(17, (50, 200), 2)].into_iter().collect());
        let link = |port| rules.action(&class(17, Some((port, 0)), 0)).link.map(LinkId::index);
        assert_eq!([link(60), link(150), link(300)], [Some(1), Some(2), None]);
    }
}

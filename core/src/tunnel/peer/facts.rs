// SPDX-License-Identifier: BSD-2-Clause
//! What is read off a peer's links and orders, beside what paths, departures and arrivals show themselves.

use crate::stages::reorder::Depth;
use crate::state::estimate::apart;
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

use super::{Member, Peer};

/// Packets of a link that are there more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Lost packets of any link that were sent again over this one.
    pub resent: u64,
    /// Copies sent over this link of packets that went over another.
    pub copied: u64,
    /// Packets that came over this link and had come before.
    pub duplicates: u64,
}

/// How much longer packets take one way than over the quickest link that is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// To the peer, by its last report.
    pub sending: Option<Duration>,
    /// From the peer, by the last packet.
    pub receiving: Option<Duration>,
}

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Packets of a link that are there more than once.
    #[must_use]
    pub fn link_counts(&self, id: LinkId) -> LinkCounts {
        self.members.get(id.index()).and_then(Option::as_ref).map_or_else(LinkCounts::default, |member| member.counts)
    }

    /// How much longer packets take over a link than over the quickest.
    #[must_use]
    pub fn spread(&self, id: LinkId) -> Spread {
        let Some(member) = self.members.get(id.index()).and_then(Option::as_ref) else { return Spread::default() };
        let behind = |transit: fn(&Member) -> Option<u16>| {
            let own = transit(member)?;
            let others = self.members.iter().flatten().filter(|other| self.carries(other)).filter_map(transit);
            let longest = others.map(|other| apart(own, other)).max()?;
            u64::try_from(longest).ok().map(|units| Duration::from_micros(units.saturating_mul(100)))
        };
        Spread {
            sending: behind(|member| member.departures.transit()),
            receiving: behind(|member| member.arrivals.transit()),
        }
    }

    /// How the packets of an order waited for earlier ones, by its number from 1 on; none when there is no such order.
    #[must_use]
    pub fn depth(&self, order: u8, now: Instant) -> Option<Depth> {
        self.bond.reorder.depth(usize::from(order.checked_sub(1)?), now)
    }
}

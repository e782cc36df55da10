// SPDX-License-Identifier: BSD-2-Clause
//! What the user wants: which links are in use, which of them a packet may take, and copies of packets on a second link.

use crate::memory::pool::{Pool, Slot};
use crate::memory::two::DataFlags;
use crate::stages::ingress::Next;
use crate::stages::schedule::Candidate;
use crate::state::flight::Sent;
use crate::state::overflow;
use crate::state::reach::Look;
use crate::words::class::Class;
use crate::words::ids::LinkId;
use crate::words::limits::MAX_LINKS;
use crate::words::policy::{BACKUP, IMPAIRED, SILENT, Usage};
use crate::words::rules::Rules;
use crate::words::time::Instant;

use super::data::{Lane, Lanes, Load};
use super::{Member, Peer};

/// Copies may take this part of what the slower link of the two carries: a twentieth, so that they delay nothing.
const COPY_SHARE: u64 = 20;

/// Copies a link need not have earned yet, in bytes: two full packets.
const COPY_BURST: u64 = 3_000;

/// What a link may still carry of copies. It earns with the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CopyCredit {
    bytes: u64,
    at: Instant,
}

impl CopyCredit {
    /// Takes a copy of `bytes` off the credit, if that has it. `pace` is the slower link's, in bytes per second.
    fn spend(&mut self, bytes: u64, pace: u64, now: Instant) -> bool {
        let passed = now.since(self.at).micros().min(1_000_000);
        let earned = (pace / COPY_SHARE).saturating_mul(passed) / 1_000_000;
        // What is too little to be a byte is earned later.
        if earned > 0 {
            self.bytes = self.bytes.saturating_add(earned).min(COPY_BURST);
            self.at = now;
        }
        let is_enough = self.bytes >= bytes;
        if is_enough {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        is_enough
    }
}

/// The user's rules and limits.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Changes the rules for classes of packets.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// What a link has carried of its quota's day and month.
    #[must_use]
    pub fn usage(&self, id: LinkId) -> Option<Usage> {
        self.link(id).map(|path| path.usage())
    }

    /// Tells what a link has carried of its quota's day and month: after a start, and when one of these begins.
    pub fn set_usage(&mut self, id: LinkId, usage: Usage) {
        if let Some(member) = self.member_mut(id) {
            member.path.set_usage(usage);
        }
    }
}

/// Tiers.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Which links are in use: those of the lowest rank there is, even silent ones, and those that joined it.
    pub(super) fn in_use(&self) -> impl Fn(&Member) -> bool + use<LINKS, WINDOW> {
        let counts = self.counting();
        let ranks = self.members.iter().flatten().filter(|member| counts(member)).filter_map(super::tier);
        let limit = ranks.min().map(|lowest| self.overflow.limit(lowest));
        move |member| counts(member) && super::tier(member).is_some_and(|rank| Some(rank) <= limit)
    }

    /// Has links of higher tiers join or leave.
    pub(super) fn look_at_demand(&mut self, now: Instant) {
        let counts = self.counting();
        let usable = || {
            let members = self.members.iter().flatten().filter(|member| counts(member));
            members.filter_map(|member| Some((super::tier(member).filter(|rank| *rank <= BACKUP)?, member)))
        };
        let Some(lowest) = usable().map(|(rank, _)| rank).min() else { return };
        let limit = self.overflow.limit(lowest);
        let joined = || usable().map(|(rank, _)| rank).filter(|rank| *rank <= limit);
        let highest = joined().max().unwrap_or(lowest);
        let pace = |(_, member): (u8, &Member)| member.departures.rate().pace();
        let look = overflow::Look {
            lowest,
            next: usable().map(|(rank, _)| rank).filter(|rank| *rank > limit && *rank < BACKUP).min(),
            highest,
            below: joined().filter(|rank| *rank < highest).max().unwrap_or(lowest),
            pace_below: usable().filter(|(rank, _)| *rank < highest).map(pace).fold(0, u64::saturating_add),
            sent: self.sent_bytes,
        };
        self.overflow.look(&look, now);
    }
}

/// How far bulk goes.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Has links that are far join or leave. Where weights say how links share, they are asked for nothing.
    pub(super) fn look_at_reach(&mut self, now: Instant) {
        let in_use = self.in_use();
        let one_way = |member: &Member| member.path.rtt().smoothed().map(|rtt| rtt >> 1);
        let used = || self.members.iter().flatten().filter(|member| in_use(member));
        let nearest = used().filter_map(one_way).min().unwrap_or_default();
        let distance = |member: &Member| one_way(member).unwrap_or(nearest).saturating_sub(nearest);
        let weight = used().next().map(|member| member.path.weight());
        let is_even = used().all(|member| Some(member.path.weight()) == weight);
        let covered = |member: &&Member| !is_even || self.reach.covers(distance(member));
        let farthest = used().filter(covered).map(distance).max().unwrap_or_default();
        let nearer = || used().filter(|member| distance(member) < farthest);
        let carries = |member: &Member| member.departures.rate().capacity().unwrap_or(member.departures.rate().pace());
        let look = Look {
            farthest,
            before: nearer().map(distance).max().unwrap_or_default(),
            next: used().filter(|member| !covered(member)).map(distance).min(),
            carried_before: nearer().map(carries).fold(0, u64::saturating_add),
            rtt: used().filter(covered).filter_map(|member| member.path.rtt().smoothed()).max().unwrap_or_default(),
            waited: self.bond.waited(now),
            sent: self.sent_bytes,
        };
        self.reach.look(&look, now);
        let reach = self.reach;
        for member in self.members.iter_mut().flatten() {
            let distance = one_way(member).unwrap_or(nearest).saturating_sub(nearest);
            member.is_far = is_even && !reach.covers(distance);
        }
    }
}

/// Which links a packet may take.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// The lane that a filter chose, or a rule pins a class to, while that link is up. What a filter sends over a link goes
    /// there as MLVPN has it: also when that loses much or is slow.
    pub(super) fn pinned(&self, class: &Class) -> Option<Lane> {
        let (link, limit) = match class.link {
            Some(link) => (link, SILENT),
            None => (self.rules.action(class).link?, IMPAIRED),
        };
        let member = self.members.get(link.index())?.as_ref()?;
        let is_usable = !member.blocked && super::tier(member).is_some_and(|rank| rank < limit);
        is_usable.then(|| self.lane(link, member, member))
    }

    /// Puts the lanes that the next packet may take into `allowed`, which is empty: the one it is pinned to; else those of
    /// the lowest rank that has room, and of these, when they differ in weight, the one that is behind.
    pub(super) fn find_allowed(&mut self, allowed: &mut Lanes<LINKS>, lanes: &[Lane], next: &Next, now: Instant) {
        if let Some(lane) = self.pinned(&next.class) {
            allowed.extend([lane]);
            return;
        }
        let has_room = |lane: &&Lane| next.is_thin || (lane.free_at <= now && !lane.is_far);
        let Some(lowest) = lanes.iter().filter(has_room).map(|lane| lane.rank).min() else { return };
        allowed.extend(lanes.iter().filter(has_room).filter(|lane| lane.rank == lowest).copied());
        let is_even = lanes.iter().filter(|lane| lane.rank == lowest).all(|lane| Some(lane.weight) == first(allowed));
        if !is_even && !next.is_thin {
            let candidates: heapless::Vec<Candidate, MAX_LINKS> = allowed.iter().map(candidate).collect();
            let chosen = self.shares.choose(&candidates, next.class.len.into());
            allowed.retain(|lane| Some(lane.link.index()) == chosen);
        }
    }
}

fn first<const LINKS: usize>(lanes: &Lanes<LINKS>) -> Option<u8> {
    lanes.first().map(|lane| lane.weight)
}

/// Weights are shared by as rates are.
fn candidate(lane: &Lane) -> Candidate {
    Candidate { index: lane.link.index(), rate_bytes_per_sec: lane.weight.into() }
}

/// A packet that is about to be sent.
#[derive(Clone, Copy)]
pub(super) struct Original<'a> {
    pub(super) slot: &'a Slot,
    pub(super) class: &'a Class,
    /// The lane it takes.
    pub(super) first: Lane,
    /// All lanes in use.
    pub(super) lanes: &'a [Lane],
    pub(super) sent: Sent,
}

/// Copies.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Has a copy of a thin packet follow over the next quickest link in use, if its class asks
    /// for that and the link may carry it. Whether it does.
    pub(super) fn copy<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        original: &Original<'_>,
        now: Instant,
    ) -> bool {
        let Original { slot, class, first, lanes, sent } = *original;
        if !self.rules.action(class).duplicate || self.copy.is_some() {
            return false;
        }
        let is_metered =
            |link: LinkId| self.members.get(link.index()).and_then(Option::as_ref).is_none_or(|m| m.path.is_metered());
        let others = lanes.iter().filter(|lane| lane.link != first.link && !is_metered(lane.link));
        let Some(second) = others.min_by_key(|lane| lane.delay).copied() else { return false };
        let pace = |lane: Lane| self.departures(lane.link).map_or(0, |departures| departures.rate().pace());
        let slower = pace(first).min(pace(second));
        let Some(member) = self.member_mut(second.link) else { return false };
        if !member.copies.spend(class.len.into(), slower, now) {
            return false;
        }
        let Some(copy) = duplicate(pool, slot) else { return false };
        let flags = DataFlags { duplicate: true, ..DataFlags::default() };
        self.copy = Some(Load { link: second.link, slot: copy, sent, flags, is_kept: false });
        self.counts.copied = self.counts.copied.saturating_add(1);
        true
    }
}

/// Another slot with the same packet, unless the pool is empty.
fn duplicate<const SLOTS: usize>(pool: &mut Pool<SLOTS>, slot: &Slot) -> Option<Slot> {
    let mut bytes = [0; crate::words::limits::PACKET_CAPACITY];
    let packet = pool.packet(slot)?.as_bytes();
    let bytes = bytes.get_mut(..packet.len())?;
    bytes.copy_from_slice(packet);
    let copy = pool.take()?;
    if pool.packet_mut(&copy)?.copy_from(bytes) { Some(copy) } else { None }
}

/// What a client said of its links.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Has the link be sent on as its terms say.
    pub(super) fn follow_terms(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.departures.set_ceiling(member.path.ceiling());
        }
    }
}

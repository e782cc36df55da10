// SPDX-License-Identifier: BSD-2-Clause
//! Inner packets onto the links: which link, when, and again when one was lost.

use crate::memory::pool::{Pool, Slot};
use crate::memory::two::DataFlags;
use crate::stages::ecn;
use crate::stages::ingress::{CodelLaw, Popped};
use crate::state::estimate::apart;
use crate::state::flight::{OLDEST_RESEND, Sent};
use crate::state::session::Label;
use crate::tunnel::Transmit;
use crate::words::class::Class;
use crate::words::drops::DropReason;
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

use super::policy::Original;
use super::{Member, ORDERED, Peer, SILENT, tier};

/// Resends may take this part of what is sent, in 256ths: a tenth.
const RESEND_SHARE: u64 = 26;

/// Resends in a row that the share need not cover yet, in bytes: a burst of 40 full packets.
const RESEND_BURST: u64 = 60_000;

/// A thin packet waits this long for its link's pace rather than to take a slower link, so that a flow of small packets
/// stays on one link while that has room, and in order.
const THIN_WAIT: Duration = Duration::from_millis(5);

/// A link that may carry the next packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) link: LinkId,
    /// When its pace allows the next packet.
    pub(super) free_at: Instant,
    /// Its one-way time beside that of the first lane, in microseconds.
    pub(super) delay: i64,
    /// See [`Path::rank`](crate::state::path::Path::rank).
    pub(super) rank: u8,
    /// Its share; 0 for none in particular.
    pub(super) weight: u8,
    /// Bulk does not take it yet.
    pub(super) is_far: bool,
}

/// Lanes, one for each link at the most.
pub(super) type Lanes<const LINKS: usize> = heapless::Vec<Lane, LINKS>;

impl Lane {
    /// When a packet that is given to the lane now arrives, beside others, in microseconds, if waiting `grace` for its pace
    /// counts for nothing.
    fn arrival(&self, grace: Duration, now: Instant) -> i64 {
        let wait = self.free_at.since(now).saturating_sub(grace).micros();
        i64::try_from(wait).unwrap_or(i64::MAX).saturating_add(self.delay)
    }
}

/// Why no link takes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Every usable link's socket is full.
    Blocked,
    /// No link is up.
    NoLink,
}

/// What is to be sealed.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) link: LinkId,
    pub(super) slot: Slot,
    pub(super) sent: Sent,
    pub(super) flags: DataFlags,
    /// Whether it may be sent again.
    pub(super) is_kept: bool,
}

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// The next inner packet that a link takes now: a lost one first.
    pub(super) fn transmit_data<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        self.pinned_until = None;
        if !self.bond.is_waiting() && !self.flight.has_lost() && self.copy.is_none() {
            self.overflow.note(false);
            self.reach.note_empty();
            return None;
        }
        let mut lanes = Lanes::new();
        match self.find_lanes(&mut lanes) {
            Ok(()) => {}
            Err(Refusal::Blocked) => return None,
            Err(Refusal::NoLink) => {
                self.bond.drop_waiting(pool, DropReason::NoLink);
                return None;
            }
        }
        loop {
            let load = self.copy.take().or_else(|| self.next_lost(pool, &lanes, now));
            let Some(load) = load.or_else(|| self.next_new(pool, &lanes, now)) else {
                self.overflow.note(self.bond.is_waiting());
                return None;
            };
            match self.seal_load(pool, load, now, out) {
                Ok(transmit) => return Some(transmit),
                Err((slot, reason)) => self.bond.drop_slot(pool, slot, reason),
            }
        }
    }

    /// When a link's pace allows what waits.
    pub(super) fn pace_at(&self) -> Option<Instant> {
        if !self.bond.is_waiting() && !self.flight.has_lost() {
            return None;
        }
        let mut lanes = Lanes::new();
        self.find_lanes(&mut lanes).ok()?;
        let any = || free_at(&lanes);
        let new = self.bond.is_waiting().then(|| self.pinned_until.or_else(any)).flatten();
        let lost = self.flight.has_lost().then(|| quickest(&lanes, self.polled_at).map(|lane| lane.free_at)).flatten();
        new.into_iter().chain(lost).min()
    }

    fn next_lost<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, lanes: &[Lane], now: Instant) -> Option<Load> {
        loop {
            let sent = self.flight.next_lost()?;
            let is_old = now.since(sent.first_at) > OLDEST_RESEND;
            let costs = if sent.is_rescued { 0 } else { u64::from(sent.len) };
            if is_old || costs > self.resend_credit {
                let (slot, _) = self.flight.take_lost()?;
                self.counts.unrepaired = self.counts.unrepaired.saturating_add(1);
                pool.put(slot);
                continue;
            }
            let lane = quickest(lanes, now).filter(|lane| lane.free_at <= now)?;
            let (slot, sent) = self.flight.take_lost()?;
            self.resend_credit = self.resend_credit.saturating_sub(costs);
            self.counts.resent = self.counts.resent.saturating_add(1);
            let flags = DataFlags { resend: true, ..DataFlags::default() };
            return Some(Load { link: lane.link, slot, sent, flags, is_kept: true });
        }
    }

    fn next_new<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, lanes: &[Lane], now: Instant) -> Option<Load> {
        let lane = self.choose(lanes, now)?;
        let law = self.law();
        let Popped { slot, class, is_thin, .. } = self.bond.pop(pool, &law, now)?;
        let domain = if is_thin || !class.ordered { 0 } else { domain_of(&class) };
        let order = self.orders.get_mut(usize::from(domain))?;
        let order_low = (*order & 0xff_ffff) as u32;
        *order = order.saturating_add(1);
        let sent = Sent { domain, order_low, first_at: now, ..Sent::default() };
        let earned = u64::from(class.len).saturating_mul(RESEND_SHARE) >> 8;
        self.resend_credit = self.resend_credit.saturating_add(earned).min(RESEND_BURST);
        let original = Original { slot: &slot, class: &class, first: lane, lanes, sent };
        let duplicate = is_thin && self.copy(pool, &original, now);
        let flags = DataFlags { duplicate, ..DataFlags::default() };
        Some(Load { link: lane.link, slot, sent, flags, is_kept: true })
    }

    /// The link for the next packet. A group of flows whose packet is for a link without room lets the others pass.
    fn choose(&mut self, lanes: &[Lane], now: Instant) -> Option<Lane> {
        let mut pinned_until = None;
        for _ in 0..=self.bond.bulk_groups() {
            let next = self.bond.peek()?;
            let mut allowed = Lanes::new();
            self.find_allowed(&mut allowed, lanes, &next, now);
            let lane = if next.is_thin {
                allowed.iter().min_by_key(|lane| lane.arrival(THIN_WAIT, now))
            } else {
                allowed.iter().filter(|lane| lane.free_at <= now).min_by_key(|lane| lane.delay)
            };
            if lane.is_some() {
                return lane.copied();
            }
            // Without a link of its own it waits for any, and may get one before those do.
            let waits_for = self.pinned(&next.class).map(|lane| lane.free_at);
            let any = || free_at(lanes);
            pinned_until = pinned_until.into_iter().chain(waits_for.or_else(any)).min();
            self.bond.pass_over();
        }
        self.pinned_until = pinned_until;
        None
    }

    fn seal_load<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        load: Load,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Transmit, (Slot, DropReason)> {
        let Load { link, slot, sent, flags, is_kept } = load;
        let Some(packet) = pool.packet(&slot) else { return Err((slot, DropReason::Malformed)) };
        let Some(session) = self.current.as_mut() else { return Err((slot, DropReason::NoSession)) };
        let label = Label { flags, domain: sent.domain, order_low: sent.order_low };
        let Some(stamp) = session.stamp(link, label, now) else { return Err((slot, DropReason::NoSession)) };
        let (counter, index) = (stamp.counter_low(), session.peer_index().low());
        let len = match session.seal(stamp, packet.as_bytes(), out) {
            Ok(len) => len,
            Err(reason) => return Err((slot, reason)),
        };
        session.note_use(now);
        let ecn = ecn::encapsulate(ecn::read(packet.as_bytes(), self.config.medium));
        let Some(member) = self.members.get_mut(link.index()).and_then(Option::as_mut) else {
            return Err((slot, DropReason::NoLink));
        };
        let Some(place) = member.path.place() else { return Err((slot, DropReason::NoLink)) };
        member.path.count_sent(len);
        member.path.note_data(now);
        member.counts.resent = member.counts.resent.saturating_add(flags.resend.into());
        member.counts.copied = member.counts.copied.saturating_add((!is_kept).into());
        member.departures.charge(len.saturating_add(place.overhead()), now);
        self.sent_bytes = self.sent_bytes.saturating_add(len.saturating_add(place.overhead()) as u64);
        let sent = Sent {
            link: u8::try_from(link.index()).unwrap_or(u8::MAX),
            session: index,
            sends: sent.sends.saturating_add(1),
            len: u16::try_from(len).unwrap_or(u16::MAX),
            counter,
            at: now,
            is_rescued: false,
            ..sent
        };
        if is_kept {
            self.flight.keep(pool, slot, sent);
        } else {
            pool.put(slot);
        }
        Ok(Transmit { link: LinkId::new(place.socket.into()), to: place.address, len, ecn })
    }

    /// Puts the links that may carry data into `lanes`, which is empty: a kilobyte, too much to be moved for each packet.
    fn find_lanes(&self, lanes: &mut Lanes<LINKS>) -> Result<(), Refusal> {
        if self.current.is_none() {
            return Err(Refusal::NoLink);
        }
        let in_use = self.in_use();
        if !self.members.iter().flatten().any(&in_use) {
            return Err(Refusal::NoLink);
        }
        let mut first = None;
        for (index, member) in self.members.iter().enumerate() {
            let Some(member) = member.as_ref().filter(|m| in_use(m) && !m.blocked) else { continue };
            let reference = first.get_or_insert(member);
            // As many places as links: it cannot be full.
            let _ = lanes.push(self.lane(LinkId::new(index), member, reference));
        }
        if lanes.iter().all(|lane| lane.is_far) {
            lanes.iter_mut().for_each(|lane| lane.is_far = false);
        }
        if lanes.is_empty() { Err(Refusal::Blocked) } else { Ok(()) }
    }

    pub(super) fn lane(&self, link: LinkId, member: &Member, reference: &Member) -> Lane {
        Lane {
            link,
            free_at: member.departures.free_at(),
            delay: delay_beside(member, reference),
            rank: tier(member).unwrap_or(SILENT),
            weight: member.path.weight(),
            is_far: member.is_far,
        }
    }

    /// How long packets may wait for a link.
    fn law(&self) -> CodelLaw {
        let rtts = self.members.iter().flatten().filter_map(|member| member.path.rtt().smoothed());
        CodelLaw::for_round_trip(rtts.max().unwrap_or_default()).with_patience(self.reach.step())
    }

    /// Whether a link carries data.
    pub(super) fn carries(&self, member: &Member) -> bool {
        tier(member).is_some_and(|rank| rank < SILENT)
    }
}

/// When the pace of a lane that bulk takes allows the next packet.
fn free_at(lanes: &[Lane]) -> Option<Instant> {
    lanes.iter().filter(|lane| !lane.is_far).map(|lane| lane.free_at).min()
}

/// The lane on which a packet arrives first.
fn quickest(lanes: &[Lane], now: Instant) -> Option<&Lane> {
    lanes.iter().min_by_key(|lane| lane.arrival(Duration::ZERO, now))
}

/// The order a flow's packets are in: one of [`ORDERED`], from the high bits of its hash, as the queue's group is from
/// the low ones.
fn domain_of(class: &Class) -> u8 {
    let scaled = u64::from(class.flow).saturating_mul(u64::from(ORDERED)) >> 32;
    u8::try_from(scaled).unwrap_or(0).saturating_add(1)
}

/// How much longer a packet takes on a link than on another, in microseconds.
fn delay_beside(member: &Member, reference: &Member) -> i64 {
    match (member.departures.transit(), reference.departures.transit()) {
        (Some(own), Some(other)) => i64::from(apart(own, other)).saturating_mul(100),
        _ => {
            let half = |member: &Member| member.path.rtt().smoothed().map_or(0, |rtt| (rtt >> 1).micros());
            let own = i64::try_from(half(member)).unwrap_or(i64::MAX);
            own.saturating_sub(i64::try_from(half(reference)).unwrap_or(i64::MAX))
        }
    }
}

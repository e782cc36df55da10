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

use super::{Member, ORDERED, Peer, SILENT, tier};

/// Resends may take this part of what is sent, in 256ths: a tenth.
const RESEND_SHARE: u64 = 26;

/// Resends in a row that the share need not cover yet, in bytes: a burst of 40 full packets.
const RESEND_BURST: u64 = 60_000;

/// A link that may carry the next packet.
#[derive(Clone, Copy, Debug)]
struct Lane {
    link: LinkId,
    /// When its pace allows the next packet.
    free_at: Instant,
    /// Its one-way time beside that of the first lane, in microseconds.
    delay: i64,
}

/// A thin packet waits this long for its link's pace rather than to take a slower link, so that a flow of small packets
/// stays on one link while that has room, and in order.
const THIN_WAIT: Duration = Duration::from_millis(5);

impl Lane {
    /// As [`Lane::arrival`], for a thin packet: it leaves at once, and only a link that is behind its pace is avoided.
    fn soonest(&self, now: Instant) -> i64 {
        let behind = self.free_at.since(now).saturating_sub(THIN_WAIT).micros();
        i64::try_from(behind).unwrap_or(i64::MAX).saturating_add(self.delay)
    }

    /// When a packet that is given to the lane now arrives, beside others, in microseconds.
    fn arrival(&self, now: Instant) -> i64 {
        i64::try_from(self.free_at.since(now).micros()).unwrap_or(i64::MAX).saturating_add(self.delay)
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
struct Load {
    link: LinkId,
    slot: Slot,
    sent: Sent,
    flags: DataFlags,
}

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// The next inner packet that a link takes now: a lost one first.
    pub(super) fn transmit_data<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if !self.bond.is_waiting() && !self.flight.has_lost() {
            return None;
        }
        let lanes = match self.lanes() {
            Ok(lanes) => lanes,
            Err(Refusal::Blocked) => return None,
            Err(Refusal::NoLink) => {
                self.bond.drop_waiting(pool, DropReason::NoLink);
                return None;
            }
        };
        loop {
            let load = self.next_lost(pool, &lanes, now).or_else(|| self.next_new(pool, &lanes, now))?;
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
        let lanes = self.lanes().ok()?;
        let new = self.bond.is_waiting().then(|| lanes.iter().map(|lane| lane.free_at).min()).flatten();
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
            return Some(Load { link: lane.link, slot, sent, flags });
        }
    }

    fn next_new<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, lanes: &[Lane], now: Instant) -> Option<Load> {
        let is_thin = self.bond.peek()?.is_thin;
        let lane = if is_thin {
            lanes.iter().min_by_key(|lane| lane.soonest(now))
        } else {
            lanes.iter().filter(|lane| lane.free_at <= now).min_by_key(|lane| lane.delay)
        }?;
        let law = self.law();
        let Popped { slot, class, is_thin, .. } = self.bond.pop(pool, &law, now)?;
        let domain = if is_thin || !class.ordered { 0 } else { domain_of(&class) };
        let order = self.orders.get_mut(usize::from(domain))?;
        let order_low = (*order & 0xff_ffff) as u32;
        *order = order.saturating_add(1);
        let sent = Sent { domain, order_low, first_at: now, ..Sent::default() };
        let earned = u64::from(class.len).saturating_mul(RESEND_SHARE) >> 8;
        self.resend_credit = self.resend_credit.saturating_add(earned).min(RESEND_BURST);
        Some(Load { link: lane.link, slot, sent, flags: DataFlags::default() })
    }

    fn seal_load<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        load: Load,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Transmit, (Slot, DropReason)> {
        let Load { link, slot, sent, flags } = load;
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
        let member = self.members.get_mut(link.index()).and_then(Option::as_mut);
        let Some((member, place)) = member.and_then(|member| Some((member.path.place()?, member)).map(|(p, m)| (m, p)))
        else {
            return Err((slot, DropReason::NoLink));
        };
        member.path.count_sent(len);
        member.path.note_data(now);
        member.departures.charge(len.saturating_add(place.overhead()), now);
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
        self.flight.keep(pool, slot, sent);
        Ok(Transmit { link: LinkId::new(place.socket.into()), to: place.address, len, ecn })
    }

    /// The links that may carry data.
    fn lanes(&self) -> Result<heapless::Vec<Lane, LINKS>, Refusal> {
        if self.current.is_none() {
            return Err(Refusal::NoLink);
        }
        let counts = self.counting();
        let tier = |member: &Member| tier(member).filter(|_| counts(member));
        let best = self.members.iter().flatten().filter_map(tier).min().ok_or(Refusal::NoLink)?;
        let mut lanes = heapless::Vec::new();
        let mut first = None;
        for (index, member) in self.members.iter().enumerate() {
            let Some(member) = member.as_ref().filter(|m| tier(m) == Some(best) && !m.blocked) else { continue };
            let reference = first.get_or_insert(member);
            let lane = Lane {
                link: LinkId::new(index),
                free_at: member.departures.free_at(),
                delay: delay_beside(member, reference),
            };
            // As many places as links: it cannot be full.
            let _ = lanes.push(lane);
        }
        if lanes.is_empty() { Err(Refusal::Blocked) } else { Ok(lanes) }
    }

    /// How long packets may wait for a link.
    fn law(&self) -> CodelLaw {
        let rtts = self.members.iter().flatten().filter_map(|member| member.path.rtt().smoothed());
        CodelLaw::for_round_trip(rtts.max().unwrap_or_default())
    }

    /// Whether a link carries data.
    pub(super) fn carries(&self, member: &Member) -> bool {
        tier(member).is_some_and(|tier| tier < SILENT)
    }
}

/// The lane on which a packet arrives first.
fn quickest(lanes: &[Lane], now: Instant) -> Option<&Lane> {
    lanes.iter().min_by_key(|lane| lane.arrival(now))
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

// SPDX-License-Identifier: BSD-2-Clause
//! Ingress: the queue at the tunnel's entrance, in front of the scheduler. Links are paced just under what they carry, so
//! what stands in line stands here, where it is shared fairly and kept short.
//!
//! - Flows fall into [`GROUPS`] groups by their hash. Groups with bulk take turns by deficit round robin (Shreedhar and
//!   Varghese, 1995): each sends [`QUANTUM`] bytes a round, whatever its packets' sizes. Oldest head first would need no
//!   deficits, but is fair in arrivals and not in bytes: who sends most gets most.
//! - Each group's bulk is judged by CoDel (RFC 8289) as it leaves; packets that can be marked are marked, others dropped.
//! - **Thin** packets go strictly before bulk, as in FQ-CoDel's list of new flows (RFC 8290, 4.2), but by what a group
//!   sends and not by its turns. See [`Ingress::is_thin`].
//! - When the queue as a whole is too large, the head of the fattest group goes: its flow learns of it soonest.
//!
//! Driven by the engine: [`Ingress::push`] each packet of the device; ask [`Ingress::peek`] what is next, and when a link
//! has room for it, [`Ingress::pop`]. After each of `push`, `pop` and `clear`, [`Ingress::poll_dropped`] until None, each
//! slot put back into the pool and counted. Work of a call: a few steps, and a round over the groups for each packet
//! that is dropped.

mod chain;
mod codel;
mod group;

use crate::memory::pool::Slot;
use crate::words::class::Class;
use crate::words::time::{Duration, Instant};

use chain::{Chain, Entries};
use codel::{Head, Verdict};
use group::{Group, group_of};

pub use codel::CodelLaw;
pub use group::{Backlog, GROUPS, QUANTUM};

/// What comes out of the queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Popped {
    /// The packet.
    pub slot: Slot,
    /// What it is.
    pub class: Class,
    /// Whether its transport is to be told of congestion: mark it as [`Ecn::Ce`](crate::words::ecn::Ecn::Ce).
    pub mark: bool,
    /// Whether it went before bulk.
    pub is_thin: bool,
    /// How long it was in the queue, in steps of 16 microseconds.
    pub queued: Duration,
}

/// What would come out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// What it is.
    pub class: Class,
    /// Whether it goes before bulk.
    pub is_thin: bool,
}

/// Groups in the order of their turns; each is there at most once, so there is always room.
type Line = heapless::Deque<u8, GROUPS>;

/// The queue: at most `CAPACITY` packets, 24 bytes each and some 3 KiB for the groups; the packets lie in their pool.
#[derive(Debug)]
pub struct Ingress<const CAPACITY: usize> {
    entries: Entries<CAPACITY>,
    groups: [Group; GROUPS],
    /// Groups whose head is thin.
    thin_line: Line,
    /// Groups whose head is bulk. The first of them has credit.
    bulk_line: Line,
    /// Rounds of the bulk line begun; wraps.
    round: u32,
    /// The group with which the round ends.
    round_end: u8,
    /// Of all groups.
    backlog: Backlog,
    max_bytes: u32,
    dropped: Chain,
}

impl<const CAPACITY: usize> Ingress<CAPACITY> {
    /// An empty queue for at most `CAPACITY - 1` packets (one place is for the packet that makes another go) of at most
    /// `max_bytes` together; a single packet may be larger.
    #[must_use]
    pub const fn new(max_bytes: u32) -> Self {
        Self {
            entries: Entries::new(),
            groups: [Group::NEW; GROUPS],
            thin_line: Line::new(),
            bulk_line: Line::new(),
            round: 0,
            round_end: 0,
            backlog: Backlog { packets: 0, bytes: 0 },
            max_bytes,
            dropped: Chain::EMPTY,
        }
    }

    /// Takes a packet of this class.
    ///
    /// # Errors
    /// The slot comes back when what was dropped has not been taken with [`Ingress::poll_dropped`] and fills the queue.
    pub fn push(&mut self, slot: Slot, class: &Class, now: Instant) -> Result<(), Slot> {
        let is_thin = self.is_thin(class, now);
        let index = group_of(class.flow);
        let Some(group) = self.groups.get_mut(usize::from(index)) else { return Err(slot) };
        self.entries.append(&mut group.chain, slot, class, now)?;
        let len = u32::from(class.len);
        group.bytes = group.bytes.saturating_add(len);
        if is_thin {
            if group.thin.packets == 0 {
                // There is room, as in every line.
                let _ = self.thin_line.push_back(index);
            }
            group.thin.packets = group.thin.packets.saturating_add(1);
            group.thin.bytes = group.thin.bytes.saturating_add(len);
        } else if group.chain.len == 1 {
            self.join_bulk(index);
        }
        self.backlog.packets = self.backlog.packets.saturating_add(1);
        self.backlog.bytes = self.backlog.bytes.saturating_add(len);
        while self.is_over() {
            self.evict();
        }
        Ok(())
    }

    /// Whether a packet of this class, pushed now, would be thin and go before all bulk. It is, when
    ///
    /// - nothing but thin packets of its group waits, so that it overtakes none of its own flow;
    /// - it only acknowledges or opens a connection, or its group has sent little lately but small packets: those of a
    ///   transfer stay in order;
    /// - its group has credit for it. One round of the bulk line gives each group [`QUANTUM`] bytes, and between two turns
    ///   of a group at most one round ends: so bulk waits for at most 2 x [`GROUPS`] x [`QUANTUM`] bytes of thin packets
    ///   between its turns, half of it in the mean, and a group that floods with small packets becomes bulk itself.
    ///   Without bulk there is nothing to wait, and each push sees full credit.
    #[must_use]
    pub fn is_thin(&self, class: &Class, now: Instant) -> bool {
        let Some(group) = self.groups.get(usize::from(group_of(class.flow))) else { return false };
        group.lets_pass(class, self.round, !self.bulk_line.is_empty(), now)
    }

    /// What [`Ingress::pop`] gives next, unless it drops some of that group first.
    #[must_use]
    pub fn peek(&self) -> Option<Next> {
        let is_thin = !self.thin_line.is_empty();
        let index = self.thin_line.front().or_else(|| self.bulk_line.front())?;
        let group = self.groups.get(usize::from(*index))?;
        let (class, _) = self.entries.head(&group.chain, Instant::ORIGIN)?;
        Some(Next { class, is_thin })
    }

    /// Takes the next packet; None when none waits. `law` may differ from call to call, as the links' round trips do.
    pub fn pop(&mut self, law: &CodelLaw, now: Instant) -> Option<Popped> {
        match self.thin_line.pop_front() {
            Some(index) => self.pop_thin(index, now),
            None => self.pop_bulk(law, now),
        }
    }

    /// For how long the bulk packet that is next has waited.
    #[must_use]
    pub fn bulk_waited(&self, now: Instant) -> Duration {
        let group = self.bulk_line.front().and_then(|index| self.groups.get(usize::from(*index)));
        let head = group.and_then(|group| self.entries.head(&group.chain, now));
        head.map(|(_, waited)| waited).unwrap_or_default()
    }

    /// Groups with bulk.
    #[must_use]
    pub fn bulk_groups(&self) -> usize {
        self.bulk_line.len()
    }

    /// Lets the next group of bulk have its turn before the one whose turn it is, whose packet cannot leave yet. What
    /// that one may send in a round stays the same, and no round ends by it.
    pub fn pass_over(&mut self) {
        if let Some(index) = self.bulk_line.pop_front() {
            // There is room: it was in the line.
            let _ = self.bulk_line.push_back(index);
        }
    }

    /// The next packet that the queue dropped.
    pub fn poll_dropped(&mut self) -> Option<Slot> {
        self.entries.pop(&mut self.dropped)
    }

    /// Drops all that waits, and what is known of its flows.
    pub fn clear(&mut self) {
        for group in &mut self.groups {
            while group.chain.len != 0 {
                self.entries.move_head(&mut group.chain, &mut self.dropped);
            }
            *group = Group::NEW;
        }
        self.thin_line.clear();
        self.bulk_line.clear();
        self.backlog = Backlog::default();
    }

    /// Packets that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.backlog.packets as usize
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.backlog.packets == 0
    }

    /// Whether [`Ingress::push`] would hand the slot back.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn backlog_bytes(&self) -> u32 {
        self.backlog.bytes
    }

    /// What waits in the group of this flow.
    #[must_use]
    pub fn backlog_of(&self, flow: u32) -> Backlog {
        let group = self.groups.get(usize::from(group_of(flow)));
        group.map_or_else(Backlog::default, |group| Backlog { packets: group.chain.len, bytes: group.bytes })
    }

    /// The packet at the head of the group that was the first of the thin line. CoDel has no say: what is thin in a group
    /// is at most one largest packet, which RFC 8289 calls no queue.
    fn pop_thin(&mut self, index: u8, now: Instant) -> Option<Popped> {
        let is_contended = !self.bulk_line.is_empty();
        let group = self.groups.get_mut(usize::from(index))?;
        let (class, queued) = self.entries.head(&group.chain, now)?;
        let slot = self.entries.pop(&mut group.chain)?;
        group.refresh(self.round, is_contended);
        group.charge(&class, now);
        group.forget(&class);
        self.backlog.take(&class);
        if group.thin.packets != 0 {
            let _ = self.thin_line.push_back(index);
        } else if group.chain.len != 0 {
            self.join_bulk(index);
        }
        Some(Popped { slot, class, mark: false, is_thin: true, queued })
    }

    fn pop_bulk(&mut self, law: &CodelLaw, now: Instant) -> Option<Popped> {
        let index = *self.bulk_line.front()?;
        let group = self.groups.get_mut(usize::from(index))?;
        let (class, queued, mark) = loop {
            let (class, queued) = self.entries.head(&group.chain, now)?;
            let behind = group.bytes.saturating_sub(u32::from(class.len));
            let head = Head { queued, behind, is_markable: class.ecn.is_capable() };
            let verdict = group.codel.judge(head, law, now);
            group.forget(&class);
            self.backlog.take(&class);
            if verdict != Verdict::Drop {
                break (class, queued, verdict == Verdict::Mark);
            }
            self.entries.move_head(&mut group.chain, &mut self.dropped);
        };
        let slot = self.entries.pop(&mut group.chain)?;
        group.charge(&class, now);
        if group.chain.len == 0 {
            // What is left of its credit is left for this round.
            group.round = self.round;
            self.leave_bulk(index);
        } else if group.credit <= 0 {
            group.credit = group.credit.saturating_add(i32::from(QUANTUM));
            self.bulk_line.pop_front();
            let _ = self.bulk_line.push_back(index);
            if index == self.round_end {
                // It is the last again.
                self.round = self.round.wrapping_add(1);
            }
        }
        Some(Popped { slot, class, mark, is_thin: false, queued })
    }

    const fn is_over(&self) -> bool {
        let packets = self.backlog.packets as usize;
        packets >= CAPACITY || (self.backlog.bytes > self.max_bytes && packets > 1)
    }

    /// Drops the head of the group with most bytes.
    fn evict(&mut self) {
        let fattest = self.groups.iter_mut().zip(0..).max_by_key(|(group, _)| group.bytes);
        let Some((group, index)) = fattest else { return };
        let Some((class, _)) = self.entries.head(&group.chain, Instant::ORIGIN) else { return };
        self.entries.move_head(&mut group.chain, &mut self.dropped);
        let was_thin = group.forget(&class);
        self.backlog.take(&class);
        let (is_empty, is_thin) = (group.chain.len == 0, group.thin.packets != 0);
        if was_thin && !is_thin {
            remove(&mut self.thin_line, index);
            if !is_empty {
                self.join_bulk(index);
            }
        } else if is_empty && !was_thin {
            self.leave_bulk(index);
        }
    }

    /// Puts a group at the end of the bulk line, with credit for its turn.
    fn join_bulk(&mut self, index: u8) {
        if self.bulk_line.is_empty() {
            self.round = self.round.wrapping_add(1);
            self.round_end = index;
        }
        if let Some(group) = self.groups.get_mut(usize::from(index)) {
            group.refresh(self.round, true);
            if group.credit <= 0 {
                group.credit = group.credit.saturating_add(i32::from(QUANTUM));
            }
        }
        let _ = self.bulk_line.push_back(index);
    }

    /// Takes a group out of the bulk line: when its turn has emptied it, or, from anywhere, an eviction.
    fn leave_bulk(&mut self, index: u8) {
        let had_turn = self.bulk_line.front() == Some(&index);
        remove(&mut self.bulk_line, index);
        if index == self.round_end {
            if had_turn {
                self.round = self.round.wrapping_add(1);
            }
            self.round_end = self.bulk_line.back().copied().unwrap_or(index);
        }
    }
}

/// Takes `index` out of `line`, whose order stays.
fn remove(line: &mut Line, index: u8) {
    if line.front() == Some(&index) {
        line.pop_front();
        return;
    }
    for _ in 0..line.len() {
        if let Some(other) = line.pop_front().filter(|other| *other != index) {
            let _ = line.push_back(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::memory::pool::Pool;
    use crate::words::class::Kind;
    use crate::words::ecn::Ecn;
    use crate::words::ids::LinkId;

    extern crate std;

    /// Lets queues stand for as long as the tests like.
    const PATIENT: CodelLaw = CodelLaw { interval: Duration::from_secs(1_000), target: Duration::from_secs(1_000) };

    fn class(flow: u32, len: u16) -> Class {
        Class {
            flow,
            ports: Some((1, 2)),
            len,
            protocol: Some(17),
            dscp: 46,
            ecn: Ecn::NotEct,
            kind: Kind::Other,
            ordered: true,
            is_urgent: false,
            link: None,
        }
    }

    fn millis(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    struct Bench<const CAPACITY: usize> {
        pool: Pool<64>,
        queue: Ingress<CAPACITY>,
    }

    impl<const CAPACITY: usize> Bench<CAPACITY> {
        fn new(max_bytes: u32) -> Self {
            Self { pool: Pool::new(), queue: Ingress::new(max_bytes) }
        }

        fn push(&mut self, class: &Class, now: Instant) {
            let slot = self.pool.take().unwrap();
            self.queue.push(slot, class, now).unwrap();
        }

        fn pop(&mut self, now: Instant) -> Option<Popped> {
            self.queue.pop(&PATIENT, now)
        }

        /// Pops and puts back: the packet's flow and length, and whether it was thin.
        fn pass(&mut self, now: Instant) -> Option<(u32, u16, bool)> {
            let popped = self.pop(now)?;
            self.pool.put(popped.slot);
            Some((popped.class.flow, popped.class.len, popped.is_thin))
        }

        fn dropped(&mut self) -> usize {
            core::iter::from_fn(|| self.queue.poll_dropped()).map(|slot| self.pool.put(slot)).count()
        }

        /// Sends enough that the group of `flow` is known to carry a transfer.
        fn make_bulk(&mut self, flow: u32, now: Instant) {
            for _ in 0..3 {
                self.push(&class(flow, 1_500), now);
                self.pass(now);
            }
        }
    }

    #[test]
    fn a_flow_of_large_and_a_flow_of_small_packets_send_the_same_bytes() {
        let mut bench = Bench::<48>::new(u32::MAX);
        let (large, small) = (class(1, 1_500), class(2, 100));
        bench.make_bulk(1, Instant::ORIGIN);
        bench.make_bulk(2, Instant::ORIGIN);
        let mut sent = [0_u32; 2];
        for _ in 0..3_000 {
            while bench.queue.backlog_of(1).packets < 3 {
                bench.push(&large, Instant::ORIGIN);
            }
            while bench.queue.backlog_of(2).packets < 40 {
                bench.push(&small, Instant::ORIGIN);
            }
            let (flow, len, is_thin) = bench.pass(Instant::ORIGIN).unwrap();
            assert!(!is_thin);
            sent[flow as usize - 1] += u32::from(len);
        }
        assert!(sent[0] > 200_000 && sent[0].abs_diff(sent[1]) <= 2 * u32::from(QUANTUM), "{sent:?}");
    }

    #[test]
    fn small_and_first_packets_go_before_bulk_and_those_of_a_transfer_do_not() {
        let mut bench = Bench::<32>::new(u32::MAX);
        let now = Instant::ORIGIN;
        bench.make_bulk(1, now);
        for _ in 0..5 {
            bench.push(&class(1, 1_500), now);
        }
        // Voice; the beginning of another exchange; of the transfer neither its last, short segment nor an
        // acknowledgement, which its own data waits in front of.
        let ack = Class { kind: Kind::BareAck, ..class(1, 52) };
        for class in [&class(2, 200), &class(3, 1_500), &class(1, 80), &ack] {
            assert_eq!(bench.queue.is_thin(class, now), class.flow != 1);
            bench.push(class, now);
        }
        assert_eq!(bench.queue.peek(), Some(Next { class: class(2, 200), is_thin: true }));
        assert_eq!(bench.pass(now), Some((2, 200, true)));
        assert_eq!(bench.pass(now), Some((3, 1_500, true)));
        for _ in 0..5 {
            assert_eq!(bench.pass(now), Some((1, 1_500, false)));
        }
        assert_eq!((bench.pass(now), bench.pass(now)), (Some((1, 80, false)), Some((1, 52, false))));
        // Now none of its data waits, so that an acknowledgement overtakes nothing; a short segment might, on its way.
        assert!(bench.queue.is_thin(&ack, now) && !bench.queue.is_thin(&class(1, 80), now));
        let later = now + Duration::from_micros(500_001);
        assert!(bench.queue.is_thin(&class(1, 80), later) && bench.queue.is_thin(&class(1, 1_500), later));
    }

    #[test]
    fn a_flood_of_small_packets_becomes_bulk_after_its_share_of_a_round() {
        let mut bench = Bench::<60>::new(u32::MAX);
        let now = Instant::ORIGIN;
        bench.make_bulk(1, now);
        for _ in 0..20 {
            bench.push(&class(1, 1_500), now);
        }
        let (mut thin, mut bulk) = (0, 0);
        for _ in 0..20 * 15 {
            while bench.queue.backlog_of(2).packets < 3 {
                bench.push(&class(2, 100), now);
            }
            let (flow, len, _) = bench.pass(now).unwrap();
            *if flow == 1 { &mut bulk } else { &mut thin } += u32::from(len);
        }
        assert!(thin.abs_diff(bulk) <= 3 * u32::from(QUANTUM), "{thin} of the flood, {bulk} of the transfer");
    }

    #[test]
    fn without_bulk_small_packets_stay_thin_however_many() {
        let mut bench = Bench::<8>::new(u32::MAX);
        for _ in 0..1_000 {
            bench.push(&class(2, 200), Instant::ORIGIN);
            assert_eq!(bench.pass(Instant::ORIGIN), Some((2, 200, true)));
        }
    }

    #[test]
    fn when_all_is_too_large_the_oldest_of_the_fattest_group_goes() {
        let mut bench = Bench::<8>::new(6_000);
        let now = Instant::ORIGIN;
        bench.make_bulk(1, now);
        bench.make_bulk(2, now);
        for len in [1_000, 1_400, 1_300] {
            bench.push(&class(1, len), now);
        }
        bench.push(&class(2, 1_400), now);
        assert_eq!((bench.queue.backlog_bytes(), bench.dropped()), (5_100, 0));
        bench.push(&class(2, 1_401), now);
        assert_eq!((bench.queue.backlog_bytes(), bench.dropped()), (5_501, 1));
        assert_eq!(bench.queue.backlog_of(1), Backlog { packets: 2, bytes: 2_700 });
        // By number: the eighth place is for the packet that makes another go.
        for _ in 0..4 {
            bench.push(&class(3, 60), now);
        }
        assert_eq!((bench.queue.len(), bench.dropped()), (7, 1));
        assert_eq!(bench.queue.backlog_of(2).packets, 1, "the fattest of now");
        let rest: Vec<_> = core::iter::from_fn(|| bench.pass(now)).map(|(flow, len, _)| (flow, len)).collect();
        assert_eq!(rest, [(3, 60), (3, 60), (3, 60), (3, 60), (1, 1_400), (1, 1_300), (2, 1_401)]);
    }

    #[test]
    fn what_was_dropped_and_not_taken_makes_the_queue_hand_packets_back() {
        let mut bench = Bench::<4>::new(u32::MAX);
        for _ in 0..4 {
            bench.push(&class(1, 100), Instant::ORIGIN);
        }
        assert!(bench.queue.is_full() && bench.queue.len() == 3);
        let slot = bench.pool.take().unwrap();
        let back = bench.queue.push(slot, &class(1, 100), Instant::ORIGIN).unwrap_err();
        bench.pool.put(back);
        assert_eq!(bench.dropped(), 1);
        bench.push(&class(1, 100), Instant::ORIGIN);
        bench.queue.clear();
        assert_eq!((bench.dropped(), bench.queue.len(), bench.queue.backlog_bytes()), (4, 0, 0));
        assert_eq!((bench.pool.available(), bench.queue.peek(), bench.pass(millis(1))), (64, None, None));
    }

    #[test]
    fn a_class_comes_out_as_it_went_in_with_the_time_it_waited() {
        let mut bench = Bench::<8>::new(u32::MAX);
        for kind in [Kind::Other, Kind::BareAck, Kind::Opening, Kind::Closing] {
            for (ports, protocol, ecn, ordered) in
                [(None, None, Ecn::NotEct, false), (Some((0, 0xffff)), Some(255), Ecn::Ect1, true)]
            {
                let is_urgent = !ordered;
                let link = (!ordered).then_some(LinkId::new(255));
                let class =
                    Class { flow: 0xdead_beef, ports, len: 1, protocol, dscp: 63, ecn, kind, ordered, is_urgent, link };
                bench.push(&class, millis(1_000_000));
                let popped = bench.pop(millis(1_000_007)).unwrap();
                assert_eq!(popped.class, class);
                assert!(popped.queued.micros().abs_diff(7_000) < 16, "{:?}", popped.queued);
                bench.pool.put(popped.slot);
            }
        }
    }

    #[test]
    fn the_law_follows_the_round_trip_between_its_bounds() {
        let law = |millis| {
            let law = CodelLaw::for_round_trip(Duration::from_millis(millis));
            (law.interval.millis(), law.target.millis())
        };
        assert_eq!(
            [law(0), law(180), law(300), law(600), law(10_000)],
            [(500, 60), (500, 60), (500, 60), (930, 93), (1_000, 100)]
        );
    }
}

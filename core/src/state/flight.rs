// SPDX-License-Identifier: BSD-2-Clause
//! Packets that were sent and are not yet known to have arrived: kept, so that a lost one can be sent again.

use crate::memory::control::Report;
use crate::memory::pool::{Pool, Slot};
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

/// A packet older than this is not sent again: TCP has its own copy on the way by then, and nobody else still wants it.
pub const OLDEST_RESEND: Duration = Duration::from_millis(400);

/// A packet is sent so often in all: what was lost twice meets a link that carries nothing.
pub const MOST_SENDS: u8 = 3;

/// No entry.
const NOWHERE: u16 = u16::MAX;

/// What is remembered of a packet sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The link it went over.
    pub link: u8,
    /// Its ordering domain; 0 for none.
    pub domain: u8,
    /// The low 8 bits of the peer's name of the session.
    pub session: u8,
    /// How often it was sent.
    pub sends: u8,
    /// Bytes of the datagram.
    pub len: u16,
    /// The low 32 bits of its counter on the link.
    pub counter: u32,
    /// The low 24 bits of its order number.
    pub order_low: u32,
    /// When it was sent first.
    pub first_at: Instant,
    /// When it was sent last.
    pub at: Instant,
    /// It was on a link that failed, so that sending it again is no sign of loss.
    pub is_rescued: bool,
}

#[derive(Debug)]
struct Entry {
    slot: Option<Slot>,
    sent: Sent,
    earlier: u16,
    later: u16,
}

/// The ends of a list of entries.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    last: u16,
    len: u16,
}

impl List {
    const EMPTY: Self = Self { first: NOWHERE, last: NOWHERE, len: 0 };
}

/// What a report settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Packets that arrived.
    pub arrived: u32,
    /// Packets that did not.
    pub lost: u32,
    /// Bytes of the largest datagram that arrived.
    pub largest: u16,
}

/// Up to `KEPT` packets on `LINKS` links. Every packet is on one list: of its link, in the order of sending, or of those
/// to be sent again. When all entries are taken, the oldest of the same link is forgotten, not repaired.
#[derive(Debug)]
pub struct Flight<const LINKS: usize, const KEPT: usize> {
    entries: [Entry; KEPT],
    /// Entries never used begin here; those that came back are on `free`.
    fresh: u16,
    free: u16,
    flying: [List; LINKS],
    /// No link from this number on ever kept a packet.
    span: usize,
    lost: List,
}

impl<const LINKS: usize, const KEPT: usize> Flight<LINKS, KEPT> {
    /// Nothing was sent yet.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(KEPT < NOWHERE as usize && KEPT >= 1) };
        const EMPTY: Entry = Entry {
            slot: None,
            sent: Sent {
                link: 0,
                domain: 0,
                session: 0,
                sends: 0,
                len: 0,
                counter: 0,
                order_low: 0,
                first_at: Instant::ORIGIN,
                at: Instant::ORIGIN,
                is_rescued: false,
            },
            earlier: NOWHERE,
            later: NOWHERE,
        };
        Self {
            entries: [const { EMPTY }; KEPT],
            fresh: 0,
            free: NOWHERE,
            flying: [List::EMPTY; LINKS],
            span: 0,
            lost: List::EMPTY,
        }
    }

    /// Keeps a packet that was just sent. What had to be forgotten for it, if anything, goes back to the pool.
    pub fn keep<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, sent: Sent) {
        let link = usize::from(sent.link);
        let Some(index) = self.take_free().or_else(|| self.forget_oldest(pool, link)) else { return pool.put(slot) };
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            (entry.slot, entry.sent) = (Some(slot), sent);
        }
        if let Some(list) = self.flying.get(link).copied() {
            let list = self.append(list, index);
            self.put_list(Some(link), list);
            self.span = self.span.max(link.saturating_add(1));
        }
    }

    /// Acts on what a receiver says of a link. Packets that are lost, and may be sent again, are next from
    /// [`Flight::take_lost`]. Work: one step per packet the report settles, and one per packet before these.
    pub fn settle<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, report: &Report, now: Instant) -> Settled {
        let link = usize::from(report.link);
        let mut settled = Settled::default();
        let mut gaps = GapReader::new(report);
        let list = self.flying.get(link).copied().unwrap_or(List::EMPTY);
        let newest = self.entries.get(usize::from(list.last)).map(|entry| entry.sent.session);
        let mut index = list.first;
        while let Some(entry) = self.entries.get(usize::from(index)) {
            let (sent, next) = (entry.sent, entry.later);
            let place = sent.counter.wrapping_sub(report.from);
            if sent.session != report.session {
                if newest != Some(report.session) {
                    // The report is a late one of the session before, and this packet is of the one that followed.
                    break;
                }
                // Keys were renewed: nothing will be said of it any more.
                self.free(pool, index, Some(link));
            } else if place < u32::from(report.span) {
                if gaps.is_missing(place) {
                    settled.lost = settled.lost.saturating_add(1);
                    self.lose(pool, index, now);
                } else {
                    settled.arrived = settled.arrived.saturating_add(1);
                    settled.largest = settled.largest.max(sent.len);
                    self.free(pool, index, Some(link));
                }
            } else if place < u32::MAX >> 1 {
                break;
            }
            index = next;
        }
        settled
    }

    /// The link carries nothing any more: what was sent on it is to be sent again.
    pub fn fail<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, link: LinkId, now: Instant) {
        while let Some(list) = self.flying.get(link.index())
            && let Some(entry) = self.entries.get_mut(usize::from(list.first))
        {
            entry.sent.is_rescued = true;
            let index = list.first;
            self.lose(pool, index, now);
        }
    }

    /// Forgets packets sent before `before` of which nothing was said, or which no link took again. Work: one step per
    /// packet forgotten.
    pub fn expire<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, before: Instant) {
        for link in 0..LINKS {
            while self.oldest(LinkId::new(link)).is_some_and(|sent| sent.at < before) {
                let first = self.flying.get(link).map_or(NOWHERE, |list| list.first);
                self.free(pool, first, Some(link));
            }
        }
        while self.next_lost().is_some_and(|sent| sent.at < before) {
            self.free(pool, self.lost.first, None);
        }
    }

    /// Forgets one packet to make room: the oldest of the link that keeps the most, else the one that is to be sent again
    /// first. False when nothing is kept.
    pub fn forget_one<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) -> bool {
        let used = self.flying.iter().take(self.span).enumerate();
        let longest = used.max_by_key(|(_, list)| list.len).map(|(link, _)| link);
        let first = longest.and_then(|link| Some((link, self.flying.get(link)?.first)));
        match first.filter(|(_, first)| *first != NOWHERE) {
            Some((link, first)) => self.free(pool, first, Some(link)),
            None if self.has_lost() => self.free(pool, self.lost.first, None),
            None => return false,
        }
        true
    }

    /// The packet that was sent longest ago on a link and of which nothing was said.
    #[must_use]
    pub fn oldest(&self, link: LinkId) -> Option<&Sent> {
        let first = self.flying.get(link.index())?.first;
        Some(&self.entries.get(usize::from(first))?.sent)
    }

    /// Whether a packet is to be sent again.
    #[must_use]
    pub const fn has_lost(&self) -> bool {
        self.lost.len > 0
    }

    /// The next packet to send again.
    #[must_use]
    pub fn next_lost(&self) -> Option<&Sent> {
        Some(&self.entries.get(usize::from(self.lost.first))?.sent)
    }

    /// Takes the next packet to send again.
    pub fn take_lost(&mut self) -> Option<(Slot, Sent)> {
        let index = self.lost.first;
        let sent = self.entries.get(usize::from(index))?.sent;
        let slot = self.release(index, None)?;
        Some((slot, sent))
    }

    /// Packets of a link that are not settled.
    #[must_use]
    pub fn flying(&self, link: LinkId) -> u16 {
        self.flying.get(link.index()).map_or(0, |list| list.len)
    }

    /// Packets kept: those on their way, and those to be sent again.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.flying.iter().chain([&self.lost]).map(|list| usize::from(list.len)).sum()
    }

    /// Gives every packet back.
    pub fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        while self.forget_one(pool) {}
    }

    /// Moves an entry from its link to those to be sent again, unless that is of no use any more.
    fn lose<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, index: u16, now: Instant) {
        let Some(entry) = self.entries.get(usize::from(index)) else { return };
        let sent = entry.sent;
        if sent.sends >= MOST_SENDS || now.since(sent.first_at) > OLDEST_RESEND {
            return self.free(pool, index, Some(sent.link.into()));
        }
        self.unlink(index, Some(sent.link.into()));
        self.lost = self.append(self.lost, index);
    }

    fn free<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, index: u16, link: Option<usize>) {
        if let Some(slot) = self.release(index, link) {
            pool.put(slot);
        }
    }

    /// Takes an entry off its list and frees it.
    fn release(&mut self, index: u16, link: Option<usize>) -> Option<Slot> {
        self.unlink(index, link);
        let free = self.free;
        let entry = self.entries.get_mut(usize::from(index))?;
        entry.later = free;
        self.free = index;
        entry.slot.take()
    }

    fn take_free(&mut self) -> Option<u16> {
        if let Some(entry) = self.entries.get(usize::from(self.free)) {
            return Some(core::mem::replace(&mut self.free, entry.later));
        }
        let fresh = self.fresh;
        self.entries.get(usize::from(fresh))?;
        self.fresh = fresh.saturating_add(1);
        Some(fresh)
    }

    /// An entry of the link's own, or of the fullest one.
    fn forget_oldest<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, link: usize) -> Option<u16> {
        match self.flying.get(link).map(|list| list.first).filter(|first| *first != NOWHERE) {
            Some(first) => self.free(pool, first, Some(link)),
            None => {
                self.forget_one(pool);
            }
        }
        self.take_free()
    }

    fn unlink(&mut self, index: u16, link: Option<usize>) {
        let Some(entry) = self.entries.get(usize::from(index)) else { return };
        let (earlier, later) = (entry.earlier, entry.later);
        let Some(mut list) = self.list(link) else { return };
        match self.entries.get_mut(usize::from(earlier)) {
            Some(entry) => entry.later = later,
            None => list.first = later,
        }
        match self.entries.get_mut(usize::from(later)) {
            Some(entry) => entry.earlier = earlier,
            None => list.last = earlier,
        }
        list.len = list.len.saturating_sub(1);
        self.put_list(link, list);
    }

    /// The list with the entry behind all others.
    fn append(&mut self, list: List, index: u16) -> List {
        if let Some(last) = self.entries.get_mut(usize::from(list.last)) {
            last.later = index;
        }
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            (entry.earlier, entry.later) = (list.last, NOWHERE);
        }
        let first = if list.first == NOWHERE { index } else { list.first };
        List { first, last: index, len: list.len.saturating_add(1) }
    }

    fn list(&self, link: Option<usize>) -> Option<List> {
        link.map_or(Some(self.lost), |link| self.flying.get(link).copied())
    }

    fn put_list(&mut self, link: Option<usize>, list: List) {
        match link {
            None => self.lost = list,
            Some(link) => {
                if let Some(place) = self.flying.get_mut(link) {
                    *place = list;
                }
            }
        }
    }
}

impl<const LINKS: usize, const KEPT: usize> Default for Flight<LINKS, KEPT> {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads a report's gaps in rising order of places.
struct GapReader<'a> {
    gaps: core::slice::Iter<'a, crate::memory::control::Gap>,
    /// The current gap's first place, and the one behind it.
    start: u32,
    end: u32,
}

impl<'a> GapReader<'a> {
    fn new(report: &'a Report) -> Self {
        Self { gaps: report.gaps.iter(), start: 0, end: 0 }
    }

    /// Whether a place is in a gap. Places must be asked in rising order.
    fn is_missing(&mut self, place: u32) -> bool {
        while place >= self.end {
            let Some(gap) = self.gaps.next() else { return false };
            self.start = self.end.saturating_add(gap.after.into());
            self.end = self.start.saturating_add(gap.len.into());
        }
        place >= self.start
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::memory::control::Gap;

    const SLOTS: usize = 16;

    struct Bench {
        flight: Flight<2, 8>,
        pool: Pool<SLOTS>,
    }

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn report(from: u32, span: u16, gaps: &[(u16, u16)]) -> Report {
        let gaps = gaps.iter().map(|(after, len)| Gap { after: *after, len: *len }).collect();
        Report { session: 1, from, span, gaps, ..Report::default() }
    }

    impl Bench {
        fn new() -> Self {
            Self { flight: Flight::new(), pool: Pool::new() }
        }

        fn sent(mut self, link: u8, counters: impl IntoIterator<Item = u32>) -> Self {
            counters.into_iter().for_each(|counter| self.send(link, 1, counter));
            self
        }

        fn send(&mut self, link: u8, session: u8, counter: u32) {
            let slot = self.pool.take().unwrap();
            let sent = Sent { link, session, counter, sends: 1, first_at: at(1), at: at(1), ..Sent::default() };
            self.flight.keep(&mut self.pool, slot, sent);
        }

        /// Counts of a report's arrived and lost.
        fn hear(&mut self, report: &Report) -> (u32, u32) {
            let settled = self.flight.settle(&mut self.pool, report, at(2));
            (settled.arrived, settled.lost)
        }

        fn lost(&mut self) -> Vec<u32> {
            let lost = core::iter::from_fn(|| self.flight.take_lost());
            let lost: Vec<_> = lost.collect();
            lost.into_iter()
                .map(|(slot, sent)| {
                    self.pool.put(slot);
                    sent.counter
                })
                .collect()
        }

        fn in_use(&self) -> usize {
            SLOTS - self.pool.available()
        }
    }

    #[test]
    fn a_report_settles_what_arrived_and_gives_back_what_did_not() {
        let mut bench = Bench::new().sent(0, 10..17);
        assert_eq!(bench.hear(&report(9, 7, &[(2, 1), (1, 2)])), (3, 3));
        assert_eq!(bench.lost(), [11, 13, 14]);
        assert_eq!((bench.flight.kept(), bench.in_use()), (1, 1));
        // The same again settles nothing.
        assert_eq!(bench.hear(&report(9, 7, &[(2, 1), (1, 2)])), (0, 0));
        assert_eq!(bench.hear(&report(16, 1, &[])), (1, 0));
        assert_eq!(bench.in_use(), 0);
    }

    #[test]
    fn counters_pass_the_end_of_their_32_bits() {
        let mut bench = Bench::new().sent(0, (0..6).map(|step: u32| step.wrapping_sub(3)));
        assert_eq!(bench.hear(&report(u32::MAX - 2, 5, &[(2, 2)])), (3, 2));
        assert_eq!(bench.lost(), [u32::MAX, 0]);
        assert_eq!(bench.flight.oldest(LinkId::new(0)).unwrap().counter, 2);
    }

    #[test]
    fn a_report_of_another_link_or_of_none_settles_nothing() {
        let mut bench = Bench::new().sent(1, 0..3);
        for link in [0, 2, 255] {
            assert_eq!(bench.hear(&Report { link, ..report(0, 3, &[]) }), (0, 0));
        }
        assert_eq!(bench.flight.flying(LinkId::new(1)), 3);
    }

    #[test]
    fn what_is_left_of_the_session_before_is_forgotten_and_a_late_report_of_it_forgets_nothing_new() {
        let mut bench = Bench::new().sent(0, 100..102);
        bench.send(0, 2, 0);
        bench.send(0, 2, 1);
        // Late, of the first session: its first packet arrived.
        assert_eq!(bench.hear(&report(100, 1, &[])), (1, 0));
        assert_eq!(bench.flight.kept(), 3);
        assert_eq!(bench.hear(&Report { session: 2, ..report(0, 1, &[]) }), (1, 0));
        assert_eq!((bench.flight.kept(), bench.in_use()), (1, 1));
        assert!(bench.lost().is_empty());
    }

    #[test]
    fn all_of_a_link_that_failed_is_to_be_sent_again_and_is_no_sign_of_loss() {
        let mut bench = Bench::new().sent(0, 0..3).sent(1, 7..8);
        bench.flight.fail(&mut bench.pool, LinkId::new(0), at(2));
        assert!(bench.flight.next_lost().unwrap().is_rescued);
        assert_eq!(bench.lost(), [0, 1, 2]);
        assert_eq!(bench.flight.flying(LinkId::new(1)), 1);
    }

    #[test]
    fn what_was_sent_often_enough_or_is_old_is_not_sent_again() {
        let mut bench = Bench::new();
        for (sends, first_at) in [(MOST_SENDS, at(999)), (1, at(1))] {
            let slot = bench.pool.take().unwrap();
            bench.flight.keep(&mut bench.pool, slot, Sent { sends, first_at, at: at(999), ..Sent::default() });
        }
        bench.flight.fail(&mut bench.pool, LinkId::new(0), at(2) + OLDEST_RESEND);
        assert_eq!((bench.flight.has_lost(), bench.in_use()), (false, 0));
    }

    #[test]
    fn what_nothing_is_said_of_expires_also_when_no_link_takes_it_again() {
        let mut bench = Bench::new().sent(0, 0..2).sent(1, 0..2);
        bench.flight.fail(&mut bench.pool, LinkId::new(0), at(2));
        bench.flight.expire(&mut bench.pool, at(1));
        assert_eq!(bench.flight.kept(), 4);
        bench.flight.expire(&mut bench.pool, at(2));
        assert_eq!((bench.flight.kept(), bench.in_use()), (0, 0));
    }

    #[test]
    fn a_full_flight_forgets_the_oldest_of_the_same_link_else_of_the_fullest() {
        let mut bench = Bench::new().sent(0, 0..8).sent(0, 8..9);
        assert_eq!(bench.flight.oldest(LinkId::new(0)).unwrap().counter, 1);
        bench.send(1, 1, 0);
        assert_eq!(bench.flight.oldest(LinkId::new(0)).unwrap().counter, 2);
        assert_eq!((bench.flight.kept(), bench.in_use()), (8, 8));
        // When all that is kept is to be sent again, a new packet is not kept.
        bench.flight.fail(&mut bench.pool, LinkId::new(0), at(2));
        bench.flight.fail(&mut bench.pool, LinkId::new(1), at(2));
        bench.send(1, 1, 1);
        assert_eq!((bench.flight.kept(), bench.in_use()), (8, 8));
        assert!(bench.flight.forget_one(&mut bench.pool));
        bench.flight.clear(&mut bench.pool);
        assert_eq!((bench.flight.kept(), bench.in_use()), (0, 0));
        assert!(!bench.flight.forget_one(&mut bench.pool));
    }
}

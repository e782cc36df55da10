// SPDX-License-Identifier: BSD-2-Clause
//! What a sender has sent and not seen acknowledged. All segments are of one size, so each has an index.

use std::collections::{BTreeSet, VecDeque};

use mlvpn_core::words::time::{Duration, Instant};

/// One segment that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was sent last.
    pub at: Instant,
    /// How often it was sent.
    pub times: u32,
    /// It arrived, though something before it did not.
    pub is_sacked: bool,
    /// Taken for lost.
    pub is_lost: bool,
    /// Sent again since it was taken for lost, or as a probe, and not taken for lost since.
    pub is_resent: bool,
    /// The sender's counts when it was sent: what a delivery rate is computed from.
    pub stamp: Stamp,
}

/// A sender's delivery state when a segment left (draft-cheng-iccrg-delivery-rate-estimation, as in Linux).
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Segments delivered before.
    pub delivered: u64,
    /// When the last of those was.
    pub delivered_at: Instant,
    /// When the segment was sent that was delivered last.
    pub first_sent_at: Instant,
    /// The application had no more to send.
    pub is_app_limited: bool,
}

/// What one acknowledgement delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    /// Segments delivered.
    pub segments: u64,
    /// Of these, those below the new left edge.
    pub acknowledged: u64,
    /// Age of the oldest segment delivered that was sent once.
    pub first_rtt: Option<Duration>,
    /// Age of the newest one.
    pub last_rtt: Option<Duration>,
    /// The segment sent last of those delivered: index, and what is known of it.
    pub newest: Option<(u64, Sent)>,
    /// A segment sent once arrived below one that had arrived before: the network reorders.
    pub is_reordered: bool,
    /// A segment was delivered that was sent only once.
    pub has_original: bool,
    /// Segments delivered since the connection began.
    pub total: u64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Scoreboard {
    first: u64,
    sent: VecDeque<Sent>,
    sacked: u64,
    lost: u64,
    resent: u64,
    to_resend: BTreeSet<u64>,
    /// In the order of sending; entries outdated by acknowledgement or a second sending stay until they are met.
    by_time: VecDeque<(u64, Instant)>,
    /// One beyond the highest segment that arrived.
    highest: u64,
    /// Segments delivered in all.
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
}

impl Scoreboard {
    /// The oldest segment not acknowledged.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The segment to be sent next for the first time.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    /// Segments sent and not acknowledged.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Segments thought to be on their way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        (self.outstanding() + self.resent).saturating_sub(self.sacked + self.lost)
    }

    /// Segments that arrived out of order.
    #[must_use]
    pub const fn sacked(&self) -> u64 {
        self.sacked
    }

    /// Segments taken for lost.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Segments that are on their way again.
    #[must_use]
    pub const fn resent(&self) -> u64 {
        self.resent
    }

    /// Segments that arrived since the connection began.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The lowest segment that is to be sent again.
    #[must_use]
    pub fn next_resend(&self) -> Option<u64> {
        self.to_resend.first().copied()
    }

    /// A segment.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&Sent> {
        self.sent.get(self.place(index)?)
    }

    /// Notes that the next new segment leaves.
    pub fn send(&mut self, now: Instant, is_app_limited: bool) -> u64 {
        let index = self.next();
        let stamp = self.stamp(now, is_app_limited);
        self.sent.push_back(Sent { at: now, times: 1, is_sacked: false, is_lost: false, is_resent: false, stamp });
        self.by_time.push_back((index, now));
        index
    }

    /// Notes that a segment leaves again.
    pub fn resend(&mut self, index: u64, now: Instant) {
        self.to_resend.remove(&index);
        let stamp = self.stamp(now, false);
        let Some(sent) = self.place(index).and_then(|place| self.sent.get_mut(place)) else { return };
        (sent.at, sent.stamp) = (now, stamp);
        sent.times += 1;
        self.resent += u64::from(!sent.is_resent);
        sent.is_resent = true;
        self.by_time.push_back((index, now));
    }

    /// Takes a segment for lost; false when it was, or has arrived.
    pub fn lose(&mut self, index: u64) -> bool {
        let Some(sent) = self.place(index).and_then(|place| self.sent.get_mut(place)) else { return false };
        if sent.is_sacked || (sent.is_lost && !sent.is_resent) {
            return false;
        }
        self.resent -= u64::from(sent.is_resent);
        self.lost += u64::from(!sent.is_lost);
        (sent.is_lost, sent.is_resent) = (true, false);
        self.to_resend.insert(index);
        true
    }

    /// Takes everything that has not arrived for lost.
    pub fn lose_all(&mut self) {
        for index in self.first..self.next() {
            self.lose(index);
        }
    }

    /// Nothing was lost after all.
    pub fn unlose(&mut self) {
        self.to_resend.clear();
        self.lost = 0;
        for sent in &mut self.sent {
            sent.is_lost = false;
        }
        // Entries of lost segments may be gone.
        let unarrived = (self.first..).zip(&self.sent).filter(|(_, sent)| !sent.is_sacked);
        let mut by_time: Vec<(u64, Instant)> = unarrived.map(|(index, sent)| (index, sent.at)).collect();
        by_time.sort_by_key(|(index, at)| (*at, *index));
        self.by_time = by_time.into();
    }

    /// A segment arrived.
    pub fn sack(&mut self, index: u64, now: Instant, delivery: &mut Delivery) {
        if self.arrive(index, now, delivery)
            && let Some(sent) = self.place(index).and_then(|place| self.sent.get_mut(place))
        {
            sent.is_sacked = true;
            self.sacked += 1;
        }
    }

    /// Everything below `index` arrived.
    pub fn acknowledge(&mut self, index: u64, now: Instant, delivery: &mut Delivery) {
        for index in self.first..index.min(self.next()) {
            self.arrive(index, now, delivery);
            if self.sent.pop_front().is_some_and(|sent| sent.is_sacked) {
                self.sacked -= 1;
            }
            self.first = index + 1;
            delivery.acknowledged += 1;
        }
        while self.by_time.front().is_some_and(|entry| self.is_outdated(*entry)) {
            self.by_time.pop_front();
        }
    }

    /// What is on its way, in the order of sending, until `visit` returns false.
    pub fn visit_by_time(&self, mut visit: impl FnMut(u64, &Sent) -> bool) {
        for entry in &self.by_time {
            if let Some(sent) = self.get(entry.0)
                && !self.is_outdated(*entry)
                && !visit(entry.0, sent)
            {
                return;
            }
        }
    }

    fn is_outdated(&self, (index, at): (u64, Instant)) -> bool {
        self.get(index).is_none_or(|sent| sent.at != at || sent.is_sacked || (sent.is_lost && !sent.is_resent))
    }

    fn stamp(&mut self, now: Instant, is_app_limited: bool) -> Stamp {
        if self.sent.is_empty() {
            (self.delivered_at, self.first_sent_at) = (now, now);
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            is_app_limited,
        }
    }

    /// Counts a segment that had not arrived yet; false when it had.
    fn arrive(&mut self, index: u64, now: Instant, delivery: &mut Delivery) -> bool {
        let Some(place) = self.place(index) else { return false };
        let Some(sent) = self.sent.get_mut(place).filter(|sent| !sent.is_sacked) else { return false };
        let copy = *sent;
        (sent.is_lost, sent.is_resent) = (false, false);
        self.lost -= u64::from(copy.is_lost);
        self.resent -= u64::from(copy.is_resent);
        if copy.is_lost {
            self.to_resend.remove(&index);
        }
        if copy.times == 1 {
            let age = now.since(copy.at);
            delivery.first_rtt = delivery.first_rtt.max(Some(age));
            delivery.last_rtt = Some(delivery.last_rtt.map_or(age, |last| last.min(age)));
            delivery.is_reordered |= index < self.highest;
            delivery.has_original = true;
        }
        if delivery.newest.is_none_or(|(other, newest)| (copy.at, index) > (newest.at, other)) {
            delivery.newest = Some((index, copy));
        }
        self.highest = self.highest.max(index + 1);
        self.delivered += 1;
        (delivery.segments, delivery.total) = (delivery.segments + 1, self.delivered);
        (self.delivered_at, self.first_sent_at) = (now, self.first_sent_at.max(copy.at));
        true
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_no_longer_in_flight_and_counts_once() {
        let mut board = Scoreboard::default();
        let now = Instant::from_micros(1_000);
        for _ in 0..10 {
            board.send(Instant::ORIGIN, false);
        }
        let mut delivery = Delivery::default();
        board.sack(5, now, &mut delivery);
        board.sack(5, now, &mut delivery);
        assert!(board.lose(0) && !board.lose(5));
        assert_eq!((board.in_flight(), delivery.segments, board.next_resend()), (8, 1, Some(0)));
        board.resend(0, now);
        assert_eq!(board.in_flight(), 9);
        board.acknowledge(6, now, &mut delivery);
        assert_eq!((board.in_flight(), board.outstanding(), delivery.segments), (4, 4, 6));
        assert!(delivery.is_reordered, "1 arrived after 5, sent once");
        assert_eq!((board.sacked(), board.lost(), board.resent()), (0, 0, 0));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What the two ends tell each other about the links' packets, and what follows: estimates, repairs, links that fail.

use crate::memory::control::{Control, MAX_FRAMES, Report};
use crate::memory::pool::Pool;
use crate::tunnel::Transmit;
use crate::words::event::Health;
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

use super::transmit::Block;
use super::{Member, Peer, tier};

/// Reports that become due this soon travel with one that is due.
const TOGETHER: Duration = Duration::from_millis(10);

/// Reports in one datagram: as many of usual length as a block of control frames holds.
const REPORTS: usize = 4;

/// Nothing is said of a packet this late: its report was lost three times.
const FORGOTTEN: Duration = Duration::from_millis(1_500);

/// A receiver speaks of a link at most this often (see `Arrivals`): what comes more often on the long run is not read, for each
/// report may cost a step for every packet kept.
const REPORT_EVERY: Duration = Duration::from_millis(2);

/// Reports of a link that may come at once, when they were held up on their way: a quarter of a second of them. What is said in one that
/// is not read is said in the next, too.
const REPORTS_AT_ONCE: u64 = 128;

/// A link fails when nothing is said of so many packets. Of fewer, all may have been lost by chance: they are sent again,
/// and the link is asked.
const FAILING: u16 = 4;

const _: () = assert!(REPORTS <= MAX_FRAMES);

/// How many reports of a link may still be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readings {
    /// When as many as may come at once may come at once again.
    free_at: Instant,
}

impl Readings {
    /// Whether one more is read.
    fn admit(&mut self, now: Instant) -> bool {
        let is_due = self.free_at.since(now) <= REPORT_EVERY * REPORTS_AT_ONCE;
        if is_due {
            self.free_at = self.free_at.max(now) + REPORT_EVERY;
        }
        is_due
    }
}

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// When a report is due.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.current.as_ref()?;
        let in_use = self.in_use();
        if !self.members.iter().flatten().any(|member| !member.blocked && in_use(member) && self.carries(member)) {
            return None;
        }
        self.members.iter().flatten().filter_map(|member| member.arrivals.report_at()).min()
    }

    /// The reports that are due, in one datagram.
    pub(super) fn transmit_reports(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        if self.report_at()? > now {
            return None;
        }
        let is_urgent = self.members.iter().flatten().any(|member| member.arrivals.is_urgent());
        let link = self.report_link(is_urgent)?;
        let mut frames = heapless::Vec::<Control, REPORTS>::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            if frames.is_full() || member.arrivals.report_at().is_none_or(|at| at > now + TOGETHER) {
                continue;
            }
            let Some(window) = self.current.as_ref().and_then(|session| session.window(LinkId::new(index))) else {
                continue;
            };
            let report = member.arrivals.report(u8::try_from(index).unwrap_or(u8::MAX), window, now);
            // Full is asked above.
            let _ = frames.push(Control::Report(report));
        }
        let to = self.member_mut(link)?.path.place()?;
        match self.seal_control(Block { link, to, frames: &frames, pad_to: 0 }, now, out) {
            Ok(transmit) => {
                let bytes = transmit.len.saturating_add(to.overhead());
                self.member_mut(link)?.departures.charge(bytes, now);
                Some(transmit)
            }
            Err(reason) => {
                self.bond.drops.count(reason);
                None
            }
        }
    }

    /// The link the next report takes: the one that is soonest there, and in turns each of all when there is no hurry.
    fn report_link(&mut self, is_urgent: bool) -> Option<LinkId> {
        let in_use = self.in_use();
        let carries = |member: &&Member| !member.blocked && in_use(member) && self.carries(member);
        let usable =
            || self.members.iter().enumerate().filter_map(|(index, m)| Some((index, m.as_ref().filter(carries)?)));
        let turn = self.report_turn;
        let chosen = if is_urgent || turn & 1 == 0 {
            usable().min_by_key(|(_, member)| member.path.rtt().smoothed())
        } else {
            let count = usable().count().max(1);
            usable().nth(turn.checked_rem(count.saturating_mul(2)).unwrap_or(0) / 2)
        };
        let index = chosen?.0;
        self.report_turn = turn.wrapping_add(usize::from(!is_urgent));
        Some(LinkId::new(index))
    }

    /// Acts on a report that left the peer at `sent_at`, in its time.
    pub(super) fn handle_report<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        report: &Report,
        sent_at: u16,
        now: Instant,
    ) {
        let link = LinkId::new(report.link.into());
        let Some(member) = self.member_mut(link) else { return };
        if !member.readings.admit(now) {
            self.counts.unread = self.counts.unread.saturating_add(1);
            return;
        }
        let settled = self.flight.settle(pool, report, now);
        if let Some(member) = self.member_mut(link) {
            member.departures.hear(report, sent_at, settled, now);
            member.path.note_arrived(settled.largest, now);
        }
    }

    /// When a link is due to have failed, or a packet to be forgotten.
    pub(super) fn failure_at(&self) -> Option<Instant> {
        let links = self.members.iter().enumerate().filter_map(|(index, member)| {
            let member = member.as_ref().filter(|member| self.carries(member))?;
            let oldest = self.flight.oldest(LinkId::new(index))?;
            Some(oldest.at.max(member.departures.progress_at()) + member.departures.stall())
        });
        let flying = (0..LINKS).filter_map(|index| self.flight.oldest(LinkId::new(index)));
        let forgotten = flying.chain(self.flight.next_lost()).map(|sent| sent.at + FORGOTTEN);
        let ids = (0..LINKS).map(LinkId::new);
        let gone = ids.filter(|id| self.flight.flying(*id) > 0 && self.has_gone(*id)).map(|_| self.check_at);
        links.chain(forgotten).chain(gone).min().map(|at| at.max(self.check_at))
    }

    /// Finds links on which nothing arrives any more, and those that do again.
    pub(super) fn handle_failures<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, now: Instant) {
        let mut has_fallen_silent = false;
        for index in 0..LINKS {
            let id = LinkId::new(index);
            if self.has_gone(id) {
                self.flight.fail(pool, id, now);
            } else if self.has_stalled(id, now) {
                let is_failing = self.flight.flying(id) >= FAILING;
                self.flight.fail(pool, id, now);
                if let Some(member) = self.member_mut(id).filter(|_| is_failing) {
                    member.path.suspect(now);
                }
            }
            let Some(member) = self.member_mut(id) else { continue };
            let is_silent = member.path.health() == Health::Silent;
            let was_silent = core::mem::replace(&mut member.is_failed, is_silent);
            has_fallen_silent |= is_silent && !was_silent;
            if was_silent && !is_silent {
                member.departures.restart(now);
            }
            if is_silent && !was_silent {
                self.flight.fail(pool, id, now);
            }
        }
        if has_fallen_silent {
            // What it carried moves to the others, which may have been idle and dead for long: they are asked at once,
            // not each when the one before it has failed too.
            self.members.iter_mut().flatten().for_each(|member| member.path.note_data(now));
        }
        if let Some(before) = now.micros().checked_sub(FORGOTTEN.micros()) {
            self.flight.expire(pool, Instant::from_micros(before));
        }
    }

    /// Whether a link was taken away: what was sent on it is not reported any more.
    fn has_gone(&self, id: LinkId) -> bool {
        self.members.get(id.index()).and_then(Option::as_ref).and_then(tier).is_none()
    }

    /// Whether nothing was said of a link's packets for too long, though the peer is heard.
    fn has_stalled(&self, id: LinkId, now: Instant) -> bool {
        let Some(member) = self.members.get(id.index()).and_then(Option::as_ref) else { return false };
        let Some(oldest) = self.flight.oldest(id).filter(|_| self.carries(member)) else { return false };
        let since = oldest.at.max(member.departures.progress_at());
        let others = || {
            let others = self.members.iter().enumerate().filter(|(index, _)| *index != id.index());
            others.filter_map(|(_, other)| other.as_ref()).filter(|other| self.carries(other))
        };
        let is_heard = others().any(|other| other.path.last_heard() > oldest.at);
        // Idle backups hear nothing, and are there to be tried.
        let in_use = self.in_use();
        let is_quiet = now.since(member.path.last_heard()) >= member.departures.stall();
        let has_backup = is_quiet && others().any(|_| true) && !others().any(in_use);
        (is_heard || has_backup) && now.since(since) >= member.departures.stall()
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Time, and what there is to know.

use crate::state::arrivals::Arrivals;
use crate::state::departures::Departures;
use crate::state::link::Phase;
use crate::state::path::Path;
use crate::state::session::Session;
use crate::state::session_key::Aead;
use crate::tunnel::{Cause, Deadline};
use crate::words::drops::Drops;
use crate::words::event::Event;
use crate::words::ids::{LinkId, SessionIndex};
use crate::words::time::{Duration, Instant};

use super::client::Asking;
use super::{Counts, Peer};

/// A session whose keys could not be renewed for this long is given up (three times [`REKEY_AFTER`]; WireGuard's
/// REJECT_AFTER_TIME is one and a half times).
///
/// [`REKEY_AFTER`]: crate::state::session::REKEY_AFTER
const GIVE_UP_AFTER: Duration = Duration::from_secs(360);

/// When no link carries anything for this long, a client asks for a new session: its server may have been restarted.
const LOST_AFTER: Duration = Duration::from_secs(3);

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// When [`Peer::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let speaks = self.current.is_some();
        let links = self.members.iter().take(self.max_links()).enumerate().filter_map(|(index, member)| {
            let at = member.as_ref().filter(|member| speaks && !member.blocked)?.path.deadline()?;
            Some(Deadline { at, cause: Cause::Path(LinkId::new(index)) })
        });
        let session = |at| Deadline { at, cause: Cause::Session };
        // Only a client that has somewhere to ask does something about a session that is worn or lost.
        let asking = self.asking.as_ref().filter(|_| !self.open_places().is_empty());
        let ask = asking.and_then(Asking::ask_at).map(session);
        let may_begin = asking.is_some() && ask.is_none();
        let worn = self.current.as_ref().and_then(Session::wears_at).filter(|_| may_begin).map(session);
        let wipe = self.previous.as_ref().map(|(_, at)| session(*at));
        let lost = self.lost_since.filter(|_| may_begin).map(|since| session(since + LOST_AFTER));
        let hold = self.bond.reorder.deadline().map(|at| Deadline { at, cause: Cause::Reorder });
        let send = [self.pace_at(), self.report_at(), self.failure_at()].into_iter().flatten();
        let send = send.map(|at| Deadline { at, cause: Cause::Data });
        links.chain(ask).chain(worn).chain(wipe).chain(lost).chain(hold).chain(send).min_by_key(|deadline| deadline.at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for member in self.members.iter_mut().flatten() {
            member.path.handle_timeout(now);
        }
        self.previous.take_if(|(_, wipe_at)| *wipe_at <= now);
        self.current.take_if(|session| session.used_for(now) >= GIVE_UP_AFTER);
        self.note_loss(now);
        let is_lost = self.lost_since.is_some_and(|since| now.since(since) >= LOST_AFTER);
        let wants = is_lost || self.current.as_ref().is_none_or(|session| session.is_worn(now));
        let has_links = !self.open_places().is_empty();
        if let Some(asking) = self.asking.as_mut().filter(|_| wants && has_links) {
            asking.begin(now);
        }
        self.bond.reorder.handle_timeout(now);
        self.follow_mtu();
    }

    /// What happened, until None.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(trouble) = self.trouble.take() {
            return Some(Event::HandshakeTrouble(trouble));
        }
        if core::mem::take(&mut self.has_ended) {
            return Some(Event::SessionEnded);
        }
        let session = self.current.as_ref().map(Session::own_index);
        if core::mem::replace(&mut self.told_session, session) != session && session.is_some() {
            return Some(Event::NewSession);
        }
        for (index, member) in self.members.iter_mut().enumerate() {
            let event = member.as_mut().and_then(|m| m.told.update(LinkId::new(index), (&m.path).into()));
            if event.is_some() {
                return event;
            }
        }
        if core::mem::replace(&mut self.told_mtu, self.bond.mtu) != self.bond.mtu {
            return Some(Event::MtuChanged(self.bond.mtu));
        }
        let up = self.is_up();
        if core::mem::replace(&mut self.told_up, up) == up {
            return None;
        }
        Some(if up { Event::TunnelUp } else { Event::TunnelDown })
    }

    /// Whether any link carries data.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.current.is_some() && self.members.iter().flatten().any(|member| member.path.phase() == Phase::Up)
    }

    /// The sessions whose keys this end holds, by its own names for them, the current one first.
    pub fn sessions(&self) -> impl Iterator<Item = SessionIndex> + '_ {
        let previous = self.previous.as_ref().map(|(session, _)| session);
        let unproved = self.unproved.iter().flatten().map(|unproved| &unproved.session);
        self.current.iter().chain(previous).chain(unproved).map(Session::own_index)
    }

    /// How the current session's packets are sealed.
    #[must_use]
    pub fn aead(&self) -> Option<Aead> {
        self.current.as_ref().map(Session::aead)
    }

    /// A link's state and measurements.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Path> {
        Some(&self.members.get(id.index())?.as_ref()?.path)
    }

    /// The best link that a socket carries: on a server, where the client has numbered its links.
    #[must_use]
    pub fn link_on(&self, socket: u8) -> Option<LinkId> {
        let links = self.members.iter().enumerate().filter_map(|(index, member)| {
            let member = member.as_ref().filter(|member| self.carries(member))?;
            let is_there = member.path.place().is_some_and(|place| place.socket == socket);
            is_there.then(|| (super::tier(member), LinkId::new(index)))
        });
        links.min().map(|(_, link)| link)
    }

    /// How a link is sent on.
    #[must_use]
    pub fn departures(&self, id: LinkId) -> Option<&Departures> {
        Some(&self.members.get(id.index())?.as_ref()?.departures)
    }

    /// What arrives over a link.
    #[must_use]
    pub fn arrivals(&self, id: LinkId) -> Option<&Arrivals> {
        Some(&self.members.get(id.index())?.as_ref()?.arrivals)
    }

    /// Packets sent again, and not.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Every drop, by reason.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.bond.drops
    }

    /// Packets held for a missing one.
    #[must_use]
    pub const fn reordering(&self) -> usize {
        self.bond.reorder.held()
    }

    /// Packets sent that are kept until it is known whether they arrived.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.flight.kept()
    }

    /// Packets that wait for a link.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.bond.waiting()
    }

    /// The largest inner IP packet, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.bond.mtu
    }

    /// Notes since when a session exists and no link of it carries anything.
    fn note_loss(&mut self, now: Instant) {
        let carries = self.members.iter().flatten().any(|member| member.path.is_alive());
        self.lost_since = if carries || self.current.is_none() { None } else { self.lost_since.or(Some(now)) };
    }
}

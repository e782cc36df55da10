// SPDX-License-Identifier: BSD-2-Clause
//! From the device to the links.

use crate::memory::control::{self, Control};
use crate::memory::pool::{Pool, Slot};
use crate::memory::two::{DATA_HEADER, DATA_OVERHEAD, DataFlags};
use crate::state::identity::Ephemeral;
use crate::state::link::Phase;
use crate::state::path::{Errand, Place};
use crate::state::session::Label;
use crate::tunnel::Transmit;
use crate::tunnel::bond::Entry;
use crate::words::drops::DropReason;
use crate::words::ecn::Ecn;
use crate::words::event::Trouble;
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

use super::client::Asking;
use super::{Member, Peer, SILENT, tier};

/// Links are looked at for failures this often at the most.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A datagram without an inner packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) link: LinkId,
    pub(super) to: Place,
    pub(super) frames: &'a [Control],
    /// Filled up with zeros to a datagram of so many bytes; 0 for as it is.
    pub(super) pad_to: u16,
}

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Whether [`Peer::send`] takes a packet now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bond.has_room()
    }

    /// Takes a packet from the device.
    pub fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, now: Instant) {
        self.send_over(pool, slot, &[], now);
    }

    /// As [`Peer::send`], a packet that filters chose these links for: it takes the first that is up. Whichever link it
    /// takes then, its peer does not hold it to restore order.
    pub fn send_over<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        links: &[LinkId],
        now: Instant,
    ) {
        self.make_room(pool);
        let is_up = self.is_up();
        let carries = |id: &LinkId| {
            self.members.get(id.index()).and_then(Option::as_ref).is_some_and(|member| self.carries(member))
        };
        let link = links.iter().copied().find(carries);
        self.bond.send(pool, slot, Entry { is_up, rules: Some(&self.rules), link }, now);
    }

    /// Writes the next datagram to `out`, which should hold [`MAX_DATAGRAM`](crate::words::limits::MAX_DATAGRAM) bytes.
    pub fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        self.polled_at = now;
        self.make_room(pool);
        if now >= self.check_at {
            self.check_at = now + CHECK_INTERVAL;
            self.handle_failures(pool, now);
            self.look_at_demand(now);
            self.look_at_reach(now);
        }
        self.ask(now, out)
            .or_else(|| self.transmit_errand(now, out))
            .or_else(|| self.transmit_reports(now, out))
            .or_else(|| self.transmit_data(pool, now, out))
    }

    /// Forgets packets that were kept to be sent again, while less than an eighth of the pool is free: what the port
    /// receives and reads comes first. Work: one step per packet forgotten, each of which was sent once.
    pub(super) fn make_room<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        while pool.available() < SLOTS >> 3 && self.flight.forget_one(pool) {
            self.counts.forgotten = self.counts.forgotten.saturating_add(1);
        }
    }

    /// A client's question for a session.
    fn ask(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let due = self.asking.as_ref()?.ask_at().is_some_and(|at| at <= now);
        if !due {
            return None;
        }
        let open = self.open_places();
        if open.is_empty() {
            return None;
        }
        if self.asking.as_ref().is_some_and(Asking::needs_initiator) {
            let (index, ephemeral) = (self.next_index(), Ephemeral::from_random(self.random.bytes()));
            if self.asking.as_mut()?.start(index, self.config.offer, ephemeral).is_err() {
                self.trouble = Some(Trouble("the server's public key or the shared secret is not usable"));
                self.asking.as_mut()?.done();
                return None;
            }
        }
        let (len, place) = self.asking.as_mut()?.question(&open, now, out)?;
        Some(Transmit { link: LinkId::new(place.socket.into()), to: place.address, len, ecn: Ecn::NotEct })
    }

    pub(super) fn open_places(&self) -> heapless::Vec<Place, LINKS> {
        let open = self.members.iter().flatten().filter(|m| m.path.phase() != Phase::Closed && !m.blocked);
        open.filter_map(|member| member.path.place()).collect()
    }

    /// The next thing a link wants said.
    fn transmit_errand(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.current.as_ref()?;
        for index in 0..self.max_links().min(self.members.iter().len()) {
            let id = LinkId::new(index);
            let Some(member) = self.member_mut(id).filter(|member| !member.blocked) else { continue };
            let Some(errand) = member.path.errand(now) else { continue };
            match self.seal_errand(id, errand, now, out) {
                Ok(transmit) => return Some(transmit),
                Err(reason) => self.bond.drops.count(reason),
            }
        }
        None
    }

    fn seal_errand(
        &mut self,
        id: LinkId,
        errand: Errand,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Transmit, DropReason> {
        let introduces = self.is_fresh && matches!(errand.frame, Control::Probe { .. } | Control::Challenge { .. });
        let frames = [Control::Fresh, errand.frame];
        let frames = if introduces { &frames[..] } else { frames.get(1..).unwrap_or_default() };
        self.seal_control(Block { link: id, to: errand.to, frames, pad_to: errand.pad_to }, now, out)
    }

    /// Seals a datagram of control frames.
    pub(super) fn seal_control(
        &mut self,
        block: Block<'_>,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Transmit, DropReason> {
        let Block { link, to, frames, pad_to } = block;
        let session = self.current.as_mut().ok_or(DropReason::NoSession)?;
        let flags = DataFlags { control: true, ..DataFlags::default() };
        let stamp = session.stamp(link, Label { flags, ..Label::default() }, now).ok_or(DropReason::NoSession)?;
        let body = out.get_mut(DATA_HEADER..).ok_or(DropReason::TooBig)?;
        let used = control::emit(frames, body).ok_or(DropReason::TooBig)?;
        let padded = used.max(usize::from(pad_to).saturating_sub(DATA_OVERHEAD));
        body.get_mut(used..padded).ok_or(DropReason::TooBig)?.fill(0);
        let len = session.seal_in_place(stamp, padded, out)?;
        if let Some(member) = self.member_mut(link) {
            member.path.count_sent(len);
        }
        Ok(Transmit { link: LinkId::new(to.socket.into()), to: to.address, len, ecn: Ecn::NotEct })
    }

    /// Which links carry data and set the inner MTU: those whose path MTU is measured, unless none of these lives. Else
    /// every link that joins would lower the MTU for a moment, which hosts remember for minutes.
    pub(super) fn counting(&self) -> impl Fn(&Member) -> bool + use<LINKS, WINDOW> {
        let is_sound = |member: &Member| member.path.is_measured() && tier(member).is_some_and(|tier| tier < SILENT);
        let any = self.members.iter().flatten().any(is_sound);
        move |member| member.path.is_measured() || !any
    }
}

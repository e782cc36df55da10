// SPDX-License-Identifier: BSD-2-Clause
//! From the links to the device.

use crate::memory::control::{self, Control};
use crate::memory::packet::Packet;
use crate::memory::pool::{Pool, Slot};
use crate::memory::two::{DATA_OVERHEAD, DataHeader, MessageKind};
use crate::stages::allow::is_allowed;
use crate::state::handshake::HandshakeError;
use crate::state::link::{LinkSettings, Phase, Role};
use crate::state::path::{Path, Place, Sign};
use crate::state::session::{Session, widen};
use crate::tunnel::Arrival;
use crate::tunnel::events::Told;
use crate::words::drops::DropReason;
use crate::words::event::Trouble;
use crate::words::ids::{LinkId, Medium, Order, SessionIndex};
use crate::words::limits::{ETHERNET_HEADER, MIN_MTU, VLAN_TAG};
use crate::words::time::Instant;

use super::{DOMAIN, Member, Peer, UNPROVED, ceiling};

/// Where order numbers are widened to before any was seen: far from 0, so that the first packets may be late ones.
const FIRST_ORDER: u64 = 1 << 32;

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Takes a datagram that arrived on a socket and names one of this engine's sessions, or answers its handshake.
    pub fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        if let Err((slot, reason)) = self.take_in(pool, slot, arrival) {
            self.bond.drop_slot(pool, slot, reason);
        }
    }

    /// The next packet for the device, in order.
    pub fn poll_deliver(&mut self) -> Option<Slot> {
        self.bond.reorder.poll()
    }

    fn take_in<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        arrival: Arrival,
    ) -> Result<(), (Slot, DropReason)> {
        let Some(packet) = pool.packet_mut(&slot) else { return Err((slot, DropReason::Malformed)) };
        match packet.as_bytes().first().copied().and_then(MessageKind::of) {
            None => Err((slot, DropReason::Unknown)),
            Some(MessageKind::Data) => {
                let order = match self.open(packet, arrival) {
                    Ok(Some(order)) => order,
                    Ok(None) => {
                        pool.put(slot);
                        return Ok(());
                    }
                    Err(reason) => return Err((slot, reason)),
                };
                let inner = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
                if !is_allowed(inner, self.config.medium, &self.config.allowed) {
                    return Err((slot, DropReason::NotAllowed));
                }
                self.bond.deliver(pool, order, slot, arrival.at)
            }
            Some(kind) => {
                let outcome = self.handshake_message(kind, packet.as_bytes(), arrival.at);
                match outcome {
                    Ok(()) => {
                        pool.put(slot);
                        Ok(())
                    }
                    Err(error) => {
                        self.trouble = trouble(error).or(self.trouble);
                        Err((slot, DropReason::Handshake))
                    }
                }
            }
        }
    }

    /// Opens a data packet and acts on its control frames. None when it carried nothing else; else the order of the inner
    /// packet, which `packet` is then.
    fn open(&mut self, packet: &mut Packet, arrival: Arrival) -> Result<Option<Option<Order>>, DropReason> {
        let bytes = packet.len();
        let header = DataHeader::parse(packet.as_bytes()).map_err(|_| DropReason::Malformed)?;
        if header.domain > DOMAIN {
            return Err(DropReason::Malformed);
        }
        let counter = self.open_under(&header, packet, arrival.at)?;
        if usize::from(header.link) >= self.max_links() {
            return Err(DropReason::TooManyLinks);
        }
        let id = LinkId::new(header.link.into());
        let from = Place { socket: u8::try_from(arrival.link.index()).unwrap_or(u8::MAX), address: arrival.from };
        let token = self.random.token();
        let is_current = self.current.as_ref().is_some_and(|session| session.own_index() == header.receiver);
        let member = self.member_or_join(id, arrival.at).ok_or(DropReason::LinkNotUp)?;
        member.path.hear(Sign { counter, bytes, from, token, at: arrival.at, is_current });
        if header.flags.control {
            let (frames, rest) = control::parse(packet.as_bytes()).map_err(|_| DropReason::Malformed)?;
            let used = packet.len().saturating_sub(rest.len());
            let is_padding = frames.iter().any(|frame| matches!(frame, Control::SizeProbe { .. }));
            let claimed =
                frames.iter().all(|frame| !matches!(frame, Control::SizeProbe { len } if usize::from(*len) != bytes));
            if !claimed || !packet.trim_front(used) {
                return Err(DropReason::Malformed);
            }
            for frame in frames {
                self.handle_frame(frame, Context { id, session: header.receiver, from, at: arrival.at });
            }
            if is_padding || packet.is_empty() {
                return Ok(None);
            }
        }
        if packet.is_empty() {
            return Err(DropReason::Malformed);
        }
        if let Some(session) = &mut self.current {
            session.note_use(arrival.at);
        }
        if let Some(member) = self.member_mut(id) {
            member.path.note_data(arrival.at);
        }
        let near = self.bond.reorder.expected().unwrap_or(FIRST_ORDER);
        let order = (header.domain == DOMAIN).then(|| Order(widen(header.order_low.into(), 24, near)));
        Ok(Some(order))
    }

    /// Finds the session the packet names and opens it there.
    fn open_under(&mut self, header: &DataHeader, packet: &mut Packet, now: Instant) -> Result<u64, DropReason> {
        let named = |session: &&mut Session<LINKS>| session.own_index() == header.receiver;
        if let Some(session) = self.current.as_mut().filter(named) {
            return session.open(header, packet);
        }
        if let Some(session) = self.previous.as_mut().map(|(session, _)| session).filter(named) {
            return session.open(header, packet);
        }
        for place in 0..UNPROVED {
            let unproved = self.unproved.get_mut(place).and_then(Option::as_mut);
            if let Some(session) = unproved.map(|unproved| &mut unproved.session).filter(named) {
                let counter = session.open(header, packet)?;
                self.promote(place, now);
                return Ok(counter);
            }
        }
        Err(DropReason::NoSession)
    }

    /// The link's member; a server's joins with its first packet that opens.
    fn member_or_join(&mut self, id: LinkId, now: Instant) -> Option<&mut Member> {
        let is_server = self.asking.is_none();
        let place = self.members.get_mut(id.index())?;
        if place.is_none() && is_server {
            let mut path = Path::new(Role::Server, LinkSettings::default());
            path.open(None, ceiling(u16::MAX), now);
            *place = Some(Member { path, blocked: false, told: Told::default() });
        }
        place.as_mut().filter(|member| member.path.phase() != Phase::Closed)
    }

    fn handle_frame(&mut self, frame: Control, context: Context) {
        let Context { id, session, from, at } = context;
        match frame {
            Control::Fresh => {
                if self.fresh_session.replace(session) != Some(session) {
                    self.bond.reorder.restart();
                }
            }
            Control::Close => self.end_session(session, from, at),
            _ => {
                if matches!(frame, Control::ProbeReply { .. } | Control::ChallengeReply { .. }) {
                    self.is_fresh = false;
                }
                if let Some(member) = self.member_mut(id) {
                    member.path.handle(frame, from, at);
                }
            }
        }
        self.follow_mtu();
    }

    /// The inner MTU follows the narrowest link that is up.
    pub(super) fn follow_mtu(&mut self) {
        let frame = match self.config.medium {
            Medium::Ip => 0,
            Medium::Ethernet => ETHERNET_HEADER + VLAN_TAG,
        };
        let counts = self.counting();
        let up = self.members.iter().flatten().filter(|member| member.path.phase() == Phase::Up && counts(member));
        let Some(room) = up.filter_map(|member| member.path.payload_room()).min() else { return };
        let mtu = usize::from(room).saturating_sub(DATA_OVERHEAD).saturating_sub(frame);
        self.bond.mtu = u16::try_from(mtu).unwrap_or(u16::MAX).clamp(MIN_MTU, self.config.max_mtu);
    }
}

/// Where a control frame came from.
#[derive(Clone, Copy)]
struct Context {
    id: LinkId,
    session: SessionIndex,
    from: Place,
    at: Instant,
}

/// What the user is told of a handshake message that was not accepted; nothing of what is merely late or forged.
const fn trouble(error: HandshakeError) -> Option<Trouble> {
    match error {
        HandshakeError::WrongSecret => Some(Trouble("the shared secret differs from the server's")),
        HandshakeError::Features(_) => Some(Trouble("the server needs a feature this version does not have")),
        HandshakeError::BadKey => Some(Trouble("the server's public key is not usable")),
        _ => None,
    }
}

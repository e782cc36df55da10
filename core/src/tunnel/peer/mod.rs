// SPDX-License-Identifier: BSD-2-Clause
//! The engine of protocol 2: one peer, over up to `LINKS` links, with a reorder window of `WINDOW` packets.
//!
//! Driven like the classic engine, see [`tunnel`](super). Two things differ. Links are the client's: it numbers them, and
//! a server learns of each by the first packet that opens, so that a [`Transmit`] and an [`Arrival`] name the port's
//! *socket* and not a link. And a server's engine does not read initiations: its port has one
//! [`Gateway`](super::gateway::Gateway) for all peers, finds the engine of a claim's public key, and hands the claim to
//! [`Peer::answer`].

mod client;
pub mod config;

use core::net::SocketAddr;

use crate::memory::control::{self, Control};
use crate::memory::packet::Packet;
use crate::memory::pool::{Pool, Slot};
use crate::memory::two::{
    DATA_HEADER, DATA_OVERHEAD, DataFlags, DataHeader, MAC, MessageKind, RESPONSE, Refusal, receiver_of,
};
use crate::stages::allow::source_of;
use crate::stages::schedule::Candidate;
use crate::state::handshake::{Claim, Established, HandshakeError};
use crate::state::identity::{Ephemeral, SharedSecret};
use crate::state::link::{LinkSettings, Phase, Role};
use crate::state::path::{Errand, Path, Place, Sign};
use crate::state::session::{Label, Session, widen};
use crate::state::session_key::Aead;
use crate::words::drops::{DropReason, Drops};
use crate::words::event::{Event, Health, Trouble};
use crate::words::ids::{LinkId, Medium, Order, SessionIndex};
use crate::words::limits::{ETHERNET_HEADER, MAX_DATAGRAM, MAX_LINKS, MIN_MTU, VLAN_TAG};
use crate::words::time::{Duration, Instant};

use super::bond::{Bond, Outgoing, RoundTripFacts, Wait, hold_time};
use super::events::Told;
use super::random::Random;
use super::{Arrival, Cause, Deadline, Transmit};
use client::Asking;
use config::{ClientCredentials, PeerConfig};

/// Old keys open stragglers for this long after the peer used the new ones; a packet may have been on its way over the
/// slowest link.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// A session whose keys could not be renewed for this long is given up (three times [`REKEY_AFTER`]; WireGuard's
/// REJECT_AFTER_TIME is one and a half times).
///
/// [`REKEY_AFTER`]: crate::state::session::REKEY_AFTER
const GIVE_UP_AFTER: Duration = Duration::from_secs(360);

/// When no link carries anything for this long, a client asks for a new session: its server may have been restarted.
const LOST_AFTER: Duration = Duration::from_secs(3);

/// The ordering domain of everything that is ordered.
const DOMAIN: u8 = 1;

/// Where order numbers are widened to before any was seen: far from 0, so that the first packets may be late ones.
const FIRST_ORDER: u64 = 1 << 32;

/// Claims answered whose client has not yet proved that it holds the keys: a replayed initiation takes one place, and
/// must not take the place of the client's own.
/// The first place is for claims from where the peer is proved to be; who replays several recordings from elsewhere only
/// has the others.
const UNPROVED: usize = 3;

/// A claim that was answered.
#[derive(Debug)]
struct Unproved<const LINKS: usize> {
    session: Session<LINKS>,
    /// Of the initiation that was answered.
    mac1: [u8; MAC],
    /// The answer, for when the same initiation comes again.
    response: [u8; RESPONSE],
}

#[derive(Debug)]
struct Member {
    path: Path,
    blocked: bool,
    told: Told,
}

/// One peer's engine. See the module's description.
#[derive(Debug)]
pub struct Peer<const LINKS: usize, const WINDOW: usize> {
    config: PeerConfig,
    /// Half of every session index, by which a port finds this engine.
    number: u16,
    generation: u8,
    asking: Option<Asking>,
    random: Random,
    current: Option<Session<LINKS>>,
    /// The session before, and when its keys are wiped.
    previous: Option<(Session<LINKS>, Instant)>,
    unproved: [Option<Unproved<LINKS>>; UNPROVED],
    /// Which place of `unproved` the last claim from elsewhere took.
    next_unproved: usize,
    /// The peer has not yet answered: its reorder buffer may hold what another start of this end sent.
    is_fresh: bool,
    /// The session in which the peer said that it is fresh.
    fresh_session: Option<SessionIndex>,
    members: [Option<Member>; LINKS],
    bond: Bond<WINDOW>,
    /// Since when no link carries anything.
    lost_since: Option<Instant>,
    told_up: bool,
    told_session: Option<SessionIndex>,
    told_mtu: u16,
    trouble: Option<Trouble>,
}

/// Setting up.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// A client's engine. `number` is the port's for this engine, `seed` from the system's random source.
    #[must_use]
    pub fn client(config: PeerConfig, credentials: ClientCredentials, number: u16, seed: [u8; 32]) -> Self {
        Self::new(config, Some(Asking::new(credentials)), number, seed)
    }

    /// A server's engine for one client.
    #[must_use]
    pub fn server(config: PeerConfig, number: u16, seed: [u8; 32]) -> Self {
        Self::new(config, None, number, seed)
    }

    fn new(config: PeerConfig, asking: Option<Asking>, number: u16, seed: [u8; 32]) -> Self {
        const { assert!(LINKS >= 1 && LINKS <= MAX_LINKS) };
        let mut random = Random::new(seed);
        let [generation] = random.array();
        Self {
            bond: Bond::new(config.medium, config.max_mtu, config.reorder),
            told_mtu: config.max_mtu,
            config,
            number,
            generation,
            asking,
            random,
            current: None,
            previous: None,
            unproved: [const { None }; UNPROVED],
            next_unproved: 0,
            is_fresh: true,
            fresh_session: None,
            members: [const { None }; LINKS],
            lost_since: None,
            told_up: false,
            told_session: None,
            trouble: None,
        }
    }

    /// The number of the engine to which a session index belongs.
    #[must_use]
    pub const fn number_of(index: SessionIndex) -> u16 {
        ((index.value() >> 8) & 0xffff) as u16
    }

    /// The number of the engine a message is for; None when it names none.
    #[must_use]
    pub fn number_in(datagram: &[u8]) -> Option<u16> {
        receiver_of(datagram).map(Self::number_of)
    }

    /// This engine's number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Adds a client's link, closed, or changes the settings of the one at this place. False when there is none such.
    pub fn set_link(&mut self, id: LinkId, settings: LinkSettings) -> bool {
        let role = self.role();
        let Some(place) = self.members.get_mut(id.index()) else { return false };
        match place {
            Some(member) => member.path.configure(settings),
            None => {
                *place = Some(Member { path: Path::new(role, settings), blocked: false, told: Told::default() });
            }
        }
        true
    }

    /// A client's link has a socket, of the same number, and its server is at `server`. `interface_mtu` is what the
    /// socket's interface carries, in bytes.
    pub fn open_link(&mut self, id: LinkId, server: SocketAddr, interface_mtu: u16, now: Instant) {
        let Ok(socket) = u8::try_from(id.index()) else { return };
        if let Some(member) = self.member_mut(id) {
            member.blocked = false;
            member.path.open(Some(Place { socket, address: server }), ceiling(interface_mtu), now);
        }
        if let Some(asking) = self.asking.as_mut().filter(|_| self.current.is_none()) {
            asking.begin(now);
        }
    }

    /// The link's socket is gone.
    pub fn close_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.path.close();
        }
    }

    /// Forgets a link. Close it and drain the events first.
    pub fn remove_link(&mut self, id: LinkId) {
        if let Some(place) = self.members.get_mut(id.index()) {
            *place = None;
        }
    }

    /// Has the link leave the session with the next datagram.
    pub fn leave_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.path.leave();
        }
    }

    /// Tells whether a socket takes datagrams; while it does not, its links are passed over.
    pub fn set_blocked(&mut self, socket: u8, blocked: bool) {
        for member in self.members.iter_mut().flatten() {
            if member.path.place().is_some_and(|place| place.socket == socket) {
                member.blocked = blocked;
            }
        }
    }

    /// Gives back every packet the tunnel holds, before it is dropped.
    pub fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.bond.clear(pool);
    }

    const fn role(&self) -> Role {
        if self.asking.is_some() { Role::Client } else { Role::Server }
    }

    fn member_mut(&mut self, id: LinkId) -> Option<&mut Member> {
        self.members.get_mut(id.index())?.as_mut()
    }

    fn next_index(&mut self) -> SessionIndex {
        // Of 256 names a few are taken at most.
        while {
            self.generation = self.generation.wrapping_add(1);
            self.sessions().any(|taken| taken == self.index_of(self.generation))
        } {}
        self.index_of(self.generation)
    }

    const fn index_of(&self, generation: u8) -> SessionIndex {
        let [high, low] = self.number.to_be_bytes();
        SessionIndex::from_bytes([high, low, generation])
    }
}

/// Sessions.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Answers a claim of this engine's peer, whose initiation came to `arrival`'s socket: writes the response to `out`.
    /// `secret` is the one shared with this peer besides the keys. The session counts as live only once the peer has
    /// used it, so that a replayed initiation displaces nothing. An initiation that comes again, because its client
    /// repeats it or somebody else does, gets the same answer again, which costs nothing.
    ///
    /// # Errors
    /// Why the claim could not be answered.
    pub fn answer(
        &mut self,
        claim: Claim,
        secret: &SharedSecret,
        arrival: Arrival,
        out: &mut [u8],
    ) -> Result<Transmit, HandshakeError> {
        let response = match self.unproved.iter().flatten().find(|unproved| unproved.mac1 == claim.mac1) {
            Some(unproved) => unproved.response,
            None => self.answer_anew(claim, secret, arrival)?,
        };
        if let Some(room) = out.get_mut(..RESPONSE) {
            room.copy_from_slice(&response);
        }
        Ok(Transmit { link: arrival.link, to: arrival.from, len: RESPONSE })
    }

    fn answer_anew(
        &mut self,
        claim: Claim,
        secret: &SharedSecret,
        arrival: Arrival,
    ) -> Result<[u8; RESPONSE], HandshakeError> {
        let (index, mac1) = (self.next_index(), claim.mac1);
        let mut response = [0; RESPONSE];
        let session = Session::new(claim.answer(secret, index, self.config.offer, &mut response)?);
        let paths = self.members.iter().flatten().map(|member| &member.path);
        let is_known = paths.filter_map(Path::place).any(|place| place.address == arrival.from);
        if !is_known {
            self.next_unproved = if self.next_unproved == 1 { 2 } else { 1 };
        }
        if let Some(place) = self.unproved.get_mut(if is_known { 0 } else { self.next_unproved }) {
            *place = Some(Unproved { session, mac1, response });
        }
        Ok(response)
    }

    fn install(&mut self, session: Session<LINKS>, now: Instant) {
        if let Some(old) = self.current.replace(session) {
            self.previous = Some((old, now + STRAGGLERS));
        }
        self.lost_since = None;
        for member in self.members.iter_mut().flatten() {
            member.path.new_session(now);
        }
    }

    fn finish(&mut self, datagram: &[u8], now: Instant) -> Result<(), HandshakeError> {
        let asking = self.asking.as_mut().ok_or(HandshakeError::NotAwaited)?;
        let established: Established = asking.initiator().ok_or(HandshakeError::NotAwaited)?.finish(datagram)?;
        asking.done();
        self.install(Session::new(established), now);
        Ok(())
    }

    /// The peer used an unproved session: it holds the keys, and they are the keys from now on.
    fn promote(&mut self, place: usize, now: Instant) {
        if let Some(unproved) = self.unproved.get_mut(place).and_then(Option::take) {
            self.install(unproved.session, now);
        }
    }

    fn handshake_message(&mut self, kind: MessageKind, datagram: &[u8], now: Instant) -> Result<(), HandshakeError> {
        match kind {
            MessageKind::Response => self.finish(datagram, now),
            MessageKind::Cookie => self.asking.as_mut().ok_or(HandshakeError::NotAwaited)?.take_cookie(datagram, now),
            MessageKind::Refusal => {
                let refusal = Refusal::parse(datagram)?;
                let awaited = self.asking.as_mut().and_then(Asking::initiator).map(|initiator| initiator.index());
                if awaited != Some(refusal.receiver) {
                    return Err(HandshakeError::NotAwaited);
                }
                self.trouble = Some(Trouble("the server refused: it lacks this version, pattern or feature"));
                Ok(())
            }
            MessageKind::Initiation | MessageKind::Data => Err(HandshakeError::NotAwaited),
        }
    }
}

/// From the device to the links.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Whether [`Peer::send`] takes a packet now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bond.has_room()
    }

    /// Takes a packet from the device.
    pub fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot) {
        let is_up = self.is_up();
        self.bond.send(pool, slot, is_up);
    }

    /// Writes the next datagram to `out`, which should hold [`MAX_DATAGRAM`] bytes.
    pub fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if let Some(transmit) = self.ask(now, out).or_else(|| self.transmit_errand(now, out)) {
            return Some(transmit);
        }
        while self.bond.is_waiting() {
            let candidates = self.candidates();
            let outgoing = self.bond.next(pool, candidates.as_deref().map_err(|wait| *wait))?;
            match self.seal_data(pool, &outgoing, now, out) {
                Ok(transmit) => {
                    pool.put(outgoing.slot);
                    return Some(transmit);
                }
                Err(reason) => self.bond.drop_slot(pool, outgoing.slot, reason),
            }
        }
        None
    }

    /// A client's question for a session.
    fn ask(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let due = self.asking.as_ref()?.ask_at().is_some_and(|at| at <= now);
        let open = self.open_places();
        if !due || open.is_empty() {
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
        Some(Transmit { link: LinkId::new(place.socket.into()), to: place.address, len })
    }

    fn open_places(&self) -> heapless::Vec<Place, LINKS> {
        let open = self.members.iter().flatten().filter(|m| m.path.phase() != Phase::Closed && !m.blocked);
        open.filter_map(|member| member.path.place()).collect()
    }

    /// The next thing a link wants said.
    fn transmit_errand(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.current.as_ref()?;
        for index in 0..LINKS {
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
        let session = self.current.as_mut().ok_or(DropReason::NoSession)?;
        let flags = DataFlags { control: true, ..DataFlags::default() };
        let stamp = session.stamp(id, Label { flags, ..Label::default() }, now).ok_or(DropReason::NoSession)?;
        let body = out.get_mut(DATA_HEADER..).ok_or(DropReason::TooBig)?;
        let used = control::emit(frames, body).ok_or(DropReason::TooBig)?;
        let padded = used.max(usize::from(errand.pad_to).saturating_sub(DATA_OVERHEAD));
        body.get_mut(used..padded).ok_or(DropReason::TooBig)?.fill(0);
        let len = session.seal_in_place(stamp, padded, out)?;
        if let Some(member) = self.member_mut(id) {
            member.path.count_sent(len);
        }
        Ok(Transmit { link: LinkId::new(errand.to.socket.into()), to: errand.to.address, len })
    }

    fn seal_data<const SLOTS: usize>(
        &mut self,
        pool: &Pool<SLOTS>,
        outgoing: &Outgoing,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Transmit, DropReason> {
        let Outgoing { slot, link, order } = outgoing;
        let (link, order) = (*link, *order);
        let packet = pool.packet(slot).ok_or(DropReason::Malformed)?;
        let session = self.current.as_mut().ok_or(DropReason::NoSession)?;
        let label = Label {
            flags: DataFlags::default(),
            domain: if order.is_some() { DOMAIN } else { 0 },
            order_low: order.map_or(0, |Order(number)| (number & 0xff_ffff) as u32),
        };
        let stamp = session.stamp(link, label, now).ok_or(DropReason::NoSession)?;
        let len = session.seal(stamp, packet.as_bytes(), out)?;
        session.note_use(now);
        let member = self.member_mut(link).ok_or(DropReason::NoLink)?;
        member.path.count_sent(len);
        member.path.note_data(now);
        let place = member.path.place().ok_or(DropReason::NoLink)?;
        Ok(Transmit { link: LinkId::new(place.socket.into()), to: place.address, len })
    }

    fn candidates(&self) -> Result<heapless::Vec<Candidate, LINKS>, Wait> {
        if self.current.is_none() {
            return Err(Wait::ForLink);
        }
        let counts = self.counting();
        let tier = |member: &Member| tier(member).filter(|_| counts(member));
        let best = self.members.iter().flatten().filter_map(tier).min().ok_or(Wait::ForLink)?;
        let mut candidates = heapless::Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let Some(member) = member.as_ref().filter(|m| tier(m) == Some(best) && !m.blocked) else { continue };
            let rate_bytes_per_sec = member.path.settings().rate_bytes_per_sec;
            // As many places as links: it cannot be full.
            let _ = candidates.push(Candidate { index, rate_bytes_per_sec });
        }
        if candidates.is_empty() { Err(Wait::ForRoom) } else { Ok(candidates) }
    }

    /// Which links carry data and set the inner MTU: those whose path MTU is measured, unless none of these lives. Else
    /// every link that joins would lower the MTU for a moment, which hosts remember for minutes.
    fn counting(&self) -> impl Fn(&Member) -> bool + use<LINKS, WINDOW> {
        let is_sound = |member: &Member| member.path.is_measured() && tier(member).is_some_and(|tier| tier < SILENT);
        let any = self.members.iter().flatten().any(is_sound);
        move |member| member.path.is_measured() || !any
    }
}

/// From the links to the device.
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
                if !self.is_allowed(pool.packet(&slot).map_or(&[], |packet| packet.as_bytes())) {
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
        if header.domain > DOMAIN || usize::from(header.link) >= LINKS {
            return Err(DropReason::Malformed);
        }
        let counter = self.open_under(&header, packet, arrival.at)?;
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
            Control::Close => {
                self.current = None;
                for member in self.members.iter_mut().flatten() {
                    member.path.handle(Control::Leave, from, at);
                }
            }
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

    /// Whether the peer may send from the inner packet's source.
    fn is_allowed(&self, inner: &[u8]) -> bool {
        self.config.allowed.is_empty()
            || source_of(inner, self.config.medium)
                .is_some_and(|source| self.config.allowed.iter().any(|network| network.contains(source)))
    }

    /// The inner MTU follows the narrowest link that is up.
    fn follow_mtu(&mut self) {
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

/// Time and what there is to know.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// When [`Peer::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let speaks = self.current.is_some();
        let links = self.members.iter().enumerate().filter_map(|(index, member)| {
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
        let hold = self.bond.reorder.deadline(self.hold()).map(|at| Deadline { at, cause: Cause::Reorder });
        links.chain(ask).chain(worn).chain(wipe).chain(lost).chain(hold).min_by_key(|deadline| deadline.at)
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
        let hold = self.hold();
        self.bond.reorder.handle_timeout(hold, now);
        self.follow_mtu();
    }

    /// What happened, until None.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(trouble) = self.trouble.take() {
            return Some(Event::HandshakeTrouble(trouble));
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

    /// The largest inner IP packet, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.bond.mtu
    }

    /// Notes since when a session exists and no link of it carries anything.
    fn note_loss(&mut self, now: Instant) {
        let carries = self.members.iter().flatten().any(|member| tier(member).is_some_and(|tier| tier < SILENT));
        self.lost_since = if carries || self.current.is_none() { None } else { self.lost_since.or(Some(now)) };
    }

    fn hold(&self) -> Duration {
        let up = self.members.iter().flatten().filter(|member| member.path.phase() == Phase::Up);
        let rtts = up.map(|member| member.path.rtt());
        hold_time(rtts.map(|rtt| RoundTripFacts { smoothed: rtt.smoothed(), deviation: rtt.deviation() }))
    }
}

/// The tier of links that are silent.
const SILENT: u8 = Health::Silent.tier(false);

fn tier(member: &Member) -> Option<u8> {
    let path = &member.path;
    (path.phase() == Phase::Up).then(|| path.health().tier(path.settings().fallback_only))
}

/// The largest IP packet probed for: what the interface carries, and a buffer holds.
fn ceiling(interface_mtu: u16) -> u16 {
    const OUTER: usize = 28;
    interface_mtu.min(u16::try_from(MAX_DATAGRAM + OUTER).unwrap_or(u16::MAX)).min(ETHERNET_MTU)
}

/// What Ethernet carries: larger paths between a router and a server on the internet do not exist.
const ETHERNET_MTU: u16 = 1500;

/// What the user is told of a handshake message that was not accepted; nothing of what is merely late or forged.
const fn trouble(error: HandshakeError) -> Option<Trouble> {
    match error {
        HandshakeError::WrongSecret => Some(Trouble("the shared secret differs from the server's")),
        HandshakeError::Features(_) => Some(Trouble("the server needs a feature this version does not have")),
        HandshakeError::BadKey => Some(Trouble("the server's public key is not usable")),
        _ => None,
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A server of protocol 2: many peers, each with its own engine, on the same sockets and one device.
//!
//! A datagram finds its peer by the session index in it, a packet from the device by its destination among the peers'
//! networks; both take the same time however many peers there are. Only peers that something happened to are looked at
//! again, and timers are kept in order.
//!
//! One peer may speak the classic protocol: what begins like a classic datagram is for its engine and for no other.

mod classic;
mod time;

use std::collections::{BTreeSet, HashMap, VecDeque};

use mlvpn_core::memory::classic::MAX_FIRST_BYTE;
use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::memory::two::{MAX_INITIATION, MessageKind};
use mlvpn_core::stages::allow::destination_of;
use mlvpn_core::state::handshake::HandshakeError;
use mlvpn_core::state::identity::{PublicKey, SharedSecret};
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::tunnel::gateway::{Admission, Gateway};
use mlvpn_core::tunnel::peer::config::PeerConfig;
use mlvpn_core::tunnel::{self, Arrival, Transmit};
use mlvpn_core::words::drops::{DropReason, Drops};
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::network::Network;
use mlvpn_core::words::rules::Rules;
use mlvpn_core::words::time::Instant;

use super::facts::LinkFacts;
use super::peer_engine::{PeerEngine, PeerOfTwo};
use super::routes::Routes;
use crate::status::RepairStatus;

/// Answers of the gateway that wait to be sent; more are dropped, and their clients ask again.
const ANSWERS: usize = 16;

/// What a server knows of one peer.
pub(super) struct PeerSettings {
    /// How the log calls it.
    pub(super) name: String,
    /// Whence it may send and what is routed to it; everything when empty.
    pub(super) networks: Vec<Network>,
    /// By what it is known.
    pub(super) credentials: Credentials,
}

/// By what a peer is known.
pub(super) enum Credentials {
    /// Protocol 2.
    Two {
        /// Its key; none for the one peer that is known by a secret alone.
        public_key: Option<PublicKey>,
        /// The secret besides the key, or alone.
        secret: SharedSecret,
        config: Box<PeerConfig>,
    },
    /// The classic protocol, with the password in there.
    Classic(tunnel::Config),
}

struct Member {
    name: String,
    /// Shared besides the key, or alone.
    secret: SharedSecret,
    engine: PeerEngine,
    /// Its entry in `timers`.
    deadline: Option<Instant>,
    /// Whether it is in `ready`.
    is_ready: bool,
    is_up: bool,
}

/// The server. See the module's description.
pub(super) struct Server {
    gateway: Gateway,
    medium: Medium,
    /// A peer's place is half of its session indices; places of peers that left are used again.
    members: Vec<Option<Member>>,
    by_key: HashMap<[u8; 32], usize>,
    /// The place of the peer that is known by a secret alone.
    by_secret: Option<usize>,
    /// The place of the peer that speaks the classic protocol.
    classic: Option<usize>,
    /// The links of such a peer: the server's sockets, and whether each is open.
    sockets: Vec<Option<(LinkSettings, bool)>>,
    routes: Routes,
    /// Peers that may have something to deliver, send or tell.
    ready: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    answers: VecDeque<(Transmit, [u8; MAX_INITIATION])>,
    rules: Rules,
    drops: Drops,
    told_up: bool,
}

/// Peers.
impl Server {
    pub(super) fn new(gateway: Gateway, medium: Medium) -> Self {
        Self {
            gateway,
            medium,
            members: Vec::new(),
            by_key: HashMap::new(),
            by_secret: None,
            classic: None,
            sockets: Vec::new(),
            routes: Routes::default(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            answers: VecDeque::new(),
            rules: Rules::default(),
            drops: Drops::new(),
            told_up: false,
        }
    }

    /// Adds a peer; false when there are 65,536. `seed` is from the system's random source.
    pub(super) fn add_peer(&mut self, settings: PeerSettings, seed: [u8; 32], now: Instant) -> bool {
        let place = self.members.iter().position(Option::is_none).unwrap_or(self.members.len());
        let Ok(number) = u16::try_from(place) else { return false };
        // The one peer of a server need not name its networks.
        let all = [Network::ALL_IPV4, Network::ALL_IPV6];
        let networks = if settings.networks.is_empty() { &all[..] } else { &settings.networks[..] };
        networks.iter().for_each(|network| self.routes.add(*network, place));
        let (mut engine, secret) = match settings.credentials {
            Credentials::Two { public_key, secret, config } => {
                match public_key {
                    Some(key) => drop(self.by_key.insert(*key.as_bytes(), place)),
                    None => self.by_secret = Some(place),
                }
                (PeerEngine::Two(Box::new(PeerOfTwo::server(*config, number, seed))), secret)
            }
            Credentials::Classic(config) => {
                self.classic = Some(place);
                let engine = self.classic_engine(config, &settings.networks, seed, now);
                (PeerEngine::Classic(engine), SharedSecret::none())
            }
        };
        engine.set_rules(&self.rules);
        let name = settings.name;
        let member = Some(Member { name, secret, engine, deadline: None, is_ready: false, is_up: false });
        match self.members.get_mut(place) {
            Some(free) => *free = member,
            None => self.members.push(member),
        }
        self.touch(place);
        true
    }

    /// Says goodbye to the peer of this name with the next datagrams.
    pub(super) fn leave_peer(&mut self, name: &str) {
        self.with_peer(name, PeerEngine::leave);
    }

    /// Has every link of the peer of this name be down, which the next events tell.
    pub(super) fn close_peer(&mut self, name: &str) {
        self.with_peer(name, PeerEngine::close_links);
    }

    fn with_peer(&mut self, name: &str, act: impl FnOnce(&mut PeerEngine)) {
        let Some(place) = self.place_of(name) else { return };
        if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
            act(&mut member.engine);
            self.touch(place);
        }
    }

    /// Removes the peer of this name and gives back its packets. Let it leave and close it first, and drain its events.
    pub(super) fn remove_peer<const SLOTS: usize>(&mut self, name: &str, pool: &mut Pool<SLOTS>) {
        let Some(place) = self.place_of(name) else { return };
        if let Some(mut member) = self.members.get_mut(place).and_then(Option::take) {
            member.engine.clear(pool);
            self.drops.add(member.engine.drops());
            self.timers.retain(|(_, other)| *other != place);
            self.ready.retain(|other| *other != place);
            self.by_key.retain(|_, other| *other != place);
            self.by_secret.take_if(|other| *other == place);
            self.classic.take_if(|other| *other == place);
            self.routes.remove(place);
        }
    }

    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.as_ref().is_some_and(|member| member.name == name))
    }

    /// How the log calls the peer at a place.
    pub(super) fn name(&self, place: usize) -> &str {
        self.members.get(place).and_then(Option::as_ref).map_or("?", |member| &member.name)
    }

    /// Each peer's name and whether it is up.
    pub(super) fn peers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.members.iter().flatten().map(|member| (member.name.as_str(), member.engine.is_up()))
    }

    /// The engine of the peer at a place.
    pub(super) fn engine(&self, place: usize) -> Option<&PeerEngine> {
        Some(&self.members.get(place)?.as_ref()?.engine)
    }

    /// Packets of all peers that are held for a missing one.
    pub(super) fn reordering(&self) -> usize {
        self.members.iter().flatten().map(|member| member.engine.reordering()).sum()
    }

    /// Packets that wait for a link to any peer.
    pub(super) fn waiting(&self) -> usize {
        self.members.iter().flatten().map(|member| member.engine.waiting()).sum()
    }

    /// What was done about packets that the peers there are missed.
    pub(super) fn repairs(&self) -> RepairStatus {
        let each = self.members.iter().flatten().filter_map(|member| member.engine.repairs());
        each.fold(RepairStatus::default(), |sum, one| RepairStatus {
            resent: sum.resent.saturating_add(one.resent),
            unrepaired: sum.unrepaired.saturating_add(one.unrepaired),
            copied: sum.copied.saturating_add(one.copied),
            unread_reports: sum.unread_reports.saturating_add(one.unread_reports),
        })
    }

    pub(super) fn link(&self, place: usize, id: LinkId) -> Option<LinkFacts> {
        self.members.get(place)?.as_ref()?.engine.link(id)
    }

    /// Every drop, by reason: the server's own and those of all peers it has or had.
    pub(super) fn drops(&self) -> Drops {
        let mut drops = self.drops;
        self.members.iter().flatten().for_each(|member| drops.add(member.engine.drops()));
        drops
    }

    /// Says goodbye to every peer with the next datagrams.
    pub(super) fn leave(&mut self) {
        self.each(PeerEngine::leave);
    }

    /// Has every link of every peer be down, which the next events tell.
    pub(super) fn close_peers(&mut self) {
        self.each(PeerEngine::close_links);
    }

    pub(super) fn set_blocked(&mut self, socket: u8, blocked: bool) {
        self.each(|engine| engine.set_blocked(socket, blocked));
    }

    /// Has every peer's packets be treated by these rules, also those of peers that come.
    pub(super) fn set_rules(&mut self, rules: &Rules) {
        self.rules = rules.clone();
        self.each(|engine| engine.set_rules(rules));
    }

    fn each(&mut self, mut act: impl FnMut(&mut PeerEngine)) {
        for place in 0..self.members.len() {
            if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
                act(&mut member.engine);
                self.touch(place);
            }
        }
    }

    /// Something happened to the peer.
    fn touch(&mut self, place: usize) {
        if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut)
            && !member.is_ready
        {
            member.is_ready = true;
            self.ready.push_back(place);
        }
    }

    /// The first answer among the peers that are ready.
    fn first<R>(&mut self, mut ask: impl FnMut(&mut PeerEngine) -> Option<R>) -> Option<(usize, R)> {
        self.ready.iter().find_map(|place| {
            let member = self.members.get_mut(*place)?.as_mut()?;
            Some((*place, ask(&mut member.engine)?))
        })
    }
}

/// Packets.
impl Server {
    /// A full peer does not stop the others: its packets are dropped and counted, as on any shared line.
    pub(super) const fn has_room(&self) -> bool {
        true
    }

    /// Takes a packet from the device to the peer whose network its destination is in.
    /// `sockets` are those that filters chose.
    pub(super) fn send<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        sockets: &[LinkId],
        now: Instant,
    ) {
        let packet = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        let place = destination_of(packet, self.medium).and_then(|address| self.routes.find(address));
        match place.and_then(|place| Some((place, self.members.get_mut(place)?.as_mut()?))) {
            Some((place, member)) => {
                member.engine.send(pool, slot, sockets, now);
                self.touch(place);
            }
            None => self.drop_slot(pool, slot, DropReason::NoPeer),
        }
    }

    /// Takes a datagram from a socket.
    pub(super) fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        let datagram = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        let first = datagram.first().copied().unwrap_or_default();
        match MessageKind::of(first) {
            Some(MessageKind::Data) => {
                // The peer that speaks the classic protocol has a place, but no session.
                let place =
                    PeerOfTwo::number_in(datagram).map(usize::from).filter(|place| Some(*place) != self.classic);
                self.receive_at(place, DropReason::NoSession, (pool, slot), arrival);
            }
            Some(_) => {
                let mut out = [0; MAX_INITIATION];
                let admission = self.gateway.knock(datagram, arrival, &mut out);
                match self.admit(admission, datagram, arrival, &mut out) {
                    Ok(transmit) if self.answers.len() < ANSWERS => {
                        self.answers.push_back((transmit, out));
                        pool.put(slot);
                    }
                    Ok(_) => self.drop_slot(pool, slot, DropReason::QueueFull),
                    Err(reason) => self.drop_slot(pool, slot, reason),
                }
            }
            None => {
                let place = self.classic.filter(|_| first <= MAX_FIRST_BYTE);
                self.receive_at(place, DropReason::Unknown, (pool, slot), arrival);
            }
        }
    }

    /// Hands a datagram to the peer at `place`; without one it is dropped for `otherwise`.
    fn receive_at<const SLOTS: usize>(
        &mut self,
        place: Option<usize>,
        otherwise: DropReason,
        (pool, slot): (&mut Pool<SLOTS>, Slot),
        arrival: Arrival,
    ) {
        match place.and_then(|place| Some((place, self.members.get_mut(place)?.as_mut()?))) {
            Some((place, member)) => {
                member.engine.receive(pool, slot, arrival);
                self.touch(place);
            }
            None => self.drop_slot(pool, slot, otherwise),
        }
    }

    fn admit(
        &mut self,
        admission: Admission,
        datagram: &[u8],
        arrival: Arrival,
        out: &mut [u8],
    ) -> Result<Transmit, DropReason> {
        let claim = match admission {
            Admission::Claim(claim) => claim,
            Admission::Answer(transmit) => return Ok(transmit),
            Admission::Drop(reason) => return Err(reason),
        };
        let place = match &claim.public_key {
            Some(key) => self.by_key.get(key.as_bytes()).copied(),
            None => self.by_secret,
        };
        let place = place.ok_or(DropReason::Handshake)?;
        let member = self.members.get_mut(place).and_then(Option::as_mut).ok_or(DropReason::Handshake)?;
        let answered = member.engine.answer(claim, &member.secret, arrival, out);
        self.touch(place);
        match answered {
            Ok(transmit) => Ok(transmit),
            Err(HandshakeError::Contended) => match self.gateway.challenge(datagram, arrival, out) {
                Admission::Answer(transmit) => Ok(transmit),
                _ => Err(DropReason::Handshake),
            },
            Err(_) => Err(DropReason::Handshake),
        }
    }

    pub(super) fn poll_deliver(&mut self) -> Option<Slot> {
        self.first(PeerEngine::poll_deliver).map(|(_, slot)| slot)
    }

    pub(super) fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if let Some((transmit, message)) = self.answers.pop_front() {
            let len = transmit.len.min(out.len()).min(message.len());
            out.get_mut(..len)?.copy_from_slice(message.get(..len)?);
            return Some(transmit);
        }
        self.first(|engine| engine.poll_transmit(pool, now, out)).map(|(_, transmit)| transmit)
    }

    fn drop_slot<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, reason: DropReason) {
        self.drops.count(reason);
        pool.put(slot);
    }

    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.each(|engine| engine.clear(pool));
    }
}

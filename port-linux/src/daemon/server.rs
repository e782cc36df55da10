// SPDX-License-Identifier: BSD-2-Clause
//! A server of protocol 2: many peers, each with its own engine, on the same sockets and one device.
//!
//! A datagram finds its peer by the session index in it, a packet from the device by its destination among the peers'
//! networks; both take the same time however many peers there are. Only peers that something happened to are looked at
//! again, and timers are kept in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::memory::two::{MAX_INITIATION, MessageKind};
use mlvpn_core::stages::allow::destination_of;
use mlvpn_core::state::identity::{PublicKey, SharedSecret};
use mlvpn_core::state::path::Path;
use mlvpn_core::tunnel::gateway::{Admission, Gateway};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::{Network, PeerConfig};
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::drops::{DropReason, Drops};
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::time::Instant;

use super::engine::Source;

/// Links one client may have.
pub(super) const PEER_LINKS: usize = 8;

/// Packets a peer's reorder buffer can hold.
const PEER_WINDOW: usize = 256;

/// Answers of the gateway that wait to be sent; more are dropped, and their clients ask again.
const ANSWERS: usize = 16;

type Engine = Peer<PEER_LINKS, PEER_WINDOW>;

/// What a server knows of one peer.
pub(super) struct PeerSettings {
    /// How the log calls it.
    pub(super) name: String,
    /// Its key; none for the one peer that is known by a secret alone.
    pub(super) public_key: Option<PublicKey>,
    /// The secret besides the key, or alone.
    pub(super) secret: SharedSecret,
    pub(super) config: PeerConfig,
}

struct Member {
    settings: PeerSettings,
    engine: Box<Engine>,
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
    routes: Routes,
    /// Peers that may have something to deliver, send or tell.
    ready: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    answers: VecDeque<(Transmit, [u8; MAX_INITIATION])>,
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
            routes: Routes::default(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            answers: VecDeque::new(),
            drops: Drops::new(),
            told_up: false,
        }
    }

    /// Adds a peer; false when there are 65,536.
    pub(super) fn add_peer(&mut self, settings: PeerSettings, seed: [u8; 32]) -> bool {
        let place = self.members.iter().position(Option::is_none).unwrap_or(self.members.len());
        let Ok(number) = u16::try_from(place) else { return false };
        match settings.public_key {
            Some(key) => drop(self.by_key.insert(*key.as_bytes(), place)),
            None => self.by_secret = Some(place),
        }
        // The one peer of a server need not name its networks.
        let all = [Network::ALL_IPV4, Network::ALL_IPV6];
        let networks = if settings.config.allowed.is_empty() { &all[..] } else { &settings.config.allowed[..] };
        for network in networks {
            self.routes.add(*network, place);
        }
        let engine = Box::new(Engine::server(settings.config.clone(), number, seed));
        let member = Some(Member { settings, engine, deadline: None, is_ready: false, is_up: false });
        match self.members.get_mut(place) {
            Some(free) => *free = member,
            None => self.members.push(member),
        }
        true
    }

    /// Removes the peer of this name and gives back its packets.
    pub(super) fn remove_peer<const SLOTS: usize>(&mut self, name: &str, pool: &mut Pool<SLOTS>) {
        let Some(place) = self.place_of(name) else { return };
        if let Some(mut member) = self.members.get_mut(place).and_then(Option::take) {
            member.engine.clear(pool);
            self.timers.retain(|(_, other)| *other != place);
            self.ready.retain(|other| *other != place);
            self.by_key.retain(|_, other| *other != place);
            self.by_secret.take_if(|other| *other == place);
            self.routes.remove(place);
        }
    }

    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.as_ref().is_some_and(|member| member.settings.name == name))
    }

    /// How the log calls the peer at a place.
    pub(super) fn name(&self, place: usize) -> &str {
        self.members.get(place).and_then(Option::as_ref).map_or("?", |member| &member.settings.name)
    }

    /// Each peer's name and whether it is up.
    pub(super) fn peers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.members.iter().flatten().map(|member| (member.settings.name.as_str(), member.is_up))
    }

    /// The places of the peers.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.members.iter().enumerate().filter_map(|(place, member)| member.as_ref().map(|_| place))
    }

    /// The engine of the peer at a place.
    pub(super) fn engine(&self, place: usize) -> Option<&Engine> {
        Some(&self.members.get(place)?.as_ref()?.engine)
    }

    /// Packets dropped that are of no peer.
    pub(super) const fn drops(&self) -> &Drops {
        &self.drops
    }

    pub(super) fn link(&self, place: usize, id: LinkId) -> Option<&Path> {
        self.members.get(place)?.as_ref()?.engine.link(id)
    }

    /// Says goodbye to every peer with the next datagrams.
    pub(super) fn leave(&mut self) {
        self.each(|engine| (0..PEER_LINKS).for_each(|index| engine.leave_link(LinkId::new(index))));
    }

    pub(super) fn set_blocked(&mut self, socket: u8, blocked: bool) {
        self.each(|engine| engine.set_blocked(socket, blocked));
    }

    fn each(&mut self, mut act: impl FnMut(&mut Engine)) {
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
    fn first<R>(&mut self, mut ask: impl FnMut(&mut Engine) -> Option<R>) -> Option<(usize, R)> {
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
    pub(super) fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot) {
        let packet = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        let place = destination_of(packet, self.medium).and_then(|address| self.routes.find(address));
        match place.and_then(|place| Some((place, self.members.get_mut(place)?.as_mut()?))) {
            Some((place, member)) => {
                member.engine.send(pool, slot);
                self.touch(place);
            }
            None => self.drop_slot(pool, slot, DropReason::NoLink),
        }
    }

    /// Takes a datagram from a socket.
    pub(super) fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        let datagram = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        match datagram.first().copied().and_then(MessageKind::of) {
            Some(MessageKind::Data) => {
                let place = Engine::number_in(datagram).map(usize::from);
                match place.and_then(|place| Some((place, self.members.get_mut(place)?.as_mut()?))) {
                    Some((place, member)) => {
                        member.engine.receive(pool, slot, arrival);
                        self.touch(place);
                    }
                    None => self.drop_slot(pool, slot, DropReason::NoSession),
                }
            }
            Some(_) => {
                let mut out = [0; MAX_INITIATION];
                let admission = self.gateway.knock(datagram, arrival, &mut out);
                match self.admit(admission, arrival, &mut out) {
                    Ok(transmit) if self.answers.len() < ANSWERS => {
                        self.answers.push_back((transmit, out));
                        pool.put(slot);
                    }
                    Ok(_) => self.drop_slot(pool, slot, DropReason::QueueFull),
                    Err(reason) => self.drop_slot(pool, slot, reason),
                }
            }
            None => self.drop_slot(pool, slot, DropReason::Unknown),
        }
    }

    fn admit(&mut self, admission: Admission, arrival: Arrival, out: &mut [u8]) -> Result<Transmit, DropReason> {
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
        let answered = member.engine.answer(claim, &member.settings.secret, arrival, out);
        self.touch(place);
        answered.map_err(|_| DropReason::Handshake)
    }

    pub(super) fn poll_deliver(&mut self) -> Option<Slot> {
        self.first(Engine::poll_deliver).map(|(_, slot)| slot)
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

/// Time and events.
impl Server {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, place)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, place));
            if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
                member.deadline = None;
                member.engine.handle_timeout(now);
                self.touch(place);
            }
        }
    }

    /// The next event. When there is none, the peers that were ready have been served, and their timers are set anew.
    pub(super) fn poll_event(&mut self) -> Option<(Source, Event)> {
        while let Some((place, event)) = self.first(Engine::poll_event) {
            match event {
                Event::TunnelUp | Event::TunnelDown => {
                    if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
                        member.is_up = event == Event::TunnelUp;
                    }
                }
                _ => return Some((Source::Peer(place), event)),
            }
        }
        while let Some(place) = self.ready.pop_front() {
            self.rearm(place);
        }
        let up = self.members.iter().flatten().any(|member| member.is_up);
        if std::mem::replace(&mut self.told_up, up) == up {
            return None;
        }
        Some((Source::Tunnel, if up { Event::TunnelUp } else { Event::TunnelDown }))
    }

    fn rearm(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) else { return };
        member.is_ready = false;
        let deadline = member.engine.poll_timeout().map(|deadline| deadline.at);
        if deadline != member.deadline {
            if let Some(old) = std::mem::replace(&mut member.deadline, deadline) {
                self.timers.remove(&(old, place));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, place));
            }
        }
    }
}

/// The peers' networks: for each length of prefix, longest first, a table by the prefix's bits.
#[derive(Debug, Default)]
struct Routes {
    ipv4: BTreeMap<std::cmp::Reverse<u8>, HashMap<u32, usize>>,
    ipv6: BTreeMap<std::cmp::Reverse<u8>, HashMap<u128, usize>>,
}

impl Routes {
    fn add(&mut self, network: Network, place: usize) {
        let length = std::cmp::Reverse(network.prefix_len);
        match network.address {
            IpAddr::V4(address) => {
                let bits = prefix_of_ipv4(address.to_bits(), network.prefix_len);
                self.ipv4.entry(length).or_default().insert(bits, place);
            }
            IpAddr::V6(address) => {
                let bits = prefix_of_ipv6(address.to_bits(), network.prefix_len);
                self.ipv6.entry(length).or_default().insert(bits, place);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        self.ipv4.values_mut().for_each(|table| table.retain(|_, other| *other != place));
        self.ipv6.values_mut().for_each(|table| table.retain(|_, other| *other != place));
        self.ipv4.retain(|_, table| !table.is_empty());
        self.ipv6.retain(|_, table| !table.is_empty());
    }

    /// The peer whose longest prefix holds `address`.
    fn find(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => self
                .ipv4
                .iter()
                .find_map(|(length, table)| table.get(&prefix_of_ipv4(address.to_bits(), length.0)).copied()),
            IpAddr::V6(address) => self
                .ipv6
                .iter()
                .find_map(|(length, table)| table.get(&prefix_of_ipv6(address.to_bits(), length.0)).copied()),
        }
    }
}

const fn prefix_of_ipv4(bits: u32, length: u8) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(length as u32)) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

const fn prefix_of_ipv6(bits: u128, length: u8) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(length as u32)) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix_len: u8) -> Network {
        Network { address: text.parse().expect("an address"), prefix_len }
    }

    fn find(routes: &Routes, address: &str) -> Option<usize> {
        routes.find(address.parse().expect("an address"))
    }

    #[test]
    fn a_packet_goes_to_the_peer_with_the_longest_prefix() {
        let mut routes = Routes::default();
        routes.add(network("0.0.0.0", 0), 0);
        routes.add(network("10.0.0.0", 8), 1);
        routes.add(network("10.1.2.0", 24), 2);
        routes.add(network("10.1.2.3", 32), 3);
        routes.add(network("fd00::", 8), 4);
        for (address, place) in [("10.1.2.3", 3), ("10.1.2.4", 2), ("10.9.9.9", 1), ("192.0.2.1", 0), ("fd12::1", 4)] {
            assert_eq!(find(&routes, address), Some(place), "{address}");
        }
        assert_eq!(find(&routes, "2001:db8::1"), None);
    }

    #[test]
    fn a_peer_that_left_gets_no_packets() {
        let mut routes = Routes::default();
        routes.add(network("10.0.0.0", 8), 1);
        routes.add(network("10.1.0.0", 16), 2);
        routes.remove(2);
        assert_eq!(find(&routes, "10.1.0.1"), Some(1));
        routes.remove(1);
        assert_eq!(find(&routes, "10.1.0.1"), None);
    }
}

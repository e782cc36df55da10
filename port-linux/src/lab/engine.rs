// SPDX-License-Identifier: BSD-2-Clause
//! One end of a protocol-2 tunnel as an [`Endpoint`]: the engine, a server's gateway, and their packets, with made-up
//! addresses instead of sockets.
//!
//! Ports 0 to `LINKS - 1` are the links, where sealed datagrams pass; port [`TunnelEnd::DEVICE`] is the tunnel device,
//! where inner packets do. Time is an argument, so it runs in virtual and in real time alike.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::memory::two::MessageKind;
use mlvpn_core::state::handshake::{HandshakeError, Identity, Responder};
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::gateway::{Admission, Gateway};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::{ClientCredentials, PeerConfig};
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::{EGRESS_SLOTS, MAX_DATAGRAM};
use mlvpn_core::words::time::Instant;

use super::virtual_time::Endpoint;

/// Packets that may wait at the device while the engine has no room: Linux's queue length for TUN devices.
const DEVICE_QUEUE: usize = 500;

/// Events kept for whoever asks; the oldest go first.
const EVENTS_KEPT: usize = 1024;

/// Handshakes a server reads in a second without a cookie: there is one client, which asks twice a second.
const UNGUARDED_HANDSHAKES: u32 = 100;

/// What every link's interface carries, in bytes: Ethernet's.
const LINK_MTU: u16 = 1500;

/// The port both ends' links have: MLVPN's usual one.
const UDP_PORT: u16 = 5080;

/// The engine, its packet memory of `SLOTS` packets, and what waits at its device.
///
/// `SLOTS` must hold the reorder window, the engine's queue and one packet in hand.
pub struct TunnelEnd<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> {
    peer: Box<Peer<LINKS, WINDOW>>,
    /// A server's, with the secret its client shares.
    gateway: Option<(Gateway, SharedSecret)>,
    /// What the gateway answers, and on which link.
    answers: VecDeque<(usize, Vec<u8>)>,
    /// A server's links, of which it learns from its client: their settings until then.
    expected: Vec<Option<LinkSettings>>,
    pool: Box<Pool<SLOTS>>,
    /// Packets from the device that the engine has no room for yet.
    waiting: VecDeque<Vec<u8>>,
    /// Packets from the device that found the queue full.
    overflowed: u64,
    /// Packets for the device.
    delivered: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    out: Box<[u8]>,
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> std::fmt::Debug for TunnelEnd<LINKS, WINDOW, SLOTS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelEnd")
            .field("role", &self.role())
            .field("waiting", &self.waiting.len())
            .field("overflowed", &self.overflowed)
            .finish_non_exhaustive()
    }
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> TunnelEnd<LINKS, WINDOW, SLOTS> {
    /// The port of the tunnel device.
    pub const DEVICE: usize = LINKS;

    /// An end without links, of two that share `secret`. `seed` draws its ephemeral keys and more: random where datagrams
    /// leave the process, fixed where a run is to be repeated.
    ///
    /// # Panics
    /// When the machine has no memory for the packets or no thread to lay them out.
    #[must_use]
    pub fn new(role: Role, config: PeerConfig, secret: SharedSecret, seed: [u8; 32]) -> Self {
        const { assert!(SLOTS > WINDOW + EGRESS_SLOTS, "packets held and waiting leave none to receive into") };
        let gateway = (role == Role::Server).then(|| {
            let responder = Responder::new(Identity::Secret(secret.clone()));
            (Gateway::new(None, Some(responder), UNGUARDED_HANDSHAKES, seed), secret.clone())
        });
        let (peer, pool) = on_a_large_stack(move || {
            let peer = match role {
                Role::Client => Peer::client(config, ClientCredentials::Secret(secret), 0, seed),
                Role::Server => Peer::server(config, 0, seed),
            };
            (Box::new(peer), Box::new(Pool::new()))
        });
        Self {
            peer,
            gateway,
            answers: VecDeque::new(),
            expected: vec![None; LINKS],
            pool,
            waiting: VecDeque::new(),
            overflowed: 0,
            delivered: VecDeque::new(),
            events: VecDeque::new(),
            out: vec![0; MAX_DATAGRAM].into(),
        }
    }

    const fn role(&self) -> Role {
        if self.gateway.is_some() { Role::Server } else { Role::Client }
    }

    /// Adds a link and opens it: a client begins to ask for it at once, a server takes it when its client does.
    ///
    /// # Panics
    /// When the engine has no place for a link of this number.
    pub fn open_link(&mut self, index: usize, settings: LinkSettings, now: Instant) {
        assert!(index < LINKS, "link {index} of {LINKS}");
        match self.role() {
            Role::Client => {
                self.peer.set_link(LinkId::new(index), settings);
                self.peer.open_link(LinkId::new(index), address(Role::Server, index), LINK_MTU, now);
            }
            Role::Server => self.expected[index] = Some(settings),
        }
    }

    /// The engine, to look at.
    #[must_use]
    pub const fn peer(&self) -> &Peer<LINKS, WINDOW> {
        &self.peer
    }

    /// The engine, to change; what that makes it send leaves with the next datagrams.
    pub const fn peer_mut(&mut self) -> &mut Peer<LINKS, WINDOW> {
        &mut self.peer
    }

    /// The next thing that happened; of many never asked for, the last thousand.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Packets from the device that were lost because too many waited there.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn receive(&mut self, index: usize, datagram: &[u8], now: Instant) {
        let from = match self.role() {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let arrival = Arrival { link: LinkId::new(index), from: address(from, index), ecn: Ecn::NotEct, at: now };
        if datagram.first().copied().and_then(MessageKind::of) == Some(MessageKind::Initiation) {
            return self.knock(datagram, arrival);
        }
        let Some(slot) = self.pool.take() else { return self.overflowed += 1 };
        if !self.pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(datagram)) {
            // Longer than any datagram of a tunnel: a socket would have cut it short.
            return self.pool.put(slot);
        }
        self.peer.receive(&mut self.pool, slot, arrival);
        self.deliver();
        self.peer.handle_timeout(now);
        self.set_learned_link(index);
    }

    /// A question for a session, which only a server answers.
    fn knock(&mut self, datagram: &[u8], arrival: Arrival) {
        let Some((gateway, secret)) = &mut self.gateway else { return };
        let mut out = [0; MAX_DATAGRAM];
        let mut admission = gateway.knock(datagram, arrival, &mut out);
        if let Admission::Claim(claim) = admission {
            admission = match self.peer.answer(claim, secret, arrival, &mut out) {
                Ok(transmit) => Admission::Answer(transmit),
                Err(HandshakeError::Contended) => gateway.challenge(datagram, arrival, &mut out),
                Err(_) => return,
            };
        }
        if let Admission::Answer(Transmit { link, len, .. }) = admission {
            self.answers.push_back((link.index(), out.get(..len).unwrap_or_default().to_vec()));
        }
    }

    /// A server gives a link its settings once it has learned of it.
    fn set_learned_link(&mut self, index: usize) {
        let id = LinkId::new(index);
        if self.peer.link(id).is_some()
            && let Some(settings) = self.expected.get_mut(index).and_then(Option::take)
        {
            self.peer.set_link(id, settings);
        }
    }

    fn take_from_device(&mut self, now: Instant) {
        while self.peer.has_room()
            && let Some(packet) = self.waiting.pop_front()
        {
            let Some(slot) = self.pool.take() else { return self.waiting.push_front(packet) };
            if self.pool.packet_mut(&slot).is_some_and(|place| place.copy_from(&packet)) {
                self.peer.send(&mut self.pool, slot, now);
                self.deliver();
            } else {
                self.overflowed += 1;
                self.pool.put(slot);
            }
        }
    }

    /// At once after every call that may release packets, as the engine demands: it holds no more than its window.
    fn deliver(&mut self) {
        while let Some(slot) = self.peer.poll_deliver() {
            self.delivered.extend(self.pool.packet(&slot).map(|packet| packet.as_bytes().to_vec()));
            self.pool.put(slot);
        }
    }

    fn note_events(&mut self) {
        while let Some(event) = self.peer.poll_event() {
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> Endpoint for TunnelEnd<LINKS, WINDOW, SLOTS> {
    fn on_datagram(&mut self, port: usize, datagram: Vec<u8>, now: Instant) {
        if port < LINKS {
            self.receive(port, &datagram, now);
        } else if self.waiting.len() < DEVICE_QUEUE {
            self.waiting.push_back(datagram);
        } else {
            self.overflowed += 1;
        }
    }

    fn on_timer(&mut self, now: Instant) {
        self.peer.handle_timeout(now);
        self.deliver();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.peer.poll_timeout().map(|deadline| deadline.at)
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        self.take_from_device(now);
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if let Some(packet) = self.delivered.pop_front() {
            return Some((Self::DEVICE, packet));
        }
        if let Some(transmit) = self.peer.poll_transmit(&mut self.pool, now, &mut self.out) {
            let datagram = self.out.get(..transmit.len).unwrap_or_default().to_vec();
            return Some((transmit.link.index(), datagram));
        }
        self.note_events();
        None
    }
}

/// Where the link of this number ends on each side: addresses of documentation (RFC 5737).
fn address(role: Role, index: usize) -> SocketAddr {
    let host = u8::try_from(index.saturating_add(1)).unwrap_or(u8::MAX);
    let address = match role {
        Role::Client => Ipv4Addr::new(192, 0, 2, host),
        Role::Server => Ipv4Addr::new(198, 51, 100, host),
    };
    (address, UDP_PORT).into()
}

/// Unoptimised builds lay a value out on the stack before they box it, and megabytes of packets exceed what a thread
/// has by default.
fn on_a_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    const STACK_BYTES: usize = 64 << 20;
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread for a moment");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::super::virtual_time::{EndpointId, Port, World};
    use super::*;
    use mlvpn_core::state::handshake::Offer;
    use mlvpn_core::state::link::Phase;
    use mlvpn_core::words::drops::DropReason;
    use mlvpn_core::words::ids::Medium;
    use mlvpn_core::words::time::Duration;

    type End = TunnelEnd<2, 64, 192>;

    /// A tunnel end whose device keeps what it is given.
    struct Station {
        end: End,
        device: Vec<Vec<u8>>,
    }

    impl Endpoint for Station {
        fn on_datagram(&mut self, port: usize, datagram: Vec<u8>, now: Instant) {
            self.end.on_datagram(port, datagram, now);
        }
        fn on_timer(&mut self, now: Instant) {
            self.end.on_timer(now);
        }
        fn next_deadline(&self) -> Option<Instant> {
            self.end.next_deadline()
        }
        fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
            loop {
                match self.end.poll_transmit(now)? {
                    (End::DEVICE, packet) => self.device.push(packet),
                    sent => return Some(sent),
                }
            }
        }
    }

    fn config() -> PeerConfig {
        let offer = Offer { aes_in_hardware: false, max_links: 2 };
        PeerConfig { medium: Medium::Ip, max_mtu: 1500, reorder: true, offer, allowed: std::iter::empty().collect() }
    }

    fn two_ends(links: &[&str]) -> (World<Station>, EndpointId, EndpointId) {
        let mut world = World::new(Instant::ORIGIN);
        let [client, server] = [(Role::Client, 1), (Role::Server, 2)].map(|(role, seed)| {
            let secret = SharedSecret::from_random([9; 32].into());
            let mut end = End::new(role, config(), secret, [seed; 32]);
            for index in 0..links.len() {
                end.open_link(index, LinkSettings::default(), Instant::ORIGIN);
            }
            world.add(Station { end, device: Vec::new() })
        });
        for (number, spec) in links.iter().enumerate() {
            let port = |endpoint| Port { endpoint, number };
            world.connect(port(client), port(server), &spec.parse().expect(spec), number as u64);
        }
        (world, client, server)
    }

    /// An IPv4 header of this total length and no particular payload.
    fn ip_packet(len: u16) -> Vec<u8> {
        let mut packet = vec![0; usize::from(len)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet[8..10].copy_from_slice(&[64, 17]);
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    #[test]
    fn two_ends_come_up_and_carry_packets() {
        let (mut world, client, server) = two_ends(&["10mbit/5ms", "1mbit/30ms"]);
        world.run_for(Duration::from_millis(200)).expect("time passes");
        for id in [client, server] {
            let peer = world.endpoint(id).end.peer();
            assert!((0..2).all(|link| peer.link(LinkId::new(link)).expect("open").phase() == Phase::Up));
        }
        let sent: Vec<_> = (0..40).map(|n| ip_packet(100 + n)).collect();
        for packet in &sent {
            let now = world.now();
            world.endpoint_mut(client).on_datagram(End::DEVICE, packet.clone(), now);
        }
        world.run_for(Duration::from_secs(1)).expect("time passes");
        // The first packets of a flow wait for none, so they need not be in order.
        let mut arrived = world.endpoint(server).device.clone();
        arrived.sort_by_key(Vec::len);
        assert_eq!(arrived, sent);
        let events: Vec<_> = std::iter::from_fn(|| world.endpoint_mut(client).end.poll_event()).collect();
        assert!(events.contains(&Event::TunnelUp), "{events:?}");
    }

    #[test]
    fn of_more_than_there_is_room_for_some_overflows_and_the_oldest_of_the_rest_is_dropped() {
        let (mut world, client, server) = two_ends(&["unlimited/1ms"]);
        world.run_for(Duration::from_millis(50)).expect("time passes");
        let now = world.now();
        let count = u16::try_from(DEVICE_QUEUE).expect("a short queue") + 7;
        for number in 0..count {
            world.endpoint_mut(client).on_datagram(End::DEVICE, ip_packet(60 + number), now);
        }
        world.run_for(Duration::from_millis(500)).expect("time passes");
        let arrived: Vec<usize> = world.endpoint(server).device.iter().map(Vec::len).collect();
        let dropped = world.endpoint(client).end.peer().drops().of(DropReason::Congestion);
        assert_eq!(dropped + arrived.len() as u64, DEVICE_QUEUE as u64);
        assert!(dropped > 0 && arrived.contains(&usize::from(59 + count - 7)), "{arrived:?}");
        assert_eq!(world.endpoint(client).end.overflowed(), 7);
    }

    #[test]
    fn a_packet_too_big_is_answered_at_the_device() {
        let (mut world, client, _) = two_ends(&["10mbit/1ms"]);
        world.run_for(Duration::from_millis(50)).expect("time passes");
        let now = world.now();
        world.endpoint_mut(client).on_datagram(End::DEVICE, ip_packet(1500), now);
        world.run_for(Duration::from_millis(1)).expect("time passes");
        let station = world.endpoint(client);
        assert_eq!(station.end.peer().drops().of(DropReason::TooBig), 1);
        assert_eq!(station.device.len(), 1);
        assert_eq!(station.device[0][9], 1, "ICMP");
    }
}

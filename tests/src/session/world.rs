// SPDX-License-Identifier: BSD-2-Clause
//! A server, its clients, and the time they live in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::tunnel::Arrival;
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::{ClientCredentials, PeerConfig};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::{Duration, Instant};

use super::end::{End, SLOTS};
use super::server::Server;
use super::wire::{self, Wire};
use super::{keys, wire::HEADERS};
use crate::inner;
use crate::random::Random;

/// Time does not stand still for longer than this many rounds, or an engine asks for the same deadline for ever.
const MAX_ROUNDS_PER_INSTANT: u32 = 1_000;

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The client of this number.
    Client(u16),
    /// The server's engine for the client of this number.
    Server(u16),
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Whether a client sent it.
    pub is_up: bool,
    /// The client and its link; none when it goes where no client is.
    pub at: Option<(u16, u8)>,
    /// From where, as the receiver sees it.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Whether a datagram passes; it may be changed.
pub type Filter = Box<dyn FnMut(&mut Flight) -> bool>;

/// A client, its clock, and its wires.
pub struct Client<const LINKS: usize, const WINDOW: usize> {
    /// Engine and device.
    pub end: End<LINKS, WINDOW>,
    /// One per link.
    pub wires: Vec<Wire>,
    /// What its clock shows when the world begins.
    pub epoch: Duration,
}

/// See the module's description.
pub struct World<const LINKS: usize = 4, const WINDOW: usize = 64> {
    /// The clients, by number.
    pub clients: Vec<Client<LINKS, WINDOW>>,
    /// The server.
    pub server: Server<LINKS, WINDOW>,
    /// What the server's clock shows when the world begins.
    pub server_epoch: Duration,
    /// The packets of all ends.
    pub pool: Box<Pool<SLOTS>>,
    /// Decides about every datagram, when it is sent.
    pub filter: Filter,
    /// Every datagram sent, also the lost ones, while `records`.
    pub sent: Vec<Flight>,
    /// Whether `sent` is kept.
    pub records: bool,
    /// Bytes of IP packets sent, up and down.
    pub bytes: (u64, u64),
    now: Instant,
    random: Random,
    flights: BTreeMap<(Instant, u64), Flight>,
    count: u64,
    /// When each engine wants to be called, on the world's clock.
    due: BTreeMap<Who, Instant>,
    touched: BTreeSet<Who>,
    routes: BTreeMap<SocketAddr, (u16, u8)>,
}

/// Building.
impl<const LINKS: usize, const WINDOW: usize> World<LINKS, WINDOW> {
    /// A server and nobody else.
    #[must_use]
    pub fn empty(seed: u64) -> Self {
        Self {
            clients: Vec::new(),
            server: Server::new(seed ^ 0x5e4e),
            server_epoch: Duration::from_secs(1_000),
            pool: Box::new(Pool::new()),
            filter: Box::new(|_| true),
            sent: Vec::new(),
            records: true,
            bytes: (0, 0),
            now: Instant::ORIGIN,
            random: Random::new(seed),
            flights: BTreeMap::new(),
            count: 0,
            due: BTreeMap::new(),
            touched: BTreeSet::new(),
            routes: BTreeMap::new(),
        }
    }

    /// A server and one client with `links` links.
    #[must_use]
    pub fn one(seed: u64, links: u8) -> Self {
        let mut world = Self::empty(seed);
        world.add_client(links, keys::config(), keys::config());
        world
    }

    /// The same, up for three seconds, with no event left to read.
    #[must_use]
    pub fn up(seed: u64, links: u8) -> Self {
        let mut world = Self::one(seed, links);
        world.run_for(Duration::from_secs(3));
        assert!(world.clients[0].end.peer.is_up() && world.server.ends[0].peer.is_up(), "the tunnel does not come up");
        world.clients[0].end.events.clear();
        world.server.ends[0].events.clear();
        world.sent.clear();
        world
    }

    /// Adds a client that the server knows, with its links open.
    pub fn add_client(&mut self, links: u8, config: PeerConfig, servers: PeerConfig) {
        let number = u16::try_from(self.clients.len()).expect("few clients");
        let (ours, theirs) = (self.random.bits(), self.random.bits());
        self.server.add(servers, theirs);
        let credentials = keys::credentials(number);
        self.clients.push(Client {
            end: End::new(Peer::client(config, credentials, number, keys::seed(ours))),
            wires: (0..links).map(|link| Wire::new(number, link)).collect(),
            epoch: Duration::from_secs(100),
        });
        (0..links).for_each(|link| self.open(number, link));
    }

    /// Opens a client's link.
    pub fn open(&mut self, number: u16, link: u8) {
        let now = self.clock(Who::Client(number));
        let peer = &mut self.clients[usize::from(number)].end.peer;
        assert!(peer.set_link(LinkId::new(link.into()), LinkSettings::default()), "no place for link {link}");
        peer.open_link(LinkId::new(link.into()), wire::SERVER, 1500, now);
        self.touched.insert(Who::Client(number));
    }

    /// Starts a client anew, as when its process died.
    pub fn restart_client(&mut self, number: u16, config: PeerConfig, credentials: ClientCredentials) {
        let seed = self.random.bits();
        let client = &mut self.clients[usize::from(number)];
        client.end.peer.clear(&mut self.pool);
        client.end = End::new(Peer::client(config, credentials, number, keys::seed(seed)));
        let links = client.wires.len();
        (0..links).for_each(|link| self.open(number, u8::try_from(link).expect("few links")));
    }

    /// Starts the server anew, as when its process died.
    pub fn restart_server(&mut self, config: &PeerConfig) {
        let mut server = Server::new(self.random.bits());
        for end in &mut self.server.ends {
            end.peer.clear(&mut self.pool);
        }
        for _ in 0..self.clients.len() {
            server.add(config.clone(), self.random.bits());
        }
        server.secrets = std::mem::take(&mut self.server.secrets);
        self.server = server;
        self.due.retain(|who, _| matches!(who, Who::Client(_)));
    }
}

/// Running.
impl<const LINKS: usize, const WINDOW: usize> World<LINKS, WINDOW> {
    /// The world's time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What an end's clock shows.
    #[must_use]
    pub fn clock(&self, who: Who) -> Instant {
        self.now + self.epoch(who)
    }

    fn epoch(&self, who: Who) -> Duration {
        match who {
            Who::Client(number) => self.clients[usize::from(number)].epoch,
            Who::Server(_) => self.server_epoch,
        }
    }

    /// Has an engine asked what it wants sent, after a test changed something about it.
    pub fn touch(&mut self, who: Who) {
        self.touched.insert(who);
        self.settle();
    }

    /// One of the ends.
    pub fn end(&mut self, who: Who) -> &mut End<LINKS, WINDOW> {
        match who {
            Who::Client(number) => &mut self.clients[usize::from(number)].end,
            Who::Server(number) => &mut self.server.ends[usize::from(number)],
        }
    }

    /// A device hands over a packet. False when its end has no room.
    pub fn send(&mut self, who: Who, packet: &[u8]) -> bool {
        self.send_over(who, packet, &[])
    }

    /// The same with a packet that filters chose links for.
    pub fn send_over(&mut self, who: Who, packet: &[u8], links: &[LinkId]) -> bool {
        self.touched.insert(who);
        let end = match who {
            Who::Client(number) => &mut self.clients[usize::from(number)].end,
            Who::Server(number) => &mut self.server.ends[usize::from(number)],
        };
        end.send_over(&mut self.pool, (packet, links), self.now)
    }

    /// Sends packets of `len` bytes numbered by `numbers`, one every `gap`.
    pub fn stream(&mut self, who: Who, numbers: std::ops::Range<u64>, len: usize, gap: Duration) {
        for number in numbers {
            assert!(self.send(who, &inner::ipv4(len, number)), "no room for packet {number}");
            self.run_for(gap);
        }
    }

    /// Sends the same both ways between the first client and the server.
    pub fn stream_both(&mut self, numbers: std::ops::Range<u64>, len: usize, gap: Duration) {
        for number in numbers {
            for who in [Who::Client(0), Who::Server(0)] {
                assert!(self.send(who, &inner::ipv4(len, number)), "{who:?} has no room for packet {number}");
            }
            self.run_for(gap);
        }
    }

    /// Lets time pass, with all that happens in it.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        let mut rounds = 0;
        while let Some(at) = self.next_instant().filter(|at| *at <= end) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < MAX_ROUNDS_PER_INSTANT, "time stands still at {at:?}: {:?}", self.who_is_due());
            self.now = self.now.max(at);
            self.land();
            let now = self.now;
            self.touched.extend(self.due.iter().filter(|(_, at)| **at <= now).map(|(who, _)| *who));
            self.settle();
        }
        self.now = end;
    }

    /// Has a datagram reach the server now, from anywhere, as a forger or a recording would. Returns the gateway's answer.
    pub fn inject_up(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let arrival = Arrival { link: LinkId::new(0), from, ecn: Ecn::NotEct, at: self.clock(Who::Server(0)) };
        let (answer, number) = self.server.receive(&mut self.pool, bytes, arrival);
        self.touched.extend(number.map(Who::Server));
        self.settle();
        answer.map(|(to, bytes)| {
            assert_eq!(to, from, "an answer goes where the question came from");
            bytes
        })
    }

    /// Has a datagram reach a client now.
    pub fn inject_down(&mut self, (number, link): (u16, u8), from: SocketAddr, bytes: &[u8]) {
        let arrival =
            Arrival { link: LinkId::new(link.into()), from, ecn: Ecn::NotEct, at: self.clock(Who::Client(number)) };
        self.clients[usize::from(number)].end.receive(&mut self.pool, bytes, arrival);
        self.touched.insert(Who::Client(number));
        self.settle();
    }

    /// Every packet of the pool that is in use is one held for a missing one, one that waits for a link, or one sent of
    /// which nothing was said yet.
    pub fn assert_no_slot_is_lost(&self) {
        let ends = self.clients.iter().map(|client| &client.end).chain(&self.server.ends);
        let held: usize = ends.map(|end| end.peer.reordering() + end.peer.waiting() + end.peer.kept()).sum();
        assert_eq!(SLOTS - self.pool.available(), held);
    }

    fn who_is_due(&self) -> Vec<(Who, String)> {
        let due = self.due.iter().filter(|(_, at)| **at <= self.now);
        let timeout = |who| match who {
            Who::Client(number) => self.clients[usize::from(number)].end.peer.poll_timeout(),
            Who::Server(number) => self.server.ends[usize::from(number)].peer.poll_timeout(),
        };
        due.map(|(who, _)| (*who, format!("{:?}", timeout(*who)))).collect()
    }

    fn next_instant(&self) -> Option<Instant> {
        let landing = self.flights.keys().next().map(|(at, _)| *at);
        self.due.values().copied().chain(landing).min()
    }

    fn land(&mut self) {
        while let Some(entry) = self.flights.first_entry()
            && entry.key().0 <= self.now
        {
            let flight = entry.remove();
            if flight.is_up {
                let arrival = Arrival {
                    link: LinkId::new(0),
                    from: flight.from,
                    ecn: Ecn::NotEct,
                    at: self.clock(Who::Server(0)),
                };
                let (answer, number) = self.server.receive(&mut self.pool, &flight.bytes, arrival);
                self.touched.extend(number.map(Who::Server));
                if let Some((to, bytes)) = answer {
                    self.launch_down(to, bytes);
                }
            } else if let Some((number, link)) = flight.at {
                let at = self.clock(Who::Client(number));
                let arrival = Arrival { link: LinkId::new(link.into()), from: flight.from, ecn: Ecn::NotEct, at };
                self.clients[usize::from(number)].end.receive(&mut self.pool, &flight.bytes, arrival);
                self.touched.insert(Who::Client(number));
            }
        }
    }

    fn settle(&mut self) {
        while let Some(who) = self.touched.pop_first() {
            let now = self.clock(who);
            let end = match who {
                Who::Client(number) => &mut self.clients[usize::from(number)].end,
                Who::Server(number) => &mut self.server.ends[usize::from(number)],
            };
            let datagrams = end.drain(&mut self.pool, now);
            let deadline = end.peer.poll_timeout();
            let epoch = self.epoch(who);
            match deadline {
                // A deadline in the past is due now.
                Some(deadline) => {
                    let at = Instant::ORIGIN + deadline.at.since(Instant::ORIGIN + epoch);
                    self.due.insert(who, at.max(self.now))
                }
                None => self.due.remove(&who),
            };
            for (transmit, bytes) in datagrams {
                match who {
                    Who::Client(number) => {
                        let link = u8::try_from(transmit.link.index()).expect("few links");
                        self.launch_up((number, link), transmit.to, bytes);
                    }
                    Who::Server(_) => self.launch_down(transmit.to, bytes),
                }
            }
        }
    }

    fn launch_up(&mut self, (number, link): (u16, u8), to: SocketAddr, bytes: Vec<u8>) {
        let wire = self.clients[usize::from(number)].wires[usize::from(link)];
        self.bytes.0 += (bytes.len() + HEADERS) as u64;
        let flight = Flight { is_up: true, at: Some((number, link)), from: wire.client, to, bytes };
        self.launch(flight, &wire, to == wire::SERVER);
    }

    fn launch_down(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.bytes.1 += (bytes.len() + HEADERS) as u64;
        let at = self.find(to);
        // What goes to an address no client has is lost.
        let wire = at.map(|(number, link)| self.clients[usize::from(number)].wires[usize::from(link)]);
        let flight = Flight { is_up: false, at, from: wire::SERVER, to, bytes };
        self.launch(flight, &wire.unwrap_or_else(|| Wire::new(0, 0)), wire.is_some());
    }

    /// The link whose address is `to`. Addresses change seldom, so where one was last is looked first.
    fn find(&mut self, to: SocketAddr) -> Option<(u16, u8)> {
        let is_there = |clients: &[Client<LINKS, WINDOW>], (number, link): (u16, u8)| {
            clients[usize::from(number)].wires[usize::from(link)].client == to
        };
        if let Some(route) = self.routes.get(&to).copied().filter(|route| is_there(&self.clients, *route)) {
            return Some(route);
        }
        let found = self.clients.iter().enumerate().find_map(|(number, client)| {
            let link = client.wires.iter().position(|wire| wire.client == to)?;
            Some((u16::try_from(number).ok()?, u8::try_from(link).ok()?))
        })?;
        self.routes.insert(to, found);
        Some(found)
    }

    fn launch(&mut self, mut flight: Flight, wire: &Wire, is_routed: bool) {
        if self.records {
            self.sent.push(flight.clone());
        }
        if !is_routed || !(self.filter)(&mut flight) {
            return;
        }
        for delay in wire.copies(flight.bytes.len(), flight.is_up, &mut self.random) {
            self.count += 1;
            self.flights.insert((self.now + delay, self.count), flight.clone());
        }
    }
}

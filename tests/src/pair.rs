// SPDX-License-Identifier: BSD-2-Clause
//! A client and a server joined by links that have a delay and may be cut, in virtual time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::{Arrival, Config};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::{Duration, Instant};

use crate::end::{End, config};

/// Time does not stand still for longer than this many rounds, or an engine asks for the same deadline for ever.
const MAX_ROUNDS_PER_INSTANT: u32 = 1_000;

/// The underlay of one link.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Time a datagram takes, each way.
    pub delay: Duration,
    /// Whether datagrams pass at all.
    pub is_open: bool,
    /// Where the client's datagrams come from.
    pub client: SocketAddr,
    /// Where the server listens.
    pub server: SocketAddr,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Who sent it.
    pub sender: Role,
    /// Its link.
    pub link: LinkId,
    /// From where.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Whether a datagram passes.
pub type Filter = Box<dyn FnMut(&Flight) -> bool>;

/// Two ends, each with the same links.
pub struct Pair<const LINKS: usize = 2, const WINDOW: usize = 64, const SLOTS: usize = 256> {
    /// The end that asks.
    pub client: End<LINKS, WINDOW, SLOTS>,
    /// The end that answers.
    pub server: End<LINKS, WINDOW, SLOTS>,
    /// What lies between.
    pub paths: [Path; LINKS],
    /// Decides about every datagram, when it is sent.
    pub filter: Filter,
    /// Every datagram sent, also the lost ones.
    pub sent: Vec<Flight>,
    now: Instant,
    settings: LinkSettings,
    /// By arrival, then in the order they were sent.
    flights: BTreeMap<(Instant, u64), Flight>,
    count: u64,
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> Pair<LINKS, WINDOW, SLOTS> {
    /// Both ends with their links open, over paths of 10 ms each way. `change` is applied to both configurations.
    #[must_use]
    pub fn new(settings: LinkSettings, change: impl Fn(&mut Config)) -> Self {
        let configured = |role| {
            let mut config = config(role);
            change(&mut config);
            config
        };
        let mut pair = Self {
            client: End::new(configured(Role::Client), 1),
            server: End::new(configured(Role::Server), 2),
            paths: std::array::from_fn(path),
            filter: Box::new(|_| true),
            sent: Vec::new(),
            // Some time after the origin, as on a machine that has been running.
            now: Instant::from_micros(100_000_000),
            settings,
            flights: BTreeMap::new(),
            count: 0,
        };
        pair.open(Role::Client);
        pair.open(Role::Server);
        pair
    }

    /// A pair of default links that has been up for three seconds.
    #[must_use]
    pub fn up(settings: LinkSettings, change: impl Fn(&mut Config)) -> Self {
        let mut pair = Self::new(settings, change);
        pair.run_for(Duration::from_secs(3));
        assert!(pair.client.tunnel.is_up() && pair.server.tunnel.is_up(), "the tunnel does not come up");
        pair.client.events.clear();
        pair.server.events.clear();
        pair
    }

    /// The time now.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// One of the ends.
    pub const fn end(&mut self, role: Role) -> &mut End<LINKS, WINDOW, SLOTS> {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Starts an end anew, as when its process died, with another seed.
    pub fn restart(&mut self, role: Role, config: Config, seed: u8) {
        *self.end(role) = End::new(config, seed);
        self.open(role);
    }

    /// Sends packets of `len` bytes numbered by `numbers`, one every `gap`.
    pub fn stream(&mut self, from: Role, numbers: std::ops::Range<u64>, len: usize, gap: Duration) {
        for number in numbers {
            assert!(self.end(from).send(&crate::inner::ipv4(len, number)), "no room for packet {number}");
            self.run_for(gap);
        }
    }

    /// Lets time pass, with all that happens in it.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.flush();
        let mut rounds = 0;
        while let Some(at) = self.next_instant().filter(|at| *at <= end) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < MAX_ROUNDS_PER_INSTANT, "time stands still at {at:?}");
            self.now = self.now.max(at);
            self.land();
            self.client.tunnel.handle_timeout(self.now);
            self.server.tunnel.handle_timeout(self.now);
            self.flush();
        }
        self.now = end;
    }

    /// Has a datagram arrive at an end now, from anywhere, as a forger or a recording would.
    pub fn inject(&mut self, at: Role, link: LinkId, from: SocketAddr, bytes: &[u8]) {
        let arrival = Arrival { link, from, ecn: Ecn::NotEct, at: self.now };
        assert!(self.end(at).receive(bytes, arrival), "the pool is empty");
        self.flush();
    }

    fn open(&mut self, role: Role) {
        let (now, settings, paths) = (self.now, self.settings, self.paths);
        for (index, path) in paths.into_iter().enumerate() {
            let tunnel = &mut self.end(role).tunnel;
            assert!(tunnel.set_link(LinkId::new(index), settings, now), "no place for link {index}");
            tunnel.open_link(LinkId::new(index), (role == Role::Client).then_some(path.server), now);
        }
    }

    fn next_instant(&self) -> Option<Instant> {
        let landing = self.flights.keys().next().map(|(at, _)| *at);
        let timeouts = [&self.client, &self.server].map(|end| end.tunnel.poll_timeout().map(|deadline| deadline.at));
        timeouts.into_iter().chain([landing]).flatten().min()
    }

    fn land(&mut self) {
        while let Some(entry) = self.flights.first_entry()
            && entry.key().0 <= self.now
        {
            let flight = entry.remove();
            let arrival = Arrival { link: flight.link, from: flight.from, ecn: Ecn::NotEct, at: self.now };
            let receiver = if flight.sender == Role::Client { Role::Server } else { Role::Client };
            let end = self.end(receiver);
            assert!(end.receive(&flight.bytes, arrival), "the pool is empty");
            end.deliver(arrival.at);
        }
    }

    fn flush(&mut self) {
        for sender in [Role::Client, Role::Server] {
            let now = self.now;
            for datagram in self.end(sender).drain(now) {
                let path = self.paths[datagram.link.index()];
                let (from, there) =
                    if sender == Role::Client { (path.client, path.server) } else { (path.server, path.client) };
                let flight = Flight { sender, link: datagram.link, from, to: datagram.to, bytes: datagram.bytes };
                self.sent.push(flight.clone());
                // What goes to an address the peer has left is lost.
                if path.is_open && datagram.to == there && (self.filter)(&flight) {
                    self.count += 1;
                    self.flights.insert((now + path.delay, self.count), flight);
                }
            }
        }
    }
}

fn path(index: usize) -> Path {
    let host = u8::try_from(index + 1).expect("few links");
    Path {
        delay: Duration::from_millis(10),
        is_open: true,
        client: SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(198, 51, 100, host), 5_080)),
    }
}

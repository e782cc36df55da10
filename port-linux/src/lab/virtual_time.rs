// SPDX-License-Identifier: BSD-2-Clause
//! The virtual-time driver: endpoints and links, and a clock that jumps from event to event.
//!
//! Nothing sleeps and no clock is read, so a run is as fast as its events can be worked off, and the same seeds give
//! the same run to the last byte.

use std::fmt;

use mlvpn_core::words::time::{Duration, Instant};

use super::link::{Direction, LinkModel};
use super::spec::LinkSpec;

/// Something with numbered ports that packets enter and leave: a TCP stack, a tunnel engine, or both in one.
///
/// The driver calls [`on_datagram`](Self::on_datagram) and [`on_timer`](Self::on_timer), and after each round of them
/// [`poll_transmit`](Self::poll_transmit) until it yields nothing. `now` never runs backwards.
pub trait Endpoint {
    /// A datagram has arrived at `port`.
    fn on_datagram(&mut self, port: usize, datagram: Vec<u8>, now: Instant);

    /// The deadline has come. It must move on or go away within a bounded number of calls at one instant.
    fn on_timer(&mut self, now: Instant);

    /// When to call [`on_timer`](Self::on_timer); a time gone by means at once, `None` never.
    fn next_deadline(&self) -> Option<Instant>;

    /// The next datagram to send, and the port to send it from.
    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)>;
}

impl<E: Endpoint + ?Sized> Endpoint for Box<E> {
    fn on_datagram(&mut self, port: usize, datagram: Vec<u8>, now: Instant) {
        (**self).on_datagram(port, datagram, now);
    }

    fn on_timer(&mut self, now: Instant) {
        (**self).on_timer(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        (**self).next_deadline()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        (**self).poll_transmit(now)
    }
}

/// An endpoint of a [`World`], by the order they were added in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(usize);

/// A one-way link of a [`World`], by the order they were added in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireId(usize);

/// A port of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Whose port.
    pub endpoint: EndpointId,
    /// Its number, as the endpoint counts them.
    pub number: usize,
}

/// The two directions of a link made by [`World::connect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplex {
    /// From the user's side.
    pub up: WireId,
    /// Towards the user's side.
    pub down: WireId,
}

/// An endpoint asked for its timer again and again at one instant and never moved on: a bug in the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The instant that does not pass.
    pub at: Instant,
    /// An endpoint whose deadline is due there still, if it is one's timer and not datagrams sent in a circle.
    pub endpoint: Option<EndpointId>,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtual time stands still at {} us, endpoint {:?}", self.at.micros(), self.endpoint)
    }
}

impl std::error::Error for Stuck {}

/// Rounds of work at one instant after which the world counts as stuck; honest endpoints need a handful, and one that
/// sends a window of small packets over a perfect wire some thousands.
const MAX_ROUNDS: u32 = 100_000;

#[derive(Debug)]
struct Wire {
    from: Port,
    to: Port,
    model: LinkModel<Vec<u8>>,
}

/// Endpoints, the links between them, and the time. Datagrams sent from a port without a link are counted and gone.
#[derive(Debug)]
pub struct World<E> {
    now: Instant,
    endpoints: Vec<E>,
    wires: Vec<Wire>,
    unconnected: u64,
}

impl<E: Endpoint> World<E> {
    /// An empty world whose time begins at `start`.
    #[must_use]
    pub const fn new(start: Instant) -> Self {
        Self { now: start, endpoints: Vec::new(), wires: Vec::new(), unconnected: 0 }
    }

    /// Adds an endpoint.
    pub fn add(&mut self, endpoint: E) -> EndpointId {
        self.endpoints.push(endpoint);
        EndpointId(self.endpoints.len() - 1)
    }

    /// Adds a one-way link, which begins now. A later link from the same port takes the port over.
    pub fn connect_one_way(&mut self, from: Port, to: Port, direction: Direction, seed: u64) -> WireId {
        let model = LinkModel::new(direction, seed, self.now);
        self.wires.push(Wire { from, to, model });
        WireId(self.wires.len() - 1)
    }

    /// Adds both directions of a link between the `user` side (which gets the down rate) and the `far` side.
    pub fn connect(&mut self, user: Port, far: Port, spec: &LinkSpec, seed: u64) -> Duplex {
        let up = self.connect_one_way(user, far, spec.upward(seed), seed.wrapping_mul(2));
        let down = self.connect_one_way(far, user, spec.downward(seed), seed.wrapping_mul(2).wrapping_add(1));
        Duplex { up, down }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// An endpoint, to look at.
    ///
    /// # Panics
    /// When `id` comes from another world.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> &E {
        &self.endpoints[id.0]
    }

    /// An endpoint, to act upon between two runs.
    ///
    /// # Panics
    /// When `id` comes from another world.
    pub fn endpoint_mut(&mut self, id: EndpointId) -> &mut E {
        &mut self.endpoints[id.0]
    }

    /// The endpoints in the order they were added in, when all is done.
    #[must_use]
    pub fn into_endpoints(self) -> Vec<E> {
        self.endpoints
    }

    /// A link, to look at its counters.
    ///
    /// # Panics
    /// When `id` comes from another world.
    #[must_use]
    pub fn link(&self, id: WireId) -> &LinkModel<Vec<u8>> {
        &self.wires[id.0].model
    }

    /// A link, to change it between two runs; tell it [`now`](Self::now).
    ///
    /// # Panics
    /// When `id` comes from another world.
    pub fn link_mut(&mut self, id: WireId) -> &mut LinkModel<Vec<u8>> {
        &mut self.wires[id.0].model
    }

    /// Datagrams sent from ports that no link leaves.
    #[must_use]
    pub const fn unconnected(&self) -> u64 {
        self.unconnected
    }

    /// Runs for `span`; see [`run_until`](Self::run_until).
    ///
    /// # Errors
    /// [`Stuck`] when an endpoint keeps time from passing.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Stuck> {
        self.run_until(self.now + span)
    }

    /// Works off everything due up to and including `until`, then stands at `until`. Work grows with the number of
    /// events times the number of endpoints and links (a few of each).
    ///
    /// # Errors
    /// [`Stuck`] when an endpoint keeps time from passing.
    pub fn run_until(&mut self, until: Instant) -> Result<(), Stuck> {
        self.transmit();
        let mut rounds = 0;
        while let Some(event) = self.next_event().filter(|&event| event <= until) {
            rounds = if event > self.now { 0 } else { rounds + 1 };
            if rounds > MAX_ROUNDS {
                return Err(Stuck { at: self.now, endpoint: self.due_endpoint() });
            }
            self.now = self.now.max(event);
            self.deliver();
            self.fire_timers();
            self.transmit();
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// The next thing to happen anywhere, never before now.
    fn next_event(&self) -> Option<Instant> {
        let links = self.wires.iter().filter_map(|wire| wire.model.next_event());
        let timers = self.endpoints.iter().filter_map(E::next_deadline);
        links.chain(timers).min().map(|event| event.max(self.now))
    }

    fn due_endpoint(&self) -> Option<EndpointId> {
        let is_due = |endpoint: &E| endpoint.next_deadline().is_some_and(|deadline| deadline <= self.now);
        self.endpoints.iter().position(is_due).map(EndpointId)
    }

    fn deliver(&mut self) {
        for wire in &mut self.wires {
            while let Some(datagram) = wire.model.poll(self.now) {
                self.endpoints[wire.to.endpoint.0].on_datagram(wire.to.number, datagram, self.now);
            }
        }
    }

    fn fire_timers(&mut self) {
        for endpoint in &mut self.endpoints {
            if endpoint.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                endpoint.on_timer(self.now);
            }
        }
    }

    fn transmit(&mut self) {
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            while let Some((number, datagram)) = endpoint.poll_transmit(self.now) {
                let from = Port { endpoint: EndpointId(index), number };
                let Some(wire) = self.wires.iter_mut().rev().find(|wire| wire.from == from) else {
                    self.unconnected += 1;
                    continue;
                };
                let len = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
                // A refused datagram is lost, as on any link; the model has counted it.
                drop(wire.model.offer(datagram, len, self.now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a numbered datagram every millisecond and notes when each one of the other side's arrived.
    #[derive(Default)]
    struct Ticker {
        next: u32,
        limit: u32,
        outgoing: Option<u32>,
        arrived: Vec<(u32, u64)>,
    }

    impl Endpoint for Ticker {
        fn on_datagram(&mut self, _port: usize, datagram: Vec<u8>, now: Instant) {
            let number = datagram.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            self.arrived.push((number, now.micros()));
        }

        fn on_timer(&mut self, _now: Instant) {
            self.outgoing = Some(self.next);
            self.next += 1;
        }

        fn next_deadline(&self) -> Option<Instant> {
            (self.next < self.limit).then(|| Instant::from_micros(u64::from(self.next) * 1_000))
        }

        fn poll_transmit(&mut self, _now: Instant) -> Option<(usize, Vec<u8>)> {
            let number = self.outgoing.take()?;
            Some((0, number.to_be_bytes().to_vec()))
        }
    }

    fn run(spec: &str, seed: u64) -> Vec<(u32, u64)> {
        let mut world = World::new(Instant::ORIGIN);
        let user = world.add(Ticker::default());
        let far = world.add(Ticker { limit: 500, ..Ticker::default() });
        let spec = spec.parse().expect("a link");
        world.connect(Port { endpoint: user, number: 0 }, Port { endpoint: far, number: 0 }, &spec, seed);
        world.run_for(Duration::from_secs(2)).expect("time passes");
        assert_eq!(world.now(), Instant::from_micros(2_000_000));
        world.endpoint(user).arrived.clone()
    }

    #[test]
    fn a_datagram_arrives_when_its_link_delivers_it() {
        let arrived = run("unlimited/7ms", 1);
        assert_eq!(arrived.len(), 500);
        assert!(arrived.iter().all(|&(number, at)| at == u64::from(number) * 1_000 + 7_000));
    }

    #[test]
    fn the_seed_decides_the_run() {
        let lossy = "10mbit/5ms/10%/jitter=3ms";
        assert_eq!(run(lossy, 1), run(lossy, 1));
        assert_ne!(run(lossy, 1), run(lossy, 2));
    }

    /// Claims to have something to do and never does it.
    struct Idler;

    impl Endpoint for Idler {
        fn on_datagram(&mut self, _port: usize, _datagram: Vec<u8>, _now: Instant) {}
        fn on_timer(&mut self, _now: Instant) {}
        fn next_deadline(&self) -> Option<Instant> {
            Some(Instant::ORIGIN)
        }
        fn poll_transmit(&mut self, _now: Instant) -> Option<(usize, Vec<u8>)> {
            None
        }
    }

    #[test]
    fn an_endpoint_that_stops_time_is_named() {
        let mut world = World::new(Instant::from_micros(5));
        let idler = world.add(Idler);
        let stuck = world.run_for(Duration::from_secs(1)).expect_err("it never moves on");
        assert_eq!(stuck, Stuck { at: Instant::from_micros(5), endpoint: Some(idler) });
    }
}

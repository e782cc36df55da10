// SPDX-License-Identifier: BSD-2-Clause
//! One end of a tunnel as an [`Endpoint`]: the engine and its packets, with made-up addresses instead of sockets.
//!
//! Ports 0 to `LINKS - 1` are the links, where sealed datagrams pass; port [`TunnelEnd::DEVICE`] is the tunnel device,
//! where inner packets do. Time is an argument, so it runs in virtual and in real time alike.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::{Arrival, Config, Tunnel};
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

/// The port both ends' links have: MLVPN's usual one.
const UDP_PORT: u16 = 5080;

/// The engine, its packet memory of `SLOTS` packets, and what waits at its device.
///
/// `SLOTS` must hold the reorder window, the engine's queue and one packet in hand.
pub struct TunnelEnd<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> {
    role: Role,
    tunnel: Box<Tunnel<LINKS, WINDOW>>,
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
            .field("role", &self.role)
            .field("waiting", &self.waiting.len())
            .field("overflowed", &self.overflowed)
            .finish_non_exhaustive()
    }
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> TunnelEnd<LINKS, WINDOW, SLOTS> {
    /// The port of the tunnel device.
    pub const DEVICE: usize = LINKS;

    /// An end without links. `seed` draws the nonces: random where datagrams leave the process, fixed where a run is to
    /// be repeated.
    ///
    /// # Panics
    /// When the machine has no memory for the packets or no thread to lay them out.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        const { assert!(SLOTS > WINDOW + EGRESS_SLOTS, "packets held and waiting leave none to receive into") };
        let role = config.role;
        let (tunnel, pool) = on_a_large_stack(move || (Box::new(Tunnel::new(config, seed)), Box::new(Pool::new())));
        let (waiting, delivered, events) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { role, tunnel, pool, waiting, overflowed: 0, delivered, events, out: vec![0; MAX_DATAGRAM].into() }
    }

    /// Adds a link and opens it: a client begins to ask for it at once.
    ///
    /// # Panics
    /// When the engine has no place for a link of this number.
    pub fn open_link(&mut self, index: usize, settings: LinkSettings, now: Instant) {
        let id = LinkId::new(index);
        assert!(self.tunnel.set_link(id, settings, now), "link {index} of {LINKS}");
        let remote = (self.role == Role::Client).then(|| address(Role::Server, index));
        self.tunnel.open_link(id, remote, now);
    }

    /// The engine, to look at.
    #[must_use]
    pub const fn tunnel(&self) -> &Tunnel<LINKS, WINDOW> {
        &self.tunnel
    }

    /// The engine, to change; what that makes it send leaves with the next datagrams.
    pub const fn tunnel_mut(&mut self) -> &mut Tunnel<LINKS, WINDOW> {
        &mut self.tunnel
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
        let Some(slot) = self.pool.take() else { return self.overflowed += 1 };
        if !self.pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(datagram)) {
            // Longer than any datagram of a tunnel: a socket would have cut it short.
            return self.pool.put(slot);
        }
        let peer = match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let arrival = Arrival { link: LinkId::new(index), from: address(peer, index), ecn: Ecn::NotEct, at: now };
        self.tunnel.receive(&mut self.pool, slot, arrival);
        self.deliver();
    }

    fn take_from_device(&mut self, now: Instant) {
        while self.tunnel.has_room()
            && let Some(packet) = self.waiting.pop_front()
        {
            let Some(slot) = self.pool.take() else { return self.waiting.push_front(packet) };
            if self.pool.packet_mut(&slot).is_some_and(|place| place.copy_from(&packet)) {
                self.tunnel.send(&mut self.pool, slot, now);
                self.deliver();
            } else {
                self.overflowed += 1;
                self.pool.put(slot);
            }
        }
    }

    /// At once after every call that may release packets, as the engine demands: it holds no more than its window.
    fn deliver(&mut self) {
        while let Some(slot) = self.tunnel.poll_deliver() {
            self.delivered.extend(self.pool.packet(&slot).map(|packet| packet.as_bytes().to_vec()));
            self.pool.put(slot);
        }
    }

    fn note_events(&mut self) {
        while let Some(event) = self.tunnel.poll_event() {
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
        self.tunnel.handle_timeout(now);
        self.deliver();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.tunnel.poll_timeout().map(|deadline| deadline.at)
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        self.take_from_device(now);
        if let Some(packet) = self.delivered.pop_front() {
            return Some((Self::DEVICE, packet));
        }
        if let Some(transmit) = self.tunnel.poll_transmit(&mut self.pool, now, &mut self.out) {
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
    use mlvpn_core::state::keys::ClassicKey;
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

    fn config(role: Role) -> Config {
        let key = ClassicKey::from_password(b"of a test");
        Config { role, medium: Medium::Ip, key, cleartext_data: false, mtu: 1428, reorder: true }
    }

    fn two_ends(links: &[&str]) -> (World<Station>, EndpointId, EndpointId) {
        let mut world = World::new(Instant::ORIGIN);
        let [client, server] = [(Role::Client, 1), (Role::Server, 2)].map(|(role, seed)| {
            let mut end = End::new(config(role), [seed; 32]);
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
    fn two_ends_come_up_and_carry_packets_in_order() {
        let (mut world, client, server) = two_ends(&["10mbit/5ms", "1mbit/30ms"]);
        world.run_for(Duration::from_millis(200)).expect("time passes");
        for id in [client, server] {
            let tunnel = world.endpoint(id).end.tunnel();
            assert!((0..2).all(|link| tunnel.link(LinkId::new(link)).expect("open").phase() == Phase::Up));
        }
        let sent: Vec<_> = (0..40).map(|n| ip_packet(100 + n)).collect();
        for packet in &sent {
            let now = world.now();
            world.endpoint_mut(client).on_datagram(End::DEVICE, packet.clone(), now);
        }
        world.run_for(Duration::from_secs(1)).expect("time passes");
        assert_eq!(world.endpoint(server).device, sent);
        let events: Vec<_> = std::iter::from_fn(|| world.endpoint_mut(client).end.poll_event()).collect();
        assert!(events.contains(&Event::TunnelUp), "{events:?}");
    }

    #[test]
    fn more_than_the_engine_has_room_for_waits_and_then_overflows() {
        let (mut world, client, server) = two_ends(&["unlimited/1ms"]);
        world.run_for(Duration::from_millis(50)).expect("time passes");
        let now = world.now();
        for _ in 0..DEVICE_QUEUE + 7 {
            world.endpoint_mut(client).on_datagram(End::DEVICE, ip_packet(60), now);
        }
        assert_eq!(world.endpoint(client).end.overflowed(), 7);
        world.run_for(Duration::from_millis(50)).expect("time passes");
        assert_eq!(world.endpoint(server).device.len(), DEVICE_QUEUE);
    }

    #[test]
    fn a_packet_too_big_is_answered_at_the_device() {
        let (mut world, client, _) = two_ends(&["10mbit/1ms"]);
        world.run_for(Duration::from_millis(50)).expect("time passes");
        let now = world.now();
        world.endpoint_mut(client).on_datagram(End::DEVICE, ip_packet(1500), now);
        world.run_for(Duration::from_millis(1)).expect("time passes");
        let station = world.endpoint(client);
        assert_eq!(station.end.tunnel().drops().of(DropReason::TooBig), 1);
        assert_eq!(station.device.len(), 1);
        assert_eq!(station.device[0][9], 1, "ICMP");
    }
}

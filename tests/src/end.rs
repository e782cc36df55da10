// SPDX-License-Identifier: BSD-2-Clause
//! One end of a tunnel with what a port gives it: a pool, a device and sockets, all in memory.

use std::net::SocketAddr;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::Role;
use mlvpn_core::tunnel::{Arrival, Config, Tunnel};
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;

/// The password of tests that need no other.
pub const PASSWORD: &[u8] = b"unguessable in tests";

/// A configuration for [`PASSWORD`]: sealed IP packets of up to 1428 bytes, in order.
#[must_use]
pub fn config(role: Role) -> Config {
    Config {
        role,
        medium: Medium::Ip,
        key: ClassicKey::from_password(PASSWORD),
        cleartext_data: false,
        mtu: 1428,
        reorder: true,
    }
}

/// A datagram that an engine handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its link.
    pub link: LinkId,
    /// Where it goes.
    pub to: SocketAddr,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// A tunnel, its pool, and what came out of them.
#[derive(Debug)]
pub struct End<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> {
    /// The engine.
    pub tunnel: Tunnel<LINKS, WINDOW>,
    /// Its packets.
    pub pool: PrintlessPool<SLOTS>,
    /// What the device was given, and when.
    pub delivered: Vec<(Instant, Vec<u8>)>,
    /// The time it was told last.
    pub now: Instant,
    /// What the engine told, and when.
    pub events: Vec<(Instant, Event)>,
}

/// A pool on the heap that is not shown by `{:?}`.
pub struct PrintlessPool<const SLOTS: usize>(Box<Pool<SLOTS>>);

impl<const SLOTS: usize> std::fmt::Debug for PrintlessPool<SLOTS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} of {SLOTS} free)", self.0.available())
    }
}

impl<const SLOTS: usize> std::ops::Deref for PrintlessPool<SLOTS> {
    type Target = Pool<SLOTS>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<const SLOTS: usize> std::ops::DerefMut for PrintlessPool<SLOTS> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<const LINKS: usize, const WINDOW: usize, const SLOTS: usize> End<LINKS, WINDOW, SLOTS> {
    /// An end without links. Ends with different seeds draw different flow numbers.
    #[must_use]
    pub fn new(config: Config, seed: u8) -> Self {
        Self {
            tunnel: Tunnel::new(config, [seed; 32]),
            pool: PrintlessPool(Box::new(Pool::new())),
            delivered: Vec::new(),
            now: Instant::ORIGIN,
            events: Vec::new(),
        }
    }

    /// Hands a packet from the device to the engine. False, and nothing done, when engine or pool has no room.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.send_over(bytes, &[])
    }

    /// The same with a packet that filters chose links for.
    pub fn send_over(&mut self, bytes: &[u8], links: &[LinkId]) -> bool {
        if !self.tunnel.has_room() {
            return false;
        }
        let Some(slot) = self.pool.take() else { return false };
        assert!(self.pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(bytes)), "too long for a buffer");
        self.tunnel.send_over(&mut self.pool, slot, links, self.now);
        true
    }

    /// Hands a datagram from a socket to the engine. False, and nothing done, when the pool is empty.
    pub fn receive(&mut self, bytes: &[u8], arrival: Arrival) -> bool {
        self.now = arrival.at;
        let Some(slot) = self.pool.take() else { return false };
        assert!(self.pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(bytes)), "too long for a buffer");
        self.tunnel.receive(&mut self.pool, slot, arrival);
        true
    }

    /// Writes to the device, notes the events, and returns what is to be sent, until the engine has no more.
    pub fn drain(&mut self, now: Instant) -> Vec<Datagram> {
        self.deliver(now);
        let (mut datagrams, mut out) = (Vec::new(), [0; MAX_DATAGRAM]);
        while let Some(sent) = self.tunnel.poll_transmit(&mut self.pool, now, &mut out) {
            datagrams.push(Datagram { link: sent.link, to: sent.to, bytes: out[..sent.len].to_vec() });
        }
        while let Some(event) = self.tunnel.poll_event() {
            self.events.push((now, event));
        }
        datagrams
    }

    /// Writes to the device what is ready for it.
    pub fn deliver(&mut self, now: Instant) {
        self.now = now;
        while let Some(slot) = self.tunnel.poll_deliver() {
            let bytes = self.pool.packet(&slot).map(|packet| packet.as_bytes().to_vec());
            self.delivered.push((now, bytes.expect("a slot of this pool")));
            self.pool.put(slot);
        }
    }

    /// What happened to links and tunnel since this was called last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).map(|(_, event)| event).collect()
    }

    /// The packets the device was given since this was called last.
    pub fn take_delivered(&mut self) -> Vec<Vec<u8>> {
        self.delivered.drain(..).map(|(_, packet)| packet).collect()
    }

    /// Packets of the pool that are in use. After [`End::drain`], and with no link blocked, these are exactly those
    /// held for a missing one.
    #[must_use]
    pub fn in_use(&self) -> usize {
        SLOTS - self.pool.available()
    }

    /// All that the engine is, but its drop counters, as text: equal texts are equal states.
    #[must_use]
    pub fn state(&self) -> String {
        let text = format!("{:?}", self.tunnel);
        let start = text.find("drops: Drops").expect("the engine shows its drops");
        let end = start + text[start..].find('}').expect("the counters end");
        format!("{}{}", &text[..start], &text[end..])
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! One engine with what came out of it.

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;

use crate::inner;

/// Packets of the pool that all ends of a world share.
pub const SLOTS: usize = 512;

/// An engine, its device and its user.
pub struct End<const LINKS: usize, const WINDOW: usize> {
    /// The engine.
    pub peer: Box<Peer<LINKS, WINDOW>>,
    /// What the device was given, and when by the end's own clock.
    pub delivered: Vec<(Instant, Vec<u8>)>,
    /// What the engine told, and when by the end's own clock.
    pub events: Vec<(Instant, Event)>,
}

impl<const LINKS: usize, const WINDOW: usize> End<LINKS, WINDOW> {
    /// An end around `peer`.
    #[must_use]
    pub fn new(peer: Peer<LINKS, WINDOW>) -> Self {
        Self { peer: Box::new(peer), delivered: Vec::new(), events: Vec::new() }
    }

    /// Hands a packet from the device to the engine. False, and nothing done, when there is no room.
    pub fn send(&mut self, pool: &mut Pool<SLOTS>, bytes: &[u8], now: Instant) -> bool {
        self.send_over(pool, (bytes, &[]), now)
    }

    /// The same with a packet that filters chose links for.
    pub fn send_over(&mut self, pool: &mut Pool<SLOTS>, (bytes, links): (&[u8], &[LinkId]), now: Instant) -> bool {
        if !self.peer.has_room() {
            return false;
        }
        let Some(slot) = pool.take() else { return false };
        assert!(pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(bytes)), "too long for a buffer");
        self.peer.send_over(pool, slot, links, now);
        true
    }

    /// Hands a datagram from a socket to the engine.
    pub fn receive(&mut self, pool: &mut Pool<SLOTS>, bytes: &[u8], arrival: Arrival) {
        let slot = pool.take().expect("the pool has room");
        assert!(pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(bytes)), "too long for a buffer");
        self.peer.receive(pool, slot, arrival);
        self.deliver(pool, arrival.at);
    }

    /// Does what is due, notes packets and events, and returns what is to be sent.
    pub fn drain(&mut self, pool: &mut Pool<SLOTS>, now: Instant) -> Vec<(Transmit, Vec<u8>)> {
        self.peer.handle_timeout(now);
        self.deliver(pool, now);
        let (mut datagrams, mut out) = (Vec::new(), [0; MAX_DATAGRAM]);
        while let Some(sent) = self.peer.poll_transmit(pool, now, &mut out) {
            datagrams.push((sent, out[..sent.len].to_vec()));
            assert!(datagrams.len() < 10_000, "the engine never stops sending");
        }
        self.deliver(pool, now);
        while let Some(event) = self.peer.poll_event() {
            self.events.push((now, event));
        }
        datagrams
    }

    fn deliver(&mut self, pool: &mut Pool<SLOTS>, now: Instant) {
        while let Some(slot) = self.peer.poll_deliver() {
            let bytes = pool.packet(&slot).map(|packet| packet.as_bytes().to_vec());
            self.delivered.push((now, bytes.expect("a slot of this pool")));
            pool.put(slot);
        }
    }

    /// The numbers of the packets the device was given since this was called last.
    pub fn numbers(&mut self) -> Vec<u64> {
        self.delivered.drain(..).map(|(_, packet)| inner::number(&packet)).collect()
    }

    /// What the engine told since this was called last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).map(|(_, event)| event).collect()
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A client of protocol 2: the engine of the server that carries the traffic and, while that is not the first one, a scout
//! that now and then finds out whether the first one is back, over the same sockets.

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::drops::Drops;
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::time::Instant;

use super::engine::WINDOW;

/// An engine towards one server.
pub(super) type ServerEngine = Peer<MAX_LINKS, WINDOW>;

/// Both engines. They have different numbers, so that a datagram tells whose it is.
pub(super) struct Client {
    pub(super) active: Box<ServerEngine>,
    pub(super) scout: Option<Box<ServerEngine>>,
}

impl Client {
    pub(super) const fn new(active: Box<ServerEngine>) -> Self {
        Self { active, scout: None }
    }

    fn both(&self) -> impl Iterator<Item = &ServerEngine> {
        std::iter::once(&*self.active).chain(self.scout.as_deref())
    }

    pub(super) fn both_mut(&mut self) -> impl Iterator<Item = &mut ServerEngine> {
        std::iter::once(&mut *self.active).chain(self.scout.as_deref_mut())
    }

    pub(super) fn has_room(&self) -> bool {
        self.active.has_room()
    }

    pub(super) fn send_over<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        links: &[LinkId],
        now: Instant,
    ) {
        self.active.send_over(pool, slot, links, now);
    }

    pub(super) fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        let number = pool.packet(&slot).and_then(|packet| ServerEngine::number_in(packet.as_bytes()));
        let scout = self.scout.as_deref_mut().filter(|scout| Some(scout.number()) == number);
        scout.unwrap_or(&mut self.active).receive(pool, slot, arrival);
    }

    pub(super) fn poll_deliver(&mut self) -> Option<Slot> {
        self.both_mut().find_map(ServerEngine::poll_deliver)
    }

    pub(super) fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        self.both_mut().find_map(|engine| engine.poll_transmit(pool, now, out))
    }

    /// Events of the engine that carries the traffic. What a scout has to tell is told once it does.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.active.poll_event()
    }

    pub(super) fn drops(&self) -> Drops {
        let mut drops = Drops::new();
        self.both().for_each(|engine| drops.add(engine.drops()));
        drops
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.both().filter_map(|engine| Some(engine.poll_timeout()?.at)).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.both_mut().for_each(|engine| engine.handle_timeout(now));
    }

    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.both_mut().for_each(|engine| engine.clear(pool));
    }
}

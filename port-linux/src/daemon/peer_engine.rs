// SPDX-License-Identifier: BSD-2-Clause
//! The engine of one peer of a server, whichever protocol it speaks.

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::state::handshake::{Claim, HandshakeError};
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::session_key::Aead;
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::{Arrival, Transmit, Tunnel};
use mlvpn_core::words::drops::Drops;
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::rules::Rules;
use mlvpn_core::words::time::Instant;

use super::engine::WINDOW;
use super::facts::{LinkFacts, classic_facts, facts, orders, repairs};
use super::filters::Choices;
use crate::status::{OrderStatus, RepairStatus};

/// Links one client may have.
pub(super) const PEER_LINKS: usize = 8;

/// Packets a peer's reorder buffer can hold.
const PEER_WINDOW: usize = 1024;

/// Places for links in such an engine. A router has flash for one engine of protocol 2 and not for two that differ in this
/// alone, and few peers.
const PEER_PLACES: usize = if cfg!(feature = "full") { PEER_LINKS } else { MAX_LINKS };

/// An engine of protocol 2.
pub(super) type PeerOfTwo = Peer<PEER_PLACES, PEER_WINDOW>;

/// Of the one peer that speaks the classic protocol. Its links are the server's sockets.
pub(super) type ClassicPeer = Tunnel<MAX_LINKS, WINDOW>;

/// One of the two. Neither ever takes a datagram of the other's: the server tells them apart by their first byte.
pub(super) enum PeerEngine {
    Two(Box<PeerOfTwo>),
    Classic(Box<ClassicPeer>),
}

/// Calls the same method of whichever engine it is.
macro_rules! either {
    ($engine:expr, $inner:ident => $call:expr) => {
        match $engine {
            PeerEngine::Two($inner) => $call,
            PeerEngine::Classic($inner) => $call,
        }
    };
}

impl PeerEngine {
    /// Takes a packet from the device; `sockets` are those that filters chose. Only the client knows its links by name:
    /// here one is chosen by the socket it leads to.
    pub(super) fn send<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        sockets: &[LinkId],
        now: Instant,
    ) {
        match self {
            Self::Two(engine) => {
                let links = sockets.iter().filter_map(|socket| engine.link_on(u8::try_from(socket.index()).ok()?));
                let links: Choices = links.collect();
                engine.send_over(pool, slot, &links, now);
            }
            Self::Classic(tunnel) => tunnel.send_over(pool, slot, sockets, now),
        }
    }

    pub(super) fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        either!(self, engine => engine.receive(pool, slot, arrival));
    }

    /// Answers a claim; nobody claims to be the peer that speaks the classic protocol.
    pub(super) fn answer(
        &mut self,
        claim: Claim,
        secret: &SharedSecret,
        arrival: Arrival,
        out: &mut [u8],
    ) -> Result<Transmit, HandshakeError> {
        match self {
            Self::Two(engine) => engine.answer(claim, secret, arrival, out),
            Self::Classic(_) => Err(HandshakeError::WrongKey),
        }
    }

    pub(super) fn poll_deliver(&mut self) -> Option<Slot> {
        either!(self, engine => engine.poll_deliver())
    }

    pub(super) fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        either!(self, engine => engine.poll_transmit(pool, now, out))
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        either!(self, engine => engine.poll_event())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        either!(self, engine => engine.poll_timeout()).map(|deadline| deadline.at)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        either!(self, engine => engine.handle_timeout(now));
    }

    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        either!(self, engine => engine.clear(pool));
    }

    pub(super) fn set_blocked(&mut self, socket: u8, blocked: bool) {
        match self {
            Self::Two(engine) => engine.set_blocked(socket, blocked),
            Self::Classic(tunnel) => tunnel.set_blocked(LinkId::new(socket.into()), blocked),
        }
    }

    pub(super) fn set_rules(&mut self, rules: &Rules) {
        if let Self::Two(engine) = self {
            engine.set_rules(rules.clone());
        }
    }

    /// Says goodbye with the next datagrams.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Two(engine) => engine.close(),
            Self::Classic(tunnel) => (0..MAX_LINKS).for_each(|index| tunnel.disconnect_link(LinkId::new(index))),
        }
    }

    /// Has every link be down.
    pub(super) fn close_links(&mut self) {
        for id in (0..MAX_LINKS).map(LinkId::new) {
            either!(self, engine => engine.close_link(id));
        }
    }

    pub(super) fn is_up(&self) -> bool {
        either!(self, engine => engine.is_up())
    }

    pub(super) fn drops(&self) -> &Drops {
        either!(self, engine => engine.drops())
    }

    /// Packets held for a missing one.
    pub(super) fn reordering(&self) -> usize {
        either!(self, engine => engine.reordering())
    }

    /// Packets that wait for a link.
    pub(super) fn waiting(&self) -> usize {
        either!(self, engine => engine.waiting())
    }

    /// How packets waited for their order; the classic protocol has one, of which this is not told.
    pub(super) fn orders(&self, now: Instant) -> Vec<OrderStatus> {
        match self {
            Self::Two(engine) => orders(engine, now),
            Self::Classic(_) => Vec::new(),
        }
    }

    /// What was done about packets the peer missed; the classic protocol does nothing about them.
    pub(super) fn repairs(&self) -> Option<RepairStatus> {
        match self {
            Self::Two(engine) => Some(repairs(engine)),
            Self::Classic(_) => None,
        }
    }

    /// The largest inner packet, in bytes.
    pub(super) fn mtu(&self) -> u16 {
        either!(self, engine => engine.mtu())
    }

    /// How packets are sealed, once there are keys for that; the classic protocol has one way only.
    pub(super) fn aead(&self) -> Option<Aead> {
        match self {
            Self::Two(engine) => engine.aead(),
            Self::Classic(_) => None,
        }
    }

    pub(super) fn link(&self, id: LinkId) -> Option<LinkFacts> {
        match self {
            Self::Two(engine) => facts(engine, id),
            Self::Classic(tunnel) => tunnel.link(id).map(classic_facts),
        }
    }
}

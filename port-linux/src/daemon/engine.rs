// SPDX-License-Identifier: BSD-2-Clause
//! The engine behind the worker: the classic one, protocol 2's client, or protocol 2's server with all its peers.

use std::net::SocketAddr;

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::tunnel::{Arrival, Transmit, Tunnel};
use mlvpn_core::words::drops::Drops;
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::policy::Usage;
use mlvpn_core::words::rules::Rules;
use mlvpn_core::words::time::Instant;

use super::client::Client;
use super::facts::{LinkFacts, classic_facts, facts, orders, repairs};
use super::server::Server;
use crate::status::{OrderStatus, RepairStatus};

/// Packets a client's reorder buffer can hold: 1,024 of 1,428 bytes are 200 ms at 60 Mbit/s.
pub(super) const WINDOW: usize = 1024;

/// One of the three. A server of protocol 2 has sockets where the others have links; its peers' links are told apart by
/// [`Source`].
pub(super) enum Engine {
    /// Either end of the classic protocol.
    Classic(Box<Tunnel<MAX_LINKS, WINDOW>>),
    /// Protocol 2, this end asks.
    Client(Box<Client>),
    /// Protocol 2, this end answers.
    Server(Box<Server>),
}

/// Whose event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The tunnel's own.
    Tunnel,
    /// Of a server's peer, by its place.
    Peer(usize),
}

/// Calls the same method of whichever engine it is.
macro_rules! either {
    ($engine:expr, $inner:ident => $call:expr) => {
        match $engine {
            Engine::Classic($inner) => $call,
            Engine::Client($inner) => $call,
            Engine::Server($inner) => $call,
        }
    };
}

/// Links.
impl Engine {
    pub(super) fn set_link(&mut self, id: LinkId, settings: LinkSettings, now: Instant) {
        match self {
            Self::Classic(tunnel) => {
                tunnel.set_link(id, settings, now);
            }
            Self::Client(client) => client.both_mut().for_each(|engine| {
                engine.set_link(id, settings);
            }),
            Self::Server(server) => server.set_link(id, settings, now),
        }
    }

    /// Has every peer's packets be treated by these rules. Only protocol 2 does.
    pub(super) fn set_rules(&mut self, rules: &Rules) {
        match self {
            Self::Classic(_) => {}
            Self::Client(client) => client.both_mut().for_each(|engine| engine.set_rules(rules.clone())),
            Self::Server(server) => server.set_rules(rules),
        }
    }

    /// What a client's link of protocol 2 has carried of its quota.
    pub(super) fn usage(&self, id: LinkId) -> Option<Usage> {
        match self {
            Self::Client(client) => client.active.usage(id),
            Self::Classic(_) | Self::Server(_) => None,
        }
    }

    /// Tells what such a link has carried.
    pub(super) fn set_usage(&mut self, id: LinkId, usage: Usage) {
        if let Self::Client(client) = self {
            client.both_mut().for_each(|engine| engine.set_usage(id, usage));
        }
    }

    /// The link's socket is open; `interface_mtu` is what its interface carries, in bytes.
    pub(super) fn open_link(&mut self, id: LinkId, remote: Option<SocketAddr>, interface_mtu: u16, now: Instant) {
        match self {
            Self::Classic(tunnel) => tunnel.open_link(id, remote, now),
            Self::Client(client) => {
                // A scout knows its own way, and gets it with the next start.
                if let Some(server) = remote {
                    client.active.open_link(id, server, interface_mtu, now);
                }
            }
            Self::Server(server) => server.open_link(id, now),
        }
    }

    pub(super) fn close_link(&mut self, id: LinkId) {
        match self {
            Self::Classic(tunnel) => tunnel.close_link(id),
            Self::Client(client) => client.both_mut().for_each(|engine| engine.close_link(id)),
            Self::Server(server) => server.close_link(id),
        }
    }

    pub(super) fn remove_link(&mut self, id: LinkId) {
        match self {
            Self::Classic(tunnel) => tunnel.remove_link(id),
            Self::Client(client) => client.both_mut().for_each(|engine| engine.remove_link(id)),
            Self::Server(server) => server.remove_link(id),
        }
    }

    /// Has the link say goodbye with the next datagram.
    pub(super) fn leave_link(&mut self, id: LinkId) {
        match self {
            Self::Classic(tunnel) => tunnel.disconnect_link(id),
            Self::Client(client) => client.active.leave_link(id),
            Self::Server(server) => server.leave_link(id),
        }
    }

    /// Says goodbye to everyone with the next datagrams.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Classic(tunnel) => (0..MAX_LINKS).for_each(|index| tunnel.disconnect_link(LinkId::new(index))),
            Self::Client(client) => client.both_mut().for_each(super::client::ServerEngine::close),
            Self::Server(server) => server.leave(),
        }
    }

    /// Has every link of a server's peers be down, which the next events tell; elsewhere links end with their sockets.
    pub(super) fn close_peers(&mut self) {
        if let Self::Server(server) = self {
            server.close_peers();
        }
    }

    pub(super) fn set_blocked(&mut self, id: LinkId, blocked: bool) {
        let socket = u8::try_from(id.index()).unwrap_or(u8::MAX);
        match self {
            Self::Classic(tunnel) => tunnel.set_blocked(id, blocked),
            Self::Client(client) => client.both_mut().for_each(|engine| engine.set_blocked(socket, blocked)),
            Self::Server(server) => server.set_blocked(socket, blocked),
        }
    }

    /// What is known of a link; a server of protocol 2 knows its peers' instead.
    pub(super) fn link(&self, source: Source, id: LinkId) -> Option<LinkFacts> {
        match (self, source) {
            (Self::Classic(tunnel), _) => tunnel.link(id).map(classic_facts),
            (Self::Client(client), _) => facts(&client.active, id),
            (Self::Server(server), Source::Peer(place)) => server.link(place, id),
            (Self::Server(_), Source::Tunnel) => None,
        }
    }
}

/// Packets and time, as each engine describes them.
impl Engine {
    pub(super) fn has_room(&self) -> bool {
        either!(self, engine => engine.has_room())
    }

    /// Takes a packet from the device; `links` are those that filters chose, sockets on a server of protocol 2.
    pub(super) fn send<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        links: &[LinkId],
        now: Instant,
    ) {
        match self {
            Self::Classic(tunnel) => tunnel.send_over(pool, slot, links, now),
            Self::Client(client) => client.send_over(pool, slot, links, now),
            Self::Server(server) => server.send(pool, slot, links, now),
        }
    }

    pub(super) fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        either!(self, engine => engine.receive(pool, slot, arrival));
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

    pub(super) fn poll_event(&mut self) -> Option<(Source, Event)> {
        match self {
            Self::Classic(tunnel) => tunnel.poll_event().map(|event| (Source::Tunnel, event)),
            Self::Client(client) => client.poll_event().map(|event| (Source::Tunnel, event)),
            Self::Server(server) => server.poll_event(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Classic(tunnel) => tunnel.poll_timeout().map(|deadline| deadline.at),
            Self::Client(client) => client.deadline(),
            Self::Server(server) => server.deadline(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        either!(self, engine => engine.handle_timeout(now));
    }

    pub(super) fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        either!(self, engine => engine.clear(pool));
    }

    /// Every drop, by reason.
    pub(super) fn drops(&self) -> Drops {
        match self {
            Self::Classic(tunnel) => *tunnel.drops(),
            Self::Client(client) => client.drops(),
            Self::Server(server) => server.drops(),
        }
    }

    /// Packets held for a missing one.
    pub(super) fn reordering(&self) -> usize {
        match self {
            Self::Classic(tunnel) => tunnel.reordering(),
            Self::Client(client) => client.active.reordering(),
            Self::Server(server) => server.reordering(),
        }
    }

    /// Packets that wait for a link.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Classic(tunnel) => tunnel.waiting(),
            Self::Client(client) => client.active.waiting(),
            Self::Server(server) => server.waiting(),
        }
    }

    /// How packets waited for their order, where there is one peer.
    pub(super) fn orders(&self, now: Instant) -> Vec<OrderStatus> {
        match self {
            Self::Client(client) => orders(&client.active, now),
            Self::Classic(_) | Self::Server(_) => Vec::new(),
        }
    }

    /// What was done about packets that peers missed; the classic protocol does nothing about them.
    pub(super) fn repairs(&self) -> Option<RepairStatus> {
        match self {
            Self::Classic(_) => None,
            Self::Client(client) => Some(repairs(&client.active)),
            Self::Server(server) => Some(server.repairs()),
        }
    }

    /// The largest inner packet, in bytes, where the tunnel has one of its own.
    pub(super) fn mtu(&self) -> Option<u16> {
        match self {
            Self::Classic(tunnel) => Some(tunnel.mtu()),
            Self::Client(client) => Some(client.active.mtu()),
            Self::Server(_) => None,
        }
    }
}

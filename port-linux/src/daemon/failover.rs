// SPDX-License-Identifier: BSD-2-Clause
//! Several servers: the first of the configuration that answers carries the traffic. When it stops answering on all links
//! the next is tried, and while a later one is in use, a scout looks for the first.

use std::net::SocketAddr;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::{Duration, Instant};

use super::client::ServerEngine;
use super::engine::Engine;
use super::links::LinkPort;
use super::settings;
use super::worker::Worker;
use crate::log::Topic;
use crate::privilege::Request;
use crate::{log_debug, log_info, log_warn};

/// A server that answers on no link for this long is left for the next: long enough for a handshake over the slowest
/// links, short of the patience of people and of TCP connections.
const LEAVE_AFTER: Duration = Duration::from_secs(6);

/// This long after leaving the first server it is looked for, and again after each failure.
const SCOUT_EVERY: Duration = Duration::from_secs(30);

/// A scout that got no answer for this long gives up.
const SCOUT_FOR: Duration = Duration::from_secs(5);

/// Which server is in use, and since when not.
#[derive(Debug, Default)]
pub(super) struct Failover {
    /// Its place in the configuration.
    pub(super) active: usize,
    /// Since when no link is up.
    down_since: Option<Instant>,
    /// When to send a scout, or to call it back.
    scout_at: Option<Instant>,
    /// The question where the first server is, which the monitor has.
    asked: Option<u64>,
}

impl Failover {
    /// When [`Worker::watch_servers`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.down_since.map(|since| since + LEAVE_AFTER).into_iter().chain(self.scout_at).min()
    }
}

impl Worker {
    /// Leaves a server that does not answer, and comes back to the first.
    pub(super) fn watch_servers(&mut self, now: Instant) -> std::io::Result<()> {
        let servers = self.config.peers.len();
        let Engine::Client(client) = &self.engine else { return Ok(()) };
        if servers < 2 {
            return Ok(());
        }
        let has_links = self.links.iter().flatten().any(|port| port.socket().is_some());
        let is_down = has_links && !client.active.is_up();
        let scout_is_up = client.scout.as_ref().is_some_and(|scout| scout.is_up());
        self.failover.down_since = if is_down { self.failover.down_since.or(Some(now)) } else { None };
        if scout_is_up {
            return self.come_back(now);
        }
        if self.failover.down_since.is_some_and(|since| now.since(since) >= LEAVE_AFTER) {
            let next = (self.failover.active + 1) % servers;
            return self.use_server(next, now);
        }
        if self.failover.scout_at.is_some_and(|at| at <= now) {
            self.send_or_recall_scout(now)?;
        }
        Ok(())
    }

    /// Has server number `place` carry the traffic, with sockets opened anew.
    fn use_server(&mut self, place: usize, now: Instant) -> std::io::Result<()> {
        let Some(peer) = self.config.peers.get(place) else { return Ok(()) };
        log_warn!(Topic::Protocol, "the server does not answer on any link; trying {}", peer.name);
        self.engine.leave();
        for link in self.config.links.clone() {
            self.leave(&link.name, now)?;
        }
        self.failover.active = place;
        self.failover.down_since = None;
        self.failover.scout_at = (place != 0).then(|| now + SCOUT_EVERY);
        self.replace_engine(self.mtu)?;
        for link in self.config.links.clone() {
            self.add_link(link, now);
        }
        self.follow_rules();
        Ok(())
    }

    fn send_or_recall_scout(&mut self, now: Instant) -> std::io::Result<()> {
        let Engine::Client(client) = &mut self.engine else { return Ok(()) };
        if let Some(mut scout) = client.scout.take() {
            scout.clear(&mut self.pool);
            self.failover.scout_at = Some(now + SCOUT_EVERY);
            return Ok(());
        }
        self.failover.scout_at = Some(now + SCOUT_FOR);
        // Its name may have another address than when it was left.
        let serial = self.next_serial();
        match self.monitor.ask(&Request::FindServer { serial }) {
            Ok(()) => self.failover.asked = Some(serial),
            Err(why) => log_warn!(Topic::Dns, "cannot look for the first server: {why}"),
        }
        Ok(())
    }

    /// Sends a scout to where the first server was found.
    pub(super) fn take_server(
        &mut self,
        serial: u64,
        found: Result<Option<SocketAddr>, String>,
        now: Instant,
    ) -> std::io::Result<()> {
        let is_wanted = self.failover.asked.take_if(|asked| *asked == serial).is_some();
        let first = match found {
            Ok(Some(first)) if is_wanted && self.failover.scout_at.is_some() => first,
            Ok(_) => return Ok(()),
            Err(why) => {
                log_debug!(Topic::Dns, "the first server is not found: {why}");
                return Ok(());
            }
        };
        let number = self.next_engine_number();
        let mut scout = settings::client_engine(&self.config, 0, number)?;
        for (index, port) in self.links.iter().enumerate() {
            let Some(port) = port.as_ref().filter(|port| reaches(port, first)) else { continue };
            scout.set_link(LinkId::new(index), settings::link(&port.config));
            scout.open_link(LinkId::new(index), first, self.mtu_of_path(port, first), now);
        }
        if let Engine::Client(client) = &mut self.engine {
            client.scout = Some(scout);
        }
        Ok(())
    }

    /// The first server answered: it carries the traffic again.
    fn come_back(&mut self, now: Instant) -> std::io::Result<()> {
        if let Engine::Client(client) = &mut self.engine {
            client.active.close();
        }
        self.pump(now)?;
        let Engine::Client(client) = &mut self.engine else { return Ok(()) };
        let Some(scout) = client.scout.take() else { return Ok(()) };
        for index in 0..self.links.len() {
            client.active.close_link(LinkId::new(index));
        }
        while let Some((source, event)) = self.engine.poll_event() {
            self.report(source, event, now);
        }
        self.note_usage();
        let Engine::Client(client) = &mut self.engine else { return Ok(()) };
        let mut left: Box<ServerEngine> = std::mem::replace(&mut client.active, scout);
        left.clear(&mut self.pool);
        self.failover.active = 0;
        self.failover.scout_at = None;
        (0..self.links.len()).for_each(|index| self.restore_usage(index));
        self.follow_rules();
        for link in self.config.links.clone() {
            let configured = self.in_use(link);
            if let Some(port) = self.links.iter_mut().flatten().find(|port| port.config.name == configured.name) {
                port.config = configured;
            }
        }
        log_info!(Topic::Protocol, "{} answers again and carries the traffic", self.server_name());
        Ok(())
    }
}

/// Whether the link's socket speaks the IP version of `address`.
fn reaches(port: &LinkPort, address: SocketAddr) -> bool {
    port.socket().is_some_and(|socket| socket.address().family == crate::socket::Family::of(address.ip()))
}

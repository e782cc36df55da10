// SPDX-License-Identifier: BSD-2-Clause
//! The worker's sockets: opened, watched, closed and opened again, and the MTU that follows from them.

use std::io;
use std::net::SocketAddr;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::time::Instant;

use super::engine::Engine;
use super::links::LinkPort;
use super::resolver::{self, Addresses, Resolver};
use super::settings;
use super::worker::{Worker, link_token};
use crate::config::{Protocol, USUAL_PATH_MTU};
use crate::log::Topic;
use crate::netlink::Change;
use crate::privilege::Request;
use crate::reactor::{Interest, Token};
use crate::socket::{Fragmentation, LinkSocket, outgoing_mtu};
use crate::{clock, log_debug, log_info, log_warn};

impl Worker {
    /// Adds a link of the configuration, to be opened at once.
    pub(super) fn add_link(&mut self, config: crate::config::Link, now: Instant) {
        let index = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if index >= MAX_LINKS || u16::try_from(index).is_err() {
            log_warn!(Topic::Config, "[{}] is one link too many; {MAX_LINKS} are possible", config.name);
            return;
        }
        self.engine.set_link(LinkId::new(index), settings::link(&config), now);
        let port = Some(LinkPort::new(settings::with_server(config, &self.config, self.failover.active)));
        match self.links.get_mut(index) {
            Some(place) => *place = port,
            None => self.links.push(port),
        }
        self.open_link(index, now);
    }

    pub(super) fn open_due_links(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            if self.links.get(index).and_then(Option::as_ref).is_some_and(|port| port.is_due(now)) {
                self.open_link(index, now);
            }
        }
    }

    /// Opens a link whose addresses are written as such, and has the others' names resolved.
    pub(super) fn open_link(&mut self, index: usize, now: Instant) {
        let serial = self.questions.wrapping_add(1);
        self.questions = serial;
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let question = port.question(index, serial);
        if let Some(addresses) = resolver::literal(&question) {
            return self.open_at(index, addresses, now);
        }
        port.wait_for_answer(serial);
        match self.resolver() {
            Ok(resolver) => resolver.ask(question),
            Err(why) => log_warn!(Topic::Dns, "cannot start the resolver: {why}"),
        }
    }

    fn open_at(&mut self, index: usize, addresses: Addresses, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let opened = port.open(addresses).map(|socket| {
            let local = socket.local_addr().map_or_else(|_| "?".to_owned(), |local| local.to_string());
            (self.reactor.register(socket, link_token(index), Interest::Read), local)
        });
        match opened {
            Ok((Ok(()), local)) => {
                log_info!(Topic::Net, "{}: socket at {local}", port.config.name);
                self.join_link(index, now);
            }
            Ok((Err(why), _)) => self.close_link(index, &why, now),
            Err(why) => {
                let retry = port.failed(now).since(now);
                let name = &port.config.name;
                if why.is_temporary() {
                    log_info!(Topic::Net, "{name}: {why}; trying again in {} s", retry.millis() / 1_000);
                } else {
                    log_warn!(Topic::Net, "{name}: {why}; trying again in {} s", retry.millis() / 1_000);
                }
            }
        }
    }

    /// Tells the engine of a socket that has just been opened.
    fn join_link(&mut self, index: usize, now: Instant) {
        let Some(port) = self.links.get(index).and_then(Option::as_ref) else { return };
        let Some(socket) = port.socket() else { return };
        let remote = port.remote();
        let mtu = outgoing_mtu(socket.address(), remote).ok().flatten().unwrap_or(u32::from(USUAL_PATH_MTU));
        if self.config.general.protocol == Protocol::Two
            && let Err(why) = socket.set_fragmentation(Fragmentation::Never)
        {
            log_warn!(Topic::Net, "{}: datagrams may be fragmented: {why}", port.config.name);
        }
        self.engine.open_link(LinkId::new(index), remote, u16::try_from(mtu).unwrap_or(u16::MAX), now);
        self.engine.handle_timeout(now);
        self.refresh_mtu();
    }

    /// Closes a link whose socket is of no use, to be opened again later.
    pub(super) fn close_link(&mut self, index: usize, why: &dyn std::fmt::Display, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let retry = port.failed(now).since(now);
        log_info!(Topic::Net, "{}: {why}; opening it again in {} s", port.config.name, retry.millis() / 1_000);
        self.shut_link(index);
    }

    /// Closes a link's socket and tells the engine.
    pub(super) fn shut_link(&mut self, index: usize) {
        if let Some(socket) = self.links.get_mut(index).and_then(Option::as_mut).and_then(LinkPort::close)
            && let Err(why) = self.reactor.deregister(&socket)
        {
            log_debug!(Topic::Net, "{}: {why}", self.link_name(index));
        }
        self.engine.close_link(LinkId::new(index));
    }

    pub(super) fn resolver(&mut self) -> io::Result<&Resolver> {
        if self.resolver.is_none() {
            let resolver = Resolver::start()?;
            self.reactor.register(&resolver, Token::Resolver, Interest::Read)?;
            self.resolver = Some(resolver);
        }
        self.resolver.as_ref().ok_or_else(|| io::Error::other("no resolver"))
    }

    pub(super) fn read_resolver(&mut self) {
        let now = clock::now();
        while let Some(answer) = self.resolver.as_ref().and_then(Resolver::poll) {
            if answer.link == usize::MAX {
                self.failover.first = answer.found.ok().and_then(|found| found.remote);
                continue;
            }
            let Some(port) = self.links.get_mut(answer.link).and_then(Option::as_mut) else { continue };
            if !port.takes_answer(answer.serial) {
                continue;
            }
            match answer.found {
                Ok(addresses) => self.open_at(answer.link, addresses, now),
                Err(why) => {
                    let retry = port.failed(now).since(now);
                    log_warn!(Topic::Dns, "{}: {why}; asking again in {} s", port.config.name, retry.millis() / 1_000);
                }
            }
        }
    }

    pub(super) fn read_netlink(&mut self) -> io::Result<()> {
        let now = clock::now();
        let mut changes = Vec::new();
        self.netlink.drain(|change| changes.push(change))?;
        for change in changes {
            self.follow(change, now);
        }
        Ok(())
    }

    fn follow(&mut self, change: Change, now: Instant) {
        for index in 0..self.links.len() {
            let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { continue };
            if port.is_broken_by(&change) {
                self.close_link(index, &"its interface went down or its address left", now);
                continue;
            }
            match change {
                Change::LinkUp(_) | Change::AddressAdded(..) | Change::RouteChanged | Change::Overrun => {
                    port.hurry(now)
                }
                Change::LinkDown(_) | Change::AddressRemoved(..) => {}
            }
        }
        if matches!(change, Change::LinkUp(_) | Change::Overrun) {
            self.refresh_mtu();
        }
    }

    /// Computes the MTU from the open links and tells the engine and the device, unless the user fixed it.
    pub(super) fn refresh_mtu(&mut self) {
        let open = self.links.iter().flatten().filter_map(|port| Some((port.socket()?.address(), port.remote())));
        let computed = open.map(|(address, remote)| {
            let path = outgoing_mtu(address, remote).ok().flatten().unwrap_or(u32::from(USUAL_PATH_MTU));
            self.config.inner_mtu(path, address.family)
        });
        let Some(mtu) = self.config.general.mtu.or(computed.min()) else { return };
        if let Engine::Classic(tunnel) = &mut self.engine
            && mtu != tunnel.mtu()
        {
            tunnel.set_mtu(mtu);
            self.set_device_mtu(mtu);
        }
    }

    /// Gives the device this MTU, in bytes.
    pub(super) fn set_device_mtu(&mut self, mtu: u16) {
        log_info!(Topic::Tuntap, "mtu {mtu}");
        self.mtu = mtu;
        if let Err(why) = self.monitor.ask(&Request::SetMtu(u32::from(mtu))) {
            log_warn!(Topic::Tuntap, "cannot set the mtu of {}: {why}", self.device.name());
        }
    }

    /// A number no living engine has.
    pub(super) fn next_engine_number(&mut self) -> u16 {
        self.engines = self.engines.wrapping_add(1);
        self.engines
    }

    /// What the link's path towards `remote` carries, in bytes.
    pub(super) fn mtu_of_path(&self, port: &LinkPort, remote: SocketAddr) -> u16 {
        let address = port.socket().map(LinkSocket::address);
        let mtu = address.and_then(|address| outgoing_mtu(address, Some(remote)).ok().flatten());
        u16::try_from(mtu.unwrap_or(u32::from(USUAL_PATH_MTU))).unwrap_or(u16::MAX)
    }

    /// Starts over with an engine for the configuration as it is now; every link must have been removed.
    pub(super) fn replace_engine(&mut self, mtu: u16) -> io::Result<()> {
        self.engine.clear(&mut self.pool);
        let number = self.next_engine_number();
        self.engine = settings::engine(&self.config, mtu, self.failover.active, number)?;
        Ok(())
    }

    pub(super) fn link_name(&self, index: usize) -> &str {
        self.links.get(index).and_then(Option::as_ref).map_or("?", |port| &port.config.name)
    }
}

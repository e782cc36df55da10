// SPDX-License-Identifier: BSD-2-Clause
//! The worker's sockets: opened, watched, closed and opened again, and the MTU that follows from them.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::time::Instant;

use super::engine::Engine;
use super::links::{Failure, LinkPort, Loudness};
use super::settings;
use super::worker::{Worker, link_token};
use crate::config::USUAL_PATH_MTU;
use crate::log::Topic;
use crate::netlink::Change;
use crate::privilege::{LinkOrder, Mtu, OpenedLink, Refused, Request};
use crate::reactor::Interest;
use crate::script::LinkName;
use crate::{clock, log_debug, log_info, log_warn};

impl Worker {
    /// Adds a link of the configuration, to be opened at once.
    pub(super) fn add_link(&mut self, config: crate::config::Link, now: Instant) {
        let index = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if index >= MAX_LINKS || u16::try_from(index).is_err() {
            log_warn!(Topic::Config, "[{}] is one link too many; {MAX_LINKS} are possible", config.name);
            return;
        }
        let hold = self.hold_of(&config);
        let config = self.in_use(config);
        self.engine.set_link(LinkId::new(index), settings::link(&config), now);
        let meter = self.left.remove(&config.name).unwrap_or_default();
        let mut port = LinkPort::new(config);
        (port.hold, port.meter) = (hold, meter);
        match self.links.get_mut(index) {
            Some(place) => *place = Some(port),
            None => self.links.push(Some(port)),
        }
        self.restore_usage(index);
        self.open_due_links(now);
    }

    pub(super) fn open_due_links(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            if self.links.get(index).and_then(Option::as_ref).is_some_and(|port| port.is_due(now)) {
                self.open_link(index, now);
            }
        }
    }

    /// Has the monitor open a link, which may take as long as resolving a name takes.
    pub(super) fn open_link(&mut self, index: usize, now: Instant) {
        let serial = self.next_serial();
        let server = u16::try_from(self.failover.active).unwrap_or(u16::MAX);
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(link) = LinkName::new(&port.config.name) else { return };
        let address = port.config.bindhost.as_ref().filter(|_| port.config.takes_address);
        let address = address.and_then(|address| address.parse().ok());
        let order = LinkOrder { serial, link, server, device: port.config.bindinterface, address };
        match self.monitor.ask(&Request::OpenLink(order)) {
            Ok(()) => port.wait_for_answer(serial),
            Err(_) if port.socket().is_some() => port.doubt_name(now),
            Err(why) => self.fail_link(index, Failure::Local, &format!("cannot be opened now: {why}"), now),
        }
    }

    /// A number no question to the monitor had so far.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Takes what the monitor opened for a link, or the reason why not.
    pub(super) fn take_link(&mut self, serial: u64, outcome: Result<OpenedLink, Refused>, now: Instant) {
        let asked = |port: &mut Option<LinkPort>| port.as_mut().is_some_and(|port| port.takes_answer(serial));
        let Some(index) = self.links.iter_mut().position(asked) else { return };
        if let Some(port) = self.links.get_mut(index).and_then(Option::as_mut)
            && port.socket().is_some()
        {
            port.doubt_name(now);
            match outcome {
                Ok(opened) if opened.ends.remote != port.remote() => {
                    log_info!(Topic::Dns, "{}: its server has another address now", port.config.name);
                    self.shut_link(index);
                    self.open_at(index, opened, now);
                }
                Ok(_) => {}
                Err(Refused::Name(why) | Refused::Local(why)) => {
                    log_debug!(Topic::Dns, "{}: {why}; it stays as it is", port.config.name);
                }
            }
            return;
        }
        match outcome {
            Ok(opened) => self.open_at(index, opened, now),
            Err(Refused::Name(why)) => self.fail_link(index, Failure::Name, &why, now),
            Err(Refused::Local(why)) => self.fail_link(index, Failure::Local, &why, now),
        }
    }

    fn open_at(&mut self, index: usize, opened: OpenedLink, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let socket = port.adopt(opened, now);
        let prepared = if self.config.general.offload { Ok(()) } else { socket.forgo_offload() };
        let registered = prepared.and_then(|()| self.reactor.register(&*socket, link_token(index), Interest::Read));
        match registered.and_then(|()| socket.local_addr()) {
            Ok(local) => {
                if port.announces(local.ip()) {
                    log_info!(Topic::Net, "{}: socket at {local}", port.config.name);
                } else {
                    log_debug!(Topic::Net, "{}: socket at {local}", port.config.name);
                }
                self.join_link(index, now);
            }
            Err(why) => self.close_link(index, Failure::Local, &why, now),
        }
    }

    /// Looks for silent peers where their names lead now.
    pub(super) fn renew_names(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            let Some(port) = self.links.get(index).and_then(Option::as_ref) else { continue };
            if port.renew_at().is_none_or(|at| at > now) {
                continue;
            }
            log_debug!(Topic::Dns, "{}: silent; its server's name is resolved again", port.config.name);
            // The socket stays until there is a better one: the name server may be out of reach, and the server back.
            self.open_link(index, now);
        }
    }

    /// Notes and says why a link has no socket.
    fn fail_link(&mut self, index: usize, failure: Failure, why: &dyn Display, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let within = port.failed(failure, now).since(now).millis() / 1_000;
        let why = why.to_string();
        let loudness = port.loudness(&why, now);
        port.trouble = Some(why.clone());
        let name = &port.config.name;
        let topic = if failure == Failure::Name { Topic::Dns } else { Topic::Net };
        match loudness {
            Loudness::Warn => log_warn!(topic, "{name}: {why}; trying again within {within} s"),
            Loudness::Again(silently) => {
                log_info!(topic, "{name}: {why}; trying again within {within} s ({silently} more not logged)")
            }
            Loudness::Debug => log_debug!(topic, "{name}: {why}; trying again within {within} s"),
        }
    }

    /// Tells the engine of a socket that has just been opened.
    fn join_link(&mut self, index: usize, now: Instant) {
        let Some(port) = self.links.get(index).and_then(Option::as_ref) else { return };
        let Some(socket) = port.socket() else { return };
        let remote = port.remote();
        let mtu = socket.outgoing_mtu(remote).ok().flatten().unwrap_or(u32::from(USUAL_PATH_MTU));
        self.engine.open_link(LinkId::new(index), remote, u16::try_from(mtu).unwrap_or(u16::MAX), now);
        self.engine.handle_timeout(now);
        self.refresh_mtu();
    }

    /// Closes a link whose socket is of no use, to be opened again later.
    pub(super) fn close_link(&mut self, index: usize, failure: Failure, why: &dyn Display, now: Instant) {
        self.fail_link(index, failure, why, now);
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

    pub(super) fn read_netlink(&mut self) -> io::Result<()> {
        let now = clock::now();
        let mut changes = Vec::new();
        self.netlink.drain(|change| changes.push(change))?;
        for index in 0..self.links.len() {
            self.follow(index, &changes, now);
        }
        if changes.iter().any(|change| matches!(change, Change::LinkUp(_) | Change::Overrun)) {
            self.refresh_mtu();
        }
        Ok(())
    }

    /// Has a link follow the changes that came together: it is closed at most once, and tried again at most once.
    fn follow(&mut self, index: usize, changes: &[Change], now: Instant) {
        for change in changes {
            let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
            if !port.is_broken_by(change) {
                port.hurry(change, now);
            } else if port.socket().is_some() {
                self.close_link(index, Failure::Local, &"its interface went down or its address left", now);
            } else {
                port.lose();
            }
        }
    }

    /// Computes the MTU from the open links and tells the engine and the device, unless the user fixed it.
    pub(super) fn refresh_mtu(&mut self) {
        let open = self.links.iter().flatten().filter_map(|port| Some((port.socket()?, port.remote())));
        let paths = open.map(|(socket, remote)| {
            let mtu = socket.outgoing_mtu(remote).ok().flatten().unwrap_or(u32::from(USUAL_PATH_MTU));
            (mtu, socket.address().family)
        });
        let (config, configured) = (&self.config, self.config.general.mtu);
        match &mut self.engine {
            Engine::Classic(tunnel) => {
                let computed = paths.map(|(path, family)| config.inner_mtu(path, family)).min();
                let Some(mtu) = configured.or(computed).filter(|mtu| *mtu != tunnel.mtu()) else { return };
                tunnel.set_mtu(mtu);
                self.set_device_mtu(mtu);
            }
            Engine::Server(server) => {
                // The device is the other peers', too: this one's engine answers what is too big for it.
                let computed = paths.map(|(path, family)| config.inner_mtu_of_classic_peer(path, family));
                if let Some(mtu) = computed.chain(configured).min() {
                    server.set_classic_mtu(mtu);
                }
            }
            Engine::Client(_) => {}
        }
    }

    /// Gives the device this MTU, in bytes.
    pub(super) fn set_device_mtu(&mut self, mtu: u16) {
        log_info!(Topic::Tuntap, "mtu {mtu}");
        self.mtu = mtu;
        let asked = Mtu::new(mtu.into()).map(|mtu| self.monitor.ask(&Request::SetMtu(mtu)));
        if let Some(Err(why)) = asked {
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
        let mtu = port.socket().and_then(|socket| socket.outgoing_mtu(Some(remote)).ok().flatten());
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

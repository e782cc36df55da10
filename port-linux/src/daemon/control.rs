// SPDX-License-Identifier: BSD-2-Clause
//! What a service may see and do, done by the worker.

use std::io;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Instant;

use super::command::CommandError;
use super::links::{Hold, LinkPort};
use super::service::{Control, InterfaceState, LinkChange, NoSuchLink, TunnelChange, Usage};
use super::settings;
use super::worker::Worker;
use crate::config::{Link, Network, Peer};
use crate::interface::InterfaceName;
use crate::log::Topic;
use crate::privilege::Request;
use crate::reactor::Reactor;
use crate::status::{History, Peers, Status};
use crate::{clock, log_info, log_warn};

/// Interfaces remembered: more than a router has, so that a broken bus does not fill the memory.
const MOST_INTERFACES: usize = 256;

impl Control for Worker {
    fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn status(&self) -> Status {
        self.snapshot(clock::now())
    }

    fn peers(&self, first: usize, count: usize) -> Peers {
        self.peers_snapshot(first, count, clock::now())
    }

    fn history(&self, count: usize) -> History {
        let links = self.links.iter().flatten();
        History::new(links.map(|port| (port.config.name.as_str(), &port.meter)), count)
    }

    fn reload(&mut self) -> io::Result<()> {
        self.monitor.ask(&Request::OpenConfig)
    }

    fn change_link(&mut self, name: &str, change: LinkChange) -> Result<(), NoSuchLink> {
        let link = self.config.links.iter().find(|link| link.name == name).ok_or(NoSuchLink)?.clone();
        let changed = self.changes.entry(name.to_owned()).or_default();
        changed.usage = change.usage.or(changed.usage);
        changed.rate_bytes_per_sec = change.rate_bytes_per_sec.or(changed.rate_bytes_per_sec);
        changed.tolerances = change.tolerances.after(changed.tolerances);
        changed.policy = change.policy.after(changed.policy);
        let usage = changed.usage.unwrap_or(Usage::Configured).describe();
        let rate = changed.rate_bytes_per_sec.map_or_else(String::new, |rate| format!(", {rate} bytes per second"));
        log_info!(Topic::Control, "{name}: used {usage}{rate}, as somebody asked");
        self.follow_use(link);
        Ok(())
    }

    fn change_tunnel(&mut self, change: TunnelChange) {
        self.live.tolerances = change.after(self.live.tolerances);
        log_info!(Topic::Control, "tolerances of every link changed, as somebody asked");
        for link in self.config.links.clone() {
            self.follow_use(link);
        }
    }

    fn add_peer(&mut self, peer: Peer) -> Result<Vec<Network>, CommandError> {
        self.admit_peer(peer)
    }

    fn remove_peer(&mut self, name: &str) -> Result<(), CommandError> {
        self.dismiss_peer(name)
    }

    fn set_interface(&mut self, name: &InterfaceName, state: InterfaceState) {
        let is_known = self.interfaces.contains_key(name);
        if (!is_known && self.interfaces.len() >= MOST_INTERFACES) || self.interfaces.get(name) == Some(&state) {
            return;
        }
        self.interfaces.insert(*name, state);
        self.follow_interface(name);
    }

    fn keep_interfaces(&mut self, names: &[InterfaceName]) {
        let gone: Vec<InterfaceName> = self.interfaces.keys().filter(|name| !names.contains(name)).copied().collect();
        for name in gone {
            self.interfaces.remove(&name);
            self.follow_interface(&name);
        }
    }
}

impl Worker {
    fn follow_interface(&mut self, name: &InterfaceName) {
        let links = self.config.links.clone();
        for link in links.into_iter().filter(|link| link.bindinterface == Some(*name)) {
            self.follow_use(link);
        }
    }

    /// Has a link of the configuration be used as it is to be now.
    fn follow_use(&mut self, link: Link) {
        let now = clock::now();
        let Some(index) = self.place_of(&link.name) else { return };
        let hold = self.hold_of(&link);
        let link = self.in_use(link);
        let is_open = self.port(index).is_some_and(|port| port.socket().is_some());
        let is_moved = self.port(index).is_some_and(|port| !port.config.same_path(&link));
        if is_open && (hold.is_some() || is_moved) {
            // The peer is told at once, so that it need not find out.
            self.engine.leave_link(LinkId::new(index));
            if let Err(why) = self.pump(now) {
                log_warn!(Topic::Net, "{}: cannot say goodbye: {why}", link.name);
            }
            self.shut_link(index);
        }
        self.engine.set_link(LinkId::new(index), settings::link(&link), now);
        if let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) {
            port.config = link;
            port.hold = hold;
            if is_moved || hold.is_some() {
                // What failed before says nothing of the way it goes now.
                port.start_over();
            }
        }
        self.open_due_links(now);
        self.refresh_mtu();
        self.show_title();
    }

    fn port(&self, index: usize) -> Option<&LinkPort> {
        self.links.get(index)?.as_ref()
    }

    /// A link of the configuration as it is to be used: towards the server in use, over the interface's device,
    /// with what a service changed.
    pub(super) fn in_use(&self, link: Link) -> Link {
        let mut link = settings::with_server(link, &self.config, self.failover.active);
        let interface = link.bindinterface.and_then(|name| self.interfaces.get(&name));
        if let Some(InterfaceState::Up { device, address }) = interface {
            link.bindinterface = Some(*device);
            if let Some(address) = address.filter(|_| link.takes_address) {
                link.bindhost = Some(address.to_string());
            }
        }
        self.live.tolerances.apply(&mut link);
        if let Some(change) = self.changes.get(&link.name) {
            change.tolerances.apply(&mut link);
            change.policy.apply(&mut link);
            link.fallback_only |= change.usage == Some(Usage::Backup);
            link.bandwidth_upload = change.rate_bytes_per_sec.unwrap_or(link.bandwidth_upload);
        }
        link
    }

    /// Why a link of the configuration is not to be opened.
    pub(super) fn hold_of(&self, link: &Link) -> Option<Hold> {
        if self.changes.get(&link.name).is_some_and(|change| change.usage == Some(Usage::Disabled)) {
            return Some(Hold::Disabled);
        }
        let interface = link.bindinterface.and_then(|name| self.interfaces.get(&name));
        matches!(interface, Some(InterfaceState::Down)).then_some(Hold::InterfaceDown)
    }

    /// Forgets what was remembered of links that are in the configuration no more.
    pub(super) fn forget_links(&mut self) {
        let is_configured = |name: &String| self.config.links.iter().any(|link| link.name == *name);
        self.left.retain(|name, _| is_configured(name));
        self.changes.retain(|name, _| is_configured(name));
    }
}

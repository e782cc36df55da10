// SPDX-License-Identifier: BSD-2-Clause
//! What the tunnel is to this machine, kept by the monitor: the device's addresses, the routes into the tunnel, the
//! default gateway and its kill switch, and what is translated.
//!
//! Everything here can be done again without harm and is taken back when the daemon ends. What a daemon that was killed
//! left behind, the next one of the same device finds by the number of its table, its mark and its table's name, and
//! takes over or removes. Addresses, and routes to the device, are gone with the device.

mod firewall;
mod routing;

use crate::config::{Config, DeviceKind, Forward, Mode, Network};
use crate::interface::{self, InterfaceName};
use crate::log::Topic;
use crate::{log_info, log_warn};
use routing::Routing;
use std::fmt::Display;
use std::net::IpAddr;

/// What the configuration wants of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The device's addresses with their networks; none where a status command sets them.
    addresses: Vec<Network>,
    /// Whether the device is set up here at all.
    is_native: bool,
    /// Networks behind the tunnel.
    networks: Vec<Network>,
    /// The other end's addresses, through which an Ethernet device's routes lead.
    gateways: Vec<IpAddr>,
    default_gateway: bool,
    kill_switch: bool,
    nat: Option<Mode>,
    forwards: Vec<Forward>,
    /// The table's number, where it was chosen.
    table: Option<u32>,
}

impl Plan {
    /// What a configuration wants. `has_firewall`: this program sets up devices and has nft, where nothing else is said.
    #[must_use]
    pub fn of(config: &Config, has_firewall: bool) -> Self {
        let general = &config.general;
        let roles = &general.roles;
        let is_native = roles.setup.unwrap_or(has_firewall && general.statuscommand.is_none());
        let is_server = general.mode == Mode::Server;
        let mut plan = Self { is_native, table: roles.routing_table, ..Self::default() };
        let own4 = general.ip4.map(|cidr| Network { address: cidr.address.into(), prefix_len: cidr.prefix_len });
        let own6 = general.ip6.map(|cidr| Network { address: cidr.address.into(), prefix_len: cidr.prefix_len });
        if is_native {
            plan.addresses.extend(own4.into_iter().chain(own6));
            let routes4 = general.ip4_routes.iter().map(|cidr| (cidr.address.into(), cidr.prefix_len));
            let routes6 = general.ip6_routes.iter().map(|cidr| (cidr.address.into(), cidr.prefix_len));
            let routes = routes4.chain(routes6);
            plan.networks.extend(routes.map(|(address, prefix_len)| Network { address, prefix_len }));
            // What is a peer's own within the device's network needs no route of its own, and harms nobody. A peer that
            // may speak for everybody does not make a server's internet go through it.
            let peers = config.peers.iter().filter(|_| is_server);
            let allowed = peers.flat_map(|peer| peer.allowed.iter().copied());
            plan.networks.extend(allowed.filter(|network| network.prefix_len > 0));
        }
        plan.networks.extend(roles.remote_networks.iter().copied());
        if general.tuntap == DeviceKind::Tap {
            let gateways = [general.ip4_gateway.map(IpAddr::from), general.ip6_gateway.map(IpAddr::from)];
            plan.gateways.extend(gateways.into_iter().flatten());
        }
        plan.kill_switch = roles.kill_switch && !is_server;
        plan.default_gateway = (roles.default_gateway || roles.kill_switch) && !is_server;
        if has_firewall {
            plan.nat = roles.nat.then_some(general.mode);
            plan.forwards.clone_from(&roles.port_forwards);
        }
        plan
    }

    /// Whether anything is to be done.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_native || *self != Self { table: self.table, gateways: self.gateways.clone(), ..Self::default() }
    }

    fn has_firewall(&self) -> bool {
        self.nat.is_some() || !self.forwards.is_empty()
    }

    /// Whether the tunnel has addresses, or networks, of this version of IP; without any it is taken for IPv4's.
    fn speaks(&self, v4: bool) -> bool {
        let mut own = self.addresses.iter().chain(&self.networks).map(|network| network.address.is_ipv4());
        own.clone().any(|own| own == v4) || (v4 && own.next().is_none())
    }
}

/// What of the configuration will surprise its author, each in a sentence for the log.
#[must_use]
pub fn cautions(config: &Config) -> Vec<&'static str> {
    let roles = &config.general.roles;
    let is_server = config.general.mode == Mode::Server;
    let hosts =
        config.links.iter().map(|link| &link.remotehost).chain(config.peers.iter().map(|peer| &peer.remotehost));
    let has_name = hosts.flatten().any(|host| host.parse::<IpAddr>().is_err());
    let mut sentences = Vec::new();
    if is_server && (roles.default_gateway || roles.kill_switch) {
        sentences.push("default_gateway and kill_switch are for clients; this server goes without");
    }
    if roles.kill_switch && !is_server && has_name {
        sentences.push(
            "kill_switch: while the tunnel is down the server's name can be resolved only by a name server nearby; \
             write the server's address as remotehost",
        );
    }
    sentences
}

/// What was done by a [`Plan`], and has to be undone.
#[derive(Debug)]
pub(crate) struct Keeper {
    device: InterfaceName,
    plan: Plan,
    routing: Routing,
    /// Whether the tunnel is up.
    is_up: bool,
    /// Whether the kernel has a table of ours for translation.
    has_firewall: bool,
}

impl Keeper {
    /// Sets everything up for `device`, and takes over what an earlier daemon of that device left.
    pub(crate) fn start(device: InterfaceName, plan: Plan) -> Self {
        let routing = Routing::new(&device, plan.table);
        let mut keeper = Self { device, plan: Plan::default(), routing, is_up: false, has_firewall: false };
        if firewall::is_there(&device) {
            keeper.has_firewall = true;
        }
        keeper.follow(plan);
        keeper
    }

    /// The mark of the tunnel's own packets.
    pub(crate) fn mark(&self) -> u32 {
        self.routing.mark()
    }

    /// Follows a newer configuration.
    pub(crate) fn follow(&mut self, plan: Plan) {
        let device = self.device;
        for address in self.plan.addresses.iter().filter(|address| !plan.addresses.contains(address)) {
            tell("an address is not removed", routing::remove_address(&device, address));
        }
        let is_new = |address: &&Network| !self.plan.addresses.contains(address);
        for address in plan.addresses.iter().filter(is_new) {
            tell("an address is not set", routing::add_address(&device, address));
        }
        tell("the device is not set up", interface::set_up(&device));
        self.plan = plan;
        self.route();
        self.translate();
    }

    /// Follows the tunnel, which came up or went down.
    pub(crate) fn set_up(&mut self, is_up: bool) {
        if self.is_up != is_up {
            self.is_up = is_up;
            self.route();
        }
    }

    fn route(&mut self) {
        let (routes, rules) = self.routing.wanted(&self.plan, self.is_up);
        tell("routes are not as they should be", self.routing.have(&self.device, &routes, &rules));
        if self.plan.default_gateway && strict_reverse_path() {
            let advice = "answers of the server are dropped; set it to 2 (loose)";
            log_warn!(Topic::Tuntap, "net.ipv4.conf.all.rp_filter is 1 (strict): {advice}");
        }
    }

    fn translate(&mut self) {
        if self.plan.has_firewall() {
            self.has_firewall = true;
            tell("nothing is translated", firewall::set(&self.device, self.plan.nat, &self.plan.forwards));
            if !forwards_packets() {
                let advice = "nothing is forwarded; run: sysctl -w net.ipv4.ip_forward=1";
                log_warn!(Topic::Tuntap, "net.ipv4.ip_forward is 0: {advice}");
            }
        } else if self.has_firewall {
            tell("translation is not removed", firewall::remove(&self.device));
            self.has_firewall = false;
        }
    }

    /// Takes everything back. After a crash the kill switch stays, so that nothing gets out until the next start.
    pub(crate) fn end(&mut self, has_crashed: bool) {
        if has_crashed && self.plan.kill_switch {
            let how = "start it again, or end it in good order, to open it";
            return log_warn!(Topic::Tuntap, "kill_switch: nothing leaves this machine until mlvpn is back; {how}");
        }
        tell("routes are not removed", self.routing.have(&self.device, &[], &[]));
        if self.has_firewall {
            tell("translation is not removed", firewall::remove(&self.device));
        }
        log_info!(Topic::Tuntap, "addresses, routes and translation are taken back");
    }
}

fn tell<E: Display>(what: &str, outcome: Result<(), E>) {
    if let Err(why) = outcome {
        log_warn!(Topic::Tuntap, "{what}: {why}");
    }
}

/// Whether packets are dropped that come from where their answers would not go, which with several links is everywhere.
fn strict_reverse_path() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter").is_ok_and(|value| value.trim() == "1")
}

/// Whether this machine forwards packets.
fn forwards_packets() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").map_or(true, |value| value.trim() != "0")
}

// SPDX-License-Identifier: BSD-2-Clause
//! Routes into the tunnel, in a table of the tunnel's own, and the rules that lead to it.
//!
//! The tunnel's own packets carry a mark, and no rule here applies to packets with a mark of ours: they take the ways
//! they would take without any tunnel, whichever networks are behind it. (Marks are set on the sockets. Rules by source
//! address or user would not do: a link need not have an address of its own, and programs share users.)
//!
//! Routes of two tables are not weighed against each other by the kernel; a rule takes all of a table or, with
//! `suppress_prefixlength`, what is more specific. So for each length of prefix L among the routes, the longest first,
//! stand two rules: one takes of the main table what is longer than L, the next takes of ours what is as long as L. The
//! longest prefix wins across both, as in one table, and of two alike the tunnel's: a machine whose LAN lies within a
//! remote network keeps it, and `default_gateway` is the case L = 0.

use super::Plan;
use crate::config::Network;
use crate::interface::{self, InterfaceName};
use crate::netlink::attribute;
use crate::netlink::request::{
    FIB_RULE_INVERT, FR_ACT_TO_TBL, FRA_FWMARK, FRA_FWMASK, FRA_PRIORITY, FRA_PROTOCOL, FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE, Request, family, octets,
};
use std::io;
use std::net::IpAddr;

/// Who made our routes and rules: a number that rt_protos gives to nobody.
const PROTOCOL: u8 = 109;

/// The marks of all tunnels of this program begin so ("ml"), so that none takes the packets of another for payload.
const MARKS: u32 = 0x6d6c_0000;
/// What of a mark says whether it is one of ours.
const MARK_MASK: u32 = 0xffff_0000;

/// Priority of the rules for the longest prefix there can be; behind the local table (0), before main (32766).
const FIRST_PRIORITY: u32 = 20_000;

/// Metric of routes into the tunnel: what IPv6 gives a route without one.
const METRIC: u32 = 1024;
/// `FR_ACT_UNREACHABLE` (linux/fib_rules.h): who comes to such a rule is refused.
const FR_ACT_UNREACHABLE: u8 = 7;
/// Priority of the rule of the kill switch: behind those of a default route. (A route that refuses would not do: the
/// kernel takes it at the first rule that leads to its table, whatever that suppresses.)
const LAST_PRIORITY: u32 = FIRST_PRIORITY + 2 * 128 + 2;

/// A route in our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    network: Network,
    /// Into the tunnel, by way of this address if any.
    via: Option<IpAddr>,
}

/// A rule for packets without a mark of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// `AF_INET` or `AF_INET6`.
    family: u8,
    priority: u32,
    /// `None` refuses.
    table: Option<u32>,
    /// Routes of this length and shorter do not count.
    suppress: Option<u32>,
}

/// One tunnel's part of the machine's routing.
#[derive(Debug)]
pub(super) struct Routing {
    table: u32,
}

impl Routing {
    /// That of `device`, in table `chosen` or in one of a number made of the device's name.
    pub(super) fn new(device: &InterfaceName, chosen: Option<u32>) -> Self {
        // FNV-1a's offset basis and prime (draft-eastlake-fnv): one machine has a few tunnels, of names alike.
        let hash = device
            .as_str()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { table: chosen.unwrap_or(MARKS | (hash ^ (hash >> 16)) & !MARK_MASK) }
    }

    /// The mark of the tunnel's own packets.
    pub(super) fn mark(&self) -> u32 {
        MARKS | self.table & !MARK_MASK
    }

    /// What there should be.
    pub(super) fn wanted(&self, plan: &Plan, is_up: bool) -> (Vec<Route>, Vec<Rule>) {
        let via = |network: &Network| {
            let gateway = plan.gateways.iter().find(|gateway| gateway.is_ipv4() == network.address.is_ipv4());
            gateway.copied()
        };
        let mut routes = Vec::new();
        let mut add = |network: Network, via| {
            let route = Route { network, via };
            if !routes.contains(&route) {
                routes.push(route);
            }
        };
        plan.networks.iter().for_each(|network| add(*network, via(network)));
        let everything = [Network::ALL_IPV4, Network::ALL_IPV6];
        for network in everything.into_iter().filter(|network| plan.speaks(network.address.is_ipv4())) {
            if plan.default_gateway && is_up {
                add(network, via(&network));
            }
        }
        // The rules stay while the tunnel is down: without a route in the table they lead nowhere.
        let everything = everything.into_iter().filter(|_| plan.default_gateway);
        let networks: Vec<Network> = plan.networks.iter().copied().chain(everything).collect();
        let mut rules = self.rules(&networks);
        for network in [Network::ALL_IPV4, Network::ALL_IPV6].into_iter().filter(|_| plan.kill_switch) {
            let family = family(network.address);
            rules.push(Rule { family, priority: LAST_PRIORITY, table: None, suppress: None });
        }
        (routes, rules)
    }

    fn rules(&self, networks: &[Network]) -> Vec<Rule> {
        let mut lengths: Vec<(u8, u8)> =
            networks.iter().map(|network| (family(network.address), network.prefix_len)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let pair = |(family, length): (u8, u8)| {
            let length = u32::from(length);
            let priority = FIRST_PRIORITY + 2 * (128 - length);
            let main = Rule { family, priority, table: Some(u32::from(libc::RT_TABLE_MAIN)), suppress: Some(length) };
            let own = Rule { family, priority: priority + 1, table: Some(self.table), suppress: length.checked_sub(1) };
            [main, own]
        };
        lengths.into_iter().rev().flat_map(pair).collect()
    }

    /// Makes the kernel have these routes and rules of ours and no others.
    pub(super) fn have(&self, device: &InterfaceName, routes: &[Route], rules: &[Rule]) -> io::Result<()> {
        let (there, old_rules) = (self.routes_there()?, self.rules_there()?);
        // A rule that leads to what is not there yet leads on; one to what is there no more does, too.
        for route in routes.iter().filter(|route| !there.contains(&route.key())) {
            self.change_route(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, route, device)?;
        }
        for rule in rules.iter().filter(|rule| !old_rules.contains(rule)) {
            self.change_rule(RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, rule)?;
        }
        for rule in old_rules.iter().filter(|rule| !rules.contains(rule)) {
            self.change_rule(RTM_DELRULE, 0, rule)?;
        }
        let wanted: Vec<_> = routes.iter().map(Route::key).collect();
        for (network, metric) in there.iter().filter(|key| !wanted.contains(key)) {
            self.delete_route(network, *metric)?;
        }
        Ok(())
    }

    fn change_route(&self, kind: u16, flags: libc::c_int, route: &Route, device: &InterfaceName) -> io::Result<()> {
        let Route { network, via } = route;
        let is_direct = via.is_none() && network.address.is_ipv4();
        let scope = if is_direct { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
        let mut request = self.route_request(kind, flags, network, (scope, libc::RTN_UNICAST));
        request.attribute_word(libc::RTA_OIF, interface::index(device)?);
        if let Some(gateway) = via {
            request.attribute(libc::RTA_GATEWAY, &octets(*gateway));
        }
        request.attribute_word(libc::RTA_PRIORITY, route.key().1);
        request.perform()
    }

    fn delete_route(&self, network: &Network, metric: u32) -> io::Result<()> {
        let mut request = self.route_request(libc::RTM_DELROUTE, 0, network, (libc::RT_SCOPE_NOWHERE, 0));
        request.attribute_word(libc::RTA_PRIORITY, metric);
        match request.perform() {
            // It may have gone with the device meanwhile.
            Err(gone) if gone.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            done => done,
        }
    }

    fn route_request(&self, kind: u16, flags: libc::c_int, network: &Network, (scope, what): (u8, u8)) -> Request {
        let mut request = Request::new(kind, flags);
        let family = family(network.address);
        // The table stands in an attribute, as its number may be large.
        request.bytes(&[family, network.prefix_len, 0, 0, libc::RT_TABLE_UNSPEC, PROTOCOL, scope, what]);
        request.word(0);
        request.attribute_word(libc::RTA_TABLE, self.table);
        request.attribute(libc::RTA_DST, &octets(network.address));
        request
    }

    fn routes_there(&self) -> io::Result<Vec<(Network, u32)>> {
        /// `rtmsg`: family, length of the prefix; protocol; then come attributes.
        const BODY: usize = 12;
        let mut there = Vec::new();
        let mut request = Request::for_list(libc::RTM_GETROUTE);
        request.bytes(&[0; BODY]);
        request.list(|message| {
            let (Some(&[version, prefix_len, ..]), Some(attributes)) =
                (message.first_chunk::<2>(), message.get(BODY..))
            else {
                return;
            };
            let is_ours = message.get(5) == Some(&PROTOCOL) && word(attributes, libc::RTA_TABLE) == Some(self.table);
            let unspecified = || if version == 2 { vec![0; 4] } else { vec![0; 16] };
            let address = attribute(attributes, libc::RTA_DST).map_or_else(unspecified, <[u8]>::to_vec);
            if let (true, Some(address)) = (is_ours, address_of(&address)) {
                let metric = word(attributes, libc::RTA_PRIORITY).unwrap_or(0);
                there.push((Network { address, prefix_len }, metric));
            }
        })?;
        Ok(there)
    }

    fn change_rule(&self, kind: u16, flags: libc::c_int, rule: &Rule) -> io::Result<()> {
        let mut request = Request::new(kind, flags);
        let action = if rule.table.is_some() { FR_ACT_TO_TBL } else { FR_ACT_UNREACHABLE };
        request.bytes(&[rule.family, 0, 0, 0, libc::RT_TABLE_UNSPEC, 0, 0, action]);
        request.word(FIB_RULE_INVERT);
        request.attribute_word(FRA_PRIORITY, rule.priority);
        if let Some(table) = rule.table {
            request.attribute_word(FRA_TABLE, table);
        }
        // Only the masked part is compared; the rest says whose rule it is.
        request.attribute_word(FRA_FWMARK, self.mark());
        request.attribute_word(FRA_FWMASK, MARK_MASK);
        request.attribute(FRA_PROTOCOL, &[PROTOCOL]);
        if let Some(suppress) = rule.suppress {
            request.attribute_word(FRA_SUPPRESS_PREFIXLEN, suppress);
        }
        request.perform()
    }

    fn rules_there(&self) -> io::Result<Vec<Rule>> {
        /// `fib_rule_hdr`: family first, the action at 7; then come attributes.
        const BODY: usize = 12;
        const ACTION: usize = 7;
        let mut there = Vec::new();
        let mut request = Request::for_list(RTM_GETRULE);
        request.bytes(&[0; BODY]);
        request.list(|message| {
            let (Some(&family), Some(attributes)) = (message.first(), message.get(BODY..)) else { return };
            let is_ours = attribute(attributes, FRA_PROTOCOL).is_some_and(|number| number == [PROTOCOL])
                && word(attributes, FRA_FWMARK) == Some(self.mark());
            if let (true, Some(priority)) = (is_ours, word(attributes, FRA_PRIORITY)) {
                let leads = message.get(ACTION) == Some(&FR_ACT_TO_TBL);
                let table = word(attributes, FRA_TABLE).filter(|_| leads);
                // All ones: none is suppressed.
                let suppress = word(attributes, FRA_SUPPRESS_PREFIXLEN).filter(|length| *length != u32::MAX);
                there.push(Rule { family, priority, table, suppress });
            }
        })?;
        Ok(there)
    }
}

impl Route {
    /// What tells routes of our table apart: network and metric.
    fn key(&self) -> (Network, u32) {
        (self.network, METRIC)
    }
}

/// Gives the device an address; an IPv6 address is usable at once, as nobody else can be on the tunnel.
pub(super) fn add_address(device: &InterfaceName, address: &Network) -> io::Result<()> {
    change_address(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, device, address)
}

/// Takes an address of the device's away.
pub(super) fn remove_address(device: &InterfaceName, address: &Network) -> io::Result<()> {
    change_address(libc::RTM_DELADDR, 0, device, address)
}

fn change_address(kind: u16, flags: libc::c_int, device: &InterfaceName, address: &Network) -> io::Result<()> {
    /// Without asking whether the address is a duplicate.
    const IFA_F_NODAD: u8 = 2;
    let mut request = Request::new(kind, flags);
    let own_flags = if address.address.is_ipv6() { IFA_F_NODAD } else { 0 };
    request.bytes(&[family(address.address), address.prefix_len, own_flags, 0]);
    request.word(interface::index(device)?);
    request.attribute(libc::IFA_LOCAL, &octets(address.address));
    request.attribute(libc::IFA_ADDRESS, &octets(address.address));
    request.perform()
}

fn word(attributes: &[u8], wanted: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(attribute(attributes, wanted)?.try_into().ok()?))
}

fn address_of(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceKind, TunDevice};
    use crate::sandbox;
    use std::process::Command;

    fn network(text: &str, prefix_len: u8) -> Network {
        Network { address: text.parse().expect("an address"), prefix_len }
    }

    fn told(command: &str) -> String {
        let output = Command::new("sh").arg("-c").arg(command).output().expect("sh starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn devices_have_tables_and_marks_of_their_own() {
        let of = |name: &str| Routing::new(&name.parse().expect("a name"), None);
        let mut marks: Vec<u32> = (0..20).map(|number| of(&format!("mlvpn{number}")).mark()).collect();
        assert!(marks.iter().all(|mark| mark & MARK_MASK == MARKS));
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), 20);
        let chosen = Routing::new(&"mlvpn0".parse().expect("a name"), Some(77));
        assert_eq!((chosen.table, chosen.mark()), (77, MARKS | 77));
    }

    #[test]
    fn the_longest_prefix_wins_across_the_main_table_and_ours_and_everything_can_be_undone() {
        sandbox::in_namespace("routes into a TUN device", || {
            let device = TunDevice::create("mlvpn0", DeviceKind::Tun, 1400).expect("create");
            device.set_up().expect("up");
            sandbox::run(
                "ip link add lan type veth peer name far && ip link set far up && ip link set lan up && ip addr add 10.1.7.1/24 dev lan",
            );
            sandbox::run("ip route add 10.0.0.0/8 via 10.1.7.254 && ip route add default via 10.1.7.254");
            let before = told("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all");
            let routing = Routing::new(&device.name(), None);
            let networks = vec![network("10.1.0.0", 16), network("192.168.0.0", 24), network("fd00:1::", 48)];
            let plan = Plan { networks, default_gateway: true, kill_switch: true, ..Plan::default() };
            let way = |to: &str, mark: &str| {
                let answer = told(&format!("ip route get {to} {mark} 2>&1"));
                ["dev mlvpn0", "dev lan"].into_iter().find(|dev| answer.contains(dev)).map(str::to_owned)
            };
            let have = |is_up| {
                let (routes, rules) = routing.wanted(&plan, is_up);
                routing.have(&device.name(), &routes, &rules).expect("the kernel takes them");
            };
            for is_up in [false, true, true] {
                have(is_up);
            }
            let marked = format!("mark {:#x}", routing.mark());
            for (to, expected) in [
                ("10.1.7.9", "dev lan"),
                ("10.1.8.9", "dev mlvpn0"),
                ("10.2.0.1", "dev lan"),
                ("192.168.0.9", "dev mlvpn0"),
                ("203.0.113.1", "dev mlvpn0"),
                ("fd00:1::9", "dev mlvpn0"),
            ] {
                assert_eq!(
                    way(to, "").as_deref(),
                    Some(expected),
                    "{to}\n{}",
                    told("ip rule; ip route show table all")
                );
                let own = if to.contains(':') { None } else { Some("dev lan") };
                assert_eq!(way(to, &marked).as_deref(), own, "{to}, marked");
            }
            have(false);
            assert_eq!(way("203.0.113.1", ""), None, "the kill switch");
            assert_eq!(way("10.2.0.1", "").as_deref(), Some("dev lan"));
            // As a daemon that was killed leaves it: another one, which wants less, finds it.
            let other = Routing::new(&device.name(), None);
            other.have(&device.name(), &[], &[]).expect("the kernel takes them back");
            assert_eq!(told("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"), before);
        });
    }
}

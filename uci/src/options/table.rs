// SPDX-License-Identifier: BSD-2-Clause
//! The table of options, and the words it is written in.

use super::Absent::{self, Computed, General as Inherited, Number as Is, Required, RequiredIn, Text, Unset};
use super::SectionKind::{self, Class, General, Link, OpenMptcProuter, Peer};
use super::ValueKind as V;
use super::{InUci, OptionSpec, REORDER_YES, SectionName, Takes, TimeUnit};

/// `atoi` on every machine MLVPN runs on ends here; no count of seconds or bytes per second we know is larger.
const ATOI_MAX: u32 = i32::MAX.unsigned_abs();
/// The version all of today's options came with.
const FIRST: &str = "0.1.0";
/// The port of MLVPN's examples.
const USUAL_PORT: u32 = 5080;
/// Two seconds at least, as in mlvpn.conf.
const TIMEOUT: V = V::Duration { unit: TimeUnit::Seconds, min: 2, max: ATOI_MAX };
const LATENCY: V = V::Duration { unit: TimeUnit::Milliseconds, min: 0, max: ATOI_MAX };
const PERCENT: V = V::Number { min: 0, max: 100 };
/// As many packets as MLVPN 2.3.5 can hold.
const REORDER: V = V::Number { min: 0, max: 65_536 };
/// Nine steps of preference are more than anyone has links for; shares a hundredfold apart leave one link idle.
const TIER: V = V::Number { min: 1, max: 9 };
const WEIGHT: V = V::Number { min: 1, max: 100 };
/// Every month has these days.
const DAY_OF_MONTH: V = V::Number { min: 1, max: 28 };
const TUNNEL_NAME: V = V::Section(SectionName::Tunnel);

/// The table.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    uci_only(General, "enabled", V::Flag, Is(0), "1: start this tunnel"),
    option(General, "mode", V::Mode, Required, "Who calls whom: a client connects to the server, a server waits")
        .uci().uci_default(Text("client")),
    option(General, "protocol", V::Protocol, Text("classic"), "2 between two ends of this program; classic: MLVPN 2.3's")
        .start_only().uci().uci_default(Text("2")),
    uci_only(General, "server", V::Endpoint, RequiredIn("client without peers"), "Where the server is, as HOST:PORT"),
    uci_only(General, "public_key", V::PublicKey, Unset, "The server's key, from `mlvpn pubkey` there"),
    uci_only(General, "secret", V::SharedSecret, Unset,
        "From `mlvpn gensecret`, the same on both sides: besides the keys, or instead of them"),
    uci_only(General, "secret_file", V::Path, Unset, "File that holds the secret"),
    uci_only(General, "port", V::Port, Is(USUAL_PORT), "UDP port a server waits on"),
    option(General, "private_key", V::PrivateKey, Unset, "This end's key, from `mlvpn keygen` (protocol 2)").start_only()
        .uci(),
    uci_only(General, "private_key_file", V::Path, Unset, "File that holds this end's key").start_only(),
    option(General, "password", V::Password, RequiredIn("classic"), "Shared secret; the same on both sides (classic)")
        .uci(),
    uci_only(General, "password_file", V::Path, Unset, "File that holds the password (classic)"),
    option(General, "statuscommand", V::Path, Unset, "Script run when device or link goes up or down").start_only(),
    option(General, "interface_name", V::Interface, Text("mlvpn0"), "Name of the tunnel's device").start_only()
        .uci().uci_name("device", &["interface_name"]),
    option(General, "tuntap", V::Device, Text("tun"), "tun carries IP packets, tap Ethernet frames").start_only().uci(),
    option(General, "offload", V::Flag, Is(1),
        "0: move packets one by one between device, sockets and kernel, for kernels and drivers whose offloads are broken").start_only().uci(),
    option(General, "control_unix_path", V::Path, Computed("/run/mlvpn/DEVICE.sock"),
        "UNIX socket of status and commands, for root and the daemon's group").start_only(),
    option(General, "control_bind_host", V::Host, Computed("127.0.0.1"),
        "Address the HTTP status interface listens on, without a password").start_only(),
    option(General, "control_bind_port", V::Port, Unset, "Port the HTTP status interface listens on; absent: none")
        .start_only(),
    option(General, "cleartext_data", V::Flag, Is(0), "1: carry data unencrypted; the same on both sides (classic)").uci(),
    option(General, "timeout", V::Number { min: 2, max: ATOI_MAX }, Is(60), "A link silent for this long is down")
        .unit("seconds").uci().uci_kind(TIMEOUT),
    option(General, "reorder_buffer_size", REORDER, Is(0),
        "Packets held back to restore their order; 0: deliver as they come; with protocol 2 absent means 64").unit("packets")
        .uci().uci_default(Computed("64; with protocol classic 0")),
    option(General, "reorder_buffer", V::Switch { stands_for: "reorder_buffer_size", yes: REORDER_YES }, Unset,
        "yes: reorder_buffer_size = 64; no: reorder_buffer_size = 0"),
    option(General, "loss_tolerence", PERCENT, Is(100),
        "A link losing this much is left out while a better one is up; 100: never").unit("percent")
        .aliases(&["loss_tolerance"]).uci().uci_name("loss_tolerance", &["loss_tolerence"]),
    option(General, "latency_tolerence", V::Number { min: 0, max: ATOI_MAX }, Is(1000),
        "A link with a longer round trip is left out while a better one is up").unit("milliseconds")
        .aliases(&["latency_tolerance"]).uci().uci_name("latency_tolerance", &["latency_tolerence"]).uci_kind(LATENCY),
    option(General, "ip4", V::Address4, Unset, "IPv4 address of this end, as ADDRESS/PREFIX").uci(),
    option(General, "ip6", V::Address6, Unset, "IPv6 address of this end, as ADDRESS/PREFIX").uci(),
    option(General, "ip4_gateway", V::Gateway4, Unset, "IPv4 address of the other end").uci(),
    option(General, "ip6_gateway", V::Gateway6, Unset, "IPv6 address of the other end").uci(),
    option(General, "ip4_routes", V::Routes4, Unset, "IPv4 networks reached through the tunnel").uci().list(),
    option(General, "ip6_routes", V::Routes6, Unset, "IPv6 networks reached through the tunnel").uci().list(),
    option(General, "mtu", V::Number { min: 576, max: 1500 },
        Computed("the largest packet that fits the links unfragmented"), "Largest packet the device takes")
        .unit("bytes").uci(),
    option(General, "quota_file", V::Path, Unset,
        "File that keeps what links carried of their quotas while mlvpn does not run (client, protocol 2)").start_only()
        .uci(),
    option(General, "setup", V::Flag, Computed("yes where there is no statuscommand"),
        "yes: mlvpn itself gives the device its addresses, routes and MTU").start_only(),
    option(General, "remote_networks", V::Networks, Unset,
        "Networks behind the other end, of both versions of IP; the tunnel's own packets never take these routes"),
    option(General, "default_gateway", V::Flag, Is(0),
        "yes: the tunnel is the way to the internet while it is up; the way to the server stays as it is"),
    option(General, "kill_switch", V::Flag, Is(0),
        "yes: default_gateway, and while the tunnel is down nothing goes to the internet another way"),
    option(General, "nat", V::Flag, Is(0),
        "yes: what a server forwards from the tunnel, or a client into it, takes this machine's address (nftables)"),
    option(General, "port_forwards", V::Forwards, Unset,
        "Ports of this machine that lead behind the tunnel: tcp/8080:10.42.42.2:80, udp/5000-5010:10.42.42.2"),
    option(General, "routing_table", V::Number { min: 1, max: u32::MAX }, Computed("from the device's name"),
        "Number of the routing table for these routes, and of the mark on the tunnel's own packets").start_only(),

    uci_only(Link, "enabled", V::Flag, Is(1), "0: leave this link out"),
    uci_only(Link, "tunnel", TUNNEL_NAME, Computed("the only tunnel"), "The tunnel this link belongs to"),
    uci_only(Link, "interface", V::Network, Computed("the section's name"),
        "Interface of /etc/config/network this link uses, like wan or wwan"),
    uci_only(Link, "server", V::Endpoint, Computed("the tunnel's"), "Where the server is for this link, as HOST:PORT"),
    option(Link, "bindhost", V::Host, Unset, "Local address the link sends from; absent: the system chooses").uci(),
    option(Link, "bindport", V::Port, RequiredIn("server"), "Local UDP port").uci()
        .uci_default(Computed("on a server the tunnel's port")),
    option(Link, "bindinterface", V::Interface, Unset,
        "Interface the link is bound to whatever the routing table says (SO_BINDTODEVICE; not in MLVPN 2.3.5)")
        .aliases(&["bindif", "interface"]).uci().uci_name("device", &[]).uci_default(Computed("that of the interface")),
    option(Link, "bindfib", V::Number { min: 0, max: ATOI_MAX }, Is(0), "Routing table on BSD; has no effect on Linux"),
    option(Link, "remotehost", V::Host, RequiredIn("classic client"),
        "Name or address of the server; with protocol 2 used instead of the peer's"),
    option(Link, "remoteport", V::Port, RequiredIn("classic client"),
        "UDP port of the server; with protocol 2 used instead of the peer's"),
    option(Link, "bandwidth_upload", V::Number { min: 0, max: u32::MAX }, Is(0),
        "What the link can send; sets its share of the traffic; 0: not known").unit("bytes per second")
        .uci().uci_name("rate_up", &[]).uci_kind(V::Rate),
    option(Link, "bandwidth_download", V::Number { min: 0, max: u32::MAX }, Is(0),
        "What the link can receive, the most the server sends (client, protocol 2); 0: not known").unit("bytes per second")
        .uci().uci_name("rate_down", &[]).uci_kind(V::Rate),
    option(Link, "timeout", V::Number { min: 2, max: ATOI_MAX }, Inherited, "Silent for this long, the link is down")
        .unit("seconds").uci().uci_kind(TIMEOUT),
    option(Link, "loss_tolerence", PERCENT, Inherited,
        "Losing this much, the link is left out while a better one is up; 100: never").unit("percent")
        .aliases(&["loss_tolerance"]).uci().uci_name("loss_tolerance", &["loss_tolerence"]),
    option(Link, "latency_tolerence", V::Number { min: 0, max: ATOI_MAX }, Inherited,
        "With a longer round trip the link is left out while a better one is up").unit("milliseconds")
        .aliases(&["latency_tolerance"]).uci().uci_name("latency_tolerance", &["latency_tolerence"]).uci_kind(LATENCY),
    option(Link, "fallback_only", V::Flag, Is(0), "1: used only while every other link is down")
        .uci().uci_name("backup", &["fallback_only"]),
    option(Link, "weight", WEIGHT, Computed("what the link is measured to carry"),
        "Share of what all links of its tier have room for, against their weights (client, protocol 2)").uci(),
    option(Link, "tier", TIER, Is(1),
        "A link of a higher tier joins when those of lower ones are full or down (client, protocol 2)").uci(),
    option(Link, "metered", V::Flag, Is(0),
        "1: data costs money: rare probes, no duplicates (client, protocol 2)").uci(),
    option(Link, "quota_day_soft", V::Volume, Unset,
        "Beyond this much a day the link is used as a backup (client, protocol 2)").uci(),
    option(Link, "quota_day_hard", V::Volume, Unset,
        "Beyond this much a day the link is not used (client, protocol 2)").uci(),
    option(Link, "quota_month_soft", V::Volume, Unset,
        "Beyond this much a month the link is used as a backup (client, protocol 2)").uci(),
    option(Link, "quota_month_hard", V::Volume, Unset,
        "Beyond this much a month the link is not used (client, protocol 2)").uci(),
    option(Link, "quota_month_start", DAY_OF_MONTH, Is(1), "Day on which the month of the quota begins").uci(),

    uci_only(Peer, "enabled", V::Flag, Is(1), "0: leave this peer out"),
    uci_only(Peer, "tunnel", TUNNEL_NAME, Computed("the only tunnel"), "The tunnel this peer belongs to"),
    uci_only(Peer, "server", V::Endpoint, RequiredIn("client"),
        "Where the server is, as HOST:PORT; of several peers the first that answers is used"),
    option(Peer, "public_key", V::PublicKey, Unset, "The peer's key, from `mlvpn pubkey` there").uci(),
    option(Peer, "secret", V::SharedSecret, Unset,
        "From `mlvpn gensecret`, the same on both sides: besides the keys, or instead of them").uci(),
    uci_only(Peer, "secret_file", V::Path, Unset, "File that holds the secret"),
    option(Peer, "password", V::Password, Unset,
        "Of the one peer of a server that still speaks the classic protocol: its password, instead of keys").uci(),
    option(Peer, "remotehost", V::Host, RequiredIn("client"),
        "Name or address of the server; of several peers the first that answers is used"),
    option(Peer, "remoteport", V::Port, RequiredIn("client"), "UDP port of the server"),
    option(Peer, "allowed_ips", V::Networks, RequiredIn("server with several peers"),
        "Networks the peer may send from and that are routed to it").uci().list(),

    uci_only(Class, "enabled", V::Flag, Is(1), "0: leave this class out"),
    uci_only(Class, "tunnel", TUNNEL_NAME, Computed("the only tunnel"), "The tunnel this class belongs to"),
    option(Class, "proto", V::IpProtocol, Computed("any"), "IP protocols of the packets").uci().list(),
    option(Class, "port", V::Ports, Computed("any"), "Ports of the packets, at either end").uci().list(),
    option(Class, "dscp", V::Dscp, Computed("any"), "DSCPs of the packets").uci().list(),
    option(Class, "link", V::Section(SectionName::Link), Unset, "Send them through this link while it is up (client)")
        .uci(),
    option(Class, "duplicate", V::Flag, Is(0), "1: send them through two links, the first copy counts").uci(),
    option(Class, "interactive", V::Flag, Is(0), "1: send them first, through the link that is soonest there").uci(),

    uci_only(OpenMptcProuter, "enable", V::Flag, Is(0), "1: start this tunnel"),
    uci_only(OpenMptcProuter, "password", V::Password, Required, "Shared secret; the same on both sides"),
    uci_only(OpenMptcProuter, "timeout", TIMEOUT, Is(30), "A link silent for this long is down"),
    uci_only(OpenMptcProuter, "mode", V::Mode, Text("client"), "Who calls whom").start_only(),
    uci_only(OpenMptcProuter, "host", V::Host, RequiredIn("client"), "Name or address of the server"),
    uci_only(OpenMptcProuter, "firstport", V::Port, Is(65_201),
        "The links, interfaces of /etc/config/network with multipath, have the ports behind this one"),
    uci_only(OpenMptcProuter, "interface_name", V::Interface, Text("mlvpn0"), "Name of the tunnel's device").start_only(),
    uci_only(OpenMptcProuter, "reorder_buffer_size", REORDER, Is(512), "Packets held back to restore their order"),
    uci_only(OpenMptcProuter, "loss_tolerance", PERCENT, Is(50),
        "A link losing this much is left out while a better one is up; 100: never").uci_name("loss_tolerance", &["loss_tolerence"]),
    uci_only(OpenMptcProuter, "latency_tolerance", LATENCY, Is(300),
        "A link with a longer round trip is left out while a better one is up")
        .uci_name("latency_tolerance", &["latency_tolerence"]),
    uci_only(OpenMptcProuter, "cleartext_data", V::Flag, Is(0), "1: carry data unencrypted; the same on both sides"),
];

const fn option(section: SectionKind, name: &'static str, kind: V, default: Absent, help: &'static str) -> OptionSpec {
    OptionSpec {
        section,
        name,
        aliases: &[],
        kind,
        default,
        unit: "",
        takes: Takes::Reload,
        help,
        since: FIRST,
        in_conf: true,
        in_uci: None,
    }
}

const fn uci_only(
    section: SectionKind,
    name: &'static str,
    kind: V,
    default: Absent,
    help: &'static str,
) -> OptionSpec {
    let mut spec = option(section, name, kind, default, help).uci();
    spec.in_conf = false;
    spec
}

impl OptionSpec {
    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    const fn start_only(mut self) -> Self {
        self.takes = Takes::Restart;
        self
    }

    /// UCI has it, as mlvpn.conf has it but for what follows.
    const fn uci(mut self) -> Self {
        let Self { name, kind, default, .. } = self;
        self.in_uci = Some(InUci { name, aliases: &[], kind, default, is_list: false });
        self
    }

    const fn uci_name(mut self, name: &'static str, aliases: &'static [&'static str]) -> Self {
        if let Some(uci) = &mut self.in_uci {
            uci.name = name;
            uci.aliases = aliases;
        }
        self
    }

    const fn uci_kind(mut self, kind: V) -> Self {
        if let Some(uci) = &mut self.in_uci {
            uci.kind = kind;
        }
        self
    }

    const fn uci_default(mut self, default: Absent) -> Self {
        if let Some(uci) = &mut self.in_uci {
            uci.default = default;
        }
        self
    }

    const fn list(mut self) -> Self {
        if let Some(uci) = &mut self.in_uci {
            uci.is_list = true;
        }
        self
    }
}

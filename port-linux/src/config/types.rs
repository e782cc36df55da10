// SPDX-License-Identifier: BSD-2-Clause
//! The configuration as types: whoever holds one need not check it again.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use mlvpn_core::stages::filter::Step;
use mlvpn_core::state::identity::{PublicKey, SharedSecret};
use mlvpn_core::tunnel::peer::config::Network;
use mlvpn_core::words::policy::Limits;
use mlvpn_uci::policy::ClassRule;

use super::roles::Roles;
use super::secret::{PrivateKey, Secret};
use crate::device::DeviceKind;
use crate::interface::InterfaceName;

pub use mlvpn_core::words::limits::MAX_LINKS;

/// MLVPN 2.3.5 has room for 255 filters.
pub const MAX_FILTERS: usize = 255;
/// A link's name is an argument of the status script and part of the process title.
pub const MAX_LINK_NAME_BYTES: usize = 64;

/// Peers of one server. A file of so many, each with its keys and networks, is within the largest that is read.
pub const MAX_PEERS: usize = 4096;
/// A peer's name is for people, and stands in the log.
pub const MAX_PEER_NAME_BYTES: usize = 64;

/// What the ends speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MLVPN 2.3's, with one password.
    Classic,
    /// Ours, between peers that know each other's keys or share a secret.
    Two,
}

impl Protocol {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Two => "2",
        }
    }
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Connects every link to the server.
    Client,
    /// Waits for the client on every link.
    Server,
}

impl Mode {
    /// The word in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// An address and how many of its leading bits name the network; never more than the address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr<A> {
    /// The address, host bits included.
    pub address: A,
    /// Leading bits of the network.
    pub prefix_len: u8,
}

impl<A: fmt::Display> fmt::Display for Cidr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// `[general]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// Who calls whom.
    pub mode: Mode,
    /// What the ends speak.
    pub protocol: Protocol,
    /// This end's key; present when a peer has a public key, and never with the classic protocol.
    pub private_key: Option<PrivateKey>,
    /// The classic protocol's shared secret; empty with protocol 2, where a peer has it that speaks the classic one.
    pub password: Secret,
    /// Script run when the device or a link goes up or down.
    pub statuscommand: Option<PathBuf>,
    /// The tunnel's device.
    pub interface_name: InterfaceName,
    /// What the device carries.
    pub tuntap: DeviceKind,
    /// Where the kernel can, a TUN device hands over and takes super-segments, and it cuts and joins runs of datagrams.
    pub offload: bool,
    /// UNIX socket of the status interface.
    pub control_unix_path: Option<PathBuf>,
    /// Address of the HTTP status interface.
    pub control_bind_host: Option<String>,
    /// Port of the HTTP status interface.
    pub control_bind_port: Option<u16>,
    /// DATA bodies travel unsealed; never with protocol 2.
    pub cleartext_data: bool,
    /// Seconds of silence after which a link is down; what a link without its own gets. At least 2.
    pub timeout_secs: u32,
    /// Packets held back to restore their order; 0: none.
    pub reorder_buffer_size: u32,
    /// Percent, 0 to 100; what a link without its own gets. 100: no limit.
    pub loss_tolerance_percent: u8,
    /// Milliseconds of round trip; what a link without its own gets.
    pub latency_tolerance_ms: u32,
    /// This end's IPv4 address.
    pub ip4: Option<Cidr<Ipv4Addr>>,
    /// This end's IPv6 address.
    pub ip6: Option<Cidr<Ipv6Addr>>,
    /// The other end's IPv4 address.
    pub ip4_gateway: Option<Ipv4Addr>,
    /// The other end's IPv6 address.
    pub ip6_gateway: Option<Ipv6Addr>,
    /// IPv4 networks behind the other end.
    pub ip4_routes: Vec<Cidr<Ipv4Addr>>,
    /// IPv6 networks behind the other end.
    pub ip6_routes: Vec<Cidr<Ipv6Addr>>,
    /// Largest packet of the device in bytes, 576 to 1500; absent: computed from the links.
    pub mtu: Option<u16>,
    /// Keeps what links carried of their quotas.
    pub quota_file: Option<PathBuf>,
    /// What the tunnel is to this machine.
    pub roles: Roles,
}

/// A section that is a link. On a server `bindport` is always present, on a client of the classic protocol `remotehost`
/// and `remoteport`; with protocol 2 each of these two, if present, takes the place of the peer's on this link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The section's name: 1 to 64 bytes, unique, no control characters.
    pub name: String,
    /// Local address or name, not yet resolved.
    pub bindhost: Option<String>,
    /// Local UDP port; absent: any.
    pub bindport: Option<u16>,
    /// Interface the socket is bound to with `SO_BINDTODEVICE`.
    pub bindinterface: Option<InterfaceName>,
    /// Whether the socket is bound to the interface's IPv4 address, too, where somebody tells it: in OpenMPTCProuter's
    /// files, which cannot name one, the routing rules go by it.
    pub takes_address: bool,
    /// Server's address or name, not yet resolved.
    pub remotehost: Option<String>,
    /// Server's UDP port, not 0.
    pub remoteport: Option<u16>,
    /// Bytes per second; 0: not known.
    pub bandwidth_upload: u32,
    /// Seconds of silence after which the link is down, at least 2.
    pub timeout_secs: u32,
    /// Percent, 0 to 100. 100: no limit.
    pub loss_tolerance_percent: u8,
    /// Milliseconds of round trip.
    pub latency_tolerance_ms: u32,
    /// Used only while every other link is down.
    pub fallback_only: bool,
    /// Bytes per second that are to be received at the most; 0: not known. This and what follows is a client's of
    /// protocol 2.
    pub bandwidth_download: u32,
    /// Share beside links of the same tier, 1 to 100; absent: none in particular.
    pub weight: Option<u8>,
    /// 1 to 9: it joins when links of lower tiers are full or down.
    pub tier: u8,
    /// Data costs money.
    pub metered: bool,
    /// What it may carry in a day.
    pub day: Limits,
    /// And in a month.
    pub month: Limits,
    /// The day on which the month begins, 1 to 28.
    pub month_start: u8,
}

impl Link {
    /// Whether what it carries is limited.
    #[must_use]
    pub fn has_quota(&self) -> bool {
        (self.day, self.month) != (Limits::default(), Limits::default())
    }

    /// True when both links can use the same socket and session: their addresses do not differ.
    #[must_use]
    pub fn same_path(&self, other: &Self) -> bool {
        self.bindhost == other.bindhost
            && self.bindport == other.bindport
            && self.bindinterface == other.bindinterface
            && self.remotehost == other.remotehost
            && self.remoteport == other.remoteport
    }
}

/// A `[peer NAME]` of protocol 2. It has a public key, a secret or both, or on a server the password by which one peer that
/// speaks the classic protocol is served besides. On a client `remotehost` and `remoteport` are
/// always present, on a server never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// NAME: 1 to 64 printable ASCII characters, unique.
    pub name: String,
    /// The peer's key; with it `private_key` is present in [`General`], and no other peer of a server has it.
    pub public_key: Option<PublicKey>,
    /// What both know besides the keys, or instead of them. On a server one peer at most has it instead.
    pub secret: Option<SharedSecret>,
    /// The classic protocol's shared secret, on a server, of one peer at most, which then has neither key nor secret.
    pub password: Option<Secret>,
    /// The server's address or name, not yet resolved.
    pub remotehost: Option<String>,
    /// The server's UDP port, not 0.
    pub remoteport: Option<u16>,
    /// Networks the peer may send from and that are routed to it, without host bits, each once, at most
    /// [`MAX_ALLOWED`](mlvpn_core::tunnel::peer::config::MAX_ALLOWED). Any when empty, which on a server of several
    /// peers it is not; there no network overlaps one of another peer.
    pub allowed: Vec<Network>,
}

/// A `[class NAME]` of protocol 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// NAME; UCI's may be empty.
    pub name: String,
    /// Which packets, and what to do with them.
    pub rule: ClassRule,
}

/// One line of `[filters]`: packets that match go through the link while it is up. The first match counts.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Name of a link of the same configuration.
    pub link: String,
    /// A pcap-filter(7) expression.
    pub expression: String,
    /// The same, compiled.
    pub steps: Vec<Step>,
    /// Where it stands in the file, counted from 1.
    pub line: u32,
}

/// Filters are the same when they do the same; where they stand does not matter.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.link == other.link && self.expression == other.expression
    }
}

impl Eq for Filter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compare_by_what_they_do() {
        let filter = |line| Filter { link: "dsl".to_owned(), expression: "icmp".to_owned(), steps: Vec::new(), line };
        assert_eq!(filter(1), filter(2));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a protocol-2 tunnel is told before it starts.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::state::handshake::{Credentials, Offer};
use crate::state::identity::{KeyPair, PublicKey, SharedSecret};
use crate::words::ids::Medium;

/// Networks a peer may send from, at most.
pub const MAX_ALLOWED: usize = 16;

/// One end's tunnel to one peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// What the device carries.
    pub medium: Medium,
    /// The largest inner IP packet there is to be, in bytes; what the paths carry may lower it.
    pub max_mtu: u16,
    /// Restore the order of received packets.
    pub reorder: bool,
    /// What this end can do.
    pub offer: Offer,
    /// The inner source addresses the peer may use; any when empty.
    pub allowed: heapless::Vec<Network, MAX_ALLOWED>,
}

/// By what a client knows its server and is known.
pub enum ClientCredentials {
    /// Each knows the other's public key.
    Keys {
        /// This end's keys.
        own: KeyPair,
        /// The server's key.
        server: PublicKey,
        /// A secret besides, or [`SharedSecret::none`].
        secret: SharedSecret,
    },
    /// Both know one secret.
    Secret(SharedSecret),
}

impl ClientCredentials {
    pub(super) const fn borrow(&self) -> Credentials<'_> {
        match self {
            Self::Keys { own, server, secret } => Credentials::Keys { own, peer: server, secret },
            Self::Secret(secret) => Credentials::Secret(secret),
        }
    }
}

impl core::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientCredentials(..)")
    }
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network.
    pub address: IpAddr,
    /// Leading bits that name it, at most 32 or 128.
    pub prefix_len: u8,
}

impl Network {
    /// Every IPv4 address.
    pub const ALL_IPV4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix_len: 0 };

    /// Every IPv6 address.
    pub const ALL_IPV6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_len: 0 };

    /// Whether `address` belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let apart = network.to_bits() ^ address.to_bits();
                apart.checked_shr(32_u32.saturating_sub(self.prefix_len.into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let apart = network.to_bits() ^ address.to_bits();
                apart.checked_shr(128_u32.saturating_sub(self.prefix_len.into())).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix_len: u8) -> Network {
        Network { address: text.parse().unwrap(), prefix_len }
    }

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        for (net, len, address, expected) in [
            ("10.1.2.0", 24, "10.1.2.255", true),
            ("10.1.2.0", 24, "10.1.3.0", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "10.1.2.2", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("fd00::", 8, "fdff::1", true),
            ("fd00::", 8, "fe00::1", false),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "1.2.3.4", false),
        ] {
            assert_eq!(network(net, len).contains(address.parse().unwrap()), expected, "{net}/{len} {address}");
        }
    }
}

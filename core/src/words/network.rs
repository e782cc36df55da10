// SPDX-License-Identifier: BSD-2-Clause
//! Networks, as peers are allowed them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks a peer may send from, at most: a site has a few, and they are compared one by one for every packet.
pub const MAX_ALLOWED: usize = 16;

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

// SPDX-License-Identifier: BSD-2-Clause
//! Which peer of a server a packet from the device is for.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use mlvpn_core::words::network::Network;

/// The peers' networks: for each length of prefix, longest first, a table by the prefix's bits.
#[derive(Debug, Default)]
pub(super) struct Routes {
    ipv4: BTreeMap<std::cmp::Reverse<u8>, HashMap<u32, usize>>,
    ipv6: BTreeMap<std::cmp::Reverse<u8>, HashMap<u128, usize>>,
}

impl Routes {
    pub(super) fn add(&mut self, network: Network, place: usize) {
        let length = std::cmp::Reverse(network.prefix_len);
        match network.address {
            IpAddr::V4(address) => {
                let bits = prefix_of_ipv4(address.to_bits(), network.prefix_len);
                self.ipv4.entry(length).or_default().insert(bits, place);
            }
            IpAddr::V6(address) => {
                let bits = prefix_of_ipv6(address.to_bits(), network.prefix_len);
                self.ipv6.entry(length).or_default().insert(bits, place);
            }
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.ipv4.values_mut().for_each(|table| table.retain(|_, other| *other != place));
        self.ipv6.values_mut().for_each(|table| table.retain(|_, other| *other != place));
        self.ipv4.retain(|_, table| !table.is_empty());
        self.ipv6.retain(|_, table| !table.is_empty());
    }

    /// The peer whose longest prefix holds `address`.
    pub(super) fn find(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => self
                .ipv4
                .iter()
                .find_map(|(length, table)| table.get(&prefix_of_ipv4(address.to_bits(), length.0)).copied()),
            IpAddr::V6(address) => self
                .ipv6
                .iter()
                .find_map(|(length, table)| table.get(&prefix_of_ipv6(address.to_bits(), length.0)).copied()),
        }
    }
}

const fn prefix_of_ipv4(bits: u32, length: u8) -> u32 {
    match u32::MAX.checked_shl(32_u32.saturating_sub(length as u32)) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

const fn prefix_of_ipv6(bits: u128, length: u8) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(length as u32)) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix_len: u8) -> Network {
        Network { address: text.parse().expect("an address"), prefix_len }
    }

    fn find(routes: &Routes, address: &str) -> Option<usize> {
        routes.find(address.parse().expect("an address"))
    }

    #[test]
    fn a_packet_goes_to_the_peer_with_the_longest_prefix() {
        let mut routes = Routes::default();
        routes.add(network("0.0.0.0", 0), 0);
        routes.add(network("10.0.0.0", 8), 1);
        routes.add(network("10.1.2.0", 24), 2);
        routes.add(network("10.1.2.3", 32), 3);
        routes.add(network("fd00::", 8), 4);
        for (address, place) in [("10.1.2.3", 3), ("10.1.2.4", 2), ("10.9.9.9", 1), ("192.0.2.1", 0), ("fd12::1", 4)] {
            assert_eq!(find(&routes, address), Some(place), "{address}");
        }
        assert_eq!(find(&routes, "2001:db8::1"), None);
    }

    #[test]
    fn a_peer_that_left_gets_no_packets() {
        let mut routes = Routes::default();
        routes.add(network("10.0.0.0", 8), 1);
        routes.add(network("10.1.0.0", 16), 2);
        routes.remove(2);
        assert_eq!(find(&routes, "10.1.0.1"), Some(1));
        routes.remove(1);
        assert_eq!(find(&routes, "10.1.0.1"), None);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Addresses with prefix lengths, and the networks they name.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::types::Cidr;

/// An address, and whether a prefix length followed; without one it is the whole address.
pub(crate) fn parse_cidr<A: FromStr>(word: &str, bits: u8) -> Option<(Cidr<A>, bool)> {
    let (address, prefix) = match word.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (word, None),
    };
    let address = address.parse().ok()?;
    let prefix_len = match prefix {
        // `parse` would take a sign.
        Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => prefix.parse().ok().filter(|len| *len <= bits)?,
        Some(_) => return None,
        None => bits,
    };
    Some((Cidr { address, prefix_len }, prefix.is_some()))
}

/// What the two kinds of address do alike in a list of routes.
pub(crate) trait Routable: FromStr + Display + Copy + PartialEq {
    const ADDRESS_BITS: u8;
    fn zero() -> Self;
    /// The address with only its first bits kept.
    fn masked(self, prefix_len: u8) -> Self;

    fn everything() -> Cidr<Self> {
        Cidr { address: Self::zero(), prefix_len: 0 }
    }

    /// The same network without host bits.
    fn network(cidr: Cidr<Self>) -> Cidr<Self> {
        Cidr { address: cidr.address.masked(cidr.prefix_len), ..cidr }
    }
}

impl Routable for Ipv4Addr {
    const ADDRESS_BITS: u8 = 32;
    fn zero() -> Self {
        Self::UNSPECIFIED
    }
    fn masked(self, prefix_len: u8) -> Self {
        let mask = u32::MAX.checked_shl(u32::from(Self::ADDRESS_BITS - prefix_len)).unwrap_or(0);
        Self::from_bits(self.to_bits() & mask)
    }
}

impl Routable for Ipv6Addr {
    const ADDRESS_BITS: u8 = 128;
    fn zero() -> Self {
        Self::UNSPECIFIED
    }
    fn masked(self, prefix_len: u8) -> Self {
        let mask = u128::MAX.checked_shl(u32::from(Self::ADDRESS_BITS - prefix_len)).unwrap_or(0);
        Self::from_bits(self.to_bits() & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_prefix_length_no_longer_than_itself() {
        let read = |word| parse_cidr::<Ipv4Addr>(word, 32).map(|(cidr, given)| (cidr.to_string(), given));
        assert_eq!(read("10.0.0.1/24"), Some(("10.0.0.1/24".to_owned(), true)));
        assert_eq!(read("10.0.0.1"), Some(("10.0.0.1/32".to_owned(), false)));
        for bad in ["", "/", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/+8", "10.0.0.1/255.0.0.0", "10.0.0/8", "::1/128"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(parse_cidr::<Ipv6Addr>("fd00::1/128", 128).is_some());
        assert!(parse_cidr::<Ipv6Addr>("fd00::1/129", 128).is_none());
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_prefix_length() {
        let network = |address: &str, prefix_len| {
            Ipv4Addr::network(Cidr { address: address.parse().expect("an address"), prefix_len }).to_string()
        };
        assert_eq!(network("10.1.2.3", 8), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3", 0), "0.0.0.0/0");
        assert_eq!(network("10.1.2.3", 32), "10.1.2.3/32");
        let address = "fd00:1:2::3".parse().expect("an address");
        assert_eq!(Ipv6Addr::network(Cidr { address, prefix_len: 32 }).to_string(), "fd00:1::/32");
        assert_eq!(Ipv6Addr::network(Ipv6Addr::everything()).to_string(), "::/0");
    }
}

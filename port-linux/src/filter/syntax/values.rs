// SPDX-License-Identifier: BSD-2-Clause
//! Values: addresses, networks, ports, protocols, lengths and marks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::super::Fault;
use super::super::program::Tree;
use super::super::terms::{self, Family};
use super::super::token::Kind;
use super::names::{self, Protocol};
use super::{Parser, Qualifiers, Type, arithmetic};

impl Parser<'_> {
    pub(super) fn value(&mut self, qualifiers: Qualifiers) -> Result<Tree, Fault> {
        let direction = qualifiers.direction;
        match qualifiers.of {
            Type::Address | Type::Host | Type::Net => self.address(qualifiers),
            Type::Port => {
                let port = self.port()?;
                Ok(terms::ports(self.transports(qualifiers)?, direction, &(port..=port)))
            }
            Type::PortRange => {
                let range = self.port_range()?;
                Ok(terms::ports(self.transports(qualifiers)?, direction, &range))
            }
            Type::Proto => self.proto(qualifiers),
        }
    }

    /// The protocols a port belongs to.
    fn transports(&self, qualifiers: Qualifiers) -> Result<&'static [u8], Fault> {
        names::transports(qualifiers.protocol).ok_or_else(|| {
            let at = self.tokens.get(self.place.saturating_sub(1)).map_or(self.end, |token| token.at);
            Fault::new(at, "a port is of tcp, udp or sctp", "write \"tcp port\", \"udp port\" or \"port\"")
        })
    }

    fn port(&mut self) -> Result<u16, Fault> {
        let at = self.at();
        let port = match self.peek() {
            Some(Kind::Number(number)) => u16::try_from(*number)
                .map_err(|_| Fault::new(at, format!("there is no port {number}"), "write one from 0 to 65535"))?,
            Some(Kind::Word(word)) => names::service(word)
                .ok_or_else(|| Fault::new(at, format!("\"{word}\" is no port"), "write its number"))?,
            _ => return Err(self.unexpected()),
        };
        self.place += 1;
        Ok(port)
    }

    /// `5060-5070`, in either order; one port is a range, too.
    fn port_range(&mut self) -> Result<RangeInclusive<u16>, Fault> {
        let at = self.at();
        let Some(Kind::Word(word)) = self.peek() else {
            let port = self.port()?;
            return Ok(port..=port);
        };
        let named = |text: &str| text.parse().ok().or_else(|| names::service(text));
        let ends = word.split_once('-').and_then(|(first, last)| Some((named(first)?, named(last)?)));
        let (first, last) =
            ends.ok_or_else(|| Fault::new(at, format!("\"{word}\" is no range of ports"), "write it as 5060-5070"))?;
        self.place += 1;
        Ok(first.min(last)..=first.max(last))
    }

    fn proto(&mut self, qualifiers: Qualifiers) -> Result<Tree, Fault> {
        let at = self.at();
        let number = match self.peek() {
            Some(Kind::Number(number)) => u8::try_from(*number).ok(),
            Some(Kind::Word(word)) => names::protocol_number(word),
            _ => return Err(self.unexpected()),
        };
        let advice = "write its number, from 0 to 255";
        let number = number.ok_or_else(|| Fault::new(at, "there is no such protocol", advice))?;
        let family = match qualifiers.protocol {
            None => Family::Any,
            Some(Protocol::Version(family)) => family,
            Some(_) => return Err(Fault::new(at, "a protocol is of ip or ip6", "write \"ip proto\" or \"proto\"")),
        };
        self.place += 1;
        Ok(terms::protocol_is(family, number))
    }

    fn address(&mut self, qualifiers: Qualifiers) -> Result<Tree, Fault> {
        let at = self.at();
        let (address, own_bits) = match self.peek() {
            Some(Kind::Address(address)) => (IpAddr::V6(*address), 128),
            Some(Kind::Word(word)) => short_address(word).ok_or_else(|| {
                let advice = "write the address: names are not looked up for filters";
                Fault::new(at, format!("\"{word}\" is no address"), advice)
            })?,
            Some(Kind::Number(number)) if qualifiers.of == Type::Net => promoted(*number),
            _ => return Err(self.unexpected()),
        };
        let fits = match qualifiers.protocol {
            None => true,
            Some(Protocol::Version(family)) => address.is_ipv4() == (family == Family::V4),
            Some(_) => return Err(Fault::new(at, "a host is of ip or ip6", "join the two with \"and\"")),
        };
        if !fits {
            let name = if address.is_ipv4() { "ip6" } else { "ip" };
            let message = format!("an address of the other kind than \"{name}\"");
            return Err(Fault::new(at, message, format!("leave out \"{name}\"")));
        }
        self.place += 1;
        let mask = self.mask(address, own_bits, qualifiers.of)?;
        let masked = address_bits(address) & mask.to_bits();
        if masked != address_bits(address) {
            let bits = mask.to_bits().leading_ones();
            let message = format!("{address} has bits beyond its network of {bits} bits");
            return Err(Fault::new(at, message, "write the network's first address"));
        }
        Ok(terms::network(address, mask, qualifiers.direction))
    }

    /// The mask behind an address: `/8`, `mask 255.0.0.0`, or that of the address itself.
    fn mask(&mut self, address: IpAddr, own_bits: u32, of: Type) -> Result<Ipv6Addr, Fault> {
        let at = self.at();
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let mask = if self.takes("", "/") {
            match self.peek() {
                Some(Kind::Number(bits)) if *bits <= whole => ones(*bits),
                _ => {
                    return Err(Fault::new(self.at(), "that is no length of a network", format!("write 0 to {whole}")));
                }
            }
        } else if self.takes("mask", "") {
            match self.peek() {
                Some(Kind::Word(word)) if word.parse::<Ipv4Addr>().is_ok() && address.is_ipv4() => {
                    let mask = word.parse::<Ipv4Addr>().map_or(0, Ipv4Addr::to_bits);
                    Ipv6Addr::from_bits(u128::from(mask) << 96)
                }
                _ => return Err(Fault::new(self.at(), "that is no mask", "write it as 255.255.255.0")),
            }
        } else {
            return Ok(ones(if of == Type::Net { own_bits } else { whole }));
        };
        if of == Type::Host {
            return Err(Fault::new(at, "a host has no mask", "write \"net\" instead of \"host\""));
        }
        self.place += 1;
        Ok(mask)
    }

    /// `less N` and `greater N`, both with N itself.
    pub(super) fn length(&mut self, is_less: bool) -> Result<Tree, Fault> {
        self.before = None;
        self.place += 1;
        let Some(Kind::Number(number)) = self.peek() else { return Err(self.unexpected()) };
        self.place += 1;
        Ok(arithmetic::length(*number, is_less))
    }

    /// Ours: `dscp ef` and `tos 0xb8`, of IPv4 and IPv6 alike.
    pub(super) fn traffic_class(&mut self, is_dscp: bool) -> Result<Tree, Fault> {
        self.before = None;
        self.place += 1;
        let most = if is_dscp { 63 } else { 255 };
        let value = match self.peek() {
            Some(Kind::Number(number)) => u8::try_from(*number).ok().filter(|value| *value <= most),
            Some(Kind::Word(word)) if is_dscp => names::dscp(word),
            _ => return Err(self.unexpected()),
        };
        let advice =
            format!("write a number from 0 to {most}{}", if is_dscp { ", or a name like ef or af41" } else { "" });
        let value = value.ok_or_else(|| Fault::new(self.at(), "there is no such mark", advice))?;
        self.place += 1;
        Ok(if is_dscp { terms::traffic_class(value << 2, 0xfc) } else { terms::traffic_class(value, 0xff) })
    }
}

/// `10.1` is the network 10.1.0.0/16, where a network is meant.
fn short_address(word: &str) -> Option<(IpAddr, u32)> {
    let parts: Vec<u8> = word.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let mut bytes = [0; 4];
    bytes.get_mut(..parts.len())?.copy_from_slice(&parts);
    Some((IpAddr::from(bytes), u32::try_from(parts.len()).ok()? * 8))
}

/// `10` is the network 10.0.0.0/8.
fn promoted(number: u32) -> (IpAddr, u32) {
    let empty = if number == 0 { 0 } else { number.leading_zeros() / 8 * 8 };
    (IpAddr::V4(Ipv4Addr::from_bits(number << empty)), 32 - empty)
}

/// An address at the beginning of as many bits as the longest has.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn ones(bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0))
}

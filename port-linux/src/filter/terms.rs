// SPDX-License-Identifier: BSD-2-Clause
//! What single terms compare, as libpcap compiles them for raw IP packets.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use mlvpn_core::stages::filter::{Base, Comparison, Width};

use super::program::{Test, Tree};

/// Where things stand in a packet (RFC 791, RFC 8200), in bytes.
pub(super) mod field {
    pub(in super::super) const TRAFFIC_CLASS4: u16 = 1;
    pub(in super::super) const FRAGMENT4: u16 = 6;
    pub(in super::super) const PROTOCOL4: u16 = 9;
    pub(in super::super) const SOURCE4: u16 = 12;
    pub(in super::super) const DESTINATION4: u16 = 16;
    pub(in super::super) const NEXT_HEADER6: u16 = 6;
    pub(in super::super) const SOURCE6: u16 = 8;
    pub(in super::super) const DESTINATION6: u16 = 24;
    pub(in super::super) const PAYLOAD6: u16 = 40;
    pub(in super::super) const SOURCE_PORT: u16 = 0;
    pub(in super::super) const DESTINATION_PORT: u16 = 2;
}

/// IP protocol numbers (IANA).
pub(super) mod protocol {
    pub(in super::super) const ICMP: u8 = 1;
    pub(in super::super) const IGMP: u8 = 2;
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const IGRP: u8 = 9;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const FRAGMENT: u8 = 44;
    pub(in super::super) const GRE: u8 = 47;
    pub(in super::super) const ESP: u8 = 50;
    pub(in super::super) const AH: u8 = 51;
    pub(in super::super) const ICMP6: u8 = 58;
    pub(in super::super) const PIM: u8 = 103;
    pub(in super::super) const VRRP: u8 = 112;
    pub(in super::super) const SCTP: u8 = 132;
}

/// IP's version, or either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

/// At which end a term looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Source,
    Destination,
    Either,
    Both,
}

impl Direction {
    fn tree(self, source: Tree, destination: Tree) -> Tree {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source.or(destination),
            Self::Both => source.and(destination),
        }
    }
}

const fn test(base: Base, width: Width, value: u32) -> Test {
    Test { base, width, mask: u32::MAX, shift: 0, comparison: Comparison::Equal, value }
}

fn byte(at: u16, value: u8) -> Tree {
    Tree::Test(test(Base::Packet(at), Width::Byte, value.into()))
}

/// IPv4 or IPv6, as the first four bits say.
pub(super) fn version(family: Family) -> Tree {
    let is = |value| Tree::Test(Test { mask: 0xf0, ..test(Base::Packet(0), Width::Byte, value) });
    match family {
        Family::V4 => is(0x40),
        Family::V6 => is(0x60),
        Family::Any => is(0x40).or(is(0x60)),
    }
}

/// One for each version that is meant.
fn by_version(family: Family, v4: Tree, v6: Tree) -> Tree {
    let v4 = version(Family::V4).and(v4);
    let v6 = version(Family::V6).and(v6);
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
        Family::Any => v4.or(v6),
    }
}

/// A protocol; with IPv6 also behind a fragment's header.
pub(super) fn protocol_is(family: Family, number: u8) -> Tree {
    let fragment = byte(field::NEXT_HEADER6, protocol::FRAGMENT).and(byte(field::PAYLOAD6, number));
    by_version(family, byte(field::PROTOCOL4, number), byte(field::NEXT_HEADER6, number).or(fragment))
}

/// What follows the header of an IPv6 packet.
pub(super) fn next_header_is(number: u8) -> Tree {
    byte(field::NEXT_HEADER6, number)
}

/// The packet is whole, or the first fragment.
pub(super) fn shows_header() -> Tree {
    Tree::Test(Test { mask: 0x1fff, ..test(Base::Packet(field::FRAGMENT4), Width::Half, 0) })
}

/// Ports of these protocols, each when there are none.
pub(super) fn ports(protocols: &[u8], direction: Direction, range: &RangeInclusive<u16>) -> Tree {
    let carries = |at: u16| Tree::Any(protocols.iter().map(|number| byte(at, *number)).collect());
    let both = |base: fn(u16) -> Base| {
        direction.tree(port(base(field::SOURCE_PORT), range), port(base(field::DESTINATION_PORT), range))
    };
    let v4 = Tree::All(vec![carries(field::PROTOCOL4), shows_header(), both(Base::BehindIpv4)]);
    let v6 = Tree::All(vec![carries(field::NEXT_HEADER6), both(|at| Base::Packet(field::PAYLOAD6 + at))]);
    by_version(Family::Any, v4, v6)
}

fn port(base: Base, range: &RangeInclusive<u16>) -> Tree {
    let first = test(base, Width::Half, u32::from(*range.start()));
    if range.start() == range.end() {
        return Tree::Test(first);
    }
    let last = Test { comparison: Comparison::Above, value: u32::from(*range.end()), ..first };
    Tree::Test(Test { comparison: Comparison::AtLeast, ..first }).and(Tree::Test(last).negated())
}

/// Addresses of the network `address`/`mask`; only the first four bytes of a mask count for IPv4.
pub(super) fn network(address: IpAddr, mask: Ipv6Addr, direction: Direction) -> Tree {
    let masks = words(mask);
    match address {
        IpAddr::V4(address) => {
            let at = |at| word(at, u32::from(address), masks[0]);
            version(Family::V4).and(direction.tree(at(field::SOURCE4), at(field::DESTINATION4)))
        }
        IpAddr::V6(address) => {
            let at = |start: u16| {
                let parts = (start..).step_by(4).zip(words(address)).zip(masks);
                let parts: Vec<Tree> =
                    parts.filter(|(_, mask)| *mask != 0).map(|((at, value), mask)| word(at, value, mask)).collect();
                // The network of all still has to have an address.
                if parts.is_empty() { word(start, 0, 0) } else { Tree::All(parts) }
            };
            version(Family::V6).and(direction.tree(at(field::SOURCE6), at(field::DESTINATION6)))
        }
    }
}

fn word(at: u16, value: u32, mask: u32) -> Tree {
    Tree::Test(Test { mask, ..test(Base::Packet(at), Width::Word, value & mask) })
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let bits = address.to_bits();
    [96, 64, 32, 0].map(|shift| u32::try_from(bits >> shift & u128::from(u32::MAX)).unwrap_or(0))
}

/// Addresses of groups.
pub(super) fn multicast(family: Family) -> Tree {
    let group4 = Test { comparison: Comparison::AtLeast, ..test(Base::Packet(field::DESTINATION4), Width::Byte, 0xe0) };
    by_version(family, Tree::Test(group4), byte(field::DESTINATION6, 0xff))
}

/// IPv4's type of service or IPv6's traffic class, as far as `mask` goes.
pub(super) fn traffic_class(value: u8, mask: u8) -> Tree {
    let v4 = Test { mask: mask.into(), ..test(Base::Packet(field::TRAFFIC_CLASS4), Width::Byte, value.into()) };
    let v6 = Test { mask: u32::from(mask) << 4, ..test(Base::Packet(0), Width::Half, u32::from(value) << 4) };
    by_version(Family::Any, Tree::Test(v4), Tree::Test(v6))
}

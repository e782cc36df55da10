// SPDX-License-Identifier: BSD-2-Clause
//! Every size of the engine, and the compile-time checks that tie them together.

/// Links a tunnel may have at most. An index fits a byte, and the round over all links that some calls make stays
/// short.
pub const MAX_LINKS: usize = 32;

/// Bytes of a UDP header (RFC 768).
pub const UDP_HEADER: usize = 8;

/// Bytes of an IPv4 header without options (RFC 791).
pub const IPV4_HEADER: usize = 20;

/// Bytes of an IPv6 header without extensions (RFC 8200).
pub const IPV6_HEADER: usize = 40;

/// Bytes of an Ethernet header (IEEE 802.3), which a TAP device's frames carry.
pub const ETHERNET_HEADER: usize = 14;

/// Bytes of one IEEE 802.1Q tag.
pub const VLAN_TAG: usize = 4;

/// Bytes of the classic header, before the body.
pub const CLASSIC_HEADER: usize = 28;

/// Bytes of a Poly1305 tag (RFC 8439).
pub const TAG: usize = 16;

/// Bytes a classic datagram adds to the inner packet: header and tag.
pub const CLASSIC_OVERHEAD: usize = CLASSIC_HEADER + TAG;

/// The smallest inner MTU: what every IPv4 host must take (RFC 791: 576).
pub const MIN_MTU: u16 = 576;

/// The smallest inner MTU that carries IPv6 (RFC 8200: 1280).
pub const MIN_MTU_IPV6: u16 = 1280;

/// The largest inner MTU: an Ethernet payload.
pub const MAX_MTU: u16 = 1500;

/// Bytes of one packet buffer: the largest inner frame (VLAN-tagged Ethernet) and the largest overhead, rounded so that
/// a buffer with its two fields fills 26 cache lines of 64 bytes.
pub const PACKET_CAPACITY: usize = 1660;

/// Sealed datagrams never exceed this many bytes: what a buffer for `poll_transmit` must hold.
pub const MAX_DATAGRAM: usize = PACKET_CAPACITY;

/// Packets that may wait at the tunnel's entrance for a link with room.
pub const EGRESS_SLOTS: usize = 64;

/// Words of 64 bits in a replay window: 63 x 64 = 4,032 packets, because several links reorder far more than the one
/// path for which RFC 6479 measures its window of 1024.
pub const REPLAY_WORDS: usize = 64;

const _: () = assert!(ETHERNET_HEADER + VLAN_TAG + MAX_MTU as usize + CLASSIC_OVERHEAD <= PACKET_CAPACITY);
const _: () = assert!(MAX_LINKS <= u8::MAX as usize);
const _: () = assert!(REPLAY_WORDS.is_power_of_two());
const _: () = assert!(PACKET_CAPACITY <= u16::MAX as usize);

/// The largest inner MTU that keeps datagrams whole on a path of `path_mtu` bytes, when the outer IP header has
/// `ip_header` bytes and the tunnel adds `overhead`: with the classic protocol 1428 for 1500 over IPv4, 1408 over IPv6.
/// Never above [`MAX_MTU`], never below [`MIN_MTU`].
#[must_use]
pub const fn inner_mtu(path_mtu: u32, ip_header: usize, overhead: usize) -> u16 {
    let room = (path_mtu as usize).saturating_sub(ip_header).saturating_sub(UDP_HEADER).saturating_sub(overhead);
    if room <= MIN_MTU as usize {
        MIN_MTU
    } else if room >= MAX_MTU as usize {
        MAX_MTU
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "room is below MAX_MTU here")]
        let mtu = room as u16;
        mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_mtu_of_an_ethernet_path_is_1428_over_ipv4_and_1408_over_ipv6() {
        assert_eq!(inner_mtu(1500, IPV4_HEADER, CLASSIC_OVERHEAD), 1428);
        assert_eq!(inner_mtu(1500, IPV6_HEADER, CLASSIC_OVERHEAD), 1408);
    }

    #[test]
    fn a_tiny_path_still_gets_the_smallest_mtu_and_a_jumbo_path_the_largest() {
        assert_eq!(inner_mtu(68, IPV6_HEADER, CLASSIC_OVERHEAD), MIN_MTU);
        assert_eq!(inner_mtu(9000, IPV4_HEADER, CLASSIC_OVERHEAD), MAX_MTU);
    }
}

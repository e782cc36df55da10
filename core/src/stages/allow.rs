// SPDX-License-Identifier: BSD-2-Clause
//! Allow: whose inner packet it is, so that no peer speaks for another.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crate::memory::ethernet;
use crate::words::ids::Medium;
use crate::words::network::Network;

/// Where the source addresses lie (RFC 791, RFC 8200).
mod field {
    use super::Range;

    pub(super) const IPV4_SOURCE: Range<usize> = 12..16;
    pub(super) const IPV4_DESTINATION: Range<usize> = 16..20;
    pub(super) const IPV6_SOURCE: Range<usize> = 8..24;
    pub(super) const IPV6_DESTINATION: Range<usize> = 24..40;
}

/// Whether a peer with these networks may send the inner packet; with none it may send any.
#[must_use]
pub fn is_allowed(packet: &[u8], medium: Medium, networks: &[Network]) -> bool {
    networks.is_empty()
        || source_of(packet, medium).is_some_and(|source| networks.iter().any(|network| network.contains(source)))
}

/// The source address of an inner packet; None when it is no IP packet.
#[must_use]
pub fn source_of(packet: &[u8], medium: Medium) -> Option<IpAddr> {
    address_at(packet, medium, field::IPV4_SOURCE, field::IPV6_SOURCE)
}

/// The destination address of an inner packet; None when it is no IP packet.
#[must_use]
pub fn destination_of(packet: &[u8], medium: Medium) -> Option<IpAddr> {
    address_at(packet, medium, field::IPV4_DESTINATION, field::IPV6_DESTINATION)
}

fn address_at(packet: &[u8], medium: Medium, ipv4: Range<usize>, ipv6: Range<usize>) -> Option<IpAddr> {
    let inner = match medium {
        Medium::Ip => packet,
        Medium::Ethernet => {
            let (header, inner) = ethernet::split(packet)?;
            ethernet::carries_ip(packet, header).then_some(inner)?
        }
    };
    match inner.first()? >> 4 {
        4 => Some(Ipv4Addr::from(*inner.get(ipv4)?.first_chunk::<4>()?).into()),
        6 => Some(Ipv6Addr::from(*inner.get(ipv6)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_ipv4_ipv6_and_frames_is_found() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 1, 2, 3]);
        assert_eq!(source_of(&packet, Medium::Ip), Some(IpAddr::from([10, 1, 2, 3])));
        let mut frame = [0; 54];
        frame[12..14].copy_from_slice(&[0x08, 0]);
        frame[14..].copy_from_slice(&packet);
        assert_eq!(source_of(&frame, Medium::Ethernet), Some(IpAddr::from([10, 1, 2, 3])));
        packet[0] = 0x60;
        packet[8..24].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(source_of(&packet, Medium::Ip), Some("fd00::9".parse().unwrap()));
    }

    #[test]
    fn the_destination_is_found_where_the_source_ends() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[192, 0, 2, 7]);
        assert_eq!(destination_of(&packet, Medium::Ip), Some(IpAddr::from([192, 0, 2, 7])));
        packet[0] = 0x60;
        packet[24..40].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(destination_of(&packet, Medium::Ip), Some("fd00::9".parse().unwrap()));
    }

    #[test]
    fn what_is_no_ip_packet_has_no_source() {
        for packet in [&[][..], &[0x45; 15], &[0x60; 23], &[0x15; 40]] {
            assert_eq!(source_of(packet, Medium::Ip), None);
            assert_eq!(source_of(packet, Medium::Ethernet), None);
        }
    }
}

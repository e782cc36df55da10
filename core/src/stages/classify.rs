// SPDX-License-Identifier: BSD-2-Clause
//! Classify: what kind of packet the device handed over, and whether it may pass.

use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use crate::memory::ethernet;
use crate::words::drops::DropReason;
use crate::words::ids::Medium;
use crate::words::limits::{IPV4_HEADER, IPV6_HEADER};

/// How a packet is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Whether the receiver may hold the packet to restore order.
    pub ordered: bool,
}

/// Looks at a packet from the device. `mtu` bounds the IP packet, not the Ethernet header around it.
///
/// # Errors
/// [`DropReason::TooBig`] when the packet, by its own header, is larger than `mtu`, even if only its front was read;
/// [`DropReason::NotIp`] when a TUN device hands over something else.
pub fn classify(packet: &[u8], medium: Medium, mtu: u16) -> Result<Class, DropReason> {
    let mtu = usize::from(mtu);
    let class = Class { ordered: true };
    match medium {
        Medium::Ip => match ip_len(packet) {
            None => Err(DropReason::NotIp),
            Some(len) if len.max(packet.len()) > mtu => Err(DropReason::TooBig),
            Some(_) => Ok(class),
        },
        Medium::Ethernet => {
            let (header, inner) = ethernet::split(packet).ok_or(DropReason::Malformed)?;
            let stated = if ethernet::carries_ip(packet, header) { ip_len(inner).unwrap_or(0) } else { 0 };
            if stated.max(inner.len()) > mtu { Err(DropReason::TooBig) } else { Ok(class) }
        }
    }
}

/// The length an IP packet states of itself; None when it is none.
fn ip_len(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => {
            let packet = Ipv4Packet::new_unchecked(packet.first_chunk::<IPV4_HEADER>()?);
            Some(usize::from(packet.total_len()))
        }
        6 => {
            let packet = Ipv6Packet::new_unchecked(packet.first_chunk::<IPV6_HEADER>()?);
            Some(usize::from(packet.payload_len()).saturating_add(IPV6_HEADER))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERED: Result<Class, DropReason> = Ok(Class { ordered: true });

    fn ipv4(len: usize) -> [u8; 1500] {
        let mut packet = [0; 1500];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet
    }

    fn ipv6(len: usize) -> [u8; 1500] {
        let mut packet = [0; 1500];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes());
        packet
    }

    #[test]
    fn packets_up_to_the_mtu_pass_and_larger_ones_do_not() {
        assert_eq!(classify(&ipv4(1428)[..1428], Medium::Ip, 1428), ORDERED);
        assert_eq!(classify(&ipv4(1429)[..1429], Medium::Ip, 1428), Err(DropReason::TooBig));
        assert_eq!(classify(&ipv6(1280)[..1280], Medium::Ip, 1280), ORDERED);
        assert_eq!(classify(&ipv6(1281)[..1281], Medium::Ip, 1280), Err(DropReason::TooBig));
    }

    #[test]
    fn a_packet_of_which_only_the_front_was_read_is_too_big_by_its_own_header() {
        assert_eq!(classify(&ipv4(9000)[..1500], Medium::Ip, 1428), Err(DropReason::TooBig));
        assert_eq!(classify(&ipv6(9000)[..100], Medium::Ip, 1428), Err(DropReason::TooBig));
    }

    #[test]
    fn what_is_no_ip_packet_does_not_enter_a_tun_tunnel() {
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x15; 60]] {
            assert_eq!(classify(packet, Medium::Ip, 1428), Err(DropReason::NotIp));
        }
    }

    #[test]
    fn ethernet_frames_pass_with_their_header_on_top_of_the_mtu() {
        let mut frame = [0; 1600];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(classify(&frame[..1414], Medium::Ethernet, 1400), ORDERED);
        assert_eq!(classify(&frame[..1415], Medium::Ethernet, 1400), Err(DropReason::TooBig));
        assert_eq!(classify(&frame[..13], Medium::Ethernet, 1400), Err(DropReason::Malformed));
        frame[12..14].copy_from_slice(&[0x81, 0x00]);
        assert_eq!(classify(&frame[..1418], Medium::Ethernet, 1400), ORDERED);
        assert_eq!(classify(&frame[..1419], Medium::Ethernet, 1400), Err(DropReason::TooBig));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Too big: a packet that does not fit the tunnel becomes the answer that tells its sender so, ICMP "fragmentation
//! needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 8201).
//!
//! The answer comes from the address the packet was for: the tunnel has none of its own, and senders match the packet
//! quoted in the answer, not its source.

use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet,
};

use crate::memory::ethernet;
use crate::memory::packet::Packet;
use crate::words::ids::Medium;
use crate::words::limits::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, VLAN_TAG};

/// Bytes of an ICMP or ICMPv6 error before what it quotes.
const ICMP_HEADER: usize = 8;

/// An ICMP error is at most this long (RFC 1812, 4.3.2.3).
const MAX_ANSWER_IPV4: usize = 576;

/// An ICMPv6 error is at most this long (RFC 4443, 2.4 c).
const MAX_ANSWER_IPV6: usize = 1280;

/// Hops the answer may take (RFC 1700's default).
const HOP_LIMIT: u8 = 64;

const MAX_ETHERNET_HEADER: usize = ETHERNET_HEADER + VLAN_TAG;

/// Turns `packet`, which is larger than `mtu`, into the answer to its sender. False, and no change, when such a packet
/// is not to be answered (RFC 1122, 3.2.2; RFC 4443, 2.4 e): ICMP errors, fragments but the first, anything to or from
/// an address that is not one host's.
#[must_use]
pub fn answer(packet: &mut Packet, medium: Medium, mtu: u16) -> bool {
    let mut buffer = [0; MAX_ETHERNET_HEADER + MAX_ANSWER_IPV6];
    let Some(len) = write_answer(packet.as_bytes(), medium, mtu, &mut buffer) else { return false };
    buffer.get(..len).is_some_and(|answer| packet.copy_from(answer))
}

fn write_answer(packet: &[u8], medium: Medium, mtu: u16, buffer: &mut [u8]) -> Option<usize> {
    let (header, inner) = match medium {
        Medium::Ip => (0, packet),
        Medium::Ethernet => ethernet::split(packet)?,
    };
    let (front, out) = buffer.split_at_mut_checked(header)?;
    front.copy_from_slice(packet.get(..header)?);
    if let Some((to, rest)) = front.split_first_chunk_mut::<6>()
        && let Some(from) = rest.first_chunk_mut::<6>()
    {
        core::mem::swap(to, from);
    }
    let len = match inner.first()? >> 4 {
        4 => write_ipv4(inner, mtu, out)?,
        6 => write_ipv6(inner, mtu, out)?,
        _ => return None,
    };
    Some(header.saturating_add(len))
}

fn write_ipv4(inner: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let original = Ipv4Packet::new_unchecked(inner.first_chunk::<IPV4_HEADER>()?);
    let (source, destination) = (original.src_addr(), original.dst_addr());
    let is_icmp_error = original.next_header() == IpProtocol::Icmp && {
        let kind = inner.get(usize::from(original.header_len())).copied()?;
        !matches!(Icmpv4Message::from(kind), Icmpv4Message::EchoRequest | Icmpv4Message::EchoReply)
    };
    let one_host =
        |address: core::net::Ipv4Addr| !(address.is_multicast() || address.is_broadcast() || address.is_unspecified());
    if is_icmp_error || original.frag_offset() != 0 || !one_host(source) || !one_host(destination) {
        return None;
    }
    const HEADERS: usize = IPV4_HEADER + ICMP_HEADER;
    let quote = inner.get(..inner.len().min(MAX_ANSWER_IPV4 - HEADERS))?;
    let len = HEADERS.saturating_add(quote.len());
    let out = out.get_mut(..len)?;
    let mut ip = Ipv4Packet::new_unchecked(&mut *out);
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_total_len(u16::try_from(len).ok()?);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_next_header(IpProtocol::Icmp);
    ip.set_src_addr(destination);
    ip.set_dst_addr(source);
    ip.fill_checksum();
    let body = out.get_mut(IPV4_HEADER..)?;
    // RFC 1191: the MTU is in the lower half of the word that RFC 792 leaves unused.
    body.get_mut(6..8)?.copy_from_slice(&mtu.to_be_bytes());
    body.get_mut(ICMP_HEADER..)?.copy_from_slice(quote);
    let mut icmp = Icmpv4Packet::new_unchecked(body);
    icmp.set_msg_type(Icmpv4Message::DstUnreachable);
    icmp.set_msg_code(Icmpv4DstUnreachable::FragRequired.into());
    icmp.fill_checksum();
    Some(len)
}

fn write_ipv6(inner: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    let original = Ipv6Packet::new_unchecked(inner.first_chunk::<IPV6_HEADER>()?);
    let (source, destination) = (original.src_addr(), original.dst_addr());
    // Types below 128 are errors (RFC 4443, 2.1).
    let is_icmp_error = original.next_header() == IpProtocol::Icmpv6 && *inner.get(IPV6_HEADER)? < 128;
    if is_icmp_error || source.is_multicast() || source.is_unspecified() || destination.is_multicast() {
        return None;
    }
    const HEADERS: usize = IPV6_HEADER + ICMP_HEADER;
    let quote = inner.get(..inner.len().min(MAX_ANSWER_IPV6 - HEADERS))?;
    let len = HEADERS.saturating_add(quote.len());
    let out = out.get_mut(..len)?;
    let mut ip = Ipv6Packet::new_unchecked(&mut *out);
    ip.set_version(6);
    ip.set_payload_len(u16::try_from(len.saturating_sub(IPV6_HEADER)).ok()?);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_next_header(IpProtocol::Icmpv6);
    ip.set_src_addr(destination);
    ip.set_dst_addr(source);
    let body = out.get_mut(IPV6_HEADER..)?;
    body.get_mut(4..8)?.copy_from_slice(&u32::from(mtu).to_be_bytes());
    body.get_mut(ICMP_HEADER..)?.copy_from_slice(quote);
    let mut icmp = Icmpv6Packet::new_unchecked(body);
    icmp.set_msg_type(Icmpv6Message::PktTooBig);
    icmp.set_msg_code(0);
    icmp.fill_checksum(&destination, &source);
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::{Ipv4Address, Ipv6Address};

    const MTU: u16 = 1400;
    const HOST: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
    const FAR: Ipv4Address = Ipv4Address::new(192, 0, 2, 9);

    fn ipv4(protocol: IpProtocol, source: Ipv4Address, destination: Ipv4Address) -> Packet {
        let mut bytes = [0x5a; 1500];
        bytes[..20].fill(0);
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(1500);
        ip.set_next_header(protocol);
        ip.set_src_addr(source);
        ip.set_dst_addr(destination);
        ip.fill_checksum();
        let mut packet = Packet::new();
        assert!(packet.copy_from(&bytes));
        packet
    }

    fn ipv6(next: IpProtocol, source: Ipv6Address, destination: Ipv6Address) -> Packet {
        let mut bytes = [0x5a; 1500];
        let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(6);
        ip.set_payload_len(1460);
        ip.set_next_header(next);
        ip.set_src_addr(source);
        ip.set_dst_addr(destination);
        let mut packet = Packet::new();
        assert!(packet.copy_from(&bytes));
        packet
    }

    #[test]
    fn an_ipv4_sender_is_told_the_mtu_and_which_packet_it_was() {
        let mut packet = ipv4(IpProtocol::Tcp, HOST, FAR);
        let original = packet.clone();
        assert!(answer(&mut packet, Medium::Ip, MTU));
        assert_eq!(packet.len(), MAX_ANSWER_IPV4);
        let ip = Ipv4Packet::new_checked(packet.as_bytes()).unwrap();
        assert!(ip.verify_checksum());
        assert_eq!((ip.src_addr(), ip.dst_addr()), (FAR, HOST));
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        assert_eq!((icmp.msg_type(), icmp.msg_code()), (Icmpv4Message::DstUnreachable, 4));
        assert_eq!(ip.payload()[6..8], MTU.to_be_bytes());
        assert_eq!(icmp.data(), &original.as_bytes()[..MAX_ANSWER_IPV4 - 28]);
    }

    #[test]
    fn an_ipv6_sender_is_told_the_mtu() {
        let (host, far) =
            (Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Address::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
        let mut packet = ipv6(IpProtocol::Udp, host, far);
        assert!(answer(&mut packet, Medium::Ip, MTU));
        let ip = Ipv6Packet::new_checked(packet.as_bytes()).unwrap();
        assert_eq!((ip.src_addr(), ip.dst_addr(), packet.len()), (far, host, MAX_ANSWER_IPV6));
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&far, &host));
        assert_eq!(icmp.msg_type(), Icmpv6Message::PktTooBig);
        assert_eq!(icmp.pkt_too_big_mtu(), u32::from(MTU));
    }

    #[test]
    fn a_truncated_or_empty_packet_gets_no_answer() {
        for bytes in [&[][..], &[0x45], &[0x45; 19], &[0x60; 39]] {
            let mut packet = Packet::new();
            assert!(packet.copy_from(bytes));
            assert!(!answer(&mut packet, Medium::Ip, MTU));
            assert!(!answer(&mut packet, Medium::Ethernet, MTU));
        }
    }

    #[test]
    fn errors_fragments_and_groups_get_no_answer() {
        let group = Ipv4Address::new(224, 0, 0, 1);
        let mut fragment = ipv4(IpProtocol::Udp, HOST, FAR);
        Ipv4Packet::new_unchecked(fragment.as_mut_bytes()).set_frag_offset(8);
        let mut error = ipv4(IpProtocol::Icmp, HOST, FAR);
        error.as_mut_bytes()[20] = 3;
        let far = Ipv6Address::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
        for mut packet in [
            fragment,
            error,
            ipv4(IpProtocol::Udp, HOST, group),
            ipv4(IpProtocol::Udp, Ipv4Address::UNSPECIFIED, FAR),
            ipv6(IpProtocol::Icmpv6, far, far),
            ipv6(IpProtocol::Udp, Ipv6Address::UNSPECIFIED, far),
        ] {
            let before = packet.clone();
            assert!(!answer(&mut packet, Medium::Ip, MTU));
            assert_eq!(packet.as_bytes(), before.as_bytes());
        }
        let mut echo = ipv4(IpProtocol::Icmp, HOST, FAR);
        echo.as_mut_bytes()[20] = 8;
        assert!(answer(&mut echo, Medium::Ip, MTU));
    }

    #[test]
    fn a_frame_is_answered_to_the_host_it_came_from_in_its_vlan() {
        let mut frame = [0; 1518];
        frame[..18].copy_from_slice(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 0, 7, 0x08, 0]);
        frame[18..].copy_from_slice(ipv4(IpProtocol::Udp, HOST, FAR).as_bytes());
        let mut packet = Packet::new();
        assert!(packet.copy_from(&frame));
        assert!(answer(&mut packet, Medium::Ethernet, MTU));
        assert_eq!(packet.as_bytes()[..18], [2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0x81, 0, 0, 7, 0x08, 0]);
        assert!(Ipv4Packet::new_checked(&packet.as_bytes()[18..]).unwrap().verify_checksum());
    }
}

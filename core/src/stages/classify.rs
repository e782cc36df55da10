// SPDX-License-Identifier: BSD-2-Clause
//! Classify: what kind of packet the device handed over, whether it may pass, and which flow it belongs to.

use core::fmt;
use core::hash::Hasher;
use core::ops::Range;

use siphasher::sip::SipHasher13;

use crate::memory::ethernet;
use crate::words::class::{Class, Kind};
use crate::words::drops::DropReason;
use crate::words::ecn::Ecn;
use crate::words::ids::Medium;
use crate::words::limits::{IPV4_HEADER, IPV6_HEADER};

/// Extension headers of an IPv6 packet that are walked to find what it carries. Real packets have one or two; what lies
/// behind more is a flow by its addresses.
const MAX_EXTENSIONS: usize = 4;

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// Where things stand (RFC 791, RFC 8200, RFC 9293).
mod field {
    use super::Range;

    /// IPv4's or IPv6's first two bytes, which hold the traffic class of both.
    pub(super) const FIRST_WORD: Range<usize> = 0..2;
    pub(super) const IPV4_LENGTH: Range<usize> = 2..4;
    pub(super) const IPV4_FRAGMENT: Range<usize> = 6..8;
    pub(super) const IPV4_PROTOCOL: usize = 9;
    pub(super) const IPV4_ADDRESSES: Range<usize> = 12..20;
    pub(super) const IPV6_LENGTH: Range<usize> = 4..6;
    pub(super) const IPV6_NEXT_HEADER: usize = 6;
    pub(super) const IPV6_ADDRESSES: Range<usize> = 8..40;
    pub(super) const ETHERNET_ADDRESSES: Range<usize> = 0..12;
    /// The same in TCP, UDP, UDP-Lite, DCCP and SCTP.
    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const TCP_DATA_OFFSET: usize = 12;
    pub(super) const TCP_FLAGS: usize = 13;

    /// More fragments follow, or the packet is not the first.
    pub(super) const IPV4_FRAGMENT_MASK: u16 = 0x3fff;
    pub(super) const FLAG_FIN: u8 = 0x01;
    pub(super) const FLAG_SYN: u8 = 0x02;
    pub(super) const FLAG_RST: u8 = 0x04;
    pub(super) const FLAG_ACK: u8 = 0x10;
}

/// IP protocol numbers (IANA).
mod protocol {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ICMP: u8 = 1;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const DCCP: u8 = 33;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
    pub(super) const SCTP: u8 = 132;
    pub(super) const UDP_LITE: u8 = 136;
}

/// The key of the flows' hash, from the system's random source: who does not know it cannot make packets that share a
/// group with somebody else's.
#[derive(Clone, Copy)]
pub struct FlowKey(u64, u64);

impl FlowKey {
    /// A key of 16 random bytes.
    #[must_use]
    pub const fn new(seed: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = seed;
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest))
    }

    /// SipHash-1-3 of what identifies a flow: its addresses, protocol and ports. The lengths of the addresses differ
    /// between IPv4, IPv6 and Ethernet, so none is mistaken for another.
    fn hash(self, addresses: &[u8], protocol: Option<u8>, ports: Option<(u16, u16)>) -> u32 {
        let (source, destination) = ports.unwrap_or_default();
        // A protocol that counts is never 0, a hop-by-hop header.
        let protocol = u64::from(protocol.unwrap_or_default());
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(addresses);
        hasher.write_u64(protocol << 32 | u64::from(source) << 16 | u64::from(destination));
        #[expect(clippy::cast_possible_truncation, reason = "every bit of the hash is as good as any other")]
        let hash = hasher.finish() as u32;
        hash
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowKey(..)")
    }
}

/// Looks at a packet from the device. `mtu` bounds the IP packet, not the Ethernet header around it.
///
/// # Errors
/// [`DropReason::TooBig`] when the packet, by its own header, is larger than `mtu`, even if only its front was read;
/// [`DropReason::NotIp`] when a TUN device hands over something else; [`DropReason::Malformed`] when a frame is shorter
/// than its header.
pub fn classify(packet: &[u8], medium: Medium, mtu: u16, key: &FlowKey) -> Result<Class, DropReason> {
    let (inner, ip) = match medium {
        Medium::Ip => (packet, Some(Ip::read(packet).ok_or(DropReason::NotIp)?)),
        Medium::Ethernet => {
            let (header, inner) = ethernet::split(packet).ok_or(DropReason::Malformed)?;
            (inner, ethernet::carries_ip(packet, header).then(|| Ip::read(inner)).flatten())
        }
    };
    let stated = ip.as_ref().map_or(0, |ip| ip.len);
    if stated.max(inner.len()) > usize::from(mtu) {
        return Err(DropReason::TooBig);
    }
    let len = u16::try_from(packet.len()).map_err(|_| DropReason::TooBig)?;
    Ok(ip.map_or_else(|| frame_class(packet, len, key), |ip| ip.class(inner, len, key)))
}

/// The class of a frame that carries no IP: its flow is that between two stations.
fn frame_class(frame: &[u8], len: u16, key: &FlowKey) -> Class {
    let stations = frame.get(field::ETHERNET_ADDRESSES).unwrap_or_default();
    Class {
        flow: key.hash(stations, None, None),
        ports: None,
        len,
        protocol: None,
        dscp: 0,
        ecn: Ecn::NotEct,
        kind: Kind::Other,
        ordered: true,
        is_urgent: false,
        link: None,
    }
}

/// What the IP headers of a packet say.
struct Ip {
    /// The length the packet states of itself.
    len: usize,
    traffic_class: u8,
    addresses: Range<usize>,
    protocol: u8,
    /// Where what it carries begins; None in a fragment and behind more headers than are walked.
    payload: Option<usize>,
}

impl Ip {
    /// None when `packet` is no IP packet, or shorter than its header.
    fn read(packet: &[u8]) -> Option<Self> {
        let first_word = word(packet, field::FIRST_WORD)?;
        match first_word >> 12 {
            4 => Self::read_v4(packet, first_word),
            6 => Self::read_v6(packet, first_word),
            _ => None,
        }
    }

    fn read_v4(packet: &[u8], first_word: u16) -> Option<Self> {
        let header: &[u8; IPV4_HEADER] = packet.first_chunk()?;
        let [version, traffic_class] = first_word.to_be_bytes();
        let header_len = usize::from(version & 0x0f).saturating_mul(4);
        let is_fragment = word(header, field::IPV4_FRAGMENT)? & field::IPV4_FRAGMENT_MASK != 0;
        Some(Self {
            len: usize::from(word(header, field::IPV4_LENGTH)?),
            traffic_class,
            addresses: field::IPV4_ADDRESSES,
            protocol: *header.get(field::IPV4_PROTOCOL)?,
            payload: (!is_fragment && header_len >= IPV4_HEADER).then_some(header_len),
        })
    }

    fn read_v6(packet: &[u8], first_word: u16) -> Option<Self> {
        let header: &[u8; IPV6_HEADER] = packet.first_chunk()?;
        let [_, traffic_class] = (first_word >> 4).to_be_bytes();
        let (protocol, payload) = walk(packet, *header.get(field::IPV6_NEXT_HEADER)?);
        Some(Self {
            len: usize::from(word(header, field::IPV6_LENGTH)?).saturating_add(IPV6_HEADER),
            traffic_class,
            addresses: field::IPV6_ADDRESSES,
            protocol,
            payload,
        })
    }

    fn class(&self, inner: &[u8], len: u16, key: &FlowKey) -> Class {
        let payload = self.payload.and_then(|start| inner.get(start..));
        let ports = payload.filter(|_| has_ports(self.protocol)).and_then(ports);
        let hashed = payload
            .and(Some(self.protocol))
            .filter(|protocol| ports.is_some() || matches!(*protocol, protocol::ICMP | protocol::ICMPV6));
        let kind = match payload {
            Some(segment) if self.protocol == protocol::TCP => {
                let stated = self.len.saturating_sub(self.payload.unwrap_or(0));
                segment_kind(segment, stated).unwrap_or_default()
            }
            _ => Kind::Other,
        };
        Class {
            flow: key.hash(inner.get(self.addresses.clone()).unwrap_or_default(), hashed, ports),
            ports,
            len,
            protocol: Some(self.protocol),
            dscp: self.traffic_class >> 2,
            ecn: Ecn::from_traffic_class(self.traffic_class),
            kind,
            ordered: true,
            is_urgent: false,
            link: None,
        }
    }
}

/// Walks IPv6 extension headers, the first of type `next`: what they lead to, and where it begins. Work: at most
/// [`MAX_EXTENSIONS`] steps.
fn walk(packet: &[u8], mut next: u8) -> (u8, Option<usize>) {
    let mut at = IPV6_HEADER;
    for _ in 0..=MAX_EXTENSIONS {
        let Some(header) = packet.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return (next, None) };
        let [following, units] = *header;
        match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                // Units of 8 bytes, without the first (RFC 8200, 4.2).
                at = at.saturating_add(usize::from(units).saturating_add(1).saturating_mul(8));
            }
            protocol::FRAGMENT => return (following, None),
            _ => return (next, Some(at)),
        }
        next = following;
    }
    (next, None)
}

const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE)
}

fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    Some((word(payload, field::SOURCE_PORT)?, word(payload, field::DESTINATION_PORT)?))
}

/// What a TCP segment of `len` bytes, header included, does; None when its header is cut.
fn segment_kind(segment: &[u8], len: usize) -> Option<Kind> {
    let header = usize::from(segment.get(field::TCP_DATA_OFFSET)? >> 4).saturating_mul(4).max(TCP_HEADER);
    let flags = *segment.get(field::TCP_FLAGS)?;
    let kind = if flags & field::FLAG_SYN != 0 {
        Kind::Opening
    } else if flags & (field::FLAG_FIN | field::FLAG_RST) != 0 {
        Kind::Closing
    } else if flags & field::FLAG_ACK != 0 && len <= header {
        Kind::BareAck
    } else {
        Kind::Other
    };
    Some(kind)
}

fn word(bytes: &[u8], range: Range<usize>) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(range)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    extern crate std;

    const KEY: FlowKey = FlowKey::new(*b"sixteen bytes..!");

    fn judge(packet: &[u8], medium: Medium, mtu: u16) -> Result<bool, DropReason> {
        classify(packet, medium, mtu, &KEY).map(|class| class.ordered)
    }

    fn class(packet: &[u8]) -> Class {
        classify(packet, Medium::Ip, 1500, &KEY).unwrap()
    }

    fn frame_class(frame: &[u8]) -> Class {
        classify(frame, Medium::Ethernet, 1500, &KEY).unwrap()
    }

    /// From 10.0.0.1 to 10.0.0.2, with a payload of the given protocol that begins with `front`.
    fn datagram(protocol: u8, front: &[u8]) -> [u8; 100] {
        let mut packet = [0; 100];
        packet[..20].copy_from_slice(&[0x45, 0xba, 0, 100, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..20 + front.len()].copy_from_slice(front);
        packet
    }

    /// The same over IPv6, behind these extension headers.
    fn datagram6(next: u8, extensions: &[u8], front: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x6b, 0xaf, 0xff, 0xff, 0, 0, next, 64];
        packet.extend_from_slice(&[0x20; 16]);
        packet.extend_from_slice(&[0x30; 16]);
        packet.extend_from_slice(extensions);
        packet.extend_from_slice(front);
        let len = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    }

    const PORTS: [u8; 8] = [0x04, 0xd2, 0, 53, 0, 80, 0, 0];

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
        assert_eq!(judge(&ipv4(1428)[..1428], Medium::Ip, 1428), Ok(true));
        assert_eq!(judge(&ipv4(1429)[..1429], Medium::Ip, 1428), Err(DropReason::TooBig));
        assert_eq!(judge(&ipv6(1280)[..1280], Medium::Ip, 1280), Ok(true));
        assert_eq!(judge(&ipv6(1281)[..1281], Medium::Ip, 1280), Err(DropReason::TooBig));
    }

    #[test]
    fn a_packet_of_which_only_the_front_was_read_is_too_big_by_its_own_header() {
        assert_eq!(judge(&ipv4(9000)[..1500], Medium::Ip, 1428), Err(DropReason::TooBig));
        assert_eq!(judge(&ipv6(9000)[..100], Medium::Ip, 1428), Err(DropReason::TooBig));
    }

    #[test]
    fn what_is_no_ip_packet_does_not_enter_a_tun_tunnel() {
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x15; 60]] {
            assert_eq!(judge(packet, Medium::Ip, 1428), Err(DropReason::NotIp));
        }
    }

    #[test]
    fn ethernet_frames_pass_with_their_header_on_top_of_the_mtu() {
        let mut frame = [0; 1600];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(judge(&frame[..1414], Medium::Ethernet, 1400), Ok(true));
        assert_eq!(judge(&frame[..1415], Medium::Ethernet, 1400), Err(DropReason::TooBig));
        assert_eq!(judge(&frame[..13], Medium::Ethernet, 1400), Err(DropReason::Malformed));
        frame[12..14].copy_from_slice(&[0x81, 0x00]);
        assert_eq!(judge(&frame[..1418], Medium::Ethernet, 1400), Ok(true));
        assert_eq!(judge(&frame[..1419], Medium::Ethernet, 1400), Err(DropReason::TooBig));
    }

    #[test]
    fn one_flow_has_one_number_and_each_of_its_marks_makes_another() {
        let base = class(&datagram(protocol::UDP, &PORTS));
        assert_eq!((base.ports, base.protocol, base.len), (Some((1234, 53)), Some(17), 100));
        let mut same = datagram(protocol::UDP, &PORTS);
        same[1] = 0;
        same[4..9].copy_from_slice(&[1, 2, 0x40, 0, 9]);
        same[40..].fill(0x77);
        assert_eq!(class(&same).flow, base.flow, "identification, lifetime and content are not the flow's");
        // Addresses, protocol, ports, one bit each.
        for place in [12, 15, 16, 19, 9, 20, 21, 22, 23] {
            let mut other = datagram(protocol::UDP, &PORTS);
            other[place] ^= if place == 9 { protocol::UDP ^ protocol::TCP } else { 1 };
            assert_ne!(class(&other).flow, base.flow, "byte {place}");
        }
    }

    #[test]
    fn without_the_key_nobody_knows_a_flows_number() {
        let packet = datagram(protocol::UDP, &PORTS);
        let flow = |seed| classify(&packet, Medium::Ip, 1500, &FlowKey::new(seed)).unwrap().flow;
        let (mut low, mut high) = ([0; 16], [0; 16]);
        (low[0], high[15]) = (1, 1);
        assert!(flow([0; 16]) != flow(low) && flow([0; 16]) != flow(high) && flow(low) != flow(high));
        assert_eq!(std::format!("{:?}", FlowKey::new([7; 16])), "FlowKey(..)");
    }

    #[test]
    fn flows_spread_evenly_over_the_groups() {
        let mut groups = [0_u32; 32];
        for port in 0..32_000_u16 {
            let [high, low] = port.to_be_bytes();
            let flow = class(&datagram(protocol::UDP, &[high, low, 0, 53])).flow;
            groups[flow as usize % 32] += 1;
        }
        // 1,000 each, with a standard deviation of 31.
        assert!(groups.iter().all(|count| (850..1_150).contains(count)), "{groups:?}");
    }

    #[test]
    fn every_fragment_of_a_datagram_is_of_one_flow_and_shows_no_ports() {
        let mut first = datagram(protocol::UDP, &PORTS);
        first[6] = 0x20;
        let mut last = datagram(protocol::UDP, &[0xff; 8]);
        last[7] = 9;
        let (first, last) = (class(&first), class(&last));
        assert_eq!((first.flow, first.ports, first.protocol), (last.flow, None, Some(17)));
        let first = class(&datagram6(protocol::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 9], &PORTS));
        let last = class(&datagram6(protocol::FRAGMENT, &[17, 0, 0x10, 0, 0, 0, 0, 9], &[0xff; 8]));
        assert_eq!((first.flow, first.ports, first.protocol), (last.flow, None, Some(17)));
    }

    #[test]
    fn pings_are_a_flow_and_protocols_nobody_knows_are_one_by_their_addresses() {
        let flow = |protocol| class(&datagram(protocol, &PORTS)).flow;
        assert_ne!(flow(protocol::ICMP), flow(protocol::UDP));
        assert_eq!(flow(99), flow(253));
        assert_eq!(class(&datagram(99, &PORTS)).ports, None);
    }

    #[test]
    fn ipv6_is_looked_into_behind_a_few_extension_headers() {
        let plain = class(&datagram6(protocol::UDP, &[], &PORTS));
        assert_eq!((plain.ports, plain.protocol, plain.dscp, plain.ecn), (Some((1234, 53)), Some(17), 46, Ecn::Ect0));
        let mut chain = vec![protocol::DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0];
        chain.extend_from_slice(&[protocol::UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(class(&datagram6(protocol::HOP_BY_HOP, &chain, &PORTS)), Class { len: plain.len + 24, ..plain });
        let endless = [protocol::ROUTING, 0, 0, 0, 0, 0, 0, 0].repeat(20);
        let lost = class(&datagram6(protocol::ROUTING, &endless, &PORTS));
        assert_eq!((lost.ports, lost.flow == plain.flow), (None, false));
    }

    #[test]
    fn dscp_and_codepoint_are_read_from_both_versions() {
        for ecn in Ecn::ALL {
            let mut packet = datagram(protocol::UDP, &PORTS);
            packet[1] = 10 << 2 | ecn.bits();
            assert_eq!((class(&packet).dscp, class(&packet).ecn), (10, ecn));
        }
    }

    #[test]
    fn tcp_segments_say_what_they_do() {
        let segment = |flags: u8, offset: u8, len: u8| {
            let mut tcp = [0; 20];
            tcp[..4].copy_from_slice(&PORTS[..4]);
            (tcp[12], tcp[13]) = (offset << 4, flags);
            let mut packet = datagram(protocol::TCP, &tcp);
            packet[3] = len;
            class(&packet[..usize::from(len)]).kind
        };
        assert_eq!(segment(0x02, 10, 60), Kind::Opening);
        assert_eq!(segment(0x12, 10, 60), Kind::Opening);
        assert_eq!(segment(0x10, 5, 40), Kind::BareAck);
        assert_eq!(segment(0x10, 8, 52), Kind::BareAck);
        assert_eq!(segment(0x18, 8, 53), Kind::Other);
        assert_eq!(segment(0x11, 5, 40), Kind::Closing);
        assert_eq!(segment(0x04, 5, 40), Kind::Closing);
        assert_eq!(segment(0x00, 5, 40), Kind::Other);
    }

    #[test]
    fn a_small_packet_is_small_by_length_or_by_what_it_does() {
        let base = class(&datagram(protocol::UDP, &PORTS));
        let with = |len, kind| Class { len, kind, ..base }.is_small();
        assert!(with(256, Kind::Other) && !with(257, Kind::Other) && !with(257, Kind::Closing));
        assert!(with(1_500, Kind::Opening) && with(1_500, Kind::BareAck));
    }

    #[test]
    fn frames_with_ip_are_of_the_flow_they_carry_and_others_of_their_stations() {
        let inner = datagram(protocol::UDP, &PORTS);
        let frame = |tag: &[u8], ethertype: [u8; 2], station: u8| {
            let mut frame = vec![station; 12];
            frame.extend_from_slice(tag);
            frame.extend_from_slice(&ethertype);
            frame.extend_from_slice(&inner);
            frame
        };
        assert_eq!(frame_class(&frame(&[], [8, 0], 1)), Class { len: 114, ..class(&inner) });
        assert_eq!(frame_class(&frame(&[0x81, 0, 0, 7], [8, 0], 2)), Class { len: 118, ..class(&inner) });
        let arp = frame_class(&frame(&[], [8, 6], 1));
        assert_eq!((arp.protocol, arp.ports, arp.dscp, arp.ecn), (None, None, 0, Ecn::NotEct));
        assert_eq!(arp.flow, frame_class(&frame(&[], [0x88, 0xcc], 1)).flow);
        assert_ne!(arp.flow, frame_class(&frame(&[], [8, 6], 2)).flow);
    }

    #[test]
    fn packets_cut_anywhere_are_classified_or_refused_without_a_fault() {
        let mut chain = vec![protocol::UDP, 200, 0, 0, 0, 0, 0, 0];
        chain[0] = protocol::HOP_BY_HOP;
        let v6 = datagram6(protocol::HOP_BY_HOP, &chain, &PORTS);
        for packet in [&datagram(protocol::TCP, &PORTS)[..], &v6] {
            for cut in 0..packet.len() {
                for medium in [Medium::Ip, Medium::Ethernet] {
                    let _ = classify(&packet[..cut], medium, 1500, &KEY);
                }
            }
        }
        // A header that claims to be longer than the packet.
        let mut long = datagram(protocol::TCP, &PORTS);
        long[0] = 0x4f;
        assert_eq!(class(&long[..40]).ports, None);
    }
}

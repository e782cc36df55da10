// SPDX-License-Identifier: BSD-2-Clause
//! Clamp: a TCP handshake that passes the tunnel learns what fits through it (the maximum segment size of RFC 9293,
//! lowered on the way as routers do, RFC 4459, 3.2), so that hosts whose path MTU discovery is broken work all the same.

use crate::memory::checksum::adjust;
use crate::memory::ethernet;
use crate::words::ids::Medium;
use crate::words::limits::{IPV4_HEADER, IPV6_HEADER};

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// The IP protocol number of TCP.
const TCP: u8 = 6;

const FLAG_SYN: u8 = 0x02;

const OPTION_END: u8 = 0;
const OPTION_PADDING: u8 = 1;
const OPTION_MSS: u8 = 2;

/// Where things stand.
mod field {
    use core::ops::Range;

    pub(super) const IPV4_FRAGMENT: Range<usize> = 6..8;
    pub(super) const IPV4_PROTOCOL: usize = 9;
    pub(super) const IPV6_NEXT_HEADER: usize = 6;
    pub(super) const TCP_DATA_OFFSET: usize = 12;
    pub(super) const TCP_FLAGS: usize = 13;
    pub(super) const TCP_CHECKSUM: Range<usize> = 16..18;
}

/// Lowers the maximum segment size in `packet`, if it is a TCP SYN that states a larger one than fits `mtu`. Returns
/// whether it did. Work: one look at a SYN's options, at most 40 bytes.
pub fn clamp(packet: &mut [u8], medium: Medium, mtu: u16) -> bool {
    try_clamp(packet, medium, mtu).is_some()
}

fn try_clamp(packet: &mut [u8], medium: Medium, mtu: u16) -> Option<()> {
    let start = match medium {
        Medium::Ip => 0,
        Medium::Ethernet => {
            let (header, _) = ethernet::split(packet)?;
            ethernet::carries_ip(packet, header).then_some(header)?
        }
    };
    let packet = packet.get_mut(start..)?;
    let ip_header = tcp_offset(packet)?;
    let tcp = packet.get_mut(ip_header..)?;
    if tcp.get(field::TCP_FLAGS)? & FLAG_SYN == 0 {
        return None;
    }
    let fixed = match packet.first()? >> 4 {
        4 => IPV4_HEADER,
        _ => IPV6_HEADER,
    };
    let limit = u16::try_from(usize::from(mtu).checked_sub(fixed)?.checked_sub(TCP_HEADER)?).ok()?;
    lower_mss(packet.get_mut(ip_header..)?, limit)
}

/// Where the TCP header begins, when `packet` is IP and carries the start of a TCP segment right behind its header.
fn tcp_offset(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
            let fragment: [u8; 2] = packet.get(field::IPV4_FRAGMENT)?.try_into().ok()?;
            let is_first = u16::from_be_bytes(fragment) & 0x1fff == 0;
            (is_first && *packet.get(field::IPV4_PROTOCOL)? == TCP && header >= IPV4_HEADER).then_some(header)
        }
        6 => (*packet.get(field::IPV6_NEXT_HEADER)? == TCP).then_some(IPV6_HEADER),
        _ => None,
    }
}

/// Lowers the segment size option of the TCP header at the front of `tcp` to `limit`.
fn lower_mss(tcp: &mut [u8], limit: u16) -> Option<()> {
    let header = usize::from(tcp.get(field::TCP_DATA_OFFSET)? >> 4).checked_mul(4)?;
    let mut at = TCP_HEADER;
    while at < header {
        let option = *tcp.get(at)?;
        let len = match option {
            OPTION_END => return None,
            OPTION_PADDING => 1,
            _ => usize::from(*tcp.get(at.checked_add(1)?)?),
        };
        let end = at.checked_add(len)?;
        if len == 0 || end > header {
            return None;
        }
        if option == OPTION_MSS && len == 4 {
            let value = tcp.get_mut(at.checked_add(2)?..end)?;
            let old = u16::from_be_bytes((&*value).try_into().ok()?);
            if old <= limit {
                return None;
            }
            value.copy_from_slice(&limit.to_be_bytes());
            // The option may begin at an odd place, where its bytes count swapped.
            let swap = |word: u16| if at & 1 == 0 { word } else { word.swap_bytes() };
            let sum = tcp.get_mut(field::TCP_CHECKSUM)?;
            let before = u16::from_be_bytes((&*sum).try_into().ok()?);
            sum.copy_from_slice(&adjust(before, swap(old), swap(limit)).to_be_bytes());
            return Some(());
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Repr, TcpControl, TcpPacket,
        TcpRepr, TcpSeqNumber,
    };

    use super::*;

    const MTU: u16 = 1400;

    fn syn(mss: Option<u16>, window_scale: Option<u8>) -> TcpRepr<'static> {
        TcpRepr {
            src_port: 1,
            dst_port: 2,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(7),
            ack_number: None,
            window_len: 1000,
            window_scale,
            max_seg_size: mss,
            sack_permitted: true,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }
    }

    fn ipv4(tcp: &TcpRepr<'_>) -> ([u8; 80], usize) {
        let (a, b) = (Ipv4Address::new(10, 0, 0, 1), Ipv4Address::new(10, 0, 0, 2));
        let ip = Ipv4Repr {
            src_addr: a,
            dst_addr: b,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = [0; 80];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
        let mut segment = TcpPacket::new_unchecked(&mut bytes[20..20 + tcp.buffer_len()]);
        tcp.emit(&mut segment, &a.into(), &b.into(), &ChecksumCapabilities::default());
        (bytes, 20 + tcp.buffer_len())
    }

    fn read(bytes: &[u8], header: usize, ends: (IpAddress, IpAddress)) -> Option<u16> {
        let segment = TcpPacket::new_checked(&bytes[header..]).unwrap();
        assert!(segment.verify_checksum(&ends.0, &ends.1));
        TcpRepr::parse(&segment, &ends.0, &ends.1, &ChecksumCapabilities::default()).unwrap().max_seg_size
    }

    fn ends() -> (IpAddress, IpAddress) {
        (Ipv4Address::new(10, 0, 0, 1).into(), Ipv4Address::new(10, 0, 0, 2).into())
    }

    #[test]
    fn a_larger_segment_size_is_lowered_and_the_checksum_stays_right() {
        for (mss, expected) in [(1460, 1360), (65_535, 1360), (1361, 1360), (1360, 1360), (536, 536)] {
            let (mut bytes, len) = ipv4(&syn(Some(mss), Some(7)));
            assert_eq!(clamp(&mut bytes[..len], Medium::Ip, MTU), mss > expected, "{mss}");
            assert_eq!(read(&bytes[..len], 20, ends()), Some(expected));
        }
    }

    #[test]
    fn ipv6_leaves_room_for_its_longer_header() {
        let (a, b) = (Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
        let tcp = syn(Some(1440), None);
        let ip = Ipv6Repr {
            src_addr: a,
            dst_addr: b,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = [0; 100];
        ip.emit(&mut smoltcp::wire::Ipv6Packet::new_unchecked(&mut bytes[..]));
        let len = 40 + tcp.buffer_len();
        let mut segment = TcpPacket::new_unchecked(&mut bytes[40..len]);
        tcp.emit(&mut segment, &a.into(), &b.into(), &ChecksumCapabilities::default());
        assert!(clamp(&mut bytes[..len], Medium::Ip, MTU));
        assert_eq!(read(&bytes[..len], 40, (a.into(), b.into())), Some(1340));
    }

    #[test]
    fn an_option_at_an_odd_place_keeps_the_checksum_right() {
        let (mut bytes, len) = ipv4(&syn(Some(1460), Some(7)));
        // Option bytes 2 4 M M then 3 3 S: move one padding byte to the front.
        let options = &mut bytes[40..len];
        options.rotate_right(1);
        options[0] = OPTION_PADDING;
        let mut segment = TcpPacket::new_unchecked(&mut bytes[20..len]);
        segment.fill_checksum(&ends().0, &ends().1);
        assert!(clamp(&mut bytes[..len], Medium::Ip, MTU));
        assert_eq!(bytes[43..45], 1360_u16.to_be_bytes());
        assert!(TcpPacket::new_unchecked(&bytes[20..len]).verify_checksum(&ends().0, &ends().1));
    }

    #[test]
    fn frames_are_looked_into() {
        let (bytes, len) = ipv4(&syn(Some(1460), None));
        let mut frame = [0; 94];
        frame[12..14].copy_from_slice(&[0x08, 0]);
        frame[14..14 + len].copy_from_slice(&bytes[..len]);
        assert!(clamp(&mut frame[..14 + len], Medium::Ethernet, MTU));
        assert_eq!(read(&frame[14..14 + len], 20, ends()), Some(1360));
    }

    #[test]
    fn nothing_else_is_touched_however_broken() {
        let (bytes, len) = ipv4(&syn(Some(1460), Some(7)));
        for cut in 0..len {
            let mut part = bytes;
            clamp(&mut part[..cut], Medium::Ip, MTU);
            clamp(&mut part[..cut], Medium::Ethernet, MTU);
        }
        for (place, value) in [(9, 17), (33, 0x10), (7, 8), (32, 0x50), (41, 0), (41, 200), (0, 0x15)] {
            let mut other = bytes;
            other[place] = value;
            let before = other;
            assert!(!clamp(&mut other[..len], Medium::Ip, MTU), "{place}");
            assert_eq!(other, before);
        }
    }
}

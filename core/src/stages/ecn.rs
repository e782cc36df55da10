// SPDX-License-Identifier: BSD-2-Clause
//! Explicit congestion notification through the tunnel (RFC 6040): what the outer header says is copied from the inner
//! one on the way in and joined with it on the way out, so that a router between the tunnel's ends reaches the hosts
//! behind them.

use core::ops::Range;

use crate::memory::checksum::adjust;
use crate::memory::ethernet;
use crate::words::drops::DropReason;
use crate::words::ecn::Ecn;
use crate::words::ids::Medium;
use crate::words::limits::{IPV4_HEADER, IPV6_HEADER};

/// Where things stand (RFC 791, RFC 8200).
mod field {
    use super::Range;

    /// IPv4's version, header length and type of service; IPv6's version, traffic class and the flow label's beginning.
    pub(super) const FIRST_WORD: Range<usize> = 0..2;
    pub(super) const IPV4_CHECKSUM: Range<usize> = 10..12;

    /// Where the codepoint lies in the first word.
    pub(super) const IPV4_SHIFT: u32 = 0;
    pub(super) const IPV6_SHIFT: u32 = 4;
}

/// The outer codepoint of a packet whose inner one is this (RFC 6040, 4.1: normal mode, which copies). Only for a peer
/// that joins both when the packet leaves the tunnel; towards any other the outer codepoint stays [`Ecn::NotEct`]
/// (compatibility mode).
#[must_use]
pub const fn encapsulate(inner: Ecn) -> Ecn {
    inner
}

/// The codepoint with which a packet leaves the tunnel (RFC 6040, 4.2, figure 4).
///
/// # Errors
/// [`DropReason::Congestion`] for a packet that was marked on the way and whose transport understands no mark: only its
/// loss tells of the congestion.
pub const fn decapsulate(inner: Ecn, outer: Ecn) -> Result<Ecn, DropReason> {
    match (inner, outer) {
        (Ecn::NotEct, Ecn::Ce) => Err(DropReason::Congestion),
        (Ecn::NotEct, _) => Ok(Ecn::NotEct),
        (_, Ecn::Ce) => Ok(Ecn::Ce),
        // The one change between the two that RFC 6040 carries over, for pre-congestion notification.
        (Ecn::Ect0, Ecn::Ect1) => Ok(Ecn::Ect1),
        (inner, _) => Ok(inner),
    }
}

/// What the IP header in `packet` says of congestion; [`Ecn::NotEct`] when there is none.
#[must_use]
pub fn read(packet: &[u8], medium: Medium) -> Ecn {
    let inner = ip_start(packet, medium).and_then(|start| packet.get(start..));
    inner.and_then(first_word).map_or(Ecn::NotEct, |(word, shift)| codepoint(word, shift))
}

/// Writes `ecn` into the IP header in `packet`, and keeps IPv4's checksum as right as it was. False, and no change, when
/// there is no IP header.
pub fn write(packet: &mut [u8], medium: Medium, ecn: Ecn) -> bool {
    try_write(packet, medium, ecn).is_some()
}

fn try_write(packet: &mut [u8], medium: Medium, ecn: Ecn) -> Option<()> {
    let start = ip_start(packet, medium)?;
    let inner = packet.get_mut(start..)?;
    let (old, shift) = first_word(inner)?;
    if codepoint(old, shift) == ecn {
        return Some(());
    }
    let new = (old & !(0b11 << shift)) | (u16::from(ecn.bits()) << shift);
    if shift == field::IPV4_SHIFT {
        let sum = inner.get_mut(field::IPV4_CHECKSUM)?;
        let before = u16::from_be_bytes((&*sum).try_into().ok()?);
        sum.copy_from_slice(&adjust(before, old, new).to_be_bytes());
    }
    inner.get_mut(field::FIRST_WORD)?.copy_from_slice(&new.to_be_bytes());
    Some(())
}

/// Where the IP header begins.
fn ip_start(packet: &[u8], medium: Medium) -> Option<usize> {
    match medium {
        Medium::Ip => Some(0),
        Medium::Ethernet => {
            let (header, _) = ethernet::split(packet)?;
            ethernet::carries_ip(packet, header).then_some(header)
        }
    }
}

/// The word of an IP header that holds the codepoint, and where in it.
fn first_word(inner: &[u8]) -> Option<(u16, u32)> {
    let word = u16::from_be_bytes(inner.get(field::FIRST_WORD)?.try_into().ok()?);
    match word >> 12 {
        4 if inner.len() >= IPV4_HEADER => Some((word, field::IPV4_SHIFT)),
        6 if inner.len() >= IPV6_HEADER => Some((word, field::IPV6_SHIFT)),
        _ => None,
    }
}

fn codepoint(word: u16, shift: u32) -> Ecn {
    let [_, low] = (word >> shift).to_be_bytes();
    Ecn::from_traffic_class(low)
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

    use super::*;

    /// RFC 6040, figure 4: the inner codepoint, then what becomes of it when the outer one is Not-ECT, ECT(0), ECT(1)
    /// and CE.
    const FIGURE_4: [(Ecn, [Option<Ecn>; 4]); 4] = {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ]
    };

    fn ipv4(traffic_class: u8) -> [u8; 60] {
        let mut bytes = [0x5a; 60];
        let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(60);
        ip.set_dscp(traffic_class >> 2);
        ip.set_ecn(traffic_class & 3);
        ip.fill_checksum();
        bytes
    }

    fn ipv6(traffic_class: u8) -> [u8; 60] {
        let mut bytes = [0x5a; 60];
        let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
        ip.set_version(6);
        ip.set_traffic_class(traffic_class);
        ip.set_flow_label(0xf_ffff);
        bytes
    }

    #[test]
    fn leaving_the_tunnel_all_sixteen_pairs_become_what_rfc_6040_says() {
        for (inner, row) in FIGURE_4 {
            for (outer, expected) in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce].into_iter().zip(row) {
                let joined = decapsulate(inner, outer);
                assert_eq!(joined, expected.ok_or(DropReason::Congestion), "inner {inner:?}, outer {outer:?}");
            }
        }
    }

    #[test]
    fn entering_the_tunnel_the_codepoint_is_copied() {
        for ecn in Ecn::ALL {
            assert_eq!(encapsulate(ecn), ecn);
            assert_eq!(decapsulate(ecn, encapsulate(ecn)), Ok(ecn), "a path that changes nothing changes nothing");
        }
    }

    #[test]
    fn ipv4_changes_in_nothing_but_codepoint_and_checksum() {
        for before in 0..=255 {
            for ecn in Ecn::ALL {
                let mut packet = ipv4(before);
                assert_eq!(read(&packet, Medium::Ip).bits(), before & 3);
                assert!(write(&mut packet, Medium::Ip, ecn));
                assert!(Ipv4Packet::new_unchecked(&packet[..]).verify_checksum());
                assert_eq!(packet, ipv4(before & !3 | ecn.bits()));
            }
        }
    }

    #[test]
    fn ipv6_changes_in_nothing_but_the_codepoint() {
        for before in 0..=255 {
            for ecn in Ecn::ALL {
                let mut packet = ipv6(before);
                assert_eq!(read(&packet, Medium::Ip).bits(), before & 3);
                assert!(write(&mut packet, Medium::Ip, ecn));
                assert_eq!(packet, ipv6(before & !3 | ecn.bits()));
            }
        }
    }

    #[test]
    fn a_checksum_that_was_wrong_stays_wrong() {
        let mut packet = ipv4(0x02);
        packet[10] ^= 1;
        assert!(write(&mut packet, Medium::Ip, Ecn::Ce));
        assert!(!Ipv4Packet::new_unchecked(&packet[..]).verify_checksum());
    }

    #[test]
    fn frames_are_looked_into_with_and_without_a_vlan_tag() {
        let tags: [&[u8]; 2] = [&[], &[0x81, 0, 0, 7]];
        for tag in tags {
            for (ethertype, before, after) in
                [([0x08, 0], ipv4(0xba), ipv4(0xbb)), ([0x86, 0xdd], ipv6(0xba), ipv6(0xbb))]
            {
                let mut frame = std::vec![1; 12];
                frame.extend_from_slice(tag);
                frame.extend_from_slice(&ethertype);
                let header = frame.len();
                frame.extend_from_slice(&before);
                assert_eq!(read(&frame, Medium::Ethernet), Ecn::Ect0);
                assert!(write(&mut frame, Medium::Ethernet, Ecn::Ce));
                assert_eq!(frame[header..], after);
            }
        }
    }

    #[test]
    fn what_is_no_ip_says_nothing_and_is_not_touched() {
        let arp = {
            let mut frame = [0x45; 60];
            frame[12..14].copy_from_slice(&[0x08, 0x06]);
            frame
        };
        let cases: [(&[u8], Medium); 6] = [
            (&[], Medium::Ip),
            (&[0x45; 19], Medium::Ip),
            (&[0x60; 39], Medium::Ip),
            (&[0x15; 60], Medium::Ip),
            (&arp, Medium::Ethernet),
            (&[0x45; 13], Medium::Ethernet),
        ];
        for (packet, medium) in cases {
            let mut copy = packet.to_vec();
            assert_eq!(read(packet, medium), Ecn::NotEct);
            assert!(!write(&mut copy, medium, Ecn::Ce));
            assert_eq!(copy, packet);
        }
    }

    extern crate std;
}

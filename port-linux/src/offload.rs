// SPDX-License-Identifier: BSD-2-Clause
//! Super-segments: with `IFF_VNET_HDR` the kernel hands over up to 64 KiB of one flow in one read, to be cut into packets
//! ([`cut`]), and takes as much in one write, joined from packets ([`join`]). What this saves is the kernel's way through
//! its whole network stack for each packet, and a system call.
//!
//! In front of every packet stands the header of linux/virtio_net.h, in the machine's own byte order.

pub mod cut;
pub mod join;
mod sum;

use std::ops::Range;

/// Bytes of `struct virtio_net_hdr`.
pub const VNET_HEADER: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum holds only the sum of the pseudo-header.
const NEEDS_CHECKSUM: u8 = 1;

/// `VIRTIO_NET_HDR_GSO_*`.
mod gso {
    pub(super) const NONE: u8 = 0;
    pub(super) const TCP_IPV4: u8 = 1;
    pub(super) const TCP_IPV6: u8 = 4;
    pub(super) const UDP: u8 = 5;
    /// Beside TCP's: the first segment tells that the window was reduced (`CWR`).
    pub(super) const ECN: u8 = 0x80;
}

/// Where things stand in IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293) and UDP (RFC 768).
mod field {
    use super::Range;

    pub(super) const IPV4_LENGTH: Range<usize> = 2..4;
    pub(super) const IPV4_ID: Range<usize> = 4..6;
    pub(super) const IPV4_FRAGMENT: Range<usize> = 6..8;
    pub(super) const IPV4_PROTOCOL: usize = 9;
    pub(super) const IPV4_CHECKSUM: Range<usize> = 10..12;
    pub(super) const IPV4_ADDRESSES: Range<usize> = 12..20;
    pub(super) const IPV6_LENGTH: Range<usize> = 4..6;
    pub(super) const IPV6_NEXT_HEADER: usize = 6;
    pub(super) const IPV6_ADDRESSES: Range<usize> = 8..40;
    pub(super) const PORTS: Range<usize> = 0..4;
    pub(super) const TCP_SEQUENCE: Range<usize> = 4..8;
    pub(super) const TCP_DATA_OFFSET: usize = 12;
    pub(super) const TCP_FLAGS: usize = 13;
    pub(super) const TCP_CHECKSUM: usize = 16;
    pub(super) const UDP_LENGTH: Range<usize> = 4..6;
    pub(super) const UDP_CHECKSUM: usize = 6;
}

/// TCP's flags (RFC 9293, RFC 3168).
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const PSH: u8 = 0x08;
    pub(super) const ACK: u8 = 0x10;
    pub(super) const ECE: u8 = 0x40;
    pub(super) const CWR: u8 = 0x80;
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// What a flow's packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Its IP protocol number.
    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Where its checksum stands in its header.
    const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => field::TCP_CHECKSUM,
            Self::Udp => field::UDP_CHECKSUM,
        }
    }
}

/// `struct virtio_net_hdr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct VnetHeader {
    flags: u8,
    gso: u8,
    header_len: u16,
    gso_size: u16,
    checksum_start: u16,
    checksum_offset: u16,
}

impl VnetHeader {
    fn parse(bytes: &[u8; VNET_HEADER]) -> Self {
        let [flags, gso, a, b, c, d, e, f, g, h] = *bytes;
        let word = |first, second| u16::from_ne_bytes([first, second]);
        Self {
            flags,
            gso,
            header_len: word(a, b),
            gso_size: word(c, d),
            checksum_start: word(e, f),
            checksum_offset: word(g, h),
        }
    }

    fn emit(self) -> [u8; VNET_HEADER] {
        let [[a, b], [c, d], [e, f], [g, h]] =
            [self.header_len, self.gso_size, self.checksum_start, self.checksum_offset].map(u16::to_ne_bytes);
        [self.flags, self.gso, a, b, c, d, e, f, g, h]
    }
}

fn word(bytes: &[u8], at: Range<usize>) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at)?.try_into().ok()?))
}

fn put_word(bytes: &mut [u8], at: Range<usize>, value: u16) -> Option<()> {
    bytes.get_mut(at)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// Writes the length an IP header states, and the checksum over it.
fn put_ip_length(packet: &mut [u8], len: usize, transport_at: usize) -> Option<()> {
    if packet.first()? >> 4 == 4 {
        put_word(packet, field::IPV4_LENGTH, u16::try_from(len).ok()?)?;
        put_word(packet, field::IPV4_CHECKSUM, 0)?;
        let checksum = !sum::Sum::of(packet.get(..transport_at)?).fold();
        put_word(packet, field::IPV4_CHECKSUM, checksum)
    } else {
        put_word(packet, field::IPV6_LENGTH, u16::try_from(len.checked_sub(IPV6_HEADER)?).ok()?)
    }
}

#[cfg(test)]
mod tests;

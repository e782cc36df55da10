// SPDX-License-Identifier: BSD-2-Clause
//! Joining packets of one flow to a super-segment, by the kernel's own rules (net/core/gro.c, tcp_offload.c): cut again,
//! it gives exactly the packets it was made of.
//!
//! Only packets with a right checksum are joined: what was damaged before it came into the tunnel must not become whole.

use super::sum::Sum;
use super::{
    IPV4_HEADER, IPV6_HEADER, NEEDS_CHECKSUM, TCP_HEADER, Transport, UDP_HEADER, VNET_HEADER, VnetHeader, field, flag,
    gso, put_ip_length, put_word, word,
};

/// Bytes of IPv6's and TCP's longest headers.
const MOST_HEADERS: usize = IPV6_HEADER + 60;

/// Bytes of a super-segment at the most: what IPv4's length field holds.
const MOST_BYTES: usize = 65_535;

/// Packets of a super-segment at the most, as the kernel's `UDP_MAX_SEGMENTS` until Linux 6.9.
pub const MOST_PACKETS: usize = 64;

/// IPv4's "don't fragment".
const DONT_FRAGMENT: u16 = 0x4000;

/// What a packet says that decides whether it can be joined.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    transport: Transport,
    transport_at: usize,
    payload_at: usize,
    len: usize,
    sequence: u32,
    id: u16,
    /// Nothing may follow it: a segment that pushes.
    pushes: bool,
}

impl Segment {
    /// Looks at an IP packet. None for one that travels alone: fragments, options, flags beyond the usual, nothing carried,
    /// lengths or checksums that are wrong. `with_udp`: whether datagrams of UDP are joined.
    #[must_use]
    pub fn read(packet: &[u8], with_udp: bool) -> Option<Self> {
        let (protocol, transport_at, id) = match packet.first()? {
            0x45 => {
                let fragment = word(packet, field::IPV4_FRAGMENT)? & !DONT_FRAGMENT;
                let is_sound = usize::from(word(packet, field::IPV4_LENGTH)?) == packet.len()
                    && fragment == 0
                    && Sum::of(packet.get(..IPV4_HEADER)?).fold() == 0xffff;
                is_sound.then_some(())?;
                (*packet.get(field::IPV4_PROTOCOL)?, IPV4_HEADER, word(packet, field::IPV4_ID)?)
            }
            0x60..=0x6f => {
                let len = usize::from(word(packet, field::IPV6_LENGTH)?).checked_add(IPV6_HEADER)?;
                (len == packet.len()).then_some(())?;
                (*packet.get(field::IPV6_NEXT_HEADER)?, IPV6_HEADER, 0)
            }
            _ => return None,
        };
        let transport = match protocol {
            6 => Transport::Tcp,
            17 if with_udp => Transport::Udp,
            _ => return None,
        };
        let body = packet.get(transport_at..)?;
        let (header_len, sequence, pushes) = match transport {
            Transport::Tcp => read_tcp(body)?,
            Transport::Udp => read_udp(body)?,
        };
        let payload_at = transport_at.checked_add(header_len)?;
        let sum = pseudo_header(packet, transport, body.len())?.and(body);
        let is_sound = payload_at < packet.len() && sum.fold() == 0xffff;
        is_sound.then_some(Self { transport, transport_at, payload_at, len: packet.len(), sequence, id, pushes })
    }

    /// What the packet carries.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_at..).unwrap_or_default()
    }

    const fn payload_len(&self) -> usize {
        self.len.saturating_sub(self.payload_at)
    }
}

/// Length of the header, sequence number, and whether it pushes.
fn read_tcp(body: &[u8]) -> Option<(usize, u32, bool)> {
    let len = usize::from(body.get(field::TCP_DATA_OFFSET)? >> 4).checked_mul(4)?;
    let sequence = u32::from_be_bytes(body.get(field::TCP_SEQUENCE)?.try_into().ok()?);
    let flags = *body.get(field::TCP_FLAGS)?;
    let is_usual = flags & !(flag::PSH | flag::ECE) == flag::ACK && len >= TCP_HEADER;
    is_usual.then_some((len, sequence, flags & flag::PSH != 0))
}

fn read_udp(body: &[u8]) -> Option<(usize, u32, bool)> {
    let at = field::UDP_CHECKSUM;
    let is_usual =
        usize::from(word(body, field::UDP_LENGTH)?) == body.len() && word(body, at..at.checked_add(2)?)? != 0;
    is_usual.then_some((UDP_HEADER, 0, false))
}

/// The sum of the pseudo-header of RFC 9293 and RFC 8200, 8.1.
fn pseudo_header(packet: &[u8], transport: Transport, len: usize) -> Option<Sum> {
    let addresses = addresses(packet)?;
    Some(Sum::of(addresses).and_word(transport.protocol().into()).and_word(u16::try_from(len).ok()?))
}

fn addresses(packet: &[u8]) -> Option<&[u8]> {
    match packet.first()? >> 4 {
        4 => packet.get(field::IPV4_ADDRESSES),
        _ => packet.get(field::IPV6_ADDRESSES),
    }
}

/// Whether both packets go between the same two hosts, in the same direction: only such may be of one flow.
#[must_use]
pub fn are_between_the_same(one: &[u8], other: &[u8]) -> bool {
    one.first().map(|byte| byte >> 4) == other.first().map(|byte| byte >> 4) && addresses(one) == addresses(other)
}

/// A super-segment in the making: what it needs to know beside its first packet.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    first: Segment,
    count: usize,
    payload: usize,
    /// The last packet was shorter, or pushed: none may follow.
    is_closed: bool,
    pushes: bool,
}

impl Run {
    /// One of one packet.
    #[must_use]
    pub const fn new(first: Segment) -> Self {
        Self { first, count: 1, payload: first.payload_len(), is_closed: first.pushes, pushes: first.pushes }
    }

    /// Whether nothing more can be joined.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed || self.count == MOST_PACKETS
    }

    /// Whether `packet` is of the flow that `first`, the run's first packet, is of.
    #[must_use]
    pub fn is_of_flow(&self, first: &[u8], packet: &[u8], segment: &Segment) -> bool {
        self.first.transport == segment.transport
            && are_between_the_same(first, packet)
            && ports_of(first, self.first.transport_at) == ports_of(packet, segment.transport_at)
    }

    /// Takes in a packet of the flow, if it continues the run. `first` is the run's first packet.
    pub fn join(&mut self, first: &[u8], packet: &[u8], segment: &Segment) -> bool {
        let size = self.first.payload_len();
        let fits = !self.is_closed()
            && segment.payload_at == self.first.payload_at
            && segment.payload_len() <= size
            && self.first.payload_at.saturating_add(self.payload).saturating_add(segment.payload_len()) <= MOST_BYTES;
        if !fits || !self.continues(segment, first) || !has_same_headers(first, packet, segment) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.payload = self.payload.saturating_add(segment.payload_len());
        self.pushes = segment.pushes;
        self.is_closed = segment.pushes || segment.payload_len() < size;
        true
    }

    /// Whether its numbers are the next ones.
    fn continues(&self, segment: &Segment, first: &[u8]) -> bool {
        let id = u16::try_from(self.count).map_or(segment.id, |count| self.first.id.wrapping_add(count));
        // A packet that is never fragmented needs no number of its own (RFC 6864, 4.1), and many send zero.
        let is_atomic = word(first, field::IPV4_FRAGMENT).is_some_and(|word| word & DONT_FRAGMENT != 0);
        let id_continues =
            self.first.transport_at == IPV6_HEADER || segment.id == id || (is_atomic && segment.id == self.first.id);
        let payload = u32::try_from(self.payload).unwrap_or(u32::MAX);
        let is_next = match segment.transport {
            Transport::Tcp => segment.sequence == self.first.sequence.wrapping_add(payload),
            Transport::Udp => true,
        };
        id_continues && is_next
    }

    /// The headers of the whole, behind the kernel's own. `first` is the run's first packet.
    #[must_use]
    pub fn headers(&self, first: &[u8]) -> Option<Headers> {
        let Segment { transport, transport_at, payload_at, .. } = self.first;
        let mut headers = Headers { bytes: [0; VNET_HEADER + MOST_HEADERS], len: VNET_HEADER.checked_add(payload_at)? };
        let (vnet, packet) = headers.bytes.split_first_chunk_mut::<VNET_HEADER>()?;
        let packet = packet.get_mut(..payload_at)?;
        packet.copy_from_slice(first.get(..payload_at)?);
        let len = payload_at.checked_add(self.payload)?;
        put_ip_length(packet, len, transport_at)?;
        let body_len = len.checked_sub(transport_at)?;
        let partial = pseudo_header(packet, transport, body_len)?.fold();
        let body = packet.get_mut(transport_at..)?;
        match transport {
            Transport::Tcp if self.pushes => *body.get_mut(field::TCP_FLAGS)? |= flag::PSH,
            Transport::Tcp => {}
            Transport::Udp => put_word(body, field::UDP_LENGTH, u16::try_from(body_len).ok()?)?,
        }
        let at = transport.checksum_at();
        put_word(body, at..at.checked_add(2)?, partial)?;
        *vnet = VnetHeader {
            flags: NEEDS_CHECKSUM,
            gso: if self.count == 1 { gso::NONE } else { self.kind() },
            header_len: u16::try_from(payload_at).ok()?,
            gso_size: if self.count == 1 { 0 } else { u16::try_from(self.first.payload_len()).ok()? },
            checksum_start: u16::try_from(transport_at).ok()?,
            checksum_offset: u16::try_from(at).ok()?,
        }
        .emit();
        Some(headers)
    }

    const fn kind(&self) -> u8 {
        match (self.first.transport, self.first.transport_at) {
            (Transport::Udp, _) => gso::UDP,
            (Transport::Tcp, IPV4_HEADER) => gso::TCP_IPV4,
            (Transport::Tcp, _) => gso::TCP_IPV6,
        }
    }
}

fn ports_of(packet: &[u8], transport_at: usize) -> Option<&[u8]> {
    packet.get(transport_at..)?.get(field::PORTS)
}

/// Headers to write in front of what the packets carry.
#[derive(Clone, Debug)]
pub struct Headers {
    bytes: [u8; VNET_HEADER + MOST_HEADERS],
    len: usize,
}

impl Headers {
    /// For a packet that is written as it is: none but the kernel's own, all zero.
    #[must_use]
    pub const fn plain() -> Self {
        Self { bytes: [0; VNET_HEADER + MOST_HEADERS], len: VNET_HEADER }
    }

    /// Their bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether two packets' headers differ only in what differs between the parts of a whole: lengths, identification,
/// sequence number, checksums and `PSH`.
fn has_same_headers(first: &[u8], packet: &[u8], segment: &Segment) -> bool {
    let same = |range: std::ops::Range<usize>| match (first.get(range.clone()), packet.get(range)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    };
    let at = segment.transport_at;
    let ip = if at == IPV4_HEADER {
        // Version, traffic class; fragment, hop limit, protocol; addresses.
        same(0..2) && same(6..10) && same(12..20)
    } else {
        // Version, traffic class, flow label; next header, hop limit, addresses.
        same(0..4) && same(6..40)
    };
    let body = |range: std::ops::Range<usize>| same(at.saturating_add(range.start)..at.saturating_add(range.end));
    let transport = match segment.transport {
        Transport::Udp => body(0..4),
        Transport::Tcp => {
            let flags = at.saturating_add(field::TCP_FLAGS);
            let flags = |packet: &[u8]| packet.get(flags).map(|flags| flags & !flag::PSH);
            // Ports; acknowledgement, data offset; window; urgent pointer and options.
            body(0..4)
                && body(8..13)
                && flags(first) == flags(packet)
                && body(14..16)
                && body(18..segment.payload_at.saturating_sub(at))
        }
    };
    ip && transport
}

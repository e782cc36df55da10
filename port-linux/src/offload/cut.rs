// SPDX-License-Identifier: BSD-2-Clause
//! Cutting a super-segment into packets as the kernel would (net/ipv4/tcp_offload.c, udp_offload.c): lengths, IPv4
//! identification, sequence numbers, checksums; `CWR` stays with the first packet (RFC 3168, 6.1.2: it acknowledges one
//! mark), `FIN` and `PSH` with the last.

use super::sum::Sum;
use super::{
    IPV4_HEADER, NEEDS_CHECKSUM, TCP_HEADER, Transport, UDP_HEADER, VNET_HEADER, VnetHeader, field, flag, gso,
    put_ip_length, put_word, word,
};

/// The longest that the kernel hands over: 64 KiB behind the header.
const BUFFER: usize = VNET_HEADER + (1 << 16);

/// One read of the device, and how far it has been cut.
#[derive(Debug)]
pub struct Cutter {
    buffer: Box<[u8]>,
    /// Where the super-segment or packet ends in `buffer`; it begins behind the header.
    end: usize,
    rest: Rest,
}

/// What is still to be handed out.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    /// The packet as it is.
    Whole,
    /// Segments from this one on.
    Segments {
        shape: Shape,
        next: usize,
    },
}

/// How a super-segment is made.
#[derive(Clone, Copy, Debug)]
struct Shape {
    transport: Transport,
    /// Where the transport's header begins, and where what it carries does.
    transport_at: usize,
    payload_at: usize,
    /// Bytes each packet carries, but the last.
    segment: usize,
}

impl Cutter {
    /// Nothing to cut.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into_boxed_slice(), end: VNET_HEADER, rest: Rest::Nothing }
    }

    /// Whether all of the last read was handed out.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Where to read to.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Takes what was read: `len` bytes. False, and nothing to hand out, when it cannot be what the kernel hands over.
    pub fn take(&mut self, len: usize) -> bool {
        self.end = len.min(self.buffer.len());
        let rest = self.begin();
        self.rest = rest.unwrap_or(Rest::Nothing);
        rest.is_some()
    }

    fn begin(&mut self) -> Option<Rest> {
        let (header, packet) = self.buffer.get_mut(..self.end)?.split_first_chunk_mut::<VNET_HEADER>()?;
        let header = VnetHeader::parse(header);
        if header.gso == gso::NONE {
            if header.flags & NEEDS_CHECKSUM != 0 {
                complete_checksum(packet, header)?;
            }
            return Some(Rest::Whole);
        }
        Some(Rest::Segments { shape: Shape::read(packet, header)?, next: 0 })
    }

    /// Writes the next packet to `out` and says its length; `None` when there is none. A packet longer than `out` is cut
    /// off.
    pub fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        let packet = self.buffer.get(VNET_HEADER..self.end).unwrap_or_default();
        match self.rest {
            Rest::Nothing => None,
            Rest::Whole => {
                self.rest = Rest::Nothing;
                let len = packet.len().min(out.len());
                out.get_mut(..len)?.copy_from_slice(packet.get(..len)?);
                Some(len)
            }
            Rest::Segments { shape, next } => {
                let after = next.saturating_add(1);
                let is_last = shape.begin_of(after) >= packet.len();
                self.rest = if is_last { Rest::Nothing } else { Rest::Segments { shape, next: after } };
                shape.write(packet, next, is_last, out)
            }
        }
    }
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new()
    }
}

impl Shape {
    /// None for what is no super-segment.
    fn read(packet: &[u8], header: VnetHeader) -> Option<Self> {
        let transport = match header.gso & !gso::ECN {
            gso::TCP_IPV4 | gso::TCP_IPV6 => Transport::Tcp,
            gso::UDP => Transport::Udp,
            _ => return None,
        };
        let transport_at = usize::from(header.checksum_start);
        let header_len = match transport {
            Transport::Tcp => {
                let offset = packet.get(transport_at.checked_add(field::TCP_DATA_OFFSET)?)?;
                usize::from(offset >> 4).checked_mul(4).filter(|len| *len >= TCP_HEADER)?
            }
            Transport::Udp => UDP_HEADER,
        };
        let payload_at = transport_at.checked_add(header_len)?;
        let segment = usize::from(header.gso_size);
        let is_sound = transport_at >= IPV4_HEADER && segment > 0 && payload_at < packet.len();
        is_sound.then_some(Self { transport, transport_at, payload_at, segment })
    }

    /// Where what packet number `index` carries begins.
    fn begin_of(&self, index: usize) -> usize {
        self.payload_at.saturating_add(index.saturating_mul(self.segment))
    }

    fn write(&self, whole: &[u8], index: usize, is_last: bool, out: &mut [u8]) -> Option<usize> {
        let begin = self.begin_of(index);
        let payload = whole.get(begin..begin.saturating_add(self.segment).min(whole.len()))?;
        let len = self.payload_at.saturating_add(payload.len());
        let Some(packet) = out.get_mut(..len) else {
            // Longer than a packet's buffer: its front, whose header tells.
            let front = out.len();
            out.copy_from_slice(whole.get(..front)?);
            return Some(front);
        };
        let (headers, room) = packet.split_at_mut_checked(self.payload_at)?;
        headers.copy_from_slice(whole.get(..self.payload_at)?);
        room.copy_from_slice(payload);
        let number = u32::try_from(index).ok()?;
        if headers.first()? >> 4 == 4 {
            let id = word(headers, field::IPV4_ID)?.wrapping_add(u16::try_from(index).ok()?);
            put_word(headers, field::IPV4_ID, id)?;
        }
        put_ip_length(headers, len, self.transport_at)?;
        let transport = headers.get_mut(self.transport_at..)?;
        match self.transport {
            Transport::Tcp => {
                let skipped = number.checked_mul(u32::try_from(self.segment).ok()?)?;
                let sequence = transport.get_mut(field::TCP_SEQUENCE)?;
                let first = u32::from_be_bytes((&*sequence).try_into().ok()?);
                sequence.copy_from_slice(&first.wrapping_add(skipped).to_be_bytes());
                let flags = transport.get_mut(field::TCP_FLAGS)?;
                if index > 0 {
                    *flags &= !flag::CWR;
                }
                if !is_last {
                    *flags &= !(flag::FIN | flag::PSH);
                }
            }
            Transport::Udp => {
                let len = UDP_HEADER.saturating_add(payload.len());
                put_word(transport, field::UDP_LENGTH, u16::try_from(len).ok()?)?;
            }
        }
        self.write_checksum(whole.len(), packet)?;
        Some(len)
    }

    /// The checksum's field holds the sum of the pseudo-header with the length of the whole.
    fn write_checksum(&self, whole: usize, packet: &mut [u8]) -> Option<()> {
        let at = self.transport.checksum_at();
        let transport = packet.get_mut(self.transport_at..)?;
        let old = u16::try_from(whole.checked_sub(self.transport_at)?).ok()?;
        let new = u16::try_from(transport.len()).ok()?;
        let sum = Sum::of(transport).and_word(!old).and_word(new);
        put_word(transport, at..at.checked_add(2)?, finished(sum, self.transport))
    }
}

/// The checksum of what was summed; UDP writes zero, which means none there, as its other form.
fn finished(sum: Sum, transport: Transport) -> u16 {
    match (!sum.fold(), transport) {
        (0, Transport::Udp) => 0xffff,
        (checksum, _) => checksum,
    }
}

/// Finishes the checksum of a packet that is none to cut.
fn complete_checksum(packet: &mut [u8], header: VnetHeader) -> Option<()> {
    let covered = packet.get_mut(usize::from(header.checksum_start)..)?;
    let at = usize::from(header.checksum_offset);
    let transport = if at == field::UDP_CHECKSUM { Transport::Udp } else { Transport::Tcp };
    let checksum = finished(Sum::of(covered), transport);
    put_word(covered, at..at.checked_add(2)?, checksum)
}

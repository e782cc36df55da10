// SPDX-License-Identifier: BSD-2-Clause
//! TCP segments as the packets a tunnel sees: IPv4 and TCP headers with Linux's options, and zeros as payload.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

/// Bytes of an IPv4 header without options.
pub const IP_HEADER: usize = 20;

/// Bytes of a TCP header with the timestamp option, which Linux sends with every segment, padded to four bytes.
pub const TCP_HEADER: usize = 32;

/// What windows are shifted by: Linux's choice for receive buffers of 6 MB.
const WINDOW_SHIFT: u8 = 7;

/// Time to live as Linux sets it.
const HOP_LIMIT: u8 = 64;

/// The congestion field of an IP header (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// The sender cannot read marks.
    #[default]
    Not,
    /// The sender reads marks.
    Capable,
    /// Somebody on the way saw congestion.
    Experienced,
}

impl Ecn {
    const fn bits(self) -> u8 {
        match self {
            Self::Not => 0,
            Self::Capable => 0b10,
            Self::Experienced => 0b11,
        }
    }

    const fn of(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Not,
            0b11 => Self::Experienced,
            _ => Self::Capable,
        }
    }
}

/// One segment. Sequence numbers are the header's 32 bits; [`widen`] makes stream positions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// From which port.
    pub source: u16,
    /// To which port.
    pub destination: u16,
    /// Number of the first payload byte.
    pub sequence: u32,
    /// The next byte awaited, once one is.
    pub acknowledged: Option<u32>,
    /// Opens the connection.
    pub is_syn: bool,
    /// The largest payload taken, without options; in a SYN.
    pub max_payload: Option<u16>,
    /// Bytes that may be sent beyond the acknowledged.
    pub window_bytes: u64,
    /// Ranges received out of order, or a range received twice first (RFC 2883).
    pub sacks: [Option<(u32, u32)>; 3],
    /// The sender's clock in milliseconds, and the other's last one seen.
    pub timestamps: (u32, u32),
    /// Bytes of payload.
    pub payload: usize,
    /// The IP header's congestion field.
    pub ecn: Ecn,
    /// ECN echo: the receiver saw a mark.
    pub is_echo: bool,
    /// The sender has slowed down.
    pub is_reduced: bool,
}

impl Segment {
    /// The packet from one address to another.
    #[must_use]
    pub fn emit(&self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        static ZEROS: [u8; 1500] = [0; 1500];
        let window = if self.is_syn { self.window_bytes } else { self.window_bytes >> WINDOW_SHIFT };
        let (tsval, tsecr) = self.timestamps;
        let tcp = TcpRepr {
            src_port: self.source,
            dst_port: self.destination,
            control: if self.is_syn { TcpControl::Syn } else { TcpControl::None },
            seq_number: seq(self.sequence),
            ack_number: self.acknowledged.map(seq),
            window_len: u16::try_from(window).unwrap_or(u16::MAX),
            window_scale: self.is_syn.then_some(WINDOW_SHIFT),
            max_seg_size: self.max_payload,
            sack_permitted: self.is_syn,
            sack_ranges: self.sacks,
            timestamp: Some(TcpTimestampRepr { tsval, tsecr }),
            payload: &ZEROS[..self.payload],
        };
        let ip = Ipv4Repr {
            src_addr: from,
            dst_addr: to,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: HOP_LIMIT,
        };
        let mut bytes = vec![0; ip.buffer_len() + tcp.buffer_len()];
        let ignored = ChecksumCapabilities::ignored();
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ignored);
        // The two low bits of the second byte; nothing but headers is summed there.
        bytes[1] = self.ecn.bits();
        let mut packet = TcpPacket::new_unchecked(&mut bytes[IP_HEADER..]);
        tcp.emit(&mut packet, &IpAddress::Ipv4(from), &IpAddress::Ipv4(to), &ignored);
        packet.set_ece(self.is_echo);
        packet.set_cwr(self.is_reduced);
        bytes
    }

    /// The segment in an IPv4 packet; None when it holds none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new_checked(bytes).ok()?;
        if ip.next_header() != IpProtocol::Tcp {
            return None;
        }
        let (from, to) = (IpAddress::Ipv4(ip.src_addr()), IpAddress::Ipv4(ip.dst_addr()));
        let packet = TcpPacket::new_checked(ip.payload()).ok()?;
        let tcp = TcpRepr::parse(&packet, &from, &to, &ChecksumCapabilities::ignored()).ok()?;
        let is_syn = tcp.control == TcpControl::Syn;
        let shift = if is_syn { 0 } else { WINDOW_SHIFT };
        Some(Self {
            source: tcp.src_port,
            destination: tcp.dst_port,
            sequence: number(tcp.seq_number),
            acknowledged: tcp.ack_number.map(number),
            is_syn,
            max_payload: tcp.max_seg_size,
            window_bytes: u64::from(tcp.window_len) << shift,
            sacks: tcp.sack_ranges,
            timestamps: tcp.timestamp.map_or((0, 0), |stamp| (stamp.tsval, stamp.tsecr)),
            payload: tcp.payload.len(),
            ecn: Ecn::of(bytes[1]),
            is_echo: packet.ece(),
            is_reduced: packet.cwr(),
        })
    }
}

/// The stream position whose low 32 bits are `low` and that is nearest to `near`.
#[must_use]
pub fn widen(low: u32, near: u64) -> u64 {
    let base = near & !0xffff_ffff;
    let candidates = [base.checked_sub(1 << 32), Some(base), base.checked_add(1 << 32)];
    let whole = candidates.into_iter().flatten().map(|high| high | u64::from(low));
    whole.min_by_key(|position| position.abs_diff(near)).unwrap_or(u64::from(low))
}

/// The low 32 bits of a stream position.
#[must_use]
pub fn narrow(position: u64) -> u32 {
    let [a, b, c, d, ..] = position.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn seq(number: u32) -> TcpSeqNumber {
    TcpSeqNumber(number.cast_signed())
}

const fn number(seq: TcpSeqNumber) -> u32 {
    seq.0.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_back_as_it_was_written() {
        let [from, to] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let data = Segment {
            source: 5_201,
            destination: 40_000,
            sequence: 0xffff_fff0,
            acknowledged: Some(1),
            window_bytes: 64 << 10,
            sacks: [Some((10, 20)), Some((30, 40)), None],
            timestamps: (7, 8),
            payload: 100,
            ecn: Ecn::Capable,
            is_echo: true,
            ..Segment::default()
        };
        let ports = Segment { source: 1, destination: 2, ..Segment::default() };
        let syn = Segment { is_syn: true, max_payload: Some(1_460), window_bytes: 64_240, ..ports };
        for segment in [data, syn] {
            assert_eq!(Segment::parse(&segment.emit(from, to)), Some(segment));
        }
        assert_eq!(Segment::default().emit(from, to).len(), IP_HEADER + TCP_HEADER);
    }

    #[test]
    fn positions_are_widened_across_the_wrap() {
        assert_eq!(widen(5, (1 << 32) - 10), (1 << 32) + 5);
        assert_eq!(widen(0xffff_fff0, (1 << 32) + 3), (1 << 32) - 16);
        assert_eq!(widen(7, 3), 7);
    }
}

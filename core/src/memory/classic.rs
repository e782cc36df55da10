// SPDX-License-Identifier: BSD-2-Clause
//! The classic wire format: the 28-byte header of MLVPN 2.3.
//!
//! All fields are big-endian but `bits`, which MLVPN packs with compiler bit-fields and sends as a little-endian
//! machine lays them out; that form is the wire format here on every machine.

use crate::memory::bytes::{part, set};
use crate::words::ids::{FlowId, Order};
use crate::words::limits::{CLASSIC_HEADER, TAG};

/// Protocol version in the header's lowest four bits.
pub const VERSION: u16 = 1;

/// The timestamp that means "none": never sent as a time, where it becomes 0.
pub const NO_TIMESTAMP: u16 = u16::MAX;

/// The first byte of what may be a classic datagram: the high half of a length that is never so great. What begins with
/// more is another protocol's.
pub const MAX_FIRST_BYTE: u8 = 0x7f;

/// Body of an AUTH packet.
pub const AUTH_BODY: &[u8; 2] = b"AU";

/// Body of an AUTH_OK packet.
pub const AUTH_OK_BODY: &[u8; 2] = b"OK";

/// Where each field lies.
mod field {
    use core::ops::Range;

    pub(super) const LEN: Range<usize> = 0..2;
    pub(super) const BITS: Range<usize> = 2..4;
    pub(super) const TIMESTAMP: Range<usize> = 4..6;
    pub(super) const TIMESTAMP_REPLY: Range<usize> = 6..8;
    pub(super) const FLOW: Range<usize> = 8..12;
    pub(super) const COUNTER: Range<usize> = 12..20;
    pub(super) const ORDER: Range<usize> = 20..28;

    pub(super) const VERSION_MASK: u16 = 0x000f;
    pub(super) const KIND_SHIFT: u16 = 4;
    pub(super) const KIND_MASK: u16 = 0x03f0;
    pub(super) const ORDERED: u16 = 0x0400;
}

const _: () = assert!(field::ORDER.end == CLASSIC_HEADER);

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A client asks to bring a link up.
    Auth = 0,
    /// The server agrees.
    AuthOk = 1,
    /// The link is alive.
    KeepAlive = 2,
    /// An inner packet.
    Data = 3,
    /// The link goes down now.
    Disconnect = 4,
}

impl Kind {
    const fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Auth),
            1 => Some(Self::AuthOk),
            2 => Some(Self::KeepAlive),
            3 => Some(Self::Data),
            4 => Some(Self::Disconnect),
            _ => None,
        }
    }
}

/// The decoded header. Not authenticated by the classic protocol, except `flow` and `counter`, which are the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes after the header, tag included.
    pub body_len: u16,
    /// What the packet is for.
    pub kind: Kind,
    /// Whether the receiver may hold the packet to restore order.
    pub ordered: bool,
    /// The sender's clock, milliseconds modulo 65,536.
    pub timestamp: Option<u16>,
    /// The receiver's own timestamp come back, advanced by how long it was held.
    pub timestamp_reply: Option<u16>,
    /// Which run of the counter this is.
    pub flow: FlowId,
    /// The packet's number on its link within the flow.
    pub counter: u64,
    /// The packet's number among all data packets of the tunnel; 0 on others.
    pub order: Order,
}

/// Why a datagram is no classic packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Shorter than a header, or its length field is not the length it has.
    Length,
    /// Another version than 1.
    Version,
    /// A packet type that does not exist.
    Kind,
}

impl Header {
    /// Decodes the header of `datagram`, whose length must be exactly what the header says.
    ///
    /// The five unused bits are ignored, as MLVPN 2.3 ignores them.
    pub fn parse(datagram: &[u8]) -> Result<Self, HeaderError> {
        let bytes: &[u8; CLASSIC_HEADER] = datagram.first_chunk().ok_or(HeaderError::Length)?;
        let body_len = u16::from_be_bytes(part(bytes, field::LEN));
        if datagram.len().checked_sub(CLASSIC_HEADER) != Some(usize::from(body_len)) {
            return Err(HeaderError::Length);
        }
        let bits = u16::from_le_bytes(part(bytes, field::BITS));
        if bits & field::VERSION_MASK != VERSION {
            return Err(HeaderError::Version);
        }
        let kind = (bits & field::KIND_MASK) >> field::KIND_SHIFT;
        Ok(Self {
            body_len,
            kind: Kind::from_number(kind).ok_or(HeaderError::Kind)?,
            ordered: bits & field::ORDERED != 0,
            timestamp: timestamp(u16::from_be_bytes(part(bytes, field::TIMESTAMP))),
            timestamp_reply: timestamp(u16::from_be_bytes(part(bytes, field::TIMESTAMP_REPLY))),
            flow: FlowId(u32::from_be_bytes(part(bytes, field::FLOW))),
            counter: u64::from_be_bytes(part(bytes, field::COUNTER)),
            order: Order(u64::from_be_bytes(part(bytes, field::ORDER))),
        })
    }

    /// Encodes the header.
    #[must_use]
    pub fn emit(&self) -> [u8; CLASSIC_HEADER] {
        let mut bytes = [0; CLASSIC_HEADER];
        let ordered = if self.ordered { field::ORDERED } else { 0 };
        let bits = VERSION | ((self.kind as u16) << field::KIND_SHIFT) | ordered;
        set(&mut bytes, field::LEN, &self.body_len.to_be_bytes());
        set(&mut bytes, field::BITS, &bits.to_le_bytes());
        set(&mut bytes, field::TIMESTAMP, &self.timestamp.unwrap_or(NO_TIMESTAMP).to_be_bytes());
        set(&mut bytes, field::TIMESTAMP_REPLY, &self.timestamp_reply.unwrap_or(NO_TIMESTAMP).to_be_bytes());
        set(&mut bytes, field::FLOW, &self.flow.0.to_be_bytes());
        set(&mut bytes, field::COUNTER, &self.counter.to_be_bytes());
        set(&mut bytes, field::ORDER, &self.order.0.to_be_bytes());
        bytes
    }

    /// The nonce of the packet: counter and flow, both little-endian on every machine, then zeros.
    #[must_use]
    pub fn nonce(&self) -> [u8; 24] {
        let mut nonce = [0; 24];
        set(&mut nonce, 0..8, &self.counter.to_le_bytes());
        set(&mut nonce, 8..12, &self.flow.0.to_le_bytes());
        nonce
    }

    /// Whether the body is long enough to hold a tag.
    #[must_use]
    pub const fn has_tag(&self) -> bool {
        self.body_len as usize >= TAG
    }
}

/// The timestamp of `millis` on the wire: modulo 65,536, and never the value that means "none".
#[must_use]
pub const fn wire_timestamp(millis: u64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "the wire carries the clock modulo 65,536")]
    let short = millis as u16;
    if short == NO_TIMESTAMP { 0 } else { short }
}

fn timestamp(value: u16) -> Option<u16> {
    (value != NO_TIMESTAMP).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        body_len: 3,
        kind: Kind::Disconnect,
        ordered: true,
        timestamp: Some(0x0102),
        timestamp_reply: None,
        flow: FlowId(0x0304_0506),
        counter: 0x0708_090a_0b0c_0d0e,
        order: Order(0x0f10_1112_1314_1516),
    };

    #[test]
    fn each_field_lies_where_mlvpn_2_3_puts_it() {
        let expected = [
            0, 3, 0x41, 0x04, 1, 2, 0xff, 0xff, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
        ];
        assert_eq!(HEADER.emit(), expected);
        let mut datagram = [0; CLASSIC_HEADER + 3];
        datagram[..CLASSIC_HEADER].copy_from_slice(&expected);
        assert_eq!(Header::parse(&datagram), Ok(HEADER));
    }

    #[test]
    fn a_length_that_is_not_the_datagrams_own_is_refused() {
        let mut datagram = [0; CLASSIC_HEADER + 4];
        datagram[..CLASSIC_HEADER].copy_from_slice(&HEADER.emit());
        assert_eq!(Header::parse(&datagram), Err(HeaderError::Length));
        assert_eq!(Header::parse(&datagram[..CLASSIC_HEADER - 1]), Err(HeaderError::Length));
    }

    #[test]
    fn unknown_versions_and_types_are_refused_but_unused_bits_ignored() {
        let mut datagram = [0; CLASSIC_HEADER + 3];
        datagram[..CLASSIC_HEADER].copy_from_slice(&HEADER.emit());
        datagram[3] |= 0xf8;
        assert_eq!(Header::parse(&datagram), Ok(HEADER));
        datagram[2] = 0x51;
        assert_eq!(Header::parse(&datagram), Err(HeaderError::Kind));
        datagram[2] = 0x42;
        assert_eq!(Header::parse(&datagram), Err(HeaderError::Version));
    }

    #[test]
    fn the_timestamp_that_means_none_is_never_sent_as_a_time() {
        assert_eq!(wire_timestamp(65_535), 0);
        assert_eq!(wire_timestamp(65_536 + 7), 7);
    }
}

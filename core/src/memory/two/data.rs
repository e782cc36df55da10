// SPDX-License-Identifier: BSD-2-Clause
//! The data packet of protocol 2: 14 bytes of header, the sealed body, 16 bytes of tag.

use super::{MessageError, MessageKind, expect_kind};
use crate::memory::bytes::{part, set};
use crate::words::ids::SessionIndex;
use crate::words::limits::{MAX_LINKS, TAG};

/// Bytes of a data packet's header, which are its associated data.
pub const DATA_HEADER: usize = field::SEND_TIME.end;

/// Bytes a data packet adds to its body: header and tag.
pub const DATA_OVERHEAD: usize = DATA_HEADER + TAG;

/// Where each field lies.
mod field {
    use core::ops::Range;

    pub(super) const FLAGS: Range<usize> = 0..1;
    pub(super) const RECEIVER: Range<usize> = 1..4;
    pub(super) const LINK: Range<usize> = 4..5;
    pub(super) const COUNTER: Range<usize> = 5..9;
    pub(super) const ORDER: Range<usize> = 9..12;
    pub(super) const SEND_TIME: Range<usize> = 12..14;

    pub(super) const MARK: u8 = 0b1100_0000;
    pub(super) const RESERVED: u8 = 0b0011_0000;
    pub(super) const LINK_MASK: u8 = 0b0001_1111;
    pub(super) const DOMAIN_SHIFT: u8 = 5;
}

const _: () = assert!(DATA_OVERHEAD == 30);
const _: () = assert!(MAX_LINKS == field::LINK_MASK as usize + 1);

/// The flags in a data packet's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataFlags {
    /// The body begins with control frames.
    pub control: bool,
    /// The packet was sent before and not heard of.
    pub resend: bool,
    /// The packet is sent over several links at once.
    pub duplicate: bool,
    /// The sender's path said that it is congested (RFC 3168's CE).
    pub congestion: bool,
}

impl DataFlags {
    const fn from_bits(bits: u8) -> Self {
        Self { control: bits & 1 != 0, resend: bits & 2 != 0, duplicate: bits & 4 != 0, congestion: bits & 8 != 0 }
    }

    const fn bits(self) -> u8 {
        self.control as u8 | (self.resend as u8) << 1 | (self.duplicate as u8) << 2 | (self.congestion as u8) << 3
    }
}

/// A data packet's header: in the clear, authenticated as associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// What the packet is.
    pub flags: DataFlags,
    /// The receiver's name of the session.
    pub receiver: SessionIndex,
    /// The link it was sent over, below 32.
    pub link: u8,
    /// Among which packets it is ordered, below 8; 0 for none.
    pub domain: u8,
    /// The low half of the packet's counter on its link.
    pub counter_low: u32,
    /// The low 24 bits of its order number in its domain.
    pub order_low: u32,
    /// When it was sent, in units of 100 microseconds, modulo 65,536.
    pub send_time: u16,
}

impl DataHeader {
    /// Decodes the header of `datagram`, which must have room for a tag behind it.
    pub fn parse(datagram: &[u8]) -> Result<Self, MessageError> {
        expect_kind(datagram, MessageKind::Data)?;
        if datagram.len() < DATA_OVERHEAD {
            return Err(MessageError::Length);
        }
        let [first] = part(datagram, field::FLAGS);
        if first & field::RESERVED != 0 {
            return Err(MessageError::Reserved);
        }
        let [lane] = part(datagram, field::LINK);
        let [high, middle, low] = part(datagram, field::ORDER);
        Ok(Self {
            flags: DataFlags::from_bits(first),
            receiver: SessionIndex::from_bytes(part(datagram, field::RECEIVER)),
            link: lane & field::LINK_MASK,
            domain: lane >> field::DOMAIN_SHIFT,
            counter_low: u32::from_be_bytes(part(datagram, field::COUNTER)),
            order_low: u32::from_be_bytes([0, high, middle, low]),
            send_time: u16::from_be_bytes(part(datagram, field::SEND_TIME)),
        })
    }

    /// Encodes the header. Of `link`, `domain` and `order_low` only the bits that travel are used.
    #[must_use]
    pub fn emit(&self) -> [u8; DATA_HEADER] {
        let mut bytes = [0; DATA_HEADER];
        let lane = (self.link & field::LINK_MASK) | (self.domain << field::DOMAIN_SHIFT);
        let [_, order @ ..] = self.order_low.to_be_bytes();
        set(&mut bytes, field::FLAGS, &[field::MARK | self.flags.bits()]);
        set(&mut bytes, field::RECEIVER, &self.receiver.to_bytes());
        set(&mut bytes, field::LINK, &[lane]);
        set(&mut bytes, field::COUNTER, &self.counter_low.to_be_bytes());
        set(&mut bytes, field::ORDER, &order);
        set(&mut bytes, field::SEND_TIME, &self.send_time.to_be_bytes());
        bytes
    }
}

/// The session in a data packet's header.
pub(super) fn receiver_of(datagram: &[u8]) -> Option<SessionIndex> {
    Some(SessionIndex::from_bytes(*datagram.get(field::RECEIVER)?.first_chunk()?))
}

/// The nonce of a data packet: its link, then its whole counter. No two packets under one key share both.
#[must_use]
pub fn data_nonce(link: u8, counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    set(&mut nonce, 0..4, &u32::from(link).to_be_bytes());
    set(&mut nonce, 4..12, &counter.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_the_data_header_lies_where_the_protocol_puts_it() {
        let header = DataHeader {
            flags: DataFlags { control: true, resend: false, duplicate: true, congestion: false },
            receiver: SessionIndex::new(0x01_0203).expect("24 bits"),
            link: 31,
            domain: 5,
            counter_low: 0x0405_0607,
            order_low: 0x08_090a,
            send_time: 0x0b0c,
        };
        let bytes = header.emit();
        assert_eq!(bytes, [0xc5, 1, 2, 3, 0xbf, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let mut packet = [0; DATA_OVERHEAD];
        packet[..DATA_HEADER].copy_from_slice(&bytes);
        assert_eq!(DataHeader::parse(&packet), Ok(header));
        assert_eq!(DataHeader::parse(&packet[..DATA_OVERHEAD - 1]), Err(MessageError::Length));
        packet[0] |= 0x10;
        assert_eq!(DataHeader::parse(&packet), Err(MessageError::Reserved));
    }

    #[test]
    fn nonces_differ_in_link_and_in_the_whole_counter() {
        assert_eq!(data_nonce(3, 0x0102_0304_0506_0708), [0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The wire format of protocol 2: four handshake messages and the data header. `core/PROTOCOL.md` has the same as tables.
//!
//! Integers are big-endian. The first byte is at least 0x80, which no classic datagram's is. Reserved bits and bytes are
//! zero, and a message in which they are not is refused.

mod data;
mod handshake;

use crate::memory::bytes::{part, set};
use crate::words::ids::SessionIndex;
use crate::words::limits::TAG;
pub use data::{DATA_HEADER, DATA_OVERHEAD, DataFlags, DataHeader, data_nonce};
pub use handshake::{Initiation, Payload, Response, before_macs, set_mac1, set_mac2};

/// The version of the protocol spoken here.
pub const VERSION: u8 = 1;

/// Bytes of an X25519 public key (RFC 7748).
pub const PUBLIC_KEY: usize = 32;

/// Bytes of mac1 and of mac2: BLAKE2s with 16 bytes of output (RFC 7693).
pub const MAC: usize = 16;

/// Bytes of a cookie.
pub const COOKIE: usize = 16;

/// Bytes of the nonce under which a cookie is sealed (XChaCha20-Poly1305).
pub const COOKIE_NONCE: usize = 24;

/// Bytes of the payload inside both handshake messages, in the clear.
pub const PAYLOAD: usize = 12;

/// Bytes of an initiation's Noise message where the ends know each other's public keys.
pub const NOISE_KEYS: usize = PUBLIC_KEY + (PUBLIC_KEY + TAG) + (PAYLOAD + TAG);

/// Bytes of an initiation's Noise message where the ends share a secret.
pub const NOISE_SECRET: usize = PUBLIC_KEY + (PAYLOAD + TAG);

/// Bytes of a response's Noise message, in either pattern.
pub const NOISE_RESPONSE: usize = PUBLIC_KEY + (PAYLOAD + TAG);

/// Bytes of an initiation where the ends know each other's public keys.
pub const INITIATION_KEYS: usize = field::INITIATION_NOISE + NOISE_KEYS + MAC + MAC;

/// Bytes of an initiation where the ends share a secret.
pub const INITIATION_SECRET: usize = field::INITIATION_NOISE + NOISE_SECRET + MAC + MAC;

/// Bytes of a response, in either pattern.
pub const RESPONSE: usize = field::RESPONSE_NOISE.end + MAC;

/// Bytes of a cookie message.
pub const COOKIE_MESSAGE: usize = field::COOKIE_SEALED.end;

/// Bytes of a refusal.
pub const REFUSAL: usize = field::INDEX.end;

/// Where each field lies.
mod field {
    use core::ops::Range;

    use super::{COOKIE, COOKIE_NONCE, NOISE_RESPONSE, TAG};

    // All messages but data.
    pub(super) const TYPE: Range<usize> = 0..1;
    pub(super) const VERSION: Range<usize> = 1..2;
    pub(super) const PATTERN: Range<usize> = 2..3;
    /// All but a cookie message, which has reserved bytes from 1 on.
    pub(super) const RESERVED: Range<usize> = 3..4;
    /// Initiation and response: the sender's index. Cookie and refusal: the receiver's.
    pub(super) const INDEX: Range<usize> = 4..8;
    pub(super) const INITIATION_NOISE: usize = 8;
    pub(super) const RESPONSE_RECEIVER: Range<usize> = 8..12;
    pub(super) const RESPONSE_NOISE: Range<usize> = 12..12 + NOISE_RESPONSE;
    pub(super) const COOKIE_RESERVED: Range<usize> = 1..4;
    pub(super) const COOKIE_NONCE_AT: Range<usize> = 8..8 + COOKIE_NONCE;
    pub(super) const COOKIE_SEALED: Range<usize> = COOKIE_NONCE_AT.end..COOKIE_NONCE_AT.end + COOKIE + TAG;
    pub(super) const REFUSAL_REASON: Range<usize> = 1..2;
    pub(super) const REFUSAL_VERSION: Range<usize> = 2..3;

    // The payload inside the Noise messages.
    pub(super) const FEATURES: Range<usize> = 0..4;
    pub(super) const CHOSEN: Range<usize> = 4..8;
    pub(super) const MAX_LINKS: Range<usize> = 8..9;
    pub(super) const SENDER: Range<usize> = 9..12;
}

const _: () = assert!(field::SENDER.end == PAYLOAD);
// Whoever forges a source address must not make this end send more bytes there than the forger sends here.
const _: () = assert!(RESPONSE <= INITIATION_SECRET && INITIATION_SECRET <= INITIATION_KEYS);
const _: () = assert!(COOKIE_MESSAGE <= INITIATION_SECRET);
// A refusal answers any message that is long enough to say who sent it.
const _: () = assert!(REFUSAL == field::INDEX.end);

/// The largest initiation: what a buffer for one must hold.
pub const MAX_INITIATION: usize = INITIATION_KEYS;

/// What a datagram is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A handshake's first message.
    Initiation,
    /// A handshake's second message.
    Response,
    /// The demand to come again with a cookie.
    Cookie,
    /// Why an initiation was not answered with a response.
    Refusal,
    /// Everything sent under a session's keys.
    Data,
}

impl MessageKind {
    /// The kind of a datagram that begins with `first`; None for classic datagrams and unused types.
    #[must_use]
    pub const fn of(first: u8) -> Option<Self> {
        match first {
            0x80 => Some(Self::Initiation),
            0x81 => Some(Self::Response),
            0x82 => Some(Self::Cookie),
            0x83 => Some(Self::Refusal),
            0xc0.. => Some(Self::Data),
            _ => None,
        }
    }

    /// The message's first byte; a data packet's without flags.
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        match self {
            Self::Initiation => 0x80,
            Self::Response => 0x81,
            Self::Cookie => 0x82,
            Self::Refusal => 0x83,
            Self::Data => 0xc0,
        }
    }
}

/// Why a datagram is no message of protocol 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Another first byte than the message's.
    Kind,
    /// Not the length the message has.
    Length,
    /// A version other than [`VERSION`], which is this one.
    Version(u8),
    /// A handshake pattern that does not exist.
    Pattern(u8),
    /// A reserved bit is set, an index is above 24 bits, or a number out of its range.
    Reserved,
}

/// Which Noise handshake two ends do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Pattern {
    /// `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`: each end knows the other's public key.
    Keys = 1,
    /// `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`: both share one secret.
    Secret = 2,
}

impl Pattern {
    const fn from_number(number: u8) -> Result<Self, MessageError> {
        match number {
            1 => Ok(Self::Keys),
            2 => Ok(Self::Secret),
            other => Err(MessageError::Pattern(other)),
        }
    }

    /// Bytes of the whole initiation.
    #[must_use]
    pub const fn initiation_len(self) -> usize {
        match self {
            Self::Keys => INITIATION_KEYS,
            Self::Secret => INITIATION_SECRET,
        }
    }

    /// Bytes of the initiation's Noise message.
    #[must_use]
    pub const fn noise_len(self) -> usize {
        match self {
            Self::Keys => NOISE_KEYS,
            Self::Secret => NOISE_SECRET,
        }
    }
}

/// The demand to repeat an initiation with a cookie, from a responder under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieMessage {
    /// The initiation's sender.
    pub receiver: SessionIndex,
    /// Under which the cookie is sealed; random.
    pub nonce: [u8; COOKIE_NONCE],
    /// The cookie, then its tag.
    pub sealed: [u8; COOKIE + TAG],
}

impl CookieMessage {
    /// Decodes a cookie message, which must fill `datagram`.
    pub fn parse(datagram: &[u8]) -> Result<Self, MessageError> {
        expect_kind(datagram, MessageKind::Cookie)?;
        if datagram.len() != COOKIE_MESSAGE {
            return Err(MessageError::Length);
        }
        if part(datagram, field::COOKIE_RESERVED) != [0; 3] {
            return Err(MessageError::Reserved);
        }
        Ok(Self {
            receiver: parse_index(part(datagram, field::INDEX))?,
            nonce: part(datagram, field::COOKIE_NONCE_AT),
            sealed: part(datagram, field::COOKIE_SEALED),
        })
    }

    /// Encodes the cookie message.
    #[must_use]
    pub fn emit(&self) -> [u8; COOKIE_MESSAGE] {
        let mut message = [0; COOKIE_MESSAGE];
        set(&mut message, field::TYPE, &[MessageKind::Cookie.first_byte()]);
        set(&mut message, field::INDEX, &self.receiver.value().to_be_bytes());
        set(&mut message, field::COOKIE_NONCE_AT, &self.nonce);
        set(&mut message, field::COOKIE_SEALED, &self.sealed);
        message
    }
}

/// Why a responder refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalReason {
    /// It does not speak the initiation's version.
    Version = 1,
    /// It does not do this handshake.
    Pattern = 2,
    /// It lacks a feature the initiator cannot do without.
    Feature = 3,
}

impl RefusalReason {
    const fn from_number(number: u8) -> Result<Self, MessageError> {
        match number {
            1 => Ok(Self::Version),
            2 => Ok(Self::Pattern),
            3 => Ok(Self::Feature),
            _ => Err(MessageError::Reserved),
        }
    }
}

/// Says why an initiation was not answered. Anyone can send one: it is to be logged, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The highest version the refuser speaks.
    pub version: u8,
    /// The initiation's sender.
    pub receiver: SessionIndex,
}

impl Refusal {
    /// The refusal of `datagram`, in which the sender's index is read without trusting anything else. None when it is too
    /// short to be answered.
    #[must_use]
    pub fn answer(datagram: &[u8], reason: RefusalReason) -> Option<Self> {
        let index = datagram.get(field::INDEX)?.first_chunk()?;
        Some(Self { reason, version: VERSION, receiver: parse_index(*index).ok()? })
    }

    /// Decodes a refusal, which must fill `datagram`.
    pub fn parse(datagram: &[u8]) -> Result<Self, MessageError> {
        expect_kind(datagram, MessageKind::Refusal)?;
        if datagram.len() != REFUSAL {
            return Err(MessageError::Length);
        }
        let [reason] = part(datagram, field::REFUSAL_REASON);
        let [version] = part(datagram, field::REFUSAL_VERSION);
        if part(datagram, field::RESERVED) != [0] {
            return Err(MessageError::Reserved);
        }
        let receiver = parse_index(part(datagram, field::INDEX))?;
        Ok(Self { reason: RefusalReason::from_number(reason)?, version, receiver })
    }

    /// Encodes the refusal.
    #[must_use]
    pub fn emit(&self) -> [u8; REFUSAL] {
        let mut message = [0; REFUSAL];
        set(&mut message, field::TYPE, &[MessageKind::Refusal.first_byte()]);
        set(&mut message, field::REFUSAL_REASON, &[self.reason as u8]);
        set(&mut message, field::REFUSAL_VERSION, &[self.version]);
        set(&mut message, field::INDEX, &self.receiver.value().to_be_bytes());
        message
    }
}

fn expect_kind(datagram: &[u8], kind: MessageKind) -> Result<(), MessageError> {
    let first = *datagram.first().ok_or(MessageError::Length)?;
    if MessageKind::of(first) == Some(kind) { Ok(()) } else { Err(MessageError::Kind) }
}

/// The session or handshake a message is for, by the receiver's index in it; None for initiations, which name none, and
/// for what is no message. Nothing else of the message is looked at.
#[must_use]
pub fn receiver_of(datagram: &[u8]) -> Option<SessionIndex> {
    let range = match MessageKind::of(*datagram.first()?)? {
        MessageKind::Initiation => return None,
        MessageKind::Response => field::RESPONSE_RECEIVER,
        MessageKind::Cookie | MessageKind::Refusal => field::INDEX,
        MessageKind::Data => return data::receiver_of(datagram),
    };
    parse_index(*datagram.get(range)?.first_chunk()?).ok()
}

fn parse_index(bytes: [u8; 4]) -> Result<SessionIndex, MessageError> {
    SessionIndex::new(u32::from_be_bytes(bytes)).ok_or(MessageError::Reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(value: u32) -> SessionIndex {
        SessionIndex::new(value).expect("24 bits")
    }

    #[test]
    fn a_later_version_is_told_from_garbage_even_when_its_length_is_another() {
        let mut datagram = [0; 20];
        datagram[0] = 0x80;
        datagram[1] = 2;
        datagram[7] = 9;
        assert_eq!(Initiation::parse(&datagram), Err(MessageError::Version(2)));
        let refusal = Refusal::answer(&datagram, RefusalReason::Version).expect("an index stands there");
        assert_eq!(refusal.emit(), [0x83, 1, 1, 0, 0, 0, 0, 9]);
        assert_eq!(Refusal::parse(&refusal.emit()), Ok(refusal));
        assert_eq!(Refusal::answer(&datagram[..7], RefusalReason::Version), None);
    }

    #[test]
    fn indices_above_24_bits_are_refused() {
        let message = CookieMessage { receiver: index(7), nonce: [1; COOKIE_NONCE], sealed: [2; COOKIE + TAG] };
        let mut bytes = message.emit();
        assert_eq!(CookieMessage::parse(&bytes), Ok(message));
        bytes[4] = 1;
        assert_eq!(CookieMessage::parse(&bytes), Err(MessageError::Reserved));
    }

    #[test]
    fn no_classic_datagram_is_taken_for_one_of_protocol_2() {
        assert!((0..0x80).all(|first| MessageKind::of(first).is_none()));
        assert!((0x84..0xc0).all(|first| MessageKind::of(first).is_none()));
        for kind in [MessageKind::Initiation, MessageKind::Response, MessageKind::Cookie, MessageKind::Refusal] {
            assert_eq!(MessageKind::of(kind.first_byte()), Some(kind));
        }
    }
}

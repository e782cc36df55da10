// SPDX-License-Identifier: BSD-2-Clause
//! The two handshake messages of protocol 2, and the payload that both seal.

use super::{
    MAC, MAX_INITIATION, MessageError, MessageKind, NOISE_RESPONSE, PAYLOAD, Pattern, RESPONSE, VERSION, expect_kind,
    field, parse_index,
};
use crate::memory::bytes::{part, set};
use crate::words::ids::SessionIndex;
use crate::words::limits::MAX_LINKS;

/// A handshake's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiation<'a> {
    /// Which handshake it begins.
    pub pattern: Pattern,
    /// Where the response is to go.
    pub sender: SessionIndex,
    /// [`Pattern::noise_len`] bytes.
    pub noise: &'a [u8],
    /// Proves that the sender knows whom it writes to.
    pub mac1: [u8; MAC],
    /// Proves that the sender is where it says, or zeros.
    pub mac2: [u8; MAC],
}

impl<'a> Initiation<'a> {
    /// Decodes an initiation, which must fill `datagram`. The version is looked at before the length, so that a later
    /// version's is told from garbage.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MessageError> {
        let pattern = parse_start(datagram, MessageKind::Initiation)?;
        if datagram.len() != pattern.initiation_len() {
            return Err(MessageError::Length);
        }
        let noise_end = field::INITIATION_NOISE.saturating_add(pattern.noise_len());
        let mac2_at = noise_end.saturating_add(MAC);
        Ok(Self {
            pattern,
            sender: parse_index(part(datagram, field::INDEX))?,
            noise: datagram.get(field::INITIATION_NOISE..noise_end).ok_or(MessageError::Length)?,
            mac1: part(datagram, noise_end..mac2_at),
            mac2: part(datagram, mac2_at..datagram.len()),
        })
    }

    /// Encodes the initiation at the start of `out`; returns its length. None when `noise` has not the pattern's length.
    #[must_use]
    pub fn emit(&self, out: &mut [u8; MAX_INITIATION]) -> Option<usize> {
        if self.noise.len() != self.pattern.noise_len() {
            return None;
        }
        let len = self.pattern.initiation_len();
        let message = out.get_mut(..len)?;
        emit_start(message, MessageKind::Initiation, self.pattern, self.sender);
        let noise_end = field::INITIATION_NOISE.saturating_add(self.noise.len());
        set(message, field::INITIATION_NOISE..noise_end, self.noise);
        set(message, noise_end..noise_end.saturating_add(MAC), &self.mac1);
        set_mac2(message, self.mac2);
        Some(len)
    }
}

/// What a MAC covers: `message` without its last `macs` MACs. That is 2 for an initiation's mac1, 1 for its mac2 and for
/// a response's mac1.
#[must_use]
pub fn before_macs(message: &[u8], macs: usize) -> &[u8] {
    message.get(..message.len().saturating_sub(macs.saturating_mul(MAC))).unwrap_or_default()
}

/// Sets mac1 of an encoded initiation.
pub fn set_mac1(initiation: &mut [u8], mac: [u8; MAC]) {
    let end = initiation.len().saturating_sub(MAC);
    set(initiation, end.saturating_sub(MAC)..end, &mac);
}

/// Sets the last MAC of an encoded message: mac2 of an initiation, mac1 of a response.
pub fn set_mac2(message: &mut [u8], mac: [u8; MAC]) {
    let end = message.len();
    set(message, end.saturating_sub(MAC)..end, &mac);
}

/// A handshake's second message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Which handshake it ends.
    pub pattern: Pattern,
    /// By which the responder knows the session.
    pub sender: SessionIndex,
    /// The initiation's sender.
    pub receiver: SessionIndex,
    /// The Noise message.
    pub noise: [u8; NOISE_RESPONSE],
    /// Proves that the sender knows whom it answers.
    pub mac1: [u8; MAC],
}

impl Response {
    /// Decodes a response, which must fill `datagram`.
    pub fn parse(datagram: &[u8]) -> Result<Self, MessageError> {
        let pattern = parse_start(datagram, MessageKind::Response)?;
        if datagram.len() != RESPONSE {
            return Err(MessageError::Length);
        }
        Ok(Self {
            pattern,
            sender: parse_index(part(datagram, field::INDEX))?,
            receiver: parse_index(part(datagram, field::RESPONSE_RECEIVER))?,
            noise: part(datagram, field::RESPONSE_NOISE),
            mac1: part(datagram, field::RESPONSE_NOISE.end..RESPONSE),
        })
    }

    /// Encodes the response.
    #[must_use]
    pub fn emit(&self) -> [u8; RESPONSE] {
        let mut message = [0; RESPONSE];
        emit_start(&mut message, MessageKind::Response, self.pattern, self.sender);
        set(&mut message, field::RESPONSE_RECEIVER, &self.receiver.value().to_be_bytes());
        set(&mut message, field::RESPONSE_NOISE, &self.noise);
        set_mac2(&mut message, self.mac1);
        message
    }
}

/// What each end says inside its handshake message, sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the sender can do, a bit each.
    pub features: u32,
    /// What the session uses: the responder's choice, zero in an initiation.
    pub chosen: u32,
    /// Links the sender takes, 1 to 32.
    pub max_links: u8,
    /// The same index as in the clear part of the message, which is not authenticated there.
    pub sender: SessionIndex,
}

impl Payload {
    /// Decodes a payload.
    pub fn parse(bytes: &[u8; PAYLOAD]) -> Result<Self, MessageError> {
        let [max_links] = part(bytes, field::MAX_LINKS);
        if max_links == 0 || usize::from(max_links) > MAX_LINKS {
            return Err(MessageError::Reserved);
        }
        Ok(Self {
            features: u32::from_be_bytes(part(bytes, field::FEATURES)),
            chosen: u32::from_be_bytes(part(bytes, field::CHOSEN)),
            max_links,
            sender: SessionIndex::from_bytes(part(bytes, field::SENDER)),
        })
    }

    /// Encodes the payload.
    #[must_use]
    pub fn emit(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        set(&mut bytes, field::FEATURES, &self.features.to_be_bytes());
        set(&mut bytes, field::CHOSEN, &self.chosen.to_be_bytes());
        set(&mut bytes, field::MAX_LINKS, &[self.max_links]);
        set(&mut bytes, field::SENDER, &self.sender.to_bytes());
        bytes
    }
}

/// Checks type, version and the reserved byte, which initiation and response share; returns the pattern.
fn parse_start(datagram: &[u8], kind: MessageKind) -> Result<Pattern, MessageError> {
    expect_kind(datagram, kind)?;
    if datagram.len() < field::INDEX.end {
        return Err(MessageError::Length);
    }
    let [version] = part(datagram, field::VERSION);
    if version != VERSION {
        return Err(MessageError::Version(version));
    }
    let [pattern] = part(datagram, field::PATTERN);
    let pattern = Pattern::from_number(pattern)?;
    if part(datagram, field::RESERVED) != [0] {
        return Err(MessageError::Reserved);
    }
    Ok(pattern)
}

fn emit_start(message: &mut [u8], kind: MessageKind, pattern: Pattern, sender: SessionIndex) {
    set(message, field::TYPE, &[kind.first_byte()]);
    set(message, field::VERSION, &[VERSION]);
    set(message, field::PATTERN, &[pattern as u8]);
    set(message, field::RESERVED, &[0]);
    set(message, field::INDEX, &sender.value().to_be_bytes());
}

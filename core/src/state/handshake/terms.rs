// SPDX-License-Identifier: BSD-2-Clause
//! On what two ends must agree in a handshake, and what keeps them from it.

use crate::memory::two::{MessageError, PAYLOAD, Payload, RefusalReason};
use crate::state::session_key::HAS_AES;
use crate::words::ids::SessionIndex;
use crate::words::limits::MAX_LINKS;

/// Feature bit: AES-256-GCM in hardware at the sender's end.
pub const FEATURE_AES: u32 = 1;

/// Feature bits whose sender does without a peer that does not know them. The others it cannot do without.
pub const FEATURES_OPTIONAL: u32 = 0x0000_ffff;

/// Feature bits known here.
pub const FEATURES_KNOWN: u32 = FEATURE_AES;

/// Why a handshake message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It is no such message, or of another version. See [`HandshakeError::refusal`].
    Message(MessageError),
    /// This end does the other pattern: one end has keys configured, the other a shared secret.
    OtherPattern,
    /// The message is for someone else: the sender has another public key for this end, or another shared secret.
    WrongKey,
    /// The response did not open: this end and its peer have different secrets besides their keys.
    WrongSecret,
    /// The message did not open, though its sender knew whom it wrote to: damaged or forged.
    Forged,
    /// A response to no handshake that is under way here.
    NotAwaited,
    /// A key of low order or all zeros takes part, which would give a session that everyone can read.
    BadKey,
    /// Another claim of the same peer awaits its proof, and the sender of this one has not shown that it is where it says.
    Contended,
    /// The peer cannot do without these features, which are not known here.
    Features(u32),
}

impl HandshakeError {
    /// The reason to tell the initiator, if it should be told one. The answer is unauthenticated and to be rate-limited.
    #[must_use]
    pub const fn refusal(self) -> Option<RefusalReason> {
        match self {
            Self::Message(MessageError::Version(_)) => Some(RefusalReason::Version),
            Self::Message(MessageError::Pattern(_)) | Self::OtherPattern => Some(RefusalReason::Pattern),
            Self::Features(_) => Some(RefusalReason::Feature),
            _ => None,
        }
    }
}

impl From<MessageError> for HandshakeError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

/// What an end can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whether the CPU has instructions for AES and GCM. The port finds out.
    pub aes_in_hardware: bool,
    /// Links it takes, 1 to 32.
    pub max_links: u8,
}

impl Offer {
    pub(super) const fn features(self) -> u32 {
        if self.aes_in_hardware && HAS_AES { FEATURE_AES } else { 0 }
    }

    pub(super) fn payload(self, chosen: u32, sender: SessionIndex) -> [u8; PAYLOAD] {
        let most = u8::try_from(MAX_LINKS).unwrap_or(u8::MAX);
        Payload { features: self.features(), chosen, max_links: self.max_links.clamp(1, most), sender }.emit()
    }

    /// What `payload` offers, if this end knows all that its sender cannot do without.
    pub(super) fn of(payload: &Payload) -> Result<Self, HandshakeError> {
        let unknown = payload.features & !FEATURES_KNOWN & !FEATURES_OPTIONAL;
        if unknown != 0 {
            return Err(HandshakeError::Features(unknown));
        }
        Ok(Self { aes_in_hardware: payload.features & FEATURE_AES != 0, max_links: payload.max_links })
    }
}

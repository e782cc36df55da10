// SPDX-License-Identifier: BSD-2-Clause
//! The keys by which the ends of a protocol 2 tunnel know each other, and how people write them down.
//!
//! As text a key is what WireGuard prints: 32 bytes in base64, 44 characters. Reading is strict, so one key has one text.

use base64ct::{Base64, Encoding};
use ctutils::{Choice, CtEq};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// Bytes of every key here.
pub const KEY: usize = 32;

/// Characters of a key as text: 32 bytes in base64 with padding.
pub const KEY_TEXT: usize = 44;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTextError {
    /// Not 44 characters of base64, or with bits set that belong to no byte.
    Text,
    /// All zeros: a placeholder, which everyone knows.
    Zero,
    /// A public key with which every exchange ends in a secret that everyone knows.
    LowOrder,
}

/// A key as text. Wiped when dropped: it may be a secret one.
pub struct KeyText(Zeroizing<[u8; KEY_TEXT]>);

impl KeyText {
    fn of(bytes: &[u8; KEY]) -> Self {
        let mut text = Zeroizing::new([b'='; KEY_TEXT]);
        // The buffer has the length of the text, so encoding cannot fail.
        let _ = Base64::encode(bytes, &mut *text);
        Self(text)
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&*self.0).unwrap_or_default()
    }
}

/// Which peer this is; known to anyone. Not all zeros when it was read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// The key of these bytes. A handshake refuses one of low order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    /// Reads a key as people write it. Costs a scalar multiplication.
    pub fn from_text(text: &str) -> Result<Self, KeyTextError> {
        let key = Self(*decode(text)?);
        // Any scalar shows a point of low order, since all are clamped to multiples of the cofactor.
        let probe = StaticSecret::from([1; KEY]);
        match probe.diffie_hellman(&key.0.into()).was_contributory() {
            true => Ok(key),
            false => Err(KeyTextError::LowOrder),
        }
    }

    /// The key as people write it.
    #[must_use]
    pub fn to_text(&self) -> KeyText {
        KeyText::of(&self.0)
    }

    /// The key as it stands in messages.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// This end's private key. Wiped when dropped; no formatting shows it.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; KEY]>);

impl SecretKey {
    /// Makes a key of random bytes: X25519 ignores five of their bits, which are set here as WireGuard prints them.
    #[must_use]
    pub fn from_random(bytes: Zeroizing<[u8; KEY]>) -> Self {
        let mut key = bytes;
        let [first, .., last] = &mut *key;
        *first &= 0b1111_1000;
        *last = (*last & 0b0111_1111) | 0b0100_0000;
        Self(key)
    }

    /// Reads a key as people write it. As WireGuard does, takes unclamped ones, too.
    pub fn from_text(text: &str) -> Result<Self, KeyTextError> {
        Ok(Self::from_random(decode(text)?))
    }

    /// The key as people write it.
    #[must_use]
    pub fn to_text(&self) -> KeyText {
        KeyText::of(&self.0)
    }

    /// The key for others to know this end by. Costs a scalar multiplication.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(*self.0)).to_bytes())
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A secret of both ends: what proves them where they have no keys, or what is mixed in besides their keys. Wiped when
/// dropped; no formatting shows it; compared in constant time.
#[derive(Clone)]
pub struct SharedSecret(Zeroizing<[u8; KEY]>);

impl SharedSecret {
    /// The secret of these random bytes.
    #[must_use]
    pub const fn from_random(bytes: Zeroizing<[u8; KEY]>) -> Self {
        Self(bytes)
    }

    /// The stand-in for a peer that has keys and no secret besides: zeros, as WireGuard has it.
    #[must_use]
    pub fn none() -> Self {
        Self(Zeroizing::new([0; KEY]))
    }

    /// Whether this is the stand-in, which proves nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        is_zero(&self.0)
    }

    /// Reads a secret as people write it.
    pub fn from_text(text: &str) -> Result<Self, KeyTextError> {
        Ok(Self(decode(text)?))
    }

    /// The secret as people write it.
    #[must_use]
    pub fn to_text(&self) -> KeyText {
        KeyText::of(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl PartialEq for SharedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SharedSecret {}

impl core::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// A private key for one handshake, from a seeded generator's next 32 bytes. It is moved into the handshake: used twice,
/// it would give two sessions the same keys.
pub struct Ephemeral(Zeroizing<[u8; KEY]>);

impl Ephemeral {
    /// The key of these bytes, which must be random and used for nothing else.
    #[must_use]
    pub const fn from_random(bytes: Zeroizing<[u8; KEY]>) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// This end's private key, and the public key that follows from it.
#[derive(Clone, Debug)]
pub struct KeyPair {
    secret: SecretKey,
    /// Always the one of `secret`.
    public: PublicKey,
}

impl KeyPair {
    /// The pair of `secret`. Costs a scalar multiplication.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        let public = secret.public_key();
        Self { secret, public }
    }

    /// The key for others to know this end by.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key that proves this end.
    #[must_use]
    pub const fn secret_key(&self) -> &SecretKey {
        &self.secret
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY]>, KeyTextError> {
    // Decoding needs room for what 44 characters can hold at most.
    let mut bytes = Zeroizing::new([0; KEY]);
    if text.len() != KEY_TEXT {
        return Err(KeyTextError::Text);
    }
    let decoded = Base64::decode(text, &mut *bytes).map_err(|_| KeyTextError::Text)?;
    if decoded.len() != KEY {
        return Err(KeyTextError::Text);
    }
    if is_zero(&bytes) { Err(KeyTextError::Zero) } else { Ok(bytes) }
}

pub(super) fn is_zero(bytes: &[u8; KEY]) -> bool {
    let equal: Choice = bytes.ct_eq(&[0; KEY]);
    equal.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alice's keys of RFC 7748, section 6.1, in base64.
    const SECRET: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn the_public_key_follows_from_the_secret_one_as_in_rfc_7748() {
        let secret = SecretKey::from_text(SECRET).expect("a key");
        assert_eq!(secret.public_key().to_text().as_str(), PUBLIC);
        assert_eq!(PublicKey::from_text(PUBLIC), Ok(secret.public_key()));
    }

    #[test]
    fn a_secret_key_is_printed_clamped_and_read_back_the_same() {
        let secret = SecretKey::from_random(Zeroizing::new([0xff; KEY]));
        let text = secret.to_text();
        assert_eq!(text.as_str(), "+P///////////////////////////////////////38=");
        assert_eq!(SecretKey::from_text(text.as_str()).expect("a key").as_bytes(), secret.as_bytes());
    }

    #[test]
    fn texts_that_are_no_key_are_refused() {
        // One too short, one too long, no padding, another alphabet, a space, bits behind the last byte.
        for text in [
            "",
            &PUBLIC[1..],
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo==",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmoA",
            "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo=",
            "hSDwCYkwp1R0i33ctD73Wg2 Og0mOBr066SpjqqbTmo=",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp=",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTm==",
        ] {
            assert_eq!(PublicKey::from_text(text), Err(KeyTextError::Text), "{text}");
        }
    }

    #[test]
    fn keys_that_everyone_knows_are_refused() {
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(SecretKey::from_text(zero).err(), Some(KeyTextError::Zero));
        assert_eq!(SharedSecret::from_text(zero).err(), Some(KeyTextError::Zero));
        let one = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(PublicKey::from_text(one), Err(KeyTextError::LowOrder));
    }

    #[test]
    fn no_formatting_shows_a_secret() {
        use core::fmt::Write;
        let mut shown = heapless::String::<128>::new();
        let secret = SecretKey::from_text(SECRET).expect("a key");
        write!(shown, "{:?} {:?}", secret, SharedSecret::none()).expect("fits");
        assert_eq!(shown, "SecretKey(..) SharedSecret(..)");
    }
}

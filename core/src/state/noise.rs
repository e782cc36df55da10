// SPDX-License-Identifier: BSD-2-Clause
//! The primitives of `Noise_*_25519_ChaChaPoly_BLAKE2s` for the `noise-protocol` crate, which has the handshake itself.
//!
//! What passes through that crate is wiped when dropped: every private key, shared secret, chaining key, hash and cipher
//! key is a [`Wiped`]. Left over are the bytes of the shared secret that it keeps in a plain array until it mixes them in
//! (and the array's memory after), and whatever the compiler leaves on the stack where values were moved.

use blake2::{Blake2s256, Digest};
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use noise_protocol::{Cipher, DH, HandshakeState, Hash, U8Array};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::words::limits::TAG;

/// A handshake under way.
pub(super) type Noise = HandshakeState<X25519, ChaChaPoly, Blake2s>;

/// Bytes that are wiped when dropped.
pub(super) struct Wiped<const N: usize>(Zeroizing<[u8; N]>);

impl<const N: usize> Wiped<N> {
    /// A copy of `bytes`.
    pub(super) fn of(bytes: &[u8; N]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> U8Array for Wiped<N> {
    fn new() -> Self {
        Self::new_with(0)
    }

    fn new_with(byte: u8) -> Self {
        Self(Zeroizing::new([byte; N]))
    }

    /// Of a slice of another length, which the crate never passes, only as much as fits.
    fn from_slice(slice: &[u8]) -> Self {
        let mut array = Self::new();
        array.0.iter_mut().zip(slice).for_each(|(to, from)| *to = *from);
        array
    }

    fn len() -> usize {
        N
    }

    fn as_slice(&self) -> &[u8] {
        &*self.0
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut *self.0
    }
}

/// Diffie-Hellman on Curve25519 (RFC 7748). Refuses points of low order, whose secret everyone knows.
pub(super) enum X25519 {}

/// A private key, then its public key or, where that is not known yet, zeros. `noise-protocol` asks for the public key of
/// the same private one in each handshake, which would cost a scalar multiplication each time.
pub(super) type PrivateKey = Wiped<64>;

impl PrivateKey {
    /// A key whose public key is computed when it is asked for.
    pub(super) fn new_key(private: &[u8; 32]) -> Self {
        Self::from_slice(private)
    }

    /// A key whose public key is known.
    pub(super) fn with_public(private: &[u8; 32], public: &[u8; 32]) -> Self {
        let mut key = Self::from_slice(private);
        if let Some(half) = key.0.last_chunk_mut() {
            *half = *public;
        }
        key
    }

    /// None for the key of zeros, which is none.
    fn secret(&self) -> Option<StaticSecret> {
        let private: &[u8; 32] = self.0.first_chunk()?;
        (!super::identity::is_zero(private)).then(|| StaticSecret::from(*private))
    }
}

impl DH for X25519 {
    type Key = PrivateKey;
    type Pubkey = [u8; 32];
    type Output = Wiped<32>;

    fn name() -> &'static str {
        "25519"
    }

    /// Never called, because every handshake is given its ephemeral key: there is no generator here. Were it called, the
    /// handshake would fail instead of using a known key, for [`X25519::dh`] refuses this one.
    fn genkey() -> Self::Key {
        Wiped::new()
    }

    fn pubkey(key: &Self::Key) -> Self::Pubkey {
        let known = key.0.last_chunk::<32>().copied().filter(|public| *public != [0; 32]);
        known.or_else(|| key.secret().map(|secret| PublicKey::from(&secret).to_bytes())).unwrap_or_default()
    }

    fn dh(key: &Self::Key, public: &Self::Pubkey) -> Result<Self::Output, ()> {
        let shared = key.secret().ok_or(())?.diffie_hellman(&PublicKey::from(*public));
        if shared.was_contributory() { Ok(Wiped::of(shared.as_bytes())) } else { Err(()) }
    }
}

/// ChaCha20-Poly1305 (RFC 8439) with Noise's nonces.
pub(super) enum ChaChaPoly {}

impl ChaChaPoly {
    fn nonce(counter: u64) -> [u8; 12] {
        (u128::from(counter) << 32).to_le_bytes().first_chunk().copied().unwrap_or_default()
    }

    fn seal(key: &Wiped<32>, counter: u64, ad: &[u8], buffer: InOutBuf<'_, '_, u8>) -> Option<[u8; TAG]> {
        let cipher = ChaCha20Poly1305::new(key.bytes().into());
        let tag = cipher.encrypt_inout_detached(&Self::nonce(counter).into(), ad, buffer);
        tag.ok().map(Into::into)
    }

    fn open(key: &Wiped<32>, counter: u64, ad: &[u8], buffer: InOutBuf<'_, '_, u8>, tag: &[u8; TAG]) -> Result<(), ()> {
        let cipher = ChaCha20Poly1305::new(key.bytes().into());
        cipher.decrypt_inout_detached(&Self::nonce(counter).into(), ad, buffer, tag.into()).map_err(|_| ())
    }
}

/// Lengths are the crate's promise. Were one wrong, sealing would leave zeros, which nobody opens, and opening fail.
impl Cipher for ChaChaPoly {
    type Key = Wiped<32>;

    fn name() -> &'static str {
        "ChaChaPoly"
    }

    fn encrypt(key: &Self::Key, nonce: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let Some((body, tag)) = out.split_last_chunk_mut::<TAG>() else { return };
        let sealed = InOutBuf::new(plaintext, body).ok().and_then(|buffer| Self::seal(key, nonce, ad, buffer));
        *tag = sealed.unwrap_or_default();
    }

    fn encrypt_in_place(key: &Self::Key, nonce: u64, ad: &[u8], in_out: &mut [u8], plaintext_len: usize) -> usize {
        let len = plaintext_len.saturating_add(TAG);
        let Some((body, tag)) = in_out.get_mut(..len).and_then(|bytes| bytes.split_last_chunk_mut::<TAG>()) else {
            return 0;
        };
        *tag = Self::seal(key, nonce, ad, body.into()).unwrap_or_default();
        len
    }

    fn decrypt(key: &Self::Key, nonce: u64, ad: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<(), ()> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG>().ok_or(())?;
        Self::open(key, nonce, ad, InOutBuf::new(body, out).map_err(|_| ())?, tag)
    }

    fn decrypt_in_place(key: &Self::Key, nonce: u64, ad: &[u8], in_out: &mut [u8], len: usize) -> Result<usize, ()> {
        let (body, tag) = in_out.get_mut(..len).and_then(|bytes| bytes.split_last_chunk_mut::<TAG>()).ok_or(())?;
        Self::open(key, nonce, ad, body.into(), tag)?;
        Ok(len.saturating_sub(TAG))
    }
}

/// BLAKE2s with 32 bytes of output (RFC 7693). Wipes its state.
#[derive(Default)]
pub(super) struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    type Block = Wiped<64>;
    type Output = Wiped<32>;

    fn name() -> &'static str {
        "BLAKE2s"
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self) -> Self::Output {
        let mut output = Wiped::new();
        core::mem::take(&mut self.0).finalize_into((&mut *output.0).into());
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_not_given_exchanges_nothing() {
        let public = X25519::pubkey(&PrivateKey::new_key(&[7; 32]));
        assert!(X25519::dh(&X25519::genkey(), &public).is_err());
        assert!(X25519::dh(&PrivateKey::new_key(&[7; 32]), &public).is_ok());
    }

    #[test]
    fn a_public_key_that_is_known_is_not_computed_again() {
        let public = X25519::pubkey(&PrivateKey::new_key(&[7; 32]));
        let key = PrivateKey::with_public(&[7; 32], &public);
        assert_eq!(X25519::pubkey(&key), public);
        assert_eq!(X25519::pubkey(&PrivateKey::with_public(&[7; 32], &[1; 32])), [1; 32]);
        let other = X25519::pubkey(&PrivateKey::new_key(&[8; 32]));
        let shared = |key: &PrivateKey| X25519::dh(key, &other).map(|shared| *shared.bytes());
        assert_eq!(shared(&key), shared(&PrivateKey::new_key(&[7; 32])));
    }

    #[test]
    fn points_of_low_order_exchange_nothing() {
        let key = PrivateKey::new_key(&[7; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        // Of order 8: one of the points that RFC 7748's section 6.1 warns of.
        let eight = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        for point in [[0; 32], one, eight] {
            assert!(X25519::dh(&key, &point).is_err(), "{point:?}");
        }
    }

    #[test]
    fn both_ways_to_seal_give_the_same_and_both_ways_to_open_undo_it() {
        let key = Wiped::of(&[9; 32]);
        let (plain, mut sealed, mut in_place, mut opened) = ([3; 20], [0; 36], [3; 36], [0; 20]);
        ChaChaPoly::encrypt(&key, 5, b"ad", &plain, &mut sealed);
        assert_eq!(ChaChaPoly::encrypt_in_place(&key, 5, b"ad", &mut in_place, 20), 36);
        assert_eq!(sealed, in_place);
        assert_eq!(ChaChaPoly::decrypt(&key, 5, b"ad", &sealed, &mut opened), Ok(()));
        assert_eq!(opened, plain);
        assert_eq!(ChaChaPoly::decrypt_in_place(&key, 5, b"ad", &mut in_place, 36), Ok(20));
        assert_eq!(in_place[..20], plain);
        assert_eq!(ChaChaPoly::decrypt(&key, 6, b"ad", &sealed, &mut opened), Err(()));
    }

    #[test]
    fn a_nonce_is_four_zeros_and_the_counter_little_endian() {
        assert_eq!(ChaChaPoly::nonce(0x0102_0304_0506_0708), [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    }
}

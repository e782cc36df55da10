// SPDX-License-Identifier: BSD-2-Clause
//! The classic key and its secretbox: XSalsa20-Poly1305 under BLAKE2b-256 of the password.

use blake2::{Blake2b, Digest, digest::consts::U32};
use ctutils::CtEq;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::words::limits::TAG;

/// The key both ends of a classic tunnel share. Wiped when dropped; no formatting shows it.
#[derive(Clone)]
pub struct ClassicKey(Zeroizing<[u8; 32]>);

/// A body's tag did not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

impl ClassicKey {
    /// Derives the key as MLVPN 2.3 does: BLAKE2b-256 of the password, without salt or key.
    ///
    /// Nothing here slows a guesser down, so the password itself must be unguessable.
    #[must_use]
    pub fn from_password(password: &[u8]) -> Self {
        Self(Zeroizing::new(Blake2b::<U32>::digest(password).into()))
    }

    /// Seals `plain` into `out` as NaCl's `crypto_secretbox` does: the tag, then as many bytes of ciphertext. The input
    /// is read once and the output written once, so this is no copy besides the encryption. Returns false, and leaves
    /// `out` of no use, when `out` is not exactly [`TAG`] bytes longer than `plain`.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 24], plain: &[u8], out: &mut [u8]) -> bool {
        let Some((tag, sealed)) = out.split_first_chunk_mut::<TAG>() else { return false };
        if sealed.len() != plain.len() {
            return false;
        }
        let (mut stream, authenticator) = self.start(nonce);
        if stream.try_apply_keystream_b2b(plain, sealed).is_err() {
            return false;
        }
        *tag = authenticator.compute_unpadded(sealed).into();
        true
    }

    /// Opens `body` (tag, then ciphertext) in place: on success its bytes from [`TAG`] on are the plaintext.
    pub fn open(&self, nonce: &[u8; 24], body: &mut [u8]) -> Result<(), Unauthentic> {
        let (tag, sealed) = body.split_first_chunk_mut::<TAG>().ok_or(Unauthentic)?;
        let (mut stream, authenticator) = self.start(nonce);
        let expected: [u8; TAG] = authenticator.compute_unpadded(sealed).into();
        if !bool::from(expected.ct_eq(tag)) {
            return Err(Unauthentic);
        }
        stream.try_apply_keystream(sealed).map_err(|_| Unauthentic)
    }

    /// The cipher stream behind its first 32 bytes, which are the one-time authenticator's key.
    fn start(&self, nonce: &[u8; 24]) -> (XSalsa20, Poly1305) {
        let mut stream = XSalsa20::new((&*self.0).into(), nonce.into());
        let mut one_time = Zeroizing::new([0; 32]);
        stream.apply_keystream(&mut *one_time);
        (stream, Poly1305::new((&*one_time).into()))
    }
}

impl core::fmt::Debug for ClassicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClassicKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_a_changed_bit_anywhere_does_not() {
        let key = ClassicKey::from_password(b"unguessable");
        let (nonce, plain) = ([7; 24], [42; 100]);
        let mut sealed = [0; 116];
        assert!(key.seal(&nonce, &plain, &mut sealed));
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&nonce, &mut forged), Err(Unauthentic), "bit {bit}");
        }
        assert_eq!(key.open(&nonce, &mut sealed), Ok(()));
        assert_eq!(sealed[TAG..], plain);
    }

    #[test]
    fn another_password_or_nonce_opens_nothing() {
        let key = ClassicKey::from_password(b"one");
        let mut sealed = [0; 20];
        assert!(key.seal(&[0; 24], b"data", &mut sealed));
        assert!(ClassicKey::from_password(b"two").open(&[0; 24], &mut { sealed }).is_err());
        assert!(key.open(&[1; 24], &mut { sealed }).is_err());
    }

    #[test]
    fn buffers_of_a_wrong_size_are_refused() {
        let key = ClassicKey::from_password(b"one");
        assert!(!key.seal(&[0; 24], b"data", &mut [0; 19]));
        assert!(!key.seal(&[0; 24], b"data", &mut [0; 21]));
        assert!(!key.seal(&[0; 24], b"", &mut [0; 15]));
        assert_eq!(key.open(&[0; 24], &mut [0; 15]), Err(Unauthentic));
    }
}

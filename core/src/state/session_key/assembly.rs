// SPDX-License-Identifier: BSD-2-Clause
//! The ciphers in assembly, of BoringSSL's by way of ring, which finds out by itself what the CPU can do.

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::optimization_barrier;

use crate::state::keys::Unauthentic;
use crate::words::limits::TAG;

use super::Aead;

/// A key made ready. Wiped when dropped.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// Never none: the ciphers are there, and the key has the right length.
    pub(super) fn new(aead: Aead, bytes: &[u8; 32]) -> Option<Self> {
        let algorithm = match aead {
            Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Aead::Aes256Gcm => &AES_256_GCM,
        };
        ready(algorithm, bytes).map(Self)
    }

    /// Makes as many bytes of ciphertext of `plain`, and the tag. None for lengths that differ.
    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], plain: &[u8], out: &mut [u8]) -> Option<[u8; TAG]> {
        // The assembly works in place. Copying takes a fiftieth of the time of sealing.
        if plain.len() != out.len() {
            return None;
        }
        out.copy_from_slice(plain);
        self.seal_in_place(nonce, aad, out)
    }

    /// As [`Cipher::seal`], of what `body` holds.
    pub(super) fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), body).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Makes the plaintext of `body`, unless the tag is another's: then it leaves zeros.
    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unauthentic> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), body, 0..);
        opened.map(|_| ()).map_err(|_| Unauthentic)
    }
}

impl Drop for Cipher {
    /// Writes another key over this one, of the same cipher and so as large, for ring leaves keys where they are.
    fn drop(&mut self) {
        if let Some(blank) = ready(self.0.algorithm(), &[0; 32]) {
            self.0 = blank;
            optimization_barrier(&self.0);
        }
    }
}

fn ready(algorithm: &'static Algorithm, bytes: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(algorithm, bytes).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use siphasher::sip::SipHasher24;

    use super::super::portable;
    use super::*;

    /// Bytes that only look random, but the same each time: of SipHash in counter mode.
    fn random(seed: u64, len: usize) -> Vec<u8> {
        let words = (0..).flat_map(|count: u64| SipHasher24::new_with_keys(seed, count).hash(b"").to_le_bytes());
        words.take(len).collect()
    }

    /// All lengths up to eight blocks of either cipher, where the assembly changes its ways, and many up to the largest.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=520).chain((521..2_000).step_by(37))
    }

    #[test]
    fn assembly_and_portable_code_make_the_same_bytes_and_open_each_others() {
        for (aead, len) in
            [Aead::ChaCha20Poly1305, Aead::Aes256Gcm].into_iter().flat_map(|aead| lengths().map(move |len| (aead, len)))
        {
            let seed = len as u64;
            let (key, nonce): ([u8; 32], [u8; 12]) =
                (random(seed, 32).try_into().unwrap(), random(seed + 10_000, 12).try_into().unwrap());
            let (aad, plain) = (random(seed + 20_000, len % 40), random(seed + 30_000, len));
            let (fast, slow) = (Cipher::new(aead, &key).unwrap(), portable::Cipher::new(aead, &key).unwrap());
            let (mut by_fast, mut by_slow) = (vec![0; len], vec![0; len]);
            let tag = fast.seal(&nonce, &aad, &plain, &mut by_fast).expect("as long");
            assert_eq!(slow.seal(&nonce, &aad, &plain, &mut by_slow), Some(tag), "{aead:?}, {len} bytes");
            assert_eq!(by_fast, by_slow, "{aead:?}, {len} bytes");
            assert_eq!(fast.open(&nonce, &aad, &mut by_slow, &tag), Ok(()), "{aead:?}, {len} bytes");
            assert_eq!(slow.open(&nonce, &aad, &mut by_fast, &tag), Ok(()), "{aead:?}, {len} bytes");
            assert_eq!((&by_fast, &by_slow), (&plain, &plain));
            let mut forged = tag;
            forged[len % TAG] ^= 1;
            assert_eq!(fast.open(&nonce, &aad, &mut by_slow, &forged), Err(Unauthentic), "{aead:?}, {len} bytes");
        }
    }
}

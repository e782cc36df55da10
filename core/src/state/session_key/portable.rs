// SPDX-License-Identifier: BSD-2-Clause
//! The ciphers in Rust alone: for every CPU, and for routers.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use aes_gcm::Aes256Gcm;
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};

use crate::state::keys::Unauthentic;
use crate::words::limits::TAG;

use super::Aead;

/// A key made ready. Wiped when dropped.
#[cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(clippy::large_enum_variant, reason = "there is no heap to put the larger one on")
)]
pub(super) enum Cipher {
    ChaCha(ChaCha20Poly1305),
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Aes(Aes256Gcm),
}

impl Cipher {
    /// None for AES where [`HAS_AES`](super::HAS_AES) is false.
    pub(super) fn new(aead: Aead, bytes: &[u8; 32]) -> Option<Self> {
        match aead {
            Aead::ChaCha20Poly1305 => Some(Self::ChaCha(ChaCha20Poly1305::new(bytes.into()))),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Aead::Aes256Gcm => Some(Self::Aes(Aes256Gcm::new(bytes.into()))),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            Aead::Aes256Gcm => None,
        }
    }

    /// Makes as many bytes of ciphertext of `plain`, which is read once, and the tag. None for lengths that differ.
    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], plain: &[u8], out: &mut [u8]) -> Option<[u8; TAG]> {
        self.seal_detached(nonce, aad, InOutBuf::new(plain, out).ok()?)
    }

    /// As [`Cipher::seal`], of what `body` holds.
    pub(super) fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG]> {
        self.seal_detached(nonce, aad, body.into())
    }

    /// Makes the plaintext of `body`, unless the tag is another's: then it leaves it as it was.
    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Unauthentic> {
        let opened = match self {
            Self::ChaCha(cipher) => cipher.decrypt_inout_detached(nonce.into(), aad, body.into(), tag.into()),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Aes(cipher) => cipher.decrypt_inout_detached(nonce.into(), aad, body.into(), tag.into()),
        };
        opened.map_err(|_| Unauthentic)
    }

    /// None only for bodies beyond what the ciphers allow, which are gigabytes long.
    fn seal_detached(&self, nonce: &[u8; 12], aad: &[u8], body: InOutBuf<'_, '_, u8>) -> Option<[u8; TAG]> {
        let tag = match self {
            Self::ChaCha(cipher) => cipher.encrypt_inout_detached(nonce.into(), aad, body),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Aes(cipher) => cipher.encrypt_inout_detached(nonce.into(), aad, body),
        };
        tag.ok().map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::super::HAS_AES;
    use super::*;

    #[test]
    fn a_tag_of_another_packet_opens_nothing_and_changes_nothing() {
        let keys = [Aead::ChaCha20Poly1305, Aead::Aes256Gcm].into_iter().filter_map(|aead| Cipher::new(aead, &[5; 32]));
        assert_eq!(keys.clone().count(), if HAS_AES { 2 } else { 1 });
        for key in keys {
            let mut body = [42; 20];
            let tag = key.seal_in_place(&[1; 12], b"header", &mut body).expect("a short body");
            let before = body;
            assert_eq!(key.open(&[2; 12], b"header", &mut body, &tag), Err(Unauthentic));
            assert_eq!(body, before);
            assert_eq!(key.open(&[1; 12], b"header", &mut body, &tag), Ok(()));
            assert_eq!(body, [42; 20]);
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The keys that seal and open the data packets of one session, one for each direction.
//!
//! Two implementations make the same bytes: portable Rust, and assembly for servers, which the feature `assembly` takes
//! where there is some (`tests/README.md` has both measured).

#[cfg(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod assembly;
#[cfg(any(test, not(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64")))))]
mod portable;

#[cfg(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64")))]
use assembly::Cipher;
#[cfg(not(all(feature = "assembly", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use portable::Cipher;

use crate::state::keys::Unauthentic;
use crate::words::limits::TAG;

/// How the packets of a session are sealed. Both have 12-byte nonces and 16-byte tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// ChaCha20-Poly1305 (RFC 8439), which every CPU does well.
    ChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D), where both ends have it in hardware.
    Aes256Gcm,
}

/// Whether this build has AES-256-GCM at all. The routers' 32-bit CPUs have no instructions for it, and without these it
/// is slow and adds 13 KiB to the program (Cortex-M0, for size); so for them it is left out.
pub const HAS_AES: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// One direction's key. Wiped when dropped; no formatting shows it.
///
/// The caller keeps nonces unique: no two packets sealed under one key may have the same.
pub struct SessionKey(Cipher);

impl SessionKey {
    /// The key of these bytes for `aead`. None for AES where [`HAS_AES`] is false.
    #[must_use]
    pub fn new(aead: Aead, bytes: &[u8; 32]) -> Option<Self> {
        Cipher::new(aead, bytes).map(Self)
    }

    /// Seals `plain` into `out`: as many bytes of ciphertext, then the tag, which covers `aad`, too. This is the one copy
    /// of a packet on its way out. Returns false, and leaves `out` of no use, when `out` is not exactly [`TAG`] bytes
    /// longer than `plain`.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], plain: &[u8], out: &mut [u8]) -> bool {
        let Some((body, tag)) = out.split_last_chunk_mut::<TAG>() else { return false };
        body.len() == plain.len() && self.0.seal(nonce, aad, plain, body).is_some_and(|made| write(tag, made))
    }

    /// Seals all of `body` but its last [`TAG`] bytes in place, and writes the tag there. Returns false, and leaves `body`
    /// alone, when there is no room for a tag.
    #[must_use]
    pub fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> bool {
        let Some((body, tag)) = body.split_last_chunk_mut::<TAG>() else { return false };
        self.0.seal_in_place(nonce, aad, body).is_some_and(|made| write(tag, made))
    }

    /// Opens `body` (ciphertext, then tag) in place: on success all its bytes but the last [`TAG`] are the plaintext. On
    /// failure it is of no use, and shows nothing of what the key would have made of it.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> Result<(), Unauthentic> {
        let (body, tag) = body.split_last_chunk_mut::<TAG>().ok_or(Unauthentic)?;
        self.0.open(nonce, aad, body, tag)
    }
}

/// Puts the tag in its place.
fn write(place: &mut [u8; TAG], tag: [u8; TAG]) -> bool {
    *place = tag;
    true
}

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> impl Iterator<Item = SessionKey> {
        [Aead::ChaCha20Poly1305, Aead::Aes256Gcm].into_iter().filter_map(|aead| SessionKey::new(aead, &[5; 32]))
    }

    #[test]
    fn every_cipher_of_this_build_seals_the_same_in_place_and_out_of_place() {
        assert_eq!(keys().count(), if HAS_AES { 2 } else { 1 });
        for key in keys() {
            let (plain, mut sealed, mut in_place) = ([42; 50], [0; 66], [42; 66]);
            assert!(key.seal(&[1; 12], b"header", &plain, &mut sealed));
            assert!(key.seal_in_place(&[1; 12], b"header", &mut in_place));
            assert_eq!(sealed, in_place);
            assert_eq!(key.open(&[1; 12], b"header", &mut sealed), Ok(()));
            assert_eq!(sealed[..50], plain);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_opens_nothing_and_shows_nothing() {
        for key in keys() {
            let mut sealed = [0; 36];
            assert!(key.seal(&[1; 12], b"header", &[42; 20], &mut sealed));
            for bit in 0..sealed.len() * 8 {
                let mut forged = sealed;
                forged[bit / 8] ^= 1 << (bit % 8);
                let before = forged;
                assert_eq!(key.open(&[1; 12], b"header", &mut forged), Err(Unauthentic), "bit {bit}");
                assert!(forged == before || forged[..20] == [0; 20], "bit {bit}");
            }
            assert_eq!(key.open(&[1; 12], b"Header", &mut { sealed }), Err(Unauthentic));
            assert_eq!(key.open(&[2; 12], b"header", &mut { sealed }), Err(Unauthentic));
        }
    }

    /// A session has two keys, and one more for each direction while it changes them.
    #[test]
    fn a_key_takes_no_more_than_its_budget() {
        let budget = if HAS_AES { 1088 } else { 32 };
        assert!(size_of::<SessionKey>() <= budget, "{} bytes", size_of::<SessionKey>());
    }

    #[test]
    fn buffers_of_a_wrong_size_are_refused() {
        for key in keys() {
            assert!(!key.seal(&[0; 12], b"", b"data", &mut [0; 19]));
            assert!(!key.seal(&[0; 12], b"", b"data", &mut [0; 21]));
            assert!(!key.seal(&[0; 12], b"", b"", &mut [0; 15]));
            assert!(!key.seal_in_place(&[0; 12], b"", &mut [0; 15]));
            assert_eq!(key.open(&[0; 12], b"", &mut [0; 15]), Err(Unauthentic));
        }
    }
}

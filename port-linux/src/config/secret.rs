// SPDX-License-Identifier: BSD-2-Clause
//! The password and the private key, kept out of logs and wiped after use.

use std::fmt;

use mlvpn_core::state::identity::{KeyPair, SecretKey};
use zeroize::Zeroizing;

/// The shared secret. It prints as `***` and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The bytes the key is derived from. They are to go nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Why someone who recorded one packet could find this password by trying, or `None` if that is out of reach.
    ///
    /// The protocol's key is one plain hash of the password, so an attacker tries billions a second.
    #[must_use]
    pub fn weakness(&self) -> Option<&'static str> {
        let lower = self.0.to_ascii_lowercase();
        if KNOWN.iter().any(|known| lower.contains(known)) {
            return Some("is or contains a word every attacker tries first");
        }
        (guess_bits(&self.0) < MIN_GUESS_BITS).then_some("is short or regular enough to be found by trying")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// This end's private key, and the public key that follows from it. It prints as `***`, is overwritten when dropped, and
/// is compared by the public key.
#[derive(Clone)]
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// Takes the key over. Costs a scalar multiplication.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self(KeyPair::new(key))
    }

    /// The keys for a handshake.
    #[must_use]
    pub const fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.public_key() == other.0.public_key()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Placeholders of examples and the head of every list of leaked passwords.
const KNOWN: [&str; 10] =
    ["changeme", "password", "passw0rd", "secret", "mlvpn", "123456", "qwerty", "azerty", "letmein", "example"];

/// At 10^12 tries a second, 2^80 last for 38,000 years.
const MIN_GUESS_BITS: u32 = 80;

/// An upper estimate of the bits in a password: its length times the bits of the alphabet it draws on, and no longer
/// than three times its different characters, so that repetition does not count.
fn guess_bits(text: &str) -> u32 {
    let has = |is_in: fn(&u8) -> bool, size: u32| if text.as_bytes().iter().any(is_in) { size } else { 0 };
    let letters = has(u8::is_ascii_lowercase, 26)
        + has(u8::is_ascii_uppercase, 26)
        + has(u8::is_ascii_digit, 10)
        + has(|byte| !byte.is_ascii_alphanumeric(), 33);
    let mut different: Vec<u8> = text.bytes().collect();
    different.sort_unstable();
    different.dedup();
    let counted = text.len().min(3 * different.len());
    // Tenths of a bit: log2 of the alphabet, rounded down.
    let tenths = match letters {
        0..=10 => 33,
        11..=26 => 47,
        27..=36 => 51,
        37..=52 => 57,
        53..=62 => 59,
        63..=90 => 63,
        _ => 65,
    };
    u32::try_from(counted).unwrap_or(u32::MAX).saturating_mul(tenths) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", secret("hunter2")), "***");
    }

    #[test]
    fn guessable_passwords_are_told_from_good_ones() {
        for weak in [
            "",
            "a",
            "pleasechangeme!",
            "MyPassword-2024-for-the-tunnel",
            "correcthorse",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(secret(weak).weakness().is_some(), "{weak}");
        }
        for good in [
            "q3Zt8uW1xYk5rPz9vNc2",
            "8f14e45fceea167a5a36dedd4bea2543",
            "granite umbrella fiddle octopus",
            "k7#Lm!x9$Qe2^Vb",
        ] {
            assert_eq!(secret(good).weakness(), None, "{good}");
        }
    }
}

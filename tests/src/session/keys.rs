// SPDX-License-Identifier: BSD-2-Clause
//! Keys and configurations of the ends in tests.

use mlvpn_core::state::handshake::Offer;
use mlvpn_core::state::identity::{KeyPair, SecretKey, SharedSecret};
use mlvpn_core::tunnel::peer::config::{ClientCredentials, PeerConfig};
use mlvpn_core::words::ids::Medium;

/// The server's place among the key pairs of [`pair`].
pub const SERVER: u16 = u16::MAX;

/// What an end without AES instructions offers.
pub const PLAIN: Offer = Offer { aes_in_hardware: false, max_links: 8 };

/// A key pair, another for every `number`.
#[must_use]
pub fn pair(number: u16) -> KeyPair {
    let [high, low] = number.to_be_bytes();
    let mut bytes = [0x42; 32];
    (bytes[5], bytes[6]) = (high, low);
    KeyPair::new(SecretKey::from_random(bytes.into()))
}

/// Both ends' configuration: IP packets of up to 1500 bytes, in order.
#[must_use]
pub fn config() -> PeerConfig {
    PeerConfig { medium: Medium::Ip, max_mtu: 1500, reorder: true, offer: PLAIN, allowed: heapless::Vec::new() }
}

/// By what client `number` and the server know each other.
#[must_use]
pub fn credentials(number: u16) -> ClientCredentials {
    ClientCredentials::Keys { own: pair(number), server: *pair(SERVER).public_key(), secret: SharedSecret::none() }
}

/// 32 bytes that depend on every bit of `number`.
#[must_use]
pub fn seed(number: u64) -> [u8; 32] {
    let mut random = crate::random::Random::new(number);
    std::array::from_fn(|_| random.bits().to_le_bytes()[0])
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a protocol-2 tunnel is told before it starts.

use crate::state::handshake::{Credentials, Offer};
use crate::state::identity::{KeyPair, PublicKey, SharedSecret};
use crate::words::ids::Medium;

pub use crate::words::network::{MAX_ALLOWED, Network};

/// One end's tunnel to one peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// What the device carries.
    pub medium: Medium,
    /// The largest inner IP packet there is to be, in bytes; what the paths carry may lower it.
    pub max_mtu: u16,
    /// Restore the order of received packets.
    pub reorder: bool,
    /// What this end can do.
    pub offer: Offer,
    /// The inner source addresses the peer may use; any when empty.
    pub allowed: heapless::Vec<Network, MAX_ALLOWED>,
}

/// By what a client knows its server and is known.
pub enum ClientCredentials {
    /// Each knows the other's public key.
    Keys {
        /// This end's keys.
        own: KeyPair,
        /// The server's key.
        server: PublicKey,
        /// A secret besides, or [`SharedSecret::none`].
        secret: SharedSecret,
    },
    /// Both know one secret.
    Secret(SharedSecret),
}

impl ClientCredentials {
    pub(super) const fn borrow(&self) -> Credentials<'_> {
        match self {
            Self::Keys { own, server, secret } => Credentials::Keys { own, peer: server, secret },
            Self::Secret(secret) => Credentials::Secret(secret),
        }
    }
}

impl core::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientCredentials(..)")
    }
}

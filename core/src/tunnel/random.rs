// SPDX-License-Identifier: BSD-2-Clause
//! What must be unpredictable: nonces' flow numbers, ephemeral keys, challenges. Drawn from a seed of the port's, which
//! has the system's random source.

use blake2::{Blake2b, Digest, digest::consts::U32};
use zeroize::Zeroizing;

use crate::words::ids::FlowId;

/// Draws from a seed: the hash of the seed and a count.
pub(super) struct Random {
    seed: Zeroizing<[u8; 32]>,
    drawn: u64,
}

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed), drawn: 0 }
    }

    /// 32 bytes, never the same twice.
    pub(super) fn bytes(&mut self) -> Zeroizing<[u8; 32]> {
        self.drawn = self.drawn.wrapping_add(1);
        let hash = Blake2b::<U32>::new().chain_update(*self.seed).chain_update(self.drawn.to_le_bytes());
        Zeroizing::new(hash.finalize().into())
    }

    /// The first `N` of 32 bytes.
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 32) };
        self.bytes().first_chunk().copied().unwrap_or([0; N])
    }

    pub(super) fn flow(&mut self) -> FlowId {
        FlowId(u32::from_le_bytes(self.array()))
    }

    pub(super) fn token(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

impl core::fmt::Debug for Random {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Random(..)")
    }
}

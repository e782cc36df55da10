// SPDX-License-Identifier: BSD-2-Clause
//! Random flow numbers for the classic protocol's nonces.

use blake2::{Blake2b, Digest, digest::consts::U32};
use zeroize::Zeroizing;

use crate::words::ids::FlowId;

/// Draws flow numbers from a seed: the hash of the seed and a count.
pub(super) struct FlowSource {
    seed: Zeroizing<[u8; 32]>,
    drawn: u64,
}

impl FlowSource {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed), drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> FlowId {
        self.drawn = self.drawn.wrapping_add(1);
        let hash: [u8; 32] =
            Blake2b::<U32>::new().chain_update(*self.seed).chain_update(self.drawn.to_le_bytes()).finalize().into();
        FlowId(hash.first_chunk().copied().map_or(0, u32::from_le_bytes))
    }
}

impl core::fmt::Debug for FlowSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FlowSource(..)")
    }
}

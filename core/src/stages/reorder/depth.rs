// SPDX-License-Identifier: BSD-2-Clause
//! How long packets waited for earlier ones, and in vain how often.

use crate::words::time::Duration;

/// How the packets of one order waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Packets that wait now.
    pub held: u16,
    /// For how long the one that came first has waited.
    pub waiting: Duration,
    /// Packets that had to wait, and do not any more.
    pub waited: u64,
    /// For how long these waited, all together, and the one that waited longest.
    pub total: Duration,
    /// See `total`.
    pub longest: Duration,
    /// Packets that were not waited for any more.
    pub given_up: u32,
    /// Packets that came after that.
    pub late: u32,
}

impl Depth {
    pub(super) const NONE: Self = Self {
        held: 0,
        waiting: Duration::ZERO,
        waited: 0,
        total: Duration::ZERO,
        longest: Duration::ZERO,
        given_up: 0,
        late: 0,
    };

    /// A packet is released that waited for so long.
    pub(super) fn release(&mut self, waited: Duration) {
        self.held = self.held.saturating_sub(1);
        self.waited = self.waited.saturating_add(1);
        self.total = self.total + waited;
        self.longest = self.longest.max(waited);
    }

    /// So many packets are not waited for any more.
    pub(super) fn give_up(&mut self, packets: u64) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.given_up = self.given_up.saturating_add(packets);
    }

    /// Packets that never came, although the sender may have sent them again.
    #[must_use]
    pub const fn missing(&self) -> u32 {
        self.given_up.saturating_sub(self.late)
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a link has done, and why packets were lost on it.

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The link was down, or went down while it held the packet.
    Down,
    /// The queue was full.
    QueueFull,
    /// Random loss.
    Random,
    /// Burst loss.
    Burst,
    /// A handover.
    Handover,
}

/// Packets lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// See [`Loss::Down`].
    pub down: u64,
    /// See [`Loss::QueueFull`].
    pub queue_full: u64,
    /// See [`Loss::Random`].
    pub random: u64,
    /// See [`Loss::Burst`].
    pub burst: u64,
    /// See [`Loss::Handover`].
    pub handover: u64,
}

impl Losses {
    /// All packets lost.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.down + self.queue_full + self.random + self.burst + self.handover
    }

    pub(super) fn count(&mut self, why: Loss, packets: u64) {
        *match why {
            Loss::Down => &mut self.down,
            Loss::QueueFull => &mut self.queue_full,
            Loss::Random => &mut self.random,
            Loss::Burst => &mut self.burst,
            Loss::Handover => &mut self.handover,
        } += packets;
    }
}

/// What a link has done since its start. `offered + duplicated = delivered + lost.total() + packets still held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets offered, refused ones included.
    pub offered: u64,
    /// Their bytes, without overhead.
    pub offered_bytes: u64,
    /// Packets delivered, second copies included.
    pub delivered: u64,
    /// Their bytes, without overhead.
    pub delivered_bytes: u64,
    /// Bytes that passed the bottleneck, overhead included, whether or not they arrived.
    pub carried_bytes: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Packets lost, by reason.
    pub lost: Losses,
    /// The most bytes that ever waited, overhead included.
    pub queue_high_water_bytes: u64,
}

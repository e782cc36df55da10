// SPDX-License-Identifier: BSD-2-Clause
//! One direction of a link, described in full: what [`super::link::LinkModel`] imitates.

use mlvpn_core::words::time::Duration;

use super::chance::{Probability, Shape};
use super::trace::Trace;

/// How fast the bottleneck takes packets from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// At once: no packet ever waits.
    Unlimited,
    /// Bits per second. Zero stops the link with its queue intact.
    Rate(u64),
    /// Whenever the trace, begun at the model's start, has an opportunity.
    Trace(Trace),
}

/// How much may wait in front of the bottleneck, the packet being sent included. The first packet always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// At most this many bytes, overhead included.
    Bytes(u64),
    /// At most what the bottleneck sends in this time at its present (for a trace: mean) rate.
    Time(Duration),
}

/// Gilbert-Elliott loss: a link that is now good, now bad, deciding anew at each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstLoss {
    /// Chance to turn bad at a packet while good.
    pub enter: Probability,
    /// Chance to turn good at a packet while bad; its inverse is the mean length of a bad spell in packets.
    pub leave: Probability,
    /// Loss while bad.
    pub loss_in_bad: Probability,
    /// Loss while good.
    pub loss_in_good: Probability,
}

/// Short lossy spells at regular times, as when a dish changes its satellite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// From the start of one spell to the next; the first begins one period after the model's start.
    pub period: Duration,
    /// Length of a spell.
    pub length: Duration,
    /// Loss during a spell.
    pub loss: Probability,
}

/// A random delay on top of the link's own for some of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomDelay {
    /// Which packets are delayed.
    pub chance: Probability,
    /// The spread of the delays' lengths.
    pub shape: Shape,
    /// Their scale: the largest (uniform), the standard deviation (half-normal) or the mean (exponential).
    pub scale: Duration,
}

/// Packets let fall behind those sent after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// Which packets are held back.
    pub chance: Probability,
    /// For how long.
    pub extra: Duration,
}

/// What can be changed on a running link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Up, or down: a link that goes down loses what it holds and refuses what it is offered.
    Up(bool),
    /// A new rate in bits per second, which also ends a trace or lack of limit.
    Rate(u64),
}

/// One direction of a link, in full. Times in `schedule` count from the model's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direction {
    /// How fast the bottleneck works.
    pub capacity: Capacity,
    /// One-way delay of every packet after the bottleneck.
    pub delay: Duration,
    /// How much may wait.
    pub queue: QueueLimit,
    /// Loss of each packet for itself.
    pub random_loss: Probability,
    /// Loss in bursts.
    pub burst_loss: Option<BurstLoss>,
    /// Loss at regular times.
    pub handover: Option<Handover>,
    /// Small random delays, usually of every packet.
    pub jitter: Option<RandomDelay>,
    /// Long random delays of a few packets, as radio links make by resending.
    pub stall: Option<RandomDelay>,
    /// Whether a packet delayed by jitter or a stall holds up those behind it (true, as on radio links) or is overtaken.
    pub keeps_order: bool,
    /// Packets that fall back, whatever `keeps_order` says.
    pub reorder: Option<Reorder>,
    /// Packets that arrive twice.
    pub duplicate: Probability,
    /// Bytes counted on top of each packet's length, e.g. 28 for IPv4 and UDP headers.
    pub overhead_bytes: u32,
    /// Changes to come, each at its time after the start.
    pub schedule: Vec<(Duration, Change)>,
}

/// A perfect wire: no rate limit, no delay, no mishap. Its 200 ms of queue matter once a rate is set.
impl Default for Direction {
    fn default() -> Self {
        Self {
            capacity: Capacity::Unlimited,
            delay: Duration::ZERO,
            queue: QueueLimit::Time(Duration::from_millis(200)),
            random_loss: Probability::NEVER,
            burst_loss: None,
            handover: None,
            jitter: None,
            stall: None,
            keeps_order: true,
            reorder: None,
            duplicate: Probability::NEVER,
            overhead_bytes: 0,
            schedule: Vec::new(),
        }
    }
}

impl Direction {
    /// Adds `times` outages to the schedule: the first begins `first` after the start, each lasts `down`, and after
    /// each the link is up for `up`.
    #[must_use]
    pub fn flapping(mut self, first: Duration, down: Duration, up: Duration, times: u32) -> Self {
        let round = down + up;
        for index in 0..u64::from(times) {
            let begin = first + round * index;
            self.schedule.push((begin, Change::Up(false)));
            self.schedule.push((begin + down, Change::Up(true)));
        }
        self
    }
}

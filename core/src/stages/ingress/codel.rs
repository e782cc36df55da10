// SPDX-License-Identifier: BSD-2-Clause
//! Controlled delay (CoDel, RFC 8289): says of each packet that leaves a queue whether the queue has stood for too long.

use crate::words::limits::{ETHERNET_HEADER, MAX_MTU, VLAN_TAG};
use crate::words::time::{Duration, Instant};

/// The largest packet in bytes, a tagged frame: a queue of no more than this is not standing, it is being sent
/// (RFC 8289, 4.4).
pub(super) const MAX_PACKET: u16 = 1518;

const _: () = assert!(MAX_PACKET as usize == MAX_MTU as usize + ETHERNET_HEADER + VLAN_TAG);

/// See [`CodelLaw::for_round_trip`].
const LEAST_INTERVAL: Duration = Duration::from_millis(500);
const LEAST_TARGET: Duration = Duration::from_millis(60);

/// A queue that must be slowed down again within this many intervals goes on at the pace that it had needed
/// (RFC 8289, 5.5).
const MEMORY_INTERVALS: u64 = 16;

/// How patient a queue is. For one tunnel both follow from its round-trip time, see [`CodelLaw::for_round_trip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodelLaw {
    /// How long a queue may stand, and the time between the first two packets that are told to slow down.
    pub interval: Duration,
    /// The time in the queue that is no trouble.
    pub target: Duration,
}

impl CodelLaw {
    /// The law for a tunnel whose slowest link has this round-trip time. The interval is half as much again, for hosts
    /// behind the tunnel, and 30 ms for the links' own standing queues; at least 500 ms and at most a second. The target
    /// is 60 ms, or a tenth of the interval where that is more. RFC 8289's 100 and 5 ms cost 15 to 20 % of throughput in simulation, and
    /// 300 and 30 ms up to 10 % over radio links: over several links delay varies by more than that without any queue. Only a
    /// flow's own packets wait for it.
    #[must_use]
    pub fn for_round_trip(largest: Duration) -> Self {
        let interval =
            (largest + (largest >> 1) + Duration::from_millis(30)).clamp(LEAST_INTERVAL, Duration::from_secs(1));
        let target = Duration::from_micros(interval.micros() / 10).max(LEAST_TARGET);
        Self { interval, target }
    }

    /// The same for a queue that is to stand for up to `wait` before another link helps: a quarter more than that is no trouble.
    #[must_use]
    pub fn with_patience(self, wait: Duration) -> Self {
        Self { target: self.target.max(wait + (wait >> 2)), ..self }
    }

    /// The time until the next signal, the `count`th: interval / sqrt(count). Exact but for rounding, since
    /// interval / sqrt(count) = sqrt(interval^2 / count); computed only when a packet is told to slow down.
    const fn spacing(&self, count: u32) -> Duration {
        let interval = self.interval.micros();
        // The divisor is never 0.
        let square = interval.saturating_mul(interval).checked_div(count as u64);
        Duration::from_micros(match square {
            Some(square) => square.isqrt(),
            None => interval,
        })
    }
}

/// A packet at the head of a queue, as CoDel sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// How long it was in the queue.
    pub(super) queued: Duration,
    /// Bytes in the queue behind it.
    pub(super) behind: u32,
    /// Whether it can be marked instead of dropped.
    pub(super) is_markable: bool,
}

/// What is to become of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It leaves.
    Pass,
    /// It leaves, marked.
    Mark,
    /// It is dropped, and the one behind it is to be judged.
    Drop,
}

/// The state of one queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codel {
    /// When the queue will have stood for an interval; None while it does not stand.
    stands_until: Option<Instant>,
    /// When the next packet is told to slow down, or, outside of `is_signalling`, would have been.
    next_signal: Instant,
    /// Signals in this stretch, from which their spacing follows.
    count: u32,
    /// What `count` was when this stretch began.
    count_before: u32,
    is_signalling: bool,
    /// A packet was dropped and its successor has not been judged yet, which decides whether the stretch goes on.
    is_pending: bool,
}

impl Codel {
    pub(super) const fn new() -> Self {
        Self {
            stands_until: None,
            next_signal: Instant::ORIGIN,
            count: 0,
            count_before: 0,
            is_signalling: false,
            is_pending: false,
        }
    }

    /// Judges the packet at the head. After [`Verdict::Drop`] the one behind it must be judged at the same `now`; there
    /// is one, for a queue of one packet is never judged standing.
    pub(super) fn judge(&mut self, head: Head, law: &CodelLaw, now: Instant) -> Verdict {
        let has_stood = self.has_stood(head, law, now);
        let is_pending = core::mem::take(&mut self.is_pending);
        if !self.is_signalling {
            return if has_stood { self.begin(head, law, now) } else { Verdict::Pass };
        }
        if !has_stood {
            self.is_signalling = false;
            return Verdict::Pass;
        }
        if is_pending {
            self.next_signal += law.spacing(self.count);
        }
        if now < self.next_signal {
            return Verdict::Pass;
        }
        self.count = self.count.saturating_add(1);
        if head.is_markable {
            self.next_signal += law.spacing(self.count);
            return Verdict::Mark;
        }
        self.is_pending = true;
        Verdict::Drop
    }

    /// Whether the queue has been above the target for an interval (RFC 8289, 5.6).
    fn has_stood(&mut self, head: Head, law: &CodelLaw, now: Instant) -> bool {
        if head.queued < law.target || head.behind <= u32::from(MAX_PACKET) {
            self.stands_until = None;
            return false;
        }
        now >= *self.stands_until.get_or_insert(now + law.interval)
    }

    /// The first signal of a stretch.
    fn begin(&mut self, head: Head, law: &CodelLaw, now: Instant) -> Verdict {
        let signals = self.count.saturating_sub(self.count_before);
        let is_recent = now.since(self.next_signal) < law.interval * MEMORY_INTERVALS;
        self.is_signalling = true;
        self.count = if signals > 1 && is_recent { signals } else { 1 };
        self.count_before = self.count;
        self.next_signal = now + law.spacing(self.count);
        if head.is_markable { Verdict::Mark } else { Verdict::Drop }
    }
}

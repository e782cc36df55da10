// SPDX-License-Identifier: BSD-2-Clause
//! How fast a link may be sent on, found from what its receiver reports.
//!
//! A link *starts* at a modest pace that doubles in the time in which reports can stop it, until packets queue. Then
//! its capacity is the rate at which they left the queue, and the pace holds a small *steady* queue: enough to know that
//! the link is full, too little to be felt. Every few seconds the queue is *drained*, to see the path's own delay again:
//! delay that stays then is no queue ([`Floor`]). Loss beyond the usual is *tested* ([`Limit`]): when sending less ends it, a
//! shallow buffer or a policer caused it, and the link is held to what that lets through; else it is the link's nature and
//! is no reason to send less.
//!
//! Rates are in bytes per second of what travels on the path: UDP payload, UDP and IP headers.

mod delivery;
mod floor;
mod limit;

use crate::state::arrivals::REPORT_INTERVAL;
use crate::state::estimate::Jitter;
use crate::words::time::{Duration, Instant};

use delivery::Delivery;
use floor::Floor;
use limit::Limit;

/// The pace of a link nothing is known of: 16 Mbit/s, so that TCP's initial window (RFC 6928) leaves in 7 ms. Simulated: with a quarter
/// of it TCP's slow start meets the pace before any link is full, and ends; with twice as much bursts overflow buffers of 4 ms.
const FIRST_PACE: u64 = 2_000_000;

/// No pace is lower: two full packets per second, so that a link that got worse than any estimate is still measured.
const LEAST_PACE: u64 = 3_000;

/// No pace is higher, in bytes per second: 80 Gbit/s, beyond what a tunnel carries.
const MOST_PACE: u64 = 10_000_000_000;

/// A queue longer than this, plus twice the jitter, ends the start when so many reports say so (simulated).
const START_QUEUE: Duration = Duration::from_millis(10);
const START_REPORTS: u8 = 2;

/// A queue this much longer than [`START_QUEUE`] ends the start at once.
const START_QUEUE_CLEAR: Duration = Duration::from_millis(15);

/// The steady queue on a quiet link, and on one whose delay is all noise. Simulated: 8 ms suit wires, 16 ms radio links.
const LEAST_QUEUE: Duration = Duration::from_millis(6);
const MOST_QUEUE: Duration = Duration::from_millis(16);

/// A queue of more than this, and of twice what is aimed at, in three reports: the link has become slower.
const SLOWER_QUEUE: Duration = Duration::from_millis(20);
const SLOWER_REPORTS: u8 = 3;

/// A queue of half of what is aimed at, in so many reports, is no accident: the link is full, and carries what it
/// delivers.
const FULL_REPORTS: u8 = 3;

/// A queue is drained at this part of the capacity, in 256ths: 0.7.
const DRAIN: u64 = 179;

/// How often the steady queue is drained.
const DRAIN_INTERVAL: Duration = Duration::from_secs(5);

/// A drain takes this long, besides the time in which 0.3 of the capacity carries the queue away.
const DRAIN_SLACK: Duration = Duration::from_millis(15);

/// A drain of a queue that was too long ends here at the latest.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A busy rate needs this much busy time and this many bytes.
const BUSY_SPAN: Duration = Duration::from_millis(5);
const BUSY_BYTES: u64 = 4_500;

/// A capacity rises to no more than this part above the best delivery rate of late, in 65,536ths: a sixteenth. Busy times are
/// short, and jitter makes them shorter.
const ABOVE_BEST: u64 = 4_096;

/// The pace is above or below the capacity by at least and at most so much, in 65,536ths: 0.5 % and 10 %.
const LEAST_GAIN: u64 = 328;
const MOST_GAIN: u64 = 6_554;

/// In each so many reports of an empty queue the gain doubles, up to a half.
const EMPTY_REPORTS: u8 = 4;
const EMPTY_GAIN: u64 = 32_768;

/// A queue that was empty in so many reports while the link carries less than usual: what made it slow is over. Simulated: a link
/// whose rate changes five times a second carries a tenth more.
const RETURN_REPORTS: u8 = 3;

/// The part of a rate that is likely the link's that is tried at once, in 256ths: 0.8.
const HINT: u64 = 205;

/// What a report says of a link, as a difference to the report before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// When the report came.
    pub at: Instant,
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The receiver's time between the two reports.
    pub interval: Duration,
    /// Bytes that arrived in it.
    pub bytes: u64,
    /// Bytes of these that arrived while packets queued.
    pub busy_bytes: u64,
    /// For how long packets queued.
    pub busy: Duration,
    /// The least queueing delay in it.
    pub queue: Duration,
    /// The link's jitter.
    pub jitter: Duration,
    /// Packets that are now known to have arrived.
    pub arrived: u32,
    /// Packets that are now known to be lost.
    pub lost: u32,
    /// The link was sent on as fast as its pace allowed.
    pub is_used: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Doubling.
    Start,
    /// Sending less until then.
    Drain { until: Instant },
    /// Holding a small queue.
    Steady,
}

/// The rate of one link, in the direction in which it is sent on. [`Rate::hear`] each report, and send at
/// [`Rate::pace`].
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    phase: Phase,
    /// What the link is believed to carry; none in the first start.
    capacity: Option<u64>,
    pace: u64,
    /// The highest pace of late, which sinks by an eighth per report: no link delivers for long more than it was sent.
    recent: u64,
    /// The most that may be sent; 0 for any.
    ceiling: u64,
    queue: Duration,
    floor: Floor,
    delivery: Delivery,
    /// Reports in a row with too long a queue, with an empty one though the link was used, and with a standing one.
    over: u8,
    empty: u8,
    full: u8,
    /// When a steady queue is drained next, and when a drain's effect can be seen at the soonest.
    drain_at: Instant,
    drained_from: Instant,
    /// Until then the queue still shows what was sent before the pace was lowered.
    blind_until: Instant,
    /// The mean difference of the least queueing delays of neighbouring reports, in sixteenths of a microsecond.
    wobble: Jitter,
    limit: Limit,
}

impl Rate {
    /// A link of which nothing is known but what its user says: `ceiling` in bytes per second, 0 for unknown.
    #[must_use]
    pub fn new(ceiling: u64) -> Self {
        Self {
            phase: Phase::Start,
            capacity: None,
            pace: first_pace(ceiling),
            recent: first_pace(ceiling),
            ceiling,
            queue: Duration::ZERO,
            floor: Floor::default(),
            delivery: Delivery::default(),
            over: 0,
            empty: 0,
            full: 0,
            drain_at: Instant::ORIGIN,
            drained_from: Instant::ORIGIN,
            blind_until: Instant::ORIGIN,
            wobble: Jitter::default(),
            limit: Limit::default(),
        }
    }

    /// Changes the ceiling.
    pub fn set_ceiling(&mut self, ceiling: u64) {
        if self.ceiling != ceiling {
            self.ceiling = ceiling;
            if self.capacity.is_none() {
                self.pace = self.pace.max(first_pace(ceiling));
            }
            self.pace = self.bounded(self.pace);
        }
    }

    /// The link was away: it begins again at half of what it carried.
    pub fn restart(&mut self) {
        let pace = self.capacity.map_or(first_pace(self.ceiling), |capacity| capacity >> 1);
        *self = Self { pace: self.bounded(pace), ..Self::new(self.ceiling) };
    }

    /// How fast to send, in bytes per second; never 0.
    #[must_use]
    pub const fn pace(&self) -> u64 {
        self.pace
    }

    /// What the link is believed to carry, in bytes per second; none while that is being found out.
    #[must_use]
    pub const fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// The least queueing delay in the last report.
    #[must_use]
    pub const fn queue(&self) -> Duration {
        self.queue
    }

    /// Takes in a report.
    pub fn hear(&mut self, heard: Heard) {
        self.wobble.sample(heard.queue.micros().abs_diff(self.queue.micros()));
        self.queue = heard.queue;
        self.recent = self.pace.max(self.recent.saturating_sub(self.recent >> 3));
        self.floor.see(heard.queue, heard.at >= self.blind_until);
        let is_whole = self.delivery.hear(&heard, self.recent);
        match self.phase {
            Phase::Start => self.start(&heard),
            Phase::Drain { until } => self.drain(&heard, until),
            Phase::Steady => self.hold(&heard, is_whole),
        }
        if let Some(capacity) = self.limit.hear(&heard, self.capacity.unwrap_or(self.pace)) {
            self.capacity = Some(capacity);
            if self.phase == Phase::Start {
                self.become_steady(&heard);
            }
        }
        self.pace = self.bounded(self.limit.bound(self.pace));
    }

    /// The rate at which packets left the queue, where there was one.
    fn busy_rate(&self, heard: &Heard) -> Option<u64> {
        let is_known = heard.busy >= BUSY_SPAN && heard.busy_bytes >= BUSY_BYTES;
        is_known.then(|| per_second(heard.busy_bytes, heard.busy).min(self.recent))
    }

    fn start(&mut self, heard: &Heard) {
        let threshold = START_QUEUE + heard.jitter.min(START_QUEUE) * 2;
        // A delay that comes while little is sent is the path's own, and what little arrives then is not its rate.
        let is_telling = heard.is_used || self.busy_rate(heard).is_some();
        let queue = if is_telling { heard.queue } else { Duration::ZERO };
        self.over = if queue > threshold { self.over.saturating_add(1) } else { 0 };
        let losses = u64::from(heard.lost).saturating_mul(8);
        // Where nothing arrives, it is not for the rate.
        let is_shallow = heard.lost >= 8 && heard.arrived > 0 && losses > u64::from(heard.arrived);
        if self.over >= START_REPORTS || queue > threshold + START_QUEUE_CLEAR || is_shallow {
            let rate =
                self.busy_rate(heard).unwrap_or_else(|| per_second(heard.bytes, heard.interval).min(self.recent));
            self.capacity = Some(rate.max(LEAST_PACE));
            return self.begin_drain(heard);
        }
        // What a burst left its queue at is likely the truth, too.
        if let Some(rate) = self.busy_rate(heard).filter(|_| self.ceiling == 0) {
            self.pace = self.pace.max(part(rate, HINT));
        }
        if heard.is_used && self.over == 0 {
            let doubling = (heard.rtt + REPORT_INTERVAL * 2).micros().max(1);
            let step = self.pace.saturating_mul(heard.interval.micros().min(doubling)).checked_div(doubling);
            self.pace = self.pace.saturating_add(step.unwrap_or(0));
            // A configured rate is the ceiling: there is nothing to find beyond.
            if self.ceiling != 0 && self.pace >= self.ceiling {
                self.capacity = Some(self.ceiling);
                self.become_steady(heard);
            }
        }
    }

    /// Sends less for as long as 0.3 of the capacity takes to carry the queue away.
    fn begin_drain(&mut self, heard: &Heard) {
        let span = Duration::from_micros(heard.queue.micros().saturating_mul(10) / 3).min(DRAIN_LIMIT) + DRAIN_SLACK;
        self.phase = Phase::Drain { until: heard.at + span };
        // What follows from it is seen a round trip later.
        self.drained_from = heard.at + heard.rtt;
        self.blind_until = heard.at + span + heard.rtt + REPORT_INTERVAL;
        self.pace = part(self.capacity.unwrap_or(self.pace), DRAIN);
        (self.over, self.empty) = (0, 0);
    }

    fn drain(&mut self, heard: &Heard, until: Instant) {
        // The queue of a link that became faster is gone sooner than that of one that stays as it was.
        let is_gone = heard.at >= self.drained_from && heard.queue < LEAST_QUEUE >> 1;
        if is_gone {
            self.blind_until = self.blind_until.min(heard.at + heard.rtt + REPORT_INTERVAL);
        }
        if is_gone || heard.at >= until {
            self.floor.begin(heard.queue);
            self.become_steady(heard);
        }
    }

    fn become_steady(&mut self, heard: &Heard) {
        self.phase = Phase::Steady;
        self.drain_at = heard.at + DRAIN_INTERVAL;
        self.pace = self.capacity.unwrap_or(self.pace);
        (self.over, self.empty) = (0, 0);
        self.delivery.begin();
    }

    fn hold(&mut self, heard: &Heard, is_whole: bool) {
        let target = self.target(heard.jitter);
        let queue = self.floor.above(heard.queue);
        self.follow(heard, is_whole, queue, target);
        let is_long = queue > SLOWER_QUEUE.max(target * 2) && heard.at >= self.blind_until;
        self.over = if is_long { self.over.saturating_add(1) } else { 0 };
        if self.over >= SLOWER_REPORTS {
            let capacity = self.capacity.unwrap_or(self.pace);
            let rate = self.busy_rate(heard).unwrap_or(self.delivery.rate()).min(capacity).max(LEAST_PACE);
            self.capacity = Some(rate);
            self.delivery.sink(rate);
            return self.begin_drain(heard);
        }
        if heard.at >= self.drain_at && heard.is_used {
            return self.begin_drain(heard);
        }
        if heard.is_used {
            self.empty = if queue < target >> 1 { self.empty.saturating_add(1) } else { 0 };
        }
        self.pace = self.steer(heard, queue, target);
    }

    /// Corrects the capacity by what the link showed while it was full, and while it was not.
    fn follow(&mut self, heard: &Heard, is_whole: bool, queue: Duration, target: Duration) {
        let capacity = self.capacity.unwrap_or(self.pace);
        let is_busy = heard.busy.micros().saturating_mul(10) >= heard.interval.micros().saturating_mul(9);
        self.full = if queue > target >> 1 { self.full.saturating_add(1) } else { 0 };
        let most = capacity.max(scaled(self.delivery.best(), 65_536 + ABOVE_BEST));
        let capacity = match self.busy_rate(heard).map(|rate| rate.min(most)) {
            Some(rate) if rate > capacity && is_busy => towards(capacity, rate, 2),
            Some(rate) if rate > capacity => towards(capacity, rate.min(capacity.saturating_add(capacity >> 2)), 2),
            // It is full. What arrives of little that was sent is no measure of it.
            Some(rate) if is_busy && heard.is_used && self.full >= FULL_REPORTS && queue > target => {
                towards(capacity, rate, 2)
            }
            _ if is_whole && self.empty >= EMPTY_REPORTS => capacity.max(self.delivery.rate()),
            _ if is_whole => capacity.max(self.delivery.sure_rate()),
            _ => capacity,
        };
        let is_back = self.empty >= RETURN_REPORTS && heard.is_used && heard.at >= self.blind_until;
        let usual = if is_back { self.delivery.usual() } else { 0 };
        self.capacity = Some(if usual > capacity { towards(capacity, usual, 1) } else { capacity }.max(LEAST_PACE));
    }

    /// The pace that moves the queue towards its target: above the capacity when it is shorter, by up to half of that after
    /// many reports of an empty queue, and below by up to a fifth when it is longer. The slower the news come, the less.
    fn steer(&self, heard: &Heard, queue: Duration, target: Duration) -> u64 {
        let capacity = self.capacity.unwrap_or(self.pace);
        let (queue, target) = (queue.micros(), target.micros().max(1));
        let loop_time = (heard.rtt + REPORT_INTERVAL).micros().max(1).saturating_mul(2);
        let gain = target.saturating_mul(65_536).checked_div(loop_time).unwrap_or(0).clamp(LEAST_GAIN, MOST_GAIN);
        let off = queue.abs_diff(target).min(target.saturating_mul(2));
        let share = |gain: u64| scaled(capacity, gain.saturating_mul(off).checked_div(target).unwrap_or(0));
        if queue > target {
            return capacity.saturating_sub(share(gain));
        }
        let doublings = u32::from(self.empty.checked_div(EMPTY_REPORTS).unwrap_or(0)).min(4);
        capacity.saturating_add(share((gain << doublings).min(EMPTY_GAIN)))
    }

    /// The queue that is aimed at.
    fn target(&self, jitter: Duration) -> Duration {
        let noise = Duration::from_micros(jitter.micros().max(self.wobble.micros()).saturating_mul(3) / 2);
        noise.max(LEAST_QUEUE).min(MOST_QUEUE)
    }

    fn bounded(&self, pace: u64) -> u64 {
        let ceiling = if self.ceiling == 0 { MOST_PACE } else { self.ceiling.max(LEAST_PACE) };
        pace.clamp(LEAST_PACE, ceiling)
    }
}

/// A configured rate is likely the truth: most of it is tried at once.
fn first_pace(ceiling: u64) -> u64 {
    if ceiling == 0 { FIRST_PACE } else { part(ceiling, HINT).max(LEAST_PACE) }
}

/// `of` 256ths of `rate`.
const fn part(rate: u64, of: u64) -> u64 {
    (rate >> 8).saturating_mul(of)
}

/// `share` 65,536ths of `rate`.
const fn scaled(rate: u64, share: u64) -> u64 {
    rate.saturating_mul(share) >> 16
}

/// `from` moved by a `1 / 2^shift`-th of the way towards `to`.
const fn towards(from: u64, to: u64, shift: u32) -> u64 {
    if to >= from {
        from.saturating_add(to.saturating_sub(from) >> shift)
    } else {
        from.saturating_sub(from.saturating_sub(to) >> shift)
    }
}

/// Bytes per second.
fn per_second(bytes: u64, time: Duration) -> u64 {
    bytes.saturating_mul(1_000_000).checked_div(time.micros()).unwrap_or(0)
}

#[cfg(test)]
mod tests;

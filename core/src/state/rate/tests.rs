// SPDX-License-Identifier: BSD-2-Clause
//! The rate against links of water: what is sent flows through a queue at the link's rate, and is reported 50 ms later.

use heapless::Deque;

use super::*;

const STEP: Duration = REPORT_INTERVAL;

/// A link, and what is believed of it.
struct Link {
    rate: Rate,
    /// Bytes per second.
    carries: u64,
    /// Bytes; what does not fit is lost.
    buffer: u64,
    /// Delay that is no queue, for a rate in bytes per second.
    noise: fn(u64) -> Duration,
    queued: u64,
    reports: Deque<Heard, 3>,
    now: Instant,
}

impl Link {
    fn new(carries: u64, buffer: u64) -> Self {
        let now = Instant::from_micros(1_000_000);
        let noise = |_| Duration::ZERO;
        Self { rate: Rate::new(0), carries, buffer, noise, queued: 0, reports: Deque::new(), now }
    }

    /// Sends as much as may be for so long.
    fn run(&mut self, time: Duration) {
        for _ in 0..time.micros() / STEP.micros() {
            let sent = per_step(self.rate.pace());
            let carried = (self.queued + sent).min(per_step(self.carries));
            let left = self.queued + sent - carried;
            let is_busy = self.queued > 0 && left > 0;
            self.queued = left.min(self.buffer);
            let lost = (left - self.queued) / 1_000;
            let queue = Duration::from_micros(self.queued * 1_000_000 / self.carries) + (self.noise)(self.rate.pace());
            let heard = Heard {
                at: self.now,
                rtt: Duration::from_millis(40),
                interval: STEP,
                bytes: carried,
                busy_bytes: if is_busy { carried } else { 0 },
                busy: if is_busy { STEP } else { Duration::ZERO },
                queue,
                jitter: Duration::ZERO,
                arrived: u32::try_from(carried / 1_000).unwrap(),
                lost: u32::try_from(lost).unwrap(),
                is_used: true,
            };
            self.now += STEP;
            self.reports.push_back(heard).unwrap();
            if self.reports.is_full() {
                self.rate.hear(Heard { at: self.now, ..self.reports.pop_front().unwrap() });
            }
        }
    }

    /// Sends as much as may be in the first quarter of each report's time, and nothing in the rest, for so long. Returns the packets
    /// lost.
    fn run_in_bursts(&mut self, time: Duration) -> u64 {
        let mut losses = 0;
        for _ in 0..time.micros() / STEP.micros() {
            let sent = per_step(self.rate.pace()) / 4;
            let queued = sent.saturating_sub(per_step(self.carries) / 4);
            let lost = queued.saturating_sub(self.buffer) / 1_000;
            let bytes = sent - lost * 1_000;
            let arrived = u32::try_from(bytes / 1_000).unwrap();
            let rtt = Duration::from_millis(40);
            let lost_of_them = u32::try_from(lost).unwrap();
            let heard = Heard { rtt, interval: STEP, bytes, arrived, lost: lost_of_them, ..Heard::default() };
            self.now += STEP;
            self.rate.hear(Heard { at: self.now, ..heard });
            losses += lost;
        }
        losses
    }

    /// The pace in hundredths of what the link carries, in the mean over so long.
    fn percent(&mut self, time: Duration) -> u64 {
        let steps = time.micros() / STEP.micros();
        let mut sum = 0;
        for _ in 0..steps {
            self.run(STEP);
            sum += self.rate.pace();
        }
        sum * 100 / steps / self.carries
    }
}

fn per_step(rate: u64) -> u64 {
    rate * STEP.micros() / 1_000_000
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_link_is_filled_and_its_queue_stays_short() {
    for carries in [300_000, 1_500_000, 12_000_000, 100_000_000] {
        let mut link = Link::new(carries, carries);
        link.run(SECOND * 5);
        let percent = link.percent(SECOND * 10);
        assert!((96..=101).contains(&percent), "{percent} % of {carries}");
        assert!(link.rate.queue() < Duration::from_millis(15), "{:?} at {carries}", link.rate.queue());
    }
}

#[test]
fn delay_that_grows_with_the_packets_and_not_with_a_queue_is_no_reason_to_send_less() {
    let mut link = Link::new(7_500_000, 750_000);
    // A radio link's: 15 ms once packets are close.
    link.noise = |pace| Duration::from_micros(15_000 * pace / (pace + 500_000));
    link.run(SECOND * 20);
    let percent = link.percent(SECOND * 10);
    assert!(percent >= 95, "{percent} %");
}

#[test]
fn a_link_that_becomes_slower_is_followed_down_and_up_again() {
    let mut link = Link::new(4_000_000, 1_600_000);
    link.run(SECOND * 10);
    link.carries = 1_000_000;
    link.run(SECOND * 4);
    assert!(link.rate.queue() < Duration::from_millis(20), "{:?}", link.rate.queue());
    let percent = link.percent(SECOND * 5);
    assert!((90..=101).contains(&percent), "{percent} %");
    link.carries = 4_000_000;
    link.run(SECOND * 4);
    let percent = link.percent(SECOND * 5);
    assert!((95..=101).contains(&percent), "{percent} %");
}

#[test]
fn a_shallow_buffer_is_kept_from_overflowing() {
    let mut link = Link::new(3_750_000, 15_000);
    link.run(SECOND * 20);
    let percent = link.percent(SECOND * 20);
    assert!((90..=102).contains(&percent), "{percent} %");
}

#[test]
fn bursts_that_overflow_a_shallow_buffer_are_slowed_though_the_link_has_room_on_average() {
    let mut link = Link::new(3_750_000, 4_000);
    link.rate.pace = 6_000_000;
    link.rate.capacity = Some(6_000_000);
    link.rate.phase = Phase::Steady;
    link.run_in_bursts(SECOND * 10);
    let lost = link.run_in_bursts(SECOND * 10);
    assert!(lost < 100, "{lost} of some 9,000 packets lost at {}", link.rate.pace());
}

#[test]
fn loss_for_a_moment_does_not_hold_a_link_down() {
    let mut link = Link::new(12_000_000, 1_200_000);
    link.run(SECOND * 10);
    // A satellite's handover: a third is lost.
    let (carries, buffer) = (link.carries, link.buffer);
    (link.carries, link.buffer) = (carries * 2 / 3, 1);
    link.run(Duration::from_millis(150));
    (link.carries, link.buffer) = (carries, buffer);
    link.run(SECOND * 8);
    let percent = link.percent(SECOND * 2);
    assert!(percent >= 90, "{percent} %");
}

#[test]
fn a_queue_behind_many_empty_ones_does_not_stop_a_link() {
    let mut link = Link::new(4_000_000, 4_000_000);
    link.run(SECOND * 10);
    link.rate.empty = u8::MAX;
    let heard =
        Heard { at: link.now, rtt: Duration::from_millis(40), interval: STEP, bytes: 100_000, ..Heard::default() };
    link.rate.hear(Heard { queue: Duration::from_millis(19), ..heard });
    assert!(link.rate.pace() > 2_000_000, "{}", link.rate.pace());
}

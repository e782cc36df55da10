// SPDX-License-Identifier: BSD-2-Clause
//! What links could carry at best: the measure a tunnel is held against.

use mlvpn::lab::link::{Direction, LinkModel, QueueLimit};
use mlvpn_core::words::time::{Duration, Instant};

/// Bytes of the packets that the links are filled with.
const PACKET: u32 = 1500;

/// The links are filled up this often.
const STEP: Duration = Duration::from_millis(1);

/// How much is kept waiting: more than a gigabit per second sends in a step.
const BACKLOG: u64 = 256 << 10;

/// Bytes that pass a link's bottleneck, lost or not, when something always waits for it, from `from` to `until` after
/// its start. Work: one packet at a time.
#[must_use]
pub fn carried(direction: &Direction, seed: u64, from: Duration, until: Duration) -> u64 {
    let direction = Direction { queue: QueueLimit::Bytes(BACKLOG), overhead_bytes: 0, ..direction.clone() };
    let mut link = LinkModel::new(direction, seed, Instant::ORIGIN);
    let (mut at, mut before) = (Duration::ZERO, 0);
    while at < until {
        let now = Instant::ORIGIN + at;
        while link.poll(now).is_some() {}
        if at <= from {
            before = link.counters().carried_bytes;
        }
        while link.is_up() && link.queue_bytes() + u64::from(PACKET) <= BACKLOG {
            if link.offer((), PACKET, now).is_err() {
                break;
            }
        }
        at = at + STEP;
    }
    link.counters().carried_bytes - before
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlvpn::lab::link::{Capacity, Change};

    #[test]
    fn a_link_that_fails_and_changes_its_rate_carries_what_is_left() {
        let direction = Direction {
            capacity: Capacity::Rate(12_000_000),
            schedule: vec![
                (Duration::from_secs(2), Change::Up(false)),
                (Duration::from_secs(3), Change::Up(true)),
                (Duration::from_secs(4), Change::Rate(6_000_000)),
            ],
            ..Direction::default()
        };
        let bytes = carried(&direction, 1, Duration::from_secs(1), Duration::from_secs(6));
        assert!(bytes.abs_diff(1_500_000 * 2 + 750_000 * 2) < 10_000, "{bytes}");
    }
}

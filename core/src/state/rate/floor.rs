// SPDX-License-Identifier: BSD-2-Clause
//! Delay above the least that is no queue of ours. On a radio link packets wait for others that were delayed: the more are
//! sent, the longer, long before the link is full. What stays while a drain has ended every queue is that.

use crate::words::time::Duration;

/// A longer delay that stays is a queue after all, of a link that became slower.
const MOST: Duration = Duration::from_millis(20);

/// The delay of one link that stays when its queue was drained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    delay: Duration,
    /// The least since a drain ended, while its effect is still to be seen.
    candidate: Option<Duration>,
}

impl Floor {
    /// A drain has ended, when the delay was this.
    pub(super) fn begin(&mut self, delay: Duration) {
        self.candidate = Some(delay);
    }

    /// Takes in a delay; with `is_last` the drain's effect is over.
    pub(super) fn see(&mut self, delay: Duration, is_last: bool) {
        let Some(candidate) = self.candidate.map(|candidate| candidate.min(delay)) else { return };
        self.candidate = Some(candidate);
        if is_last {
            self.delay = if candidate > MOST { Duration::ZERO } else { candidate };
            self.candidate = None;
        }
    }

    /// The queue, where the delay above the least is this.
    pub(super) fn above(&self, delay: Duration) -> Duration {
        delay.saturating_sub(self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_least_delay_behind_a_drain_is_no_queue() {
        let mut floor = Floor::default();
        floor.see(ms(3), true);
        assert_eq!(floor.above(ms(9)), ms(9), "no drain has ended");
        floor.begin(ms(12));
        floor.see(ms(8), false);
        assert_eq!(floor.above(ms(9)), ms(9), "it may still fall");
        floor.see(ms(10), true);
        assert_eq!((floor.above(ms(9)), floor.above(ms(5))), (ms(1), ms(0)));
        floor.see(ms(1), true);
        assert_eq!(floor.above(ms(9)), ms(1), "only drains change it");
    }

    #[test]
    fn a_queue_that_a_drain_did_not_end_is_one() {
        let mut floor = Floor::default();
        floor.begin(ms(60));
        floor.see(MOST + ms(1), true);
        assert_eq!(floor.above(ms(60)), ms(60));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! RACK: a segment is lost when one sent sufficiently later has arrived (RFC 8985 with Linux's constants).

use mlvpn_core::words::time::{Duration, Instant};

use super::scoreboard::{Delivery, Scoreboard};

/// Duplicate acknowledgements that mean loss while no reordering was seen.
const THRESHOLD: u64 = 3;

/// Recoveries for which a widened window is kept (RFC 8985, 6.2).
const PERSIST: u32 = 16;

/// The window widens by quarters of the least round trip up to this many.
const MOST_STEPS: u64 = 255;

/// See the module's description.
#[derive(Debug)]
pub struct Rack {
    /// The segment sent last of all that arrived.
    newest: Option<(Instant, u64)>,
    rtt: Duration,
    saw_reordering: bool,
    steps: u64,
    persist: u32,
    /// Deliveries when the window was last widened: once a round trip is enough.
    widened_at: u64,
    saw_duplicate: bool,
}

impl Default for Rack {
    fn default() -> Self {
        Self {
            newest: None,
            rtt: Duration::ZERO,
            saw_reordering: false,
            steps: 1,
            persist: 0,
            widened_at: 0,
            saw_duplicate: false,
        }
    }
}

/// What the window depends on besides.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The time.
    pub now: Instant,
    /// The least round trip seen.
    pub least_rtt: Duration,
    /// The smoothed round trip.
    pub smoothed: Duration,
    /// Losses are being repaired.
    pub is_recovering: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Segments newly taken for lost.
    pub lost: u64,
    /// When to look again.
    pub again: Option<Instant>,
}

impl Rack {
    /// Takes note of what an acknowledgement delivered, and whether it told of a segment that arrived twice.
    pub fn advance(&mut self, delivery: &Delivery, saw_duplicate: bool, least_rtt: Duration, now: Instant) {
        self.saw_reordering |= delivery.is_reordered;
        self.saw_duplicate |= saw_duplicate;
        let Some((index, sent)) = delivery.newest else { return };
        self.adapt(sent.stamp.delivered, delivery.total);
        let age = now.since(sent.at);
        // It may be the first copy that arrived so soon, and not the one sent last.
        if sent.times > 1 && age < least_rtt {
            return;
        }
        if self.newest.is_none_or(|newest| (sent.at, index) > newest) {
            (self.newest, self.rtt) = (Some((sent.at, index)), age);
        }
    }

    /// Takes for lost what must be, and tells when more may be.
    pub fn detect(&self, board: &mut Scoreboard, circumstances: Circumstances) -> Found {
        let Some(newest) = self.newest else { return Found::default() };
        let window = self.rtt + self.window(board, circumstances);
        let (mut lost, mut found) = (Vec::new(), Found::default());
        board.visit_by_time(|index, sent| {
            if (sent.at, index) >= newest {
                return false;
            }
            let until = sent.at + window;
            if until <= circumstances.now {
                lost.push(index);
            } else {
                found.again = found.again.max(Some(until));
            }
            true
        });
        found.lost = lost.iter().map(|index| u64::from(board.lose(*index))).sum();
        found
    }

    /// A recovery is over.
    pub const fn end_recovery(&mut self) {
        self.persist = self.persist.saturating_sub(1);
    }

    fn adapt(&mut self, delivered_at_sending: u64, delivered: u64) {
        if delivered_at_sending < self.widened_at {
            self.saw_duplicate = false;
        }
        if std::mem::take(&mut self.saw_duplicate) {
            (self.steps, self.persist) = ((self.steps + 1).min(MOST_STEPS), PERSIST);
            self.widened_at = delivered;
        } else if self.persist == 0 {
            self.steps = 1;
        }
    }

    fn window(&self, board: &Scoreboard, circumstances: Circumstances) -> Duration {
        if !self.saw_reordering && (circumstances.is_recovering || board.sacked() >= THRESHOLD) {
            return Duration::ZERO;
        }
        ((circumstances.least_rtt * self.steps) >> 2).min(circumstances.smoothed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn board() -> Scoreboard {
        let mut board = Scoreboard::default();
        for millis in 0..10 {
            board.send(at(millis), false);
        }
        board
    }

    const fn circumstances(millis: u64) -> Circumstances {
        let rtt = Duration::from_millis(40);
        Circumstances { now: at(millis), least_rtt: rtt, smoothed: rtt, is_recovering: false }
    }

    fn arrive(board: &mut Scoreboard, rack: &mut Rack, indices: &[u64], millis: u64) {
        let mut delivery = Delivery::default();
        indices.iter().for_each(|index| board.sack(*index, at(millis), &mut delivery));
        rack.advance(&delivery, false, Duration::from_millis(40), at(millis));
    }

    #[test]
    fn three_later_arrivals_prove_a_loss_at_once_while_nothing_was_reordered() {
        let (mut board, mut rack) = (board(), Rack::default());
        arrive(&mut board, &mut rack, &[1, 2], 42);
        let found = rack.detect(&mut board, circumstances(42));
        assert_eq!(found, Found { lost: 0, again: Some(at(50)) }, "a quarter of the least round trip");
        arrive(&mut board, &mut rack, &[3], 43);
        assert_eq!(rack.detect(&mut board, circumstances(43)).lost, 1);
    }

    #[test]
    fn once_reordering_was_seen_the_window_is_waited_for() {
        let (mut board, mut rack) = (board(), Rack::default());
        arrive(&mut board, &mut rack, &[1], 41);
        arrive(&mut board, &mut rack, &[0], 42);
        arrive(&mut board, &mut rack, &[3, 4, 5, 6], 46);
        assert_eq!(rack.detect(&mut board, circumstances(46)).lost, 0);
        assert_eq!(rack.detect(&mut board, circumstances(52)).lost, 1);
    }
}

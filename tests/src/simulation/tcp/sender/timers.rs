// SPDX-License-Identifier: BSD-2-Clause
//! A sender's timers: the retransmission timeout, the tail probe (RFC 8985, 7), and the reordering window's end.

use mlvpn_core::words::time::{Duration, Instant};

use super::transmit::micros_after;
use super::{Forced, Handshake, Sender, Timers};
use crate::simulation::tcp::recovery::State;
use crate::simulation::tcp::round_trip::LEAST_TIMEOUT;
use crate::simulation::tcp::scoreboard::Delivery;

/// Linux's least timer: two ticks of a millisecond.
const TICK: Duration = Duration::from_millis(2);

impl Sender {
    /// When to call [`Sender::handle_timeout`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if let Handshake::Due(at) = self.handshake {
            return Some(at);
        }
        let paced = (self.is_paced_out() && self.wants_to_send()).then(|| micros_after(self.paced_until));
        let application = self.settings.application.and_then(|rate| self.next_handed_over(rate));
        let timers = [self.timers.timeout, self.timers.probe, self.timers.reorder, paced, application];
        timers.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.reorder.is_some_and(|at| at <= now) {
            self.timers.reorder = None;
            if self.find_losses(now) > 0 && matches!(self.recovery.state, State::Open | State::Reduced) {
                self.begin_recovery();
            }
            if self.recovery.state == State::Recovery {
                self.recovery.shrink(&mut self.window, (1, self.board.in_flight()), false);
            }
        }
        if self.timers.timeout.is_some_and(|at| at <= now) {
            self.time_out(now);
        } else if self.timers.probe.is_some_and(|at| at <= now) {
            self.probe_tail(now);
        }
    }

    pub(super) fn arm(&mut self, delivery: &Delivery, now: Instant) {
        if self.board.outstanding() == 0 {
            self.timers = Timers::default();
        } else if delivery.acknowledged > 0 {
            self.timers.failures = 0;
            self.timers.timeout = Some(now + self.rtt.timeout(0));
        } else if self.is_older_than_oldest(delivery, now) {
            self.timers.timeout = Some(now + self.rtt.timeout(self.timers.failures));
        }
        if delivery.segments > 0 {
            self.arm_probe(now);
        }
    }

    /// What arrived out of order was sent before the oldest segment was sent last, whose answer can still come.
    pub(super) fn is_older_than_oldest(&self, delivery: &Delivery, now: Instant) -> bool {
        let oldest = self.board.get(self.board.first()).map(|sent| now.since(sent.at));
        delivery.last_rtt.is_some_and(|age| oldest.is_some_and(|oldest| age > oldest))
    }

    /// A tail probe is sent when nothing is missing and nothing was heard for two round trips.
    pub(super) fn arm_probe(&mut self, now: Instant) {
        self.timers.probe = None;
        let Some(smoothed) = self.rtt.smoothed() else { return };
        let is_calm = matches!(self.recovery.state, State::Open | State::Reduced) && self.board.sacked() == 0;
        if !is_calm || self.board.outstanding() == 0 || self.tail_probe.is_some() {
            return;
        }
        let slack = if self.board.outstanding() == 1 { LEAST_TIMEOUT } else { TICK };
        let at = now + smoothed * 2 + slack;
        self.timers.probe = Some(at).filter(|at| self.timers.timeout.is_none_or(|timeout| *at < timeout));
    }

    pub(super) fn probe_tail(&mut self, now: Instant) {
        self.timers.probe = None;
        let has_new = self.has_room_at_receiver() && self.is_handed_over(now);
        self.forced = Some(if has_new { Forced::New } else { Forced::Copy(self.board.next().saturating_sub(1)) });
        self.tail_probe = Some((self.board.next(), !has_new));
        self.timers.timeout = Some(now + self.rtt.timeout(0));
        self.sendings.probes += 1;
    }

    pub(super) fn time_out(&mut self, now: Instant) {
        self.sendings.timeouts += 1;
        let before = self.window;
        if matches!(self.recovery.state, State::Open | State::Reduced) || self.timers.failures == 0 {
            self.window.threshold = self.congestion.reduced(&before);
        }
        self.congestion.reset();
        self.board.lose_all();
        self.window.segments = self.board.in_flight() + 1;
        self.recovery.begin_loss(before, self.board.next());
        self.timers.failures += 1;
        self.timers = Timers {
            timeout: Some(now + self.rtt.timeout(self.timers.failures)),
            probe: None,
            reorder: None,
            ..self.timers
        };
        (self.tail_probe, self.forced) = (None, self.board.next_resend().map(Forced::Copy));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A sender as Linux has it: SACK, RACK and tail probes (RFC 8985), PRR, undo, and one of the [`Algorithm`](super::congestion::Algorithm)s. Segments
//! leave one by one (no segmentation offload).

mod settings;
mod timers;
mod transmit;

use mlvpn_core::words::time::{Duration, Instant};

use super::congestion::{Acked, Congestion, Sample, Window};
use super::rack::{Circumstances, Rack};
use super::recovery::{Recovery, State, clock};
use super::round_trip::RoundTrip;
use super::scoreboard::{Delivery, Scoreboard};
use super::segment::{Segment, widen};
pub use settings::{Sendings, Settings};

/// Bytes of the timestamp option, which each segment's payload is smaller by.
const OPTIONS: u64 = 12;

/// See the module's description.
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    handshake: Handshake,
    /// Bytes of payload in each segment.
    payload: u64,
    board: Scoreboard,
    rtt: RoundTrip,
    rack: Rack,
    recovery: Recovery,
    window: Window,
    congestion: Congestion,
    /// The receiver takes nothing from here on, in bytes.
    receiver_edge: u64,
    echo: u32,
    timers: Timers,
    /// A tail probe went out when this was the next segment; whether it was a copy.
    tail_probe: Option<(u64, bool)>,
    /// A probe or the timer's first copy, which no window holds back.
    forced: Option<Forced>,
    is_window_limited: bool,
    most_outstanding: u64,
    /// Nanoseconds before which pacing lets nothing out.
    paced_until: u64,
    last_sent: Instant,
    tells_reduced: bool,
    opened_at: Instant,
    sendings: Sendings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// The SYN is due then.
    Due(Instant),
    /// All is agreed; the last acknowledgement may be owed.
    Done { owes: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forced {
    New,
    Copy(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    timeout: Option<Instant>,
    failures: u32,
    probe: Option<Instant>,
    reorder: Option<Instant>,
}

impl Sender {
    /// A sender that opens its connection at `now`.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            handshake: Handshake::Due(now),
            payload: 0,
            board: Scoreboard::default(),
            rtt: RoundTrip::default(),
            rack: Rack::default(),
            recovery: Recovery::default(),
            window: Window::default(),
            congestion: Congestion::new(settings.algorithm, settings.seed),
            receiver_edge: 0,
            echo: 0,
            timers: Timers::default(),
            tail_probe: None,
            forced: None,
            is_window_limited: false,
            most_outstanding: 0,
            paced_until: 0,
            last_sent: now,
            tells_reduced: false,
            opened_at: now,
            sendings: Sendings::default(),
        }
    }

    /// The congestion window.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// The round-trip times.
    #[must_use]
    pub const fn rtt(&self) -> &RoundTrip {
        &self.rtt
    }

    /// What was done so far.
    #[must_use]
    pub const fn sendings(&self) -> &Sendings {
        &self.sendings
    }

    /// Bytes of payload in a segment, once the connection is open.
    #[must_use]
    pub const fn payload(&self) -> u64 {
        self.payload
    }

    /// Takes a segment from the receiver.
    pub fn receive(&mut self, segment: &Segment, now: Instant) {
        self.echo = segment.timestamps.0;
        if segment.is_syn {
            return self.open(segment, now);
        }
        let Some(low) = segment.acknowledged.filter(|_| self.payload > 0) else { return };
        let edge = 1 + self.board.first() * self.payload;
        let acknowledged = widen(low, edge);
        self.receiver_edge = self.receiver_edge.max(acknowledged + segment.window_bytes);
        let was_in_flight = self.board.in_flight();
        let mut delivery = Delivery::default();
        let has_duplicate = self.note_sacks(segment, acknowledged, now, &mut delivery);
        self.board.acknowledge((acknowledged - 1) / self.payload, now, &mut delivery);
        self.note_round_trip(segment, &delivery, now);
        let least = self.rtt.least().unwrap_or_default();
        self.rack.advance(&delivery, has_duplicate, least, now);
        if has_duplicate {
            self.recovery.note_needless();
        }
        self.note_probe_answer(has_duplicate);
        let lost = self.react(segment, &delivery, now);
        self.steer(&delivery, (lost, was_in_flight), now);
        self.arm(&delivery, now);
    }

    fn open(&mut self, segment: &Segment, now: Instant) {
        if self.payload == 0 {
            let largest = segment.max_payload.unwrap_or(536).min(self.settings.largest_payload);
            self.payload = u64::from(largest) - OPTIONS;
            self.receiver_edge = 1 + segment.window_bytes;
            self.rtt.add(now.since(self.last_sent));
            self.opened_at = now;
        }
        self.handshake = Handshake::Done { owes: true };
    }

    /// Takes in what came out of order; whether the acknowledgement tells of a segment that came twice.
    fn note_sacks(&mut self, segment: &Segment, acknowledged: u64, now: Instant, delivery: &mut Delivery) -> bool {
        let wide = |(from, to): (u32, u32)| (widen(from, acknowledged), widen(to, acknowledged));
        let [first, second, _] = segment.sacks.map(|block| block.map(wide));
        let is_told = first.is_some_and(|(from, to)| {
            to <= acknowledged || second.is_some_and(|(outer, end)| outer <= from && to <= end)
        });
        for (from, to) in segment.sacks.into_iter().flatten().map(wide).skip(usize::from(is_told)) {
            let from = ((from.max(1) - 1) / self.payload).max(self.board.first());
            for index in from..((to.max(1) - 1) / self.payload).min(self.board.next()) {
                self.board.sack(index, now, delivery);
            }
        }
        is_told
    }

    fn note_round_trip(&mut self, segment: &Segment, delivery: &Delivery, now: Instant) {
        if let Some(first) = delivery.first_rtt {
            self.rtt.add(first);
        } else if delivery.acknowledged > 0 && segment.timestamps.1 != 0 {
            let echoed = clock(now).wrapping_sub(segment.timestamps.1);
            self.rtt.add(Duration::from_millis(u64::from(echoed)));
        }
        if let Some(last) = delivery.last_rtt {
            self.rtt.note_least(last);
        }
    }

    /// A tail probe that brought the tail back tells of a loss that nobody noticed.
    fn note_probe_answer(&mut self, has_duplicate: bool) {
        let Some((next, was_copy)) = self.tail_probe.filter(|(next, _)| self.board.first() >= *next || has_duplicate)
        else {
            return;
        };
        self.tail_probe = None;
        if was_copy && !has_duplicate && self.recovery.state == State::Open && self.board.first() >= next {
            self.begin(State::Reduced);
        }
    }

    /// Changes the state as the acknowledgement demands; how many segments were lost.
    fn react(&mut self, segment: &Segment, delivery: &Delivery, now: Instant) -> u64 {
        let echoed = Some(segment.timestamps.1).filter(|_| delivery.acknowledged > 0);
        let is_repairing = matches!(self.recovery.state, State::Recovery | State::Loss);
        // A false alarm shows as the first segment missed arrives, not later.
        let undoes = is_repairing
            && (self.recovery.was_false(echoed)
                && (delivery.acknowledged > 0 || self.recovery.state == State::Recovery));
        if undoes && (self.recovery.is_over(self.board.first()) || self.board.resent() == 0 || self.was_early(delivery))
        {
            self.undo();
        } else if self.recovery.is_over(self.board.first()) {
            self.end();
        }
        let lost =
            if self.board.sacked() > 0 || is_repairing || self.board.lost() > 0 { self.find_losses(now) } else { 0 };
        if self.board.lost() > 0 && matches!(self.recovery.state, State::Open | State::Reduced) {
            self.begin_recovery();
        }
        if segment.is_echo && self.settings.ecn && self.recovery.state == State::Open {
            self.begin(State::Reduced);
            self.tells_reduced = true;
        }
        lost
    }

    /// After a timeout: something sent once arrived, so not all was lost.
    fn was_early(&self, delivery: &Delivery) -> bool {
        self.recovery.state == State::Loss && delivery.has_original
    }

    fn undo(&mut self) {
        self.sendings.undone += 1;
        self.board.unlose();
        self.recovery.undo(&mut self.window);
        self.end();
    }

    fn end(&mut self) {
        let segments = self.window.segments;
        self.recovery.end(&mut self.window);
        if self.congestion.rules_alone() {
            self.window.segments = segments;
        }
        self.rack.end_recovery();
    }

    fn begin_recovery(&mut self) {
        self.sendings.recoveries += 1;
        self.begin(State::Recovery);
    }

    fn begin(&mut self, state: State) {
        // A window reduced for a mark is not reduced again for the loss that follows.
        let threshold = if self.recovery.state == State::Reduced {
            self.window.threshold
        } else {
            self.congestion.reduced(&self.window)
        };
        self.recovery.begin(state, &mut self.window, threshold, self.board.next());
    }

    fn find_losses(&mut self, now: Instant) -> u64 {
        let circumstances = self.circumstances(now);
        let found = self.rack.detect(&mut self.board, circumstances);
        self.timers.reorder = found.again;
        found.lost
    }

    fn circumstances(&self, now: Instant) -> Circumstances {
        Circumstances {
            now,
            least_rtt: self.rtt.least().unwrap_or_default(),
            smoothed: self.rtt.smoothed().unwrap_or_default(),
            is_recovering: matches!(self.recovery.state, State::Recovery | State::Loss),
        }
    }

    /// Sets the window.
    fn steer(&mut self, delivery: &Delivery, (lost, was_in_flight): (u64, u64), now: Instant) {
        let acked = Acked {
            now,
            segments: delivery.segments,
            lost,
            rtt: delivery.last_rtt,
            smoothed: self.rtt.smoothed(),
            first: self.board.first(),
            next: self.board.next(),
            was_in_flight,
            in_flight: self.board.in_flight(),
            delivered: self.board.delivered(),
            sample: delivery.newest.map(|(_, sent)| Sample { stamp: sent.stamp, sent_at: sent.at }),
            is_recovering: self.recovery.state == State::Recovery,
            is_loss: self.recovery.state == State::Loss,
        };
        let is_limited = self.is_limited_by_window();
        match &mut self.congestion {
            Congestion::Bbr(bbr) => bbr.update(&mut self.window, &acked),
            Congestion::Cubic(cubic) => {
                cubic.note_rtt(&mut self.window, &acked);
                if matches!(self.recovery.state, State::Reduced | State::Recovery) {
                    let counts = (delivery.segments, acked.in_flight);
                    let has_advanced = delivery.acknowledged > 0 && lost == 0;
                    self.recovery.shrink(&mut self.window, counts, has_advanced);
                } else if delivery.segments > 0 && is_limited {
                    cubic.grow(&mut self.window, &acked);
                }
            }
        }
    }

    const fn is_limited_by_window(&self) -> bool {
        if self.window.is_slow_start() {
            return self.window.segments < 2 * self.most_outstanding;
        }
        self.is_window_limited
    }
}

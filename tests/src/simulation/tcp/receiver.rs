// SPDX-License-Identifier: BSD-2-Clause
//! A receiver as Linux has it: delayed and quick acknowledgements, selective ones and their compression, duplicates told
//! (RFC 2883), and a window that grows with what the application takes. The application takes everything at once.

use mlvpn_core::words::time::{Duration, Instant};

use super::recovery::clock;
use super::segment::{Ecn, Segment, narrow, widen};

/// The window a connection starts with, in bytes.
const FIRST_WINDOW: u64 = 64_240;

/// The largest: receive buffers of 6 MB, as net.ipv4.tcp_rmem allows.
const LARGEST_WINDOW: u64 = 6 << 20;

/// Segments acknowledged one by one at the beginning: Linux's TCP_MAX_QUICKACKS.
const QUICK: u32 = 16;

/// A lone segment is acknowledged after this long: Linux's TCP_DELACK_MIN.
const DELAY: Duration = Duration::from_millis(40);

/// Acknowledgements of segments out of order are held back for this long or a twentieth of the round trip, unless so
/// many have been (net.ipv4.tcp_comp_sack_*); the first three are not.
const COMPRESSION: Duration = Duration::from_millis(1);
const COMPRESSED: u32 = 44;
const UNCOMPRESSED: u32 = 3;

/// What the receiver saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes for the application, in order.
    pub bytes: u64,
    /// Segments that came twice.
    pub duplicates: u64,
    /// Segments that came before one sent earlier.
    pub out_of_order: u64,
    /// Segments that bore a mark of congestion.
    pub marked: u64,
}

impl Received {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: &Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            duplicates: self.duplicates + other.duplicates,
            out_of_order: self.out_of_order + other.out_of_order,
            marked: self.marked + other.marked,
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Receiver {
    ports: (u16, u16),
    largest_payload: u16,
    /// The SYN was seen; its answer is sent when `owes` says so.
    is_open: bool,
    next: u64,
    /// Beyond `next`, the one that grew last first.
    ranges: Vec<(u64, u64)>,
    duplicate: Option<(u64, u64)>,
    /// Bytes in order since the last acknowledgement.
    unacknowledged: u64,
    segment_bytes: u64,
    quick_left: u32,
    owes: Owes,
    compressed: u32,
    duplicates_in_a_row: u32,
    echo: u32,
    is_marked: bool,
    window: Autotune,
    received: Received,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owes {
    Nothing,
    Now,
    By(Instant),
}

impl Receiver {
    /// Listens at `own` for whoever has port `peer`, and takes segments of up to `largest_payload` bytes.
    #[must_use]
    pub fn new(own: u16, peer: u16, largest_payload: u16) -> Self {
        Self {
            ports: (own, peer),
            largest_payload,
            is_open: false,
            next: 0,
            ranges: Vec::new(),
            duplicate: None,
            unacknowledged: 0,
            segment_bytes: 536,
            quick_left: QUICK,
            owes: Owes::Nothing,
            compressed: 0,
            duplicates_in_a_row: 0,
            echo: 0,
            is_marked: false,
            window: Autotune::default(),
            received: Received::default(),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub const fn received(&self) -> &Received {
        &self.received
    }

    /// When [`Receiver::poll_transmit`] has something without a new segment.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match self.owes {
            Owes::By(at) => Some(at),
            Owes::Nothing | Owes::Now => None,
        }
    }

    /// Takes a segment.
    pub fn receive(&mut self, segment: &Segment, now: Instant) {
        if segment.is_syn {
            (self.is_open, self.next, self.echo) = (true, 1, segment.timestamps.0);
            self.owes = Owes::Now;
            return;
        }
        if segment.payload == 0 {
            self.window.note_round_trip(segment.timestamps.1, now);
            return;
        }
        self.is_marked |= segment.ecn == Ecn::Experienced;
        self.received.marked += u64::from(segment.ecn == Ecn::Experienced);
        if segment.is_reduced {
            self.is_marked = segment.ecn == Ecn::Experienced;
        }
        let start = widen(segment.sequence, self.next);
        let end = start + segment.payload as u64;
        self.segment_bytes = self.segment_bytes.max(segment.payload as u64);
        self.window.note_round_trip(segment.timestamps.1, now);
        if end <= self.next || self.ranges.iter().any(|&(from, to)| from <= start && end <= to) {
            self.received.duplicates += 1;
            self.duplicate = Some((start, end));
            self.owes = Owes::Now;
        } else if start <= self.next {
            self.echo = segment.timestamps.0;
            self.take_in_order(end, now);
        } else {
            self.take_out_of_order(start, end, now);
        }
    }

    fn take_in_order(&mut self, end: u64, now: Instant) {
        let had_gap = !self.ranges.is_empty();
        let before = self.next;
        self.next = end;
        while let Some(place) = self.ranges.iter().position(|&(from, _)| from <= self.next) {
            let (_, to) = self.ranges.remove(place);
            self.next = self.next.max(to);
        }
        let bytes = self.next - before;
        self.received.bytes += bytes;
        self.window.take(bytes, self.segment_bytes, now);
        self.unacknowledged += bytes;
        (self.duplicates_in_a_row, self.compressed) = (0, 0);
        let is_quick = self.quick_left > 0;
        self.owes = if had_gap || is_quick || self.is_marked || self.unacknowledged > self.segment_bytes {
            Owes::Now
        } else {
            self.owes.or_by(now + DELAY)
        };
    }

    fn take_out_of_order(&mut self, start: u64, end: u64, now: Instant) {
        self.received.out_of_order += 1;
        let mut grown = (start, end);
        self.ranges.retain(|&(from, to)| {
            let touches = from <= grown.1 && grown.0 <= to;
            if touches {
                grown = (grown.0.min(from), grown.1.max(to));
            }
            !touches
        });
        self.ranges.insert(0, grown);
        if self.duplicates_in_a_row < UNCOMPRESSED || self.compressed >= COMPRESSED {
            self.duplicates_in_a_row += 1;
            self.owes = Owes::Now;
        } else {
            self.compressed += 1;
            let twentieth = Duration::from_micros(self.window.round_trip().micros() / 20);
            self.owes = self.owes.or_by(now + twentieth.min(COMPRESSION));
        }
    }

    /// The next acknowledgement, if one is due.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Segment> {
        match self.owes {
            Owes::Nothing => return None,
            Owes::By(at) if at > now => return None,
            Owes::Now | Owes::By(_) => {}
        }
        self.owes = Owes::Nothing;
        let is_answer = self.is_open && self.next == 1 && self.received.bytes == 0 && self.ranges.is_empty();
        self.unacknowledged = 0;
        self.compressed = 0;
        if !is_answer {
            self.quick_left = self.quick_left.saturating_sub(1);
        }
        Some(Segment {
            source: self.ports.0,
            destination: self.ports.1,
            sequence: u32::from(!is_answer),
            acknowledged: Some(narrow(self.next)),
            is_syn: is_answer,
            max_payload: is_answer.then_some(self.largest_payload),
            window_bytes: if is_answer { FIRST_WINDOW } else { self.window.bytes },
            sacks: self.blocks(),
            timestamps: (clock(now), self.echo),
            is_echo: self.is_marked && !is_answer,
            ..Segment::default()
        })
    }

    fn blocks(&mut self) -> [Option<(u32, u32)>; 3] {
        let mut blocks = self.duplicate.take().into_iter().chain(self.ranges.iter().copied());
        std::array::from_fn(|_| blocks.next().map(|(from, to)| (narrow(from), narrow(to))))
    }
}

impl Owes {
    /// What is owed already, or something by `at`.
    fn or_by(self, at: Instant) -> Self {
        match self {
            Self::Nothing => Self::By(at),
            Self::Now => Self::Now,
            Self::By(other) => Self::By(other.min(at)),
        }
    }
}

/// The receive window: twice what the application takes in a round trip and some, more while that grows.
#[derive(Debug)]
struct Autotune {
    bytes: u64,
    /// Smoothed, in microseconds.
    rtt: Option<u64>,
    taken: u64,
    space: u64,
    since: Option<Instant>,
}

impl Default for Autotune {
    fn default() -> Self {
        Self { bytes: FIRST_WINDOW, rtt: None, taken: 0, space: 14_480, since: None }
    }
}

impl Autotune {
    fn round_trip(&self) -> Duration {
        Duration::from_micros(self.rtt.unwrap_or(100_000))
    }

    /// From the timestamp the sender echoed.
    fn note_round_trip(&mut self, echoed: u32, now: Instant) {
        let sample = u64::from(clock(now).wrapping_sub(echoed)) * 1_000;
        if echoed == 0 || sample > 10_000_000 {
            return;
        }
        let sample = sample.max(1_000);
        self.rtt = Some(self.rtt.map_or(sample, |rtt| if sample < rtt { sample } else { (rtt * 7 + sample) / 8 }));
    }

    fn take(&mut self, bytes: u64, segment: u64, now: Instant) {
        self.taken += bytes;
        let since = *self.since.get_or_insert(now);
        if now.since(since) < self.round_trip() || self.rtt.is_none() {
            return;
        }
        if self.taken > self.space {
            let needed = 2 * self.taken + 16 * segment;
            let growth = needed * (self.taken - self.space) / self.space;
            self.bytes = self.bytes.max(needed + 2 * growth).min(LARGEST_WINDOW);
            self.space = self.taken;
        }
        (self.taken, self.since) = (0, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Receiver {
        let mut receiver = Receiver::new(1, 2, 1_460);
        receiver.receive(&Segment { is_syn: true, ..Segment::default() }, Instant::ORIGIN);
        let answer = receiver.poll_transmit(Instant::ORIGIN).expect("an answer");
        assert!(answer.is_syn && answer.acknowledged == Some(1));
        receiver
    }

    fn data(number: u32) -> Segment {
        Segment { sequence: 1 + number * 1_000, payload: 1_000, acknowledged: Some(1), ..Segment::default() }
    }

    #[test]
    fn every_segment_is_acknowledged_at_first_and_every_other_later() {
        let mut receiver = open();
        let mut count = 0;
        for number in 0..100 {
            receiver.receive(&data(number), Instant::ORIGIN);
            count += u32::from(receiver.poll_transmit(Instant::ORIGIN).is_some());
        }
        assert_eq!(count, 16 + 84 / 2);
    }

    #[test]
    fn a_lone_segment_is_acknowledged_after_forty_milliseconds() {
        let mut receiver = open();
        receiver.quick_left = 0;
        receiver.receive(&data(0), Instant::ORIGIN);
        assert!(receiver.poll_transmit(Instant::ORIGIN).is_none());
        assert_eq!(receiver.deadline(), Some(Instant::from_micros(40_000)));
        assert!(receiver.poll_transmit(Instant::from_micros(40_000)).is_some());
    }

    #[test]
    fn what_comes_out_of_order_is_told_at_once_and_what_comes_twice_first() {
        let mut receiver = open();
        receiver.receive(&data(2), Instant::ORIGIN);
        let told = receiver.poll_transmit(Instant::ORIGIN).expect("an acknowledgement");
        assert_eq!((told.acknowledged, told.sacks[0]), (Some(1), Some((2_001, 3_001))));
        receiver.receive(&data(2), Instant::ORIGIN);
        let told = receiver.poll_transmit(Instant::ORIGIN).expect("an acknowledgement");
        assert_eq!(told.sacks, [Some((2_001, 3_001)), Some((2_001, 3_001)), None]);
        receiver.receive(&data(1), Instant::ORIGIN);
        receiver.receive(&data(0), Instant::ORIGIN);
        let told = receiver.poll_transmit(Instant::ORIGIN).expect("an acknowledgement");
        assert_eq!((told.acknowledged, told.sacks), (Some(3_001), [None; 3]));
        assert_eq!(receiver.received().bytes, 3_000);
    }
}

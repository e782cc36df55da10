// SPDX-License-Identifier: BSD-2-Clause
//! What was seen while the demo ran, and what it comes to.

use mlvpn_core::words::time::{Duration, Instant};

use super::plan::{Part, Plan, Stretch};

/// Cumulative readings of a link since its act began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkReading {
    /// Bytes past the bottleneck towards the user, outer headers included.
    pub(super) carried_bytes: u64,
    /// Packets offered to the link towards the user.
    pub(super) offered: u64,
    /// Those of them that were lost.
    pub(super) lost: u64,
    /// The present round-trip time.
    pub(super) round_trip: Option<Duration>,
    pub(super) state: LinkState,
}

/// What the tunnel thinks of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Not part of this tunnel.
    #[default]
    Unused,
    /// Not up yet, or no longer.
    Connecting,
    Up,
    Lossy,
    Slow,
    /// Up, but nothing is heard from the peer.
    Silent,
}

impl LinkState {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Unused => "not used",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Silent => "silent",
        }
    }
}

/// Cumulative readings of an act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Payload bytes that arrived in order.
    pub(super) payload_bytes: u64,
    /// The first byte that was not what was sent.
    pub(super) corrupt: Option<u64>,
    /// By link; all links of the plan.
    pub(super) links: Vec<LinkReading>,
}

/// What happened between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// The end of the time it covers, on the demo's clock.
    pub(super) at: Instant,
    /// Its length.
    pub(super) span: Duration,
    pub(super) stretch: Stretch,
    pub(super) payload_bytes: u64,
    pub(super) links: Vec<LinkSample>,
}

/// What a link did between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkSample {
    pub(super) carried_bytes: u64,
    pub(super) offered: u64,
    pub(super) lost: u64,
    pub(super) round_trip: Option<Duration>,
    pub(super) state: LinkState,
    pub(super) is_pulled: bool,
}

/// A stretch as measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) stretch: Stretch,
    /// Payload in bits per second, after settling.
    pub(super) payload_bps: u64,
    /// What the links that were there can carry, in bits per second.
    pub(super) capacity_bps: u64,
    /// The median round-trip time under load, by link.
    pub(super) round_trips: Vec<Option<Duration>>,
    /// Packets lost on the links.
    pub(super) lost: u64,
    /// Of so many offered.
    pub(super) offered: u64,
}

impl Row {
    /// Payload in tenths of a percent of what the links can carry.
    pub(super) fn permille(&self) -> u64 {
        let permille = u128::from(self.payload_bps) * 1_000 / u128::from(self.capacity_bps.max(1));
        u64::try_from(permille).unwrap_or(u64::MAX)
    }
}

/// Everything seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) samples: Vec<Sample>,
    pub(super) rows: Vec<Row>,
    /// Round-trip time of each link before there was load.
    pub(super) idle_round_trips: Vec<Option<Duration>>,
    /// Longest time without new data while all links were there.
    pub(super) steady_gap: Duration,
    /// Longest time without new data from the pull on.
    pub(super) pull_gap: Duration,
    /// When the fastest link was pulled and when it came back, on the demo's clock.
    pub(super) pulled_at: Option<Instant>,
    pub(super) back_at: Option<Instant>,
    /// Bytes that arrived, all acts together.
    pub(super) bytes: u64,
    /// Why the tunnel did not carry the data intact; empty when it did.
    pub(super) problems: Vec<String>,
}

impl Record {
    /// Turns the samples of a part that has ended into its row.
    pub(super) fn close_part(&mut self, plan: &Plan, part: &Part, began: Instant) {
        let from = began + part.settle;
        let measured = || self.samples.iter().filter(|s| s.stretch == part.stretch && s.at > from);
        let micros: u64 = measured().map(|sample| sample.span.micros()).sum();
        let bytes: u64 = measured().map(|sample| sample.payload_bytes).sum();
        let payload_bps = u128::from(bytes) * 8_000_000 / u128::from(micros.max(1));
        let links = || measured().flat_map(|sample| &sample.links);
        let row = Row {
            stretch: part.stretch,
            payload_bps: u64::try_from(payload_bps).unwrap_or(u64::MAX),
            capacity_bps: plan.capacity_bps(part.stretch),
            round_trips: (0..plan.links.len())
                .map(|index| median(measured().filter_map(|s| s.links.get(index)?.round_trip).collect()))
                .collect(),
            lost: links().map(|link| link.lost).sum(),
            offered: links().map(|link| link.offered).sum(),
        };
        self.rows.push(row);
    }
}

fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The longest time without new data.
#[derive(Clone, Copy, Debug)]
pub(super) struct GapMeter {
    bytes: u64,
    last: Instant,
    longest: Duration,
}

impl GapMeter {
    pub(super) const fn new(bytes: u64, now: Instant) -> Self {
        Self { bytes, last: now, longest: Duration::ZERO }
    }

    /// Notes how many bytes there are by now.
    pub(super) fn note(&mut self, bytes: u64, now: Instant) {
        self.longest = self.longest.max(now.since(self.last));
        if bytes > self.bytes {
            (self.bytes, self.last) = (bytes, now);
        }
    }

    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record as of a demo with the default links, a sample a second, made up but plausible.
    pub(in super::super) fn example() -> (Plan, Record) {
        let plan = Plan::new(None, Some(10)).expect("fine");
        let mut record = Record { idle_round_trips: vec![Some(ms(20)), Some(ms(80))], ..Record::default() };
        let mut now = Instant::ORIGIN;
        for part in plan.acts.iter().flat_map(|act| &act.parts) {
            let began = now;
            match part.stretch {
                Stretch::Pulled => record.pulled_at = Some(now),
                Stretch::Back => record.back_at = Some(now),
                Stretch::Alone(_) | Stretch::Together => {}
            }
            for _ in 0..part.length.millis() / 100 {
                now += ms(100);
                record.samples.push(sample(&plan, now, part.stretch));
            }
            record.close_part(&plan, part, began);
        }
        record.steady_gap = ms(12);
        record.pull_gap = ms(2_950);
        record.bytes = record.samples.iter().map(|sample| sample.payload_bytes).sum();
        (plan, record)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sample(plan: &Plan, at: Instant, stretch: Stretch) -> Sample {
        let is_used = |index: usize| match stretch {
            Stretch::Alone(only) => only == index,
            Stretch::Pulled => index != plan.fastest,
            Stretch::Together | Stretch::Back => true,
        };
        let links = plan.links.iter().enumerate().map(|(index, link)| LinkSample {
            carried_bytes: if is_used(index) { link.down_bps / 80 } else { 0 },
            offered: 100,
            lost: u64::from(!is_used(index) && stretch == Stretch::Pulled),
            round_trip: is_used(index).then(|| ms(100)),
            state: match stretch {
                _ if is_used(index) => LinkState::Up,
                Stretch::Pulled => LinkState::Silent,
                Stretch::Alone(_) | Stretch::Together | Stretch::Back => LinkState::Unused,
            },
            is_pulled: stretch == Stretch::Pulled && index == plan.fastest,
        });
        let payload_bytes = plan.capacity_bps(stretch) / 80 * 92 / 100;
        Sample { at, span: ms(100), stretch, payload_bytes, links: links.collect() }
    }

    #[test]
    fn a_row_is_the_measured_part_of_a_stretch() {
        let (_, record) = example();
        let rows: Vec<_> = record.rows.iter().map(|row| (row.stretch, row.payload_bps, row.permille())).collect();
        assert_eq!(
            rows,
            [
                (Stretch::Alone(0), 36_800_000, 920),
                (Stretch::Alone(1), 9_200_000, 920),
                (Stretch::Together, 46_000_000, 920),
                (Stretch::Pulled, 9_200_000, 920),
                (Stretch::Back, 46_000_000, 920),
            ]
        );
        assert_eq!(record.rows[3].round_trips, [None, Some(ms(100))]);
    }

    #[test]
    fn a_gap_still_open_counts() {
        let mut meter = GapMeter::new(5, Instant::from_micros(0));
        for (bytes, at) in [(5, 10), (6, 20), (7, 25), (7, 90)] {
            meter.note(bytes, Instant::from_micros(at));
        }
        assert_eq!(meter.longest(), Duration::from_micros(65));
        meter.note(8, Instant::from_micros(100));
        assert_eq!(meter.longest(), Duration::from_micros(75));
    }
}

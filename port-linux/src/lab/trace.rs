// SPDX-License-Identifier: BSD-2-Clause
//! Delivery traces: when a link of changing speed could carry a packet.
//!
//! The format is that of mahimahi (`mm-link`): each line is a time in whole milliseconds at which 1500 bytes could be
//! delivered; several lines may name the same millisecond; the trace starts over at its last timestamp. A chance not
//! used is lost, as on a radio link.

use std::fmt;
use std::sync::Arc;

use mlvpn_core::words::time::Duration;

use super::chance::{Dice, Probability};

/// Bytes one delivery opportunity carries (mahimahi's constant).
pub const OPPORTUNITY_BYTES: u32 = 1500;

/// Most opportunities in one trace: 120 MB of packets, an hour at 3 Mbit/s or ten minutes at 16 Mbit/s; keeps a hostile
/// or mistaken file from filling the memory.
const MAX_OPPORTUNITIES: usize = 8_000_000;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A looping list of delivery opportunities. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Never empty, never falling.
    at_millis: Arc<[u32]>,
    /// Length of one round; never zero and not before the last opportunity.
    period_millis: u32,
}

/// Why a text is not a delivery trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceError {
    /// The 1-based line is not a whole number of milliseconds below 2^32.
    NotANumber {
        /// Line in the text, counted from one.
        line: usize,
    },
    /// The 1-based line lies before the line above it.
    Backwards {
        /// Line in the text, counted from one.
        line: usize,
    },
    /// More opportunities than a trace may hold (eight million).
    TooLong,
    /// No opportunity at all, or all of them at zero milliseconds, so that a round would take no time.
    Empty,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber { line } => write!(f, "trace line {line}: not a whole number of milliseconds"),
            Self::Backwards { line } => write!(f, "trace line {line}: lies before the line above it"),
            Self::TooLong => write!(f, "trace longer than {MAX_OPPORTUNITIES} lines"),
            Self::Empty => write!(f, "trace without an opportunity after 0 ms"),
        }
    }
}

impl std::error::Error for TraceError {}

impl Trace {
    /// Reads a trace in mahimahi's format; blank lines are skipped.
    ///
    /// # Errors
    /// The first line that is wrong, or that the whole is empty or too long.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut at_millis = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let millis: u32 = line.parse().map_err(|_| TraceError::NotANumber { line: index + 1 })?;
            if at_millis.last().is_some_and(|&last| millis < last) {
                return Err(TraceError::Backwards { line: index + 1 });
            }
            if at_millis.len() == MAX_OPPORTUNITIES {
                return Err(TraceError::TooLong);
            }
            at_millis.push(millis);
        }
        let period_millis = at_millis.last().copied().unwrap_or(0);
        Self::new(at_millis, period_millis)
    }

    /// A cell phone link whose rate jumps to a new value between `low_bps` and `high_bps` (bits per second, equally
    /// likely) every 200 ms; one round lasts 60 s. The link of scenario S8.
    #[must_use]
    pub fn lte(low_bps: u64, high_bps: u64, seed: u64) -> Self {
        const STEP_MILLIS: u32 = 200;
        let mut dice = Dice::new(seed, 0x17e);
        let spread = high_bps.abs_diff(low_bps).saturating_add(1);
        let low = low_bps.min(high_bps);
        Self::from_rates(60_000, |millis, rate| {
            if millis.is_multiple_of(STEP_MILLIS) {
                *rate = low + dice.below(spread);
            }
            true
        })
    }

    /// A satellite link that changes its satellite every 15 s: each slot runs at 75 to 100 % of `rate_bps`, and in the
    /// first 140 ms of a slot 30 % of the opportunities are missing. One round lasts 120 s.
    #[must_use]
    pub fn starlink(rate_bps: u64, seed: u64) -> Self {
        const SLOT_MILLIS: u32 = 15_000;
        const HANDOVER_MILLIS: u32 = 140;
        let mut dice = Dice::new(seed, 0x5a7);
        Self::from_rates(120_000, |millis, rate| {
            let into_slot = millis % SLOT_MILLIS;
            if into_slot == 0 {
                *rate = rate_bps - dice.below(rate_bps / 4 + 1);
            }
            into_slot >= HANDOVER_MILLIS || !dice.happens(Probability::from_percent(30))
        })
    }

    /// The mean rate over one round in bits per second.
    #[must_use]
    pub fn mean_rate_bps(&self) -> u64 {
        let bits = self.at_millis.len() as u64 * u64::from(OPPORTUNITY_BYTES) * 8;
        bits * 1_000 / u64::from(self.period_millis)
    }

    /// The mean rate in bits per second between two times since the start of the first round; zero when there is
    /// nothing between them.
    #[must_use]
    pub fn rate_between_bps(&self, from: Duration, until: Duration) -> u64 {
        let index_at = |time: Duration| self.first_at_or_after(time.micros().saturating_mul(1_000));
        let opportunities = index_at(until).saturating_sub(index_at(from));
        let bits = u128::from(opportunities) * u128::from(OPPORTUNITY_BYTES) * 8;
        let micros = u128::from(until.saturating_sub(from).micros().max(1));
        u64::try_from(bits * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    /// The trace written in mahimahi's format. A round that ends after its last opportunity cannot be said there: it
    /// ends at its last opportunity when read back.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.at_millis.iter().map(|millis| format!("{millis}\n")).collect()
    }

    /// Nanoseconds from the start of the first round to opportunity `index`, counted through all rounds.
    pub(super) fn nanos_of(&self, index: u64) -> u64 {
        let len = self.at_millis.len() as u64;
        let millis = self.at_millis[usize::try_from(index % len).unwrap_or(0)];
        (index / len)
            .saturating_mul(u64::from(self.period_millis))
            .saturating_add(u64::from(millis))
            .saturating_mul(NANOS_PER_MILLI)
    }

    /// The first opportunity at or after `nanos` since the start; binary search in one round.
    pub(super) fn first_at_or_after(&self, nanos: u64) -> u64 {
        let len = self.at_millis.len() as u64;
        let millis = nanos.div_ceil(NANOS_PER_MILLI);
        let (mut round, mut within) = (millis / u64::from(self.period_millis), millis % u64::from(self.period_millis));
        // An opportunity at the very end of a round falls on the same millisecond as the start of the next.
        if within == 0 && round > 0 {
            round -= 1;
            within = u64::from(self.period_millis);
        }
        let index = self.at_millis.partition_point(|&at| u64::from(at) < within) as u64;
        round * len + index
    }

    fn new(at_millis: Vec<u32>, period_millis: u32) -> Result<Self, TraceError> {
        if at_millis.is_empty() || period_millis == 0 {
            return Err(TraceError::Empty);
        }
        Ok(Self { at_millis: at_millis.into(), period_millis })
    }

    /// Walks one round millisecond by millisecond; `step` sets the rate and says whether opportunities exist now.
    fn from_rates(period_millis: u32, mut step: impl FnMut(u32, &mut u64) -> bool) -> Self {
        const BITS: u64 = OPPORTUNITY_BYTES as u64 * 8;
        let mut at_millis = Vec::new();
        let (mut rate, mut credit_millibits) = (0_u64, 0_u64);
        for millis in 0..period_millis {
            let usable = step(millis, &mut rate);
            credit_millibits += rate;
            while credit_millibits >= BITS * 1_000 && at_millis.len() < MAX_OPPORTUNITIES {
                credit_millibits -= BITS * 1_000;
                if usable {
                    at_millis.push(millis);
                }
            }
        }
        if at_millis.is_empty() {
            at_millis.push(period_millis);
        }
        Self { at_millis: at_millis.into(), period_millis }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_loops_at_its_last_timestamp() {
        let trace = Trace::parse("0\n5\n5\n10\n").expect("well formed");
        let times: Vec<u64> = (0..9).map(|index| trace.nanos_of(index) / NANOS_PER_MILLI).collect();
        assert_eq!(times, [0, 5, 5, 10, 10, 15, 15, 20, 20]);
    }

    #[test]
    fn the_search_finds_the_first_opportunity_not_yet_gone() {
        let trace = Trace::parse("0\n5\n5\n10\n").expect("well formed");
        for nanos in [0, 1, 4_999_999, 5_000_000, 5_000_001, 10_000_000, 10_000_001, 20_000_000, 123_456_789] {
            let found = trace.first_at_or_after(nanos);
            assert!(trace.nanos_of(found) >= nanos, "{nanos}");
            assert!(found == 0 || trace.nanos_of(found - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert_eq!(Trace::parse("1\nfive\n"), Err(TraceError::NotANumber { line: 2 }));
        assert_eq!(Trace::parse("7\n\n6\n"), Err(TraceError::Backwards { line: 3 }));
        assert_eq!(Trace::parse("\n"), Err(TraceError::Empty));
        assert_eq!(Trace::parse("0\n0\n"), Err(TraceError::Empty));
    }

    #[test]
    fn generated_traces_have_the_rate_asked_for_and_repeat_by_seed() {
        let lte = Trace::lte(4_000_000, 48_000_000, 7);
        assert!(lte.mean_rate_bps().abs_diff(26_000_000) < 3_000_000, "{}", lte.mean_rate_bps());
        assert_eq!(lte, Trace::lte(4_000_000, 48_000_000, 7));
        assert_ne!(lte, Trace::lte(4_000_000, 48_000_000, 8));
        let starlink = Trace::starlink(100_000_000, 7);
        assert!((70_000_000..100_000_000).contains(&starlink.mean_rate_bps()), "{}", starlink.mean_rate_bps());
    }

    #[test]
    fn the_rate_of_a_stretch_counts_the_opportunities_in_it() {
        let trace = Trace::parse("0\n5\n5\n10\n").expect("well formed");
        let rate = |from, until| trace.rate_between_bps(Duration::from_millis(from), Duration::from_millis(until));
        // Two opportunities of 12,000 bits in 5 ms; four in each round of 10 ms; an empty stretch.
        assert_eq!([rate(5, 10), rate(5, 1_005), rate(7, 9), rate(9, 9)], [4_800_000, 4_800_000, 0, 0]);
    }

    #[test]
    fn a_written_trace_reads_back() {
        let trace = Trace::parse("1\n2\n9\n").expect("well formed");
        assert_eq!(Trace::parse(&trace.to_text()), Ok(trace));
    }
}

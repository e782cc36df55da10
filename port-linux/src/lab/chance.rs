// SPDX-License-Identifier: BSD-2-Clause
//! Seeded chance in integer arithmetic, so that a seed gives the same run on every machine.
//!
//! The generator is PCG from `rand_pcg`, whose output for a seed is promised not to change between releases or
//! machines. It has independent streams, so each impairment of a link draws from its own: switching jitter on does not
//! change which packets are lost. No logarithm is taken, because mathematical libraries differ in the last bit.

use std::fmt;

use mlvpn_core::words::time::Duration;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// A probability in whole millionths: exact to write down and to read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability(u32);

impl Probability {
    /// It never happens.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);

    /// `millionths` of one; more than a million is a certainty.
    #[must_use]
    pub const fn from_millionths(millionths: u32) -> Self {
        if millionths > 1_000_000 { Self::ALWAYS } else { Self(millionths) }
    }

    /// `percent` of a hundred; more than a hundred is a certainty.
    #[must_use]
    pub const fn from_percent(percent: u32) -> Self {
        Self::from_millionths(percent.saturating_mul(10_000))
    }

    /// The probability in millionths, `0..=1_000_000`.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

/// Written as a percentage: `1%`, `0.25%`.
impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

/// How the lengths of random delays are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Any length from nothing to the given span, equally likely.
    #[default]
    Uniform,
    /// The upper half of a bell curve whose standard deviation is the given span (a sum of twelve uniform draws, so it
    /// ends at six deviations).
    HalfNormal,
    /// Exponential with the given span as its mean: mostly short, sometimes several times the mean.
    Exponential,
}

/// One stream of seeded random numbers.
#[derive(Clone, Debug)]
pub struct Dice(Pcg32);

impl Dice {
    /// The stream numbered `stream` of `seed`; streams of one seed are independent of each other.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Pcg32::new(seed, stream))
    }

    /// A number below `bound`; zero when `bound` is zero. The bias (below 2^-32 for bounds under 2^32) is far below
    /// what any run could show.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }

    /// Whether an event of probability `chance` happens this time. Draws even when the answer is certain, so that the
    /// stream's position depends on the number of questions alone.
    pub fn happens(&mut self, chance: Probability) -> bool {
        self.below(1_000_000) < u64::from(chance.0)
    }

    /// A random span of the given shape and scale.
    pub fn span(&mut self, shape: Shape, scale: Duration) -> Duration {
        let micros = match shape {
            Shape::Uniform => self.below(scale.micros().saturating_add(1)),
            Shape::HalfNormal => self.half_normal(scale.micros()),
            Shape::Exponential => self.exponential(scale.micros()),
        };
        Duration::from_micros(micros)
    }

    /// |sum of twelve uniforms - 6| has a standard deviation of one before folding (Irwin-Hall).
    fn half_normal(&mut self, deviation: u64) -> u64 {
        let sum: u64 = (0..12).map(|_| u64::from(self.0.next_u32())).sum();
        let distance = sum.abs_diff(6 << 32);
        scaled(deviation, distance)
    }

    /// Von Neumann's method (1951): compares uniform numbers only. A run of falling numbers of even length (the first
    /// included) is refused and adds one whole mean; the first number of an accepted run is the fraction.
    fn exponential(&mut self, mean: u64) -> u64 {
        // 2^-32 of a mean is the resolution; after 64 refusals (probability e^-64) it gives up and returns 64 means.
        for whole in 0..64_u64 {
            let first = self.0.next_u32();
            let mut previous = first;
            let mut length = 1_u32;
            loop {
                let next = self.0.next_u32();
                if next >= previous {
                    break;
                }
                previous = next;
                length += 1;
            }
            if length % 2 == 1 {
                return scaled(mean, (whole << 32) | u64::from(first));
            }
        }
        mean.saturating_mul(64)
    }
}

/// `span` times a factor with 32 fractional bits.
fn scaled(span: u64, factor_q32: u64) -> u64 {
    u64::try_from((u128::from(span) * u128::from(factor_q32)) >> 32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 20_000;

    fn mean_micros(shape: Shape) -> u64 {
        let mut dice = Dice::new(1, 1);
        (0..DRAWS).map(|_| dice.span(shape, Duration::from_millis(10)).micros()).sum::<u64>() / DRAWS
    }

    #[test]
    fn a_seed_gives_the_same_numbers_on_every_machine() {
        let mut dice = Dice::new(42, 54);
        // The first outputs of the PCG reference implementation (pcg32_srandom_r(42, 54)), joined low word first.
        assert_eq!(dice.0.next_u64(), 0x7b47_f409_a15c_02b7);
    }

    #[test]
    fn each_shape_has_the_mean_its_name_promises() {
        // Standard errors of the means are below 100 us here; the seed is fixed.
        assert!(mean_micros(Shape::Uniform).abs_diff(5_000) < 200);
        assert!(mean_micros(Shape::Exponential).abs_diff(10_000) < 300);
        // sqrt(2 / pi) = 0.798 of the deviation.
        assert!(mean_micros(Shape::HalfNormal).abs_diff(7_979) < 250);
    }

    #[test]
    fn one_stream_does_not_disturb_another() {
        let mut alone = Dice::new(9, 1);
        let mut beside = Dice::new(9, 1);
        let mut other = Dice::new(9, 2);
        let first: Vec<u64> = (0..8).map(|_| alone.below(1_000_000)).collect();
        let second: Vec<u64> = (0..8)
            .map(|_| {
                other.below(1_000_000);
                beside.below(1_000_000)
            })
            .collect();
        assert_eq!(first, second);
    }

    #[test]
    fn a_probability_is_met_and_written_as_a_percentage() {
        let mut dice = Dice::new(3, 3);
        let hits = (0..100_000).filter(|_| dice.happens(Probability::from_percent(1))).count();
        assert!(hits.abs_diff(1_000) < 150, "{hits}");
        assert_eq!(Probability::from_millionths(2_500).to_string(), "0.25%");
        assert_eq!(Probability::from_percent(30).to_string(), "30%");
        assert!(!dice.happens(Probability::NEVER) && dice.happens(Probability::ALWAYS));
    }
}

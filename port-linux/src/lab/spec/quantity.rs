// SPDX-License-Identifier: BSD-2-Clause
//! Numbers with units, exact in both directions.

use std::fmt;
use std::str::FromStr;

use mlvpn_core::words::time::Duration;

use crate::lab::chance::Probability;

/// Bits per second, above zero.
pub(super) struct Bandwidth(pub(super) u64);

/// A span of time.
pub(super) struct Span(pub(super) Duration);

/// Largest first, so that writing finds the largest that divides; the shortest name last, so that reading `mbit` does
/// not stop at `bit`.
const BANDWIDTH_UNITS: [(u64, &str); 4] = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit"), (1, "bit")];
const SPAN_UNITS: [(u64, &str); 3] = [(1_000, "ms"), (1, "us"), (1_000_000, "s")];
/// Written in this order; `1500us` stays whole and `15000ms` becomes `15s`.
const SPAN_UNITS_WRITTEN: [(u64, &str); 3] = [(1_000_000, "s"), (1_000, "ms"), (1, "us")];

impl Bandwidth {
    /// The largest unit that divides both rates, and its name.
    pub(super) fn unit_of_both(low: u64, high: u64) -> (u64, &'static str) {
        let divides = |&(unit, _): &(u64, &str)| low.is_multiple_of(unit) && high.is_multiple_of(unit);
        BANDWIDTH_UNITS.into_iter().find(divides).unwrap_or((1, "bit"))
    }
}

impl FromStr for Bandwidth {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let rate = with_unit(text, &BANDWIDTH_UNITS).ok_or(())?;
        if rate == 0 { Err(()) } else { Ok(Self(rate)) }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = Self::unit_of_both(self.0, self.0);
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for Span {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        with_unit(text, &SPAN_UNITS).map(|micros| Self(Duration::from_micros(micros))).ok_or(())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.micros();
        let fits = |&(unit, _): &(u64, &str)| micros >= unit && micros.is_multiple_of(unit);
        let (unit, name) = SPAN_UNITS_WRITTEN.into_iter().find(fits).unwrap_or((1, "us"));
        write!(f, "{}{name}", micros / unit)
    }
}

/// `1%`, `0.25%`; at most four decimals and at most 100 %.
pub(super) fn percentage(text: &str) -> Option<Probability> {
    let millionths = decimal(text.strip_suffix('%')?, 10_000)?;
    let millionths = u32::try_from(millionths).ok()?;
    (millionths <= 1_000_000).then(|| Probability::from_millionths(millionths))
}

/// `64000B`, `64kB`, `1MB` (decimal).
pub(super) fn byte_count(text: &str) -> Option<u64> {
    with_unit(text, &[(1_000_000, "MB"), (1_000, "kB"), (1, "B")])
}

/// Digits alone.
pub(super) fn plain_number(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn with_unit(text: &str, units: &[(u64, &str)]) -> Option<u64> {
    let (number, unit) = units.iter().find_map(|(unit, name)| Some((text.strip_suffix(name)?, *unit)))?;
    decimal(number, unit)
}

/// A decimal number times `scale`, if that is a whole number that fits.
fn decimal(text: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || text.ends_with('.') {
        return None;
    }
    let mut value = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.bytes() {
        let digit = u64::from(digit - b'0');
        if !unit.is_multiple_of(10) && digit != 0 {
            return None;
        }
        unit /= 10;
        value = value.checked_add(digit * unit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(decimal("1.5", 1_000), Some(1_500));
        assert_eq!(decimal("0.0001", 10_000), Some(1));
        assert_eq!(decimal("0.00010", 10_000), Some(1));
        assert_eq!(decimal("0.00001", 10_000), None);
        for text in ["", ".5", "5.", "-1", "1e3", "1.2.3"] {
            assert_eq!(decimal(text, 1_000), None, "{text}");
        }
    }

    #[test]
    fn the_largest_whole_unit_is_written() {
        assert_eq!(Bandwidth(1_500_000).to_string(), "1500kbit");
        assert_eq!(Span(Duration::from_millis(15_000)).to_string(), "15s");
        assert_eq!(Span(Duration::from_micros(1_500)).to_string(), "1500us");
    }
}

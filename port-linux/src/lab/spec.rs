// SPDX-License-Identifier: BSD-2-Clause
//! A link described in a word: `40mbit/10ms`, `16:1mbit/15ms/1%/queue=500ms`.
//!
//! ```text
//! RATE / DELAY [ / LOSS% ] [ / KEY=VALUE | unordered ] ...
//! ```
//!
//! | part | meaning |
//! |---|---|
//! | `40mbit`, `1.5mbit`, `unlimited` | rate in both directions (`bit`, `kbit`, `mbit`, `gbit` per second) |
//! | `16:1mbit` | down : up |
//! | `4-48mbit` | changes every 200 ms to any rate between the two (down; up as well unless `4-48:10mbit`) |
//! | `10ms` | one-way delay (`us`, `ms`, `s`) |
//! | `1%` | random loss |
//! | `queue=200ms`, `queue=64000B` | queue limit; 200 ms unless said |
//! | `jitter=5ms[:normal\|:exp]` | extra delay of each packet: up to 5 ms, or so distributed |
//! | `stall=10%:15ms` | that many packets delayed by an exponential time of that mean |
//! | `burst=3%:5` | loss in bursts: 3 % in all, five packets long on average |
//! | `handover=15s[:140ms:30%]` | every 15 s a spell of 140 ms with 30 % loss |
//! | `reorder=1%:10ms` | that many packets fall back by 10 ms |
//! | `dup=0.1%` | that many packets arrive twice |
//! | `overhead=28` | bytes counted on top of each packet |
//! | `unordered` | packets delayed by jitter or stalls are overtaken instead of holding up the rest |

use std::fmt;
use std::str::FromStr;

use mlvpn_core::words::time::Duration;

use super::chance::{Probability, Shape};
use super::link::{BurstLoss, Capacity, Direction, Handover, QueueLimit, RandomDelay, Reorder};
use super::trace::Trace;

mod quantity;
use quantity::{Bandwidth, Span, byte_count, percentage, plain_number};

/// The rate of one direction, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSpec {
    /// No limit.
    Unlimited,
    /// One rate; not zero.
    Fixed(u64),
    /// Any rate between the two, a new one every 200 ms.
    Varying {
        /// The lowest.
        low: u64,
        /// The highest.
        high: u64,
    },
}

/// Loss in bursts, by the two figures people know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstSpec {
    /// Loss over all packets; below 100 %.
    pub loss: Probability,
    /// Packets in a burst on average; not zero.
    pub mean_packets: u32,
}

/// A link with both its directions, which differ in rate only. `Display` writes what `FromStr` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// Rate towards the user.
    pub down: RateSpec,
    /// Rate from the user.
    pub up: RateSpec,
    /// One-way delay.
    pub delay: Duration,
    /// Random loss.
    pub loss: Probability,
    /// Queue limit.
    pub queue: QueueLimit,
    /// Extra delay of every packet: how spread, and its scale.
    pub jitter: Option<(Shape, Duration)>,
    /// Packets stalled, and the exponential mean of their delay.
    pub stall: Option<(Probability, Duration)>,
    /// Loss in bursts.
    pub burst: Option<BurstSpec>,
    /// Lossy spells at regular times.
    pub handover: Option<Handover>,
    /// Packets that fall back.
    pub reorder: Option<Reorder>,
    /// Packets that arrive twice.
    pub duplicate: Probability,
    /// Bytes on top of each packet.
    pub overhead_bytes: u32,
    /// Whether packets delayed by jitter or stalls hold up those behind them.
    pub keeps_order: bool,
}

/// The part of a link's description that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The part as written, between two slashes.
    pub part: String,
    /// What it should have been, with an example.
    pub expected: &'static str,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link description: '{}' is not {}", self.part, self.expected)
    }
}

impl std::error::Error for SpecError {}

impl LinkSpec {
    /// A link of equal rates (bits per second) with the defaults of a description that says no more.
    #[must_use]
    pub const fn new(down: RateSpec, up: RateSpec, delay: Duration) -> Self {
        Self {
            down,
            up,
            delay,
            loss: Probability::NEVER,
            queue: QueueLimit::Time(DEFAULT_QUEUE),
            jitter: None,
            stall: None,
            burst: None,
            handover: None,
            reorder: None,
            duplicate: Probability::NEVER,
            overhead_bytes: 0,
            keeps_order: true,
        }
    }

    /// The direction towards the user; `seed` shapes a varying rate.
    #[must_use]
    pub fn downward(&self, seed: u64) -> Direction {
        self.direction(self.down, seed)
    }

    /// The direction from the user; `seed` shapes a varying rate.
    #[must_use]
    pub fn upward(&self, seed: u64) -> Direction {
        self.direction(self.up, !seed)
    }

    fn direction(&self, rate: RateSpec, seed: u64) -> Direction {
        let capacity = match rate {
            RateSpec::Unlimited => Capacity::Unlimited,
            RateSpec::Fixed(rate) => Capacity::Rate(rate),
            RateSpec::Varying { low, high } => Capacity::Trace(Trace::lte(low, high, seed)),
        };
        let always = |(shape, scale)| RandomDelay { chance: Probability::ALWAYS, shape, scale };
        let stalled = |(chance, scale)| RandomDelay { chance, shape: Shape::Exponential, scale };
        Direction {
            capacity,
            delay: self.delay,
            queue: self.queue,
            random_loss: self.loss,
            burst_loss: self.burst.map(BurstLoss::from),
            handover: self.handover,
            jitter: self.jitter.map(always),
            stall: self.stall.map(stalled),
            keeps_order: self.keeps_order,
            reorder: self.reorder,
            duplicate: self.duplicate,
            overhead_bytes: self.overhead_bytes,
            schedule: Vec::new(),
        }
    }
}

/// Everything sent while bad is lost, nothing while good: leave = 1 / length, enter = leave x loss / (1 - loss).
impl From<BurstSpec> for BurstLoss {
    fn from(spec: BurstSpec) -> Self {
        let leave = 1_000_000 / spec.mean_packets.max(1);
        let loss = u64::from(spec.loss.millionths());
        let enter = u64::from(leave) * loss / (1_000_000 - loss.min(999_999));
        Self {
            enter: Probability::from_millionths(u32::try_from(enter).unwrap_or(u32::MAX)),
            leave: Probability::from_millionths(leave),
            loss_in_bad: Probability::ALWAYS,
            loss_in_good: Probability::NEVER,
        }
    }
}

/// What most modems hold, and long enough for a single flow to fill the link.
const DEFAULT_QUEUE: Duration = Duration::from_millis(200);
/// A Starlink-like handover as measured for scenario S7.
const HANDOVER_LENGTH: Duration = Duration::from_millis(140);
const HANDOVER_LOSS: Probability = Probability::from_percent(30);

impl FromStr for LinkSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut parts = text.trim().split('/');
        let rate = parts.next().unwrap_or_default();
        let (down, up) = both_rates(rate).ok_or_else(|| wrong(rate, RATE))?;
        let delay = parts.next().unwrap_or_default();
        let Some(Span(span)) = delay.parse().ok() else { return Err(wrong(delay, DELAY)) };
        let mut spec = Self::new(down, up, span);
        for part in parts {
            spec.read_part(part).map_err(|expected| wrong(part, expected))?;
        }
        Ok(spec)
    }
}

const RATE: &str = "a rate, as in 40mbit, 1.5mbit, 16:1mbit (down:up), 4-48mbit (varying) or unlimited";
const DELAY: &str = "a one-way delay, as in 10ms, 500us or 1.5s";

fn wrong(part: &str, expected: &'static str) -> SpecError {
    SpecError { part: part.to_owned(), expected }
}

fn both_rates(text: &str) -> Option<(RateSpec, RateSpec)> {
    match text.split_once(':') {
        None => one_rate(text, "").map(|rate| (rate, rate)),
        // The unit of `16:1mbit` stands once, at the end.
        Some((down, up)) => {
            let unit = up.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            Some((one_rate(down, unit)?, one_rate(up, "")?))
        }
    }
}

/// A rate, with `unit` appended to those that carry none.
fn one_rate(text: &str, unit: &str) -> Option<RateSpec> {
    if text == "unlimited" {
        return Some(RateSpec::Unlimited);
    }
    let text = if text.ends_with(|c: char| c.is_ascii_digit()) { format!("{text}{unit}") } else { text.to_owned() };
    let Some((low, high)) = text.split_once('-') else {
        return text.parse().ok().map(|Bandwidth(rate)| RateSpec::Fixed(rate));
    };
    let unit = high.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let Bandwidth(low) = format!("{low}{unit}").parse().ok()?;
    let Bandwidth(high) = high.parse().ok()?;
    (low <= high).then_some(RateSpec::Varying { low, high })
}

impl LinkSpec {
    fn read_part(&mut self, part: &str) -> Result<(), &'static str> {
        match part.split_once('=') {
            Some((key, value)) => self.read_option(key, value),
            None if part == "unordered" => {
                self.keeps_order = false;
                Ok(())
            }
            None => set(&mut self.loss, percentage(part), "a loss (1%), 'unordered' or an option such as queue=200ms"),
        }
    }

    fn read_option(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "loss" => set(&mut self.loss, percentage(value), "a loss, as in loss=1%"),
            "queue" => set(&mut self.queue, queue(value), "a queue limit, as in queue=200ms or queue=64000B"),
            "jitter" => some(&mut self.jitter, jitter(value), "jitter, as in jitter=5ms, jitter=5ms:normal or :exp"),
            "stall" => some(&mut self.stall, chance_and_span(value), "stalls, as in stall=10%:15ms"),
            "burst" => some(&mut self.burst, burst(value), "burst loss (total and mean length), as in burst=3%:5"),
            "handover" => {
                some(&mut self.handover, handover(value), "handovers, as in handover=15s or handover=15s:140ms:30%")
            }
            "reorder" => {
                let reorder = chance_and_span(value).map(|(chance, extra)| Reorder { chance, extra });
                some(&mut self.reorder, reorder, "reordering, as in reorder=1%:10ms")
            }
            "dup" => set(&mut self.duplicate, percentage(value), "a share of packets doubled, as in dup=0.1%"),
            "overhead" => {
                set(&mut self.overhead_bytes, plain_number(value), "a number of bytes per packet, as in overhead=28")
            }
            _ => Err("an option; there are loss, queue, jitter, stall, burst, handover, reorder, dup and overhead"),
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>, expected: &'static str) -> Result<(), &'static str> {
    *place = value.ok_or(expected)?;
    Ok(())
}

fn some<T>(place: &mut Option<T>, value: Option<T>, expected: &'static str) -> Result<(), &'static str> {
    set(place, value.map(Some), expected)
}

fn queue(text: &str) -> Option<QueueLimit> {
    let time = text.parse().ok().map(|Span(span)| QueueLimit::Time(span));
    time.or_else(|| byte_count(text).map(QueueLimit::Bytes))
}

fn jitter(text: &str) -> Option<(Shape, Duration)> {
    let (span, shape) = match text.split_once(':') {
        None => (text, Shape::Uniform),
        Some((span, "uniform")) => (span, Shape::Uniform),
        Some((span, "normal")) => (span, Shape::HalfNormal),
        Some((span, "exp")) => (span, Shape::Exponential),
        Some(_) => return None,
    };
    span.parse().ok().map(|Span(span)| (shape, span))
}

fn chance_and_span(text: &str) -> Option<(Probability, Duration)> {
    let (chance, span) = text.split_once(':')?;
    let Span(span) = span.parse().ok()?;
    Some((percentage(chance)?, span))
}

fn burst(text: &str) -> Option<BurstSpec> {
    let (loss, mean) = text.split_once(':')?;
    let spec = BurstSpec { loss: percentage(loss)?, mean_packets: plain_number(mean)? };
    (spec.loss < Probability::ALWAYS && spec.mean_packets > 0).then_some(spec)
}

fn handover(text: &str) -> Option<Handover> {
    let mut parts = text.split(':');
    let Span(period) = parts.next()?.parse().ok()?;
    let (length, loss) = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => (HANDOVER_LENGTH, HANDOVER_LOSS),
        (Some(length), Some(loss), None) => {
            let Span(length) = length.parse().ok()?;
            (length, percentage(loss)?)
        }
        _ => return None,
    };
    (period > Duration::ZERO).then_some(Handover { period, length, loss })
}

impl fmt::Display for RateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unlimited => write!(f, "unlimited"),
            Self::Fixed(rate) => write!(f, "{}", Bandwidth(rate)),
            // Both in the unit that suits the finer of the two.
            Self::Varying { low, high } => {
                let (unit, name) = Bandwidth::unit_of_both(low, high);
                write!(f, "{}-{}{name}", low / unit, high / unit)
            }
        }
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.down)?;
        if self.up != self.down {
            write!(f, ":{}", self.up)?;
        }
        write!(f, "/{}", Span(self.delay))?;
        if self.loss != Probability::NEVER {
            write!(f, "/{}", self.loss)?;
        }
        match self.queue {
            QueueLimit::Time(DEFAULT_QUEUE) => {}
            QueueLimit::Time(span) => write!(f, "/queue={}", Span(span))?,
            QueueLimit::Bytes(bytes) => write!(f, "/queue={bytes}B")?,
        }
        self.write_mishaps(f)?;
        if self.overhead_bytes > 0 {
            write!(f, "/overhead={}", self.overhead_bytes)?;
        }
        if self.keeps_order { Ok(()) } else { write!(f, "/unordered") }
    }
}

impl LinkSpec {
    fn write_mishaps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((shape, span)) = self.jitter {
            let name = match shape {
                Shape::Uniform => "",
                Shape::HalfNormal => ":normal",
                Shape::Exponential => ":exp",
            };
            write!(f, "/jitter={}{name}", Span(span))?;
        }
        if let Some((chance, mean)) = self.stall {
            write!(f, "/stall={chance}:{}", Span(mean))?;
        }
        if let Some(burst) = self.burst {
            write!(f, "/burst={}:{}", burst.loss, burst.mean_packets)?;
        }
        if let Some(Handover { period, length, loss }) = self.handover {
            write!(f, "/handover={}:{}:{loss}", Span(period), Span(length))?;
        }
        if let Some(reorder) = self.reorder {
            write!(f, "/reorder={}:{}", reorder.chance, Span(reorder.extra))?;
        }
        if self.duplicate == Probability::NEVER { Ok(()) } else { write!(f, "/dup={}", self.duplicate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_and_written_back_the_same() {
        for text in [
            "40mbit/10ms",
            "10mbit/40ms/1%",
            "16mbit:1mbit/15ms",
            "1500kbit/1500us/0.25%/queue=4ms",
            "unlimited/0us",
            "4-48mbit:10mbit/30ms",
            "30mbit/30ms/stall=10%:15ms",
            "60mbit/25ms/0.1%/jitter=15ms:normal/unordered",
            "100mbit:12mbit/25ms/0.2%/jitter=5ms/handover=15s:140ms:30%",
            "8mbit/20ms/queue=64000B/burst=3%:5/reorder=1%:10ms/dup=0.1%/overhead=28",
        ] {
            let spec: LinkSpec = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }

    #[test]
    fn short_forms_mean_their_long_ones() {
        let spec = |text: &str| text.parse::<LinkSpec>().expect(text);
        assert_eq!(spec("16:1mbit/15ms"), spec("16mbit:1mbit/15ms"));
        assert_eq!(spec("4-48:10mbit/30ms"), spec("4-48mbit:10mbit/30ms"));
        assert_eq!(spec("1.5mbit/0.5s"), spec("1500kbit/500ms"));
        assert_eq!(spec("9mbit/1ms/handover=15s"), spec("9mbit/1ms/handover=15s:140ms:30%"));
        assert_eq!(spec("9mbit/1ms/loss=2%"), spec("9mbit/1ms/2%"));
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        for (text, part) in [
            ("", ""),
            ("40/10ms", "40"),
            ("0mbit/10ms", "0mbit"),
            ("48-4mbit/10ms", "48-4mbit"),
            ("40mbit", ""),
            ("40mbit/10", "10"),
            ("40mbit/10ms/1", "1"),
            ("40mbit/10ms/101%", "101%"),
            ("40mbit/10ms/queue=200", "queue=200"),
            ("40mbit/10ms/colour=red", "colour=red"),
            ("40mbit/10ms/stall=15ms", "stall=15ms"),
            ("40mbit/10ms/burst=100%:5", "burst=100%:5"),
            ("99999999999999999999mbit/10ms", "99999999999999999999mbit"),
        ] {
            let error = text.parse::<LinkSpec>().expect_err(text);
            assert_eq!(error.part, part, "{error}");
        }
    }

    #[test]
    fn burst_loss_has_the_total_and_the_length_asked_for() {
        let burst = BurstLoss::from(BurstSpec { loss: Probability::from_percent(20), mean_packets: 5 });
        assert_eq!(burst.leave, Probability::from_percent(20));
        assert_eq!(burst.enter, Probability::from_percent(5));
    }
}

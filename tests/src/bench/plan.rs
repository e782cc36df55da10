// SPDX-License-Identifier: BSD-2-Clause
//! What one measurement is of, and what came out of it, as they travel between processes and into files.

use std::fmt;
use std::str::FromStr;

use mlvpn::lab::realtime::Way;
use serde::{Deserialize, Serialize};

use super::system::System;

/// How many flows, and what their senders do about congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mix {
    /// One CUBIC flow.
    Cubic1,
    /// Eight CUBIC flows.
    Cubic8,
    /// One BBR flow.
    Bbr1,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cubic1, Self::Cubic8, Self::Bbr1];

    /// How many flows.
    #[must_use]
    pub const fn flows(self) -> usize {
        match self {
            Self::Cubic8 => 8,
            Self::Cubic1 | Self::Bbr1 => 1,
        }
    }

    /// The congestion control, as the kernel names it.
    #[must_use]
    pub const fn congestion(self) -> &'static str {
        match self {
            Self::Cubic1 | Self::Cubic8 => "cubic",
            Self::Bbr1 => "bbr",
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.congestion(), self.flows())
    }
}

impl FromStr for Mix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|mix| mix.to_string() == text).ok_or(())
    }
}

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Heading {
    /// The server.
    Down,
    /// The client.
    Up,
}

impl Heading {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Down, Self::Up];

    /// The links' direction.
    #[must_use]
    pub const fn way(self) -> Way {
        match self {
            Self::Down => Way::Down,
            Self::Up => Way::Up,
        }
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", if *self == Self::Down { "down" } else { "up" })
    }
}

impl FromStr for Heading {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|heading| heading.to_string() == text).ok_or(())
    }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What carries the flows.
    pub system: System,
    /// Which flows.
    pub mix: Mix,
    /// Where to.
    pub heading: Heading,
    /// First seconds of load that do not count.
    pub skip_seconds: u32,
    /// Seconds that count.
    pub seconds: u32,
    /// Milliseconds of pings before the load.
    pub idle_millis: u32,
}

/// Round-trip times of pings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Pings sent.
    pub sent: usize,
    /// Pings never answered.
    pub lost: usize,
    /// Median in milliseconds, of those answered.
    pub p50_millis: f64,
    /// The time that 99 % of those answered stayed within, in milliseconds.
    pub p99_millis: f64,
}

impl Latency {
    /// Of these round-trip times in microseconds and so many pings without an answer; `None` when none was answered.
    #[must_use]
    pub fn of(mut micros: Vec<u64>, lost: usize) -> Option<Self> {
        micros.sort_unstable();
        // The nearest rank: the least value that the share of all values does not exceed.
        let rank = |percent: usize| (micros.len() * percent).div_ceil(100).saturating_sub(1);
        let millis = |percent| micros.get(rank(percent)).map(|&value| value as f64 / 1e3);
        Some(Self { sent: micros.len() + lost, lost, p50_millis: millis(50)?, p99_millis: millis(99)? })
    }
}

/// What one measurement came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Payload bits per second in the window, of all flows.
    pub goodput_bps: f64,
    /// Mean rate of each link the system may use, in the window and direction, in bits per second.
    pub rates_bps: Vec<u64>,
    /// What each link of the network delivered in the window and direction, headers and all, in bits per second.
    pub carried_bps: Vec<f64>,
    /// Before the load; `None` when no ping was answered.
    pub idle: Option<Latency>,
    /// In the window.
    pub loaded: Option<Latency>,
    /// The longest time any flow's receiver had no next byte, in milliseconds.
    pub stall_millis: f64,
    /// Flows whose connection broke.
    pub broken: usize,
    /// The emulator's use of one processor, in percent.
    pub emulator_percent: f64,
    /// The machine's idle time, of all processors, in percent.
    pub machine_idle_percent: f64,
}

impl Figures {
    /// Goodput in percent of the links' summed rate.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.goodput_bps * 100.0 / (self.rates_bps.iter().sum::<u64>().max(1) as f64)
    }
}

/// A plan with what came of it, or why nothing did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was measured.
    pub plan: Plan,
    /// The figures, or why there are none.
    pub result: Result<Figures, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert!(Mix::ALL.into_iter().all(|mix| mix.to_string().parse() == Ok(mix)));
        assert!(Heading::ALL.into_iter().all(|heading| heading.to_string().parse() == Ok(heading)));
        assert_eq!(Mix::ALL.map(|mix| mix.to_string()), ["cubic1", "cubic8", "bbr1"]);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(|value| value * 1_000).collect(), 3).expect("values");
        assert_eq!((latency.p50_millis, latency.p99_millis, latency.sent, latency.lost), (100.0, 198.0, 203, 3));
        let single = Latency::of(vec![1_500], 0).expect("a value");
        assert_eq!((single.p50_millis, single.p99_millis), (1.5, 1.5));
        assert_eq!(Latency::of(Vec::new(), 5), None);
    }
}

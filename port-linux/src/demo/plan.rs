// SPDX-License-Identifier: BSD-2-Clause
//! What the demo will show: the links, and which of them are used when.

use std::fmt;

use mlvpn_core::memory::two::DATA_OVERHEAD;
use mlvpn_core::words::limits::{IPV4_HEADER, UDP_HEADER, inner_mtu};
use mlvpn_core::words::time::Duration;

use crate::lab::link::QueueLimit;
use crate::lab::spec::{LinkSpec, RateSpec, SpecError};

/// Two unequal links, as many homes have them.
const DEFAULT_LINKS: &str = "40mbit/10ms,10mbit/40ms";

/// With coming up and ending it stays within half a minute.
const DEFAULT_SECONDS: u32 = 26;

/// What a screen shows with ease.
pub(super) const MAX_LINKS: usize = 8;

/// All links together: more than this is not emulated in real time on a small machine.
const MAX_SUM_BPS: u64 = 2_000_000_000;

/// MTU of the emulated links in bytes: Ethernet's.
pub(super) const LINK_MTU: u32 = 1500;

/// The largest packet through a tunnel of protocol 2 that fits the links unfragmented, in bytes.
pub(super) const TUNNEL_MTU: u16 = inner_mtu(LINK_MTU, IPV4_HEADER, DATA_OVERHEAD);

/// Bytes of outer headers that the links carry besides the tunnel's datagrams.
pub(super) const OUTER_HEADERS: usize = IPV4_HEADER + UDP_HEADER;

/// A link of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DemoLink {
    pub(super) spec: LinkSpec,
    /// Rate towards the user, where the data flows, in bits per second.
    pub(super) down_bps: u64,
    /// Rate from the user in bits per second.
    pub(super) up_bps: u64,
}

/// What is measured at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// A tunnel over this link only.
    Alone(usize),
    /// A tunnel over all links.
    Together,
    /// The same, with the fastest link pulled.
    Pulled,
    /// The same, with the fastest link plugged in again.
    Back,
}

/// A stretch of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) stretch: Stretch,
    pub(super) length: Duration,
    /// How much of it at the start is not measured: TCP finds its speed.
    pub(super) settle: Duration,
}

/// One tunnel with one transfer through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) links: Vec<usize>,
    pub(super) parts: Vec<Part>,
}

/// What the demo is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Manner {
    /// Two engines and two TCP stacks in this process.
    #[default]
    Emulated,
    /// Two daemons, real devices and the kernel's TCP in network namespaces.
    Kernel,
}

impl Manner {
    /// What is at work, in words.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Emulated => "in this process, TCP by smoltcp (CUBIC)",
            Self::Kernel => "real devices, TCP by the kernel (CUBIC)",
        }
    }

    /// The largest share of a link's rate that payload can have, in tenths of a percent: what headers leave of a full
    /// packet. TCP and IPv4 take 40 bytes; Linux adds 12 for timestamps.
    pub(super) const fn ceiling_permille(self) -> u64 {
        let headers = match self {
            Self::Emulated => 40,
            Self::Kernel => 52,
        };
        (TUNNEL_MTU as u64 - headers) * 1_000 / LINK_MTU as u64
    }
}

/// The whole demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) links: Vec<DemoLink>,
    pub(super) acts: Vec<Act>,
    /// The link that is pulled.
    pub(super) fastest: usize,
    /// All acts together.
    pub(super) total: Duration,
    pub(super) manner: Manner,
}

/// A `--links` that describes nothing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlanError {
    /// One link's description; links count from one.
    Link { number: usize, error: SpecError },
    /// A link without a limit.
    Unlimited { number: usize },
    /// Too many.
    TooMany(usize),
    /// Too fast.
    TooFast,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { number, error } => write!(f, "--links: link {number}: {error}"),
            Self::Unlimited { number } => write!(
                f,
                "--links: link {number}: 'unlimited' leaves nothing to measure against; give it a rate, as in 40mbit"
            ),
            Self::TooMany(count) => write!(f, "--links: {count} links; the demo shows at most {MAX_LINKS}"),
            Self::TooFast => write!(
                f,
                "--links: more than {} Mbit/s in all is not emulated in real time; choose slower links",
                MAX_SUM_BPS / 1_000_000
            ),
        }
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Reads `--links` and `--seconds`.
    pub(super) fn new(links: Option<&str>, seconds: Option<u32>) -> Result<Self, PlanError> {
        let text = links.unwrap_or(DEFAULT_LINKS);
        let links = (1..).zip(text.split(',')).map(|(number, text)| demo_link(number, text));
        let links = links.collect::<Result<Vec<_>, _>>()?;
        if links.len() > MAX_LINKS {
            return Err(PlanError::TooMany(links.len()));
        }
        if links.iter().fold(0_u64, |sum, link| sum.saturating_add(link.down_bps)) > MAX_SUM_BPS {
            return Err(PlanError::TooFast);
        }
        let total = Duration::from_secs(u64::from(seconds.unwrap_or(DEFAULT_SECONDS)));
        let fastest = (0..links.len()).rev().max_by_key(|&index| links[index].down_bps).unwrap_or(0);
        let acts = acts(links.len(), total);
        Ok(Self { links, acts, fastest, total, manner: Manner::default() })
    }

    /// A stretch in words; links count from one.
    pub(super) fn title(&self, stretch: Stretch) -> String {
        let fastest = self.fastest + 1;
        match stretch {
            Stretch::Alone(index) => format!("link {} alone", index + 1),
            Stretch::Together => match self.links.len() {
                1 => "before the pull".to_owned(),
                2 => "both links bonded".to_owned(),
                count => format!("all {count} links bonded"),
            },
            Stretch::Pulled => format!("link {fastest} pulled"),
            Stretch::Back => format!("link {fastest} back"),
        }
    }

    /// Links of these numbers together, in bits per second.
    pub(super) fn sum_bps(&self, links: &[usize]) -> u64 {
        links.iter().filter_map(|&index| self.links.get(index)).map(|link| link.down_bps).sum()
    }

    /// What the links of a stretch can carry, in bits per second.
    pub(super) fn capacity_bps(&self, stretch: Stretch) -> u64 {
        let all = (0..self.links.len()).filter(|&index| match stretch {
            Stretch::Alone(only) => index == only,
            Stretch::Together | Stretch::Back => true,
            Stretch::Pulled => index != self.fastest,
        });
        self.sum_bps(&all.collect::<Vec<_>>())
    }

    /// A TCP buffer that fills the links and a quarter of the shortest queue: the built-in TCP has no
    /// selective acknowledgements, so that overflowing a queue would cost it far more than it costs a kernel's.
    pub(super) fn buffer_bytes(&self, links: &[usize]) -> usize {
        const LEAST: u64 = 64 << 10;
        const MOST: u64 = 32 << 20;
        let used = || links.iter().filter_map(|&index| self.links.get(index));
        let round_trip = used().map(|link| link.spec.delay.micros().saturating_mul(2)).max().unwrap_or(0);
        let queue = used().map(queue_micros).min().unwrap_or(0);
        let span = u128::from(round_trip.saturating_add(queue / 4));
        let bytes = u128::from(self.sum_bps(links)) * span / 8_000_000;
        usize::try_from(bytes.clamp(u128::from(LEAST), u128::from(MOST))).unwrap_or(usize::MAX)
    }
}

/// How long the link's queue lasts at its rate.
fn queue_micros(link: &DemoLink) -> u64 {
    match link.spec.queue {
        QueueLimit::Time(span) => span.micros(),
        QueueLimit::Bytes(bytes) => bytes.saturating_mul(8_000_000) / link.down_bps.max(1),
    }
}

fn demo_link(number: usize, text: &str) -> Result<DemoLink, PlanError> {
    let spec: LinkSpec = text.parse().map_err(|error| PlanError::Link { number, error })?;
    let rate = |rate: RateSpec| match rate {
        RateSpec::Unlimited => None,
        RateSpec::Fixed(rate) => Some(rate),
        // What it is on average: all rates between the two are as likely.
        RateSpec::Varying { low, high } => Some(low.midpoint(high)),
    };
    let (Some(down_bps), Some(up_bps)) = (rate(spec.down), rate(spec.up)) else {
        return Err(PlanError::Unlimited { number });
    };
    Ok(DemoLink { spec, down_bps, up_bps })
}

/// A quarter of the time for the links alone; the rest for all together, with the pull about half-way. Half of what is
/// measured before it may pass while TCP finds its speed: unequal round trips make CUBIC leave its slow start early.
fn acts(links: usize, total: Duration) -> Vec<Act> {
    let percent = |share: u64| Duration::from_micros(total.micros() * share / 100);
    let settled = |stretch, length: Duration, most_secs| {
        let half = Duration::from_micros(length.micros() / 2);
        Part { stretch, length, settle: half.min(Duration::from_secs(most_secs)) }
    };
    let alone = Duration::from_micros(percent(25).micros() / links.max(1) as u64);
    let mut acts: Vec<Act> = (0..links)
        .map(|index| Act { links: vec![index], parts: vec![settled(Stretch::Alone(index), alone, 3)] })
        .collect();
    let whole = |stretch, share| Part { stretch, length: percent(share), settle: Duration::ZERO };
    let parts = vec![settled(Stretch::Together, percent(36), 6), whole(Stretch::Pulled, 16), whole(Stretch::Back, 23)];
    acts.push(Act { links: (0..links).collect(), parts });
    acts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_options_there_are_two_links_and_less_than_half_a_minute() {
        let plan = Plan::new(None, None).expect("the defaults are fine");
        assert_eq!(plan.links.iter().map(|link| link.down_bps).collect::<Vec<_>>(), [40_000_000, 10_000_000]);
        assert_eq!((plan.fastest, plan.acts.len()), (0, 3));
        let planned: u64 = plan.acts.iter().flat_map(|act| &act.parts).map(|part| part.length.micros()).sum();
        assert_eq!(planned, 26_000_000);
        let pulled = plan.acts[2].parts[1];
        assert_eq!(pulled.stretch, Stretch::Pulled);
        assert!((4_000..=5_000).contains(&pulled.length.millis()), "{pulled:?}");
    }

    #[test]
    fn what_is_wrong_with_a_link_is_named() {
        for (links, message) in [
            ("", "--links: link 1: link description: '' is not a rate, as in"),
            ("40mbit/10ms,", "--links: link 2: link description: '' is not a rate, as in"),
            ("40mbit/10ms,10mbit/4x", "--links: link 2: link description: '4x' is not a one-way delay, as in"),
            ("40mbit/10ms/colour=red", "--links: link 1: link description: 'colour=red' is not an option; there are"),
            ("1mbit/1ms,unlimited/1ms", "--links: link 2: 'unlimited' leaves nothing to measure against"),
            ("3gbit/1ms", "--links: more than 2000 Mbit/s in all"),
            ("1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms,1mbit/1ms", "9 links"),
        ] {
            let error = Plan::new(Some(links), None).expect_err(links).to_string();
            assert!(error.contains(message), "{links}: {error}");
        }
    }

    #[test]
    fn the_first_of_the_fastest_links_is_pulled() {
        let plan = Plan::new(Some("5mbit/1ms,20:1mbit/1ms,20mbit/9ms"), Some(10)).expect("fine");
        assert_eq!(plan.fastest, 1);
        assert_eq!(plan.capacity_bps(Stretch::Together), 45_000_000);
        assert_eq!(plan.capacity_bps(Stretch::Pulled), 25_000_000);
        assert_eq!(plan.capacity_bps(Stretch::Alone(0)), 5_000_000);
    }

    #[test]
    fn the_buffer_fills_the_links_and_a_quarter_of_the_shortest_queue() {
        let plan = Plan::new(Some("40mbit/10ms/queue=100ms,10mbit/40ms/queue=10000B"), None).expect("fine");
        assert_eq!(plan.buffer_bytes(&[0]), 40_000_000 / 8 * (20 + 25) / 1_000);
        // 10,000 bytes last 8 ms at 10 Mbit/s.
        assert_eq!(plan.buffer_bytes(&[0, 1]), 50_000_000 / 8 * (80 + 2) / 1_000);
        assert_eq!(Plan::new(Some("1kbit/0us"), None).expect("fine").buffer_bytes(&[0]), 64 << 10);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! One run, described.

use mlvpn::lab::link::{Change, Direction, QueueLimit};
use mlvpn::lab::spec::{LinkSpec, RateSpec};
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::words::time::Duration;

use super::scenario::{SKIPPED_SECS, Scenario};
use super::tcp::congestion::Algorithm;

/// The tunnel has this long to come up and measure its paths before the flows begin.
pub(super) const WARM_UP: Duration = Duration::from_secs(5);

/// Bytes of outer IPv4 and UDP headers, which links carry with each datagram.
pub(super) const OUTER_HEADERS: u32 = 28;

/// Where buffers are shallow, those of the other direction have this much: the scenarios are about one direction.
const OTHER_QUEUE: QueueLimit = QueueLimit::Time(Duration::from_millis(200));
const SHALLOW: Duration = Duration::from_millis(50);

/// Which way the flows go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Towards the user.
    #[default]
    Down,
    /// From the user.
    Up,
}

impl Way {
    /// The sending host: 0 is the user's.
    pub(super) const fn sender(self) -> usize {
        match self {
            Self::Down => 1,
            Self::Up => 0,
        }
    }
}

/// What lies between the hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// The tunnel, over all the links.
    #[default]
    Tunnel,
    /// The tunnel, over one of them alone.
    Alone(usize),
    /// Nothing but one of the links.
    Bare(usize),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The links, and what happens to each.
    pub links: Vec<(LinkSpec, Vec<(Duration, Change)>)>,
    /// What lies between the hosts.
    pub carrier: Carrier,
    /// Which way the flows go.
    pub way: Way,
    /// How many there are.
    pub flows: usize,
    /// The senders' algorithm.
    pub algorithm: Algorithm,
    /// Whether the senders ask for marks of congestion.
    pub ecn: bool,
    /// What each application hands over in bytes per second; None as much as is taken.
    pub application: Option<u64>,
    /// Whether the engines are told the links' rates.
    pub hints: bool,
    /// Length of the run, and how much at its beginning does not count.
    pub length: Duration,
    /// See `length`.
    pub skipped: Duration,
    /// Decides everything left to chance.
    pub seed: u64,
    /// Notes every tenth of a second.
    pub traced: bool,
}

impl Plan {
    /// A run of `scenario`.
    #[must_use]
    pub fn of(scenario: &Scenario, algorithm: Algorithm, seed: u64) -> Self {
        let links = scenario.specs().into_iter().enumerate();
        Self {
            links: links.map(|(index, spec)| (spec, scenario.mishaps_of(index).collect())).collect(),
            carrier: Carrier::Tunnel,
            way: Way::Down,
            flows: scenario.flows,
            algorithm: scenario.algorithm.unwrap_or(algorithm),
            ecn: false,
            application: None,
            hints: false,
            length: Duration::from_secs(scenario.secs),
            skipped: Duration::from_secs(SKIPPED_SECS),
            seed,
            traced: false,
        }
    }

    /// A flow over one link and no tunnel, counted from its beginning.
    #[must_use]
    pub fn bare(spec: LinkSpec, algorithm: Algorithm, length: Duration) -> Self {
        Self {
            links: vec![(spec, Vec::new())],
            carrier: Carrier::Bare(0),
            way: Way::Down,
            flows: 1,
            algorithm,
            ecn: false,
            application: None,
            hints: false,
            length,
            skipped: Duration::ZERO,
            seed: 1,
            traced: false,
        }
    }

    /// The links this run uses.
    pub(super) fn used(&self) -> Vec<usize> {
        match self.carrier {
            Carrier::Tunnel => (0..self.links.len()).collect(),
            Carrier::Alone(link) | Carrier::Bare(link) => vec![link],
        }
    }

    /// A link's two directions, up first. Mishaps count from the flows' start.
    pub(super) fn directions(&self, link: usize) -> [Direction; 2] {
        let (spec, mishaps) = &self.links[link];
        let seed = self.link_seed(link);
        let mut directions = [spec.upward(seed), spec.downward(seed)];
        for (index, direction) in directions.iter_mut().enumerate() {
            let is_measured = index == self.way.sender();
            if !is_measured && matches!(direction.queue, QueueLimit::Time(span) if span < SHALLOW) {
                direction.queue = OTHER_QUEUE;
            }
            if !matches!(self.carrier, Carrier::Bare(_)) {
                direction.overhead_bytes += OUTER_HEADERS;
            }
            let mine = mishaps.iter().filter(|(_, change)| is_measured || matches!(change, Change::Up(_)));
            direction.schedule = mine.map(|(at, change)| (*at + WARM_UP, *change)).collect();
        }
        directions
    }

    pub(super) const fn link_seed(&self, link: usize) -> u64 {
        self.seed.wrapping_mul(1_000).wrapping_add(link as u64)
    }

    pub(super) fn settings(&self, way: Way) -> Vec<LinkSettings> {
        let rate = |link: usize| {
            let (spec, _) = &self.links[link];
            let spec_rate = if way == Way::Down { spec.down } else { spec.up };
            if self.hints { bytes_per_second(spec_rate) } else { 0 }
        };
        self.used()
            .into_iter()
            .map(|link| LinkSettings { rate_bytes_per_sec: rate(link), ..LinkSettings::default() })
            .collect()
    }
}

fn bytes_per_second(rate: RateSpec) -> u64 {
    match rate {
        RateSpec::Unlimited => 0,
        RateSpec::Fixed(bits) => bits / 8,
        RateSpec::Varying { low, high } => (low + high) / 16,
    }
}

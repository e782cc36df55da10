// SPDX-License-Identifier: BSD-2-Clause
//! The scenarios, as data: links as people have them, and what happens to them.
//!
//! Rates are down:up, delays one way (see [`mlvpn::lab::spec`] for the notation). Buffers have 150 to 800 ms unless the
//! scenario is about them: DSL modems hold a fifth of a second, cell phone networks twice that and more.

use mlvpn::lab::link::Change;
use mlvpn::lab::spec::LinkSpec;
use mlvpn_core::words::time::Duration;

use super::tcp::congestion::Algorithm;

/// What a scenario does to a link, both ways, at a time after the flows' start.
#[derive(Clone, Copy, Debug)]
pub struct Mishap {
    /// When, in seconds.
    pub at_secs: u64,
    /// To which link.
    pub link: usize,
    /// What; a rate is that of the measured direction alone.
    pub change: Change,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name in the tables.
    pub name: &'static str,
    /// In words.
    pub about: &'static str,
    /// Its links.
    pub links: &'static [&'static str],
    /// What happens to them.
    pub mishaps: &'static [Mishap],
    /// TCP flows.
    pub flows: usize,
    /// The senders' algorithm where the scenario is about it.
    pub algorithm: Option<Algorithm>,
    /// Length of a run in seconds.
    pub secs: u64,
}

/// The first seconds of a run do not count.
pub const SKIPPED_SECS: u64 = 20;

const DSL12: &str = "12:1mbit/15ms/queue=200ms";
const LTE30: &str = "30:10mbit/30ms/queue=400ms";

const PLAIN: Scenario = Scenario { name: "", about: "", links: &[], mishaps: &[], flows: 1, algorithm: None, secs: 60 };

/// All of them; those whose names begin with N are of the bench in namespaces, to be compared with.
pub const SCENARIOS: [Scenario; 22] = [
    Scenario {
        name: "S1",
        about: "two equal links",
        links: &["20:5mbit/15ms/queue=200ms", "20:5mbit/15ms/queue=200ms"],
        ..PLAIN
    },
    Scenario { name: "S2", about: "DSL and a faster, slower-reacting LTE", links: &[DSL12, LTE30], ..PLAIN },
    Scenario {
        name: "S3",
        about: "three unequal links",
        links: &["50:10mbit/10ms/queue=150ms", "100:15mbit/30ms/queue=200ms", "30:10mbit/45ms/queue=400ms"],
        ..PLAIN
    },
    Scenario {
        name: "S4",
        about: "equal rates, 140 ms apart",
        links: &["20:5mbit/10ms/queue=200ms", "20:5mbit/150ms/queue=400ms"],
        ..PLAIN
    },
    Scenario { name: "S5", about: "S2, 1 % loss on LTE", links: &[DSL12, "30:10mbit/30ms/1%/queue=400ms"], ..PLAIN },
    Scenario {
        name: "S6",
        about: "S2, every tenth LTE packet stalled for 15 ms on average",
        links: &[DSL12, "30:10mbit/30ms/queue=400ms/stall=10%:15ms"],
        ..PLAIN
    },
    Scenario {
        name: "S7",
        about: "DSL and a satellite swarm: loss, handovers, jitter",
        links: &[
            "20:5mbit/10ms/queue=200ms",
            "100:12mbit/25ms/0.2%/queue=150ms/jitter=3ms:normal/handover=15s:140ms:30%",
        ],
        ..PLAIN
    },
    Scenario {
        name: "S8",
        about: "DSL and LTE of 4 to 48 Mbit/s, another every 200 ms",
        links: &["16:1mbit/15ms/queue=200ms", "4-48:10mbit/30ms/queue=400ms"],
        ..PLAIN
    },
    Scenario { name: "S9", about: "S2, LTE dead for 4 s", links: &[DSL12, LTE30], mishaps: &outage(1), ..PLAIN },
    Scenario { name: "S10", about: "S2, DSL dead for 4 s", links: &[DSL12, LTE30], mishaps: &outage(0), ..PLAIN },
    Scenario { name: "S11", about: "S2, four flows", links: &[DSL12, LTE30], flows: 4, ..PLAIN },
    Scenario {
        name: "S12",
        about: "S2, the sender runs BBR",
        links: &[DSL12, LTE30],
        algorithm: Some(Algorithm::Bbr),
        ..PLAIN
    },
    Scenario {
        name: "S13",
        about: "slow DSL and a geostationary satellite",
        links: &["8:1mbit/20ms/queue=200ms", "20:3mbit/300ms/queue=800ms"],
        secs: 80,
        ..PLAIN
    },
    Scenario { name: "S14", about: "one link, modem buffer of 500 ms", links: &["30:5mbit/25ms/queue=500ms"], ..PLAIN },
    Scenario {
        name: "S15",
        about: "buffers of 4 ms",
        links: &["20:1mbit/15ms/queue=4ms", "30:10mbit/30ms/queue=4ms"],
        ..PLAIN
    },
    Scenario {
        name: "S16",
        about: "S2, LTE falls to 8 Mbit/s for 20 s",
        links: &[DSL12, LTE30],
        mishaps: &[
            Mishap { at_secs: 30, link: 1, change: Change::Rate(8_000_000) },
            Mishap { at_secs: 50, link: 1, change: Change::Rate(30_000_000) },
        ],
        secs: 80,
        ..PLAIN
    },
    Scenario { name: "N1", about: "40/10 and 10/40 ms", links: &["40mbit/10ms", "10mbit/40ms"], ..PLAIN },
    Scenario { name: "N2", about: "300/5 and 80/15 ms", links: &["300mbit/5ms", "80mbit/15ms"], secs: 30, ..PLAIN },
    Scenario {
        name: "N3",
        about: "two equal links, 1 % loss on one",
        links: &["30mbit/15ms", "30mbit/15ms/1%"],
        ..PLAIN
    },
    Scenario {
        name: "N4",
        about: "15 ms of jitter and 0.1 % loss on the faster link",
        links: &["60mbit/25ms/0.1%/jitter=15ms", "20mbit/8ms"],
        ..PLAIN
    },
    Scenario {
        name: "N5",
        about: "buffers of 500 ms",
        links: &["20mbit/15ms/queue=500ms", "30mbit/25ms/queue=500ms"],
        ..PLAIN
    },
    Scenario { name: "N6", about: "three links", links: &["50mbit/10ms", "100mbit/30ms", "30mbit/45ms"], ..PLAIN },
];

const fn outage(link: usize) -> [Mishap; 2] {
    [Mishap { at_secs: 30, link, change: Change::Up(false) }, Mishap { at_secs: 34, link, change: Change::Up(true) }]
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name.eq_ignore_ascii_case(name))
    }

    /// Its links.
    ///
    /// # Panics
    /// Never: a test reads them all.
    #[must_use]
    pub fn specs(&self) -> Vec<LinkSpec> {
        self.links.iter().map(|link| link.parse().expect("a link of the table above")).collect()
    }

    /// What happens to a link.
    pub fn mishaps_of(&self, link: usize) -> impl Iterator<Item = (Duration, Change)> + '_ {
        let mine = self.mishaps.iter().filter(move |mishap| mishap.link == link);
        mine.map(|mishap| (Duration::from_secs(mishap.at_secs), mishap.change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_reads_and_has_its_own_name() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            let name = if index < 16 { format!("S{}", index + 1) } else { format!("N{}", index - 15) };
            assert_eq!(scenario.name, name);
            assert_eq!(scenario.specs().len(), scenario.links.len());
            assert!(scenario.mishaps.iter().all(|mishap| mishap.link < scenario.links.len()));
            assert!(
                scenario.mishaps.iter().all(|mishap| mishap.at_secs >= SKIPPED_SECS && mishap.at_secs < scenario.secs)
            );
        }
    }
}

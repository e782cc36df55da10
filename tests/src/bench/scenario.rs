// SPDX-License-Identifier: BSD-2-Clause
//! The bench's links, and what happens to them: all of it data.

use mlvpn::lab::link::Capacity;
use mlvpn::lab::realtime::Way;
use mlvpn::lab::spec::LinkSpec;
use mlvpn_core::words::time::Duration;

/// Links between a client and a server, as [`mlvpn::lab::spec`] writes them, and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the table calls it.
    pub title: &'static str,
    /// `DOWN[:UP]/ONE-WAY DELAY/...`.
    pub links: &'static [&'static str],
    /// In order of time.
    pub events: &'static [Event],
}

/// Something that happens to a link.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Seconds after the measured window's beginning.
    pub at_seconds: u32,
    /// The link, counted from 1.
    pub link: usize,
    /// What happens.
    pub what: Happening,
}

/// What happens, to both directions at once.
#[derive(Clone, Copy, Debug)]
pub enum Happening {
    /// It loses everything without a word; its interfaces stay up.
    Down,
    /// It carries packets again.
    Up,
    /// Its rate changes to so many bits per second.
    Rate(u64),
}

/// Seconds a scenario must go on after its last event, for the recovery to be seen.
const AFTER_LAST_EVENT: u32 = 2;

const fn quiet(name: &'static str, title: &'static str, links: &'static [&'static str]) -> Scenario {
    Scenario { name, title, links, events: &[] }
}

const fn at(at_seconds: u32, link: usize, what: Happening) -> Event {
    Event { at_seconds, link, what }
}

/// Every scenario, in the table's order. A queue is 200 ms deep unless said.
pub static SCENARIOS: [Scenario; 14] = [
    quiet("equal", "2 x 50/10 ms", &["50mbit/10ms", "50mbit/10ms"]),
    quiet("unequal", "40/10 + 10/40 ms", &["40mbit/10ms", "10mbit/40ms"]),
    quiet("fast", "300/5 + 80/15 ms", &["300mbit/5ms", "80mbit/15ms"]),
    quiet("loss", "2 x 30/15 ms, 1 % loss on one", &["30mbit/15ms", "30mbit/15ms/1%"]),
    quiet(
        "jitter",
        "60/25 ms with 15 ms jitter and 0.1 % loss + 20/8 ms",
        &["60mbit/25ms/0.1%/jitter=15ms", "20mbit/8ms"],
    ),
    quiet("lte", "DSL 16:1/15 ms + LTE 4-48:10/30 ms", &["16:1mbit/15ms", "4-48:10mbit/30ms"]),
    quiet("geo", "GEO 20/300 + 8/20 ms", &["20mbit/300ms", "8mbit/20ms"]),
    Scenario {
        events: &[at(5, 1, Happening::Down), at(10, 1, Happening::Up)],
        ..quiet("outage", "12/15 + 30/30 ms, the 12 down for 5 s", &["12mbit/15ms", "30mbit/30ms"])
    },
    Scenario {
        events: &[at(5, 2, Happening::Down), at(10, 2, Happening::Up)],
        ..quiet("outage-fast", "12/15 + 30/30 ms, the 30 down for 5 s", &["12mbit/15ms", "30mbit/30ms"])
    },
    Scenario {
        events: &[at(5, 2, Happening::Rate(8_000_000)), at(10, 2, Happening::Rate(30_000_000))],
        ..quiet("step", "12/15 + 30/30 ms, the 30 at 8 for 5 s", &["12mbit/15ms", "30mbit/30ms"])
    },
    quiet("bloat", "20/15 + 30/25 ms, 500 ms queues", &["20mbit/15ms/queue=500ms", "30mbit/25ms/queue=500ms"]),
    quiet("shallow", "20/15 + 30/30 ms, 4 ms queues", &["20mbit/15ms/queue=4ms", "30mbit/30ms/queue=4ms"]),
    quiet("three", "50/10 + 100/30 + 30/45 ms", &["50mbit/10ms", "100mbit/30ms", "30mbit/45ms"]),
    quiet("four", "40/10 + 20/20 + 10/30 + 30/45 ms", &["40mbit/10ms", "20mbit/20ms", "10mbit/30ms", "30mbit/45ms"]),
];

/// Links faster than the machine: its figures are those of the emulator and the tunnel, and bound all others. Measured
/// only when asked for.
pub static CEILING: Scenario =
    quiet("ceiling", "2 x 1000/5 ms: what machine and emulator carry", &["1gbit/5ms", "1gbit/5ms"]);

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().chain([&CEILING]).find(|scenario| scenario.name == name)
}

impl Scenario {
    /// The fewest seconds to measure for all that happens to be seen.
    #[must_use]
    pub fn least_seconds(&self) -> u32 {
        self.events.iter().map(|event| event.at_seconds + AFTER_LAST_EVENT).max().unwrap_or(1)
    }

    /// The mean rate of one direction of every link in bits per second, as it was within a window: `begin` is the time
    /// between the emulator's start and the window's, which matters to links of varying rate.
    ///
    /// # Panics
    /// When the scenario holds a link that cannot be read, which a test excludes.
    #[must_use]
    pub fn rates(&self, way: Way, begin: Duration, length: Duration) -> Vec<u64> {
        (1..=self.links.len()).map(|link| self.rate_of(link, way, begin, length)).collect()
    }

    fn rate_of(&self, link: usize, way: Way, begin: Duration, length: Duration) -> u64 {
        let ours = self.events.iter().filter(|event| event.link == link);
        let (mut rate, mut is_up, mut since, mut sent) = (self.undisturbed(link, way, begin, length), true, 0, 0_u128);
        let end = length.micros();
        let carried =
            |rate: u64, is_up: bool, micros: u64| if is_up { u128::from(rate) * u128::from(micros) } else { 0 };
        for event in ours {
            let at = Duration::from_secs(event.at_seconds.into()).micros().min(end);
            sent += carried(rate, is_up, at - since);
            since = at;
            match event.what {
                Happening::Down => is_up = false,
                Happening::Up => is_up = true,
                Happening::Rate(new) => rate = new,
            }
        }
        sent += carried(rate, is_up, end - since);
        u64::try_from(sent / u128::from(end.max(1))).unwrap_or(u64::MAX)
    }

    fn undisturbed(&self, link: usize, way: Way, begin: Duration, length: Duration) -> u64 {
        let spec: LinkSpec = self.links[link - 1].parse().expect("a link's description");
        // The seeds that `Network` gives its links, by their number.
        let seed = link as u64;
        let direction = if way == Way::Down { spec.downward(seed) } else { spec.upward(seed) };
        match direction.capacity {
            Capacity::Unlimited => 0,
            Capacity::Rate(rate) => rate,
            Capacity::Trace(trace) => trace.rate_between_bps(begin, begin + length),
        }
    }

    /// What one direction of a link is said to carry, in bits per second, where rates are configured: at its start, and
    /// on average where it varies.
    ///
    /// # Panics
    /// As [`rates`](Self::rates).
    #[must_use]
    pub fn configured_rate(&self, link: usize, way: Way) -> u64 {
        /// Traces repeat after a minute.
        const ROUND: Duration = Duration::from_secs(60);
        self.undisturbed(link, way, Duration::ZERO, ROUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_scenario_has_a_name_of_its_own_links_that_read_and_events_in_order() {
        for scenario in SCENARIOS.iter().chain([&CEILING]) {
            assert!(std::ptr::eq(named(scenario.name).expect("named"), scenario), "{} twice", scenario.name);
            assert!(scenario.links.iter().all(|link| link.parse::<LinkSpec>().is_ok()), "{}", scenario.name);
            assert!(scenario.events.is_sorted_by_key(|event| event.at_seconds), "{}", scenario.name);
            assert!(scenario.events.iter().all(|event| (1..=scenario.links.len()).contains(&event.link)));
        }
    }

    #[test]
    fn an_outage_and_a_step_count_for_as_long_as_they_last() {
        let rates = |name| named(name).expect("known").rates(Way::Down, SECOND, SECOND * 20);
        assert_eq!(rates("outage"), [9_000_000, 30_000_000]);
        assert_eq!(rates("step"), [12_000_000, (8 * 5 + 30 * 15) * 1_000_000 / 20]);
        // A window that ends before an event has nothing of it.
        assert_eq!(named("step").expect("known").rates(Way::Down, SECOND, SECOND * 4), [12_000_000, 30_000_000]);
        assert_eq!(named("step").expect("known").least_seconds(), 12);
    }

    #[test]
    fn ways_differ_and_a_varying_rate_is_that_of_the_window() {
        let lte = named("lte").expect("known");
        assert_eq!(lte.rates(Way::Up, SECOND, SECOND), [1_000_000, 10_000_000]);
        let of = |begin| lte.rates(Way::Down, begin, SECOND)[1];
        assert_ne!(of(SECOND), of(SECOND * 3));
        assert!((4_000_000..=49_000_000).contains(&of(SECOND)), "{}", of(SECOND));
        assert!(lte.configured_rate(2, Way::Down).abs_diff(26_000_000) < 3_000_000);
    }
}

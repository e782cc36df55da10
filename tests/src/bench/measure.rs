// SPDX-License-Identifier: BSD-2-Clause
//! One measurement: new namespaces, links and processes; idle pings; then flows with pings beside them.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpn::lab::link::Change;
use mlvpn::lab::load::{Flow, Load, Window};
use mlvpn::lab::ping::{Ping, Pinger};
use mlvpn::lab::realtime::{LinkId, Running, Way};
use mlvpn_core::words::time::{Duration, Instant};

use super::course::Course;
use super::plan::{Figures, Latency, Plan};
use super::scenario::{Happening, Scenario, named};
use super::system::System;
use crate::network::Network;

/// Between two pings.
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// For every path of a tunnel to come up after the first.
const SETTLE: StdDuration = StdDuration::from_secs(1);

/// Measures; `None`, and the reason on standard error, where the machine cannot make the links.
///
/// # Errors
/// Why there are no figures.
///
/// # Panics
/// When a daemon does not start.
pub fn measure(plan: &Plan) -> Result<Option<Figures>, String> {
    let scenario = named(&plan.scenario).ok_or_else(|| format!("no scenario {}", plan.scenario))?;
    let Some(network) = Network::emulated(scenario.links) else { return Ok(None) };
    let course = Course::start(plan.system, &network, scenario)?;
    course.await_answer(&network)?;
    thread::sleep(SETTLE);
    let pinger = start_pings(&network, &course)?;
    thread::sleep(StdDuration::from_millis(plan.idle_millis.into()));
    let idle = latency(&pinger.stop().map_err(|why| why.to_string())?);
    load(plan, scenario, &network, &course).map(|figures| Some(Figures { idle, ..figures }))
}

fn start_pings(network: &Network, course: &Course) -> Result<Pinger, String> {
    Pinger::start(&network.client, course.address, PING_INTERVAL).map_err(|why| why.to_string())
}

fn latency(pings: &[Ping]) -> Option<Latency> {
    let answered: Vec<u64> = pings.iter().filter_map(|ping| Some(ping.round_trip?.micros())).collect();
    let lost = pings.len() - answered.len();
    Latency::of(answered, lost)
}

fn load(plan: &Plan, scenario: &Scenario, network: &Network, course: &Course) -> Result<Figures, String> {
    let load = Load {
        client: &network.client,
        server: &network.server,
        address: course.address.into(),
        transport: course.transport,
        congestion: plan.mix.congestion(),
        flows: plan.mix.flows(),
        is_downward: plan.heading.way() == Way::Down,
    };
    let opened = load.open().map_err(|why| why.to_string())?;
    let pinger = start_pings(network, course)?;
    let from = clock::now() + Duration::from_secs(plan.skip_seconds.into());
    let window = Window { from, until: from + Duration::from_secs(plan.seconds.into()) };
    let (emulator, links) = network.emulator().ok_or("the links are not emulated")?;
    let (flows, used) = thread::scope(|scope| {
        let flows = scope.spawn(|| opened.run(window));
        let used = conduct(scenario, (emulator, links), plan.heading.way(), window);
        (flows.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), used)
    });
    let used = used.map_err(|why| why.to_string())?;
    let mut pings = pinger.stop().map_err(|why| why.to_string())?;
    pings.retain(|ping| ping.sent >= window.from && ping.sent < window.until);
    let begin = window.from.since(emulator.started());
    let rates = scenario.rates(plan.heading.way(), begin, window.until.since(window.from));
    Ok(figures(&flows, &used, &pings, window, usable(plan.system, rates)))
}

/// The rates of the links that the system has.
fn usable(system: System, rates: Vec<u64>) -> Vec<u64> {
    match system {
        System::Link(link) => rates.into_iter().skip(link - 1).take(1).collect(),
        _ => rates,
    }
}

fn figures(flows: &[Flow], used: &Used, pings: &[Ping], window: Window, rates_bps: Vec<u64>) -> Figures {
    let seconds = window.until.since(window.from).micros() as f64 / 1e6;
    let stall = flows.iter().map(|flow| flow.longest_stall.micros()).max().unwrap_or(0);
    Figures {
        goodput_bps: flows.iter().map(|flow| flow.bytes).sum::<u64>() as f64 * 8.0 / seconds,
        rates_bps,
        carried_bps: used.delivered.iter().map(|&bytes| bytes as f64 * 8.0 / seconds).collect(),
        idle: None,
        loaded: latency(pings),
        stall_millis: stall as f64 / 1e3,
        broken: flows.iter().filter(|flow| flow.is_broken).count(),
        emulator_percent: used.emulator.micros() as f64 / 1e4 / seconds,
        machine_idle_percent: used.idle_percent,
    }
}

/// What the processors and links did in the window.
struct Used {
    emulator: Duration,
    idle_percent: f64,
    /// Bytes, by link.
    delivered: Vec<u64>,
}

/// Does to the links what the scenario says, at its time, and looks at processors and links at the window's edges.
fn conduct(
    scenario: &Scenario,
    (emulator, links): (&Running, &[LinkId]),
    watched: Way,
    window: Window,
) -> io::Result<Used> {
    let look = || -> io::Result<Glance> {
        let delivered = |&link| emulator.counters(link, watched).model.delivered_bytes;
        let delivered = links.iter().map(delivered).collect();
        Ok(Glance { emulator: emulator.processor_time()?, ticks: Ticks::now()?, delivered })
    };
    sleep_until(window.from);
    let before = look()?;
    for event in scenario.events {
        sleep_until((window.from + Duration::from_secs(event.at_seconds.into())).min(window.until));
        let change = match event.what {
            Happening::Down => Change::Up(false),
            Happening::Up => Change::Up(true),
            Happening::Rate(rate) => Change::Rate(rate),
        };
        for way in [Way::Up, Way::Down] {
            emulator.change(links[event.link - 1], way, change).map_err(io::Error::other)?;
        }
    }
    sleep_until(window.until);
    Ok(look()?.since(&before))
}

/// What there was at one time.
struct Glance {
    emulator: Duration,
    ticks: Ticks,
    /// Bytes, by link.
    delivered: Vec<u64>,
}

impl Glance {
    fn since(&self, before: &Self) -> Used {
        let bytes = self.delivered.iter().zip(&before.delivered).map(|(now, then)| now.saturating_sub(*then));
        Used {
            emulator: self.emulator - before.emulator,
            idle_percent: self.ticks.idle_percent_since(&before.ticks),
            delivered: bytes.collect(),
        }
    }
}

fn sleep_until(time: Instant) {
    thread::sleep(StdDuration::from_micros(time.since(clock::now()).micros()));
}

/// The machine's clock ticks so far (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        Self::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat is not as expected"))
    }

    /// The line of all processors: user, nice, system, idle, iowait, irq, softirq, steal; what guests used is counted
    /// among the first already.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Option<Vec<u64>> = fields.split_whitespace().take(8).map(|field| field.parse().ok()).collect();
        let fields = fields?;
        Some(Self { idle: fields.get(3)? + fields.get(4)?, all: fields.iter().sum() })
    }

    fn idle_percent_since(self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.idle.saturating_sub(before.idle) as f64 * 100.0 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_idle_time_is_that_of_all_processors() {
        let parse = |text| Ticks::parse(text);
        let before = parse("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1 1 1 1 1 1 1 1\n").expect("well formed");
        assert_eq!(before, Ticks { idle: 80, all: 100 });
        let after = Ticks { idle: 85, all: 120 };
        assert_eq!(after.idle_percent_since(&before), 25.0);
        assert_eq!((parse("cpu0 1 2 3 4 5\n"), parse("cpu  1 x\n"), parse("cpu  1 2\n")), (None, None, None));
    }

    #[test]
    fn a_link_alone_has_its_own_rate_only() {
        assert_eq!(usable(System::Link(2), vec![5, 7, 9]), [7]);
        assert_eq!(usable(System::Mptcp, vec![5, 7]), [5, 7]);
    }

    #[test]
    fn lost_pings_are_counted_beside_the_answered() {
        let ping = |round_trip| Ping { sent: Instant::from_micros(0), round_trip };
        let pings = [ping(Some(Duration::from_millis(4))), ping(None), ping(Some(Duration::from_millis(6)))];
        let latency = latency(&pings).expect("some were answered");
        assert_eq!((latency.sent, latency.lost, latency.p50_millis), (3, 1, 4.0));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The bonding benchmark in virtual time, as a Markdown table; see [`mlvpn_tests::simulation`].
//!
//! `cargo run --release --package mlvpn-tests --bin simtable -- [OPTIONS]`; `--help` lists them.

use std::process::ExitCode;

use mlvpn::lab::spec::LinkSpec;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::simulation::kernel::measure;
use mlvpn_tests::simulation::plan::{Carrier, Plan, Way};
use mlvpn_tests::simulation::scenario::{SCENARIOS, Scenario};
use mlvpn_tests::simulation::table::{HEADING, millis, row, run_all, seconds as seconds_of, tenths};
use mlvpn_tests::simulation::tcp::congestion::Algorithm;

const USAGE: &str = "\
usage: simtable [OPTIONS]
  --scenario S2,S5        only these (all of S1 to S16 and N1 to N6 unless said)
  --seeds N               runs of each scenario (20)
  --first-seed N          the first one's seed (1)
  --sender cubic|cubic-no-hystart|bbr
                          the senders' congestion control (cubic)
  --direction down|up     which way the flows go (down)
  --seconds N             length of a run (the scenario's own)
  --skip N                seconds at the beginning that do not count (20)
  --jobs N                runs at a time (2)
  --hints                 tell the engines the links' rates
  --ecn                   senders that read marks of congestion
  --compare-kernel        instead of all this: the model beside the kernel's own TCP, on single links without a
                          tunnel, in real time; needs root and iperf3; --seconds is 20 unless said
  --references            each link alone, through the tunnel and without it, as well
  --trace FILE            every 100 ms of the first run, as CSV";

struct Options {
    scenarios: Vec<&'static Scenario>,
    seeds: u64,
    first_seed: u64,
    algorithm: Algorithm,
    way: Way,
    length: Option<Duration>,
    skipped: Option<Duration>,
    jobs: usize,
    hints: bool,
    ecn: bool,
    references: bool,
    compares_kernel: bool,
    trace: Option<String>,
}

impl Options {
    fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            scenarios: SCENARIOS.iter().collect(),
            seeds: 20,
            first_seed: 1,
            algorithm: Algorithm::Cubic,
            way: Way::Down,
            length: None,
            skipped: None,
            jobs: 2,
            hints: false,
            ecn: false,
            references: false,
            compares_kernel: false,
            trace: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            match option.as_str() {
                "--hints" => options.hints = true,
                "--ecn" => options.ecn = true,
                "--compare-kernel" => options.compares_kernel = true,
                "--references" => options.references = true,
                "--help" => return Err(USAGE.to_owned()),
                _ => {
                    let value = arguments
                        .next()
                        .ok_or_else(|| format!("{option} lacks its value, or is unknown; try --help"))?;
                    options.set(&option, &value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let wrong = |expected: &str| format!("{option} {value}: {expected} expected");
        let number = || value.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(|| wrong("a number above 0"));
        match option {
            "--scenario" => {
                let named = |name| {
                    Scenario::named(name)
                        .ok_or_else(|| wrong("names from S1 to S16 and N1 to N6, with commas between,"))
                };
                self.scenarios = value.split(',').map(named).collect::<Result<_, _>>()?;
            }
            "--seeds" => self.seeds = number()?,
            "--first-seed" => self.first_seed = number()?,
            "--sender" => {
                self.algorithm = match value {
                    "cubic" => Algorithm::Cubic,
                    "cubic-no-hystart" => Algorithm::CubicWithoutHystart,
                    "bbr" => Algorithm::Bbr,
                    _ => return Err(wrong("cubic, cubic-no-hystart or bbr")),
                };
            }
            "--direction" => {
                self.way = match value {
                    "down" => Way::Down,
                    "up" => Way::Up,
                    _ => return Err(wrong("down or up")),
                };
            }
            "--seconds" => self.length = Some(Duration::from_secs(number()?)),
            "--skip" => self.skipped = Some(Duration::from_secs(value.parse().map_err(|_| wrong("a number"))?)),
            "--jobs" => self.jobs = usize::try_from(number()?).unwrap_or(usize::MAX),
            "--trace" => self.trace = Some(value.to_owned()),
            _ => return Err(format!("{option} is unknown; try --help")),
        }
        Ok(())
    }

    fn plan(&self, scenario: &Scenario, carrier: Carrier, seed: u64) -> Plan {
        let plan = Plan::of(scenario, self.algorithm, seed);
        Plan {
            carrier,
            way: self.way,
            ecn: self.ecn,
            hints: self.hints,
            length: self.length.unwrap_or(plan.length),
            skipped: self.skipped.unwrap_or(plan.skipped).min(self.length.unwrap_or(plan.length)),
            traced: self.trace.is_some(),
            ..plan
        }
    }
}

fn main() -> ExitCode {
    let outcome = Options::read(std::env::args().skip(1)).and_then(|options| print(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn print(options: &Options) -> Result<(), String> {
    if options.compares_kernel {
        return compare_kernel(options.length.map_or(20, |length| length.millis() / 1_000));
    }
    let mut trace = options.trace.as_ref();
    print!("{HEADING}");
    for scenario in &options.scenarios {
        let mut carriers = vec![(format!("{} {}", scenario.name, scenario.about), Carrier::Tunnel)];
        for (link, spec) in scenario.links.iter().enumerate().filter(|_| options.references) {
            carriers.push((format!("{}, {spec} alone", scenario.name), Carrier::Alone(link)));
            carriers.push((format!("{}, {spec} without a tunnel", scenario.name), Carrier::Bare(link)));
        }
        for (name, carrier) in carriers {
            let seeds = options.first_seed..options.first_seed + options.seeds;
            let plans: Vec<Plan> = seeds.map(|seed| options.plan(scenario, carrier, seed)).collect();
            let outcomes = run_all(&plans, options.jobs);
            print!("{}", row(&name, &outcomes));
            if let (Some(file), Some(first)) = (trace.take(), outcomes.first()) {
                std::fs::write(file, first.trace.join("\n") + "\n").map_err(|error| format!("{file}: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Single links on which the model and the kernel are compared.
const COMPARED: [&str; 6] = [
    "20mbit/15ms/queue=50ms",
    "20mbit/15ms/queue=200ms",
    "50mbit/10ms/queue=30ms",
    "50mbit/10ms/queue=150ms",
    "30mbit/30ms/1%/queue=200ms",
    "12mbit/30ms/queue=400ms",
];

/// Prints what the model and the kernel make of the same links, from the flow's start on.
fn compare_kernel(seconds: u64) -> Result<(), String> {
    println!(
        "| link | sender | Mbit/s model | kernel | 90 % after s model | kernel | mean RTT ms model | kernel | copies model | kernel |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for link in COMPARED {
        let spec: LinkSpec = link.parse().map_err(|error| format!("{error}"))?;
        for (name, algorithm) in [("CUBIC", Algorithm::Cubic), ("BBR", Algorithm::Bbr)] {
            let plan = Plan::bare(spec, algorithm, Duration::from_secs(seconds));
            let outcomes = run_all(std::slice::from_ref(&plan), 1);
            let Some(model) = outcomes.first() else { return Ok(()) };
            let whole = model.capacity * 8 / seconds;
            let kernel = measure(&spec, algorithm, (seconds, whole * 9 / 10), 1).map_err(|error| error.to_string())?;
            println!(
                "| {link} | {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                tenths(model.payload * 8 / seconds / 100_000),
                tenths(kernel.bits_per_second / 100_000),
                seconds_of(model.reached),
                seconds_of(kernel.reached_millis.map(Duration::from_millis)),
                millis(model.mean_rtt),
                millis(kernel.mean_rtt),
                model.sendings.copies,
                kernel.copies,
            );
        }
    }
    Ok(())
}

// SPDX-License-Identifier: BSD-2-Clause
//! One TCP flow (CUBIC) through our tunnel and, when `MLVPN_PEER` names it, MLVPN 2.3.5's, in turn within one run: over one
//! link without a limit (a veth pair), with processor time, and over two unequal emulated links; as Markdown tables.
//! Needs root and iperf3.
//!
//! `cargo run --release --package mlvpn-tests --bin baseline [SECONDS [ROUNDS]]`

use std::process::ExitCode;

use mlvpn::lab::iperf::{IperfError, IperfRun, processor_time, run};
use mlvpn_core::words::time::Duration;
use mlvpn_tests::bench::daemons::{LinkRate, start};
use mlvpn_tests::bench::spread;
use mlvpn_tests::configuration::Family;
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::peer;

/// One run's figures.
#[derive(Clone, Copy)]
struct Figures {
    mbit_per_second: f64,
    /// Processor seconds per 10^9 bytes of payload, of the daemon that sends and the one that receives.
    sender: f64,
    receiver: f64,
}

/// Over what the flow goes.
#[derive(Clone, Copy)]
struct Course {
    name: &'static str,
    /// Emulated links, and what each can send in bytes per second; none for a veth pair.
    links: &'static [(&'static str, u64)],
    /// Seconds at the beginning that do not count.
    omit_seconds: u32,
}

const COURSES: [Course; 2] = [
    Course { name: "one veth link", links: &[], omit_seconds: 0 },
    Course {
        name: "40 Mbit/s 10 ms + 10 Mbit/s 40 ms",
        links: &[("40mbit/10ms", 5_000_000), ("10mbit/40ms", 1_250_000)],
        omit_seconds: 5,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (seconds, rounds) = match (arguments.next().unwrap_or(Ok(10)), arguments.next().unwrap_or(Ok(3))) {
        (Ok(seconds), Ok(rounds)) if seconds > 0 && rounds > 0 => (seconds, rounds),
        _ => {
            eprintln!("usage: baseline [SECONDS [ROUNDS]]");
            return ExitCode::from(2);
        }
    };
    let mut programs =
        vec![("this tree, protocol 2", Program::ours(), true), ("this tree, classic protocol", Program::ours(), false)];
    match peer::program() {
        Ok(program) => programs.push(("MLVPN 2.3.5", program, false)),
        Err(why) => eprintln!("without comparison: {why}"),
    }
    for course in COURSES {
        match compare(&programs, course, seconds, rounds) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(why) => {
                eprintln!("baseline: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Measures every program on one course and prints the table; false where the machine cannot do it.
fn compare(programs: &[(&str, Program, bool)], course: Course, seconds: u32, rounds: u32) -> Result<bool, IperfError> {
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); programs.len()];
    for _ in 0..rounds {
        for ((_, program, is_modern), figures) in programs.iter().zip(&mut all) {
            let Some(measured) = measure((program, *is_modern), course, seconds)? else { return Ok(false) };
            figures.push(measured);
        }
    }
    println!("| {}, {rounds} x {seconds} s | Mbit/s | sender, CPU s/GB | receiver, CPU s/GB |", course.name);
    println!("|---|---|---|---|");
    for ((name, ..), figures) in programs.iter().zip(&all) {
        let column = |value: fn(&Figures) -> f64, digits| spread::text(figures.iter().map(value), digits);
        let (rate, sender) = (column(|f| f.mbit_per_second, 1), column(|f| f.sender, 2));
        println!("| {name} | {rate} | {sender} | {} |", column(|f| f.receiver, 2));
    }
    println!();
    Ok(true)
}

/// One TCP flow from client to server; `None` where the machine cannot do it.
fn measure(
    (program, is_modern): (&Program, bool),
    course: Course,
    seconds: u32,
) -> Result<Option<Figures>, IperfError> {
    let specs: Vec<&str> = course.links.iter().map(|(spec, _)| *spec).collect();
    let network = if specs.is_empty() { Network::wired(1) } else { Network::emulated(&specs) };
    let Some(network) = network else { return Ok(None) };
    let links = specs.len().max(1);
    let rate = |&(_, rate): &(&str, u64)| LinkRate { up: rate, down: rate };
    let rates: Vec<LinkRate> = course.links.iter().map(rate).collect();
    let daemons = start(&network, program, is_modern, links, Some(&rates));
    let before = [used(&daemons[0])?, used(&daemons[1])?];
    let plan = IperfRun {
        server: &network.server,
        client: &network.client,
        address: tunnel_address(Side::Server, Family::V4),
        port: 5201,
        seconds,
        omit_seconds: course.omit_seconds,
        flows: 1,
        congestion: Some("cubic"),
        is_reversed: false,
    };
    let result = run(&plan)?;
    let per_gigabyte = |daemon: usize| -> Result<f64, IperfError> {
        let spent = used(&daemons[daemon])?.micros() - before[daemon].micros();
        Ok(spent as f64 / 1e6 / (result.bytes as f64 / 1e9))
    };
    let mbit_per_second = result.bits_per_second / 1e6;
    Ok(Some(Figures { mbit_per_second, sender: per_gigabyte(0)?, receiver: per_gigabyte(1)? }))
}

/// Processor time of a daemon's two processes.
fn used(daemon: &Daemon) -> Result<Duration, IperfError> {
    let of = |pid: nix::unistd::Pid| processor_time(pid.as_raw().unsigned_abs());
    Ok(Duration::from_micros(of(daemon.monitor())?.micros() + of(daemon.worker())?.micros()))
}

// SPDX-License-Identifier: BSD-2-Clause
//! How fast packets go when no link limits them: daemons in namespaces joined by veth pairs, measured in turn within one
//! run; a Markdown table. Needs root and iperf3.
//!
//! `wirespeed [SECONDS [ROUNDS [NAME=PROGRAM ...]]]`: 8 seconds, 5 rounds. A named program is another build of this
//! daemon to compare with; MLVPN 2.3.5 is compared with when `MLVPN_PEER` names it, and every other tunnel that is found on
//! `PATH`: wireguard-go, boringtun-cli and gotatun (which need `wg`), vpncloud, glorytun, mqvpn.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use mlvpn::lab::iperf::{IperfRun, run};
use mlvpn::lab::ping::Pinger;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::bench::daemons::LinkRate;
use mlvpn_tests::bench::rivals::{self, Rival, single};
use mlvpn_tests::bench::wire::{Work, datagrams_per_second, peak_memory, processor_seconds};
use mlvpn_tests::bench::{daemons, spread};
use mlvpn_tests::configuration::Family;
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::{peer, wait};
use nix::unistd::Pid;

/// Payload bytes of the datagrams that are counted: nearly a full packet's, and a voice or game packet's.
const DATAGRAMS: [usize; 2] = [1400, 200];

/// Requests that the round trip's median is taken of, and between two of them.
const PINGS: u64 = 200;
const PING_INTERVAL: Duration = Duration::from_millis(5);

/// What is compared.
struct Entry {
    name: String,
    system: System,
}

/// Starts another's tunnel.
type Start = Box<dyn Fn(&Network) -> Result<Rival, String>>;

/// What makes the tunnel.
enum System {
    /// This tree's daemon or MLVPN 2.3.5.
    Mlvpn { program: Program, is_protocol2: bool, links: usize },
    /// Another, over one link.
    Rival(Start),
}

/// A tunnel at work.
enum Tunnel {
    Daemons([Daemon; 2]),
    Rival(Rival),
}

impl Tunnel {
    /// The processes that carry packets, the client's before the server's, then those that watch them.
    fn pids(&self) -> Vec<Pid> {
        match self {
            Self::Daemons([client, server]) => {
                vec![client.worker(), server.worker(), client.monitor(), server.monitor()]
            }
            Self::Rival(rival) => rival.pids().into(),
        }
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::Daemons(_) => tunnel_address(Side::Server, Family::V4),
            Self::Rival(rival) => rival.address.into(),
        }
    }
}

/// One round's figures of one entry.
#[derive(Clone, Copy)]
struct Figures {
    one_flow_mbit: f64,
    /// Of both ends together, over one flow.
    cpu_seconds_per_gb: f64,
    eight_flows_mbit: f64,
    datagrams: [f64; 2],
    ping_micros: f64,
    /// Of the client and the server.
    calls_per_packet: [Option<f64>; 2],
    client_megabytes: f64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u32| arguments.next().map_or(Ok(usual), |text| text.parse::<u32>());
    let (seconds, rounds) = match (number(8), number(5)) {
        (Ok(seconds), Ok(rounds)) if seconds > 0 && rounds > 0 => (seconds, rounds),
        _ => return usage(),
    };
    let mut programs = vec![("this tree".to_owned(), Program::ours())];
    for argument in arguments {
        let Some((name, path)) = argument.split_once('=') else { return usage() };
        programs.push((name.to_owned(), Program { path: PathBuf::from(path), ..Program::ours() }));
    }
    match compare(&entries(programs), seconds, rounds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("wirespeed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: wirespeed [SECONDS [ROUNDS [NAME=PROGRAM ...]]]");
    ExitCode::from(2)
}

fn entries(programs: Vec<(String, Program)>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, program) in programs {
        for (kind, is_protocol2, links) in [("protocol 2", true, 1), ("protocol 2", true, 2), ("classic", false, 1)] {
            let plural = if links == 1 { "" } else { "s" };
            let name = format!("{name}, {kind}, {links} link{plural}");
            entries.push(Entry { name, system: System::Mlvpn { program: program.clone(), is_protocol2, links } });
        }
    }
    match peer::program_or_on_path() {
        Ok(program) => entries.push(Entry {
            name: "MLVPN 2.3.5, 1 link".to_owned(),
            system: System::Mlvpn { program, is_protocol2: false, links: 1 },
        }),
        Err(why) => eprintln!("without MLVPN 2.3.5: {why}"),
    }
    entries.extend(rivals());
    entries
}

/// The other tunnels there are on this machine.
fn rivals() -> Vec<Entry> {
    // What it is told its link can send: more than this machine's memory can.
    let unlimited = [LinkRate { up: 1_250_000_000, down: 1_250_000_000 }];
    let mut all: Vec<(&str, Start)> = vec![
        ("vpncloud", Box::new(single::vpncloud)),
        ("glorytun", Box::new(move |network| rivals::glorytun(network, &unlimited))),
        ("mqvpn", Box::new(|network| rivals::mqvpn(network, 1, "minrtt"))),
    ];
    for (program, flags) in single::WIREGUARDS {
        all.push((program, Box::new(move |network| single::wireguard(network, program, flags))));
    }
    let is_there = |(name, _): &(&str, _)| {
        let found = peer::on_path(name);
        found.as_ref().err().into_iter().for_each(|why| eprintln!("without {name}: {why}"));
        found.is_ok()
    };
    let found = all.into_iter().filter(is_there);
    found.map(|(name, start)| Entry { name: name.to_owned(), system: System::Rival(start) }).collect()
}

/// Measures every entry in turn, and prints the table; false where the machine cannot do it.
fn compare(entries: &[Entry], seconds: u32, rounds: u32) -> Result<bool, Box<dyn Error>> {
    let mut all: Vec<Vec<Figures>> = vec![Vec::new(); entries.len()];
    for round in 1..=rounds {
        for (entry, figures) in entries.iter().zip(&mut all) {
            eprintln!("round {round} of {rounds}: {}", entry.name);
            match measure(entry, seconds) {
                Ok(Some(measured)) => figures.push(measured),
                Ok(None) => return Ok(false),
                // Others' programs may fail, and take nothing from what the rest did.
                Err(why) if matches!(entry.system, System::Rival(_)) => eprintln!("{}: {why}", entry.name),
                Err(why) => return Err(why),
            }
        }
    }
    println!(
        "| {rounds} x {seconds} s | 1 flow, Mbit/s | CPU s/GB, both ends | 8 flows, Mbit/s | 1400 B/s | 200 B/s | ping, us | system calls a packet, client, server | client's memory, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (entry, figures) in entries.iter().zip(&all) {
        let column = |value: fn(&Figures) -> f64, digits| spread::text(figures.iter().map(value), digits);
        let calls = |side: usize| spread::text(figures.iter().filter_map(|figures| figures.calls_per_packet[side]), 3);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {}, {} | {} |",
            entry.name,
            column(|f| f.one_flow_mbit, 0),
            column(|f| f.cpu_seconds_per_gb, 2),
            column(|f| f.eight_flows_mbit, 0),
            column(|f| f.datagrams[0], 0),
            column(|f| f.datagrams[1], 0),
            column(|f| f.ping_micros, 0),
            calls(0),
            calls(1),
            column(|f| f.client_megabytes, 1),
        );
    }
    Ok(true)
}

fn measure(entry: &Entry, seconds: u32) -> Result<Option<Figures>, Box<dyn Error>> {
    let links = if let System::Mlvpn { links, .. } = entry.system { links } else { 1 };
    let Some(network) = Network::wired(links) else { return Ok(None) };
    let tunnel = match &entry.system {
        System::Mlvpn { program, is_protocol2, links } => {
            Tunnel::Daemons(daemons::start(&network, program, *is_protocol2, *links, None))
        }
        System::Rival(start) => Tunnel::Rival(start(&network)?),
    };
    let (address, pids) = (tunnel.address(), tunnel.pids());
    let plan = IperfRun {
        server: &network.server,
        client: &network.client,
        address,
        port: 5201,
        seconds,
        omit_seconds: 0,
        flows: 1,
        congestion: Some("cubic"),
        is_reversed: false,
    };
    // A rival's handshake may wait for the first packet.
    wait::becomes(|| ping(&network, address).is_ok());
    let ping_micros = ping(&network, address)?;
    let before = processor_seconds(&pids)?;
    let one = run(&plan)?;
    let spent = processor_seconds(&pids)? - before;
    let eight = run(&IperfRun { flows: 8, ..plan })?;
    let machines = (&network.client, &network.server);
    let mut datagrams = [0.0; 2];
    for (rate, len) in datagrams.iter_mut().zip(DATAGRAMS) {
        *rate = datagrams_per_second(machines, address, len, seconds.div_ceil(2))?;
    }
    let client_megabytes = peak_memory(pids[0])? as f64 / 1e6;
    let calls_per_packet = match tunnel {
        Tunnel::Daemons(both) => both.map(|daemon| Work::of_ended(daemon).map(|work| work.calls_per_packet())),
        Tunnel::Rival(_) => [None; 2],
    };
    Ok(Some(Figures {
        one_flow_mbit: one.bits_per_second / 1e6,
        cpu_seconds_per_gb: spent / (one.bytes as f64 / 1e9),
        eight_flows_mbit: eight.bits_per_second / 1e6,
        datagrams,
        ping_micros,
        calls_per_packet,
        client_megabytes,
    }))
}

/// The median round trip through the idle tunnel.
fn ping(network: &Network, address: IpAddr) -> Result<f64, Box<dyn Error>> {
    let IpAddr::V4(to) = address else {
        return Err("IPv4 was asked for".into());
    };
    let pinger = Pinger::start(&network.client, to, PING_INTERVAL)?;
    std::thread::sleep(std::time::Duration::from_micros((PING_INTERVAL * PINGS).micros()));
    let pings = pinger.stop()?;
    let round_trips = pings.iter().filter_map(|ping| Some(ping.round_trip?.micros() as f64));
    spread::Spread::of(round_trips).map(|spread| spread.median).ok_or_else(|| "no ping was answered".into())
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a client with two links costs a router: memory, allocations, and time until it carries packets. cross/budget.sh
//! prints the figures of the router's build, which `MLVPND_ROUTER` names.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use mlvpn_tests::configuration::Family;
use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::daemon::{Daemon, PrivateFolder, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::ubus::{Broker, Client};
use nix::unistd::Pid;

use crate::Router;

/// Of the process that works, beside the packets, in bytes.
const MAX_MEMORY: u64 = 3 << 20;

/// From start to the first packet, on x86-64.
const MAX_CPU: Duration = Duration::from_millis(300);

/// How long packets flow before and while allocations are counted: longer than everything that is done once a second.
const WARM: Duration = Duration::from_secs(3);

/// A server of this tree's, and a client with two links that is started as told and up.
fn start(network: &Network, change: impl FnOnce(Program) -> Program) -> Router {
    let broker = Broker::start();
    let (client, server) = with_keys(2);
    let server = Daemon::start(&network.server, &server);
    let router = Daemon::start_program(&network.client, &change(Program::router(&broker.socket())), &client);
    router.expect_log(&["object mlvpn is published"]);
    router.expect_calls(&["tuntap_up"]);
    server.expect_calls(&["tuntap_up"]);
    let bus = Client::connect(&broker.socket());
    Router { router, server, bus, broker }
}

fn stream(network: &Network) -> Stream {
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    stream
}

/// A program that is `program` with what it takes from the heap counted in `count`; none without a C compiler.
fn counted(program: Program, folder: &Path) -> Option<Program> {
    let (source, library) = (concat!(env!("CARGO_MANIFEST_DIR"), "/src/count_heap.c"), folder.join("count_heap.so"));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler");
        return None;
    }
    let mut arguments = vec![
        format!("LD_PRELOAD={}", library.display()),
        format!("HEAP_COUNT={}", folder.join("count").display()),
        program.path.to_string_lossy().into_owned(),
    ];
    arguments.extend(program.arguments);
    Some(Program { path: "/usr/bin/env".into(), arguments })
}

#[test]
fn packets_and_the_work_of_every_second_take_nothing_from_the_heap() {
    let Some(network) = Network::wired(2) else { return };
    let folder = PrivateFolder::new();
    let place = folder.write("count", [0; 8], 0o600);
    if counted(Program::router(Path::new("")), folder.path()).is_none() {
        return;
    }
    let mut both = start(&network, |program| counted(program, folder.path()).expect("it was compiled before"));
    // What is looked for once is found: links, and how long packets may be.
    both.expect_status(|status| {
        let links = status["links"].as_array().expect("links");
        links.iter().all(|link| link["state"] == "up" && link["mtu"] == 1500)
    });
    let stream = stream(&network);
    sleep(WARM);
    let count = || u64::from_ne_bytes(fs::read(&place).expect("a file").try_into().expect("eight bytes"));
    let before = count();
    sleep(WARM);
    stream.await_progress();
    let after = count();
    assert!(stream.finish() > 0);
    assert!(before > 100, "the start takes a lot, {before}: otherwise nothing is counted");
    both.call("status", &serde_json::json!({}));
    assert!(count() > after, "an answer takes some");
    println!("allocations in {} s of packets: {}", WARM.as_secs(), after - before);
    assert_eq!(after - before, 0, "{}", both.router);
}

/// What /proc tells of a process, in bytes, by the name before the colon.
fn told(process: Pid, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("a figure in kB") << 10
}

/// The memory for packets that is in use: it is by far the largest mapping that is no file's.
fn packet_memory(process: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps")).expect("it runs");
    let figure = |line: &str, name| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok();
    let sizes = text.lines().filter_map(|line| figure(line, "Size:"));
    let used = text.lines().filter_map(|line| figure(line, "Rss:"));
    let largest = sizes.zip(used).max_by_key(|(size, _)| *size);
    largest.map_or(0, |(_, used)| used << 10)
}

fn cpu_time(process: Pid) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).expect("it runs");
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("nanoseconds"))
}

#[test]
fn the_routers_build_keeps_within_its_memory_and_starts_quickly() {
    let Ok(path) = std::env::var("MLVPND_ROUTER") else {
        eprintln!("skipped: MLVPND_ROUTER names no daemon built for routers; see cross/budget.sh");
        return;
    };
    let Some(network) = Network::wired(2) else { return };
    let mut both = start(&network, |program| Program { path: path.into(), ..program });
    let processes = [both.router.monitor(), both.router.worker()];
    let cpu: Duration = processes.into_iter().map(cpu_time).sum();
    both.expect_links(&[("l1", "up"), ("l2", "up")]);
    let idle = told(both.router.worker(), "status", "VmRSS");
    let stream = stream(&network);
    sleep(WARM);
    let worker = told(both.router.worker(), "status", "VmRSS");
    let packets = packet_memory(both.router.worker());
    let both_processes: u64 = processes.into_iter().map(|process| told(process, "smaps_rollup", "Pss")).sum();
    assert!(stream.finish() > 0);
    println!(
        "memory of a client with two links: {idle} B before packets flow, {worker} B with them, of which {packets} B are"
    );
    println!("    packets; budget {MAX_MEMORY} B and packets; both processes together, by share: {both_processes} B");
    println!("CPU time from start to first packet: {} ms; budget {} ms", cpu.as_millis(), MAX_CPU.as_millis());
    assert!(worker.saturating_sub(packets) <= MAX_MEMORY, "{worker} - {packets}");
    assert!(cpu < MAX_CPU, "{cpu:?}");
}

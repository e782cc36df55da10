// SPDX-License-Identifier: BSD-2-Clause
//! A tunnel that carries nothing: it wakes for its keepalives, and for nothing else.

use std::fs;
use std::thread::sleep;
use std::time::Duration as StdDuration;

use mlvpn_core::words::time::Duration;
use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::network::{Network, Side};
use mlvpn_tests::wait;
use nix::unistd::Pid;

use crate::{await_up, configurations, start_both};

/// How long is counted. Of protocol 2 nothing is due then but by chance; the classic protocol has its keepalives.
const SPAN: StdDuration = StdDuration::from_secs(4);

/// Path MTU, round trips and the devices' own first packets (IPv6 looks for neighbours) take this long at the most.
const SETTLING: Duration = Duration::from_secs(20);

/// Wakes besides one for each packet: once for whatever the kernel tells of the machine meanwhile.
const SPARE: u64 = 3;

/// How often a process with one thread went to sleep of its own will (proc_pid_status(5)).
fn sleeps(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("Linux counts them")
}

/// Packets that went over a side's interfaces, either way.
fn packets(network: &Network, side: Side) -> u64 {
    let table = network.at(side).run(|| fs::read_to_string("/proc/thread-self/net/dev"));
    let table = table.expect("a namespace").expect("a table");
    let of = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let count = |index| counts.split_whitespace().nth(index)?.parse::<u64>().ok();
        // Received and sent packets.
        (name.trim() != "lo").then_some(count(1)? + count(9)?)
    };
    table.lines().filter_map(of).sum()
}

/// Waits until nothing goes over the links for a second but what goes on for ever, then compares wakes with packets.
fn check(network: &Network, pids: [(Side, Pid); 2], most: u64) {
    let quiet = || {
        let before = packets(network, Side::Client);
        sleep(StdDuration::from_secs(1));
        packets(network, Side::Client) - before <= most
    };
    assert!(wait::becomes_within(quiet, SETTLING), "it never comes to rest");
    let all = |read: &dyn Fn(Side, Pid) -> u64| pids.map(|(side, pid)| read(side, pid));
    let (slept, carried) = (all(&|_, pid| sleeps(pid)), all(&|side, _| packets(network, side)));
    sleep(SPAN);
    let (slept_then, carried_then) = (all(&|_, pid| sleeps(pid)), all(&|side, _| packets(network, side)));
    for end in 0..2 {
        let (wakes, packets) = (slept_then[end] - slept[end], carried_then[end] - carried[end]);
        println!("{:?}: {wakes} wakes, {packets} packets in {SPAN:?}", pids[end].0);
        assert!(wakes <= packets + SPARE, "{:?} woke {wakes} times for {packets} packets", pids[end].0);
    }
}

#[test]
fn an_idle_tunnel_of_protocol_2_wakes_for_keepalives_alone() {
    let Some(network) = Network::wired(2) else { return };
    let both = start_both(&network, &with_keys(2));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    check(&network, [(Side::Client, both.0.worker()), (Side::Server, both.1.worker())], 2);
}

#[test]
fn an_idle_tunnel_of_the_classic_protocol_wakes_for_keepalives_alone() {
    let Some(network) = Network::wired(1) else { return };
    let both = start_both(&network, &configurations(1));
    await_up(&both, 1);
    check(&network, [(Side::Client, both.0.worker()), (Side::Server, both.1.worker())], 8);
}

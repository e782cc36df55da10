// SPDX-License-Identifier: BSD-2-Clause
//! What a day does to a daemon: links that flap, addresses that change, files that are read again, and that nothing of it
//! stays. The events of the day follow one another at once; `MLVPN_SOAK=1440` has one a minute of them.

use std::fs;

use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side};
use mlvpn_tests::wait;
use nix::unistd::Pid;

use crate::{await_up, configurations, start_both};

/// Rounds without being asked for more, each a flap, a change of address and a reload.
const ROUNDS: u32 = 12;

/// Rounds after which caches and buffers have what they will ever have.
const WARM: u32 = 4;

/// What may be more in the end, in KiB: a page here and there of the allocator's, and the log's buffers.
const SLACK_KIB: u64 = 256;

/// Open descriptors and memory of its own that a process has, in KiB.
fn holdings(process: Pid) -> (usize, u64) {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells");
    (descriptors, line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

fn all_holdings(both: &(Daemon, Daemon)) -> Vec<(usize, u64)> {
    [&both.0, &both.1].into_iter().flat_map(|daemon| [daemon.monitor(), daemon.worker()]).map(holdings).collect()
}

#[test]
fn flaps_new_addresses_and_reloads_leave_nothing_behind() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(2);
    let client = client.without("l1", "bindhost").with("l1", "bindinterface", "link1");
    let both = start_both(&network, &(client.clone(), server));
    await_up(&both, 2);
    let rounds = std::env::var("MLVPN_SOAK").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut before = Vec::new();
    for round in 0..rounds {
        if round == WARM {
            before = all_holdings(&both);
        }
        // A flap.
        network.ip(Side::Client, "link set link2 down");
        assert!(wait::becomes(|| both.0.title().ends_with("!l2")), "{}", both.0);
        network.ip(Side::Client, "link set link2 up");
        // Another address.
        let host = 10 + round % 200;
        let (old, new) = (if round == 0 { 1 } else { 10 + (round - 1) % 200 }, host);
        network.ip(Side::Client, &format!("address del 10.9.1.{old}/24 dev link1"));
        network.ip(Side::Client, &format!("address add 10.9.1.{new}/24 dev link1"));
        // Another file.
        both.0.reload(&client.clone().with("l2", "bandwidth_upload", &(100_000 + round).to_string()));
        both.0.expect_log(&["reload: done"]);
        assert!(wait::becomes(|| both.0.title().ends_with("@l1 @l2")), "{}", both.0);
    }
    let after = all_holdings(&both);
    println!(
        "after {rounds} rounds: descriptors and KiB of monitor and worker, client and server: {before:?}, then {after:?}"
    );
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.0, after.0, "descriptors");
        assert!(after.1 <= before.1 + SLACK_KIB, "{} KiB before, {} after", before.1, after.1);
    }
}

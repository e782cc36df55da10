// SPDX-License-Identifier: BSD-2-Clause
//! What links are used for, between two real daemons: set on the client, kept over restarts, changed by SIGHUP.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpn_tests::configuration::Family;
use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::daemon::{Daemon, PrivateFolder};
use mlvpn_tests::network::{Network, Side, outside_address, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::wait;

use crate::start_both;

/// Bytes that a side's interface of a link has sent.
fn sent(network: &Network, side: Side, link: usize) -> u64 {
    let address = outside_address(side, link, Family::V4);
    let shown = network.ip(side, &format!("-o addr show to {address}"));
    let name = shown.split_whitespace().nth(1).expect("the interface's name");
    let counters = network.ip(side, &format!("-s link show dev {name}"));
    let after = counters.lines().skip_while(|line| !line.trim_start().starts_with("TX:")).nth(1).expect("a line");
    after.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}

/// Bytes a link carries up and down while a connection makes progress five times.
fn carries(network: &Network, stream: &Stream, link: usize) -> (u64, u64) {
    let both = || (sent(network, Side::Client, link), sent(network, Side::Server, link));
    let before = both();
    (0..5).for_each(|_| stream.await_progress());
    let after = both();
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn a_used_up_link_carries_no_data_even_after_a_restart_until_a_reload_allows_it_more() {
    let Some(network) = Network::emulated(&["20mbit/5ms", "20mbit/5ms"]) else { return };
    let directory = PrivateFolder::new();
    let file = directory.path().join("usage");
    let (client, server) = with_keys(2);
    let client = client.with("l1", "quota_day_hard", "1MB").with("l2", "tier", "2").with(
        "general",
        "quota_file",
        &file.display().to_string(),
    );
    let both = start_both(&network, &(client.clone(), server.clone()));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    let address = |side| tunnel_address(side, Family::V4);
    let up = Stream::open(&network.client, &network.server, address(Side::Server));
    let down = Stream::open(&network.server, &network.client, address(Side::Client));
    down.await_progress();
    both.0.expect_log(&["l1: its quota is used up"]);
    let (sent, received) = carries(&network, &up, 1);
    println!("over the used-up link: {sent} bytes up, {received} down");
    assert!(sent < 20_000 && received < 20_000, "{sent} {received}");
    assert!(up.finish() > 0 && down.finish() > 0);
    let (before, server) = both;
    drop(before);
    let kept = std::fs::read_to_string(&file).expect("the file is there");
    assert!(kept.contains("mlvpn usage 2 ") && kept.contains(" l1\nend\n"), "{kept}");

    let restarted = Daemon::start(&network.client, &client);
    restarted.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    restarted.expect_log(&["l1: its quota is used up"]);
    let stream = Stream::open(&network.client, &network.server, address(Side::Server));
    stream.await_progress();
    let (sent, _) = carries(&network, &stream, 1);
    assert!(sent < 20_000, "{sent} bytes after the restart");
    restarted.reload(&client.with("l1", "quota_day_hard", "1TB"));
    restarted.expect_log(&["reload: done", "l1: within its quota again"]);
    assert!(wait::becomes(|| carries(&network, &stream, 1).0 > 100_000), "{restarted}\n{server}");
    assert!(stream.finish() > 0);
}

/// UDP packets that are sent at a pace, and what the links carried of them.
struct Paced {
    from: Side,
    port: u16,
    len: usize,
    gap: StdDuration,
    count: usize,
}

/// Nothing more arrives after so long without anything.
const SILENCE: StdDuration = StdDuration::from_millis(500);

/// What became of them.
#[derive(Debug)]
struct Carried {
    arrived: usize,
    /// Bytes sent over each of the two links in the meantime.
    links: [u64; 2],
    /// Bytes that the first link carried in a second.
    first_rate: u64,
}

impl Paced {
    const PACKET: usize = 500;

    fn new(from: Side, port: u16) -> Self {
        Self { from, port, len: Self::PACKET, gap: StdDuration::from_millis(2), count: 500 }
    }

    /// Small packets, like those of a call.
    fn call(port: u16) -> Self {
        Self { from: Side::Client, port, len: 200, gap: StdDuration::from_millis(10), count: 100 }
    }

    fn send(&self, network: &Network) -> Carried {
        let (near, far, other) = match self.from {
            Side::Client => (&network.client, &network.server, Side::Server),
            Side::Server => (&network.server, &network.client, Side::Client),
        };
        let to = (tunnel_address(other, Family::V4), self.port);
        let receiver = far.run(|| UdpSocket::bind(to)).expect("a namespace").expect("a free port");
        let sender = near.run(|| UdpSocket::bind("0.0.0.0:0")).expect("a namespace").expect("a socket");
        let links = || [1, 2].map(|link| sent(network, self.from, link));
        let (before, began) = (links(), clock::now());
        receiver.set_read_timeout(Some(SILENCE)).expect("a socket");
        let receiving = thread::spawn(move || std::iter::from_fn(|| receiver.recv(&mut [0; 2_048]).ok()).count());
        for _ in 0..self.count {
            sender.send_to(&vec![7; self.len], to).expect("the device takes it");
            thread::sleep(self.gap);
        }
        let arrived = receiving.join().expect("no panic");
        let (after, took) = (links(), clock::now().since(began));
        let links = [after[0] - before[0], after[1] - before[1]];
        Carried { arrived, links, first_rate: links[0] * 1_000_000 / took.micros() }
    }
}

impl Carried {
    /// The first link's share, in percent.
    fn first_share(&self) -> u64 {
        self.links[0] * 100 / (self.links[0] + self.links[1])
    }
}

#[test]
fn weights_rates_pins_and_copies_are_followed_in_both_directions_and_change_with_a_reload() {
    let Some(network) = Network::emulated(&["20mbit/5ms", "20mbit/5ms"]) else { return };
    let (client, server) = with_keys(2);
    let client = client
        .with("class pinned", "port", "7001")
        .with("class pinned", "link", "l2")
        .with("class call", "port", "7002")
        .with("class call", "duplicate", "1");
    let server = server.with("class call", "port", "7002").with("class call", "duplicate", "1");
    let weighted = client.clone().with("l1", "weight", "30").with("l2", "weight", "10");
    let both = start_both(&network, &(weighted, server));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    for from in [Side::Client, Side::Server] {
        let carried = Paced::new(from, 7_000).send(&network);
        println!("weights 30 and 10, from {from:?}: {carried:?}");
        assert!(carried.arrived >= 490 && (65..=85).contains(&carried.first_share()), "{carried:?}");
    }
    let pinned = Paced::new(Side::Client, 7_001).send(&network);
    println!("pinned to the second: {pinned:?}");
    assert!(pinned.arrived >= 490 && pinned.first_share() < 10, "{pinned:?}");
    let call = Paced::call(7_002).send(&network);
    println!("sent twice: {call:?}");
    // With its headers each copy takes 200 bytes and more.
    assert!(call.arrived == 100 && call.links.iter().all(|bytes| *bytes > 20_000), "{call:?}");

    let limited = client.with("l1", "bandwidth_upload", "62500").with("l1", "bandwidth_download", "62500");
    both.0.reload(&limited.with("l1", "metered", "1").with("l2", "metered", "1"));
    both.0.expect_log(&["reload: done"]);
    for from in [Side::Client, Side::Server] {
        let carried = Paced::new(from, 7_000).send(&network);
        println!("the first link at 62,500 bytes a second, from {from:?}: {carried:?}");
        assert!(carried.arrived >= 490 && carried.first_rate < 75_000, "{carried:?}");
        assert!(carried.links[1] > 100_000, "{carried:?}");
    }
    let call = Paced::call(7_002).send(&network);
    println!("sent once where that costs money: {call:?}");
    // Over whichever of the two equal links was quicker.
    assert!(call.arrived == 100 && call.links.iter().sum::<u64>() < 40_000, "{call:?}");
}

#[test]
fn a_second_tier_joins_a_full_first_a_backup_carries_only_alone_and_a_reload_changes_that() {
    let Some(network) = Network::emulated(&["10mbit/5ms", "10mbit/5ms", "10mbit/5ms"]) else { return };
    let (client, server) = with_keys(3);
    let client = client.with("l2", "tier", "2").with("l3", "fallback_only", "1");
    let both = start_both(&network, &(client.clone(), server));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "rtun_up l3", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    let address = |side| tunnel_address(side, Family::V4);
    let up = Stream::open(&network.client, &network.server, address(Side::Server));
    let down = Stream::open(&network.server, &network.client, address(Side::Client));
    let is_used = |link| {
        let (sent, received) = carries(&network, &up, link);
        sent > 100_000 && received > 100_000
    };
    assert!(wait::becomes(|| is_used(2)), "the second tier joins\n{}\n{}", both.0, both.1);
    let (sent, received) = carries(&network, &up, 3);
    assert!(sent < 20_000 && received < 20_000, "the backup carries {sent} and {received} beside others");
    for link in [1, 2] {
        network.set_link(link, false);
    }
    assert!(wait::becomes(|| is_used(3)), "the backup carries alone\n{}\n{}", both.0, both.1);
    for link in [1, 2] {
        network.set_link(link, true);
    }
    assert!(wait::becomes(|| is_used(1)), "the first link is back\n{}\n{}", both.0, both.1);
    both.0.reload(&client.with("l2", "tier", "1").with("l3", "fallback_only", "0"));
    both.0.expect_log(&["reload: done"]);
    assert!(wait::becomes(|| (1..=3).all(is_used)), "all three carry\n{}\n{}", both.0, both.1);
    assert!(up.finish() > 0 && down.finish() > 0);
}

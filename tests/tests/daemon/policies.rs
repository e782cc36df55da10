// SPDX-License-Identifier: BSD-2-Clause
//! What links are used for, between two real daemons: set on the client, kept over restarts, changed by SIGHUP.

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
    assert!(kept.starts_with("mlvpn usage 1\n") && kept.ends_with(" l1\nend\n"), "{kept}");

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

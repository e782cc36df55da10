// SPDX-License-Identifier: BSD-2-Clause
//! Our daemon and MLVPN 2.3.5, in both roles, over two links. Needs `MLVPN_PEER=/path/to/mlvpn` beside what the tests
//! of the daemon need; says so and passes without.

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::peer;
use mlvpn_tests::stream::Stream;

/// Without and with reordering at both ends; 64 packets are what 2.3.5's manual begins with.
const REORDER_SIZES: [&str; 2] = ["0", "64"];

/// Each size with us on one side and the peer on the other, and these options on both.
fn check(ours: Side, general: &[(&str, &str)]) {
    let peer = match peer::program() {
        Ok(peer) => peer,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    for size in REORDER_SIZES {
        let Some(network) = Network::emulated(&["unlimited/2ms", "unlimited/1ms"]) else { return };
        let start = |side| {
            let program = if side == ours { Program::ours() } else { peer.clone() };
            let configuration = Configuration::new(side, 2, Family::V4).with("general", "reorder_buffer_size", size);
            let with = |configuration: Configuration, &(option, value): &(&str, &str)| {
                configuration.with("general", option, value)
            };
            Daemon::start_program(network.at(side), &program, &general.iter().fold(configuration, with))
        };
        let server = start(Side::Server);
        let client = start(Side::Client);
        carry_and_recover(&network, [&client, &server]);
        leave(ours, client, server);
    }
}

/// Both links up; data both ways; one link fails and comes back; the connections notice nothing.
fn carry_and_recover(network: &Network, daemons: [&Daemon; 2]) {
    for daemon in daemons {
        daemon.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    }
    let streams = [
        Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4)),
        Stream::open(&network.server, &network.client, tunnel_address(Side::Client, Family::V4)),
    ];
    streams.iter().for_each(Stream::await_progress);
    network.set_link(1, false);
    for daemon in daemons {
        daemon.expect_calls(&["rtun_down l1"]);
    }
    streams.iter().for_each(Stream::await_progress);
    network.set_link(1, true);
    for daemon in daemons {
        daemon.expect_calls(&["rtun_up l1"]);
    }
    streams.iter().for_each(Stream::await_progress);
    for stream in streams {
        stream.finish();
    }
}

/// Ours ends; the peer hears of it at once, and not by its timeout.
fn leave(ours: Side, client: Daemon, server: Daemon) {
    let (ours, peer) = if ours == Side::Client { (client, server) } else { (server, client) };
    drop(ours);
    peer.expect_calls(&["rtun_down l1", "rtun_down l2", "tuntap_down"]);
}

#[test]
fn our_client_talks_to_its_server_sealed() {
    check(Side::Client, &[]);
}

#[test]
fn our_server_talks_to_its_client_sealed() {
    check(Side::Server, &[]);
}

#[test]
fn our_client_talks_to_its_server_with_data_in_the_clear() {
    check(Side::Client, &[("cleartext_data", "1")]);
}

#[test]
fn our_server_talks_to_its_client_with_data_in_the_clear() {
    check(Side::Server, &[("cleartext_data", "1")]);
}

#[test]
fn our_client_talks_to_its_server_in_ethernet_frames() {
    check(Side::Client, &[("tuntap", "tap")]);
}

#[test]
fn our_server_talks_to_its_client_in_ethernet_frames() {
    check(Side::Server, &[("tuntap", "tap")]);
}

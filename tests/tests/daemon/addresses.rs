// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces and addresses that are missing, come later, change, or go and come back.

use mlvpn_tests::configuration::Family;
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;

use crate::{await_up, configurations, start_both};

#[test]
fn a_link_whose_address_or_interface_is_missing_at_start_comes_up_with_it() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(3);
    network.ip(Side::Client, "address del 10.9.1.1/24 dev link1");
    // The second link's interface comes later, too; nothing of it exists.
    let client = client.without("l3", "bindhost").with("l3", "bindinterface", "link3");
    let server = server.without("l3", "bindhost");
    let both = start_both(&network, &(client, server));
    both.0.expect_log(&["l1: ", "l3: ", "trying again"]);
    both.0.expect_calls(&["rtun_up l2", "tuntap_up"]);
    both.0.expect_title("mlvpn: test !l1 @l2 !l3");
    network.ip(Side::Client, "address add 10.9.1.1/24 dev link1");
    both.0.expect_calls(&["rtun_up l1"]);
    network.plug(3);
    both.0.expect_calls(&["rtun_up l3"]);
    both.1.expect_calls(&["rtun_up l1", "rtun_up l2", "rtun_up l3"]);
}

#[test]
fn a_link_bound_to_its_interface_survives_a_new_address_and_the_server_follows() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(2);
    let client = client.without("l1", "bindhost").with("l1", "bindinterface", "link1");
    let both = start_both(&network, &(client, server));
    await_up(&both, 2);
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    network.ip(Side::Client, "address del 10.9.1.1/24 dev link1");
    network.ip(Side::Client, "address add 10.9.1.77/24 dev link1");
    both.1.expect_log(&["l1: peer at 10.9.1.77:"]);
    both.0.expect_title("mlvpn: test @l1 @l2");
    both.1.expect_title("mlvpn: test @l1 @l2");
    stream.await_progress();
    stream.finish();
}

#[test]
fn a_link_comes_back_with_its_interface() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(2);
    let client = client.with("l1", "bindinterface", "link1").with("general", "timeout", "3600");
    let both = start_both(&network, &(client, server));
    await_up(&both, 2);
    network.ip(Side::Client, "link delete link1");
    both.0.expect_calls(&["rtun_down l1"]);
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    network.plug(1);
    both.0.expect_calls(&["rtun_up l1"]);
    both.1.expect_log(&["l1: peer at 10.9.1.1:"]);
    both.1.expect_title("mlvpn: test @l1 @l2");
    stream.await_progress();
    stream.finish();
}

#[test]
fn a_name_that_cannot_be_resolved_keeps_one_link_waiting_only() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(2);
    let server = Daemon::start(&network.server, &server);
    // Reserved for this (RFC 6761); there is no resolver in the namespace either.
    let client = Daemon::start(&network.client, &client.with("l1", "remotehost", "server.invalid"));
    client.expect_calls(&["rtun_up l2", "tuntap_up"]);
    client.expect_log(&["server.invalid"]);
    server.expect_calls(&["rtun_up l2"]);
}

#[test]
fn interfaces_that_come_and_go_make_no_swarm_of_attempts_nor_of_lines() {
    let Some(network) = Network::wired(2) else { return };
    let (client, _) = configurations(2);
    // Neither has anything to do with what happens to the second interface.
    let client = client.with("l1", "remotehost", "server.invalid");
    let client = client.without("l2", "bindhost").with("l2", "bindinterface", "link3");
    let client = Daemon::start(&network.client, &client);
    client.expect_log(&["l1: server.invalid", "l2: cannot use interface link3: No such device"]);
    for _ in 0..30 {
        network.ip(Side::Client, "link set link2 down");
        network.ip(Side::Client, "link set link2 up");
    }
    // What came before this has been followed when it is.
    network.plug(3);
    client.expect_log(&["l2: socket at"]);
    let log = client.log();
    for failure in ["l1: server.invalid", "l2: cannot use interface"] {
        // Once when it is new, and once a minute.
        let lines = log.lines().filter(|line| line.contains(failure)).count();
        assert!(lines <= 2, "{lines} lines of {failure}:\n{log}");
    }
}

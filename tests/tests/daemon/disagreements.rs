// SPDX-License-Identifier: BSD-2-Clause
//! What the logs say when each file is fine, and the two do not fit each other or the machine.

use mlvpn_tests::configuration::{Configuration, Family, protocol2};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side};

use crate::{configurations, start_both};

fn network() -> Option<Network> {
    Network::emulated(&["unlimited/1ms"])
}

#[test]
fn a_wrong_password_is_named_where_it_shows_and_the_other_end_says_that_nobody_answers() {
    let Some(network) = network() else { return };
    let (client, server) = configurations(1);
    let both = start_both(&network, &(client.with("general", "password", "incorrect horse battery staple"), server));
    both.1.expect_log(&["datagrams came that do not fit: the passwords of the two ends differ"]);
    both.0.expect_log(&["l1: no answer from 10.9.1.2:5081; is the other end running with mode = \"server\""]);
    for daemon in [&both.0, &both.1] {
        assert!(!daemon.log().contains("horse"), "a password is in the log\n{daemon}");
    }
}

#[test]
fn a_key_the_server_does_not_know_is_named_there() {
    let Some(network) = network() else { return };
    let (client, server) = protocol2::with_keys(1);
    let stranger = server.with("peer router", "public_key", &protocol2::keys(3).1);
    let both = start_both(&network, &(client, stranger));
    both.1.expect_log(&["datagrams came that do not fit: no peer has the key or secret of who calls"]);
    both.0.expect_log(&["no answer from 10.9.1.2:5081"]);
}

#[test]
fn a_shared_secret_that_differs_is_named() {
    let Some(network) = network() else { return };
    let (client, server) = protocol2::with_keys(1);
    let both = start_both(
        &network,
        &(
            client.with("peer office", "secret", &protocol2::secret(11)),
            server.with("peer router", "secret", &protocol2::secret(12)),
        ),
    );
    both.0.expect_log(&["the shared secret differs from the server's"]);
}

#[test]
fn two_clients_and_two_servers_wait_for_one_another_and_say_what_for() {
    let Some(network) = network() else { return };
    let clients = [Side::Client, Side::Server].map(|side| Configuration::new(side, 1, Family::V4));
    let [client, server] = clients;
    let second_client = server
        .clone()
        .without("l1", "bindport")
        .with("general", "mode", "client")
        .with("l1", "remotehost", "10.9.1.1")
        .with("l1", "remoteport", "5081");
    let both = start_both(&network, &(client.clone(), second_client));
    both.0.expect_log(&["l1: no answer from 10.9.1.2:5081; is the other end running with mode = \"server\""]);
    both.1.expect_log(&["l1: no answer from 10.9.1.1:5081; is the other end running with mode = \"server\""]);
    drop(both);
    let second_server = client
        .without("l1", "remotehost")
        .without("l1", "remoteport")
        .with("general", "mode", "server")
        .with("l1", "bindport", "5081");
    let both = start_both(&network, &(second_server, server));
    for daemon in [&both.0, &both.1] {
        daemon.expect_log(&["nobody called on l1 (port 5081); is the other end running with mode = \"client\""]);
    }
}

#[test]
fn ports_that_do_not_meet_are_said_on_both_ends() {
    let Some(network) = network() else { return };
    let (client, server) = configurations(1);
    let client = client.with("l1", "bindport", "5081").with("l1", "remoteport", "5082");
    let both = start_both(&network, &(client, server));
    both.0.expect_log(&[
        "no answer from 10.9.1.2:5082; is the other end running with mode = \"server\" and bindport = 5082",
    ]);
    both.1.expect_log(&["nobody called on l1 (port 5081)"]);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some(network) = network() else { return };
    let client = configurations(1).0.without("l1", "bindhost").with("l1", "bindinterface", "nosuch0");
    let daemon = Daemon::start(&network.client, &client);
    daemon.expect_log(&["nosuch0"]);
    assert!(daemon.log().lines().any(|line| line.contains("l1: ") && line.contains("trying again within")), "{daemon}");
}

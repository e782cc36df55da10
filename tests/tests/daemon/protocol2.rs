// SPDX-License-Identifier: BSD-2-Clause
//! Protocol 2 between two real daemons: keys, a secret, many peers, and several servers.

use mlvpn_tests::configuration::Family;
use mlvpn_tests::configuration::protocol2::{keys, secret, with_keys, without_peers};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, outside_address, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::wait;

use crate::start_both;

fn await_up(both: &(Daemon, Daemon), links: usize) {
    let client: Vec<String> = (1..=links).map(|link| format!("rtun_up l{link}")).collect();
    let server: Vec<String> = (0..links).map(|link| format!("rtun_up router.{link}")).collect();
    for (daemon, ups) in [(&both.0, client), (&both.1, server)] {
        let mut wanted: Vec<&str> = ups.iter().map(String::as_str).collect();
        wanted.push("tuntap_up");
        daemon.expect_calls(&wanted);
    }
}

fn carry_both_ways(network: &Network) {
    let address = |side| tunnel_address(side, Family::V4);
    let up = Stream::open(&network.client, &network.server, address(Side::Server));
    let down = Stream::open(&network.server, &network.client, address(Side::Client));
    up.await_progress();
    down.await_progress();
    assert!(up.finish() > 0 && down.finish() > 0);
}

#[test]
fn two_daemons_that_know_each_others_keys_carry_data_both_ways() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let both = start_both(&network, &with_keys(2));
    await_up(&both, 2);
    carry_both_ways(&network);
    // 1500 bytes less 20 (IPv4), 8 (UDP) and 30 (protocol 2).
    both.0.expect_log(&["mtu 1442"]);
    // The status command was told a smaller one, before the paths were measured, and must not have the last word.
    let shown = || network.ip(Side::Client, "link show dev mlvpn0");
    assert!(wait::becomes(|| shown().contains("mtu 1442")), "{}", shown());
    both.0.expect_title("mlvpn: test @l1 @l2");
    both.1.expect_title("mlvpn: test @router");
}

#[test]
fn two_daemons_that_share_a_secret_need_no_keys() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let (client, server) = without_peers(1);
    let client = client
        .with("peer office", "secret", &secret(7))
        .with("peer office", "remotehost", &outside_address(Side::Server, 1, Family::V4).to_string())
        .with("peer office", "remoteport", "5081");
    let server = server.with("peer router", "secret", &secret(7));
    let both = start_both(&network, &(client, server));
    await_up(&both, 1);
    carry_both_ways(&network);
}

#[test]
fn a_connection_survives_the_outage_of_one_link_and_a_restart_of_either_end() {
    let Some(network) = Network::emulated(&["unlimited/2ms", "unlimited/1ms"]) else { return };
    let texts = with_keys(2);
    let both = start_both(&network, &texts);
    await_up(&both, 2);
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    network.set_link(1, false);
    both.0.expect_log(&["l1: silent"]);
    stream.await_progress();
    network.set_link(1, true);
    both.0.expect_log(&["l1: within its tolerances again"]);
    stream.await_progress();
    assert!(stream.finish() > 0);
    let (client, server) = both;
    drop(server);
    client.expect_calls(&["tuntap_down"]);
    let both = (client, Daemon::start(&network.server, &texts.1));
    await_up(&both, 2);
    carry_both_ways(&network);
}

#[test]
fn a_client_with_a_wrong_key_or_secret_gets_nowhere_and_is_told_what_it_can_be_told() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let (client, server) = with_keys(1);
    let (other_private, _) = keys(9);
    let stranger = client.clone().with("general", "private_key", &other_private);
    let both = start_both(&network, &(stranger, server.clone()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((both.0.count_calls("rtun_up"), both.1.count_calls("rtun_up")), (0, 0));
    drop(both);
    let (client, server) =
        (client.with("peer office", "secret", &secret(11)), server.with("peer router", "secret", &secret(12)));
    let both = start_both(&network, &(client, server));
    both.0.expect_log(&["the shared secret differs from the server's"]);
}

#[test]
fn peers_are_added_and_removed_without_a_restart_and_speak_only_for_themselves() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let (client, server) = with_keys(1);
    let (_, other_public) = keys(5);
    let server = server
        .with("peer router", "allowed_ips", "10.42.0.1/32")
        .with("peer other", "public_key", &other_public)
        .with("peer other", "allowed_ips", "10.77.0.0/16");
    let both = start_both(&network, &(client, server.clone()));
    await_up(&both, 1);
    carry_both_ways(&network);
    both.1.reload(&server.clone().without_section("peer other"));
    both.1.expect_log(&["other: peer removed"]);
    carry_both_ways(&network);
    both.1.reload(&server.without_section("peer router"));
    both.1.expect_calls(&["rtun_down router.0", "tuntap_down"]);
    both.1.expect_log(&["router: peer removed"]);
    both.0.expect_log(&["office: ended the session", "l1: down, the peer disconnected"]);
    both.0.expect_calls(&["rtun_down l1", "tuntap_down"]);
}

#[test]
fn a_client_leaves_a_server_that_stops_answering_for_the_next_one() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let (client, second) = with_keys(1);
    let (other_private, other_public) = keys(6);
    // The first server listens beside the second.
    let first = second
        .clone()
        .with("general", "private_key", &other_private)
        .with("general", "interface_name", "mlvpn1")
        .without("general", "ip4")
        .with("l1", "bindport", "6001");
    let client = client
        .without_section("peer office")
        .without("l1", "remotehost")
        .without("l1", "remoteport")
        .with("peer first", "public_key", &other_public)
        .with("peer first", "remotehost", &outside_address(Side::Server, 1, Family::V4).to_string())
        .with("peer first", "remoteport", "6001")
        .with("peer second", "public_key", &keys(2).1)
        .with("peer second", "remotehost", &outside_address(Side::Server, 1, Family::V4).to_string())
        .with("peer second", "remoteport", "5081");
    let server = Daemon::start(&network.server, &first);
    let spare = Daemon::start(&network.server, &second);
    let client = Daemon::start(&network.client, &client);
    client.expect_calls(&["rtun_up l1", "tuntap_up"]);
    server.expect_calls(&["rtun_up router.0"]);
    drop(server);
    client.expect_log(&["trying second"]);
    spare.expect_calls(&["rtun_up router.0", "tuntap_up"]);
    client.expect_calls(&["rtun_up l1", "tuntap_up"]);
    carry_both_ways(&network);
    // The first one comes back: a scout finds it within half a minute, and everything is told anew.
    let server = Daemon::start(&network.server, &first);
    std::thread::sleep(std::time::Duration::from_secs(15));
    client.expect_log(&["first answers again"]);
    client.expect_calls(&["rtun_down l1", "rtun_up l1", "tuntap_up"]);
    server.expect_calls(&["rtun_up router.0"]);
}

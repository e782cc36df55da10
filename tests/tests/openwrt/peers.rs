// SPDX-License-Identifier: BSD-2-Clause
//! Protocol 2 on the bus: sessions, a client's servers, a server's clients.

use mlvpn_tests::configuration::Family;
use mlvpn_tests::configuration::protocol2::{keys, with_keys};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::ubus::{Broker, Client};
use mlvpn_tests::wait;
use serde_json::{Value, json};

use crate::Router;

#[test]
fn a_client_shows_its_session_and_its_server() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let mut both = Router::start(&network, &with_keys(2), Broker::start());
    let status = both.expect_links(&[("l1", "up"), ("l2", "up")]);
    assert_eq!((&status["protocol"], &status["server"]), (&"2".into(), &"office".into()));
    assert!(status["session"]["cipher"].is_string() && status["session"]["renewals"] == 1, "{status:#}");
    let measured = both.expect_status(|status| status["links"][0]["mtu"] == 1500);
    assert!(measured["links"][0]["rtt_us"].as_u64() >= Some(2_000), "{measured:#}");
    let peers = both.call("peers", &json!({}));
    assert_eq!(peers["total"], 1);
    let peer = &peers["peers"][0];
    assert_eq!((&peer["name"], &peer["up"], &peer["active"]), (&"office".into(), &true.into(), &true.into()));
    assert_eq!(peer["public_key"], keys(2).1);
    assert_eq!(both.call("peers", &json!({"first": 1})), json!({"total": 1, "peers": []}));
}

/// Data packets of all links of `of` that the other end says arrived.
fn arrived(of: &Value) -> u64 {
    let links = of["links"].as_array().map_or(&[][..], Vec::as_slice);
    links.iter().filter_map(|link| link["sending"]["arrived_packets"].as_u64()).sum()
}

#[test]
fn both_ends_show_what_is_measured_of_the_data_they_send() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let (client, server) = with_keys(2);
    let (near, far) = (Broker::start(), Broker::start());
    let server = Daemon::start_program(&network.server, &Program::router(&far.socket()), &server);
    let client = Daemon::start_program(&network.client, &Program::router(&near.socket()), &client);
    client.expect_calls(&["tuntap_up"]);
    server.expect_calls(&["tuntap_up"]);
    let mut buses = [Client::connect(&near.socket()), Client::connect(&far.socket())];
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    let (mut status, mut peer) = (Value::Null, Value::Null);
    let is_measured = wait::becomes(|| {
        status = buses[0].call("mlvpn", "status", &json!({})).expect("a status");
        peer = buses[1].call("mlvpn", "peers", &json!({})).expect("peers")["peers"][0].clone();
        arrived(&status) > 100 && arrived(&peer) > 10
    });
    assert!(is_measured, "{status:#}\n{peer:#}\n{client}\n{server}");
    assert!(stream.finish() > 0);
    for of in [&status, &peer] {
        assert!(of["reordering"].is_u64() && of["repairs"]["resent"].is_u64(), "{of:#}");
        assert!(of["repairs"]["unrepaired"].is_u64() && of["waiting"].is_u64() && of["orders"].is_array(), "{of:#}");
        for link in of["links"].as_array().expect("links") {
            let (sending, receiving) = (&link["sending"], &link["receiving"]);
            assert!(sending["pace_bytes_per_sec"].as_u64() > Some(0), "{link:#}");
            for figure in ["queue_us", "jitter_us", "lost_packets", "resent_packets", "copied_packets"] {
                assert!(sending[figure].is_u64(), "{figure}: {link:#}");
            }
            assert!(receiving["jitter_us"].is_u64() && receiving["late_packets"].is_u64(), "{link:#}");
            assert!(receiving["duplicate_packets"].is_u64() && link["policy"]["tier"] == 1, "{link:#}");
        }
    }
    // The second link is a millisecond quicker each way, so packets of the first bring up the rear, and wait for none.
    let spread = |place: usize| status["links"][place]["sending"]["spread_us"].as_u64();
    assert!(spread(0).max(spread(1)) >= Some(500) && spread(0).min(spread(1)) == Some(0), "{status:#}");
    let round_trips = status["links"].as_array().expect("links").iter();
    let round_trips: Vec<u64> = round_trips.filter_map(|link| link["sending"]["report_rtt_us"].as_u64()).collect();
    assert!(round_trips.iter().any(|micros| *micros >= 1_000), "{status:#}");
}

#[test]
fn a_server_shows_its_clients_and_their_links() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let (client, server) = with_keys(2);
    let broker = Broker::start();
    let server = Daemon::start_program(&network.server, &Program::router(&broker.socket()), &server);
    server.expect_log(&["object mlvpn is published"]);
    let mut bus = Client::connect(&broker.socket());
    let before = bus.call("mlvpn", "status", &json!({})).expect("a status");
    assert_eq!((&before["state"], &before["summary"]), (&"down".into(), &"0 of 1 peers connected".into()));
    assert_eq!(before["links"][0]["state"], "listening");
    let client = Daemon::start(&network.client, &client);
    let mut peer = Value::Null;
    let is_up = wait::becomes(|| {
        peer = bus.call("mlvpn", "peers", &json!({})).expect("peers")["peers"][0].clone();
        let links = peer["links"].as_array().map(Vec::len);
        peer["up"] == true && links == Some(2) && peer["links"][1]["state"] == "up"
    });
    assert!(is_up, "{peer:#}\n{server}");
    assert_eq!((&peer["name"], &peer["public_key"]), (&"router".into(), &keys(1).1.into()));
    assert!(peer["links"][0]["received_bytes"].as_u64() > Some(0), "{peer:#}");
    assert_eq!(bus.call("mlvpn", "status", &json!({})).expect("a status")["state"], "up");
    drop(client);
}

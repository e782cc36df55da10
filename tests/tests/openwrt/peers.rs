// SPDX-License-Identifier: BSD-2-Clause
//! Protocol 2 on the bus: sessions, a client's servers, a server's clients.

use mlvpn_tests::configuration::protocol2::{keys, with_keys};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::Network;
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

// SPDX-License-Identifier: BSD-2-Clause
//! The object's methods and events, and a bus that comes and goes.

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::ubus::{Broker, Client};
use mlvpnd::message::Status;
use serde_json::json;

use crate::Router;

fn configurations(links: usize) -> (Configuration, Configuration) {
    let of = |side| Configuration::new(side, links, Family::V4);
    (of(Side::Client), of(Side::Server))
}

#[test]
fn the_status_shows_links_going_up_and_a_link_is_taken_out_and_put_back_with_events() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let broker = Broker::start();
    let mut ears = Client::connect(&broker.socket());
    ears.listen("mlvpn.*");
    let mut both = Router::start(&network, &configurations(2), broker);
    both.await_addresses();
    let status = both.expect_links(&[("l1", "up"), ("l2", "up")]);
    assert_eq!((&status["state"], &status["summary"]), (&"up".into(), &"all of 2 links are connected".into()));
    assert_eq!((&status["protocol"], &status["device"]), (&"classic".into(), &"mlvpn0".into()));
    assert!(status["connected_ms"].is_number() && status["links"][0]["remote"].is_string(), "{status:#}");
    assert!(status["repairs"].is_null() && status["links"][0]["sending"].is_null(), "{status:#}");
    ears.expect("mlvpn.tunnel", |data| data["up"] == true && data["device"] == "mlvpn0");

    let mut subscriber = Client::connect(&both.broker.socket());
    subscriber.subscribe("mlvpn");
    both.call("link", &json!({"name": "l2", "action": "down"}));
    let status = both.expect_links(&[("l1", "up"), ("l2", "disabled")]);
    assert_eq!(status["state"], "up", "a link taken out is not missed");
    both.server.expect_log(&["l2: down, the peer disconnected"]);
    ears.expect("mlvpn.link", |data| data["link"] == "l2" && data["up"] == false && data["state"] == "disabled");
    subscriber.expect("link", |data| data["link"] == "l2" && data["up"] == false);
    let carried = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    carried.await_progress();
    assert!(carried.finish() > 0);

    both.call("link", &json!({"name": "l2", "action": "backup", "rate": 125_000}));
    let status = both.expect_links(&[("l1", "up"), ("l2", "up")]);
    let link = &status["links"][1];
    assert_eq!((&link["backup"], &link["rate_bytes_per_sec"]), (&true.into(), &125_000.into()));
    ears.expect("mlvpn.link", |data| data["link"] == "l2" && data["up"] == true && data["device"] == "mlvpn0");
    both.call("link", &json!({"name": "l2", "action": "up"}));
    let status = both.call("links", &json!({"name": "l2"}));
    assert_eq!((&status["links"][0]["backup"], &status["links"][1]), (&false.into(), &serde_json::Value::Null));
}

#[test]
fn the_history_has_what_was_carried_and_reload_reads_the_configuration() {
    let Some(network) = Network::emulated(&["100mbit/2ms"]) else { return };
    let mut both = Router::start(&network, &configurations(1), Broker::start());
    both.expect_links(&[("l1", "up")]);
    both.await_addresses();
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    let carried = both.expect_status(|status| status["sent_bytes_per_sec"].as_u64().is_some_and(|rate| rate > 10_000));
    assert!(stream.finish() > 0);
    assert!(
        carried["sent_bytes"].as_u64() > Some(10_000) && carried["received_bytes"].as_u64() > Some(0),
        "{carried:#}"
    );
    let history = both.call("history", &json!({"name": "l1"}));
    let sent = history["links"][0]["sent_bytes_per_sec"].as_array().expect("samples");
    assert!(sent.iter().any(|rate| rate.as_u64().is_some_and(|rate| rate > 10_000)), "{history:#}");
    assert_eq!(history["interval_ms"], 1_000);
    let last = both.call("history", &json!({"seconds": 1}));
    assert_eq!(last["links"][0]["received_bytes_per_sec"].as_array().map(Vec::len), Some(1));
    both.call("reload", &json!({}));
    both.router.expect_log(&["reload: done"]);
}

#[test]
fn mistakes_of_callers_are_told_by_their_status() {
    let Some(network) = Network::wired(1) else { return };
    let mut both = Router::start(&network, &configurations(1), Broker::start());
    let long = "x".repeat(5_000);
    for (method, arguments, expected) in [
        ("nosuch", json!({}), Status::METHOD_NOT_FOUND),
        ("links", json!({"name": "nosuch"}), Status::NOT_FOUND),
        ("links", json!({"name": 5}), Status::INVALID_ARGUMENT),
        ("history", json!({"name": "nosuch"}), Status::NOT_FOUND),
        ("history", json!({"seconds": -1}), Status::INVALID_ARGUMENT),
        ("link", json!({}), Status::INVALID_ARGUMENT),
        ("link", json!({"name": "l1"}), Status::INVALID_ARGUMENT),
        ("link", json!({"name": "l1", "action": "sideways"}), Status::INVALID_ARGUMENT),
        ("link", json!({"name": "l1", "rate": 5_000_000_000_u64}), Status::INVALID_ARGUMENT),
        ("link", json!({"name": "nosuch", "action": "down"}), Status::NOT_FOUND),
        ("link", json!({"name": long, "action": "down"}), Status::NOT_FOUND),
        ("keygen", json!({"private_key": "no key"}), Status::INVALID_ARGUMENT),
    ] {
        assert_eq!(both.bus.call("mlvpn", method, &arguments), Err(expected), "{method} {arguments}");
    }
    // What rpcd adds is passed over.
    both.call("status", &json!({"ubus_rpc_session": "0"}));
}

#[test]
fn keys_made_on_the_bus_fit_and_are_not_in_the_log() {
    let Some(network) = Network::wired(1) else { return };
    let mut both = Router::start(&network, &configurations(1), Broker::start());
    let pair = both.call("keygen", &json!({}));
    let again = both.call("keygen", &json!({"private_key": pair["private_key"]}));
    assert_eq!(again, json!({"public_key": pair["public_key"]}));
    assert_ne!(both.call("keygen", &json!({})), pair, "every key is a new one");
    assert!(!both.router.log().contains(pair["private_key"].as_str().expect("text")));
}

#[test]
fn the_tunnel_outlives_the_bus_and_the_object_comes_back_with_it() {
    let Some(network) = Network::wired(1) else { return };
    let mut both = Router::start(&network, &configurations(1), Broker::start());
    both.expect_links(&[("l1", "up")]);
    both.await_addresses();
    for _ in 0..2 {
        both.broker.stop();
        both.router.expect_log(&["the tunnel goes on"]);
        let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
        stream.await_progress();
        assert!(stream.finish() > 0);
        both.broker.resume();
        both.router.expect_log(&["object mlvpn is published"]);
        both.bus = Client::connect(&both.broker.socket());
        let status = both.expect_links(&[("l1", "up")]);
        assert_eq!(status["links"][0]["disconnects"], 0, "the link did not notice");
    }
}

#[test]
fn a_bus_that_is_not_there_yet_or_has_no_place_for_the_object_holds_nothing_up() {
    let Some(network) = Network::wired(1) else { return };
    let (client, server) = configurations(1);
    let server = Daemon::start(&network.server, &server);
    let mut broker = Broker::start_denying(&["mlvpn"]);
    broker.stop();
    let router = Daemon::start_program(&network.client, &Program::router(&broker.socket()), &client);
    router.expect_log(&["the tunnel goes on"]);
    router.expect_calls(&["rtun_up l1", "tuntap_up"]);
    broker.resume();
    router.expect_log(&["refuses the object mlvpn"]);
    drop(server);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Links by the names of OpenWrt's interfaces.

use mlvpn_tests::configuration::protocol2::{secret, without_peers};
use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, outside_address};
use mlvpn_tests::ubus::{Broker, Client, Interface, Netifd};
use serde_json::json;

use crate::Router;

fn configurations() -> (Configuration, Configuration) {
    let client = Configuration::new(Side::Client, 2, Family::V4).with("l1", "bindinterface", "wan").with(
        "l2",
        "bindinterface",
        "wwan",
    );
    (client, Configuration::new(Side::Server, 2, Family::V4))
}

fn interface(name: &'static str, device: Option<&'static str>) -> Interface {
    Interface { name, device, address: "192.0.2.1" }
}

#[test]
fn links_follow_the_interfaces_that_netifd_tells_of() {
    let Some(network) = Network::wired(2) else { return };
    let broker = Broker::start();
    let netifd = Netifd::start(&broker.socket(), &[interface("wan", Some("link1")), interface("wwan", None)]);
    let mut both = Router::start(&network, &configurations(), broker);
    let status = both.expect_links(&[("l1", "up"), ("l2", "interface_down")]);
    let link = &status["links"][0];
    assert_eq!((&link["interface"], &link["device"]), (&"wan".into(), &"link1".into()));
    assert_eq!(status["links"][1]["reason"], "its interface is down");
    assert_eq!((&status["state"], &status["summary"]), (&"degraded".into(), &"1 of 2 links are well connected".into()));

    netifd.set(interface("wwan", Some("link2")));
    both.expect_links(&[("l1", "up"), ("l2", "up")]);
    netifd.set(interface("wan", None));
    both.expect_links(&[("l1", "interface_down"), ("l2", "up")]);
    both.server.expect_log(&["l1: down, the peer disconnected"]);
    netifd.set(interface("wan", Some("link1")));
    both.expect_links(&[("l1", "up"), ("l2", "up")]);
}

#[test]
fn netifd_may_come_later_and_come_back() {
    let Some(network) = Network::wired(2) else { return };
    let broker = Broker::start();
    let mut both = Router::start(&network, &configurations(), broker);
    // Without netifd the names are taken for the kernel's, which has none such.
    let status = both.expect_links(&[("l1", "no_socket"), ("l2", "no_socket")]);
    assert!(status["links"][0]["reason"].as_str().is_some_and(|reason| reason.contains("wan")), "{status:#}");
    let interfaces = [interface("wan", Some("link1")), interface("wwan", Some("link2"))];
    let netifd = Netifd::start(&both.broker.socket(), &interfaces);
    both.expect_links(&[("l1", "up"), ("l2", "up")]);
    drop(netifd);
    let netifd = Netifd::start(&both.broker.socket(), &[interface("wan", Some("link1")), interface("wwan", None)]);
    both.expect_links(&[("l1", "up"), ("l2", "interface_down")]);
    drop(netifd);
}

#[test]
fn a_configuration_of_ucis_names_interfaces_and_nothing_else_of_its_links() {
    let Some(network) = Network::wired(2) else { return };
    let broker = Broker::start();
    let netifd = Netifd::start(&broker.socket(), &[interface("wan", Some("link1")), interface("wwan", Some("link2"))]);
    let (_, server) = without_peers(2);
    let server = Daemon::start(&network.server, &server.with("peer router", "secret", &secret(7)));
    let remote = |link| outside_address(Side::Server, link, Family::V4);
    let text = format!(
        "config tunnel 'home'\n\toption enabled '1'\n\toption server '{}:5081'\n\toption secret '{}'\n\
         config link 'wan'\nconfig link 'wwan'\n\toption server '{}:5082'\n",
        remote(1),
        secret(7),
        remote(2),
    );
    let program = Program::router(&broker.socket());
    let router = Daemon::start_with_file(&network.client, &program, ("mlvpn", &text));
    router.expect_log(&["object mlvpn is published"]);
    let bus = Client::connect(&broker.socket());
    let mut both = Router { router, server, bus, broker };
    let status = both.expect_links(&[("wan", "up"), ("wwan", "up")]);
    assert_eq!((&status["links"][1]["device"], &status["server"]), (&"link2".into(), &"server".into()));
    netifd.set(interface("wwan", None));
    both.expect_links(&[("wan", "up"), ("wwan", "interface_down")]);
    both.call("reload", &json!({}));
    both.router.expect_log(&["reload: done"]);
    both.expect_links(&[("wan", "up"), ("wwan", "interface_down")]);
}

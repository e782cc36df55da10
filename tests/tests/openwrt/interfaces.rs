// SPDX-License-Identifier: BSD-2-Clause
//! Links by the names of OpenWrt's interfaces.

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::network::{Network, Side};
use mlvpn_tests::ubus::{Broker, Interface, Netifd};

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
    Interface { name, device }
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

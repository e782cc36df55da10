// SPDX-License-Identifier: BSD-2-Clause
//! Files that a configuration names or needs, which the daemon's user may not read.

use mlvpn_tests::configuration::protocol2::{secret, without_peers};
use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, outside_address};
use mlvpn_tests::ubus::{Broker, Client, Interface, Netifd};
use nix::sys::signal::Signal;

use crate::Router;

fn start(network: &Network, server: Daemon, broker: Broker, text: &str, beside: &[(&str, &str)]) -> Router {
    let router = Daemon::start_with_files(&network.client, &Program::router(&broker.socket()), ("mlvpn", text), beside);
    router.expect_log(&["object mlvpn is published"]);
    let bus = Client::connect(&broker.socket());
    Router { router, server, bus, broker }
}

#[test]
fn a_secret_in_a_file_that_is_roots_alone_survives_a_reload() {
    let Some(network) = Network::wired(1) else { return };
    let broker = Broker::start();
    let _netifd =
        Netifd::start(&broker.socket(), &[Interface { name: "wan", device: Some("link1"), address: "192.0.2.1" }]);
    let (_, server) = without_peers(1);
    let server = Daemon::start(&network.server, &server.with("peer router", "secret", &secret(7)));
    let text = format!(
        "config tunnel 'home'\n\toption enabled '1'\n\toption server '{}:5081'\n\toption secret_file '{{folder}}/secret'\n\
         config link 'wan'\n",
        outside_address(Side::Server, 1, Family::V4),
    );
    let mut both = start(&network, server, broker, &text, &[("secret", &secret(7))]);
    both.expect_links(&[("wan", "up")]);
    let text = text.replace("{folder}", &both.router.folder().to_string_lossy());
    both.router.reload_file("mlvpn", &(text + "\toption backup '1'\n"));
    both.router.expect_log(&["reload: done"]);
    let status = both.expect_status(|status| status["links"][0]["backup"] == true);
    assert_eq!(status["links"][0]["state"], "up", "{status:#}");
    assert!(!both.router.log().contains(&secret(7)));
}

const OPENMPTCPROUTER: &str = "config mlvpn 'general'\n\toption enable '1'\n\toption password 'q3Zt8uW1xYk5rPz9vNc2'\n\
    \toption mode 'client'\n\toption host '10.9.1.2'\n\toption firstport '5080'\n\toption interface_name 'mlvpn0'\n\
    \toption timeout '30'\n\toption reorder_buffer_size '512'\n\toption loss_tolerance '50'\n\
    \toption latency_tolerance '300'\n";
const INTERFACES: &str = "config interface 'lan'\n\toption multipath 'off'\n\n\
    config interface 'wan1'\n\toption proto 'dhcp'\n\toption multipath 'master'\n\n\
    config interface 'wan2'\n\toption proto 'dhcp'\n";

/// The files are read beside the configuration, are root's alone, and are needed again at a reload. `wan1`, which has no
/// address in them, takes the one that netifd tells; `wan2` is no link before it has multipath.
#[test]
fn openmptcprouters_files_are_followed_and_a_link_takes_the_interfaces_address() {
    let Some(network) = Network::wired(1) else { return };
    let broker = Broker::start();
    let wan = |address| Interface { name: "wan1", device: Some("link1"), address };
    let netifd = Netifd::start(&broker.socket(), &[wan("10.9.1.1")]);
    let server = Configuration::new(Side::Server, 1, Family::V4).with("general", "password", "q3Zt8uW1xYk5rPz9vNc2");
    let server = Daemon::start(&network.server, &server);
    let beside = [("network", INTERFACES), ("openmptcprouter", "")];
    let mut both = start(&network, server, broker, OPENMPTCPROUTER, &beside);
    let status = both.expect_links(&[("wan1", "up")]);
    let link = &status["links"][0];
    assert_eq!((&link["local"], &link["remote"]), (&"10.9.1.1:5081".into(), &"10.9.1.2:5081".into()), "{status:#}");
    assert_eq!((&status["protocol"], &link["device"]), (&"classic".into(), &"link1".into()));

    // An address that this machine has not: had the device alone counted, the link would have stayed up.
    netifd.set(wan("192.0.2.77"));
    let status = both.expect_links(&[("wan1", "no_socket")]);
    assert!(status["links"][0]["reason"].as_str().is_some_and(|why| why.contains("192.0.2.77")), "{status:#}");
    netifd.set(wan("10.9.1.1"));
    both.expect_links(&[("wan1", "up")]);

    both.router.write_file("openmptcprouter", "config interface 'wan2'\n\toption multipath 'backup'\n");
    both.router.signal(Signal::SIGHUP);
    both.router.expect_log(&["reload: done"]);
    both.expect_status(|status| status["links"][1]["name"] == "wan2" && status["links"][0]["state"] == "up");
}

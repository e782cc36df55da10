// SPDX-License-Identifier: BSD-2-Clause
//! The real `mlvpnd` in network namespaces, on a bus: a stand-in for ubusd, or the real one that `UBUSD` names. Needs root,
//! /dev/net/tun and `ip`; says so and passes without.

mod budget;
mod bus;
mod files;
mod foreign;
mod interfaces;
mod peers;

use mlvpn_tests::configuration::Configuration;
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::Network;
use mlvpn_tests::ubus::{Broker, Client};
use mlvpn_tests::wait;
use serde_json::{Value, json};

/// A router on a bus, and its server, which is on none.
struct Router {
    router: Daemon,
    server: Daemon,
    bus: Client,
    broker: Broker,
}

impl Router {
    /// Starts both; the router once its bus is there.
    fn start(network: &Network, (client, server): &(Configuration, Configuration), broker: Broker) -> Self {
        let server = Daemon::start(&network.server, server);
        let router = Daemon::start_program(&network.client, &Program::router(&broker.socket()), client);
        router.expect_log(&["object mlvpn is published"]);
        let bus = Client::connect(&broker.socket());
        Self { router, server, bus, broker }
    }

    fn call(&mut self, method: &str, arguments: &Value) -> Value {
        self.bus.call("mlvpn", method, arguments).unwrap_or_else(|status| panic!("{method} {arguments}: {status:?}"))
    }

    /// Waits until both devices have their addresses.
    fn await_addresses(&self) {
        self.router.expect_calls(&["tuntap_up"]);
        self.server.expect_calls(&["tuntap_up"]);
    }

    /// Waits until `status` says what is wanted.
    fn expect_status(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        let wanted = wait::becomes(|| {
            status = self.call("status", &json!({}));
            is_wanted(&status)
        });
        assert!(wanted, "the status stays {status:#}\n{}", self.router);
        status
    }

    /// Waits until the links are in these states.
    fn expect_links(&mut self, states: &[(&str, &str)]) -> Value {
        let states: Vec<(Value, Value)> =
            states.iter().map(|(name, state)| ((*name).into(), (*state).into())).collect();
        self.expect_status(|status| {
            let links = status["links"].as_array().expect("a list");
            links.iter().map(|link| (link["name"].clone(), link["state"].clone())).eq(states.iter().cloned())
        })
    }
}

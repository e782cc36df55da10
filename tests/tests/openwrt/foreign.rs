// SPDX-License-Identifier: BSD-2-Clause
//! The router's daemon for another CPU, run by qemu-user, with a real device and real sockets in namespaces, against this
//! machine's `mlvpn`. `MLVPND_FOREIGN` says how it is run, as in `qemu-mips-static /path/mlvpnd`: cross/carry.sh does that.

use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::ubus::{Broker, Client};
use serde_json::Value;

use crate::Router;

/// How the foreign daemon is run, when there is one.
fn foreign(broker: &Broker) -> Option<Program> {
    let Ok(words) = std::env::var("MLVPND_FOREIGN") else {
        eprintln!("skipped: MLVPND_FOREIGN names no daemon for another CPU; see cross/carry.sh");
        return None;
    };
    let mut words = words.split_whitespace().map(str::to_owned);
    let emulator = words.next().expect("a program");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(&emulator)).find(|path| path.is_file());
    let path = found.unwrap_or_else(|| emulator.into());
    let arguments = words.chain(Program::router(&broker.socket()).arguments).collect();
    Some(Program { path, arguments })
}

/// Starts both, has both ends send, and sees it arrive whole and the bus tell so.
fn carry((client, server): &(Configuration, Configuration)) -> Option<Value> {
    let broker = Broker::start();
    let program = foreign(&broker)?;
    let network = Network::wired(2)?;
    let server = Daemon::start(&network.server, server);
    // Bound to interfaces, as links of a router are. Not to addresses, whose interface is looked for in the kernel's list:
    // qemu 7.2 hands a big-endian program half of that list untranslated, and musl's getifaddrs goes round in it for ever.
    let client = client.clone().with("l1", "bindinterface", "link1").with("l2", "bindinterface", "link2");
    let client = client.without("l1", "bindhost").without("l2", "bindhost");
    // The headers of super-segments and the lengths of runs are in the kernel's byte order, which the emulator does not turn.
    let client = client.with("general", "offload", "0");
    let router = Daemon::start_program(&network.client, &program, &client);
    router.expect_log(&["object mlvpn is published"]);
    let bus = Client::connect(&broker.socket());
    let mut both = Router { router, server, bus, broker };
    both.expect_links(&[("l1", "up"), ("l2", "up")]);
    both.await_addresses();
    let ends = [(&network.client, &network.server, Side::Server), (&network.server, &network.client, Side::Client)];
    for (from, to, far) in ends {
        let stream = Stream::open(from, to, tunnel_address(far, Family::V4));
        stream.await_progress();
        assert!(stream.finish() > 0);
    }
    Some(both.expect_status(|status| {
        let links = status["links"].as_array().expect("links");
        links.iter().all(|link| link["sent_bytes"].as_u64() > Some(0) && link["received_bytes"].as_u64() > Some(0))
    }))
}

#[test]
fn an_emulated_router_and_a_native_server_carry_packets_of_protocol_2() {
    if let Some(status) = carry(&with_keys(2)) {
        assert_eq!((&status["protocol"], &status["server"]), (&"2".into(), &"office".into()), "{status:#}");
        assert!(status["session"]["cipher"].is_string(), "{status:#}");
    }
}

#[test]
fn an_emulated_router_and_a_native_server_carry_packets_of_the_classic_protocol() {
    let of = |side| Configuration::new(side, 2, Family::V4);
    if let Some(status) = carry(&(of(Side::Client), of(Side::Server))) {
        assert_eq!(status["protocol"], "classic", "{status:#}");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The real daemon in network namespaces. Needs root, /dev/net/tun and `ip`; says so and passes without.

mod addresses;
mod both_protocols;
mod bulk;
mod carry;
mod commands;
mod control;
mod disagreements;
mod ending;
mod filters;
mod idle;
mod mistakes;
mod packets;
mod peers;
mod policies;
mod protocol2;
mod reload;
mod roles;
mod soak;
mod supervised;

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side};

/// The configurations of both sides over the first `links` links.
fn configurations(links: usize) -> (Configuration, Configuration) {
    let of = |side| Configuration::new(side, links, Family::V4);
    (of(Side::Client), of(Side::Server))
}

/// Both daemons, the client first.
fn start_both(network: &Network, (client, server): &(Configuration, Configuration)) -> (Daemon, Daemon) {
    let server = Daemon::start(&network.server, server);
    (Daemon::start(&network.client, client), server)
}

/// Waits until both have set their devices up and every link up to `links` is up.
fn await_up(daemons: &(Daemon, Daemon), links: usize) {
    let ups: Vec<String> = (1..=links).map(|link| format!("rtun_up l{link}")).collect();
    for daemon in [&daemons.0, &daemons.1] {
        let mut wanted: Vec<&str> = ups.iter().map(String::as_str).collect();
        wanted.push("tuntap_up");
        daemon.expect_calls(&wanted);
    }
}

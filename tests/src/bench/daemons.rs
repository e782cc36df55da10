// SPDX-License-Identifier: BSD-2-Clause
//! A tunnel of two daemons, ours or MLVPN's, over every link of a network.

use crate::configuration::protocol2::with_keys;
use crate::configuration::{Configuration, Family};
use crate::daemon::{Daemon, Program};
use crate::network::{Network, Side};

/// What a link can send, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRate {
    /// From the client.
    pub up: u64,
    /// From the server.
    pub down: u64,
}

/// Starts both ends with the first `links` links, and waits until all of them are up at the client, and the devices at
/// both ends. The client's comes first.
///
/// # Panics
/// When a daemon does not start, or a link does not come up.
#[must_use]
pub fn start(
    network: &Network,
    program: &Program,
    is_protocol2: bool,
    links: usize,
    rates: Option<&[LinkRate]>,
) -> [Daemon; 2] {
    let both = if is_protocol2 {
        with_keys(links)
    } else {
        let of = |side| Configuration::new(side, links, Family::V4);
        (of(Side::Client), of(Side::Server))
    };
    let start = |side, mut configuration: Configuration| {
        for (rate, link) in rates.into_iter().flatten().zip(1..=links) {
            let bytes_per_second = if side == Side::Client { rate.up } else { rate.down };
            configuration = configuration.with(&format!("l{link}"), "bandwidth_upload", &bytes_per_second.to_string());
        }
        Daemon::start_program(network.at(side), program, &configuration)
    };
    let daemons = [start(Side::Client, both.0), start(Side::Server, both.1)];
    // A server of protocol 2 calls the links by its peer's name.
    let mut ups: Vec<String> = (1..=links).map(|link| format!("rtun_up l{link}")).collect();
    ups.push("tuntap_up".to_owned());
    daemons[0].expect_calls(&ups.iter().map(String::as_str).collect::<Vec<_>>());
    daemons[1].expect_calls(&["tuntap_up"]);
    daemons
}

// SPDX-License-Identifier: BSD-2-Clause
//! Two whole engines, joined in virtual time.

mod addresses;
mod budget;
mod data;
mod filters;
mod forgeries;
mod keys;
mod links;
mod restarts;

use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::pair::Pair;

const FIRST: LinkId = LinkId::new(0);
const SECOND: LinkId = LinkId::new(1);

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Links that time out after five seconds.
fn hasty() -> LinkSettings {
    LinkSettings { timeout: secs(5), ..LinkSettings::default() }
}

/// The numbers of the packets an end's device was given, in the order it was given them.
fn numbers(pair: &mut Pair, end: Role) -> Vec<u64> {
    pair.end(end).take_delivered().iter().map(|packet| inner::number(packet)).collect()
}

/// Neither end has a packet in use that is not held for a missing one.
fn assert_no_slot_is_lost(pair: &Pair) {
    assert_eq!(pair.client.in_use(), pair.client.tunnel.reordering());
    assert_eq!(pair.server.in_use(), pair.server.tunnel.reordering());
}

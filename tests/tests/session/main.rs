// SPDX-License-Identifier: BSD-2-Clause
//! Protocol 2 as a whole: engines and a gateway, joined in virtual time.

mod basics;
mod clocks;
mod crowd;
mod day;
mod filters;
mod goodbyes;
mod links;
mod paths;
mod policies;
mod rekeying;
mod restarts;
mod schedules;
mod shared_secret;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::session::world::{Who, World};

const FIRST: LinkId = LinkId::new(0);
const SECOND: LinkId = LinkId::new(1);
const CLIENT: Who = Who::Client(0);
const SERVER: Who = Who::Server(0);

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Packets of 500 bytes, one every millisecond, arrive both ways, each once. Not necessarily in order: the first ones of a
/// flow are thin and wait for none.
#[track_caller]
fn assert_carries(world: &mut World, from: u64) {
    world.run_for(millis(200));
    for who in [CLIENT, SERVER] {
        world.end(who).delivered.clear();
    }
    world.stream_both(from..from + 50, 500, millis(1));
    world.run_for(millis(200));
    for who in [CLIENT, SERVER] {
        let mut numbers = world.end(who).numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, (from..from + 50).collect::<Vec<_>>(), "{who:?}: {:?}", world.end(who).peer.drops());
    }
    world.assert_no_slot_is_lost();
}

// SPDX-License-Identifier: BSD-2-Clause
//! Packets under keys that were replaced.

use mlvpn_core::words::drops::DropReason;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis, recorded, secs};

#[test]
fn what_was_held_back_until_its_keys_were_wiped_is_not_accepted() {
    let mut world: World = World::up(60, 1);
    world.filter = Box::new(|_| false);
    world.stream_both(0..20, 500, millis(1));
    world.filter = Box::new(|_| true);
    let held = (recorded(&world, true), recorded(&world, false));
    world.records = false;
    world.stream_both(100..1_500, 100, millis(100));
    world.run_for(secs(5));
    assert_eq!((world.clients[0].end.peer.sessions().count(), world.server.ends[0].peer.sessions().count()), (1, 1));
    for who in [CLIENT, SERVER] {
        world.end(who).delivered.clear();
    }
    let before = world.server.ends[0].peer.drops().of(DropReason::NoSession);
    for flight in &held.0 {
        assert_eq!(world.inject_up(flight.from, &flight.bytes), None);
    }
    for flight in &held.1 {
        world.inject_down((0, 0), flight.from, &flight.bytes);
    }
    assert_eq!(world.server.ends[0].peer.drops().of(DropReason::NoSession), before + held.0.len() as u64);
    for who in [CLIENT, SERVER] {
        assert!(world.end(who).delivered.is_empty(), "{who:?}");
    }
    assert_carries(&mut world, 2_000);
}

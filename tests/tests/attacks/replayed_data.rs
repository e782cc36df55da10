// SPDX-License-Identifier: BSD-2-Clause
//! Every datagram of a session comes again, from its own address and from another.

use mlvpn_core::words::drops::DropReason;
use mlvpn_tests::session::world::World;

use super::{CLIENT, FIRST, SERVER, assert_carries, attacker, millis, recorded};

#[test]
fn replayed_data_is_not_delivered_and_moves_nothing() {
    let mut world: World = World::up(50, 2);
    world.stream_both(0..100, 500, millis(1));
    world.run_for(millis(100));
    let (up, down) = (recorded(&world, true), recorded(&world, false));
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).numbers().len(), 100);
    }
    let before = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
    let dropped = world.server.ends[0].peer.drops().of(DropReason::Replayed);
    for flight in &up {
        world.inject_up(flight.from, &flight.bytes);
        world.inject_up(attacker(), &flight.bytes);
    }
    for flight in &down {
        world.inject_down(flight.at.expect("a client's"), flight.from, &flight.bytes);
        world.inject_down(flight.at.expect("a client's"), attacker(), &flight.bytes);
    }
    assert_eq!(world.server.ends[0].peer.drops().of(DropReason::Replayed), dropped + 2 * up.len() as u64);
    assert_eq!((super::state(&mut world, CLIENT), super::state(&mut world, SERVER)), before);
    for who in [CLIENT, SERVER] {
        assert!(world.end(who).delivered.is_empty());
    }
    let expected = world.clients[0].wires[0].client;
    assert_eq!(world.server.ends[0].peer.link(FIRST).unwrap().place().unwrap().address, expected);
    assert_carries(&mut world, 200);
}

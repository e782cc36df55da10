// SPDX-License-Identifier: BSD-2-Clause
//! Somebody on the way forwards a genuine packet with another source address, to draw the traffic there.

use mlvpn_tests::inner;
use mlvpn_tests::session::world::World;

use super::{CLIENT, FIRST, SERVER, assert_carries, attacker, millis};

#[test]
fn traffic_does_not_move_to_an_address_that_only_a_source_field_names() {
    let mut world: World = World::up(59, 1);
    assert_carries(&mut world, 0);
    let genuine = world.clients[0].wires[0].client;
    world.sent.clear();
    for number in 100..150 {
        // The attacker takes each of the client's packets off the way and sends it on as if it were the attacker's.
        world.filter = Box::new(|flight| !flight.is_up);
        world.send(CLIENT, &inner::ipv4(500, number));
        world.touch(CLIENT);
        let taken = world.sent.iter().rfind(|flight| flight.is_up).cloned().expect("it was sent");
        world.filter = Box::new(|_| true);
        world.inject_up(attacker(), &taken.bytes);
        world.send(SERVER, &inner::ipv4(500, number));
        world.run_for(millis(10));
        assert_eq!(world.server.ends[0].peer.link(FIRST).unwrap().place().unwrap().address, genuine);
    }
    let drawn: Vec<_> = world.sent.iter().filter(|flight| flight.to == attacker()).collect();
    assert!(!drawn.is_empty(), "the address is challenged");
    assert!(drawn.len() <= 8, "{} datagrams to an address that proved nothing", drawn.len());
    assert!(drawn.iter().all(|flight| flight.bytes.len() < 100), "no bulk goes there");
    assert_carries(&mut world, 200);
}

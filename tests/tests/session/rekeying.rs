// SPDX-License-Identifier: BSD-2-Clause
//! New keys under load.

use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::event::Event;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis, secs};

#[test]
fn new_keys_under_full_load_lose_not_one_packet_and_the_old_ones_are_wiped() {
    let mut world: World = World::up(30, 2);
    world.clients[0].wires[1].delay = millis(60);
    let first: Vec<_> = world.clients[0].end.peer.sessions().collect();
    world.records = false;
    let mut number = 0;
    // Five minutes: two renewals.
    while number < 60_000 {
        for _ in 0..4 {
            assert!(world.send(CLIENT, &inner::ipv4(200, number)) && world.send(SERVER, &inner::ipv4(200, number)));
            number += 1;
        }
        world.run_for(millis(20));
    }
    world.run_for(secs(1));
    for who in [CLIENT, SERVER] {
        let end = world.end(who);
        let renewals = end.take_events().iter().filter(|event| **event == Event::NewSession).count();
        assert_eq!(renewals, 2, "{who:?}");
        let missing = number - end.delivered.len() as u64;
        println!("{who:?}: {renewals} renewals, {missing} of {number} packets lost");
        // A thin flow's packets wait for none, so the slower link's come late.
        let mut numbers = end.numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..number).collect::<Vec<_>>(), "{who:?}");
        assert_eq!(end.peer.drops().total(), 0, "{who:?}: {:?}", end.peer.drops());
    }
    world.run_for(secs(10));
    for who in [CLIENT, SERVER] {
        let now: Vec<_> = world.end(who).peer.sessions().collect();
        assert_eq!(now.len(), 1, "{who:?} keeps old keys");
        assert!(who == SERVER || now != first);
    }
}

#[test]
fn an_idle_session_keeps_its_keys() {
    let mut world: World = World::up(31, 1);
    world.run_for(secs(3_600));
    assert_eq!(world.server.claims, 1);
    assert_carries(&mut world, 0);
}

#[test]
fn packets_of_wiped_keys_are_of_no_session() {
    let mut world: World = World::up(32, 1);
    world.stream(CLIENT, 0..10, 500, millis(1));
    let old = world.sent.iter().rfind(|flight| flight.is_up).cloned().expect("something was sent");
    world.stream(CLIENT, 10..1_400, 500, millis(100));
    assert_eq!(world.server.claims, 2);
    let before = world.server.ends[0].peer.drops().of(DropReason::NoSession);
    world.inject_up(old.from, &old.bytes);
    assert_eq!(world.server.ends[0].peer.drops().of(DropReason::NoSession), before + 1);
}

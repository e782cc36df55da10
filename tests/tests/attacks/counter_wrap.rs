// SPDX-License-Identifier: BSD-2-Clause
//! The low half of a counter, which is all that travels, goes round.

use mlvpn_core::memory::control::{self, Control};
use mlvpn_core::words::drops::DropReason;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::World;

use super::{Place, SERVER, attacker, established, sealed, sealed_as};

/// Steps with which a client's counter reaches any number: less than half of 32 bits each.
fn climb(to: u64) -> impl Iterator<Item = u64> {
    (0..).map(|step| step * 0x7fff_0000).take_while(move |counter| *counter < to)
}

#[test]
fn a_counter_passes_the_end_of_its_low_half_and_what_is_behind_stays_refused() {
    let mut world: World = World::empty(61);
    world.add_client(0, mlvpn_tests::session::keys::config(), mlvpn_tests::session::keys::config());
    let keys = established(&mut world, 0);
    let packet = inner::ipv4(60, 1);
    let edge = 1 << 32;
    let order: Vec<u64> = climb(edge - 10).chain([edge - 2, edge + 1, edge - 1, edge, edge + 2]).collect();
    for (order, counter) in (0..).zip(&order) {
        let place = Place { counter: *counter, order, ..Place::default() };
        world.inject_up(attacker(), &sealed_as(place, &keys, false, &packet));
        assert_eq!(world.end(SERVER).numbers(), [1], "{counter:#x}: {:?}", world.end(SERVER).peer.drops());
    }
    let before = world.end(SERVER).peer.drops().of(DropReason::Replayed);
    for counter in &order[order.len() - 5..] {
        world.inject_up(attacker(), &sealed(&keys, *counter, false, &packet));
        assert!(world.end(SERVER).delivered.is_empty(), "{counter:#x}");
    }
    assert_eq!(world.end(SERVER).peer.drops().of(DropReason::Replayed), before + 5);
    // Whoever changes the low half asks for another nonce, under which nothing opens.
    let mut moved = sealed(&keys, edge + 3, false, &packet);
    moved[5..9].copy_from_slice(&0xffff_fffd_u32.to_be_bytes());
    world.inject_up(attacker(), &moved);
    assert!(world.end(SERVER).delivered.is_empty());
}

#[test]
fn counters_of_the_largest_size_do_no_harm() {
    let mut world: World = World::empty(62);
    world.add_client(0, mlvpn_tests::session::keys::config(), mlvpn_tests::session::keys::config());
    let keys = established(&mut world, 0);
    let mut body = [0; 100];
    let len = control::emit(&[Control::Probe { id: 1 }], &mut body).unwrap();
    for counter in [0, 1, 1 << 32, 1 << 48, u64::MAX - 1, u64::MAX] {
        world.inject_up(attacker(), &sealed(&keys, counter, true, &body[..len]));
    }
    world.assert_no_slot_is_lost();
    world.inject_up(attacker(), &sealed(&keys, 2, false, &inner::ipv4(60, 5)));
    assert_eq!(world.end(SERVER).numbers(), [5], "the session goes on");
}

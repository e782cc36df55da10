// SPDX-License-Identifier: BSD-2-Clause
//! Where a peer is, and what passes on the way to it.

use mlvpn_core::words::event::Event;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::World;

use super::{CLIENT, FIRST, SECOND, SERVER, assert_carries, millis, secs};

#[test]
fn the_inner_mtu_follows_the_narrowest_link_in_each_direction() {
    let mut world: World = World::one(20, 2);
    world.clients[0].wires[1].mtu = 1400;
    world.run_for(secs(6));
    for who in [CLIENT, SERVER] {
        let mtu = usize::from(world.end(who).peer.mtu());
        assert!((1400 - 58 - 8..=1400 - 58).contains(&mtu), "{who:?}: {mtu}");
        world.end(who).events.clear();
    }
    let len = usize::from(world.end(CLIENT).peer.mtu().min(world.end(SERVER).peer.mtu()));
    world.stream_both(0..50, len, millis(1));
    world.run_for(millis(100));
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).numbers(), (0..50).collect::<Vec<_>>(), "{who:?}");
    }
    world.clients[0].end.peer.close_link(SECOND);
    world.touch(CLIENT);
    world.run_for(millis(100));
    assert!(world.clients[0].end.take_events().contains(&Event::MtuChanged(1442)));
}

#[test]
fn a_tcp_handshake_learns_what_fits() {
    let mut world: World = World::up(21, 1);
    let mut syn = inner::ipv4(64, 0);
    syn[9] = 6;
    syn[20..].fill(0);
    syn[32..34].copy_from_slice(&[0x60, 0x02]);
    syn[40..44].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    assert!(world.send(CLIENT, &syn));
    world.run_for(millis(100));
    let arrived = world.server.ends[0].delivered.pop().expect("it arrives").1;
    assert_eq!(u16::from_be_bytes([arrived[42], arrived[43]]), 1442 - 40);
}

#[test]
fn a_path_that_shrinks_is_noticed_within_fifteen_seconds_of_use() {
    let mut world: World = World::up(22, 1);
    world.stream_both(0..1_000, 1_442, millis(5));
    world.clients[0].wires[0].mtu = 1400;
    let cut = world.now();
    let mut number = 1_000;
    let healed = loop {
        let len = usize::from(world.end(CLIENT).peer.mtu());
        world.server.ends[0].delivered.clear();
        world.stream(CLIENT, number..number + 10, len, millis(5));
        world.run_for(millis(450));
        number += 10;
        if world.server.ends[0].delivered.len() == 10 {
            break world.now().since(cut);
        }
        assert!(world.now().since(cut) < secs(15), "still a black hole");
    };
    println!("a path that shrank was left after {} ms", healed.millis());
    world.run_for(secs(10));
    let mtu = world.end(CLIENT).peer.mtu();
    assert!((1334..=1342).contains(&mtu), "{mtu}");
}

#[test]
fn a_rebinding_moves_the_link_only_after_its_challenge_came_back() {
    let mut world: World = World::up(23, 2);
    world.stream_both(0..50, 500, millis(2));
    world.clients[0].wires[0].rebind();
    let moved = world.clients[0].wires[0].client;
    world.sent.clear();
    let handshakes = world.server.claims;
    world.stream(CLIENT, 100..200, 500, millis(2));
    assert_eq!(world.server.ends[0].peer.link(FIRST).unwrap().place().unwrap().address, moved);
    assert!(world.server.ends[0].take_events().contains(&Event::PeerMoved(FIRST, moved)));
    let to_new: Vec<_> = world.sent.iter().filter(|flight| flight.to == moved).collect();
    assert!(to_new[0].bytes.len() < 100, "the first to the new address is the challenge");
    world.run_for(millis(200));
    assert_carries(&mut world, 300);
    assert_eq!(world.server.claims, handshakes, "no handshake was needed");
}

#[test]
fn a_rebinding_whose_first_challenges_are_lost_is_followed_all_the_same() {
    let mut world: World = World::up(24, 1);
    world.stream_both(0..50, 500, millis(2));
    world.clients[0].wires[0].rebind();
    world.clients[0].wires[0].is_down_open = false;
    world.stream(CLIENT, 100..600, 500, millis(2));
    world.clients[0].wires[0].mend();
    for number in 0..3_000 {
        world.send(CLIENT, &inner::ipv4(500, number));
        world.run_for(millis(2));
    }
    let expected = world.clients[0].wires[0].client;
    assert_eq!(world.server.ends[0].peer.link(FIRST).unwrap().place().unwrap().address, expected);
    assert_carries(&mut world, 1_000);
}

#[test]
fn a_rebinding_right_after_new_keys_is_followed() {
    let mut world: World = World::up(25, 1);
    // Many packets of the old session, one of which is late.
    world.stream(CLIENT, 0..50_000, 100, millis(2));
    world.clients[0].wires[0].jitter = millis(50);
    world.stream(CLIENT, 0..14_000, 100, millis(2));
    assert!(world.server.claims >= 2, "there were new keys");
    world.clients[0].wires[0].rebind();
    world.stream(CLIENT, 0..500, 100, millis(2));
    let expected = world.clients[0].wires[0].client;
    assert_eq!(world.server.ends[0].peer.link(FIRST).unwrap().place().unwrap().address, expected);
}

#[test]
fn neither_a_link_that_joins_nor_a_rebinding_lowers_the_inner_mtu_for_a_moment() {
    let mut world: World = World::up(26, 2);
    world.clients[0].end.peer.leave_link(SECOND);
    world.touch(CLIENT);
    world.clients[0].end.peer.close_link(SECOND);
    world.touch(CLIENT);
    assert_carries(&mut world, 0);
    world.open(0, 1);
    assert_carries(&mut world, 100);
    world.run_for(secs(3));
    world.clients[0].wires[0].rebind();
    world.clients[0].wires[1].rebind();
    world.stream(CLIENT, 200..1_000, 1_442, millis(2));
    world.run_for(secs(3));
    assert_carries(&mut world, 2_000);
    for who in [CLIENT, SERVER] {
        let events = world.end(who).take_events();
        assert!(!events.iter().any(|event| matches!(event, Event::MtuChanged(_))), "{who:?}: {events:?}");
    }
}

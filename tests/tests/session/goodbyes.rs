// SPDX-License-Identifier: BSD-2-Clause
//! An end that ends says so, and the other believes it at once.

use mlvpn_core::words::event::{DownCause, Event};
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::{Who, World};

use super::{CLIENT, FIRST, SECOND, SERVER, assert_carries, millis, secs};

/// Has `who` end its session, and forgets the datagrams it sent so far.
fn close(world: &mut World, who: Who) {
    world.sent.clear();
    world.end(who).peer.close();
    world.touch(who);
}

#[test]
fn each_end_hears_of_the_others_end_within_half_a_round_trip_on_every_link() {
    for (seed, who, other) in [(90, CLIENT, SERVER), (91, SERVER, CLIENT)] {
        let mut world: World = World::up(seed, 2);
        close(&mut world, who);
        assert_eq!(world.sent.len(), 2, "one datagram on each link");
        world.run_for(millis(11));
        let events = world.end(other).take_events();
        let down = |link| Event::LinkDown(link, DownCause::PeerLeft);
        assert_eq!(events, [Event::SessionEnded, down(FIRST), down(SECOND), Event::TunnelDown], "{other:?}");
        assert!(world.end(other).peer.sessions().next().is_none(), "its keys are gone");
        world.assert_no_slot_is_lost();
    }
}

#[test]
fn one_datagram_of_the_goodbye_is_enough() {
    let mut world: World = World::up(92, 3);
    // The others of the three links lose it.
    world.filter = Box::new(|flight| flight.is_up || flight.at == Some((0, 2)));
    close(&mut world, SERVER);
    world.run_for(millis(11));
    assert!(!world.clients[0].end.peer.is_up());
    assert!(world.clients[0].end.take_events().contains(&Event::SessionEnded));
}

#[test]
fn a_link_that_is_silent_is_said_goodbye_to_as_well() {
    let mut world: World = World::up(93, 2);
    world.stream_both(0..10, 500, millis(1));
    world.clients[0].wires[0].is_down_open = false;
    world.stream_both(10..2_000, 500, millis(1));
    world.clients[0].wires[0].mend();
    close(&mut world, SERVER);
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_client_whose_server_says_goodbye_asks_at_once_and_is_back_when_the_server_is() {
    let mut world: World = World::up(94, 2);
    assert_carries(&mut world, 0);
    close(&mut world, SERVER);
    world.run_for(millis(11));
    let asked = world.sent.iter().filter(|flight| flight.is_up && flight.bytes[0] == 0x80).count();
    assert_eq!(asked, 1);
    world.restart_server(&keys::config());
    world.run_for(millis(600));
    assert_carries(&mut world, 100);
}

#[test]
fn a_goodbye_that_comes_late_does_not_end_the_session_that_followed() {
    let mut world: World = World::up(95, 2);
    // The second link is a slow one: what is said there arrives when the client is long back over the first.
    world.clients[0].wires[1].delay = millis(700);
    world.run_for(secs(3));
    close(&mut world, CLIENT);
    world.restart_client(0, keys::config(), keys::credentials(0));
    world.run_for(millis(200));
    assert!(world.server.ends[0].peer.is_up());
    world.end(SERVER).events.clear();
    world.run_for(secs(2));
    let events = world.end(SERVER).take_events();
    assert!(!events.contains(&Event::SessionEnded) && !events.contains(&Event::TunnelDown), "{events:?}");
    world.clients[0].wires[1].delay = millis(10);
    world.run_for(secs(2));
    assert_carries(&mut world, 0);
}

#[test]
fn a_goodbye_of_the_session_before_ends_that_one_only() {
    let mut world: World = World::up(96, 1);
    // Shortly before new keys are made the server says goodbye, which is held up on its way.
    world.stream_both(0..1_190, 200, millis(100));
    world.filter = Box::new(|flight| flight.is_up);
    close(&mut world, SERVER);
    world.filter = Box::new(|_| true);
    let late = world.sent.iter().find(|flight| !flight.is_up).cloned().expect("a goodbye");
    world.end(CLIENT).events.clear();
    let mut rounds = 0;
    while !world.end(CLIENT).events.iter().any(|(_, event)| *event == Event::NewSession) {
        world.stream_both(0..1, 200, millis(50));
        rounds += 1;
        assert!(rounds < 200, "no new keys");
    }
    assert_eq!(world.end(CLIENT).peer.sessions().count(), 2, "the old keys still open stragglers");
    world.inject_down((0, 0), late.from, &late.bytes);
    assert_eq!(world.end(CLIENT).peer.sessions().count(), 1);
    assert!(!world.end(CLIENT).take_events().contains(&Event::SessionEnded));
    assert_carries(&mut world, 0);
}

#[test]
fn nobody_without_the_keys_ends_a_session() {
    let mut world: World = World::up(97, 1);
    close(&mut world, SERVER);
    let goodbye = world.sent.iter().find(|flight| !flight.is_up).cloned().expect("a goodbye");
    let mut other: World = World::up(97, 1);
    for at in 0..goodbye.bytes.len() {
        let mut forged = goodbye.bytes.clone();
        forged[at] ^= 1;
        other.inject_down((0, 0), goodbye.from, &forged);
    }
    assert!(other.clients[0].end.peer.is_up());
    assert_carries(&mut other, 0);
}

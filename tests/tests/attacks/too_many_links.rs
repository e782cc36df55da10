// SPDX-License-Identifier: BSD-2-Clause
//! A peer that has the keys speaks on more links than the server takes, or honours what it was told.

use mlvpn_core::memory::control::{self, Control};
use mlvpn_core::state::link::Phase;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::event::Event;
use mlvpn_core::words::ids::LinkId;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, attacker, established, sealed_on, secs};

/// A server that takes two links, of a client with `links` and room for more.
fn world(seed: u64, links: u8) -> World {
    let mut servers = keys::config();
    servers.offer.max_links = 2;
    let mut world: World = World::empty(seed);
    world.add_client(links, keys::config(), servers);
    world
}

#[test]
fn what_comes_on_a_link_beyond_the_agreed_ones_is_counted_and_the_link_is_not_learned() {
    let mut world = world(110, 0);
    let keys = established(&mut world, 0);
    let mut probe = [0; 20];
    let len = control::emit(&[Control::Probe { id: 1 }], &mut probe).unwrap();
    for link in 0..32 {
        world.inject_up(attacker(), &sealed_on(link, &keys, 0, true, &probe[..len]));
        let is_learned = world.end(SERVER).peer.link(LinkId::new(link.into())).is_some();
        assert_eq!(is_learned, link < 2, "link {link}");
    }
    assert_eq!(world.end(SERVER).peer.drops().of(DropReason::TooManyLinks), 30);
    assert_eq!(world.end(SERVER).peer.drops().total(), 30);
    world.assert_no_slot_is_lost();
}

#[test]
fn a_client_uses_no_more_links_than_its_server_takes_and_says_so() {
    let mut world = world(111, 4);
    world.run_for(secs(3));
    for link in 0..4 {
        let phase = world.clients[0].end.peer.link(LinkId::new(link)).expect("it is set").phase();
        assert_eq!(phase, if link < 2 { Phase::Up } else { Phase::Waiting }, "link {link}");
    }
    let told = world.end(CLIENT).take_events();
    assert!(told.iter().any(|event| matches!(event, Event::HandshakeTrouble(_))), "{told:?}");
    assert_carries(&mut world, 0);
    world.run_for(secs(200));
    assert_carries(&mut world, 50);
    assert_eq!(world.end(SERVER).peer.drops().of(DropReason::TooManyLinks), 0);
}

#[test]
fn links_that_a_server_takes_no_more_after_a_restart_go_down_and_the_others_carry_on() {
    let mut world: World = World::up(112, 4);
    let mut fewer = keys::config();
    fewer.offer.max_links = 1;
    // A busy client notices within seconds that its server started anew.
    assert_carries(&mut world, 0);
    world.restart_server(&fewer);
    world.run_for(secs(6));
    assert_carries(&mut world, 100);
    let peer = &world.clients[0].end.peer;
    assert!((1..4).all(|link| peer.link(LinkId::new(link)).is_some_and(|link| link.phase() == Phase::Waiting)));
    world.restart_server(&keys::config());
    world.run_for(secs(6));
    let peer = &world.clients[0].end.peer;
    assert!((0..4).all(|link| peer.link(LinkId::new(link)).is_some_and(|link| link.phase() == Phase::Up)));
}

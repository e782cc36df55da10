// SPDX-License-Identifier: BSD-2-Clause
//! Two ends that know each other by one secret alone: the NN pattern.

use mlvpn_core::memory::two::INITIATION_SECRET;
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::tunnel::peer::config::ClientCredentials;
use mlvpn_core::words::event::Event;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis, secs};

fn secret(number: u64) -> SharedSecret {
    SharedSecret::from_random(keys::seed(number).into())
}

/// A client that is known by `client`, at a server that knows one by `server`.
fn world(seed: u64, client: u64, server: u64) -> World {
    let mut world: World = World::one(seed, 2);
    world.server.know_by_secret(0, secret(server), seed);
    world.restart_client(0, keys::config(), ClientCredentials::Secret(secret(client)));
    world.sent.clear();
    world
}

#[test]
fn a_shared_secret_makes_a_session_that_carries_packets_and_gets_new_keys() {
    let mut world = world(120, 1, 1);
    world.run_for(millis(500));
    let asked: Vec<usize> = world.sent.iter().filter(|f| f.bytes[0] == 0x80).map(|f| f.bytes.len()).collect();
    assert!(!asked.is_empty() && asked.iter().all(|len| *len == INITIATION_SECRET), "{asked:?}");
    assert_carries(&mut world, 0);
    world.end(SERVER).events.clear();
    world.stream_both(100..1_500, 200, millis(100));
    assert!(world.end(SERVER).take_events().contains(&Event::NewSession));
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).peer.drops().total(), 0, "{who:?}");
    }
    assert_carries(&mut world, 2_000);
}

#[test]
fn a_restart_of_either_end_is_survived() {
    let mut world = world(121, 1, 1);
    world.run_for(millis(500));
    assert_carries(&mut world, 0);
    world.restart_client(0, keys::config(), ClientCredentials::Secret(secret(1)));
    world.run_for(millis(500));
    assert_carries(&mut world, 100);
    world.restart_server(&keys::config());
    world.server.know_by_secret(0, secret(1), 5);
    world.run_for(secs(6));
    assert_carries(&mut world, 200);
}

#[test]
fn another_secret_opens_nothing() {
    let mut world = world(122, 1, 2);
    world.run_for(secs(15));
    assert!(!world.clients[0].end.peer.is_up() && !world.server.ends[0].peer.is_up());
    assert_eq!((world.server.claims, world.server.answers), (0, 0), "not one scalar multiplication");
}

// SPDX-License-Identifier: BSD-2-Clause
//! Ends whose keys are right and whose shared secrets differ.

use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::tunnel::peer::config::ClientCredentials;
use mlvpn_core::words::event::Event;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, secs};

fn credentials(byte: u8) -> ClientCredentials {
    let secret = SharedSecret::from_random([byte; 32].into());
    ClientCredentials::Keys { own: keys::pair(0), server: *keys::pair(keys::SERVER).public_key(), secret }
}

#[test]
fn no_session_comes_of_different_secrets_and_the_client_is_told_why() {
    let mut world: World = World::one(82, 1);
    world.server.secrets.insert(0, SharedSecret::from_random([7; 32].into()));
    for byte in [8, 0] {
        world.restart_client(0, keys::config(), credentials(byte));
        world.run_for(secs(20));
        assert!(!world.clients[0].end.peer.is_up() && !world.server.ends[0].peer.is_up());
        let told = world.end(CLIENT).take_events();
        assert!(told.iter().any(|event| matches!(event, Event::HandshakeTrouble(why) if why.0.contains("secret"))));
        assert_eq!(world.end(SERVER).take_events(), []);
    }
    world.restart_client(0, keys::config(), credentials(7));
    world.run_for(secs(2));
    assert_carries(&mut world, 0);
}

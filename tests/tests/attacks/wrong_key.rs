// SPDX-License-Identifier: BSD-2-Clause
//! Ends that have another's key.

use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::tunnel::peer::config::ClientCredentials;
use mlvpn_core::words::drops::DropReason;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::secs;

#[test]
fn a_client_nobody_knows_gets_no_answer() {
    let mut world: World = World::one(80, 1);
    world.restart_client(0, keys::config(), keys::credentials(9));
    world.run_for(secs(20));
    assert!(!world.clients[0].end.peer.is_up());
    assert!(world.server.claims > 0);
    assert_eq!((world.server.answers, world.bytes.1), (0, 0));
}

#[test]
fn a_client_with_another_servers_key_gets_no_answer_and_costs_no_scalar_multiplication() {
    let mut world: World = World::one(81, 1);
    let (own, server) = (keys::pair(0), *keys::pair(400).public_key());
    let credentials = ClientCredentials::Keys { own, server, secret: SharedSecret::none() };
    world.restart_client(0, keys::config(), credentials);
    world.run_for(secs(20));
    assert!(!world.clients[0].end.peer.is_up());
    assert_eq!((world.server.claims, world.bytes.1), (0, 0));
    assert!(world.server.drops.of(DropReason::Unauthentic) > 0);
}

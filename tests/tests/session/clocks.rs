// SPDX-License-Identifier: BSD-2-Clause
//! Clocks that show other times: nothing compares those of two machines, and each only moves forward.

use mlvpn_core::words::time::Duration;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{assert_carries, secs};

const YEAR: u64 = 365 * 24 * 3_600;

fn world(seed: u64, client: Duration, server: Duration) -> World {
    let mut world: World = World::empty(seed);
    world.server_epoch = server;
    world.add_client(0, keys::config(), keys::config());
    world.clients[0].epoch = client;
    // Links are opened only now, by the clock that counts.
    for link in 0..2 {
        world.clients[0].wires.push(mlvpn_tests::session::wire::Wire::new(0, link));
        world.open(0, link);
    }
    world
}

#[test]
fn ends_whose_clocks_begin_anywhere_connect_and_renew_their_keys() {
    let times = [Duration::ZERO, secs(1), secs(50 * YEAR), Duration::from_micros(1 << 62)];
    for client in times {
        for server in times {
            let mut world = world(90, client, server);
            world.run_for(secs(3));
            assert_carries(&mut world, 0);
            world.run_for(secs(125));
            assert_carries(&mut world, 100);
            assert_eq!(world.server.claims, 2, "client at {client:?}, server at {server:?}");
        }
    }
}

#[test]
fn a_clock_that_leaps_by_years_costs_a_moment_and_no_more() {
    for (client, server) in [(30 * YEAR, 0), (0, 30 * YEAR)] {
        let mut world = world(91, Duration::ZERO, Duration::ZERO);
        world.run_for(secs(3));
        assert_carries(&mut world, 0);
        // As a clock does that counts while the machine sleeps.
        world.clients[0].epoch = secs(client);
        world.server_epoch = secs(server);
        world.touch(super::CLIENT);
        world.touch(super::SERVER);
        world.run_for(secs(10));
        assert_carries(&mut world, 100);
    }
}

#[test]
fn a_restart_sets_a_clock_back_to_1970_and_the_session_comes_back() {
    let mut world = world(92, secs(50 * YEAR), secs(50 * YEAR));
    world.run_for(secs(3));
    assert_carries(&mut world, 0);
    world.clients[0].epoch = Duration::ZERO;
    world.restart_client(0, keys::config(), keys::credentials(0));
    world.run_for(secs(2));
    assert_carries(&mut world, 100);
}

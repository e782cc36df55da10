// SPDX-License-Identifier: BSD-2-Clause
//! Ends that die without a word and start anew.

use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{assert_carries, millis, secs};

#[test]
fn a_client_that_starts_anew_is_back_within_a_second() {
    let mut world: World = World::up(40, 2);
    assert_carries(&mut world, 0);
    world.restart_client(0, keys::config(), keys::credentials(0));
    world.run_for(millis(500));
    assert_carries(&mut world, 10);
    world.run_for(secs(200));
    assert_carries(&mut world, 100);
}

#[test]
fn a_client_comes_back_to_a_server_that_started_anew_within_six_seconds() {
    let mut world: World = World::up(41, 2);
    assert_carries(&mut world, 0);
    world.restart_server(&keys::config());
    world.run_for(secs(6));
    assert_carries(&mut world, 10);
    world.run_for(secs(200));
    assert_carries(&mut world, 100);
}

#[test]
fn an_idle_client_finds_that_its_server_started_anew_with_its_next_probe() {
    let mut world: World = World::up(42, 2);
    world.run_for(secs(100));
    world.restart_server(&keys::config());
    world.run_for(secs(35));
    assert_carries(&mut world, 10);
}

#[test]
fn both_ends_start_anew() {
    let mut world: World = World::up(43, 2);
    assert_carries(&mut world, 5_000);
    world.restart_server(&keys::config());
    world.restart_client(0, keys::config(), keys::credentials(0));
    world.run_for(secs(1));
    assert_carries(&mut world, 10);
}

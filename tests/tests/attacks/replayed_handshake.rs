// SPDX-License-Identifier: BSD-2-Clause
//! A recorded initiation comes again: while its session lives, after the server started anew, and in masses.

use mlvpn_core::words::event::Event;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::{Flight, World};

use super::{CLIENT, SERVER, assert_carries, attacker, millis, secs};

fn handshake(seed: u64) -> (World, Vec<Flight>) {
    let mut world: World = World::one(seed, 2);
    world.run_for(secs(3));
    let recording = world.sent.iter().filter(|flight| flight.bytes[0] < 0xc0).cloned().collect();
    for who in [CLIENT, SERVER] {
        world.end(who).events.clear();
    }
    (world, recording)
}

#[test]
fn a_living_session_is_not_displaced() {
    let (mut world, recording) = handshake(51);
    for round in 0..20 {
        for flight in &recording {
            if flight.is_up {
                let answer = world.inject_up(attacker(), &flight.bytes).expect("it opens, so it is answered");
                assert!(answer.len() <= flight.bytes.len());
                // The replayer sends the answer to the client, too.
                world.inject_down((0, 0), attacker(), &answer);
            } else {
                world.inject_down((0, 0), flight.from, &flight.bytes);
            }
        }
        assert_carries(&mut world, round * 100);
    }
    for who in [CLIENT, SERVER] {
        assert!(!world.end(who).take_events().contains(&Event::NewSession), "{who:?}");
    }
}

#[test]
fn after_a_restart_of_the_server_replays_neither_take_the_place_of_the_client_nor_carry_anything() {
    let (mut world, recording) = handshake(52);
    world.stream(CLIENT, 0..20, 500, millis(1));
    let data: Vec<_> = world.sent.iter().filter(|flight| flight.is_up && flight.bytes[0] >= 0xc0).cloned().collect();
    world.restart_server(&keys::config());
    for flight in recording.iter().filter(|flight| flight.is_up) {
        world.inject_up(attacker(), &flight.bytes);
    }
    for flight in &data {
        world.inject_up(attacker(), &flight.bytes);
    }
    assert!(!world.server.ends[0].peer.is_up());
    assert!(world.server.ends[0].delivered.is_empty());
    for _ in 0..70 {
        for flight in recording.iter().filter(|flight| flight.is_up) {
            world.inject_up(attacker(), &flight.bytes);
        }
        world.run_for(millis(100));
    }
    assert_carries(&mut world, 100);
}

#[test]
fn repeating_one_recording_for_ever_keeps_nobody_from_new_keys() {
    let (mut world, recording) = handshake(53);
    let initiation = recording.iter().find(|flight| flight.is_up).unwrap();
    for _ in 0..1_400 {
        world.stream_both(0..1, 200, millis(100));
        world.inject_up(attacker(), &initiation.bytes);
    }
    assert!(world.end(SERVER).take_events().contains(&Event::NewSession));
    assert_carries(&mut world, 0);
}

/// How long new keys take to be made, from a second before they are due, while old recordings come from the client's own
/// addresses or not.
fn time_to_new_keys(seed: u64, replays: bool) -> Duration {
    let (mut world, mut recording) = handshake(seed);
    for _ in 0..5 {
        world.restart_client(0, keys::config(), keys::credentials(0));
        world.run_for(secs(1));
    }
    recording.extend(world.sent.iter().filter(|flight| flight.bytes[0] == 0x80).cloned());
    let initiations: Vec<_> = recording.into_iter().filter(|flight| flight.is_up).collect();
    assert!(initiations.len() > 5);
    world.records = false;
    world.clients[0].wires.iter_mut().for_each(|wire| wire.delay = millis(60));
    world.stream_both(0..1_100, 200, millis(100));
    world.end(SERVER).events.clear();
    let sources: Vec<_> = world.clients[0].wires.iter().map(|wire| wire.client).collect();
    let begun = world.now();
    let mut round = 0;
    while !world.end(SERVER).events.iter().any(|(_, event)| *event == Event::NewSession) {
        if round % 20 == 0 {
            world.stream_both(0..1, 200, millis(1));
        }
        if replays {
            world.inject_up(sources[round % sources.len()], &initiations[round % initiations.len()].bytes);
        }
        // Slow enough that no cookie is demanded for the mass of them.
        world.run_for(millis(11));
        round += 1;
        assert!(world.now().since(begun) < secs(200), "seed {seed}: no new keys");
    }
    let taken = world.now().since(begun);
    assert_carries(&mut world, 5_000);
    taken
}

#[test]
fn recordings_from_the_clients_own_address_delay_new_keys_by_one_round_trip() {
    for seed in 0..5 {
        let (calm, disturbed) = (time_to_new_keys(560 + seed, false), time_to_new_keys(560 + seed, true));
        println!("seed {}: new keys after {calm:?}, with replays after {disturbed:?}", 560 + seed);
        // A round trip of 120 ms for the cookie, and what the test's own steps take.
        assert!(disturbed < calm + millis(200), "{disturbed:?} instead of {calm:?}");
    }
}

#[test]
fn many_recordings_from_elsewhere_keep_nobody_from_new_keys() {
    let (mut world, mut recording) = handshake(54);
    for _ in 0..5 {
        world.restart_client(0, keys::config(), keys::credentials(0));
        world.run_for(secs(1));
    }
    recording.extend(world.sent.iter().filter(|flight| flight.bytes[0] == 0x80).cloned());
    let initiations: Vec<_> = recording.into_iter().filter(|flight| flight.is_up).collect();
    assert!(initiations.len() > 5);
    world.records = false;
    // Several replays fit between an answer and its use.
    world.clients[0].wires.iter_mut().for_each(|wire| wire.delay = millis(60));
    world.run_for(secs(1));
    world.end(SERVER).events.clear();
    for round in 0..13_000 {
        if round % 10 == 0 {
            world.stream_both(0..1, 200, millis(1));
        }
        // Faster than a round trip, and slow enough that no cookie is demanded.
        world.inject_up(attacker(), &initiations[round % initiations.len()].bytes);
        world.run_for(millis(11));
    }
    assert!(world.end(SERVER).take_events().contains(&Event::NewSession));
    assert_carries(&mut world, 0);
}

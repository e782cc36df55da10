// SPDX-License-Identifier: BSD-2-Clause
//! Masses of initiations: forged ones, and ones that open.

use mlvpn_core::memory::two::{MAX_INITIATION, MessageKind};
use mlvpn_core::state::handshake::{Credentials, Initiator};
use mlvpn_core::state::identity::{Ephemeral, SharedSecret};
use mlvpn_core::words::ids::SessionIndex;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::server::UNGUARDED;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, attacker, millis, secs};

/// Initiations of strangers who know the server's public key.
fn initiations(count: u64) -> Vec<Vec<u8>> {
    let (own, server, secret) = (keys::pair(500), keys::pair(keys::SERVER), SharedSecret::none());
    let one = |number: u64| {
        let credentials = Credentials::Keys { own: &own, peer: server.public_key(), secret: &secret };
        let mut out = [0; MAX_INITIATION];
        let ephemeral = Ephemeral::from_random(keys::seed(number).into());
        let index = SessionIndex::new(1).unwrap();
        let (_, len) = Initiator::new(credentials, index, keys::PLAIN, ephemeral, &mut out).expect("sound");
        out[..len].to_vec()
    };
    (0..count).map(one).collect()
}

#[test]
fn a_flood_costs_bounded_work_and_takes_nothing_from_an_established_session() {
    let mut world: World = World::up(67, 2);
    world.records = false;
    let flood = initiations(50);
    let (started, before) = (world.now(), world.server.claims);
    let mut knocks = 0_u64;
    for number in 0..1_000 {
        for initiation in flood.iter().take(10) {
            if let Some(answer) = world.inject_up(attacker(), initiation) {
                assert!(answer.len() <= initiation.len());
            }
            knocks += 1;
        }
        world.stream_both(number..number + 1, 1_000, millis(1));
    }
    world.run_for(millis(100));
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).numbers(), (0..1_000).collect::<Vec<_>>(), "{who:?}: not one packet is lost");
    }
    let spans = world.now().since(started).millis() / 1_000 + 2;
    let read = world.server.claims - before;
    println!("{knocks} initiations in a second: {read} read, {} scalar multiplications", read * 2);
    assert!(read <= u64::from(UNGUARDED) * spans, "{read}");
}

#[test]
fn a_genuine_client_gets_in_with_a_cookie_while_the_flood_goes_on() {
    for (seed, loss) in [(68, 0), (69, 300), (70, 300), (71, 300)] {
        let mut world: World = World::one(seed, 2);
        world.clients[0].wires.iter_mut().for_each(|wire| wire.loss = loss);
        let flood = initiations(u64::from(UNGUARDED));
        let mut cookies = 0;
        for _ in 0..200 {
            for initiation in &flood {
                let answer = world.inject_up(attacker(), initiation);
                cookies += u64::from(answer.is_some_and(|a| MessageKind::of(a[0]) == Some(MessageKind::Cookie)));
            }
            world.run_for(millis(50));
            if world.clients[0].end.peer.is_up() {
                break;
            }
        }
        assert!(cookies > 0);
        assert!(world.clients[0].end.peer.is_up(), "seed {seed}: no way in after ten seconds");
    }
}

#[test]
fn a_stranger_with_a_true_cookie_cannot_have_more_read_than_one_address_may() {
    let mut world: World = World::up(72, 1);
    let (own, server, secret) = (keys::pair(500), keys::pair(keys::SERVER), SharedSecret::none());
    let credentials = Credentials::Keys { own: &own, peer: server.public_key(), secret: &secret };
    for initiation in &initiations(u64::from(UNGUARDED)) {
        world.inject_up(attacker(), initiation);
    }
    let mut out = [0; MAX_INITIATION];
    let ephemeral = Ephemeral::from_random(keys::seed(9).into());
    let index = SessionIndex::new(1).unwrap();
    let (initiator, len) = Initiator::new(credentials, index, keys::PLAIN, ephemeral, &mut out).expect("sound");
    let answer = world.inject_up(attacker(), &out[..len]).expect("a demand for a cookie");
    let cookie = initiator.read_cookie(&answer).expect("a cookie");
    let mut jar = mlvpn_core::state::cookie::CookieJar::default();
    jar.put(cookie, world.now());
    jar.stamp(&mut out[..len], world.now());
    let before = world.server.claims;
    for _ in 0..1_000 {
        world.inject_up(attacker(), &out[..len]);
    }
    let read = world.server.claims - before;
    println!("one address with a cookie: {read} of 1000 read");
    assert!((1..=20).contains(&read), "{read}");
    world.run_for(secs(2));
    world.inject_up(attacker(), &out[..len]);
    assert_eq!(world.server.claims, before + read + 1, "it may come again later");
}

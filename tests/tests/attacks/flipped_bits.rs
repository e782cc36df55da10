// SPDX-License-Identifier: BSD-2-Clause
//! Every bit of every kind of message is turned over, one at a time.

use mlvpn_core::memory::two::{Initiation, MessageKind, Response};
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis};

fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

#[test]
fn no_flipped_bit_of_a_data_packet_goes_unnoticed() {
    let mut world: World = World::up(55, 1);
    // Genuine packets that never arrived: data, and control frames.
    world.filter = Box::new(|_| false);
    world.stream_both(0..1, 60, millis(1));
    world.run_for(millis(300));
    let lost: Vec<_> = world.sent.drain(..).collect();
    assert!(lost.iter().any(|flight| flight.bytes[0] & 1 == 1) && lost.iter().any(|flight| flight.bytes[0] & 1 == 0));
    // Both note that nothing arrives.
    world.touch(CLIENT);
    world.touch(SERVER);
    let before = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
    for flight in &lost {
        for (bit, flipped) in flips(&flight.bytes) {
            if flight.is_up {
                // A data packet as long as an initiation becomes a strange one, which is refused.
                let answer = world.inject_up(flight.from, &flipped);
                let kind = answer.as_ref().map(|answer| MessageKind::of(answer[0]));
                assert!(matches!(kind, None | Some(Some(MessageKind::Refusal))), "{answer:02x?}");
                assert!(kind.is_none() || MessageKind::of(flipped[0]) == Some(MessageKind::Initiation));
            } else {
                world.inject_down((0, 0), flight.from, &flipped);
            }
            let after = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
            assert_eq!(after, before, "bit {bit} of {:02x?}", flight.bytes);
        }
    }
    world.filter = Box::new(|_| true);
    assert_carries(&mut world, 10);
}

#[test]
fn no_flipped_bit_of_an_initiation_makes_a_session() {
    let mut world: World = World::one(56, 1);
    world.filter = Box::new(|_| false);
    world.run_for(millis(1));
    let initiation = world.sent[0].clone();
    assert!(Initiation::parse(&initiation.bytes).is_ok());
    for (bit, flipped) in flips(&initiation.bytes) {
        let answer = world.inject_up(initiation.from, &flipped);
        let is_mac2 = bit / 8 >= initiation.bytes.len() - 16;
        if let Some(answer) = answer {
            let kind = MessageKind::of(answer[0]);
            // The cookie is not demanded here, so what stands in its place does not matter; what does not open is at
            // the most refused.
            assert!(kind == Some(MessageKind::Refusal) || is_mac2, "bit {bit}");
            assert!(answer.len() <= flipped.len());
        }
        world.run_for(millis(20));
    }
    assert!(!world.server.ends[0].peer.is_up());
}

#[test]
fn no_flipped_bit_of_a_response_makes_a_session_and_the_genuine_one_still_does() {
    let mut world: World = World::one(57, 1);
    world.filter = Box::new(|flight| flight.is_up);
    world.run_for(millis(100));
    let response = world.sent.iter().find(|flight| !flight.is_up).cloned().expect("an answer");
    assert!(Response::parse(&response.bytes).is_ok());
    for (bit, flipped) in flips(&response.bytes) {
        world.inject_down((0, 0), response.from, &flipped);
        assert_eq!(world.clients[0].end.peer.sessions().count(), 0, "bit {bit}");
    }
    world.filter = Box::new(|_| true);
    world.inject_down((0, 0), response.from, &response.bytes);
    assert_eq!(world.clients[0].end.peer.sessions().count(), 1);
    assert_carries(&mut world, 0);
}

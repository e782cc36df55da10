// SPDX-License-Identifier: BSD-2-Clause
//! Every message is cut at every length, and made longer.

use mlvpn_core::memory::two::MessageKind;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis};

#[test]
fn a_message_of_another_length_does_nothing() {
    let mut world: World = World::one(58, 1);
    world.filter = Box::new(|flight| flight.is_up);
    world.run_for(millis(20));
    world.filter = Box::new(|_| true);
    let handshake: Vec<_> = world.sent.clone();
    assert_eq!(handshake.len(), 2);
    let before = super::state(&mut world, CLIENT);
    for len in 0..handshake[1].bytes.len() + 20 {
        let mut bytes = handshake[1].bytes.clone();
        bytes.resize(len, 0);
        if len != handshake[1].bytes.len() {
            world.inject_down((0, 0), handshake[1].from, &bytes);
        }
    }
    assert_eq!(super::state(&mut world, CLIENT), before);
    world.run_for(millis(2_000));
    assert_carries(&mut world, 0);
    world.sent.clear();
    world.filter = Box::new(|_| false);
    world.stream_both(100..101, 60, millis(1));
    world.run_for(millis(300));
    let lost: Vec<_> = handshake[..1].iter().cloned().chain(world.sent.drain(..)).collect();
    let before = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
    for flight in &lost {
        for len in (0..flight.bytes.len() + 20).filter(|len| *len != flight.bytes.len()) {
            let mut bytes = flight.bytes.clone();
            bytes.resize(len, 0);
            if flight.is_up {
                let answer = world.inject_up(flight.from, &bytes);
                let refused = |answer: &Vec<u8>| MessageKind::of(answer[0]) == Some(MessageKind::Refusal);
                assert!(answer.is_none_or(|answer| refused(&answer) && answer.len() <= len));
            } else {
                world.inject_down((0, 0), flight.from, &bytes);
            }
        }
    }
    assert_eq!((super::state(&mut world, CLIENT), super::state(&mut world, SERVER)), before);
    world.filter = Box::new(|_| true);
    assert_carries(&mut world, 200);
}

// SPDX-License-Identifier: BSD-2-Clause
//! What an end sent comes back to it.

use mlvpn_core::memory::two::{DataHeader, MessageKind};
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, millis, recorded};

#[test]
fn an_end_accepts_nothing_that_it_sealed_itself() {
    let mut world: World = World::up(54, 1);
    world.stream_both(0..20, 500, millis(1));
    world.run_for(millis(100));
    let (up, down) = (recorded(&world, true), recorded(&world, false));
    let ours = world.clients[0].end.peer.sessions().next().expect("a session");
    let theirs = world.server.ends[0].peer.sessions().next().expect("a session");
    for who in [CLIENT, SERVER] {
        world.end(who).delivered.clear();
    }
    let before = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
    // As it is, and with the name under which the end would look for it.
    for (flights, name) in [(&up, ours), (&down, theirs)] {
        for flight in flights.iter().filter(|flight| MessageKind::of(flight.bytes[0]) == Some(MessageKind::Data)) {
            let mut renamed = flight.bytes.clone();
            renamed[1..4].copy_from_slice(&name.to_bytes());
            assert_eq!(DataHeader::parse(&renamed).unwrap().receiver, name);
            for bytes in [&flight.bytes, &renamed] {
                if flight.is_up {
                    world.inject_down((0, 0), flight.from, bytes);
                } else {
                    world.inject_up(flight.to, bytes);
                }
            }
        }
    }
    assert_eq!((super::state(&mut world, CLIENT), super::state(&mut world, SERVER)), before);
    assert_carries(&mut world, 100);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Packets that filters chose a link for.

use mlvpn_core::memory::two::DATA_OVERHEAD;
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::words::ids::LinkId;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::{Who, World};

use super::{CLIENT, FIRST, SECOND, SERVER, millis, secs};

/// Bytes of packets that filters are for, and of others: datagrams are told apart by these.
const FILTERED: usize = 700;
const OTHER: usize = 500;

fn send(world: &mut World, who: Who, numbers: std::ops::Range<u64>, links: &[LinkId]) {
    for number in numbers {
        assert!(world.send_over(who, &inner::ipv6(FILTERED, number), links));
        assert!(world.send(who, &inner::ipv4(OTHER, 1_000 + number)));
        world.run_for(millis(1));
    }
}

/// How many packets of `len` bytes went over each link.
fn carried(world: &World, is_up: bool, len: usize) -> [usize; 2] {
    [0, 1].map(|link| {
        let is_it = |at: Option<(u16, u8)>| at == Some((0, link));
        let flights = world.sent.iter().filter(|flight| flight.is_up == is_up && is_it(flight.at));
        flights.filter(|flight| flight.bytes.len() == len + DATA_OVERHEAD).count()
    })
}

#[test]
fn filtered_packets_take_their_link_however_slow_it_is() {
    let mut world: World = World::up(41, 2);
    world.clients[0].wires[1].delay = millis(60);
    world.run_for(secs(5));
    world.sent.clear();
    send(&mut world, CLIENT, 0..60, &[SECOND]);
    world.run_for(secs(1));
    assert_eq!(carried(&world, true, FILTERED), [0, 60]);
    assert!(carried(&world, true, OTHER)[0] >= 30, "what no filter chose takes the quicker link");
    assert_eq!(world.server.ends[0].numbers().len(), 120);
    world.assert_no_slot_is_lost();
}

#[test]
fn filtered_packets_of_a_full_link_let_the_others_pass() {
    let mut world: World = World::up(42, 2);
    // 700 kB/s are to go through 200, and the rest finds 10,000.
    for (link, rate_bytes_per_sec) in [(FIRST, 10_000_000), (SECOND, 200_000)] {
        let settings = LinkSettings { rate_bytes_per_sec, ..LinkSettings::default() };
        assert!(world.clients[0].end.peer.set_link(link, settings));
    }
    world.run_for(secs(1));
    world.sent.clear();
    send(&mut world, CLIENT, 0..100, &[SECOND]);
    world.run_for(millis(20));
    let [elsewhere, there] = carried(&world, true, FILTERED);
    assert_eq!(elsewhere, 0);
    assert!((10..90).contains(&there), "{there}");
    assert_eq!(carried(&world, true, OTHER).iter().sum::<usize>(), 100);
    world.run_for(secs(5));
    let arrived = world.server.ends[0].numbers();
    assert_eq!(arrived.iter().filter(|number| **number >= 1_000).count(), 100);
    world.assert_no_slot_is_lost();
}

#[test]
fn a_link_that_is_down_leaves_its_packets_to_the_others() {
    let mut world: World = World::up(43, 2);
    world.clients[0].end.peer.close_link(SECOND);
    world.sent.clear();
    send(&mut world, CLIENT, 0..20, &[SECOND]);
    world.run_for(secs(1));
    assert_eq!(carried(&world, true, FILTERED), [20, 0]);
    assert_eq!(world.server.ends[0].numbers().len(), 40);
}

/// A server's links have names of sockets only.
#[test]
fn a_server_finds_the_link_that_a_socket_leads_to() {
    let mut world: World = World::up(44, 2);
    assert_eq!(world.server.ends[0].peer.link_on(0), Some(FIRST), "all came to the one socket there is");
    assert_eq!(world.server.ends[0].peer.link_on(1), None);
    world.sent.clear();
    send(&mut world, SERVER, 0..20, &[SECOND]);
    world.run_for(secs(1));
    assert_eq!(carried(&world, false, FILTERED), [0, 20]);
    assert_eq!(world.clients[0].end.numbers().len(), 40);
}

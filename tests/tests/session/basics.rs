// SPDX-License-Identifier: BSD-2-Clause
//! A session comes up, says so, carries packets, and costs little when it is idle.

use mlvpn_core::memory::two::DATA_OVERHEAD;
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::words::event::Event;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::World;

use super::{CLIENT, FIRST, SECOND, SERVER, assert_carries, millis, secs};

#[test]
fn a_session_comes_up_over_two_links_within_a_few_round_trips_and_says_so() {
    let mut world: World = World::one(1, 2);
    world.run_for(millis(100));
    for who in [CLIENT, SERVER] {
        let end = world.end(who);
        assert!(end.peer.is_up(), "{who:?}");
        let events = end.take_events();
        assert_eq!(events[0], Event::NewSession, "{who:?}: {events:?}");
        for expected in [Event::LinkUp(FIRST), Event::LinkUp(SECOND), Event::TunnelUp] {
            assert_eq!(events.iter().filter(|event| **event == expected).count(), 1, "{who:?}: {events:?}");
        }
    }
    assert_carries(&mut world, 0);
    assert_eq!(world.clients[0].end.peer.drops().total(), 0);
    assert_eq!(world.server.ends[0].peer.drops().total(), 0);
}

#[test]
fn both_links_carry_packets_and_each_costs_thirty_bytes() {
    let mut world: World = World::up(2, 2);
    // A link is used for what the quicker ones cannot carry: 560 kB/s do not fit through 400.
    for link in [FIRST, SECOND] {
        let settings = LinkSettings { rate_bytes_per_sec: 400_000, ..LinkSettings::default() };
        assert!(world.clients[0].end.peer.set_link(link, settings));
    }
    world.stream(CLIENT, 0..100, 500, millis(1));
    world.run_for(millis(200));
    assert_eq!(world.server.ends[0].numbers(), (0..100).collect::<Vec<_>>());
    let mut total = 0;
    for link in 0..2 {
        let carried = |flight: &&mlvpn_tests::session::world::Flight| {
            flight.is_up && flight.at == Some((0, link)) && flight.bytes.len() == 500 + DATA_OVERHEAD
        };
        let count = world.sent.iter().filter(carried).count();
        assert!(count >= 20, "link {link} carried {count}");
        total += count;
    }
    assert_eq!(total, 100);
    assert_eq!(DATA_OVERHEAD, 30);
}

#[test]
fn the_largest_inner_packet_of_ethernet_paths_has_1442_bytes_and_arrives() {
    let mut world: World = World::up(3, 2);
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).peer.mtu(), 1442, "{who:?}");
    }
    world.stream_both(0..20, 1442, millis(1));
    world.run_for(millis(100));
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).numbers(), (0..20).collect::<Vec<_>>());
    }
    assert!(world.send(CLIENT, &inner::ipv4(1443, 1)));
    world.run_for(millis(100));
    assert!(world.server.ends[0].delivered.is_empty());
    let told = world.clients[0].end.delivered.pop().expect("the sender is told").1;
    assert_eq!((told[9], told[20], told[21]), (1, 3, 4), "ICMP: fragmentation needed");
    assert_eq!(u16::from_be_bytes([told[26], told[27]]), 1442);
}

#[test]
fn an_idle_link_costs_less_than_twenty_kilobytes_an_hour() {
    for links in [1, 2] {
        let mut world: World = World::up(4, links);
        world.run_for(secs(60));
        world.bytes = (0, 0);
        world.run_for(secs(3_600));
        let (up, down) = world.bytes;
        let each = (up + down) / u64::from(links);
        println!("idle, {links} links: {up} bytes up, {down} bytes down; {each} bytes per link and hour");
        assert!(each < 20_000, "{each}");
        assert!(world.clients[0].end.peer.is_up() && world.server.ends[0].peer.is_up());
        assert_eq!(world.server.ends[0].take_events(), []);
        assert_eq!(world.clients[0].end.take_events(), []);
        assert_carries(&mut world, 0);
    }
}

#[test]
fn handshakes_and_first_links_survive_heavy_loss() {
    for seed in 0..20 {
        let mut world: World = World::one(seed, 2);
        for wire in &mut world.clients[0].wires {
            wire.loss = 300;
        }
        world.run_for(secs(15));
        assert!(world.clients[0].end.peer.is_up() && world.server.ends[0].peer.is_up(), "seed {seed}");
    }
}

#[test]
fn a_session_comes_up_over_satellites() {
    let mut world: World = World::one(6, 1);
    world.clients[0].wires[0].delay = millis(800);
    world.run_for(secs(20));
    assert!(world.clients[0].end.peer.is_up() && world.server.ends[0].peer.is_up());
    let before = world.server.answers;
    world.run_for(secs(60));
    assert_eq!(world.server.answers, before, "it stays up");
}

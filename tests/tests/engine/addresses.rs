// SPDX-License-Identifier: BSD-2-Clause
//! The peer's address follows fresh authentic packets, and nothing else.

use std::net::SocketAddr;

use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::Config;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::event::Event;
use mlvpn_tests::inner;
use mlvpn_tests::pair::{Flight, Pair};

use super::{FIRST, hasty, millis, numbers, secs};

const ELSEWHERE: &str = "203.0.113.66:6666";

fn elsewhere() -> SocketAddr {
    ELSEWHERE.parse().unwrap()
}

/// The last datagram a role sent on the first link that `wanted` likes.
fn last(pair: &Pair, sender: Role, wanted: impl Fn(&Flight) -> bool) -> Flight {
    let of_link = |flight: &&Flight| flight.sender == sender && flight.link == FIRST && wanted(flight);
    pair.sent.iter().rev().find(of_link).expect("such a datagram was sent").clone()
}

fn remote(pair: &Pair) -> Option<SocketAddr> {
    pair.server.tunnel.link(FIRST).unwrap().remote()
}

#[test]
fn a_client_whose_address_changes_is_followed_with_its_next_packet() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.paths[0].client = elsewhere();
    pair.stream(Role::Client, 0..2, 500, millis(1));
    pair.run_for(millis(20));
    assert_eq!(pair.server.take_events(), [Event::PeerMoved(FIRST, elsewhere())]);
    pair.stream(Role::Server, 0..10, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Client), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_replay_from_another_address_moves_nothing_and_is_counted() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    pair.stream(Role::Client, 0..4, 500, millis(1));
    pair.run_for(millis(50));
    let home = remote(&pair);
    let recording: Vec<_> = pair.sent.iter().filter(|flight| flight.sender == Role::Client).cloned().collect();
    let (state, drops) = (pair.server.state(), *pair.server.tunnel.drops());
    for flight in &recording {
        pair.inject(Role::Server, flight.link, elsewhere(), &flight.bytes);
    }
    assert_eq!(pair.server.state(), state);
    assert_eq!(remote(&pair), home);
    let replayed = pair.server.tunnel.drops().of(DropReason::Replayed) - drops.of(DropReason::Replayed);
    assert_eq!(replayed, recording.len() as u64);
}

#[test]
fn a_replay_keeps_no_dead_link_alive() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    let recording: Vec<_> = pair.sent.iter().filter(|flight| flight.sender == Role::Client).cloned().collect();
    pair.paths.iter_mut().for_each(|path| path.is_open = false);
    for _ in 0..60 {
        pair.run_for(millis(100));
        for flight in &recording {
            pair.inject(Role::Server, flight.link, flight.from, &flight.bytes);
        }
    }
    assert!(!pair.server.tunnel.is_up());
    assert_eq!(pair.server.take_events().last(), Some(&Event::TunnelDown));
}

#[test]
fn a_fresh_packet_carried_off_and_played_elsewhere_costs_the_peer_one_packet() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    // The attacker holds back a datagram and plays it from its own address: authentic and fresh, so the peer moves.
    pair.paths[0].is_open = false;
    pair.stream(Role::Client, 0..2, 500, millis(1));
    let stolen = last(&pair, Role::Client, |flight| flight.bytes.len() > 200);
    pair.paths[0].is_open = true;
    pair.inject(Role::Server, FIRST, elsewhere(), &stolen.bytes);
    assert_eq!(remote(&pair), Some(elsewhere()));
    // But the peer's next packet moves it back, and the stolen one never counts again.
    pair.stream(Role::Client, 2..4, 500, millis(1));
    pair.run_for(millis(50));
    assert_eq!(remote(&pair), Some(pair.paths[0].client));
    pair.inject(Role::Server, FIRST, elsewhere(), &stolen.bytes);
    assert_eq!(remote(&pair), Some(pair.paths[0].client));
}

fn cleartext(config: &mut Config) {
    config.cleartext_data = true;
}

#[test]
fn forged_cleartext_data_from_a_wrong_address_is_dropped_and_changes_nothing() {
    let mut pair: Pair = Pair::up(hasty(), cleartext);
    pair.stream(Role::Client, 0..4, 500, millis(1));
    pair.run_for(millis(50));
    let mut forged = last(&pair, Role::Client, |flight| flight.bytes.len() > 200).bytes;
    forged[12..20].copy_from_slice(&1_000u64.to_be_bytes());
    forged[20..28].copy_from_slice(&4u64.to_be_bytes());
    let state = pair.server.state();
    pair.inject(Role::Server, FIRST, elsewhere(), &forged);
    assert_eq!(pair.server.state(), state);
    assert_eq!(pair.server.tunnel.drops().of(DropReason::WrongAddress), 1);
    assert_eq!(numbers(&mut pair, Role::Server), [0, 1, 2, 3]);
}

#[test]
fn forged_cleartext_data_from_the_right_address_moves_neither_replay_window_nor_liveness() {
    let mut pair: Pair = Pair::up(hasty(), cleartext);
    pair.stream(Role::Client, 0..4, 500, millis(1));
    pair.run_for(millis(50));
    let template = last(&pair, Role::Client, |flight| flight.bytes.len() > 200);
    let heard = pair.server.tunnel.link(FIRST).unwrap().last_heard();
    let mut forged = template.bytes.clone();
    forged[12..20].copy_from_slice(&u64::MAX.to_be_bytes());
    forged[20..28].copy_from_slice(&4u64.to_be_bytes());
    pair.inject(Role::Server, FIRST, template.from, &forged);
    assert_eq!(pair.server.tunnel.link(FIRST).unwrap().last_heard(), heard);
    // The peer's own sealed packets, with lower numbers, are as fresh as before.
    let replayed = pair.server.tunnel.drops().of(DropReason::Replayed);
    pair.run_for(secs(3));
    assert!(pair.server.tunnel.link(FIRST).unwrap().last_heard() > heard);
    assert_eq!(pair.server.tunnel.drops().of(DropReason::Replayed), replayed);
    // Forged data alone keeps no link up.
    pair.paths.iter_mut().for_each(|path| path.is_open = false);
    for order in 5..65u64 {
        forged[20..28].copy_from_slice(&order.to_be_bytes());
        pair.inject(Role::Server, FIRST, template.from, &forged);
        pair.run_for(millis(100));
    }
    assert!(!pair.server.tunnel.is_up());
}

#[test]
fn a_link_that_is_not_up_takes_no_data() {
    for change in [cleartext as fn(&mut Config), |_| {}] {
        let mut pair: Pair = Pair::up(hasty(), change);
        pair.run_for(millis(50));
        assert!(pair.client.send(&inner::ipv4(500, 1)));
        let now = pair.now();
        let datagram = pair.client.drain(now).remove(0);
        pair.server.tunnel.close_link(datagram.link);
        let from = pair.paths[datagram.link.index()].client;
        pair.server.tunnel.open_link(datagram.link, None, now);
        pair.inject(Role::Server, datagram.link, from, &datagram.bytes);
        assert_eq!(pair.server.tunnel.drops().of(DropReason::LinkNotUp), 1);
        pair.inject(Role::Server, mlvpn_core::words::ids::LinkId::new(2), from, &datagram.bytes);
        assert_eq!(pair.server.tunnel.drops().of(DropReason::LinkNotUp), 2);
        assert!(pair.server.delivered.is_empty());
        assert_eq!(pair.server.in_use(), 0);
    }
}

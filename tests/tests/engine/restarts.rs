// SPDX-License-Identifier: BSD-2-Clause
//! A peer that starts anew.

use mlvpn_core::state::link::{LinkSettings, Phase, Role};
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::event::{Event, Health};
use mlvpn_tests::end::config;
use mlvpn_tests::pair::Pair;

use super::{FIRST, SECOND, assert_no_slot_is_lost, millis, numbers, secs};

#[test]
fn a_client_that_starts_anew_is_taken_back_at_once_and_its_order_counts_anew() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.stream(Role::Client, 0..50, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Server), (0..50).collect::<Vec<_>>());
    pair.restart(Role::Client, config(Role::Client), 33);
    pair.run_for(millis(1_200));
    for end in [&pair.client, &pair.server] {
        assert!([FIRST, SECOND].iter().all(|link| end.tunnel.link(*link).unwrap().phase() == Phase::Up));
    }
    assert_eq!(pair.server.take_events(), [], "to the server the links never were down");
    pair.stream(Role::Client, 100..120, 500, millis(1));
    pair.stream(Role::Server, 200..220, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Server), (100..120).collect::<Vec<_>>());
    assert_eq!(numbers(&mut pair, Role::Client), (200..220).collect::<Vec<_>>());
    assert_no_slot_is_lost(&pair);
}

#[test]
fn a_client_comes_back_to_a_server_that_started_anew_long_before_its_timeout() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.stream(Role::Server, 0..50, 500, millis(1));
    pair.run_for(millis(100));
    numbers(&mut pair, Role::Client);
    pair.restart(Role::Server, config(Role::Server), 33);
    pair.run_for(millis(3_500));
    let events = pair.client.take_events();
    for link in [FIRST, SECOND] {
        assert!(events.contains(&Event::LinkHealth(link, Health::Silent)), "{events:?}");
        assert_eq!(events.last(), Some(&Event::LinkHealth(SECOND, Health::Good)), "{events:?}");
        assert_eq!(pair.server.tunnel.link(link).unwrap().phase(), Phase::Up);
    }
    // What the client still said in a flow the new server never saw begin.
    assert!(pair.server.tunnel.drops().of(DropReason::StaleFlow) > 0);
    pair.stream(Role::Server, 100..120, 500, millis(1));
    pair.stream(Role::Client, 200..220, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Client), (100..120).collect::<Vec<_>>());
    assert_eq!(numbers(&mut pair, Role::Server), (200..220).collect::<Vec<_>>());
    assert_no_slot_is_lost(&pair);
}

#[test]
fn a_recording_of_an_earlier_run_neither_takes_the_link_nor_is_delivered() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.stream(Role::Client, 0..20, 500, millis(1));
    let recording: Vec<_> = pair.sent.drain(..).filter(|flight| flight.sender == Role::Client).collect();
    pair.restart(Role::Client, config(Role::Client), 33);
    pair.restart(Role::Server, config(Role::Server), 34);
    pair.run_for(secs(3));
    let attacker = "203.0.113.66:6666".parse().unwrap();
    numbers(&mut pair, Role::Server);
    // The server never saw the earlier run's flow, so its first AUTH is fresh, but nothing lasts.
    for flight in &recording {
        pair.inject(Role::Server, flight.link, attacker, &flight.bytes);
        pair.run_for(millis(5));
    }
    pair.run_for(millis(1_100));
    for link in [FIRST, SECOND] {
        let expected = pair.paths[link.index()].client;
        assert_eq!(pair.server.tunnel.link(link).unwrap().remote(), Some(expected), "the living peer has it back");
    }
    pair.server.delivered.clear();
    for flight in &recording {
        pair.inject(Role::Server, flight.link, attacker, &flight.bytes);
    }
    assert!(pair.server.delivered.is_empty(), "the second replay finds every number seen");
    pair.stream(Role::Client, 100..120, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Server), (100..120).collect::<Vec<_>>());
}

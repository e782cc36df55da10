// SPDX-License-Identifier: BSD-2-Clause
//! The life of links: up, silent, down, back; tolerances; fallback.

use mlvpn_core::state::link::{LinkSettings, Phase, Role};
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::event::{DownCause, Event, Health};
use mlvpn_tests::inner;
use mlvpn_tests::pair::Pair;

use super::{FIRST, SECOND, hasty, millis, secs};

/// Data datagrams sent on each link since the last call, by their length: the links' own are short.
fn data_per_link(pair: &mut Pair) -> [usize; 2] {
    let mut count = [0; 2];
    for flight in pair.sent.drain(..).filter(|flight| flight.bytes.len() > 200) {
        count[flight.link.index()] += 1;
    }
    count
}

#[test]
fn both_ends_tell_each_link_and_the_tunnel_up_once() {
    let mut pair: Pair = Pair::new(LinkSettings::default(), |_| {});
    pair.run_for(millis(25));
    let (client, server) = (pair.client.take_events(), pair.server.take_events());
    for link in [FIRST, SECOND] {
        let path = pair.paths[link.index()];
        assert!(client.contains(&Event::PeerMoved(link, path.server)) && client.contains(&Event::LinkUp(link)));
        assert!(server.contains(&Event::PeerMoved(link, path.client)) && server.contains(&Event::LinkUp(link)));
    }
    assert_eq!(client.iter().chain(&server).filter(|event| **event == Event::TunnelUp).count(), 2);
    pair.run_for(secs(30));
    assert_eq!((pair.client.take_events(), pair.server.take_events()), (vec![], vec![]));
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.tunnel.drops().total(), 0);
        let rtt = end.tunnel.link(FIRST).unwrap().rtt().smoothed().unwrap();
        assert!(rtt >= millis(19) && rtt <= millis(21), "{rtt:?}");
        assert_eq!(end.tunnel.link(SECOND).unwrap().loss_percent(), 0);
    }
}

#[test]
fn a_server_that_is_not_there_is_asked_once_a_second() {
    let mut pair: Pair = Pair::new(LinkSettings::default(), |_| {});
    pair.paths[0].is_open = false;
    pair.sent.clear();
    pair.run_for(millis(10_500));
    let asked = pair.sent.iter().filter(|f| f.sender == Role::Client && f.link == FIRST).count();
    assert!((10..=11).contains(&asked), "{asked}");
    pair.paths[0].is_open = true;
    pair.run_for(millis(1_100));
    assert_eq!(pair.client.tunnel.link(FIRST).unwrap().phase(), Phase::Up);
}

#[test]
fn a_link_that_dies_turns_silent_leaves_the_aggregate_goes_down_and_comes_back() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    pair.paths[0].is_open = false;
    let (cut, heard) = (pair.now(), pair.client.tunnel.link(FIRST).unwrap().last_heard());
    pair.run_for(secs(20));
    let events: Vec<_> = pair.client.events.drain(..).collect();
    let rtt = millis(20);
    let [(silent_at, silent), (down_at, down)] = events[..] else { panic!("{events:?}") };
    assert_eq!(silent, Event::LinkHealth(FIRST, Health::Silent));
    let silence = silent_at.since(heard);
    assert!(silence >= secs(2) + rtt && silence <= secs(2) + rtt * 2 + millis(5), "{silence:?}");
    assert_eq!(down, Event::LinkDown(FIRST, DownCause::Timeout));
    // One keepalive may have been on its way when the link was cut.
    assert!(down_at.since(heard) >= secs(5) && down_at.since(cut) <= secs(5) + rtt, "{:?}", down_at.since(heard));
    assert_eq!(pair.client.tunnel.link(FIRST).unwrap().disconnects(), 1);
    pair.paths[0].is_open = true;
    pair.run_for(millis(1_100));
    assert_eq!(pair.client.take_events(), [Event::LinkUp(FIRST)]);
    assert!(pair.server.take_events().contains(&Event::LinkUp(FIRST)));
}

#[test]
fn data_leaves_a_silent_link_and_returns_when_it_speaks_again() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    pair.sent.clear();
    pair.stream(Role::Client, 0..20, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [10, 10]);
    pair.paths[0].is_open = false;
    pair.run_for(millis(2_200));
    pair.stream(Role::Client, 20..40, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [0, 20]);
    pair.paths[0].is_open = true;
    // A silent link asks every 250 ms.
    pair.run_for(millis(300));
    pair.client.events.retain(|(_, event)| *event == Event::LinkHealth(FIRST, Health::Good));
    assert_eq!(pair.client.events.len(), 1);
    pair.stream(Role::Client, 40..60, 500, millis(1));
    let [first, second] = data_per_link(&mut pair);
    assert!(first.abs_diff(second) <= 2, "{first} and {second}");
}

#[test]
fn the_last_link_is_used_though_it_is_silent() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    pair.paths.iter_mut().for_each(|path| path.is_open = false);
    pair.run_for(millis(2_200));
    pair.sent.clear();
    pair.stream(Role::Client, 0..10, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [5, 5]);
    pair.run_for(secs(5));
    assert_eq!(pair.client.take_events().last(), Some(&Event::TunnelDown));
    assert!(pair.client.send(&inner::ipv4(500, 10)));
    assert_eq!(pair.client.tunnel.drops().of(DropReason::NoLink), 1);
    assert_eq!(pair.client.in_use(), 0);
}

#[test]
fn goodbye_takes_the_peers_link_down_at_once() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    let now = pair.now();
    pair.client.tunnel.disconnect_link(FIRST);
    pair.client.drain(now).into_iter().for_each(|datagram| {
        let from = pair.paths[0].client;
        pair.inject(Role::Server, datagram.link, from, &datagram.bytes);
    });
    assert_eq!(pair.server.take_events(), [Event::LinkDown(FIRST, DownCause::PeerLeft)]);
    pair.client.tunnel.close_link(FIRST);
    pair.run_for(millis(1));
    assert_eq!(pair.client.take_events(), [Event::LinkDown(FIRST, DownCause::Closed)]);
    pair.run_for(secs(70));
    assert!(pair.client.tunnel.is_up() && pair.server.tunnel.is_up(), "the other link is not concerned");
}

#[test]
fn a_fallback_link_carries_data_only_while_no_other_can() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    let (now, fallback) = (pair.now(), LinkSettings { fallback_only: true, ..hasty() });
    assert!(pair.client.tunnel.set_link(SECOND, fallback, now));
    pair.sent.clear();
    pair.stream(Role::Client, 0..20, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [20, 0]);
    pair.paths[0].is_open = false;
    pair.run_for(millis(2_200));
    pair.stream(Role::Client, 20..40, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [0, 20]);
    pair.paths[0].is_open = true;
    pair.run_for(millis(300));
    pair.stream(Role::Client, 40..60, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [20, 0]);
}

#[test]
fn a_link_that_loses_its_tolerance_leaves_the_aggregate_of_the_end_that_sees_it() {
    let mut pair: Pair = Pair::up(LinkSettings { loss_tolerance: 20, ..LinkSettings::default() }, |_| {});
    let mut count = 0;
    // The client's every third datagram on the first link is lost.
    pair.filter = Box::new(move |flight| {
        count += u32::from(flight.sender == Role::Client && flight.link == FIRST);
        flight.sender == Role::Server || flight.link != FIRST || count % 3 != 0
    });
    pair.stream(Role::Client, 0..300, 500, millis(2));
    assert_eq!(pair.server.take_events(), [Event::LinkHealth(FIRST, Health::Lossy)]);
    let loss = pair.server.tunnel.link(FIRST).unwrap().loss_percent();
    assert!((28..=36).contains(&loss), "{loss}");
    pair.sent.clear();
    pair.stream(Role::Server, 0..20, 500, millis(2));
    assert_eq!(data_per_link(&mut pair), [0, 20]);
    pair.filter = Box::new(|_| true);
    pair.stream(Role::Client, 300..500, 500, millis(2));
    assert_eq!(pair.server.take_events(), [Event::LinkHealth(FIRST, Health::Good)]);
}

#[test]
fn a_link_slower_than_its_tolerance_leaves_the_aggregate() {
    let mut pair: Pair = Pair::up(LinkSettings { latency_tolerance: millis(100), ..LinkSettings::default() }, |_| {});
    pair.paths[0].delay = millis(80);
    pair.run_for(secs(40));
    assert_eq!(pair.client.take_events(), [Event::LinkHealth(FIRST, Health::Slow)]);
    assert_eq!(pair.server.take_events(), [Event::LinkHealth(FIRST, Health::Slow)]);
    pair.sent.clear();
    pair.stream(Role::Client, 0..20, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [0, 20]);
}

#[test]
fn data_is_shared_by_the_configured_rates_and_passes_a_blocked_link_over() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    let now = pair.now();
    for (link, rate_bytes_per_sec) in [(FIRST, 3_000_000), (SECOND, 1_000_000)] {
        let settings = LinkSettings { rate_bytes_per_sec, ..LinkSettings::default() };
        assert!(pair.client.tunnel.set_link(link, settings, now));
    }
    pair.sent.clear();
    pair.stream(Role::Client, 0..400, 500, millis(1));
    let [first, second] = data_per_link(&mut pair);
    assert!(first.abs_diff(3 * second) <= 4, "{first} and {second}");
    pair.client.tunnel.set_blocked(FIRST, true);
    pair.stream(Role::Client, 400..420, 500, millis(1));
    assert_eq!(data_per_link(&mut pair), [0, 20]);
    pair.client.tunnel.set_blocked(SECOND, true);
    pair.stream(Role::Client, 420..440, 500, millis(1));
    assert_eq!((data_per_link(&mut pair), pair.client.in_use()), ([0, 0], 20));
    pair.client.tunnel.set_blocked(FIRST, false);
    pair.run_for(millis(1));
    assert_eq!((data_per_link(&mut pair), pair.client.in_use()), ([20, 0], 0));
}

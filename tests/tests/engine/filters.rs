// SPDX-License-Identifier: BSD-2-Clause
//! Packets that filters chose a link for.

use mlvpn_core::memory::classic::Header;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::CLASSIC_OVERHEAD;
use mlvpn_tests::inner;
use mlvpn_tests::pair::Pair;

use super::{FIRST, SECOND, assert_no_slot_is_lost, millis, numbers, secs};

/// Bytes of packets that filters are for, and of others: datagrams are told apart by these.
const FILTERED: usize = 300;
const OTHER: usize = 500;

/// On which links the filtered packets went, and whether the receiver may hold them.
fn ways(pair: &Pair) -> Vec<(LinkId, bool)> {
    let is_filtered = |bytes: &[u8]| bytes.len() == FILTERED + CLASSIC_OVERHEAD;
    let filtered = pair.sent.iter().filter(|flight| is_filtered(&flight.bytes));
    filtered.map(|flight| (flight.link, Header::parse(&flight.bytes).unwrap().ordered)).collect()
}

fn send(pair: &mut Pair, numbers: std::ops::Range<u64>, links: &[LinkId]) {
    for number in numbers {
        assert!(pair.client.send_over(&inner::ipv6(FILTERED, number), links));
        assert!(pair.client.send(&inner::ipv4(OTHER, 1_000 + number)));
        pair.run_for(millis(1));
    }
}

#[test]
fn filtered_packets_take_their_link_and_are_held_for_none() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.paths[0].delay = millis(60);
    pair.run_for(secs(20));
    send(&mut pair, 0..50, &[SECOND]);
    pair.run_for(millis(5));
    let on_time = numbers(&mut pair, Role::Server).into_iter().filter(|number| *number < 1_000).count();
    assert!(on_time >= 40, "{on_time} of 50 were not held for those on the slow link");
    pair.run_for(secs(1));
    assert_eq!(ways(&pair), vec![(SECOND, false); 50]);
    let others = numbers(&mut pair, Role::Server).into_iter().filter(|number| *number >= 1_000);
    assert!(others.is_sorted());
    let by_link =
        |link: LinkId| pair.sent.iter().filter(move |f| f.link == link && f.bytes.len() == OTHER + CLASSIC_OVERHEAD);
    let (first, second) = (by_link(FIRST).count(), by_link(SECOND).count());
    assert!(first > second, "what the filter put on a link, the others leave to it: {first} and {second}");
    assert_no_slot_is_lost(&pair);
}

#[test]
fn a_link_that_is_down_leaves_them_to_the_next_filter_and_then_to_all() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    pair.client.tunnel.close_link(SECOND);
    send(&mut pair, 0..10, &[SECOND, FIRST]);
    assert_eq!(ways(&pair), vec![(FIRST, false); 10]);
    pair.sent.clear();
    send(&mut pair, 10..20, &[SECOND]);
    assert_eq!(ways(&pair), vec![(FIRST, true); 10], "as if there were no filter");
    pair.run_for(secs(1));
    assert_eq!(pair.server.take_delivered().len(), 40);
}

#[test]
fn backup_links_carry_what_a_filter_sends_them() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    let backup = LinkSettings { fallback_only: true, ..LinkSettings::default() };
    let now = pair.now();
    pair.client.tunnel.set_link(SECOND, backup, now);
    send(&mut pair, 0..10, &[SECOND]);
    assert_eq!(ways(&pair), vec![(SECOND, false); 10]);
    assert!(pair.sent.iter().all(|f| f.link == FIRST || f.bytes.len() != OTHER + CLASSIC_OVERHEAD));
}

#[test]
fn bulk_waits_for_its_link_while_that_is_full_and_others_pass() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    // Its group is bulk.
    for number in 0..10 {
        assert!(pair.client.send_over(&inner::ipv6(1_200, number), &[SECOND]));
    }
    pair.run_for(millis(20));
    pair.sent.clear();
    pair.client.tunnel.set_blocked(SECOND, true);
    for number in 0..10 {
        assert!(pair.client.send_over(&inner::ipv6(1_200, 100 + number), &[SECOND]));
        assert!(pair.client.send(&inner::ipv4(OTHER, 1_000 + number)));
    }
    pair.run_for(millis(20));
    let lens = |pair: &Pair| {
        let data = pair.sent.iter().filter(|flight| flight.sender == Role::Client && flight.bytes.len() > 100);
        data.map(|flight| (flight.link, flight.bytes.len() - CLASSIC_OVERHEAD)).collect::<Vec<_>>()
    };
    assert_eq!(lens(&pair), vec![(FIRST, OTHER); 10]);
    pair.sent.clear();
    pair.client.tunnel.set_blocked(SECOND, false);
    pair.run_for(millis(20));
    assert_eq!(lens(&pair), vec![(SECOND, 1_200); 10]);
    pair.run_for(secs(1));
    assert_no_slot_is_lost(&pair);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Data through the tunnel: in order, whole, once, and no slot lost.

use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::Arrival;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::Medium;
use mlvpn_core::words::limits::EGRESS_SLOTS;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::end::{Datagram, End, config};
use mlvpn_tests::inner;
use mlvpn_tests::pair::Pair;
use mlvpn_tests::random::Random;

use super::{FIRST, SECOND, assert_no_slot_is_lost, millis, numbers, secs};

#[test]
fn data_arrives_whole_and_in_order_both_ways_over_unequal_links() {
    for cleartext in [false, true] {
        let mut pair: Pair = Pair::up(LinkSettings::default(), |config| config.cleartext_data = cleartext);
        pair.paths[1].delay = millis(35);
        pair.run_for(secs(20));
        let mut random = Random::new(11);
        let packets: Vec<_> = (0..400).map(|number| inner::ipv4(48 + random.below(1_381) as usize, number)).collect();
        for packet in &packets {
            assert!(pair.client.send(packet) && pair.server.send(packet));
            pair.run_for(Duration::from_micros(random.below(3_000)));
        }
        pair.run_for(secs(1));
        assert_eq!(pair.server.take_delivered(), packets);
        assert_eq!(pair.client.take_delivered(), packets);
        assert_no_slot_is_lost(&pair);
        assert_eq!(pair.client.tunnel.drops().total() + pair.server.tunnel.drops().total(), 0);
    }
}

#[test]
fn without_reordering_packets_are_delivered_as_they_come() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |config| config.reorder = false);
    pair.paths[1].delay = millis(35);
    pair.stream(Role::Client, 0..4, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Server), [0, 2, 1, 3]);
}

/// The hold time by its definition: the spread of the links' round-trip times, and ten milliseconds.
fn hold(pair: &Pair) -> Duration {
    let rtts = [FIRST, SECOND].map(|link| *pair.server.tunnel.link(link).unwrap().rtt());
    let fastest = rtts.iter().map(|rtt| rtt.smoothed().unwrap()).min().unwrap();
    let slowest = rtts.iter().map(|rtt| rtt.smoothed().unwrap() + rtt.deviation() * 4).max().unwrap();
    (slowest - fastest + millis(10)).min(millis(400))
}

#[test]
fn one_lost_packet_delays_those_behind_it_by_the_hold_time_at_most() {
    for lost in [3, 17, 40] {
        let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
        pair.run_for(secs(30));
        let bound = hold(&pair);
        assert!(bound >= millis(10) && bound <= millis(20), "equal links: {bound:?}");
        let mut data = 0;
        pair.filter = Box::new(move |flight| {
            data += u64::from(flight.bytes.len() > 200);
            data != lost + 1 || flight.bytes.len() <= 200
        });
        let start = pair.now();
        pair.stream(Role::Client, 0..60, 500, millis(1));
        pair.run_for(secs(1));
        let delivered: Vec<_> = pair.server.delivered.drain(..).collect();
        let expected: Vec<_> = (0..60).filter(|number| *number != lost).collect();
        assert_eq!(delivered.iter().map(|(_, packet)| inner::number(packet)).collect::<Vec<_>>(), expected);
        for (at, packet) in delivered {
            let arrived = start + millis(inner::number(&packet)) + millis(10);
            assert!(at.since(arrived) <= bound, "{} waited for {:?}", inner::number(&packet), at.since(arrived));
        }
        assert_no_slot_is_lost(&pair);
    }
}

#[test]
fn a_packet_that_is_too_big_is_answered_and_counted() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    assert!(pair.client.send(&inner::ipv4(1_429, 1)) && pair.client.send(&inner::ipv6(1_429, 2)));
    pair.run_for(millis(50));
    let answers = pair.client.take_delivered();
    assert_eq!(answers.iter().map(|answer| (answer[0] >> 4, answer.len())).collect::<Vec<_>>(), [(4, 576), (6, 1_280)]);
    assert_eq!((&answers[0][12..16], answers[0][20], answers[0][21]), (&[10, 0, 0, 2][..], 3, 4));
    assert_eq!((&answers[0][26..28], &answers[1][44..48]), (&1_428u16.to_be_bytes()[..], &1_428u32.to_be_bytes()[..]));
    assert_eq!(pair.client.tunnel.drops().of(DropReason::TooBig), 2);
    assert!(pair.server.take_delivered().is_empty());
    assert!(pair.client.send(&inner::ipv4(1_428, 3)));
    pair.run_for(millis(50));
    assert_eq!(numbers(&mut pair, Role::Server), [3]);
    assert_no_slot_is_lost(&pair);
}

#[test]
fn ethernet_frames_pass_with_whatever_they_carry() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |config| config.medium = Medium::Ethernet);
    let mut arp = inner::frame(&[0; 46]);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let frames = [inner::frame(&inner::ipv4(1_428, 1)), arp, inner::frame(&inner::ipv6(60, 2))];
    frames.iter().for_each(|frame| assert!(pair.client.send(frame)));
    pair.run_for(millis(100));
    assert_eq!(pair.server.take_delivered(), frames);
    assert!(pair.client.send(&inner::frame(&inner::ipv4(1_429, 3))));
    pair.run_for(millis(1));
    assert_eq!(pair.client.take_delivered()[0].len(), 14 + 576);
}

#[test]
fn every_packet_from_the_device_that_goes_no_further_is_counted_with_its_reason() {
    let mut pair: Pair<2, 128> = Pair::up(LinkSettings::default(), |_| {});
    let dropped = |pair: &Pair<2, 128>, reason| pair.client.tunnel.drops().of(reason);
    assert!(pair.client.send(b"no IP packet at all, but text"));
    assert!(pair.client.send(&[]));
    assert_eq!(dropped(&pair, DropReason::NotIp), 2);
    pair.client.tunnel.set_blocked(FIRST, true);
    pair.client.tunnel.set_blocked(SECOND, true);
    for number in 0..EGRESS_SLOTS as u64 {
        assert!(pair.client.send(&inner::ipv4(100, number)));
    }
    assert!(!pair.client.tunnel.has_room() && !pair.client.send(&inner::ipv4(100, 0)));
    // A port that does not ask whether there is room.
    let slot = pair.client.pool.take().unwrap();
    assert!(pair.client.pool.packet_mut(&slot).unwrap().copy_from(&inner::ipv4(100, 0)));
    let end = &mut pair.client;
    end.tunnel.send(&mut end.pool, slot, end.now);
    assert_eq!(dropped(&pair, DropReason::QueueFull), 0, "the engine's queue is larger than what a port fills");
    // What waits when the last link goes is dropped, not kept for a later time.
    pair.client.tunnel.close_link(FIRST);
    pair.client.tunnel.close_link(SECOND);
    pair.run_for(millis(1));
    assert_eq!(dropped(&pair, DropReason::NoLink), 1 + EGRESS_SLOTS as u64);
    assert_eq!(pair.client.tunnel.drops().total(), 3 + EGRESS_SLOTS as u64);
    assert_eq!(pair.client.in_use(), 0);
}

#[test]
fn long_random_runs_lose_no_slot_and_deliver_nothing_twice() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut fate = Random::new(seed + 100);
        let mut pair: Pair = Pair::up(super::hasty(), |config| config.cleartext_data = seed % 2 == 0);
        pair.filter = Box::new(move |_| !fate.one_in(20));
        let mut sent = 0;
        for _ in 0..3_000 {
            let path = random.below(2) as usize;
            match random.below(60) {
                0 => pair.paths[path].is_open ^= true,
                1 => pair.paths[path].delay = millis(random.below(150)),
                2 => pair.run_for(millis(random.below(3_000))),
                _ => {}
            }
            for role in [Role::Client, Role::Server] {
                sent += u64::from(pair.end(role).send(&inner::ipv4(48 + random.below(1_000) as usize, sent)));
            }
            pair.run_for(Duration::from_micros(random.below(5_000)));
        }
        pair.filter = Box::new(|_| true);
        pair.run_for(secs(1));
        let mut delivered = numbers(&mut pair, Role::Server);
        delivered.extend(numbers(&mut pair, Role::Client));
        let count = delivered.len();
        delivered.sort_unstable();
        delivered.dedup();
        assert_eq!(delivered.len(), count, "a packet was delivered twice");
        assert!(count as u64 > sent / 2, "only {count} of {sent} arrived");
        assert_eq!((pair.client.in_use(), pair.server.in_use()), (0, 0));
    }
}

#[test]
fn a_million_packets_pass_through_pools_of_64_slots() {
    let mut client = End::<1, 16, 64>::new(config(Role::Client), 1);
    let mut server = End::<1, 16, 64>::new(config(Role::Server), 2);
    let address = "192.0.2.1:5080".parse().unwrap();
    let mut now = mlvpn_core::words::time::Instant::from_micros(1_000_000);
    for end in [&mut client, &mut server] {
        assert!(end.tunnel.set_link(FIRST, LinkSettings::default(), now));
        end.tunnel.open_link(FIRST, Some(address), now);
    }
    client.tunnel.handle_timeout(now);
    let carry = |datagrams: Vec<Datagram>, to: &mut End<1, 16, 64>, now| {
        for datagram in datagrams {
            assert!(to.receive(&datagram.bytes, Arrival { link: FIRST, from: address, ecn: Ecn::NotEct, at: now }));
            to.deliver(now);
        }
    };
    carry(client.drain(now), &mut server, now);
    carry(server.drain(now), &mut client, now);
    let (mut packet, mut delivered) = (inner::ipv4(48, 0), 0u64);
    for batch in 0..100_000u64 {
        now += millis(1);
        for number in batch * 10..batch * 10 + 10 {
            packet[40..].copy_from_slice(&number.to_be_bytes());
            assert!(client.send(&packet));
        }
        carry(client.drain(now), &mut server, now);
        carry(server.drain(now), &mut client, now);
        for (_, packet) in server.delivered.drain(..) {
            assert_eq!(inner::number(&packet), delivered);
            delivered += 1;
        }
        assert_eq!((client.in_use(), server.in_use()), (0, 0));
        client.tunnel.handle_timeout(now);
        server.tunnel.handle_timeout(now);
    }
    assert_eq!(delivered, 1_000_000);
}

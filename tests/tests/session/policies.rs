// SPDX-License-Identifier: BSD-2-Clause
//! What a user wants of his links: backups, tiers, quotas, links that cost money, and rules for classes of packets. The
//! client says it, and both directions follow.

use mlvpn_core::memory::two::DataHeader;
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::policy::{Limits, LinkPolicy, Quota, Stop, Usage};
use mlvpn_core::words::rules::{Action, Rule, Rules};
use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::session::world::{Flight, Who, World};

use super::{CLIENT, FIRST, SECOND, SERVER, millis, secs};

/// Expedited forwarding (RFC 3246).
const EF: u8 = 46;

/// Datagrams longer than this carry packets of 500 bytes.
const DATA: usize = 500;

fn tier(tier: u8) -> LinkSettings {
    LinkSettings { policy: LinkPolicy { tier, ..LinkPolicy::default() }, ..LinkSettings::default() }
}

/// 125 kB/s both ways.
fn narrow() -> LinkSettings {
    let policy = LinkPolicy { receive_bytes_per_sec: 125_000, ..LinkPolicy::default() };
    LinkSettings { rate_bytes_per_sec: 125_000, policy, ..LinkSettings::default() }
}

fn backup() -> LinkSettings {
    LinkSettings { fallback_only: true, ..LinkSettings::default() }
}

fn metered() -> LinkSettings {
    LinkSettings { policy: LinkPolicy { is_metered: true, ..LinkPolicy::default() }, ..LinkSettings::default() }
}

/// A world of as many links as there are settings, with these, known to both ends.
fn world(seed: u64, settings: &[LinkSettings]) -> World {
    let mut world = World::up(seed, u8::try_from(settings.len()).expect("few links"));
    set(&mut world, settings);
    world.run_for(secs(7));
    world.sent.clear();
    world
}

fn set(world: &mut World, settings: &[LinkSettings]) {
    for (index, settings) in settings.iter().enumerate() {
        assert!(world.clients[0].end.peer.set_link(LinkId::new(index), *settings));
    }
    world.touch(CLIENT);
}

fn link_of(flight: &Flight) -> Option<u8> {
    DataHeader::parse(&flight.bytes).ok().map(|header| header.link)
}

/// Datagrams with data that were sent over a link since this was asked last, up and down.
fn data_over(world: &mut World, link: u8) -> (usize, usize) {
    let on_link = |flight: &&Flight| flight.bytes.len() > DATA && link_of(flight) == Some(link);
    let (up, down): (Vec<_>, Vec<_>) = world.sent.iter().filter(on_link).partition(|flight| flight.is_up);
    (up.len(), down.len())
}

/// 500-byte packets both ways, one every millisecond: four times what [`narrow`] links carry. They may be dropped.
fn flood(world: &mut World, millis: u64, gap: Duration) {
    let end = world.now() + Duration::from_millis(millis);
    let mut number = 0;
    while world.now() < end {
        for who in [CLIENT, SERVER] {
            world.send(who, &inner::ipv4(500, number));
        }
        number += 1;
        world.run_for(gap);
    }
}

fn marked(len: usize, number: u64) -> Vec<u8> {
    let mut packet = inner::ipv4(len, number);
    packet[1] = EF << 2;
    packet
}

fn rules(action: Action) -> Rules {
    let mut rule = Rule::default();
    rule.action = action;
    assert!(rule.match_dscp(EF));
    Rules([rule].into_iter().collect())
}

fn numbers(world: &mut World, who: Who) -> Vec<u64> {
    let mut numbers = world.end(who).numbers();
    numbers.sort_unstable();
    numbers
}

/// Nothing was lost.
#[track_caller]
fn assert_all(world: &mut World, who: Who, expected: std::ops::Range<u64>) {
    let arrived = numbers(world, who);
    let missing: Vec<u64> = expected.clone().filter(|number| arrived.binary_search(number).is_err()).collect();
    assert!(missing.is_empty() && arrived.len() as u64 == expected.end - expected.start, "{who:?} lacks {missing:?}");
}

#[test]
fn a_backup_carries_nothing_until_the_others_fail_takes_over_within_the_failure_time_and_leaves_again() {
    let mut world = world(60, &[LinkSettings::default(), backup()]);
    world.stream_both(0..1_000, 500, millis(2));
    world.run_for(millis(100));
    assert_eq!(data_over(&mut world, 1), (0, 0));
    world.clients[0].wires[0].cut();
    let cut = world.clock(SERVER);
    for who in [CLIENT, SERVER] {
        world.end(who).delivered.clear();
    }
    world.stream_both(1_000..2_000, 500, millis(2));
    world.run_for(secs(1));
    let first = world.end(SERVER).delivered.first().expect("packets arrive over the backup").0;
    println!("the backup's first packet arrived {} ms after the cut", first.since(cut).millis());
    assert!(first.since(cut) < millis(300), "{:?}", first.since(cut));
    for who in [CLIENT, SERVER] {
        assert_all(&mut world, who, 1_000..2_000);
    }
    world.clients[0].wires[0].mend();
    world.run_for(secs(3));
    world.sent.clear();
    world.stream_both(2_000..2_500, 500, millis(2));
    assert_eq!(data_over(&mut world, 1), (0, 0), "the backup has left");
}

#[test]
fn a_higher_tier_joins_after_a_second_of_demand_in_both_directions_and_leaves_when_it_is_not_needed() {
    let mut world = world(61, &[narrow(), tier(2)]);
    flood(&mut world, 800, millis(1));
    assert_eq!(data_over(&mut world, 1), (0, 0));
    flood(&mut world, 1_700, millis(1));
    let (up, down) = data_over(&mut world, 1);
    println!("over the second tier after 2.5 s: {up} up, {down} down");
    assert!(up > 100 && down > 100, "{up} {down}");
    // 50 kB/s, which the first tier carries alone.
    flood(&mut world, 7_000, millis(10));
    world.sent.clear();
    flood(&mut world, 2_000, millis(10));
    assert_eq!(data_over(&mut world, 1), (0, 0));
    assert!(data_over(&mut world, 0).0 > 100);
}

#[test]
fn a_tier_below_that_dies_is_replaced_at_once() {
    let mut world = world(62, &[LinkSettings::default(), tier(2)]);
    world.stream_both(0..500, 500, millis(2));
    world.clients[0].wires[0].cut();
    world.stream_both(500..1_000, 500, millis(2));
    world.run_for(secs(1));
    for who in [CLIENT, SERVER] {
        assert_all(&mut world, who, 0..1_000);
    }
}

fn quota(soft: Option<u64>, hard: Option<u64>) -> LinkSettings {
    let quota = Quota { day: Limits { soft, hard }, month: Limits::default() };
    LinkSettings { policy: LinkPolicy { quota, ..LinkPolicy::default() }, ..LinkSettings::default() }
}

#[test]
fn a_link_whose_soft_quota_is_used_up_is_a_backup_for_both_ends_until_the_day_ends() {
    let mut world = world(63, &[quota(Some(200_000), None), LinkSettings::default()]);
    world.stream_both(0..1_000, 500, millis(1));
    world.run_for(secs(1));
    let usage = world.clients[0].end.peer.usage(FIRST).expect("a link");
    assert!((200_000..230_000).contains(&usage.day) && usage.day == usage.month, "{usage:?}");
    assert_eq!(world.server.ends[0].peer.link(FIRST).expect("a link").stop(), Stop::Soft);
    world.sent.clear();
    world.stream_both(1_000..1_500, 500, millis(1));
    assert_eq!(data_over(&mut world, 0), (0, 0));
    world.clients[0].end.peer.set_usage(FIRST, Usage { day: 0, ..usage });
    world.touch(CLIENT);
    world.run_for(secs(1));
    world.sent.clear();
    world.stream_both(1_500..2_000, 500, millis(1));
    let (up, down) = data_over(&mut world, 0);
    assert!(up > 100 && down > 100, "the new day: {up} {down}");
}

#[test]
fn a_link_whose_hard_quota_is_used_up_carries_only_what_keeps_it_alive_even_when_it_is_alone() {
    let mut world = world(64, &[quota(None, Some(100_000)), LinkSettings::default()]);
    world.stream_both(0..1_000, 500, millis(1));
    world.run_for(secs(1));
    world.sent.clear();
    world.clients[0].wires[1].cut();
    for number in 1_000..6_000 {
        for who in [CLIENT, SERVER] {
            world.send(who, &inner::ipv4(500, number));
        }
        world.run_for(millis(2));
    }
    let over: Vec<&Flight> = world.sent.iter().filter(|flight| link_of(flight) == Some(0)).collect();
    let (count, longest) = (over.len(), over.iter().map(|flight| flight.bytes.len()).max());
    println!("ten seconds under load: {count} datagrams, the longest of {longest:?} bytes");
    assert!(longest.is_none_or(|longest| longest < 64) && count < 100, "{count} {longest:?}");
    world.sent.clear();
    world.run_for(secs(3_600));
    let over = world.sent.iter().filter(|flight| link_of(flight) == Some(0)).count();
    assert!((100..400).contains(&over), "an idle hour: {over} datagrams");
    assert!(world.end(SERVER).peer.link(FIRST).expect("a link").is_alive(), "it is kept alive");
}

#[test]
fn an_idle_link_that_costs_money_takes_less_than_five_kilobytes_an_hour_and_stays_up() {
    for (settings, limit) in [(LinkSettings::default(), 25_000), (metered(), 5_000)] {
        let mut world = world(65, &[settings]);
        for who in [CLIENT, SERVER] {
            world.end(who).events.clear();
        }
        world.bytes = (0, 0);
        world.run_for(secs(3_600));
        let (up, down) = world.bytes;
        println!("metered {}: {up} bytes up and {down} down in an idle hour", settings.policy.is_metered);
        assert!(up + down < limit, "{up} {down}");
        assert_eq!((world.end(CLIENT).take_events(), world.end(SERVER).take_events()), (vec![], vec![]));
    }
}

#[test]
fn what_a_backup_that_costs_money_takes_while_others_carry_data_is_as_little() {
    let mut settings = metered();
    settings.fallback_only = true;
    let mut world = world(66, &[LinkSettings::default(), settings]);
    world.stream_both(0..30_000, 500, millis(2));
    let over = |flight: &&Flight| link_of(flight) == Some(1);
    let bytes: usize = world.sent.iter().filter(over).map(|flight| flight.bytes.len() + 28).sum();
    println!("{bytes} bytes in a minute");
    assert!(bytes < 500, "{bytes}");
}

#[test]
fn the_terms_reach_the_server_through_loss_and_again_after_either_end_started_anew() {
    for seed in 70..90 {
        let mut world: World = World::up(seed, 2);
        world.clients[0].wires.iter_mut().for_each(|wire| (wire.loss, wire.jitter) = (500, millis(30)));
        for tier in 1..=9 {
            let policy = LinkPolicy { tier, weight: 7, receive_bytes_per_sec: 1_000, ..LinkPolicy::default() };
            set(&mut world, &[LinkSettings::default(), LinkSettings { policy, ..LinkSettings::default() }]);
            world.run_for(millis(40));
        }
        world.run_for(secs(60));
        world.clients[0].wires.iter_mut().for_each(|wire| wire.loss = 0);
        world.run_for(secs(30));
        let told = |world: &World| {
            let path = world.server.ends[0].peer.link(SECOND).expect("a link");
            (path.rank(), path.weight(), path.ceiling())
        };
        assert_eq!(told(&world), (Some(8), 7, 1_000), "seed {seed}");
        world.restart_server(&mlvpn_tests::session::keys::config());
        // Nothing is carried, so it shows when the idle links are probed next.
        world.run_for(secs(40));
        assert_eq!(told(&world), (Some(8), 7, 1_000), "seed {seed}: the server has started anew");
        let credentials = mlvpn_tests::session::keys::credentials(0);
        world.restart_client(0, mlvpn_tests::session::keys::config(), credentials);
        world.run_for(secs(20));
        assert_eq!(told(&world), (Some(0), 0, 0), "seed {seed}: the client has started without terms");
    }
}

#[test]
fn links_without_terms_say_nothing_of_them() {
    let mut world: World = World::one(67, 2);
    world.run_for(secs(200));
    let settled = world.bytes;
    let mut other: World = World::one(67, 2);
    other.run_for(secs(3));
    set(&mut other, &[LinkSettings::default(); 2]);
    other.run_for(secs(197));
    assert_eq!(other.bytes, settled);
}

#[test]
fn a_class_sent_twice_survives_a_links_loss_without_a_gap_and_its_copies_are_dropped() {
    let mut world = world(68, &[LinkSettings::default(), LinkSettings::default()]);
    for who in [CLIENT, SERVER] {
        world.end(who).peer.set_rules(rules(Action { duplicate: true, ..Action::default() }));
    }
    let call = |world: &mut World, numbers: std::ops::Range<u64>| {
        for number in numbers {
            for who in [CLIENT, SERVER] {
                assert!(world.send(who, &marked(200, number)));
            }
            world.run_for(millis(20));
        }
    };
    call(&mut world, 0..100);
    for who in [CLIENT, SERVER] {
        assert_eq!(world.end(who).peer.drops().of(DropReason::Duplicate), 100, "{who:?}");
        assert_eq!(world.end(who).peer.counts().copied, 100, "{who:?}");
    }
    world.clients[0].wires[0].cut();
    call(&mut world, 100..300);
    for who in [CLIENT, SERVER] {
        let delivered = std::mem::take(&mut world.end(who).delivered);
        let gaps = delivered.windows(2).map(|pair| pair[1].0.since(pair[0].0).millis());
        assert_eq!(gaps.max(), Some(20), "{who:?}");
        assert_eq!(delivered.len(), 300, "{who:?}");
    }
}

#[test]
fn copies_take_a_twentieth_of_the_slower_link_and_none_cost_money() {
    // 125 kB/s: 6.25 kB/s of copies, of 64 kB/s.
    let mut world = world(69, &[LinkSettings::default(), narrow()]);
    world.end(CLIENT).peer.set_rules(rules(Action { duplicate: true, ..Action::default() }));
    for number in 0..3_200 {
        world.send(CLIENT, &marked(200, number));
        world.run_for(millis(3));
    }
    let copied = world.end(CLIENT).peer.counts().copied;
    println!("{copied} copies in ten seconds");
    assert!((250..=330).contains(&copied), "{copied}");
    set(&mut world, &[LinkSettings::default(), metered()]);
    world.run_for(secs(1));
    for number in 0..100 {
        world.send(CLIENT, &marked(200, number));
        world.run_for(millis(20));
    }
    assert_eq!(world.end(CLIENT).peer.counts().copied, copied);
}

#[test]
fn a_pinned_class_keeps_to_its_link_lets_others_pass_and_falls_back_while_the_link_is_down() {
    let mut world = world(71, &[LinkSettings::default(), narrow()]);
    let action = Action { link: Some(SECOND), ..Action::default() };
    world.end(CLIENT).peer.set_rules(rules(action));
    // Twice what the second link carries is pinned to it; the rest has the first for itself.
    for number in 0..1_000 {
        world.send(CLIENT, &marked(500, number));
        world.send(CLIENT, &inner::ipv6(600, 10_000 + number));
        world.run_for(millis(2));
    }
    world.run_for(secs(1));
    let arrived = numbers(&mut world, SERVER);
    let (pinned, others) = arrived.split_at(arrived.partition_point(|number| *number < 10_000));
    println!("of 1,000 each: {} pinned, {} others", pinned.len(), others.len());
    assert!(others.len() >= 990, "{}", others.len());
    assert!((400..700).contains(&pinned.len()), "{}", pinned.len());
    // 500 bytes and the overhead.
    let is_pinned = |flight: &&Flight| flight.bytes.len() == 530 && flight.is_up;
    assert!(world.sent.iter().filter(is_pinned).all(|flight| link_of(flight) == Some(1)));
    world.clients[0].wires[1].cut();
    world.run_for(secs(1));
    for number in 0..200 {
        world.send(CLIENT, &marked(500, number));
        world.run_for(millis(10));
    }
    world.run_for(secs(1));
    world.end(SERVER).delivered.clear();
    for number in 200..300 {
        world.send(CLIENT, &marked(500, number));
        world.run_for(millis(10));
    }
    let arrived = numbers(&mut world, SERVER).len();
    assert!(arrived >= 99, "all but what is on its way: {arrived}");
    world.clients[0].wires[1].mend();
    world.run_for(secs(5));
    world.sent.clear();
    for number in 0..100 {
        world.send(CLIENT, &marked(500, number));
        world.run_for(millis(10));
    }
    assert!(world.sent.iter().filter(is_pinned).all(|flight| link_of(flight) == Some(1)), "it is back");
}

#[test]
fn links_share_what_they_have_room_for_by_their_weights_and_all_of_it_when_one_is_full() {
    let weighted = |weight| {
        let policy = LinkPolicy { weight, ..LinkPolicy::default() };
        LinkSettings { policy, ..LinkSettings::default() }
    };
    let mut world = world(72, &[weighted(30), weighted(10)]);
    world.stream_both(0..2_000, 500, millis(2));
    let (first, second) = (data_over(&mut world, 0), data_over(&mut world, 1));
    println!("weights 30 and 10: {first:?} and {second:?} packets");
    for (first, second) in [(first.0, second.0), (first.1, second.1)] {
        // Thin packets, three in 100 ms, take the quickest link.
        assert!((73..=79).contains(&(first * 100 / (first + second))), "{first} {second}");
    }
    // Even weights are as none.
    let counts: Vec<_> = [[0, 0], [50, 50]]
        .into_iter()
        .map(|weights| {
            let mut world = self::world(73, &weights.map(weighted));
            world.stream_both(0..1_000, 500, millis(2));
            (data_over(&mut world, 0), data_over(&mut world, 1))
        })
        .collect();
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn an_interactive_class_goes_before_bulk_whatever_its_packets_sizes() {
    let mut prompt = Vec::new();
    for interactive in [false, true] {
        let mut world = world(74, &[narrow()]);
        world.end(CLIENT).peer.set_rules(rules(Action { interactive, ..Action::default() }));
        flood(&mut world, 1_000, millis(1));
        world.end(SERVER).delivered.clear();
        let mut sent = Vec::new();
        for step in 0..2_000_u64 {
            // Four flows, each of which has its turn before the fifth has.
            let mut bulk = inner::ipv6(500, step);
            bulk[23] = u8::try_from(step % 4).expect("small");
            world.send(CLIENT, &bulk);
            if step % 40 == 0 {
                sent.push(world.clock(SERVER));
                let mut packet = marked(700, 1_000_000 + step / 40);
                packet[15] = 9;
                world.send(CLIENT, &packet);
            }
            world.run_for(millis(1));
        }
        world.run_for(secs(2));
        let delivered = std::mem::take(&mut world.end(SERVER).delivered);
        let marked = delivered.iter().filter(|(_, packet)| inner::number(packet) >= 1_000_000);
        let wait = marked.map(|(at, packet)| {
            let number = usize::try_from(inner::number(packet) - 1_000_000).expect("few");
            at.since(sent[number]).millis()
        });
        // 10 ms is the link's, and 4 ms what a packet of 500 bytes that is just leaving takes.
        prompt.push(wait.filter(|wait| *wait <= 14).count());
    }
    println!(
        "of 50 packets beside bulk {} arrive as soon as on an idle link, of interactive ones {}",
        prompt[0], prompt[1]
    );
    assert!(prompt[0] < 25 && prompt[1] > 35, "{prompt:?}");
}

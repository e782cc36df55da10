// SPDX-License-Identifier: BSD-2-Clause
//! Links that fail, come back, join and leave.

use mlvpn_core::state::link::Phase;
use mlvpn_core::words::event::{DownCause, Event, Health};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::session::end::SLOTS;
use mlvpn_tests::session::world::{Who, World};

use super::{CLIENT, FIRST, SECOND, SERVER, assert_carries, millis, secs};

/// The link over which `who` sent most.
fn busiest(world: &World, who: Who) -> LinkId {
    let is_up = matches!(who, Who::Client(_));
    let count =
        |link: &u8| world.sent.iter().filter(|flight| flight.is_up == is_up && flight.at == Some((0, *link))).count();
    LinkId::new((0..2).max_by_key(count).unwrap_or(0).into())
}

/// How long until `who` says that a link is silent, with a packet both ways every 5 ms.
fn time_to_silence(world: &mut World, who: Who, link: LinkId) -> Duration {
    let cut = world.clock(who);
    for number in 0..2_000 {
        world.send(CLIENT, &inner::ipv4(500, number));
        world.send(SERVER, &inner::ipv4(500, number));
        world.run_for(millis(5));
        let silent = |event: &&(_, Event)| event.1 == Event::LinkHealth(link, Health::Silent);
        if let Some((at, _)) = world.end(who).events.iter().find(silent) {
            return at.since(cut);
        }
    }
    panic!("{who:?} never notices");
}

#[test]
fn a_cut_link_is_silent_to_both_ends_well_within_a_second_under_traffic_and_returns() {
    for (delay, limit) in [(10, 700), (40, 900)] {
        for who in [CLIENT, SERVER] {
            let mut world: World = World::one(7, 2);
            world.clients[0].wires.iter_mut().for_each(|wire| wire.delay = millis(delay));
            world.run_for(secs(3));
            world.stream_both(0..400, 500, millis(5));
            // One over which nothing is sent fails unnoticed until it is wanted.
            let used = busiest(&world, who);
            world.clients[0].wires[used.index()].cut();
            let took = time_to_silence(&mut world, who, used);
            println!("round trip {} ms: {who:?} noticed after {} ms", delay * 2, took.millis());
            assert!(took < millis(limit), "{took:?}");
            world.run_for(secs(1));
            assert_carries(&mut world, 10_000);
            world.clients[0].wires[used.index()].mend();
            world.run_for(secs(5));
            for end in [CLIENT, SERVER] {
                let path = world.end(end).peer.link(used).unwrap();
                assert_eq!((path.phase(), path.health()), (Phase::Up, Health::Good), "{end:?}");
            }
        }
    }
}

#[test]
fn a_link_dead_in_one_direction_only_is_left_by_both_ends_and_does_not_come_and_go() {
    for is_up in [true, false] {
        let mut world: World = World::up(8, 2);
        world.stream_both(0..200, 500, millis(5));
        let wire = &mut world.clients[0].wires[1];
        *(if is_up { &mut wire.is_up_open } else { &mut wire.is_down_open }) = false;
        world.stream_both(0..600, 500, millis(5));
        world.run_for(secs(1));
        for who in [CLIENT, SERVER] {
            world.end(who).events.clear();
            world.end(who).delivered.clear();
        }
        world.stream_both(1_000..2_000, 500, millis(5));
        world.run_for(secs(1));
        for who in [CLIENT, SERVER] {
            assert_eq!(world.end(who).take_events(), [], "{who:?}");
            assert_eq!(world.end(who).numbers(), (1_000..2_000).collect::<Vec<_>>(), "{who:?}");
        }
    }
}

#[test]
fn a_queue_that_grows_suddenly_does_not_make_a_link_silent() {
    let mut world: World = World::up(9, 1);
    world.stream_both(0..400, 500, millis(5));
    world.end(CLIENT).events.clear();
    for step in 1..=30 {
        world.clients[0].wires[0].delay = millis(10 + step * 30);
        world.stream_both(0..20, 500, millis(5));
    }
    world.stream_both(0..600, 500, millis(5));
    let silent = |(_, event): &(_, Event)| *event == Event::LinkHealth(FIRST, Health::Silent);
    assert!(!world.end(CLIENT).events.iter().any(silent), "{:?}", world.end(CLIENT).events);
    assert!(!world.end(SERVER).events.iter().any(silent), "{:?}", world.end(SERVER).events);
}

#[test]
fn a_link_joins_and_leaves_a_living_session_without_a_handshake() {
    let mut world: World = World::up(10, 3);
    world.clients[0].end.peer.leave_link(SECOND);
    world.touch(CLIENT);
    world.clients[0].end.peer.close_link(SECOND);
    world.touch(CLIENT);
    world.run_for(secs(1));
    assert!(world.server.ends[0].take_events().contains(&Event::LinkDown(SECOND, DownCause::PeerLeft)));
    assert_eq!(world.server.ends[0].peer.link(SECOND).unwrap().phase(), Phase::Waiting);
    assert_carries(&mut world, 0);
    world.open(0, 1);
    world.run_for(secs(1));
    assert!(world.server.ends[0].take_events().contains(&Event::LinkUp(SECOND)));
    assert_carries(&mut world, 100);
    assert_eq!(world.server.claims, 1);
}

#[test]
fn a_server_says_nothing_to_a_client_that_is_gone() {
    let mut world: World = World::up(11, 2);
    for link in [FIRST, SECOND] {
        world.clients[0].end.peer.close_link(link);
    }
    world.touch(CLIENT);
    world.run_for(secs(300));
    assert!(!world.server.ends[0].peer.is_up());
    world.bytes = (0, 0);
    world.run_for(secs(3_600));
    assert_eq!(world.bytes, (0, 0));
}

#[test]
fn an_idle_link_with_a_short_timeout_stays_up() {
    let mut world: World = World::up(12, 1);
    let settings = mlvpn_core::state::link::LinkSettings { timeout: secs(5), ..Default::default() };
    assert!(world.clients[0].end.peer.set_link(FIRST, settings));
    world.run_for(secs(600));
    assert_eq!(world.clients[0].end.take_events(), []);
    assert_eq!(world.server.ends[0].take_events(), []);
}

#[test]
fn packets_kept_for_repair_give_way_before_the_pool_runs_out() {
    let mut world: World<2, 1024> = World::one(19, 2);
    world.run_for(secs(3));
    // Nothing is ever said of what the client sends.
    world.filter = Box::new(|flight| flight.is_up);
    let mut least = usize::MAX;
    for number in 0..1_000 {
        world.send(CLIENT, &inner::ipv4(500, number));
        world.run_for(millis(1));
        least = least.min(world.pool.available());
    }
    println!("{least} of {SLOTS} packets were free at the least");
    assert!(least >= SLOTS / 8 - 2, "{least}");
    assert!(world.clients[0].end.peer.counts().forgotten > 0);
    world.assert_no_slot_is_lost();
    world.filter = Box::new(|_| true);
    world.run_for(secs(3));
    assert_eq!(world.pool.available(), SLOTS, "what nothing is said of is not kept for ever");
}

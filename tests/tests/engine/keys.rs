// SPDX-License-Identifier: BSD-2-Clause
//! A key that changes while the tunnel runs.

use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::Role;
use mlvpn_core::tunnel::{Arrival, Config};
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ecn::Ecn;
use mlvpn_tests::end::config;
use mlvpn_tests::inner;
use mlvpn_tests::pair::Pair;

use super::{FIRST, hasty, millis, numbers, secs};

fn rekeyed(role: Role) -> Config {
    Config { key: ClassicKey::from_password(b"another"), ..config(role) }
}

#[test]
fn a_key_changed_at_one_end_stops_the_tunnel_and_at_both_lets_it_go_on() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    pair.client.tunnel.configure(rekeyed(Role::Client));
    pair.stream(Role::Client, 0..10, 500, millis(1));
    pair.stream(Role::Server, 0..10, 500, millis(1));
    pair.run_for(millis(100));
    for (end, role) in [(&pair.client, "client"), (&pair.server, "server")] {
        assert!(end.tunnel.drops().of(DropReason::Unauthentic) >= 10, "{role}: {:?}", end.tunnel.drops());
        assert!(end.delivered.is_empty(), "{role}");
    }
    pair.server.tunnel.configure(rekeyed(Role::Server));
    pair.stream(Role::Client, 10..20, 500, millis(1));
    pair.run_for(millis(500));
    assert_eq!(numbers(&mut pair, Role::Server), (10..20).collect::<Vec<_>>());
    assert!(pair.client.tunnel.link(FIRST).unwrap().disconnects() == 0, "links stay up");
    pair.run_for(secs(10));
    assert!(pair.client.tunnel.is_up());
}

#[test]
fn what_was_opened_under_the_old_key_is_refused_under_the_new_one() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    assert!(pair.client.send(&inner::ipv4(100, 1)));
    let datagram = pair.client.drain(pair.now()).remove(0);
    let arrival = Arrival { link: datagram.link, from: pair.paths[0].client, ecn: Ecn::NotEct, at: pair.now() };
    let end = &mut pair.server;
    // Another core opens it with its copy of the opener, while this one changes the key.
    let opener = end.tunnel.opener().clone();
    let slot = end.pool.take().unwrap();
    let packet = end.pool.packet_mut(&slot).unwrap();
    assert!(packet.copy_from(&datagram.bytes));
    let opened = opener.open(packet).unwrap();
    end.tunnel.configure(rekeyed(Role::Server));
    end.tunnel.accept(&mut end.pool, opened, slot, arrival);
    assert_eq!(end.tunnel.drops().of(DropReason::StaleKey), 1);
    assert_eq!(end.tunnel.drops().total(), 1);
    assert!(end.tunnel.poll_deliver().is_none());
    assert_eq!(end.in_use(), 0);
}

#[test]
fn a_new_mtu_holds_from_the_next_packet_on_and_role_and_medium_stay() {
    let mut pair: Pair = Pair::up(hasty(), |_| {});
    let changed = Config { mtu: 1_000, medium: mlvpn_core::words::ids::Medium::Ethernet, ..config(Role::Server) };
    pair.client.tunnel.configure(changed);
    assert_eq!(pair.client.tunnel.mtu(), 1_000);
    assert!(pair.client.send(&inner::ipv4(1_000, 1)) && pair.client.send(&inner::ipv4(1_001, 2)));
    pair.run_for(millis(50));
    assert_eq!(numbers(&mut pair, Role::Server), [1]);
    assert_eq!(pair.client.take_delivered().len(), 1, "the answer");
    pair.paths[0].is_open = false;
    pair.run_for(secs(6));
    pair.paths[0].is_open = true;
    pair.run_for(secs(2));
    assert!(pair.client.tunnel.link(FIRST).unwrap().phase() == mlvpn_core::state::link::Phase::Up, "still a client");
}

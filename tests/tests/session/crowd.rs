// SPDX-License-Identifier: BSD-2-Clause
//! A thousand clients on one port.

use mlvpn_core::tunnel::peer::Peer;
use mlvpn_tests::inner;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::{Who, World};

use super::{millis, secs};

const CLIENTS: u16 = 1_000;

#[test]
fn a_thousand_clients_share_a_port_and_each_has_its_own_traffic() {
    let mut world: World<1, 8> = World::empty(95);
    world.records = false;
    for _ in 0..CLIENTS {
        world.add_client(1, keys::config(), keys::config());
        // They come one after another, so that the gateway need not ask for cookies; many at once are another test's.
        world.run_for(millis(11));
    }
    world.run_for(secs(2));
    for number in 0..CLIENTS {
        let tag = u64::from(number) << 32;
        for packet in 0..3 {
            assert!(world.send(Who::Client(number), &inner::ipv4(200, tag + packet)));
            assert!(world.send(Who::Server(number), &inner::ipv4(200, tag + packet)));
        }
        world.run_for(millis(1));
    }
    world.run_for(millis(100));
    for number in 0..CLIENTS {
        let expected: Vec<u64> = (0..3).map(|packet| (u64::from(number) << 32) + packet).collect();
        for who in [Who::Client(number), Who::Server(number)] {
            assert_eq!(world.end(who).numbers(), expected, "{who:?}");
        }
    }
    world.assert_no_slot_is_lost();
    println!("{CLIENTS} clients, {} claims read", world.server.claims);
    assert_eq!(world.server.claims, u64::from(CLIENTS));
}

#[test]
fn three_hundred_clients_that_come_at_once_all_get_in_with_cookies() {
    let mut world: World<1, 8> = World::empty(96);
    world.records = false;
    for _ in 0..300 {
        world.add_client(1, keys::config(), keys::config());
    }
    world.run_for(secs(5));
    let up = world.server.ends.iter().filter(|end| end.peer.is_up()).count();
    assert_eq!(up, 300);
}

#[test]
fn a_peer_of_eight_links_takes_less_than_a_hundred_kibibytes() {
    let bytes = size_of::<Peer<8, 256>>();
    println!("a peer of 8 links and a window of 256: {bytes} bytes");
    assert!(bytes < 100 * 1_024, "{bytes}");
}

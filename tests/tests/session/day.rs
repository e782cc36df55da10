// SPDX-License-Identifier: BSD-2-Clause
//! A day of it, 24 hours in virtual time; `MLVPN_SOAK` says how many minutes instead. The engines have no
//! heap, and lose no slot of their packets here; what real daemons hold of descriptors and memory is in `tests/daemon/soak.rs`.

use mlvpn_core::state::link::LinkSettings;
use mlvpn_tests::session::world::{Who, World};

use super::{CLIENT, FIRST, SECOND, SERVER, assert_carries, secs};

/// Minutes without being asked for more or less: a day.
const MINUTES: u64 = 24 * 60;

#[test]
fn a_day_of_flaps_new_addresses_and_reloads_leaves_no_slot_behind_and_a_tunnel_that_carries() {
    let mut world: World = World::up(51, 2);
    world.records = false;
    let mut sent = 0;
    let minutes = std::env::var("MLVPN_SOAK").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(MINUTES);
    for minute in 0..minutes {
        let link = usize::from(minute % 2 == 1);
        // A flap each minute, a new address every ten, other rates every half hour.
        world.clients[0].wires[link].cut();
        for number in 0..4 {
            for who in [CLIENT, SERVER] {
                sent += u64::from(world.send(who, &mlvpn_tests::inner::ipv4(900, minute * 10 + number)));
            }
            world.run_for(secs(5));
        }
        world.clients[0].wires[link].mend();
        if minute % 10 == 9 {
            let port = 10_000 + u16::try_from(minute).unwrap();
            world.clients[0].wires[link].client.set_port(port);
        }
        if minute % 30 == 29 {
            let rate_bytes_per_sec = 100_000 + minute * 1_000;
            for id in [FIRST, SECOND] {
                let settings = LinkSettings { rate_bytes_per_sec, ..LinkSettings::default() };
                assert!(world.clients[0].end.peer.set_link(id, settings));
            }
            world.touch(Who::Client(0));
        }
        world.run_for(secs(40));
        world.assert_no_slot_is_lost();
        for who in [CLIENT, SERVER] {
            let end = world.end(who);
            assert!(end.peer.is_up(), "minute {minute}, {who:?}");
            end.delivered.clear();
            end.events.clear();
        }
    }
    assert!(sent > minutes * 7, "{sent}");
    assert_carries(&mut world, 1_000_000);
}

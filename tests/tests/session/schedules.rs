// SPDX-License-Identifier: BSD-2-Clause
//! A thousand random histories of loss, reordering, repetition, rebinding, cuts, new keys, new starts and forgeries.
//!
//! Whatever happened, no packet is delivered twice and none is delivered that was not sent; and once the underlay is
//! sound again, packets pass both ways within [`HEALS_WITHIN`]: a link that nobody answers on is probed every two
//! seconds, a client that has lost all links asks for a new session after three, and the first round of either may meet
//! the end of the trouble.

use std::collections::HashSet;

use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::random::Random;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, millis, secs};

/// How long the session may take to heal once its underlay is sound, as `core/PROTOCOL.md` states it.
const HEALS_WITHIN: Duration = Duration::from_secs(10);

const SCHEDULES: u64 = 1_000;

fn disturb(world: &mut World<2, 64>, random: &mut Random) {
    let link = random.below(2) as usize;
    let what = random.below(14);
    let wire = &mut world.clients[0].wires[link];
    match what {
        0 => wire.cut(),
        1 => wire.mend(),
        2 => wire.is_up_open = !wire.is_up_open,
        3 => wire.rebind(),
        4 => wire.loss = random.below(400),
        5 => wire.jitter = millis(random.below(80)),
        6 => wire.repeats = random.below(300),
        7 => wire.delay = millis(1 + random.below(150)),
        8 => wire.mtu = 1_200 + random.below(301) as usize,
        9 | 10 => {
            // A pause of the machines, or so much use that new keys are due.
            let span = secs(60 + random.below(70));
            world.run_for(span);
        }
        11 => {
            world.assert_no_slot_is_lost();
            match random.below(4) {
                0 => world.restart_server(&keys::config()),
                1 => world.restart_client(0, keys::config(), keys::credentials(0)),
                _ => {}
            }
        }
        _ => inject(world, random),
    }
}

/// Something of the past comes again, as it was or changed.
fn inject(world: &mut World<2, 64>, random: &mut Random) {
    let Some(last) = (world.sent.len() as u64).checked_sub(1) else { return };
    let flight = world.sent[random.below(last + 1) as usize].clone();
    let mut bytes = flight.bytes;
    if random.one_in(2) {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
    if flight.is_up {
        world.inject_up("203.0.113.66:6666".parse().expect("an address"), &bytes);
    } else {
        world.inject_down((0, 0), flight.from, &bytes);
    }
}

fn traffic(world: &mut World<2, 64>, number: &mut u64, random: &mut Random) {
    for _ in 0..8 {
        let len = 60 + random.below(1_000) as usize;
        for who in [CLIENT, SERVER] {
            world.send(who, &inner::ipv4(len, *number));
        }
        *number += 1;
        world.run_for(millis(random.below(15)));
    }
}

/// Every packet is one that was sent, and no two are the same.
fn assert_genuine(world: &mut World<2, 64>, seen: &mut [HashSet<u64>; 2], sent: u64, seed: u64) {
    for (who, seen) in [CLIENT, SERVER].into_iter().zip(seen) {
        for (_, packet) in std::mem::take(&mut world.end(who).delivered) {
            if packet[9] == 1 {
                continue; // The end's own answer to what was too big.
            }
            let number = inner::number(&packet);
            assert!(number < sent && packet == inner::ipv4(packet.len(), number), "seed {seed}: forged at {who:?}");
            assert!(seen.insert(number), "seed {seed}: {number} is delivered twice at {who:?}");
        }
    }
}

fn heal(world: &mut World<2, 64>, seed: u64) -> Duration {
    for wire in &mut world.clients[0].wires {
        *wire = mlvpn_tests::session::wire::Wire { client: wire.client, ..mlvpn_tests::session::wire::Wire::new(0, 0) };
    }
    let sound_since = world.now();
    loop {
        for who in [CLIENT, SERVER] {
            world.end(who).delivered.clear();
        }
        let probe = 1 << 40;
        for number in probe..probe + 4 {
            world.send(CLIENT, &inner::ipv4(200, number));
            world.send(SERVER, &inner::ipv4(200, number));
        }
        world.run_for(millis(250));
        let passed = |world: &mut World<2, 64>, who| world.end(who).numbers().iter().filter(|n| **n >= probe).count();
        if passed(world, CLIENT) == 4 && passed(world, SERVER) == 4 {
            return world.now().since(sound_since);
        }
        assert!(world.now().since(sound_since) < HEALS_WITHIN, "seed {seed}: not healed");
    }
}

#[test]
fn no_packet_is_delivered_twice_or_forged_and_every_session_heals() {
    let (mut slowest, mut renewals) = ((Duration::ZERO, 0), 0);
    for seed in 0..SCHEDULES {
        let mut random = Random::new(seed);
        let mut world: World<2, 64> = World::one(seed, 2);
        world.run_for(millis(random.below(2_000)));
        let (mut number, mut seen) = (0, [HashSet::new(), HashSet::new()]);
        for _ in 0..16 {
            disturb(&mut world, &mut random);
            traffic(&mut world, &mut number, &mut random);
            assert_genuine(&mut world, &mut seen, number, seed);
        }
        let took = heal(&mut world, seed);
        slowest = slowest.max((took, seed));
        world.run_for(secs(1));
        world.assert_no_slot_is_lost();
        renewals += world.server.answers.saturating_sub(1);
    }
    println!("{renewals} handshakes besides the first of each schedule");
    assert!(renewals > SCHEDULES);
    println!("{SCHEDULES} schedules; the slowest healed after {} ms: seed {}", slowest.0.millis(), slowest.1);
}

// SPDX-License-Identifier: BSD-2-Clause
//! A peer that has the keys sends control blocks that no engine of ours writes.

use mlvpn_core::memory::control::{self, Control, MAX_FRAMES};
use mlvpn_core::words::drops::DropReason;
use mlvpn_tests::inner;
use mlvpn_tests::random::Random;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{SERVER, attacker, established, sealed};

fn world(seed: u64) -> World {
    let mut world: World = World::empty(seed);
    world.add_client(0, keys::config(), keys::config());
    world
}

#[test]
fn blocks_that_are_too_long_too_full_unknown_or_within_each_other_are_refused_and_harmless() {
    let mut world = world(63);
    let keys = established(&mut world, 0);
    let mut full = [0; 200];
    let len = control::emit(&[const { Control::Leave }; MAX_FRAMES], &mut full).unwrap();
    let mut overfull = full[..len].to_vec();
    overfull[0] += 1;
    overfull.push(full[1]);
    let nested = [&[u8::try_from(len + 1).unwrap()][..], &full[..len]].concat();
    let blocks: [&[u8]; 8] =
        [&overfull, &[255, 0, 1], &[1, 99], &[2, 0, 0x80], &[0], &nested, &[12, 2, 255, 255, 255], &[]];
    let before = world.end(SERVER).peer.drops().of(DropReason::Malformed);
    for (counter, block) in blocks.iter().enumerate() {
        world.inject_up(attacker(), &sealed(&keys, counter as u64, true, block));
    }
    let refused = world.end(SERVER).peer.drops().of(DropReason::Malformed) - before;
    // A block of no frames with nothing behind it is empty, and does nothing.
    assert!((6..=8).contains(&refused), "{refused}");
    world.inject_up(attacker(), &sealed(&keys, 100, false, &inner::ipv4(60, 7)));
    assert_eq!(world.end(SERVER).numbers(), [7]);
    world.assert_no_slot_is_lost();
}

#[test]
fn a_full_block_is_answered_with_a_few_datagrams_and_no_more_bytes_than_a_few() {
    let mut world = world(64);
    let keys = established(&mut world, 0);
    let mut body = [0; 200];
    let len = control::emit(&[const { Control::Challenge { token: u64::MAX } }; MAX_FRAMES], &mut body).unwrap();
    for counter in 0..50 {
        world.bytes = (0, 0);
        world.inject_up(attacker(), &sealed(&keys, counter, true, &body[..len]));
        // Four answers and a challenge, 70 bytes each with all headers.
        assert!(world.bytes.1 <= 6 * 80, "{}", world.bytes.1);
    }
}

#[test]
fn random_blocks_do_no_harm() {
    let mut world = world(65);
    let keys = established(&mut world, 0);
    let mut random = Random::new(66);
    for counter in 0..3_000 {
        let len = random.below(120) as usize;
        let body = random.bytes(len);
        world.inject_up(attacker(), &sealed(&keys, counter, true, &body));
        if counter % 10 == 0 {
            world.run_for(super::millis(random.below(1_000)));
        }
    }
    world.run_for(super::secs(1));
    world.assert_no_slot_is_lost();
}

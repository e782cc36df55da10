// SPDX-License-Identifier: BSD-2-Clause
//! Somebody forges source addresses so that the server's answers hit a victim.

use mlvpn_tests::random::Random;
use mlvpn_tests::session::world::World;

use super::{attacker, millis};

#[test]
fn nothing_unauthenticated_gets_an_answer_larger_than_itself() {
    let mut world: World = World::up(73, 1);
    world.records = false;
    let genuine: Vec<Vec<u8>> = {
        let mut other: World = World::one(74, 1);
        other.run_for(millis(100));
        other.sent.iter().map(|flight| flight.bytes.clone()).collect()
    };
    let mut random = Random::new(75);
    let (mut asked, mut answered) = (0, 0);
    for round in 0..20_000 {
        let mut bytes = if random.one_in(3) {
            let len = random.below(200) as usize;
            random.bytes(len)
        } else {
            genuine[random.below(genuine.len() as u64) as usize].clone()
        };
        if let Some(first) = bytes.first_mut().filter(|_| random.one_in(3)) {
            *first = 0x80 + (random.bits() & 3) as u8;
        }
        if random.one_in(2) && !bytes.is_empty() {
            let at = random.below(bytes.len().min(12) as u64) as usize;
            bytes[at] = random.bits() as u8;
        }
        world.bytes = (0, 0);
        let answer = world.inject_up(attacker(), &bytes);
        asked += bytes.len();
        if let Some(answer) = answer {
            answered += answer.len();
            assert!(answer.len() <= bytes.len(), "round {round}: {} for {}", answer.len(), bytes.len());
        }
        assert_eq!(world.bytes.1, 0, "the engine said something, too");
        if round % 100 == 0 {
            world.clients[0].wires[0].cut();
            world.run_for(millis(10));
        }
    }
    println!("{asked} bytes asked, {answered} answered");
    assert!(answered > 0 && answered <= asked);
}

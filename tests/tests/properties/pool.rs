// SPDX-License-Identifier: BSD-2-Clause
//! A pool hands out each packet to one owner at a time.

use mlvpn_core::memory::pool::{Pool, Slot};
use proptest::prelude::*;

const SLOTS: usize = 16;

#[test]
fn every_packet_has_one_owner_and_none_is_lost() {
    // Some takes, or a put of one of those in hand.
    let steps = proptest::collection::vec(proptest::option::of(any::<prop::sample::Index>()), 0..200);
    let check = |steps: Vec<Option<prop::sample::Index>>| {
        let mut pool = Pool::<SLOTS>::new();
        let mut owned: Vec<(Slot, u64)> = Vec::new();
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                None => match pool.take() {
                    Some(slot) => {
                        let mark = count as u64;
                        prop_assert!(pool.packet_mut(&slot).unwrap().copy_from(&mark.to_be_bytes()));
                        owned.push((slot, mark));
                    }
                    None => prop_assert_eq!(owned.len(), SLOTS),
                },
                Some(index) if !owned.is_empty() => {
                    let (slot, _) = owned.swap_remove(index.index(owned.len()));
                    pool.put(slot);
                }
                Some(_) => {}
            }
            prop_assert_eq!(pool.available() + owned.len(), SLOTS);
            // Nobody else wrote into the packets in hand.
            for (slot, mark) in &owned {
                prop_assert_eq!(pool.packet(slot).unwrap().as_bytes(), &mark.to_be_bytes()[..]);
            }
        }
        Ok(())
    };
    super::runner(500).run(&steps, check).unwrap();
}

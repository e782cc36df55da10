// SPDX-License-Identifier: BSD-2-Clause
//! The scheduler against exact proportion.
//!
//! Start-time fair queueing promises that, while two links are both there, what they have carried for their rates
//! differs by no more than one largest packet on each: `|bytes_a / rate_a - bytes_b / rate_b| <= max / rate_a + max /
//! rate_b`. That is checked over every span of time in which the same links were there.

use mlvpn_core::stages::schedule::{Candidate, Scheduler};
use mlvpn_core::words::limits::MAX_LINKS;
use proptest::prelude::*;

const LARGEST: usize = 1_500;

/// Which links are there for the next packets, and their sizes.
type Spell = (u32, Vec<usize>);

fn spells() -> impl Strategy<Value = (Vec<u64>, Vec<Spell>)> {
    // From weights to 100 Gbit/s, but not so far apart that the slowest never gets its turn.
    let rates = prop_oneof![
        proptest::collection::vec(1..100u64, 2..6),
        proptest::collection::vec(10_000..10_000_000u64, 2..6),
        proptest::collection::vec(1_000_000..12_500_000_000u64, 2..MAX_LINKS),
    ];
    let spell = (any::<u32>(), proptest::collection::vec(20..=LARGEST, 1..300));
    (rates, proptest::collection::vec(spell, 1..6))
}

fn candidates(rates: &[u64], present: u32) -> Vec<Candidate> {
    let all = rates.iter().enumerate().map(|(index, rate)| Candidate { index, rate_bytes_per_sec: *rate });
    all.filter(|candidate| present >> candidate.index & 1 == 1).collect()
}

#[test]
fn links_that_are_there_share_bytes_in_proportion_to_their_rates() {
    let check = |(rates, spells): (Vec<u64>, Vec<Spell>)| {
        let mut scheduler = Scheduler::new();
        for (present, sizes) in spells {
            let candidates = candidates(&rates, present);
            let mut carried = [0u64; MAX_LINKS];
            for size in sizes {
                let chosen = scheduler.choose(&candidates, size);
                prop_assert_eq!(chosen.is_none(), candidates.is_empty());
                let Some(chosen) = chosen else { continue };
                prop_assert!(candidates.iter().any(|candidate| candidate.index == chosen));
                carried[chosen] += size as u64;
            }
            for (a, b) in candidates.iter().zip(candidates.iter().skip(1)) {
                let time = |link: &Candidate, bytes: u64| bytes as f64 / link.rate_bytes_per_sec as f64;
                let apart = (time(a, carried[a.index]) - time(b, carried[b.index])).abs();
                // A link that came back may be ahead of the clock by the packet it was given last.
                let bound = 2.0 * (time(a, LARGEST as u64) + time(b, LARGEST as u64));
                prop_assert!(apart <= bound * 1.001, "{:?} carried {:?}: {} s apart", candidates, carried, apart);
            }
        }
        Ok(())
    };
    super::runner(1_000).run(&spells(), check).unwrap();
}

#[test]
fn links_that_stay_are_never_more_than_a_packet_each_out_of_proportion() {
    let check = |(rates, spells): (Vec<u64>, Vec<Spell>)| {
        let mut scheduler = Scheduler::new();
        let candidates = candidates(&rates, u32::MAX);
        let mut carried = [0u64; MAX_LINKS];
        for size in spells.into_iter().flat_map(|(_, sizes)| sizes) {
            carried[scheduler.choose(&candidates, size).unwrap()] += size as u64;
            for (a, b) in candidates.iter().zip(candidates.iter().skip(1)) {
                let time = |link: &Candidate, bytes: u64| bytes as f64 / link.rate_bytes_per_sec as f64;
                let apart = (time(a, carried[a.index]) - time(b, carried[b.index])).abs();
                let bound = time(a, LARGEST as u64) + time(b, LARGEST as u64);
                prop_assert!(apart <= bound * 1.001, "{:?} carried {:?}: {} s apart", candidates, carried, apart);
            }
        }
        Ok(())
    };
    super::runner(200).run(&spells(), check).unwrap();
}

#[test]
fn a_link_of_unknown_rate_counts_as_the_mean_of_the_others() {
    let check = |(known, sizes): (Vec<u64>, Vec<usize>)| {
        let mean = known.iter().sum::<u64>() / known.len() as u64;
        let place = known.len();
        let unknown = candidates(&[known.clone(), vec![0]].concat(), u32::MAX);
        let stated = candidates(&[known, vec![mean]].concat(), u32::MAX);
        let (mut one, mut other) = (Scheduler::new(), Scheduler::new());
        for size in sizes {
            prop_assert_eq!(one.choose(&unknown, size), other.choose(&stated, size), "the last is {}", place);
        }
        Ok(())
    };
    let input = (proptest::collection::vec(1..1_000_000u64, 1..5), proptest::collection::vec(20..=LARGEST, 1..100));
    super::runner(300).run(&input, check).unwrap();
}

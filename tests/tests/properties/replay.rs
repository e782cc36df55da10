// SPDX-License-Identifier: BSD-2-Clause
//! The replay window against a set of all numbers ever marked.

use std::collections::HashSet;

use mlvpn_core::state::replay::{ReplayWindow, Seen};
use proptest::prelude::*;

/// Every number ever marked, and the highest.
#[derive(Default)]
struct Model {
    marked: HashSet<u64>,
    highest: Option<u64>,
}

impl Model {
    fn check(&self, number: u64, span: u64) -> Seen {
        match self.highest {
            Some(highest) if number <= highest && highest - number >= span => Seen::Unknown,
            _ if self.marked.contains(&number) => Seen::Before,
            _ => Seen::Never,
        }
    }
}

/// Small steps both ways, and now and then a jump about as long as the window, or far beyond, near either end.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        8 => -10..12i64,
        2 => -300..330i64,
        1 => prop::sample::select(vec![63, 64, 65, 191, 192, 193, 255, 256, 257, -63, -64, -191, -192, -193, -256]),
        1 => -100_000..1_000_000i64,
    ];
    proptest::collection::vec(step, 1..400)
}

fn compare<const WORDS: usize>((start, steps): (u64, Vec<i64>)) -> Result<(), TestCaseError> {
    let (mut window, mut model) = (ReplayWindow::<WORDS>::new(), Model::default());
    let mut number = start;
    for step in steps {
        number = number.saturating_add_signed(step);
        let expected = model.check(number, ReplayWindow::<WORDS>::SPAN);
        prop_assert_eq!(window.check(number), expected, "number {}, highest {:?}", number, model.highest);
        if expected == Seen::Never || step % 3 == 0 {
            window.mark(number);
            if expected != Seen::Unknown {
                model.marked.insert(number);
            }
            model.highest = model.highest.max(Some(number));
        }
        prop_assert_eq!(window.highest(), model.highest);
    }
    Ok(())
}

fn input() -> impl Strategy<Value = (u64, Vec<i64>)> {
    (prop_oneof![3 => 0..1_000u64, 1 => any::<u64>(), 1 => u64::MAX - 1_000..=u64::MAX], steps())
}

#[test]
fn a_small_window_knows_what_a_set_knows() {
    super::runner(1_000).run(&input(), compare::<2>).unwrap();
    super::runner(1_000).run(&input(), compare::<4>).unwrap();
}

#[test]
fn a_window_of_the_size_in_use_knows_what_a_set_knows() {
    super::runner(500).run(&input(), compare::<{ mlvpn_core::words::limits::REPLAY_WORDS }>).unwrap();
}

#[test]
fn what_is_closed_counts_as_seen_and_what_is_ahead_does_not() {
    let check = |(edge, number): (u64, u64)| {
        let mut window = ReplayWindow::<4>::new();
        window.close_up_to(edge);
        prop_assert_eq!(window.check(number) == Seen::Never, number > edge);
        prop_assert_eq!(window.check(edge.saturating_add(number)) == Seen::Never, edge.saturating_add(number) > edge);
        window.mark(edge.saturating_add(3));
        prop_assert!(window.check(edge) != Seen::Never);
        prop_assert_eq!(window.check(edge.saturating_add(1)) == Seen::Never, edge < u64::MAX - 1);
        Ok(())
    };
    super::runner(1_000).run(&(any::<u64>(), 0..600u64), check).unwrap();
}

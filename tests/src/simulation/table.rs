// SPDX-License-Identifier: BSD-2-Clause
//! Runs in parallel, and the table of what came out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mlvpn_core::words::time::Duration;

use super::outcome::Outcome;
use super::plan::Plan;
use super::world::run;

/// Unoptimised builds lay engines and pools out on the stack before they box them: tens of megabytes.
const STACK_BYTES: usize = 128 << 20;

/// The plans' outcomes, in their order, worked off by `jobs` threads.
///
/// # Panics
/// When a run does.
#[must_use]
pub fn run_all(plans: &[Plan], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; plans.len()]);
    let work = || {
        while let Some((index, plan)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, plans.get(i)?)))
        {
            let outcome = run(plan);
            outcomes.lock().expect("no run panicked")[index] = Some(outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
            worker.expect("a thread for the simulation");
        }
    });
    outcomes.into_inner().expect("no run panicked").into_iter().flatten().collect()
}

/// The heading of a table of [`row`]s.
pub const HEADING: &str = "\
| | goodput % median | worst | p50 ms | p99 ms median | worst | probe loss % | longest gap ms median | worst | engine drops | resends | duplicates | TCP copies % | timeouts |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// A table's row: the medians over the seeds of one scenario, and the worst ones.
#[must_use]
pub fn row(name: &str, outcomes: &[Outcome]) -> String {
    let column = |value: &dyn Fn(&Outcome) -> u64| {
        let mut values: Vec<u64> = outcomes.iter().map(value).collect();
        values.sort_unstable();
        Spread(values)
    };
    let goodput = column(&Outcome::goodput_permille);
    let p99 = column(&|outcome| outcome.latency[0].p99);
    let gap = column(&|outcome| outcome.gap.micros());
    let cells = [
        tenths(goodput.median()),
        tenths(goodput.least()),
        millis(column(&|outcome| outcome.latency[0].median).median()),
        millis(p99.median()),
        millis(p99.most()),
        tenths(column(&|outcome| outcome.latency[0].lost_millionths).median() / 1_000),
        (gap.median() / 1_000).to_string(),
        (gap.most() / 1_000).to_string(),
        column(&|outcome| outcome.engines.drops).median().to_string(),
        counted(outcomes.iter().map(|outcome| outcome.engines.resends).collect()),
        counted(outcomes.iter().map(|outcome| outcome.engines.duplicates).collect()),
        tenths(column(&copies_permille).median()),
        column(&|outcome| outcome.sendings.timeouts).median().to_string(),
    ];
    format!("| {name} | {} |\n", cells.join(" | "))
}

fn copies_permille(outcome: &Outcome) -> u64 {
    outcome.sendings.copies * 1_000 / outcome.sendings.segments.max(1)
}

/// Sorted values.
struct Spread(Vec<u64>);

impl Spread {
    /// Of an even number of values the mean of the two in the middle.
    fn median(&self) -> u64 {
        let at = |index: usize| self.0.get(index).copied().unwrap_or(0);
        u64::midpoint(at(self.0.len().saturating_sub(1) / 2), at(self.0.len() / 2))
    }

    fn least(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }

    fn most(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }
}

/// The median of what engines count; a dash while they do not.
fn counted(values: Vec<Option<u64>>) -> String {
    let counted: Option<Vec<u64>> = values.into_iter().collect();
    counted.map_or("-".to_owned(), |mut values| {
        values.sort_unstable();
        Spread(values).median().to_string()
    })
}

/// Tenths written with their point.
#[must_use]
pub fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// Microseconds in milliseconds with one decimal.
#[must_use]
pub fn millis(micros: u64) -> String {
    tenths(micros / 100)
}

/// A span in seconds with one decimal, or a dash.
#[must_use]
pub fn seconds(span: Option<Duration>) -> String {
    span.map_or("-".to_owned(), |span| tenths(span.millis() / 100))
}

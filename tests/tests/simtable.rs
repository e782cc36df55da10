// SPDX-License-Identifier: BSD-2-Clause
//! A small version of the bonding benchmark, whose table is compared with the one committed: virtual time gives the same
//! figures on every machine, so that a difference is a change of behaviour that a reviewer should see.

use mlvpn_core::words::time::Duration;
use mlvpn_tests::simulation::plan::Plan;
use mlvpn_tests::simulation::scenario::Scenario;
use mlvpn_tests::simulation::table::{HEADING, row, run_all};
use mlvpn_tests::simulation::tcp::congestion::Algorithm;

const EXPECTED: &str = include_str!("simtable.md");

/// Set, it has the test write the table anew.
const RENEW: &str = "MLVPN_RENEW_SIMTABLE";

#[test]
fn the_small_table_is_the_one_committed() {
    let mut table = HEADING.to_owned();
    for (name, algorithm) in
        [("S2", Algorithm::Cubic), ("S5", Algorithm::Cubic), ("S9", Algorithm::Cubic), ("S2", Algorithm::Bbr)]
    {
        let scenario = Scenario::named(name).expect("in the table");
        let plans = [1, 2].map(|seed| shortened(Plan::of(scenario, algorithm, seed)));
        table += &row(&format!("{name} {algorithm:?}"), &run_all(&plans, 2));
    }
    if std::env::var_os(RENEW).is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simtable.md");
        return std::fs::write(file, table).expect("the table is writable");
    }
    assert!(
        table == EXPECTED,
        "the engine or the model behaves differently now:\n{table}\nbut tests/tests/simtable.md says\n{EXPECTED}\n\
         if that is an improvement, renew it: {RENEW}=1 cargo test -p mlvpn-tests --test simtable"
    );
}

/// Eight seconds, of which the first three do not count; what happens at 30 s happens at 5 s.
fn shortened(plan: Plan) -> Plan {
    let mut plan = Plan { length: Duration::from_secs(8), skipped: Duration::from_secs(3), ..plan };
    for (at, _) in plan.links.iter_mut().flat_map(|(_, mishaps)| mishaps) {
        *at = *at - Duration::from_secs(25);
    }
    plan
}

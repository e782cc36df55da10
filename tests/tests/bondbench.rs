// SPDX-License-Identifier: BSD-2-Clause
//! The bench end to end, once, for two seconds: that its parts fit, not how fast anything is. Needs root and
//! /dev/net/tun; says so and passes without.

use mlvpn_tests::bench::chart::svg;
use mlvpn_tests::bench::measure::measure;
use mlvpn_tests::bench::plan::{Figures, Heading, Mix, Outcome, Plan};
use mlvpn_tests::bench::report::markdown;
use mlvpn_tests::bench::system::System;

fn plan(system: System, mix: Mix, heading: Heading) -> Plan {
    Plan { scenario: "unequal".to_owned(), system, mix, heading, skip_seconds: 0, seconds: 2, idle_millis: 300 }
}

/// What holds whatever the machine's speed.
fn check(plan: &Plan, figures: &Figures) {
    assert!(figures.goodput_bps > 0.0 && figures.broken == 0, "{figures:?}");
    assert!(figures.idle.is_some_and(|idle| idle.sent > 0 && idle.p50_millis > 0.0), "{figures:?}");
    assert!(figures.carried_bps.len() == 2 && figures.emulator_percent > 0.0, "{figures:?}");
    assert!((0.0..=2_000.0).contains(&figures.stall_millis), "{figures:?}");
    let (expected, idle_link) = match plan.system {
        System::Link(1) => (vec![40_000_000], Some(1)),
        System::Link(_) => (vec![10_000_000], Some(0)),
        _ => (vec![40_000_000, 10_000_000], None),
    };
    assert_eq!(figures.rates_bps, expected);
    // The kernel's own few words on an interface, such as router solicitations, are no traffic of ours.
    let rests = |link: usize| figures.carried_bps[link] * 10.0 < figures.goodput_bps;
    assert!(idle_link.is_none_or(rests), "{figures:?}");
}

#[test]
fn our_tunnel_and_a_link_alone_are_measured_and_told() {
    let plans = [plan(System::Protocol2, Mix::Cubic8, Heading::Down), plan(System::Link(2), Mix::Cubic1, Heading::Up)];
    let mut outcomes = Vec::new();
    for plan in plans {
        let measured = measure(&plan).expect("a measurement");
        let Some(figures) = measured else { return };
        check(&plan, &figures);
        outcomes.push(Outcome { plan, result: Ok(figures) });
    }
    let json = serde_json::to_string(&outcomes).expect("plain data");
    assert_eq!(serde_json::from_str::<Vec<Outcome>>(&json).expect("what was written"), outcomes);
    let (table, drawing) = (markdown(&outcomes), svg(&outcomes));
    assert!(table.contains("| mlvpn, protocol 2") && table.contains("| link 2 alone"), "{table}");
    assert!(drawing.contains("cubic8 down") && drawing.contains("cubic1 up"), "{drawing}");
}

#[test]
fn a_scenario_that_is_not_there_is_an_error() {
    let unknown = Plan { scenario: "nowhere".to_owned(), ..plan(System::Protocol2, Mix::Cubic1, Heading::Up) };
    assert_eq!(measure(&unknown), Err("no scenario nowhere".to_owned()));
}

// SPDX-License-Identifier: BSD-2-Clause
//! The model over single links without a tunnel.

use mlvpn_core::words::time::Duration;

use super::congestion::Algorithm;
use crate::simulation::outcome::Outcome;
use crate::simulation::plan::Plan;
use crate::simulation::world::run;

fn over(link: &str, algorithm: Algorithm, seconds: u64) -> Outcome {
    run(&Plan::bare(link.parse().expect(link), algorithm, Duration::from_secs(seconds)))
}

#[test]
fn cubic_fills_a_link_whose_buffer_holds_a_round_trip() {
    for link in ["20mbit/15ms/queue=50ms", "50mbit/10ms/queue=150ms", "12mbit/30ms/queue=400ms"] {
        let outcome = over(link, Algorithm::Cubic, 10);
        assert!(outcome.goodput_permille() > 940, "{link}: {outcome:?}");
        assert_eq!(outcome.sendings.timeouts, 0, "{link}: losses are repaired before a timer runs out");
    }
}

#[test]
fn slow_start_ends_by_hystart_before_a_large_buffer_overflows() {
    let with = over("50mbit/20ms/queue=200ms", Algorithm::Cubic, 2);
    let without = over("50mbit/20ms/queue=200ms", Algorithm::CubicWithoutHystart, 2);
    assert!(with.sendings.copies < without.sendings.copies / 4, "{} {}", with.sendings.copies, without.sendings.copies);
}

#[test]
fn one_percent_of_loss_slows_cubic_down_but_not_bbr() {
    let cubic = over("30mbit/30ms/1%", Algorithm::Cubic, 20);
    let bbr = over("30mbit/30ms/1%", Algorithm::Bbr, 20);
    // Mathis et al. (1997) give Reno 1.2 MSS / (RTT sqrt(p)), 2.3 Mbit/s here; CUBIC gets somewhat more.
    assert!((50..200).contains(&cubic.goodput_permille()), "{}", cubic.goodput_permille());
    assert!(bbr.goodput_permille() > 850, "{}", bbr.goodput_permille());
}

#[test]
fn each_lost_segment_is_sent_again_about_once() {
    let outcome = over("30mbit/30ms/1%", Algorithm::Cubic, 20);
    let sendings = outcome.sendings;
    let lost = sendings.segments / 100;
    assert!(sendings.copies.abs_diff(lost) < lost / 2 + 10, "{sendings:?}");
    assert!(outcome.received.duplicates < 20, "{:?}", outcome.received);
}

#[test]
fn mere_reordering_is_noticed_as_such() {
    let outcome = over("20mbit/20ms/reorder=1%:8ms/queue=200ms", Algorithm::Cubic, 10);
    assert!(outcome.received.out_of_order > 100, "{:?}", outcome.received);
    assert!(outcome.goodput_permille() > 900, "{} {:?}", outcome.goodput_permille(), outcome.sendings);
}

#[test]
fn an_application_that_sends_little_is_not_slowed_down() {
    let mut plan = Plan::bare("20mbit/15ms".parse().expect("a link"), Algorithm::Cubic, Duration::from_secs(10));
    plan.application = Some(125_000);
    let outcome = run(&plan);
    assert!(outcome.payload.abs_diff(1_250_000) < 10_000, "{}", outcome.payload);
    assert!(outcome.latency[0].p99 < 20_000, "{:?}", outcome.latency);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let outcomes = [1, 1, 2].map(|seed| {
        let mut plan = Plan::bare("20mbit/15ms/1%".parse().expect("a link"), Algorithm::Bbr, Duration::from_secs(5));
        plan.seed = seed;
        let outcome = run(&plan);
        (outcome.payload, outcome.sendings, outcome.latency)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

#[test]
fn bbr_keeps_the_queue_short_and_its_window_within_bounds() {
    for link in ["20mbit/15ms/queue=200ms", "30mbit/30ms/0.1%/queue=200ms"] {
        let outcome = over(link, Algorithm::Bbr, 10);
        assert!(outcome.goodput_permille() > 900, "{link}: {}", outcome.goodput_permille());
        // Two products of rate and least round trip at most, and the start-up's queue.
        assert!(outcome.mean_rtt < 100_000, "{link}: {}", outcome.mean_rtt);
        assert!(outcome.sendings.copies < 100, "{link}: {:?}", outcome.sendings);
    }
}

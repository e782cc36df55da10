// SPDX-License-Identifier: BSD-2-Clause
//! All measurements as Markdown tables, one per scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::plan::{Figures, Heading, Latency, Mix, Outcome};
use super::scenario::{Scenario, named};
use super::spread::{Spread, text};
use super::system::System;

/// Below this share of idle time in percent the figures may be the machine's and not the system's.
const BUSY_BELOW_PERCENT: f64 = 5.0;

/// Every repeat of every system, for one scenario, flows and direction.
pub type Row<'a> = BTreeMap<System, Vec<&'a Result<Figures, String>>>;

/// Every kind of flows and direction of one scenario.
pub type Rows<'a> = BTreeMap<(Mix, Heading), Row<'a>>;

/// Measurements grouped as the table and the chart show them; scenarios in the order they were measured.
#[derive(Debug, Default)]
pub struct Grouped<'a> {
    /// By scenario, then flows and direction, then system.
    pub scenarios: Vec<(&'a str, Rows<'a>)>,
}

impl<'a> Grouped<'a> {
    /// Groups them.
    #[must_use]
    pub fn of(outcomes: &'a [Outcome]) -> Self {
        let mut grouped = Self::default();
        for Outcome { plan, result } in outcomes {
            let place = grouped.scenarios.iter().position(|(name, _)| *name == plan.scenario);
            let place = place.unwrap_or_else(|| {
                grouped.scenarios.push((&plan.scenario, BTreeMap::new()));
                grouped.scenarios.len() - 1
            });
            let rows = &mut grouped.scenarios[place].1;
            rows.entry((plan.mix, plan.heading)).or_default().entry(plan.system).or_default().push(result);
        }
        grouped
    }

    /// Every system that was measured, in the table's order, without the references.
    #[must_use]
    pub fn bonds(&self) -> Vec<System> {
        let rows = self.scenarios.iter().flat_map(|(_, rows)| rows.values());
        let all: BTreeSet<System> = rows.flat_map(|row| row.keys().copied()).collect();
        all.into_iter().filter(|system| !matches!(system, System::Link(_))).collect()
    }
}

/// The figures among a system's results.
pub fn good<'a>(results: &[&'a Result<Figures, String>]) -> Vec<&'a Figures> {
    results.iter().filter_map(|result| result.as_ref().ok()).collect()
}

/// Goodput of the best link alone in bits per second, the median of its repeats.
#[must_use]
pub fn best_link(row: &Row<'_>) -> Option<f64> {
    let links = row.iter().filter(|(system, _)| matches!(system, System::Link(_)));
    let medians = links.filter_map(|(_, results)| {
        Spread::of(good(results).iter().map(|figures| figures.goodput_bps)).map(|spread| spread.median)
    });
    medians.max_by(f64::total_cmp)
}

/// The tables.
#[must_use]
pub fn markdown(outcomes: &[Outcome]) -> String {
    let grouped = Grouped::of(outcomes);
    let mut out = introduction(outcomes);
    for (name, rows) in &grouped.scenarios {
        write_in(&mut out, format_args!("\n## {}\n\n", named(name).map_or(*name, |scenario| scenario.title)));
        if let Some(Scenario { links, .. }) = named(name) {
            write_in(&mut out, format_args!("`{name}`: {}\n\n", links.join(", ")));
        }
        out.push_str(
            "| system | flows | Mbit/s | % of links | x best link | on each link, Mbit/s | ping idle, p50 / p99 ms | loaded | pings lost % \
             | longest stall, ms | broken | emulator % |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for ((mix, heading), row) in rows {
            for (system, results) in row {
                out.push_str(&line(*system, &format!("{mix} {heading}"), results, best_link(row)));
            }
        }
    }
    out.push_str(&failures(outcomes));
    out
}

fn introduction(outcomes: &[Outcome]) -> String {
    let mut out = String::from("# Kernel TCP over bonded links\n\n");
    let Some(Outcome { plan, .. }) = outcomes.first() else { return out + "Nothing was measured.\n" };
    let busy = outcomes.iter().filter(|outcome| outcome.result.as_ref().is_ok_and(is_busy)).count();
    write_in(
        &mut out,
        format_args!(
            "Payload of kernel TCP between network namespaces, over links emulated in user space; {} s after {} s of \
             load. Medians, and in parentheses least and greatest. A link is written as down[:up] rate and one-way \
             delay; its queue is 200 ms unless said. \"% of links\" is of the rates the links had in that time and \
             direction; \"x best link\" of the best of them alone, without a tunnel, on the same bench; \"on each link\" is with all headers. Pings, one \
             every 20 ms, go through the tunnel; with kernel MPTCP, over the first link. \"Broken\" counts connections \
             that were reset or given up, of all repeats. \"Emulator\" is the emulator's share of one processor.\n\n\
             {busy} of {} runs left the machine idle for less than {BUSY_BELOW_PERCENT} % of the time: `*` marks \
             systems that had one, whose figures may be the machine's.\n",
            plan.seconds,
            plan.skip_seconds,
            outcomes.len(),
        ),
    );
    out
}

fn is_busy(figures: &Figures) -> bool {
    figures.machine_idle_percent < BUSY_BELOW_PERCENT
}

fn line(system: System, flows: &str, results: &[&Result<Figures, String>], best: Option<f64>) -> String {
    let figures = good(results);
    let column = |value: fn(&Figures) -> f64, digits| text(figures.iter().map(|figures| value(figures)), digits);
    let latency = |of: fn(&Figures) -> Option<Latency>| {
        let column = |value: fn(Latency) -> f64| text(figures.iter().filter_map(|figures| of(figures)).map(value), 0);
        format!("{} / {}", column(|latency| latency.p50_millis), column(|latency| latency.p99_millis))
    };
    let lost = figures.iter().filter_map(|figures| figures.loaded);
    let lost = text(lost.map(|latency| latency.lost as f64 * 100.0 / latency.sent.max(1) as f64), 1);
    let is_reference = matches!(system, System::Link(_));
    let ratio = best.filter(|best| *best > 0.0 && !is_reference);
    let ratio =
        ratio.map_or_else(|| "-".to_owned(), |best| text(figures.iter().map(|figures| figures.goodput_bps / best), 2));
    let mark = if figures.iter().any(|figures| is_busy(figures)) { " *" } else { "" };
    let failed = results.len() - figures.len();
    let failed = if failed == 0 { String::new() } else { format!(", {failed} of {} failed", results.len()) };
    let broken: usize = figures.iter().map(|figures| figures.broken).sum();
    format!(
        "| {}{mark}{failed} | {flows} | {} | {} | {ratio} | {} | {} | {} | {lost} | {} | {broken} | {} |\n",
        system.title(),
        column(|figures| figures.goodput_bps / 1e6, 1),
        column(Figures::percent, 0),
        carried(&figures),
        latency(|figures| figures.idle),
        latency(|figures| figures.loaded),
        column(|figures| figures.stall_millis, 0),
        column(|figures| figures.emulator_percent, 0),
    )
}

/// The median of what went over each link, headers and all.
fn carried(figures: &[&Figures]) -> String {
    let links = figures.iter().map(|figures| figures.carried_bps.len()).max().unwrap_or(0);
    let of = |link: usize| {
        let values = figures.iter().filter_map(|figures| figures.carried_bps.get(link));
        Spread::of(values.map(|bps| bps / 1e6)).map_or_else(|| "-".to_owned(), |spread| format!("{:.1}", spread.median))
    };
    if links == 0 { "-".to_owned() } else { (0..links).map(of).collect::<Vec<_>>().join(" + ") }
}

/// Every run that gave no figures, and why.
fn failures(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter_map(|outcome| Some((&outcome.plan, outcome.result.as_ref().err()?)));
    let lines: Vec<String> = failed
        .map(|(plan, why)| {
            let why = why.replace(['\n', '|'], " ");
            format!("- {}, {}, {} {}: {why}\n", plan.scenario, plan.system, plan.mix, plan.heading)
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n## Without figures\n\n{}", lines.concat()) }
}

fn write_in(out: &mut String, words: std::fmt::Arguments<'_>) {
    out.write_fmt(words).expect("a String takes all");
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::Plan;
    use super::*;

    fn figures(mbit: f64, rates: &[u64]) -> Figures {
        let latency = |millis| Latency { sent: 200, lost: 1, p50_millis: millis, p99_millis: millis * 2.0 };
        Figures {
            goodput_bps: mbit * 1e6,
            rates_bps: rates.iter().map(|rate| rate * 1_000_000).collect(),
            carried_bps: vec![mbit * 5e5, 2e6],
            idle: Some(latency(20.0)),
            loaded: Some(latency(31.0)),
            stall_millis: 45.4,
            broken: 1,
            emulator_percent: 12.0,
            machine_idle_percent: if mbit > 80.0 { 2.0 } else { 50.0 },
        }
    }

    /// Two links, a tunnel with two good runs, and one that failed.
    pub(in super::super) fn example() -> Vec<Outcome> {
        let outcome = |system, result| {
            let (mix, heading, scenario) = (Mix::Cubic1, Heading::Down, "equal".to_owned());
            let plan = Plan { scenario, system, mix, heading, skip_seconds: 5, seconds: 20, idle_millis: 2_000 };
            Outcome { plan, result }
        };
        vec![
            outcome(System::Protocol2, Ok(figures(90.0, &[50, 50]))),
            outcome(System::Protocol2, Ok(figures(70.0, &[50, 50]))),
            outcome(System::Glorytun, Err("it | ended\nat once".to_owned())),
            outcome(System::Link(1), Ok(figures(40.0, &[50]))),
            outcome(System::Link(2), Ok(figures(32.0, &[50]))),
        ]
    }

    #[test]
    fn a_line_has_medians_shares_and_the_ratio_to_the_best_link() {
        let text = markdown(&example());
        let line = "| mlvpn, protocol 2 * | cubic1 down | 80.0 (70.0 to 90.0) | 80 (70 to 90) | 2.00 (1.75 to 2.25) \
            | 40.0 + 2.0 | 20 / 40 | 31 / 62 | 0.5 | 45 | 2 | 12 |\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| link 1 alone | cubic1 down | 40.0 | 80 | - |"), "{text}");
        assert!(text.contains("1 of 5 runs left the machine idle"), "{text}");
        assert!(text.contains("`equal`: 50mbit/10ms, 50mbit/10ms\n"), "{text}");
    }

    #[test]
    fn a_failure_is_told_and_breaks_no_table() {
        let text = markdown(&example());
        assert!(
            text.contains("| Glorytun, rates given, 1 of 1 failed | cubic1 down | - | - | - | - | - / - |"),
            "{text}"
        );
        assert!(text.contains("- equal, glorytun, cubic1 down: it   ended at once\n"), "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| columns(line) == 13), "{text}");
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(markdown(&[]).ends_with("Nothing was measured.\n"));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The result as a table for people.

use std::fmt::Write;

use super::figures::{gap, loss, mbit, mbit_short, percent_in_tenths, round_trip};
use super::plan::{Plan, Stretch};
use super::record::{Record, Row};

/// The table and what it means, at most 79 characters wide.
pub(super) fn render(plan: &Plan, record: &Record) -> String {
    let mut out = format!("{:<27}{:>6}  {:<14}{:>6}  {}\n", "", "Mbit/s", "of the links", "lost", "RTT under load");
    for row in &record.rows {
        let title = plan.title(row.stretch);
        let share = match row.capacity_bps {
            0 => "no link left".to_owned(),
            capacity => format!("{:>6} of {}", percent_in_tenths(row.permille()), mbit_short(capacity)),
        };
        let (rate, lost) = (mbit(row.payload_bps), loss(row.lost, row.offered));
        line(&mut out, format_args!("{title:<27}{rate:>6}  {share:<14}{lost:>6}  {}", round_trips(row, record)));
    }
    let (steady, pull) = (gap(record.steady_gap), gap(record.pull_gap));
    line(&mut out, format_args!("\nLongest gap in delivered data: {steady} with all links, {pull} around the pull."));
    let ceiling = percent_in_tenths(plan.manner.ceiling_permille());
    let settle = plan.acts.iter().flat_map(|act| &act.parts).find(|part| part.stretch == Stretch::Together);
    let settle = settle.map_or_else(String::new, |part| gap(part.settle));
    line(
        &mut out,
        format_args!(
            "Mbit/s: TCP payload, in percent of the rates of the links that were there;\n\
             headers leave at most {ceiling} of a link to payload. Alone and bonded are\n\
             measured when TCP has found its speed (bonded: after {settle}), the rest from its\n\
             first moment: \"back\" includes TCP finding its speed again.\n\
             {} MB arrived, {}",
            record.bytes / 1_000_000,
            if record.problems.is_empty() { "every byte as sent." } else { "but:" }
        ),
    );
    for problem in &record.problems {
        line(&mut out, format_args!("- {problem}"));
    }
    out
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

/// For a link alone: idle, then loaded; else loaded, by link.
fn round_trips(row: &Row, record: &Record) -> String {
    if let Stretch::Alone(index) = row.stretch {
        let idle = record.idle_round_trips.get(index).copied().flatten();
        let loaded = row.round_trips.get(index).copied().flatten();
        return format!("{} (idle {})", round_trip(loaded), round_trip(idle));
    }
    row.round_trips.iter().map(|&value| round_trip(value)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    #[test]
    fn the_table_says_what_was_measured_and_against_what() {
        let (plan, record) = example();
        let expected = "                           \
            Mbit/s  of the links    lost  RTT under load\n\
            link 1 alone                 36.8  92.0 % of 40     0 %  100 ms (idle 20 ms)\n\
            link 2 alone                 9.20  92.0 % of 10     0 %  100 ms (idle 80 ms)\n\
            both links bonded            46.0  92.0 % of 50     0 %  100 ms, 100 ms\n\
            link 1 pulled                9.20  92.0 % of 10   0.5 %  -, 100 ms\n\
            link 1 back                  46.0  92.0 % of 50     0 %  100 ms, 100 ms\n\
            \n\
            Longest gap in delivered data: 12 ms with all links, 2.95 s around the pull.\n\
            Mbit/s: TCP payload, in percent of the rates of the links that were there;\n\
            headers leave at most 93.4 % of a link to payload.";
        let table = render(&plan, &record);
        assert!(table.starts_with(expected), "{table}");
        assert!(table.lines().all(|line| line.chars().count() < 80), "{table}");
        assert!(table.contains("\nfirst moment: \"back\" includes TCP finding its speed again.\n"), "{table}");
        assert!(table.ends_with("MB arrived, every byte as sent.\n"), "{table}");
    }

    #[test]
    fn problems_are_listed() {
        let (plan, mut record) = example();
        record.problems.push("over links 1, 2, byte 7 arrived changed".to_owned());
        assert!(render(&plan, &record).ends_with(" MB arrived, but:\n- over links 1, 2, byte 7 arrived changed\n"));
    }
}

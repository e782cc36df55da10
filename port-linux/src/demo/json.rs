// SPDX-License-Identifier: BSD-2-Clause
//! The result as JSON (RFC 8259) for programs: rates in bits per second, times in milliseconds.

use mlvpn_core::words::time::Duration;

use super::plan::{Manner, Plan, Stretch};
use super::record::{Record, Row};

/// One object on one line.
pub(super) fn render(plan: &Plan, record: &Record) -> String {
    let links = plan.links.iter().enumerate().map(|(index, link)| {
        let idle = record.idle_round_trips.get(index).copied().flatten();
        object(&[
            ("spec", string(&link.spec.to_string())),
            ("rate_bps", link.down_bps.to_string()),
            ("idle_rtt_ms", optional_millis(idle)),
        ])
    });
    let mode = match plan.manner {
        Manner::Emulated => "emulated",
        Manner::Kernel => "kernel",
    };
    let fields = [
        ("mode", string(mode)),
        ("congestion_control", string("cubic")),
        ("seconds", (plan.total.millis() / 1_000).to_string()),
        ("links", array(links)),
        ("pulled_link", (plan.fastest + 1).to_string()),
        ("stretches", array(record.rows.iter().map(stretch))),
        ("payload_ceiling_percent", tenths(plan.manner.ceiling_permille())),
        ("longest_gap_steady_ms", millis(record.steady_gap)),
        ("longest_gap_pull_ms", millis(record.pull_gap)),
        ("bytes", record.bytes.to_string()),
        ("intact", record.problems.is_empty().to_string()),
        ("problems", array(record.problems.iter().map(|problem| string(problem)))),
    ];
    object(&fields) + "\n"
}

fn stretch(row: &Row) -> String {
    let (name, link) = match row.stretch {
        Stretch::Alone(index) => ("alone", (index + 1).to_string()),
        Stretch::Together => ("bonded", "null".to_owned()),
        Stretch::Pulled => ("pulled", "null".to_owned()),
        Stretch::Back => ("back", "null".to_owned()),
    };
    object(&[
        ("name", string(name)),
        ("link", link),
        ("payload_bps", row.payload_bps.to_string()),
        ("links_bps", row.capacity_bps.to_string()),
        ("percent", if row.capacity_bps == 0 { "null".to_owned() } else { tenths(row.permille()) }),
        ("rtt_ms", array(row.round_trips.iter().map(|&value| optional_millis(value)))),
        ("packets_offered", row.offered.to_string()),
        ("packets_lost", row.lost.to_string()),
    ])
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

fn millis(span: Duration) -> String {
    format!("{}.{:03}", span.micros() / 1_000, span.micros() % 1_000)
}

fn optional_millis(span: Option<Duration>) -> String {
    span.map_or_else(|| "null".to_owned(), millis)
}

fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{0}'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_figures_are_read_back_as_they_were() {
        let (plan, record) = example();
        let value: Value = serde_json::from_str(&render(&plan, &record)).expect("well-formed JSON");
        assert_eq!(value["links"][1], json!({"spec": "10mbit/40ms", "rate_bps": 10_000_000, "idle_rtt_ms": 80.0}));
        assert_eq!(value["stretches"].as_array().expect("an array").len(), 5);
        let bonded = json!({"name": "bonded", "link": null, "payload_bps": 46_000_000, "links_bps": 50_000_000,
            "percent": 92.0, "rtt_ms": [100.0, 100.0], "packets_offered": 4_000, "packets_lost": 0});
        assert_eq!(value["stretches"][2]["payload_bps"], bonded["payload_bps"]);
        assert_eq!(value["stretches"][2]["rtt_ms"], bonded["rtt_ms"]);
        assert_eq!((&value["longest_gap_pull_ms"], &value["intact"]), (&json!(2950.0), &json!(true)));
    }

    #[test]
    fn any_text_is_a_string() {
        for text in ["plain", "\"quoted\" \\ back", "line\nfeed\u{1}", "ümlaut"] {
            assert_eq!(serde_json::from_str::<String>(&string(text)).expect(text), text);
        }
    }
}

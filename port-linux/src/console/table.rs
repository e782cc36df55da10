// SPDX-License-Identifier: BSD-2-Clause
//! A tunnel as a table.

use serde_json::Value;

use super::figures::{millis, rate, span, volume};

/// Between two columns.
const GAP: &str = "  ";

/// A tunnel, its links and its peers.
pub(super) fn tunnel(status: &Value) -> String {
    let mut text = format!("{}: {}, {}\n", word(status, "device"), word(status, "state"), word(status, "summary"));
    for line in [kind(status), carried(status), losses(status)].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("{GAP}{line}\n"));
    }
    if let Some(trouble) = status["trouble"].as_str() {
        text.push_str(&format!("{GAP}the other end does not agree: {trouble}\n"));
    }
    let links = list(status, "links");
    if !links.is_empty() {
        text.push('\n');
        text.push_str(&columns(&LINKS, &links.iter().map(link).collect::<Vec<_>>()));
        for link in links.iter().filter(|link| link["reason"].is_string()) {
            text.push_str(&format!("{GAP}{}: {}\n", word(link, "name"), word(link, "reason")));
        }
        for link in links {
            let uses = uses(&link["policy"]);
            if !uses.is_empty() {
                text.push_str(&format!("{GAP}{}: {}\n", word(link, "name"), uses.join(", ")));
            }
        }
    }
    let found = list(&status["peers"], "peers");
    if !found.is_empty() {
        text.push('\n');
        text.push_str(&peers(found));
        let more = status["peers"]["total"].as_u64().unwrap_or(0).saturating_sub(found.len() as u64);
        if more > 0 {
            text.push_str(&format!("{GAP}and {more} more: mlvpn peer show\n"));
        }
    }
    text
}

const LINKS: [&str; 8] = ["LINK", "STATE", "INTERFACE", "PEER", "RTT", "LOSS", "SENT", "RECEIVED"];

fn link(link: &Value) -> Vec<String> {
    let mut state = word(link, "state").replace('_', " ");
    if link["backup"] == true {
        state.push_str(" (backup)");
    }
    let rtt = number(link, "rtt_us").map(|rtt| {
        let deviation = number(link, "rtt_deviation_us").map_or_else(String::new, |by| format!("±{}", millis(by)));
        format!("{}{deviation} ms", millis(rtt))
    });
    vec![
        word(link, "name").to_owned(),
        state,
        link["interface"].as_str().or(link["local"].as_str()).unwrap_or("-").to_owned(),
        link["remote"].as_str().unwrap_or("-").to_owned(),
        rtt.unwrap_or_else(|| "-".to_owned()),
        number(link, "loss_percent").map_or_else(|| "-".to_owned(), |loss| format!("{loss} %")),
        traffic(link, "sent"),
        traffic(link, "received"),
    ]
}

/// What a link is used for, as far as that is not what every link is.
fn uses(policy: &Value) -> Vec<String> {
    let mut parts = Vec::new();
    parts.extend(number(policy, "tier").filter(|tier| *tier > 1).map(|tier| format!("tier {tier}")));
    parts.extend(number(policy, "weight").map(|weight| format!("weight {weight}")));
    if policy["metered"] == true {
        parts.push("metered".to_owned());
    }
    let quota = &policy["quota"];
    for (period, when) in [("day", "today"), ("month", "this month")] {
        let limits: Vec<String> = ["soft", "hard"]
            .into_iter()
            .filter_map(|kind| Some(format!("{} {kind}", volume(number(quota, &format!("{period}_{kind}_bytes"))?))))
            .collect();
        if !limits.is_empty() {
            let used = volume(number(quota, &format!("{period}_bytes")).unwrap_or(0));
            parts.push(format!("{used} {when} of {}", limits.join(" and ")));
        }
    }
    match policy["stop"].as_str() {
        Some("soft") => parts.push("used up: a backup".to_owned()),
        Some("hard") => parts.push("used up: no data".to_owned()),
        _ => {}
    }
    parts
}

const PEERS: [&str; 6] = ["PEER", "STATE", "NETWORKS", "LINKS", "SENT", "RECEIVED"];

/// Peers.
pub(super) fn peers(peers: &[Value]) -> String {
    let row = |peer: &Value| {
        let links = list(peer, "links");
        let sum = |name: &str| links.iter().filter_map(|link| number(link, name)).fold(0, u64::saturating_add);
        let state = match (peer["up"].as_bool(), peer["active"].as_bool()) {
            (Some(true), _) => "up",
            (_, Some(true)) => "asked",
            _ => "down",
        };
        let networks: Vec<&str> = list(peer, "allowed").iter().filter_map(Value::as_str).collect();
        let or_none = |text: String, is_there: bool| if is_there { text } else { "-".to_owned() };
        vec![
            word(peer, "name").to_owned(),
            state.to_owned(),
            or_none(networks.join(" "), !networks.is_empty()),
            or_none(links.len().to_string(), !links.is_empty()),
            or_none(volume(sum("sent_bytes")), !links.is_empty()),
            or_none(volume(sum("received_bytes")), !links.is_empty()),
        ]
    };
    columns(&PEERS, &peers.iter().map(row).collect::<Vec<_>>())
}

fn kind(status: &Value) -> String {
    let protocol = match word(status, "protocol") {
        "2" => "protocol 2".to_owned(),
        other => format!("{other} protocol"),
    };
    let server = status["server"].as_str().map_or_else(String::new, |name| format!(", server {name}"));
    let cipher = status["session"]["cipher"].as_str().map_or_else(String::new, |name| format!(", {name}"));
    let mtu = number(status, "mtu").unwrap_or(0);
    format!("{}, {protocol}{server}{cipher}, mtu {mtu}, version {}", word(status, "mode"), word(status, "version"))
}

fn carried(status: &Value) -> String {
    let up = number(status, "connected_ms")
        .map_or_else(|| "not connected".to_owned(), |since| format!("connected for {}", span(since)));
    let started = span(number(status, "uptime_ms").unwrap_or(0));
    format!("{up}, started {started} ago; sent {}, received {}", traffic(status, "sent"), traffic(status, "received"))
}

fn losses(status: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(held) = number(status, "reordering").filter(|held| *held > 0) {
        parts.push(format!("{held} packets held for order"));
    }
    if let Some(resent) = number(&status["repairs"], "resent").filter(|resent| *resent > 0) {
        parts.push(format!("{resent} packets sent again"));
    }
    let drops = status["drops"].as_object().into_iter().flatten();
    parts.extend(drops.map(|(reason, count)| format!("{count} dropped ({})", reason.replace('_', " "))));
    parts.join(", ")
}

fn traffic(of: &Value, way: &str) -> String {
    let bytes = volume(number(of, &format!("{way}_bytes")).unwrap_or(0));
    match number(of, &format!("{way}_bytes_per_sec")) {
        Some(now) => format!("{} ({bytes})", rate(now)),
        None => bytes,
    }
}

/// Rows below their heads, each column as wide as it must be.
fn columns<const COLUMNS: usize>(heads: &[&str; COLUMNS], rows: &[Vec<String>]) -> String {
    let heads = heads.map(str::to_owned).to_vec();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS).filter_map(width).collect();
    let mut text = String::new();
    for row in all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(&format!("{GAP}{}\n", cells.collect::<Vec<_>>().join(GAP).trim_end()));
    }
    text
}

fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or("?")
}

fn number(of: &Value, name: &str) -> Option<u64> {
    of[name].as_u64()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tunnel_is_a_table_people_can_read() {
        let status = json!({
            "version": "0.1.0", "state": "degraded", "summary": "1 of 2 links are well connected", "protocol": "2",
            "mode": "client", "device": "mlvpn0", "mtu": 1420, "uptime_ms": 7_384_120, "connected_ms": 7_380_043,
            "server": "office", "session": {"cipher": "chacha20-poly1305", "renewals": 61},
            "sent_bytes": 812_345_678_u64, "sent_bytes_per_sec": 1_210_400, "received_bytes": 9_123_456_789_u64,
            "received_bytes_per_sec": 5_812_300, "reordering": 3, "repairs": {"resent": 12, "unrepaired": 0},
            "drops": {"no_link": 2},
            "links": [
                {"name": "dsl", "state": "up", "backup": false, "interface": "eth0", "remote": "198.51.100.7:5080",
                 "rtt_us": 10_450, "rtt_deviation_us": 820, "loss_percent": 0, "sent_bytes": 612_345_678,
                 "sent_bytes_per_sec": 910_400, "received_bytes": 8_123_456_789_u64, "received_bytes_per_sec": 4_912_300},
                {"name": "lte", "state": "no_socket", "reason": "there is no interface wwan0", "backup": true,
                 "sent_bytes": 0, "received_bytes": 0,
                 "policy": {"tier": 2, "weight": 30, "metered": true, "stop": "soft", "quota": {"day_bytes": 0,
                 "month_bytes": 15_100_000_000_u64, "month_soft_bytes": 15_000_000_000_u64,
                 "month_hard_bytes": 20_000_000_000_u64}}},
            ],
            "peers": {"total": 3, "peers": [
                {"name": "office", "up": true, "active": true, "allowed": [], "links": []},
                {"name": "home", "up": false, "active": false, "allowed": ["10.0.0.0/24"], "links": [{"sent_bytes": 5}]},
            ]},
        });
        let expected = "\
mlvpn0: degraded, 1 of 2 links are well connected
  client, protocol 2, server office, chacha20-poly1305, mtu 1420, version 0.1.0
  connected for 2 h 3 min, started 2 h 3 min ago; sent 9.68 Mbit/s (812 MB), received 46.4 Mbit/s (9.12 GB)
  3 packets held for order, 12 packets sent again, 2 dropped (no link)

  LINK  STATE               INTERFACE  PEER               RTT           LOSS  SENT                  RECEIVED
  dsl   up                  eth0       198.51.100.7:5080  10.4±0.82 ms  0 %   7.28 Mbit/s (612 MB)  39.2 Mbit/s (8.12 GB)
  lte   no socket (backup)  -          -                  -             -     0 B                   0 B
  lte: there is no interface wwan0
  lte: tier 2, weight 30, metered, 15.1 GB this month of 15.0 GB soft and 20.0 GB hard, used up: a backup

  PEER    STATE  NETWORKS     LINKS  SENT  RECEIVED
  office  up     -            -      -     -
  home    down   10.0.0.0/24  1      5 B   0 B
  and 1 more: mlvpn peer show
";
        assert_eq!(tunnel(&status), expected, "\n{}", tunnel(&status));
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        let text = tunnel(&json!({"device": "mlvpn0"}));
        assert!(text.starts_with("mlvpn0: ?, ?\n") && !text.contains("LINK"), "{text}");
    }
}

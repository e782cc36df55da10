// SPDX-License-Identifier: BSD-2-Clause
//! MLVPN 2.3.5's answers: its names and its order, with values that mean what the names say.
//!
//! Where 2.3.5 told nothing true, this is what stands there: `uptime` is seconds since the start and not the time of the
//! start, `pid` the process to send signals to, `bandwidth` what the link can send in bytes per second, as told or as
//! measured, and `bindport` the port in use.

use serde::Serialize;

use crate::status::{LinkState, LinkStatus, Status, TunnelState};

/// The version of this form of answers, which 2.3.5 has in place of its own.
const FORM: &str = "1.1";

/// A link in 2.3.5's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Disconnected,
    WaitingPeer,
    Connected,
    Lossy,
    Slow,
}

impl Word {
    /// All of them, with the names of their metrics.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Disconnected, "disconnected"),
        (Self::WaitingPeer, "waitingpeer"),
        (Self::Connected, "connected"),
        (Self::Lossy, "lossy"),
        (Self::Slow, "slow"),
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::WaitingPeer => "waiting peer",
            Self::Connected => "connected",
            Self::Lossy => "lossy link",
            Self::Slow => "slow link",
        }
    }

    fn of(link: &LinkStatus, tunnel: &Status) -> Self {
        match link.state {
            LinkState::Up => Self::Connected,
            LinkState::Lossy | LinkState::Silent => Self::Lossy,
            LinkState::Slow => Self::Slow,
            // A client has said who it is; a server has heard of nobody.
            LinkState::Connecting if tunnel.mode == "client" => Self::WaitingPeer,
            // A server's socket of protocol 2, for all its peers.
            LinkState::Listening if tunnel.state != TunnelState::Down => Self::Connected,
            LinkState::Listening => Self::WaitingPeer,
            LinkState::Connecting | LinkState::NoSocket | LinkState::InterfaceDown | LinkState::Disabled => {
                Self::Disconnected
            }
        }
    }
}

/// A link's figures, in 2.3.5's order and names.
pub(crate) struct Figures<'a> {
    pub(crate) name: &'a str,
    pub(crate) word: Word,
    /// Names and values of what is a number in both forms.
    pub(crate) numbers: [(&'static str, u64); 10],
}

impl<'a> Figures<'a> {
    /// `wall` is the time in seconds since 1970.
    pub(crate) fn of(link: &'a LinkStatus, tunnel: &Status, wall: u64) -> Self {
        let measured = link.sending.and_then(|sending| sending.capacity_bytes_per_sec);
        let heard = link.heard_ms.map_or(0, |since| wall.saturating_sub(since / 1_000));
        Self {
            name: &link.name,
            word: Word::of(link, tunnel),
            numbers: [
                ("sentpackets", link.sent_packets),
                ("recvpackets", link.received_packets),
                ("sentbytes", link.sent_bytes),
                ("recvbytes", link.received_bytes),
                ("bandwidth", link.rate_bytes_per_sec.or(measured).unwrap_or(0)),
                ("srtt", link.rtt_us.unwrap_or(0) / 1_000),
                ("loss", link.loss_percent.unwrap_or(0).into()),
                ("disconnects", link.disconnects),
                ("last_packet", heard),
                ("timeout", link.timeout_ms.unwrap_or(0) / 1_000),
            ],
        }
    }
}

/// The figures of the tunnel as a whole, by 2.3.5's names.
pub(crate) fn tunnel_numbers(tunnel: &Status, wall: u64) -> [(&'static str, u64); 3] {
    [
        ("uptime", tunnel.uptime_ms / 1_000),
        ("last_reload", wall.saturating_sub(tunnel.configured_ms / 1_000)),
        ("pid", tunnel.pid.into()),
    ]
}

/// The answer to `status`.
pub(crate) fn status(tunnel: &Status, wall: u64) -> String {
    let [uptime, reload, pid] = tunnel_numbers(tunnel, wall).map(|(_, number)| number);
    let (kind, device) = (tunnel.device_kind, quoted(&tunnel.device));
    let mut text = format!(
        "{{\"name\": \"mlvpn\",\n\"version\": \"{FORM}\",\n\"uptime\": {uptime},\n\"last_reload\": {reload},\n\
         \"pid\": {pid},\n\"tuntap\": {{\n   \"type\": \"{kind}\",\n   \"name\": {device}\n}},\n\"tunnels\": [\n"
    );
    let links = tunnel.links.iter().map(|link| link_object(link, tunnel, wall));
    text.push_str(&links.collect::<Vec<_>>().join(",\n"));
    if !tunnel.links.is_empty() {
        text.push('\n');
    }
    text.push_str("]}\n");
    text
}

fn link_object(link: &LinkStatus, tunnel: &Status, wall: u64) -> String {
    let figures = Figures::of(link, tunnel, wall);
    let (bind, bind_port) = parts(link.local.as_deref(), "any");
    let (destination, destination_port) = parts(link.remote.as_deref(), "");
    let mut text = String::from("{\n");
    for (name, value) in [
        ("name", figures.name),
        ("mode", tunnel.mode),
        ("bindaddr", bind),
        ("bindport", bind_port),
        ("destaddr", destination),
        ("destport", destination_port),
        ("status", figures.word.text()),
    ] {
        text.push_str(&format!("   \"{name}\": {},\n", quoted(value)));
    }
    let numbers = figures.numbers.map(|(name, number)| format!("   \"{name}\": {number}"));
    text.push_str(&numbers.join(",\n"));
    text.push_str("\n}");
    text
}

/// Address and port of a socket's address as it is shown.
fn parts<'a>(address: Option<&'a str>, otherwise: &'static str) -> (&'a str, &'a str) {
    let Some((host, port)) = address.and_then(|address| address.rsplit_once(':')) else {
        return (otherwise, "");
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// The answer to `metrics`, as 2.3.5 has it: link by link.
pub(crate) fn metrics(tunnel: &Status, wall: u64) -> String {
    let mut text = String::new();
    for (name, number) in tunnel_numbers(tunnel, wall) {
        text.push_str(&format!("{name} {number}\n"));
    }
    for link in &tunnel.links {
        let figures = Figures::of(link, tunnel, wall);
        let label = quoted(figures.name);
        for (word, name) in Word::ALL {
            text.push_str(&format!("{name}{{tunnel={label}}} {}\n", u8::from(word == figures.word)));
        }
        for (name, number) in figures.numbers {
            text.push_str(&format!("{name}{{tunnel={label}}} {number}\n"));
        }
    }
    text
}

/// A string of JSON. What is escaped there is escaped alike in the values of labels.
pub(crate) fn quoted(text: impl Serialize) -> String {
    serde_json::to_string(&text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::status::{DropCounts, WorkStatus};
    use serde_json::Value;

    /// What 2.3.5 answered over HTTP.
    const RECORDED: &str = include_str!("../../../tests/vectors/mlvpn-2.3.5/http-status.txt");
    const RECORDED_METRICS: &str = include_str!("../../../tests/vectors/mlvpn-2.3.5/http-metrics.txt");

    pub(crate) fn link(name: &str) -> LinkStatus {
        LinkStatus {
            name: name.to_owned(),
            state: LinkState::Up,
            reason: None,
            backup: false,
            interface: None,
            device: None,
            local: Some("10.9.1.1:40112".to_owned()),
            remote: Some("[2001:db8::1]:5081".to_owned()),
            rate_bytes_per_sec: Some(1_250_000),
            timeout_ms: Some(6_000),
            loss_tolerance_percent: Some(100),
            latency_tolerance_ms: Some(1_000),
            rtt_us: Some(10_450),
            rtt_deviation_us: Some(820),
            loss_percent: Some(3),
            mtu: None,
            heard_ms: Some(2_000),
            disconnects: 1,
            sent_packets: 8,
            sent_bytes: 570,
            sent_bytes_per_sec: Some(12),
            received_packets: 7,
            received_bytes: 534,
            received_bytes_per_sec: Some(13),
            sending: None,
            receiving: None,
            policy: None,
        }
    }

    pub(crate) fn tunnel(links: Vec<LinkStatus>) -> Status {
        Status {
            version: "0.1.0",
            state: TunnelState::Up,
            summary: "all of 2 links are connected".to_owned(),
            protocol: "classic",
            mode: "client",
            device: "mlvpn0".to_owned(),
            device_kind: "tun",
            mtu: 1428,
            pid: 77,
            uptime_ms: 61_500,
            configured_ms: 1_500,
            connected_ms: Some(60_000),
            server: None,
            trouble: None,
            session: None,
            sent_bytes: 1_140,
            sent_bytes_per_sec: 24,
            received_bytes: 1_068,
            received_bytes_per_sec: 26,
            reordering: 0,
            waiting: 0,
            orders: Vec::new(),
            repairs: None,
            drops: DropCounts::default(),
            work: WorkStatus::default(),
            links,
        }
    }

    /// A value's shape: its keys in order, and the kinds of what they hold.
    fn shape(value: &Value) -> String {
        match value {
            Value::Object(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{key}:{}", shape(value))).collect();
                format!("{{{}}}", entries.join(","))
            }
            Value::Array(members) => format!("[{}]", members.first().map(shape).unwrap_or_default()),
            Value::String(_) => "text".to_owned(),
            Value::Number(_) => "number".to_owned(),
            other => other.to_string(),
        }
    }

    #[test]
    fn the_status_has_every_field_of_the_recorded_one_in_its_kind_and_its_lines_in_their_order() {
        let (_, recorded) =
            RECORDED.replace('\r', "").split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let ours = status(&tunnel(vec![link("l2"), link("l1")]), 1_795_227_728);
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(shape(&read(&ours)), shape(&read(&recorded)));
        let keys = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_once(": ").map_or(line, |(key, _)| key).to_owned()).collect()
        };
        assert_eq!(keys(&ours), keys(&recorded));
    }

    #[test]
    fn the_metrics_have_every_line_of_the_recorded_ones_in_their_order() {
        let (_, recorded) =
            RECORDED_METRICS.replace('\r', "").split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let ours = metrics(&tunnel(vec![link("l2"), link("l1")]), 1_795_227_728);
        let names = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
        };
        assert_eq!(names(&ours), names(&recorded));
    }

    #[test]
    fn values_are_true() {
        let value: Value = serde_json::from_str(&status(&tunnel(vec![link("l1")]), 1_000_000)).expect("JSON");
        assert_eq!((&value["uptime"], &value["last_reload"], &value["pid"]), (&61.into(), &999_999.into(), &77.into()));
        let link = &value["tunnels"][0];
        for (name, expected) in
            [("bandwidth", 1_250_000), ("srtt", 10), ("loss", 3), ("last_packet", 999_998), ("timeout", 6)]
        {
            assert_eq!(link[name], expected, "{name}");
        }
        for (name, expected) in
            [("bindaddr", "10.9.1.1"), ("bindport", "40112"), ("destaddr", "2001:db8::1"), ("destport", "5081")]
        {
            assert_eq!(link[name], expected, "{name}");
        }
    }

    #[test]
    fn states_are_told_in_2_3_5s_words() {
        for (state, mode, word) in [
            (LinkState::Up, "server", "connected"),
            (LinkState::Lossy, "client", "lossy link"),
            (LinkState::Slow, "client", "slow link"),
            (LinkState::Connecting, "client", "waiting peer"),
            (LinkState::Connecting, "server", "disconnected"),
            (LinkState::Disabled, "client", "disconnected"),
            (LinkState::Listening, "server", "connected"),
        ] {
            let tunnel = Status { mode, ..tunnel(vec![LinkStatus { state, ..link("a") }]) };
            let value: Value = serde_json::from_str(&status(&tunnel, 1)).expect("JSON");
            assert_eq!(value["tunnels"][0]["status"], word, "{state:?} {mode}");
        }
    }

    #[test]
    fn a_tunnel_without_links_and_names_with_quotes_are_still_json() {
        let _: Value = serde_json::from_str(&status(&tunnel(Vec::new()), 1)).expect("JSON");
        let value: Value = serde_json::from_str(&status(&tunnel(vec![link("a\"b\\")]), 1)).expect("JSON");
        assert_eq!(value["tunnels"][0]["name"], "a\"b\\");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What Prometheus reads: the same figures in its text format and in OpenMetrics.
//!
//! First come MLVPN 2.3.5's names, so that old dashboards go on, gathered by name as the format wants it; then names with
//! the unit in them. Times are seconds, shares are of 1. Every metric is in [`FAMILIES`], and nothing else is told.

use super::classic::{self, Figures, Word};
use super::http::Content;
use crate::status::{
    LinkState, LinkStatus, PeerStatus, Peers, PolicyStatus, QuotaStatus, Status, StopState, TunnelState,
};

/// Peers told one by one; of more the sums alone: 16 KB of text, and a fraction of a millisecond.
pub(crate) const MOST_PEERS: usize = 256;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It is what it is now.
    Gauge,
    /// 2.3.5's counters, whose names do not end as those of counters must.
    Untyped,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// Its name, whole.
    pub(crate) name: &'static str,
    kind: Kind,
    help: &'static str,
}

use Kind::{Counter, Gauge, Untyped};

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, help }
}

/// Every metric there is, in the order they are told in.
#[rustfmt::skip]
pub(crate) const FAMILIES: &[Family] = &[
    family("uptime", Gauge, "Seconds since the start (name of MLVPN 2.3.5)."),
    family("last_reload", Gauge, "When the configuration was read, in seconds since 1970 (name of MLVPN 2.3.5)."),
    family("pid", Gauge, "The process to send signals to (name of MLVPN 2.3.5)."),
    family("disconnected", Gauge, "1 while the link has no peer (name of MLVPN 2.3.5)."),
    family("waitingpeer", Gauge, "1 while the link waits for its peer's answer (name of MLVPN 2.3.5)."),
    family("connected", Gauge, "1 while the link carries traffic (name of MLVPN 2.3.5)."),
    family("lossy", Gauge, "1 while the link loses more than it may (name of MLVPN 2.3.5)."),
    family("slow", Gauge, "1 while the link's round trip takes longer than it may (name of MLVPN 2.3.5)."),
    family("sentpackets", Untyped, "Datagrams sent (name of MLVPN 2.3.5)."),
    family("recvpackets", Untyped, "Datagrams received (name of MLVPN 2.3.5)."),
    family("sentbytes", Untyped, "Bytes of datagrams sent (name of MLVPN 2.3.5)."),
    family("recvbytes", Untyped, "Bytes of datagrams received (name of MLVPN 2.3.5)."),
    family("bandwidth", Gauge, "What the link can send, in bytes per second (name of MLVPN 2.3.5)."),
    family("srtt", Gauge, "Smoothed round-trip time in milliseconds (name of MLVPN 2.3.5)."),
    family("loss", Gauge, "Loss in percent (name of MLVPN 2.3.5)."),
    family("disconnects", Untyped, "How often the link went down (name of MLVPN 2.3.5)."),
    family("last_packet", Gauge, "When the peer was last heard, in seconds since 1970 (name of MLVPN 2.3.5)."),
    family("timeout", Gauge, "Silent for so many seconds, the link is down (name of MLVPN 2.3.5)."),

    family("mlvpn_build_info", Gauge, "1, with the version, the protocol, and which end this is."),
    family("mlvpn_start_time_seconds", Gauge, "When the daemon started, in seconds since 1970."),
    family("mlvpn_configuration_read_time_seconds", Gauge, "When the configuration was read, in seconds since 1970."),
    family("mlvpn_tunnel_up", Gauge, "1 while a link carries traffic."),
    family("mlvpn_tunnel_degraded", Gauge, "1 while traffic flows, but not over every link that should carry it."),
    family("mlvpn_tunnel_mtu_bytes", Gauge, "The largest packet of the device."),
    family("mlvpn_tunnel_reordering_packets", Gauge, "Packets held back for one that is missing."),
    family("mlvpn_tunnel_resent_packets_total", Counter, "Packets sent again because the peer missed them."),
    family("mlvpn_tunnel_unrepaired_packets_total", Counter, "Packets the peer missed that were too old to be sent again."),
    family("mlvpn_tunnel_dropped_packets_total", Counter, "Packets dropped, by reason."),
    family("mlvpn_session_renewals_total", Counter, "How often keys were agreed upon."),
    family("mlvpn_peers", Gauge, "Peers in the configuration and those admitted by command."),
    family("mlvpn_link_up", Gauge, "1 while the peer answers over the link."),
    family("mlvpn_link_state", Gauge, "1 for the state the link is in."),
    family("mlvpn_link_backup", Gauge, "1 for a link that is used only while no other is."),
    family("mlvpn_link_rtt_seconds", Gauge, "Smoothed round-trip time."),
    family("mlvpn_link_rtt_deviation_seconds", Gauge, "How much the round-trip time varies."),
    family("mlvpn_link_loss_ratio", Gauge, "Loss of the last 64 packets of the peer's."),
    family("mlvpn_link_silence_seconds", Gauge, "Since the peer was last heard over the link."),
    family("mlvpn_link_path_mtu_bytes", Gauge, "The largest IP packet of the link's path, where it was measured."),
    family("mlvpn_link_rate_bytes_per_second", Gauge, "What the link can send, where somebody said so."),
    family("mlvpn_link_pace_bytes_per_second", Gauge, "How fast this end sends at most."),
    family("mlvpn_link_capacity_bytes_per_second", Gauge, "What the link is measured to carry."),
    family("mlvpn_link_queue_seconds", Gauge, "Delay by queues on the link's way."),
    family("mlvpn_link_jitter_seconds", Gauge, "By how much one-way times of neighbouring packets differ."),
    family("mlvpn_link_tier", Gauge, "The link joins when links of lower tiers are full or down."),
    family("mlvpn_link_weight", Gauge, "The link's share beside others of its tier, where somebody said so."),
    family("mlvpn_link_metered", Gauge, "1 for a link whose data costs money."),
    family("mlvpn_link_ceiling_bytes_per_second", Gauge, "The most that is sent over the link, where somebody said so."),
    family("mlvpn_link_quota_stop", Gauge, "1 for what the quota makes of the link: none, soft (a backup), hard (no data)."),
    family("mlvpn_link_quota_used_bytes", Gauge, "What the link carried both ways of its quota, since the day or the month began."),
    family("mlvpn_link_quota_limit_bytes", Gauge, "The quotas of the link: a backup from the soft one on, no data from the hard one on."),
    family("mlvpn_link_sent_packets_total", Counter, "Datagrams sent."),
    family("mlvpn_link_received_packets_total", Counter, "Datagrams received."),
    family("mlvpn_link_sent_bytes_total", Counter, "Bytes of datagrams sent."),
    family("mlvpn_link_received_bytes_total", Counter, "Bytes of datagrams received."),
    family("mlvpn_link_lost_packets_total", Counter, "Data packets that were lost on the link."),
    family("mlvpn_link_arrived_packets_total", Counter, "Data packets that arrived."),
    family("mlvpn_link_disconnects_total", Counter, "How often the link went down."),
    family("mlvpn_peer_up", Gauge, "1 while a link to the peer carries traffic."),
    family("mlvpn_peer_links", Gauge, "Links over which the peer answers."),
    family("mlvpn_peer_sent_bytes_total", Counter, "Bytes of datagrams sent to the peer."),
    family("mlvpn_peer_received_bytes_total", Counter, "Bytes of datagrams received from the peer."),
];

/// Names of labels and their values, not escaped yet.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A value: most are whole, times have microseconds, shares hundredths.
#[derive(Clone, Copy)]
enum Number {
    Whole(u64),
    Micros(u64),
    Percent(u8),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Number {
    fn from(it: bool) -> Self {
        Self::Whole(it.into())
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Micros(micros) => write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000),
            Self::Percent(percent) => write!(f, "{}.{:02}", percent / 100, percent % 100),
        }
    }
}

/// The text. `wall` is the time in seconds since 1970.
pub(crate) fn render(tunnel: &Status, peers: &Peers, wall: u64, content: Content) -> String {
    let mut text = String::with_capacity(16 << 10);
    for family in FAMILIES {
        let samples = samples(family.name, tunnel, peers, wall);
        if samples.is_empty() {
            continue;
        }
        head(&mut text, family, content);
        for (labels, number) in samples {
            text.push_str(&format!("{}{} {number}\n", family.name, braced(&labels)));
        }
    }
    if content == Content::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, family: &Family, content: Content) {
    let is_open = content == Content::OpenMetrics;
    let name = if is_open { family.name.trim_end_matches("_total") } else { family.name };
    let kind = match (family.kind, is_open) {
        (Counter, _) => "counter",
        (Gauge, _) => "gauge",
        (Untyped, true) => "unknown",
        (Untyped, false) => "untyped",
    };
    text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help));
}

fn braced(labels: &[(&'static str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", classic::quoted(value))).collect();
    format!("{{{}}}", labels.join(","))
}

fn samples<'a>(name: &str, tunnel: &'a Status, peers: &'a Peers, wall: u64) -> Vec<(Labels<'a>, Number)> {
    if let Some(rest) = name.strip_prefix("mlvpn_link_") {
        return tunnel.links.iter().flat_map(|link| of_link(rest, link, &tunnel.device)).collect();
    }
    if let Some(rest) = name.strip_prefix("mlvpn_peer_") {
        return peers.peers.iter().filter_map(|peer| of_peer(rest, peer, tunnel)).collect();
    }
    if let Some(rest) = name.strip_prefix("mlvpn_") {
        return of_tunnel(rest, tunnel, peers, wall);
    }
    of_2_3_5(name, tunnel, wall)
}

fn of_2_3_5<'a>(name: &str, tunnel: &'a Status, wall: u64) -> Vec<(Labels<'a>, Number)> {
    if let Some((_, number)) = classic::tunnel_numbers(tunnel, wall).into_iter().find(|(known, _)| *known == name) {
        return vec![(Vec::new(), number.into())];
    }
    let of = |link: &'a LinkStatus| {
        let figures = Figures::of(link, tunnel, wall);
        let word =
            Word::ALL.into_iter().find(|(_, known)| *known == name).map(|(word, _)| (word == figures.word).into());
        let number = figures.numbers.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number.into());
        Some((vec![("tunnel", link.name.as_str())], word.or(number)?))
    };
    tunnel.links.iter().filter_map(of).collect()
}

fn of_tunnel<'a>(name: &str, tunnel: &'a Status, peers: &Peers, wall: u64) -> Vec<(Labels<'a>, Number)> {
    let device = || vec![("device", tunnel.device.as_str())];
    let ago = |millis: u64| wall.saturating_sub(millis / 1_000);
    let number: Option<Number> = match name {
        "build_info" => {
            let mut labels = device();
            labels.extend([("version", tunnel.version), ("protocol", tunnel.protocol), ("mode", tunnel.mode)]);
            return vec![(labels, true.into())];
        }
        "tunnel_dropped_packets_total" => {
            let of = |(reason, count): (&'static str, u64)| {
                let mut labels = device();
                labels.push(("reason", reason));
                (labels, count.into())
            };
            return tunnel.drops.iter().map(of).collect();
        }
        "start_time_seconds" => Some(ago(tunnel.uptime_ms).into()),
        "configuration_read_time_seconds" => Some(ago(tunnel.configured_ms).into()),
        "tunnel_up" => Some((tunnel.state != TunnelState::Down).into()),
        "tunnel_degraded" => Some((tunnel.state == TunnelState::Degraded).into()),
        "tunnel_mtu_bytes" => Some(u64::from(tunnel.mtu).into()),
        "tunnel_reordering_packets" => Some(u64::from(tunnel.reordering).into()),
        "tunnel_resent_packets_total" => tunnel.repairs.map(|repairs| repairs.resent.into()),
        "tunnel_unrepaired_packets_total" => tunnel.repairs.map(|repairs| repairs.unrepaired.into()),
        "session_renewals_total" => tunnel.session.as_ref().map(|session| session.renewals.into()),
        "peers" => Some(peers.total.into()),
        _ => None,
    };
    number.map(|number| (device(), number)).into_iter().collect()
}

fn of_link<'a>(name: &str, link: &'a LinkStatus, device: &'a str) -> Vec<(Labels<'a>, Number)> {
    let labels = || vec![("device", device), ("link", link.name.as_str())];
    let with = |more: &[(&'static str, &'static str)], number: Number| ([&labels()[..], more].concat(), number);
    let (sending, policy) = (link.sending, link.policy);
    let quota = policy.and_then(|policy| policy.quota);
    let number: Option<Number> = match name {
        "state" => {
            let of = |state: LinkState| with(&[("state", state.word())], (state == link.state).into());
            return LinkState::ALL.into_iter().map(of).collect();
        }
        "quota_stop" => {
            let of = |policy: PolicyStatus| {
                StopState::ALL.map(|stop| with(&[("stop", stop.word())], (stop == policy.stop).into()))
            };
            return policy.filter(|policy| policy.quota.is_some()).into_iter().flat_map(of).collect();
        }
        "quota_used_bytes" => {
            let of = |quota: QuotaStatus| [("day", quota.day_bytes), ("month", quota.month_bytes)];
            let used = quota.into_iter().flat_map(of);
            return used.map(|(period, bytes)| with(&[("period", period)], bytes.into())).collect();
        }
        "quota_limit_bytes" => {
            let limits = quota.into_iter().flat_map(QuotaStatus::limits);
            let of = |(period, stop, bytes): (_, StopState, u64)| {
                with(&[("period", period), ("stop", stop.word())], bytes.into())
            };
            return limits.map(of).collect();
        }
        "tier" => policy.map(|policy| u64::from(policy.tier).into()),
        "weight" => policy.and_then(|policy| policy.weight).map(|weight| u64::from(weight).into()),
        "metered" => policy.map(|policy| policy.metered.into()),
        "ceiling_bytes_per_second" => policy.and_then(|policy| policy.ceiling_bytes_per_sec).map(Number::Whole),
        "up" => Some(link.state.is_connected().into()),
        "backup" => Some(link.backup.into()),
        "rtt_seconds" => link.rtt_us.map(Number::Micros),
        "rtt_deviation_seconds" => link.rtt_deviation_us.map(Number::Micros),
        "loss_ratio" => link.loss_percent.map(Number::Percent),
        "silence_seconds" => link.heard_ms.map(|millis| Number::Micros(millis.saturating_mul(1_000))),
        "path_mtu_bytes" => link.mtu.map(|mtu| u64::from(mtu).into()),
        "rate_bytes_per_second" => link.rate_bytes_per_sec.map(Number::Whole),
        "pace_bytes_per_second" => sending.map(|sending| sending.pace_bytes_per_sec.into()),
        "capacity_bytes_per_second" => sending.and_then(|sending| sending.capacity_bytes_per_sec).map(Number::Whole),
        "queue_seconds" => sending.map(|sending| Number::Micros(sending.queue_us)),
        "jitter_seconds" => sending.map(|sending| Number::Micros(sending.jitter_us)),
        "lost_packets_total" => sending.map(|sending| sending.lost_packets.into()),
        "arrived_packets_total" => sending.map(|sending| sending.arrived_packets.into()),
        "sent_packets_total" => Some(link.sent_packets.into()),
        "received_packets_total" => Some(link.received_packets.into()),
        "sent_bytes_total" => Some(link.sent_bytes.into()),
        "received_bytes_total" => Some(link.received_bytes.into()),
        "disconnects_total" => Some(link.disconnects.into()),
        _ => None,
    };
    number.map(|number| (labels(), number)).into_iter().collect()
}

/// A peer's figures. A client's links are those of the tunnel, so its servers have none of their own.
fn of_peer<'a>(name: &str, peer: &'a PeerStatus, tunnel: &'a Status) -> Option<(Labels<'a>, Number)> {
    let is_client = tunnel.mode == "client";
    let sum = |of: fn(&LinkStatus) -> u64| {
        let sum = peer.links.iter().map(of).fold(0, u64::saturating_add);
        (!is_client).then_some(Number::Whole(sum))
    };
    let number = match name {
        "up" => Some(peer.up.into()),
        "links" => sum(|link| link.state.is_connected().into()),
        "sent_bytes_total" => sum(|link| link.sent_bytes),
        "received_bytes_total" => sum(|link| link.received_bytes),
        _ => None,
    };
    Some((vec![("device", tunnel.device.as_str()), ("peer", peer.name.as_str())], number?))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::super::classic::tests::{link, tunnel};
    use super::*;
    use crate::status::{DropCounts, RepairStatus, SendingStatus, SessionStatus};
    use mlvpn_core::words::drops::{DropReason, Drops};

    /// Of everything something.
    fn everything() -> (Status, Peers) {
        let sending = SendingStatus {
            pace_bytes_per_sec: 1_300_000,
            capacity_bytes_per_sec: Some(1_250_000),
            queue_us: 1_500,
            report_rtt_us: Some(12_000),
            jitter_us: 90,
            lost_packets: 4,
            arrived_packets: 1_000,
            spread_us: Some(2_000),
            resent_packets: 5,
            copied_packets: 2,
        };
        let quota = QuotaStatus {
            day_bytes: 400_000_000,
            day_soft_bytes: Some(300_000_000),
            day_hard_bytes: None,
            month_bytes: 3_000_000_000,
            month_soft_bytes: Some(15_000_000_000),
            month_hard_bytes: Some(20_000_000_000),
        };
        let policy = PolicyStatus {
            tier: 2,
            weight: Some(30),
            metered: true,
            stop: StopState::Soft,
            ceiling_bytes_per_sec: Some(1_250_000),
            quota: Some(quota),
        };
        let full = LinkStatus { mtu: Some(1_492), sending: Some(sending), policy: Some(policy), ..link("dsl") };
        let mut drops = Drops::new();
        drops.count(DropReason::NoLink);
        let status = Status {
            mode: "server",
            repairs: Some(RepairStatus { resent: 5, unrepaired: 1, copied: 2, unread_reports: 0 }),
            session: Some(SessionStatus { cipher: "aes-256-gcm", renewals: 3 }),
            drops: DropCounts::from(&drops),
            ..tunnel(vec![full, link("l\"2\\")])
        };
        let peer = PeerStatus { name: "office".to_owned(), up: true, links: vec![link("0")], ..PeerStatus::default() };
        (status, Peers { total: 1, peers: vec![peer] })
    }

    fn text(content: Content) -> String {
        let (status, peers) = everything();
        render(&status, &peers, 1_795_227_728, content)
    }

    /// The name a line of a sample begins with.
    fn name(line: &str) -> &str {
        line.split(['{', ' ']).next().unwrap_or_default()
    }

    #[test]
    fn every_metric_is_told_when_there_is_something_to_tell() {
        let text = text(Content::Prometheus);
        let told: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with('#')).map(name).collect();
        let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(told, known);
    }

    #[test]
    fn the_samples_of_a_metric_stand_together_behind_its_help_and_its_type() {
        for content in [Content::Prometheus, Content::OpenMetrics] {
            let text = text(content);
            let mut seen = HashSet::new();
            let mut current = String::new();
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                if line == "# EOF" {
                    assert!(content == Content::OpenMetrics && lines.peek().is_none());
                } else if let Some(help) = line.strip_prefix("# HELP ") {
                    current = name(help).to_owned();
                    assert!(seen.insert(current.clone()), "{current} twice");
                    let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type");
                    assert_eq!(name(kind), current);
                } else {
                    assert_eq!(name(line).trim_end_matches("_total"), current.trim_end_matches("_total"), "{line}");
                }
            }
        }
    }

    #[test]
    fn names_say_their_unit_and_counters_end_as_counters_do() {
        for family in FAMILIES.iter().filter(|family| family.name.starts_with("mlvpn_")) {
            assert_eq!(family.kind == Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('\\'), "{}", family.name);
        }
    }

    #[test]
    fn numbers_are_seconds_and_shares_and_labels_are_escaped() {
        let text = text(Content::Prometheus);
        for line in [
            r#"mlvpn_link_rtt_seconds{device="mlvpn0",link="dsl"} 0.010450"#,
            r#"mlvpn_link_loss_ratio{device="mlvpn0",link="l\"2\\"} 0.03"#,
            r#"mlvpn_link_state{device="mlvpn0",link="dsl",state="up"} 1"#,
            r#"mlvpn_tunnel_dropped_packets_total{device="mlvpn0",reason="no_link"} 1"#,
            r#"mlvpn_start_time_seconds{device="mlvpn0"} 1795227667"#,
            r#"mlvpn_peer_links{device="mlvpn0",peer="office"} 1"#,
            r#"mlvpn_link_tier{device="mlvpn0",link="dsl"} 2"#,
            r#"mlvpn_link_quota_stop{device="mlvpn0",link="dsl",stop="soft"} 1"#,
            r#"mlvpn_link_quota_stop{device="mlvpn0",link="dsl",stop="hard"} 0"#,
            r#"mlvpn_link_quota_used_bytes{device="mlvpn0",link="dsl",period="day"} 400000000"#,
            r#"mlvpn_link_quota_limit_bytes{device="mlvpn0",link="dsl",period="month",stop="hard"} 20000000000"#,
            r#"connected{tunnel="dsl"} 1"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[test]
    fn everything_2_3_5_tells_is_among_it() {
        let (status, peers) = everything();
        let text = render(&status, &peers, 7, Content::Prometheus);
        for line in classic::metrics(&status, 7).lines() {
            assert!(text.lines().any(|told| told == line), "{line}");
        }
    }

    /// What the independent parser in tests/monitoring reads.
    #[test]
    fn the_samples_for_other_parsers_are_these() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/monitoring");
        for (content, file) in [(Content::Prometheus, "metrics.prom"), (Content::OpenMetrics, "metrics.openmetrics")] {
            let path = folder.join(file);
            if std::env::var_os("MLVPN_BLESS").is_some() {
                std::fs::write(&path, text(content)).expect("a file");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text(content), kept, "{file}; MLVPN_BLESS=1 writes it anew");
        }
    }
}

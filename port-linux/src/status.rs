// SPDX-License-Identifier: BSD-2-Clause
//! What there is to know of a running tunnel: one source for everything that shows it.
//!
//! The worker fills these types on request; whoever asks renders them with a `serde` serialiser of its own (ubus, a control
//! socket), so that a figure added here appears everywhere. What is not known is `None`, and is left out. Durations and
//! rates say their unit in their name, since that name is what people read.

mod history;
mod measured;
mod meter;

use std::collections::BTreeMap;

use mlvpn_core::words::drops::Drops;
use serde::{Serialize, Serializer};

pub use history::{History, LinkHistory};
pub use measured::{OrderStatus, PolicyStatus, QuotaStatus, ReceivingStatus, RepairStatus, SendingStatus, StopState};
pub(crate) use meter::Ticks;
pub use meter::{HISTORY_SAMPLES, Meter, SAMPLE_INTERVAL, Sample};

/// How the whole tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelState {
    /// Every link that is to carry traffic does, or is ready to as a backup.
    Up,
    /// Traffic flows, but not over every link that should carry it.
    Degraded,
    /// No link carries traffic.
    Down,
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It carries traffic, or would as a backup.
    Up,
    /// It answers, but loses more than it may.
    Lossy,
    /// It answers, but takes longer than it may.
    Slow,
    /// It has not answered lately.
    Silent,
    /// It has a socket; nobody has answered yet.
    Connecting,
    /// It is a socket of a server, which waits for clients.
    Listening,
    /// It has no socket; the reason says why.
    NoSocket,
    /// Its OpenWrt interface is down.
    InterfaceDown,
    /// Somebody took it out.
    Disabled,
}

impl LinkState {
    /// Every state there is.
    pub const ALL: [Self; 9] = [
        Self::Up,
        Self::Lossy,
        Self::Slow,
        Self::Silent,
        Self::Connecting,
        Self::Listening,
        Self::NoSocket,
        Self::InterfaceDown,
        Self::Disabled,
    ];

    /// The word this state is shown as.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Connecting => "connecting",
            Self::Listening => "listening",
            Self::NoSocket => "no_socket",
            Self::InterfaceDown => "interface_down",
            Self::Disabled => "disabled",
        }
    }

    /// Whether its peer answers over it.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Up | Self::Lossy | Self::Slow | Self::Silent)
    }
}

/// The tunnel as a whole, and its links.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// How it is, in a word.
    pub state: TunnelState,
    /// The same in a sentence.
    pub summary: String,
    /// What the ends speak: `classic` or `2`.
    pub protocol: &'static str,
    /// `client` or `server`.
    pub mode: &'static str,
    /// The tunnel's device.
    pub device: String,
    /// What it carries: `tun` or `tap`.
    pub device_kind: &'static str,
    /// Largest packet of the device, in bytes.
    pub mtu: u16,
    /// The process to send signals to.
    pub pid: u32,
    /// Since the daemon started.
    pub uptime_ms: u64,
    /// Since the configuration in use was read.
    pub configured_ms: u64,
    /// Since the first link came up, while one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_ms: Option<u64>,
    /// A client of protocol 2: the server in use, as the configuration calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What was wrong with the last handshake, until one succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<&'static str>,
    /// A client of protocol 2: the keys in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStatus>,
    /// Bytes of datagrams sent over all links.
    pub sent_bytes: u64,
    /// The same over the last second.
    pub sent_bytes_per_sec: u64,
    /// Bytes of datagrams received over all links.
    pub received_bytes: u64,
    /// The same over the last second.
    pub received_bytes_per_sec: u64,
    /// Packets held back for one that is missing.
    pub reordering: u32,
    /// Packets that wait for a link.
    pub waiting: u32,
    /// How packets waited for their order, by groups of flows; on a server it is told of each peer.
    pub orders: Vec<OrderStatus>,
    /// Protocol 2: what became of packets that were lost on their way to the peers there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repairs: Option<RepairStatus>,
    /// How many packets were dropped for which reason; reasons that never occurred are left out.
    pub drops: DropCounts,
    /// What carrying packets took.
    pub work: WorkStatus,
    /// The links in the order of their configuration.
    pub links: Vec<LinkStatus>,
}

/// What carrying packets took since the start: the fewer system calls a packet, the less of the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkStatus {
    /// Packets taken from the device.
    pub packets_out: u64,
    /// Packets handed to the device.
    pub packets_in: u64,
    /// System calls made to wait, and to read and write device and sockets.
    pub system_calls: u64,
}

/// Keys of protocol 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// How packets are sealed.
    pub cipher: &'static str,
    /// How often keys were agreed upon since the start.
    pub renewals: u64,
}

/// One link: of the configuration, or of a server's peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkStatus {
    /// What the configuration calls it; of a server's peer, the peer's number for it.
    pub name: String,
    /// How it is, in a word.
    pub state: LinkState,
    /// What keeps it from carrying traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It is used only while no other link is.
    pub backup: bool,
    /// The interface the configuration names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The kernel's name of it, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// This end's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The other end's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// What it can send, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_sec: Option<u64>,
    /// Of the configuration's links: silent for so long, it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The same: losing so much, it is left out; 100: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_tolerance_percent: Option<u8>,
    /// The same: with a longer round trip, it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_tolerance_ms: Option<u64>,
    /// Smoothed round-trip time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// How much that varies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_deviation_us: Option<u64>,
    /// Loss of the last 64 packets of the peer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<u8>,
    /// Largest IP packet of its path, in bytes, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Since the peer was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    /// How often it went down.
    pub disconnects: u64,
    /// Datagrams sent.
    pub sent_packets: u64,
    /// Bytes of datagrams sent.
    pub sent_bytes: u64,
    /// The same over the last second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes_per_sec: Option<u64>,
    /// Datagrams received.
    pub received_packets: u64,
    /// Bytes of datagrams received.
    pub received_bytes: u64,
    /// The same over the last second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes_per_sec: Option<u64>,
    /// Protocol 2: how it is sent on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingStatus>,
    /// Protocol 2: what arrives over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving: Option<ReceivingStatus>,
    /// Protocol 2: what it is to be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
}

/// Some of the peers of protocol 2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peers {
    /// How many there are.
    pub total: u64,
    /// Those asked for.
    pub peers: Vec<PeerStatus>,
}

/// One peer of protocol 2: a server's client, or a client's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// What the configuration calls it.
    pub name: String,
    /// Whether a link to it carries traffic.
    pub up: bool,
    /// A client's server: it is the one in use.
    pub active: bool,
    /// Its public key, if it is known by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The keys in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStatus>,
    /// The networks it may use; any when empty.
    pub allowed: Vec<String>,
    /// Largest packet that reaches it whole, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Its packets that are held back for one that is missing.
    pub reordering: u32,
    /// Packets that wait for a link to it.
    pub waiting: u32,
    /// How its packets waited for their order, by groups of flows.
    pub orders: Vec<OrderStatus>,
    /// What became of packets that were lost on their way to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repairs: Option<RepairStatus>,
    /// How many of its packets were dropped for which reason.
    pub drops: DropCounts,
    /// A server's client: its links. A client's own links are in [`Status`].
    pub links: Vec<LinkStatus>,
}

/// Drops by reason, without the reasons that never occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts(BTreeMap<&'static str, u64>);

impl DropCounts {
    /// Adds what was counted.
    pub fn add(&mut self, drops: &Drops) {
        for (reason, count) in drops.iter().filter(|(_, count)| *count > 0) {
            let sum = self.0.entry(reason.name()).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Reasons and their numbers, in the order of the alphabet.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }

    /// How many packets were dropped for this reason.
    #[must_use]
    pub fn of(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }
}

impl From<&Drops> for DropCounts {
    fn from(drops: &Drops) -> Self {
        let mut counts = Self::default();
        counts.add(drops);
        counts
    }
}

impl Serialize for DropCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// Something that happened to the tunnel, as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The first link came up, or the last went down.
    Tunnel(TunnelHappening),
    /// A link changed.
    Link(LinkHappening),
}

/// The first link came up, or the last went down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelHappening {
    /// Whether traffic can flow now.
    pub up: bool,
    /// The tunnel's device.
    pub device: String,
}

/// A link changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkHappening {
    /// Its name, of a server's peer with the peer's before a dot.
    pub link: String,
    /// The tunnel's device.
    pub device: String,
    /// Whether its peer answers over it now.
    pub up: bool,
    /// How it is, in a word.
    pub state: LinkState,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlvpn_core::words::drops::DropReason;

    #[test]
    fn a_state_is_shown_as_its_word() {
        for state in LinkState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        for state in StopState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }

    #[test]
    fn drops_name_only_the_reasons_that_occurred() {
        let mut drops = Drops::new();
        drops.count(DropReason::NoLink);
        let mut counts = DropCounts::from(&drops);
        counts.add(&drops);
        assert_eq!(serde_json::to_string(&counts).unwrap(), r#"{"no_link":2}"#);
        assert_eq!((counts.of("no_link"), counts.of("malformed")), (2, 0));
    }
}

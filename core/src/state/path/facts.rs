// SPDX-License-Identifier: BSD-2-Clause
//! What is read off a path.

use crate::state::estimate::RoundTrip;
use crate::state::link::{LinkSettings, Phase, Traffic};
use crate::words::event::{DownCause, Health};
use crate::words::time::Instant;

use super::{Path, Place, overhead};

impl Path {
    /// Where the path is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How good it is, while it is up.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// What the user set.
    #[must_use]
    pub const fn settings(&self) -> &LinkSettings {
        &self.settings
    }

    /// Where datagrams go.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        self.place
    }

    /// Round-trip time.
    #[must_use]
    pub const fn rtt(&self) -> &RoundTrip {
        &self.rtt
    }

    /// Loss of the peer's last 64 packets, in percent.
    #[must_use]
    pub fn loss_percent(&self) -> u8 {
        self.loss.percent()
    }

    /// Bytes of UDP payload that pass whole in this direction.
    #[must_use]
    pub fn payload_room(&self) -> Option<u16> {
        Some(self.mtu.usable().saturating_sub(overhead(self.place?.address)))
    }

    /// Whether that was measured, and is no guess.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        self.mtu.is_known()
    }

    /// The largest IP packet that passes whole in this direction, in bytes, once that was measured.
    #[must_use]
    pub fn path_mtu(&self) -> Option<u16> {
        self.mtu.is_known().then(|| self.mtu.usable())
    }

    /// Packets and bytes.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Counts a datagram handed out for sending.
    pub fn count_sent(&mut self, bytes: usize) {
        self.traffic.sent_packets = self.traffic.sent_packets.saturating_add(1);
        self.traffic.sent_bytes = self.traffic.sent_bytes.saturating_add(bytes as u64);
        self.count(bytes, self.place);
    }

    /// How often the path went down.
    #[must_use]
    pub const fn disconnects(&self) -> u64 {
        self.disconnects
    }

    /// Why it went down last.
    #[must_use]
    pub const fn down_cause(&self) -> DownCause {
        self.down_cause
    }

    /// When something authentic was last heard.
    #[must_use]
    pub const fn last_heard(&self) -> Instant {
        self.last_heard
    }
}

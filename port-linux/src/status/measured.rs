// SPDX-License-Identifier: BSD-2-Clause
//! What protocol 2 measures of links and packets, and what is set for links.

use serde::Serialize;

/// What became of packets that this end sent and its peer missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairStatus {
    /// Packets sent again.
    pub resent: u64,
    /// Packets not sent again, because they were too old or too many.
    pub unrepaired: u64,
    /// Packets sent over a second link, too, because their class asks for that.
    pub copied: u64,
    /// Reports of the peer's that were not read, for they came too often.
    pub unread_reports: u64,
}

/// How the received packets of one group of flows waited for earlier ones of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderStatus {
    /// The group's number.
    pub group: u8,
    /// Packets that wait now.
    pub held_packets: u16,
    /// For how long the first of them has.
    pub waiting_us: u64,
    /// Packets that had to wait, since the start.
    pub waited_packets: u64,
    /// For how long they did on average.
    pub mean_wait_us: u64,
    /// And at the longest.
    pub longest_wait_us: u64,
    /// Packets that did not come even by being sent again.
    pub missing_packets: u32,
}

/// What a link of protocol 2 is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// It carries data when links of lower tiers are full or down.
    pub tier: u8,
    /// Its share beside others of its tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Data costs money.
    pub metered: bool,
    /// What its quota makes of it.
    pub stop: StopState,
    /// The most that is sent over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_bytes_per_sec: Option<u64>,
    /// What it carried of its quota, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
}

/// What a quota makes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopState {
    /// Nothing.
    None,
    /// A backup.
    Soft,
    /// One that carries no data.
    Hard,
}

impl StopState {
    /// Every state there is.
    pub const ALL: [Self; 3] = [Self::None, Self::Soft, Self::Hard];

    /// The word this state is shown as.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// What a link carried, both ways, and may carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuotaStatus {
    /// Since the day began.
    pub day_bytes: u64,
    /// A backup from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_soft_bytes: Option<u64>,
    /// No data from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_hard_bytes: Option<u64>,
    /// Since the month began.
    pub month_bytes: u64,
    /// A backup from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_soft_bytes: Option<u64>,
    /// No data from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_hard_bytes: Option<u64>,
}

impl QuotaStatus {
    /// The limits there are: for which time, what the link is from there on, and how much.
    pub fn limits(self) -> impl Iterator<Item = (&'static str, StopState, u64)> {
        let limits = [
            ("day", StopState::Soft, self.day_soft_bytes),
            ("day", StopState::Hard, self.day_hard_bytes),
            ("month", StopState::Soft, self.month_soft_bytes),
            ("month", StopState::Hard, self.month_hard_bytes),
        ];
        limits.into_iter().filter_map(|(period, stop, limit)| Some((period, stop, limit?)))
    }
}

/// How a link of protocol 2 is sent on, by what the peer reports of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SendingStatus {
    /// How fast this end sends at most, in bytes on the path.
    pub pace_bytes_per_sec: u64,
    /// What the link is believed to carry; left out while that is being found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes_per_sec: Option<u64>,
    /// The least delay by queues on the way that the last report tells of.
    pub queue_us: u64,
    /// Smoothed time from a packet to the report of it, which may come over another link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_rtt_us: Option<u64>,
    /// By how much one-way times of neighbouring packets differ, on average.
    pub jitter_us: u64,
    /// Data packets that were lost on the link.
    pub lost_packets: u64,
    /// Data packets that arrived.
    pub arrived_packets: u64,
    /// How much longer packets take than over the quickest link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_us: Option<u64>,
    /// Packets lost on any link that were sent again over this one.
    pub resent_packets: u64,
    /// Copies of packets that went over another link.
    pub copied_packets: u64,
}

/// What arrives over a link of protocol 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReceivingStatus {
    /// By how much one-way times of neighbouring packets differ, on average.
    pub jitter_us: u64,
    /// Packets that came after they had been reported missing.
    pub late_packets: u64,
    /// How much longer packets take than over the quickest link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_us: Option<u64>,
    /// Packets that had come before.
    pub duplicate_packets: u64,
}

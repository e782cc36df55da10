// SPDX-License-Identifier: BSD-2-Clause
//! What engines know of links and packets, in the words of [`crate::status`].

use std::net::SocketAddr;

use mlvpn_core::stages::reorder::Depth;
use mlvpn_core::state::departures::Departures;
use mlvpn_core::state::link::{Link, Phase, Traffic};
use mlvpn_core::state::path::Path;
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::words::event::{DownCause, Health};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::policy::{Quota, Stop, Usage};
use mlvpn_core::words::time::{Duration, Instant};

use crate::status::{OrderStatus, PolicyStatus, QuotaStatus, ReceivingStatus, RepairStatus, SendingStatus, StopState};

/// What the title and the log say of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkFacts {
    pub(super) phase: Phase,
    pub(super) health: Health,
    pub(super) loss_percent: u8,
    pub(super) rtt: Option<Duration>,
    pub(super) last_heard: Instant,
    pub(super) rtt_deviation: Duration,
    pub(super) remote: Option<SocketAddr>,
    /// What the path carries, in bytes, where it was measured.
    pub(super) mtu: Option<u16>,
    pub(super) disconnects: u64,
    pub(super) down_cause: DownCause,
    pub(super) traffic: Traffic,
    pub(super) is_backup: bool,
    /// Protocol 2 measures these.
    pub(super) sending: Option<SendingStatus>,
    pub(super) receiving: Option<ReceivingStatus>,
    pub(super) policy: Option<PolicyStatus>,
}

/// What an engine of protocol 2 knows of a link.
pub(super) fn facts<const LINKS: usize, const WINDOW: usize>(
    peer: &Peer<LINKS, WINDOW>,
    id: LinkId,
) -> Option<LinkFacts> {
    let path = peer.link(id)?;
    Some(LinkFacts {
        phase: path.phase(),
        health: path.health(),
        loss_percent: path.loss_percent(),
        rtt: path.rtt().smoothed(),
        last_heard: path.last_heard(),
        rtt_deviation: path.rtt().deviation(),
        remote: path.place().map(|place| place.address),
        mtu: path.path_mtu(),
        disconnects: path.disconnects(),
        down_cause: path.down_cause(),
        traffic: *path.traffic(),
        is_backup: path.settings().fallback_only,
        sending: peer.departures(id).map(|departures| sending(peer, id, departures)),
        receiving: peer.arrivals(id).map(|arrivals| ReceivingStatus {
            jitter_us: arrivals.jitter().micros(),
            late_packets: arrivals.spurious(),
            spread_us: peer.spread(id).receiving.map(Duration::micros),
            duplicate_packets: peer.link_counts(id).duplicates,
        }),
        policy: Some(policy(path)),
    })
}

fn policy(path: &Path) -> PolicyStatus {
    let Quota { day, month } = path.settings().policy.quota;
    let Usage { day: day_bytes, month: month_bytes } = path.usage();
    let quota = QuotaStatus {
        day_bytes,
        day_soft_bytes: day.soft,
        day_hard_bytes: day.hard,
        month_bytes,
        month_soft_bytes: month.soft,
        month_hard_bytes: month.hard,
    };
    PolicyStatus {
        tier: path.tier(),
        weight: Some(path.weight()).filter(|weight| *weight > 0),
        metered: path.is_metered(),
        stop: match path.stop() {
            Stop::None => StopState::None,
            Stop::Soft => StopState::Soft,
            Stop::Hard => StopState::Hard,
        },
        ceiling_bytes_per_sec: Some(path.ceiling()).filter(|rate| *rate > 0),
        quota: Some(quota).filter(|_| path.settings().policy.quota != Quota::default()),
    }
}

/// How packets waited in each order in which some did.
pub(super) fn orders<const LINKS: usize, const WINDOW: usize>(
    peer: &Peer<LINKS, WINDOW>,
    now: Instant,
) -> Vec<OrderStatus> {
    let orders = (1..=u8::MAX).map_while(|group| Some((group, peer.depth(group, now)?)));
    let waited = orders.filter(|(_, depth)| depth.held > 0 || depth.waited > 0);
    waited.map(|(group, depth)| order(group, &depth)).collect()
}

fn order(group: u8, depth: &Depth) -> OrderStatus {
    OrderStatus {
        group,
        held_packets: depth.held,
        waiting_us: depth.waiting.micros(),
        waited_packets: depth.waited,
        mean_wait_us: depth.total.micros().checked_div(depth.waited).unwrap_or(0),
        longest_wait_us: depth.longest.micros(),
        missing_packets: depth.missing(),
    }
}

fn sending<const LINKS: usize, const WINDOW: usize>(
    peer: &Peer<LINKS, WINDOW>,
    id: LinkId,
    departures: &Departures,
) -> SendingStatus {
    let counts = peer.link_counts(id);
    let (lost_packets, arrived_packets) = departures.lost_and_arrived();
    SendingStatus {
        pace_bytes_per_sec: departures.rate().pace(),
        capacity_bytes_per_sec: departures.rate().capacity(),
        queue_us: departures.rate().queue().micros(),
        report_rtt_us: departures.rtt().smoothed().map(Duration::micros),
        jitter_us: departures.jitter().micros(),
        lost_packets,
        arrived_packets,
        spread_us: peer.spread(id).sending.map(Duration::micros),
        resent_packets: counts.resent,
        copied_packets: counts.copied,
    }
}

/// What an engine of protocol 2 did about packets its peer missed.
pub(super) fn repairs<const LINKS: usize, const WINDOW: usize>(peer: &Peer<LINKS, WINDOW>) -> RepairStatus {
    let counts = peer.counts();
    RepairStatus {
        resent: counts.resent,
        unrepaired: counts.unrepaired,
        copied: counts.copied,
        unread_reports: counts.unread,
    }
}

pub(super) fn classic_facts(link: &Link) -> LinkFacts {
    LinkFacts {
        phase: link.phase(),
        health: link.health(),
        loss_percent: link.loss_percent(),
        rtt: link.rtt().smoothed(),
        last_heard: link.last_heard(),
        rtt_deviation: link.rtt().deviation(),
        remote: link.remote(),
        mtu: None,
        disconnects: link.disconnects(),
        down_cause: link.down_cause(),
        traffic: *link.traffic(),
        is_backup: link.settings().fallback_only,
        sending: None,
        receiving: None,
        policy: None,
    }
}

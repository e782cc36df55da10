// SPDX-License-Identifier: BSD-2-Clause
//! What another program adds to the daemon: a service of its own on the worker's loop, such as a connection to a bus.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use mlvpn_core::words::time::Instant;
use serde::{Deserialize, Serialize};

use super::command::CommandError;
use crate::config::{self, Loaded, OpenFile};
use crate::interface::InterfaceName;
use crate::privilege::Confinement;
use crate::reactor::{Reactor, Readiness};
use crate::status::{Happening, History, Peers, Status};

/// A daemon other than `mlvpn`'s: how it reads its configuration, and what it does besides.
pub struct Variant {
    /// The program's name, for the log.
    pub name: &'static str,
    /// Reads the configuration.
    pub load: Load,
    /// What runs on the worker's loop besides the tunnel.
    pub service: Option<Box<dyn Service>>,
    /// How far the worker is locked in.
    pub confinement: Confinement,
}

/// Reads a configuration from a file that is open at its start; the text is what reports call the file, and what else it
/// needs is opened with the last argument.
pub type Load = Rc<dyn Fn(&File, &str, OpenFile<'_>) -> Loaded>;

impl Variant {
    /// `mlvpn` itself.
    #[must_use]
    pub fn plain() -> Self {
        let load: Load = Rc::new(|file, name, _| config::load_from(file, name));
        Self { name: "mlvpn", load, service: None, confinement: Confinement::Sealed }
    }
}

/// What runs on the worker's loop besides the tunnel.
///
/// The worker calls [`Service::serve`] with what occurred, first with [`Occasion::Start`] when its rights are dropped and
/// before anything is read from the network, last with [`Occasion::End`] when the tunnel has said goodbye. A service
/// registers its one descriptor with [`Control::reactor`] as [`Token::Service`](crate::reactor::Token::Service) and
/// deregisters it before it closes it. Nothing in it may block: packets wait meanwhile.
pub trait Service {
    /// Acts on what occurred.
    fn serve(&mut self, occasion: Occasion, control: &mut dyn Control);

    /// When to be called with [`Occasion::Due`].
    fn deadline(&self) -> Option<Instant>;
}

/// Why a service is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The worker begins.
    Start,
    /// The service's descriptor is ready.
    Ready(Readiness),
    /// The service's deadline has passed.
    Due,
    /// Something happened to the tunnel.
    Happened(Happening),
    /// The worker ends after this call.
    End,
}

/// What a service may see and do.
pub trait Control {
    /// Where to register the service's descriptor.
    fn reactor(&self) -> &Reactor;

    /// The time of this turn of the loop.
    fn now(&self) -> Instant;

    /// The tunnel and its links.
    fn status(&self) -> Status;

    /// `count` peers from number `first` in the order of the configuration; none with the classic protocol.
    fn peers(&self, first: usize, count: usize) -> Peers;

    /// The last `count` samples of every link.
    fn history(&self, count: usize) -> History;

    /// Has the configuration read again, as by SIGHUP. What comes of it is in the log.
    ///
    /// # Errors
    /// When the monitor cannot be asked.
    fn reload(&mut self) -> io::Result<()>;

    /// Changes how a link is used, until it is changed again or leaves the configuration.
    ///
    /// # Errors
    /// When there is no such link.
    fn change_link(&mut self, name: &str, change: LinkChange) -> Result<(), NoSuchLink>;

    /// Changes the tolerances of every link that nobody changed by itself, until they are changed again.
    fn change_tunnel(&mut self, change: TunnelChange);

    /// Admits a peer to a server of protocol 2 until it is removed, or the daemon ends. Which of its networks this
    /// machine does not send into the tunnel, because the configuration does not say so.
    ///
    /// # Errors
    /// When this end has no use for it, or it is in the way of another.
    fn add_peer(&mut self, peer: config::Peer) -> Result<Vec<config::Network>, CommandError>;

    /// Parts with a peer of a server of protocol 2, be it in the configuration or not, until the daemon ends.
    ///
    /// # Errors
    /// When there is none of this name.
    fn remove_peer(&mut self, name: &str) -> Result<(), CommandError>;

    /// Tells what an interface that links may name is now. A link whose interface is not told of takes its name for the
    /// kernel's.
    fn set_interface(&mut self, name: &InterfaceName, state: InterfaceState);

    /// Forgets the interfaces told of but these: the others exist no more.
    fn keep_interfaces(&mut self, names: &[InterfaceName]);
}

/// No link of this name is in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchLink;

/// What to change of a link; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// When it carries traffic.
    pub usage: Option<Usage>,
    /// What it can send, in bytes per second; 0: not known.
    pub rate_bytes_per_sec: Option<u32>,
    /// What it may lose and how long it may take.
    pub tolerances: TunnelChange,
    /// What it is used for, and how much.
    pub policy: PolicyChange,
}

/// What to change of every link; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelChange {
    /// Silent for so many seconds, a link is down; at least 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// Losing so much, it is left out while a better one is up; at most 100, which is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_tolerance_percent: Option<u8>,
    /// With a longer round trip, it is left out while a better one is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_tolerance_ms: Option<u32>,
}

impl TunnelChange {
    /// This change after `earlier`.
    pub(super) fn after(self, earlier: Self) -> Self {
        Self {
            timeout_secs: self.timeout_secs.or(earlier.timeout_secs),
            loss_tolerance_percent: self.loss_tolerance_percent.or(earlier.loss_tolerance_percent),
            latency_tolerance_ms: self.latency_tolerance_ms.or(earlier.latency_tolerance_ms),
        }
    }

    /// Changes a link.
    pub(super) fn apply(self, link: &mut config::Link) {
        link.timeout_secs = self.timeout_secs.unwrap_or(link.timeout_secs);
        link.loss_tolerance_percent = self.loss_tolerance_percent.unwrap_or(link.loss_tolerance_percent);
        link.latency_tolerance_ms = self.latency_tolerance_ms.unwrap_or(link.latency_tolerance_ms);
    }
}

/// What to change of the policy of a client's link of protocol 2; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// 1 to 9: it joins when links of lower tiers are full or down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// 1 to 100: its share beside links of its tier; 0: what it is measured to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Data costs money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<bool>,
    /// The most that is to be received, in bytes per second; 0: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<u32>,
    /// A backup from so many bytes a day on; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_day_soft: Option<u64>,
    /// No data from so many bytes a day on; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_day_hard: Option<u64>,
    /// The soft one for a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_month_soft: Option<u64>,
    /// The hard one for a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_month_hard: Option<u64>,
}

impl PolicyChange {
    /// This change after `earlier`.
    pub(super) fn after(self, earlier: Self) -> Self {
        Self {
            tier: self.tier.or(earlier.tier),
            weight: self.weight.or(earlier.weight),
            metered: self.metered.or(earlier.metered),
            download: self.download.or(earlier.download),
            quota_day_soft: self.quota_day_soft.or(earlier.quota_day_soft),
            quota_day_hard: self.quota_day_hard.or(earlier.quota_day_hard),
            quota_month_soft: self.quota_month_soft.or(earlier.quota_month_soft),
            quota_month_hard: self.quota_month_hard.or(earlier.quota_month_hard),
        }
    }

    /// Changes a link.
    pub(super) fn apply(self, link: &mut config::Link) {
        link.tier = self.tier.unwrap_or(link.tier);
        link.weight = self.weight.map_or(link.weight, |weight| Some(weight).filter(|weight| *weight > 0));
        link.metered = self.metered.unwrap_or(link.metered);
        link.bandwidth_download = self.download.unwrap_or(link.bandwidth_download);
        for (limit, change) in [
            (&mut link.day.soft, self.quota_day_soft),
            (&mut link.day.hard, self.quota_day_hard),
            (&mut link.month.soft, self.quota_month_soft),
            (&mut link.month.hard, self.quota_month_hard),
        ] {
            *limit = change.map_or(*limit, |bytes| Some(bytes).filter(|bytes| *bytes > 0));
        }
    }
}

/// When a link carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// As the configuration says.
    Configured,
    /// Only while no other does.
    Backup,
    /// Never.
    Disabled,
}

impl Usage {
    /// When, in words for a log line.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Configured => "as configured",
            Self::Backup => "only while no other link is",
            Self::Disabled => "not at all",
        }
    }
}

/// What an interface is, which the configuration names by another name than the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// It is not up, whatever the kernel has of that name.
    Down,
    /// It is up.
    Up {
        /// Its device.
        device: InterfaceName,
        /// Its first IPv4 address.
        address: Option<Ipv4Addr>,
    },
}

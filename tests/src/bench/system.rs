// SPDX-License-Identifier: BSD-2-Clause
//! What is compared: ours, others' tunnels, the kernel's Multipath TCP, and each link alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::peer;

/// A way to carry flows over the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum System {
    /// This tree with protocol 2, told nothing about the links.
    Protocol2,
    /// The same with every link's rate configured.
    Protocol2Rates,
    /// This tree with the classic protocol, told nothing.
    Classic,
    /// The same with every link's rate configured.
    ClassicRates,
    /// MLVPN 2.3.5 with every link's rate configured, as it asks for.
    Mlvpn,
    /// Glorytun with fixed rates, which it needs.
    Glorytun,
    /// mqvpn with its default scheduler.
    Mqvpn,
    /// mqvpn with its scheduler that spreads one TCP flow over several links.
    MqvpnMinRtt,
    /// The kernel's Multipath TCP, without a tunnel.
    Mptcp,
    /// One link, counted from 1, without a tunnel: the reference.
    Link(usize),
}

impl System {
    /// All that bond, in the table's order.
    pub const BONDS: [Self; 9] = [
        Self::Protocol2,
        Self::Protocol2Rates,
        Self::Classic,
        Self::ClassicRates,
        Self::Mlvpn,
        Self::Glorytun,
        Self::Mqvpn,
        Self::MqvpnMinRtt,
        Self::Mptcp,
    ];

    /// How the table calls it.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Protocol2 => "mlvpn, protocol 2".to_owned(),
            Self::Protocol2Rates => "mlvpn, protocol 2, rates given".to_owned(),
            Self::Classic => "mlvpn, classic".to_owned(),
            Self::ClassicRates => "mlvpn, classic, rates given".to_owned(),
            Self::Mlvpn => "MLVPN 2.3.5, rates given".to_owned(),
            Self::Glorytun => "Glorytun, rates given".to_owned(),
            Self::Mqvpn => "mqvpn".to_owned(),
            Self::MqvpnMinRtt => "mqvpn, minrtt".to_owned(),
            Self::Mptcp => "kernel MPTCP".to_owned(),
            Self::Link(link) => format!("link {link} alone"),
        }
    }

    /// Whether it is this tree's daemon.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Protocol2 | Self::Protocol2Rates | Self::Classic | Self::ClassicRates)
    }

    /// Whether it can be run here.
    ///
    /// # Errors
    /// What is missing, for whoever wonders what was left out.
    pub fn availability(self) -> Result<(), String> {
        match self {
            Self::Mlvpn => peer::program_or_on_path().map(drop),
            Self::Glorytun => peer::on_path("glorytun").map(drop),
            Self::Mqvpn | Self::MqvpnMinRtt => peer::on_path("mqvpn").and(peer::on_path("openssl")).map(drop),
            Self::Mptcp => mptcp_is_enabled(),
            Self::Protocol2 | Self::Protocol2Rates | Self::Classic | Self::ClassicRates | Self::Link(_) => Ok(()),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol2 => write!(f, "proto2"),
            Self::Protocol2Rates => write!(f, "proto2-rates"),
            Self::Classic => write!(f, "classic"),
            Self::ClassicRates => write!(f, "classic-rates"),
            Self::Mlvpn => write!(f, "mlvpn235"),
            Self::Glorytun => write!(f, "glorytun"),
            Self::Mqvpn => write!(f, "mqvpn"),
            Self::MqvpnMinRtt => write!(f, "mqvpn-minrtt"),
            Self::Mptcp => write!(f, "mptcp"),
            Self::Link(link) => write!(f, "link{link}"),
        }
    }
}

/// A name that is no system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSystem;

impl FromStr for System {
    type Err = NoSystem;

    fn from_str(text: &str) -> Result<Self, NoSystem> {
        if let Some(link) = text.strip_prefix("link") {
            return link.parse().ok().filter(|&link| link > 0).map(Self::Link).ok_or(NoSystem);
        }
        Self::BONDS.into_iter().find(|system| system.to_string() == text).ok_or(NoSystem)
    }
}

fn mptcp_is_enabled() -> Result<(), String> {
    match std::fs::read_to_string("/proc/sys/net/mptcp/enabled") {
        Ok(text) if text.trim() == "1" => Ok(()),
        Ok(_) => Err("Multipath TCP is switched off (sysctl net.mptcp.enabled)".to_owned()),
        Err(_) => Err("the kernel has no Multipath TCP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_is_found_by_its_name() {
        for system in System::BONDS.into_iter().chain([System::Link(1), System::Link(12)]) {
            assert_eq!(system.to_string().parse(), Ok(system));
        }
        assert_eq!(["link0", "link", "linkx", "proto3", ""].map(str::parse::<System>), [Err(NoSystem); 5]);
    }
}

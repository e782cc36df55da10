// SPDX-License-Identifier: BSD-2-Clause
//! A router's program does nothing for the machine it runs on: netifd has addresses and routes, and fw4 translates. What
//! an `mlvpn.conf` asks for all the same is said, and left.

use crate::config::Config;
use crate::interface::InterfaceName;

/// What the configuration wants of this machine: nothing here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan;

impl Plan {
    /// What a configuration wants.
    #[must_use]
    pub const fn of(_: &Config, _has_firewall: bool) -> Self {
        Self
    }

    /// Whether anything is to be done.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        false
    }
}

/// What of the configuration will surprise its author, each in a sentence for the log.
#[must_use]
pub fn cautions(config: &Config) -> Vec<&'static str> {
    let roles = &config.general.roles;
    let is_asked = roles.has_any() || roles.setup == Some(true);
    is_asked
        .then_some("setup, routes, nat and port_forwards are netifd's and the firewall's on a router")
        .into_iter()
        .collect()
}

/// What was done by a [`Plan`]: there is none.
#[derive(Debug)]
pub(crate) struct Keeper;

impl Keeper {
    /// Does nothing.
    pub(crate) const fn start(_: InterfaceName, _: Plan) -> Self {
        Self
    }

    /// The mark of the tunnel's own packets, as if there were none.
    pub(crate) const fn mark(&self) -> u32 {
        0
    }

    /// Does nothing.
    pub(crate) const fn follow(&self, _: Plan) {}

    /// Does nothing.
    pub(crate) const fn set_up(&self, _is_up: bool) {}

    /// Does nothing.
    pub(crate) const fn end(&self, _has_crashed: bool) {}
}

// SPDX-License-Identifier: BSD-2-Clause
//! SIGHUP: the configuration is read again, and only what changed is touched.

use std::fs::File;
use std::sync::Arc;

use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Instant;

use super::engine::Engine;
use super::failover::Failover;
use super::filters::Filters;
use super::options::RunOptions;
use super::service::Load;
use super::settings;
use super::worker::Worker;
use crate::config::{Changes, Config, OpenFile, Protocol, Report};
use crate::log::Topic;
use crate::privilege::Opened;
use crate::{log_info, log_warn};

/// Why a configuration is not followed.
pub(super) enum Refused {
    /// It has errors, or others than its owner can reach it.
    Errors(Vec<Report>),
    /// It is for another protocol: its links and peers are of no use to what runs.
    Protocol,
}

/// Where configurations come from. Worker and monitor both read with this, so that what one refuses changes nothing for
/// the other.
#[derive(Clone)]
pub(super) struct Source {
    /// What the reports call the file.
    name: Arc<str>,
    load: Load,
}

impl Source {
    pub(super) fn of(options: &RunOptions, load: Load) -> Self {
        let name = options.config.file_name().map_or("".into(), |name| name.to_string_lossy());
        Self { name: name.into(), load }
    }

    /// Reads a configuration to be followed by a daemon that runs `protocol`.
    pub(super) fn read(
        &self,
        file: &File,
        open: OpenFile<'_>,
        protocol: Protocol,
    ) -> Result<(Config, Vec<Report>), Refused> {
        let (newer, warnings) = (self.load)(file, &self.name, open).map_err(Refused::Errors)?;
        if newer.general.protocol == protocol { Ok((newer, warnings)) } else { Err(Refused::Protocol) }
    }
}

impl Worker {
    /// Follows the configuration that was opened. One that has errors changes nothing.
    pub(super) fn reload(&mut self, opened: &Opened, now: Instant) {
        self.notifier.reloading();
        self.read_again(opened, now);
        // Refused or followed, the reload is over.
        self.notifier.ready();
    }

    fn read_again(&mut self, opened: &Opened, now: Instant) {
        let protocol = self.config.general.protocol;
        let (newer, warnings) = match self.source.read(&opened.config, &|path| opened.open(path), protocol) {
            Ok(loaded) => loaded,
            Err(Refused::Errors(reports)) => {
                for report in reports {
                    log_warn!(Topic::Config, "{report}");
                }
                return log_warn!(Topic::Config, "reload: the configuration has errors; nothing was changed");
            }
            Err(Refused::Protocol) => {
                return log_warn!(Topic::Config, "reload: another protocol takes a restart; nothing was changed");
            }
        };
        for report in warnings.iter().chain(&self.config.changes(&newer).reports(&self.source.name)) {
            log_warn!(Topic::Config, "{report}");
        }
        let mut newer = newer;
        self.live.follow(&mut newer);
        match self.follow_config(newer, now) {
            Ok(()) => {
                self.facts.configured = now;
                log_info!(Topic::Config, "reload: done");
            }
            Err(why) => log_warn!(Topic::Config, "reload: {why}"),
        }
    }

    pub(super) fn follow_config(&mut self, mut newer: Config, now: Instant) -> std::io::Result<()> {
        let changes = self.config.changes(&newer);
        newer.general.private_key.clone_from(&self.config.general.private_key);
        let role_changed = self.config.general.mode != newer.general.mode;
        for name in &changes.removed {
            self.leave(name, now)?;
        }
        for name in &changes.moved {
            self.leave(name, now)?;
        }
        if role_changed {
            self.engine.leave();
            for link in self.config.links.clone() {
                self.leave(&link.name, now)?;
            }
            self.engine.close_peers();
            self.pump(now)?;
        }
        self.config = newer;
        let mtu = self.config.general.mtu.unwrap_or(self.mtu);
        if role_changed {
            self.failover = Failover::default();
            self.replace_engine(mtu)?;
        } else {
            self.configure_engine(&changes, now)?;
        }
        for link in self.config.links.clone() {
            match self.place_of(&link.name) {
                None => {
                    log_info!(Topic::Config, "{}: added", link.name);
                    self.add_link(link, now);
                }
                Some(index) => {
                    let link = self.in_use(link);
                    self.engine.set_link(LinkId::new(index), settings::link(&link), now);
                    if let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) {
                        port.config = link;
                    }
                }
            }
        }
        self.follow_rules();
        self.forget_links();
        self.filters = Filters::new(&self.config, |name| self.place_of(name));
        self.refresh_mtu();
        self.show_title();
        self.pump(now)
    }

    /// Has the running engine follow the configuration.
    fn configure_engine(&mut self, changes: &Changes, now: Instant) -> std::io::Result<()> {
        match &mut self.engine {
            Engine::Classic(tunnel) => {
                let mtu = tunnel.mtu();
                tunnel.configure(settings::tunnel(&self.config, mtu));
            }
            Engine::Client(_) if changes.has_peers() => {
                self.engine.leave();
                for link in self.config.links.clone() {
                    self.leave(&link.name, now)?;
                }
                self.failover = Failover::default();
                self.replace_engine(self.mtu)?;
            }
            Engine::Client(_) => {}
            Engine::Server(server) => {
                let gone = || changes.peers_removed.iter().chain(&changes.peers_changed);
                gone().for_each(|name| server.leave_peer(name));
                self.pump(now)?;
                if let Engine::Server(server) = &mut self.engine {
                    gone().for_each(|name| server.close_peer(name));
                }
                // The log and the status command are told of its links by its name.
                self.pump(now)?;
                let Engine::Server(server) = &mut self.engine else { return Ok(()) };
                for name in gone() {
                    log_info!(Topic::Config, "{name}: peer removed or changed");
                    server.remove_peer(name, &mut self.pool);
                }
                for name in changes.peers_added.iter().chain(&changes.peers_changed) {
                    let Some(peer) = self.config.peers.iter().find(|peer| peer.name == *name) else { continue };
                    log_info!(Topic::Config, "{name}: peer added");
                    server.add_peer(settings::peer_settings(&self.config, peer), settings::random()?, now);
                }
            }
        }
        Ok(())
    }

    /// Says goodbye on a link and forgets it.
    pub(super) fn leave(&mut self, name: &str, now: Instant) -> std::io::Result<()> {
        let Some(index) = self.place_of(name) else { return Ok(()) };
        self.note_usage();
        log_info!(Topic::Config, "{name}: removed or changed");
        self.engine.leave_link(LinkId::new(index));
        self.pump(now)?;
        self.shut_link(index);
        self.pump(now)?;
        self.engine.remove_link(LinkId::new(index));
        if let Some(port) = self.links.get_mut(index).and_then(Option::take) {
            self.left.insert(port.config.name, port.meter);
        }
        Ok(())
    }

    /// Has the engine follow the classes.
    pub(super) fn follow_rules(&mut self) {
        let rules = settings::rules(&self.config, |name| self.place_of(name).map(LinkId::new));
        self.engine.set_rules(&rules);
    }

    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.links.iter().position(|port| port.as_ref().is_some_and(|port| port.config.name == name))
    }
}

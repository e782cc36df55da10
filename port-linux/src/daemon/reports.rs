// SPDX-License-Identifier: BSD-2-Clause
//! What the worker says: to the log, to the status command, in its title, and to its peer when it ends.

use std::io;

use mlvpn_core::state::link::Phase;
use mlvpn_core::words::event::{Event, Health, Trouble};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::{Duration, Instant};

use super::engine::{Engine, Source};
use super::links::LinkPort;
use super::snapshot;
use super::worker::Worker;
use crate::log::Topic;
use crate::privilege::Notice;
use crate::reactor::Batch;
use crate::script::{LinkName, ScriptEvent};
use crate::status::{Happening, LinkHappening, LinkState, TunnelHappening, WorkStatus};
use crate::title::{self, ProcessTitle, TitleMark};
use crate::{clock, log_debug, log_info, log_warn};

/// How long the worker waits for its goodbyes to leave full sockets.
const FAREWELL: Duration = Duration::from_millis(200);

impl Worker {
    pub(super) fn report(&mut self, source: Source, event: Event, now: Instant) {
        self.note(source, event, now);
        match event {
            Event::LinkUp(id) => {
                let port = self.links.get_mut(id.index()).and_then(Option::as_mut);
                if let Some(port) = port.filter(|_| source == Source::Tunnel) {
                    port.succeeded();
                }
                log_info!(Topic::Protocol, "{}: up", self.name_of(source, id));
                self.run_script(ScriptEvent::LinkUp, Some(self.name_of(source, id)));
            }
            Event::LinkDown(id, cause) => {
                log_warn!(Topic::Protocol, "{}: down, {}", self.name_of(source, id), cause.describe());
                self.run_script(ScriptEvent::LinkDown, Some(self.name_of(source, id)));
                let port = self.links.get_mut(id.index()).and_then(Option::as_mut);
                if let Some(port) = port.filter(|_| source == Source::Tunnel) {
                    port.doubt_name(now);
                }
            }
            Event::LinkHealth(id, health) => self.report_health(source, id, health, now),
            Event::PeerMoved(id, address) => {
                log_info!(Topic::Protocol, "{}: peer at {address}", self.name_of(source, id));
            }
            Event::TunnelUp => self.run_script(ScriptEvent::TunnelUp, None),
            Event::TunnelDown => self.run_script(ScriptEvent::TunnelDown, None),
            Event::NewSession => log_debug!(Topic::Protocol, "{}: new keys", self.peer_name(source)),
            Event::SessionEnded => {
                log_info!(Topic::Protocol, "{}: ended the session", self.peer_name(source));
            }
            // A server's peers share its device: each one's engine answers what is too big for it.
            Event::MtuChanged(mtu) if source == Source::Tunnel => self.set_device_mtu(mtu),
            Event::MtuChanged(mtu) => log_debug!(Topic::Protocol, "{}: mtu {mtu}", self.peer_name(source)),
            Event::HandshakeTrouble(Trouble(why)) => {
                if let Some(held_back) = self.trouble.admit(now) {
                    let peer = self.peer_name(source);
                    log_warn!(Topic::Protocol, "{peer}: {why} ({held_back} more not logged)");
                }
            }
        }
        self.show_title();
    }

    /// Keeps what the status shows, and what the service is told at the end of this turn.
    fn note(&mut self, source: Source, event: Event, now: Instant) {
        let place = match source {
            Source::Tunnel => self.failover.active,
            Source::Peer(place) => place,
        };
        let happening = match event {
            Event::LinkUp(id) => self.link_happening(source, id, LinkState::Up, None),
            Event::LinkDown(id, cause) => {
                let state = self.state_without_peer(source, id);
                self.link_happening(source, id, state, Some(cause.describe()))
            }
            Event::LinkHealth(id, health) => self.link_happening(source, id, snapshot::state_of(health), None),
            Event::TunnelUp | Event::TunnelDown => {
                let up = event == Event::TunnelUp;
                self.facts.up_since = up.then_some(now);
                self.facts.trouble = self.facts.trouble.filter(|_| !up);
                Happening::Tunnel(TunnelHappening { up, device: self.device.name().to_string() })
            }
            Event::NewSession => {
                let count = self.facts.renewals.entry(place).or_default();
                *count = count.saturating_add(1);
                return;
            }
            Event::HandshakeTrouble(Trouble(why)) => return self.facts.trouble = Some(why),
            Event::PeerMoved(..) | Event::MtuChanged(_) | Event::SessionEnded => return,
        };
        if self.service.is_some() {
            self.happenings.push_back(happening);
        }
    }

    fn link_happening(&self, source: Source, id: LinkId, state: LinkState, reason: Option<&str>) -> Happening {
        Happening::Link(LinkHappening {
            link: self.name_of(source, id),
            device: self.device.name().to_string(),
            up: state.is_connected(),
            state,
            reason: reason.map(str::to_owned),
        })
    }

    fn report_health(&self, source: Source, id: LinkId, health: Health, now: Instant) {
        let name = self.name_of(source, id);
        let Some(link) = self.engine.link(source, id) else { return };
        match health {
            Health::Good => log_info!(Topic::Rtt, "{name}: within its tolerances again"),
            Health::Lossy => log_warn!(Topic::Rtt, "{name}: lossy, {} % of 64 packets", link.loss_percent),
            Health::Slow => {
                let rtt = link.rtt.unwrap_or_default().millis();
                log_warn!(Topic::Rtt, "{name}: slow, round trip {rtt} ms");
            }
            Health::Silent => {
                log_warn!(Topic::Rtt, "{name}: silent for {} ms", now.since(link.last_heard).millis());
            }
        }
    }

    fn run_script(&self, event: ScriptEvent, link: Option<String>) {
        let link = link.and_then(|name| LinkName::new(&name));
        let mtu = u32::from(self.engine.mtu().unwrap_or(self.mtu));
        if let Err(why) = self.monitor.run_script(event, link.as_ref(), mtu) {
            log_warn!(Topic::Privsep, "cannot have the status command run for {}: {why}", event.word());
        }
    }

    /// The name of a link: its section's, or on a server of protocol 2 its peer's and its number there.
    fn name_of(&self, source: Source, id: LinkId) -> String {
        match source {
            Source::Tunnel => self.link_name(id.index()).to_owned(),
            Source::Peer(_) => format!("{}.{}", self.peer_name(source), id.index()),
        }
    }

    fn peer_name(&self, source: Source) -> &str {
        match (source, &self.engine) {
            (Source::Peer(place), Engine::Server(server)) => server.name(place),
            _ => self.server_name(),
        }
    }

    /// The server in use, as the configuration calls it.
    pub(super) fn server_name(&self) -> &str {
        self.config.peers.get(self.failover.active).map_or("peer", |peer| &peer.name)
    }

    pub(super) fn show_title(&self) {
        let Some((title, name)) = &self.title else { return };
        if let Engine::Server(server) = &self.engine {
            let mark = |up| if up { TitleMark::Up } else { TitleMark::Down };
            return write_title(title, &title::worker_title(name, server.peers().map(|(name, up)| (mark(up), name))));
        }
        let marks = self.links.iter().enumerate().filter_map(|(index, port)| {
            let link = self.engine.link(Source::Tunnel, LinkId::new(index))?;
            let mark = match (link.phase, link.health) {
                (Phase::Up, Health::Good) => TitleMark::Up,
                (Phase::Up, _) => TitleMark::Lossy,
                (Phase::Closed | Phase::Waiting, _) => TitleMark::Down,
            };
            Some((mark, port.as_ref()?.config.name.as_str()))
        });
        write_title(title, &title::worker_title(name, marks));
    }

    pub(super) fn read_monitor(&mut self) -> io::Result<()> {
        while let Some(notice) = self.monitor.poll_notice()? {
            match notice {
                Notice::Config(opened) => self.reload(&opened, clock::now()),
                Notice::NoConfig(why) => log_warn!(Topic::Config, "reload: cannot open the configuration: {why}"),
                Notice::Link { serial, outcome } => self.take_link(serial, outcome, clock::now()),
                Notice::Server { serial, found } => self.take_server(serial, found, clock::now())?,
                Notice::Gone => return Err(io::Error::other("the privileged process died")),
            }
        }
        Ok(())
    }

    /// Says goodbye to every peer on every link that is up, then tells the status command of the links.
    pub(super) fn say_goodbye(&mut self) -> io::Result<()> {
        log_info!(Topic::Protocol, "ending: saying goodbye");
        let now = clock::now();
        self.engine.leave();
        self.pump(now)?;
        let mut batch = Batch::new();
        while self.links.iter().flatten().any(LinkPort::has_unsent) && clock::now().since(now) < FAREWELL {
            self.reactor.arm(Some(now + FAREWELL))?;
            self.reactor.wait(&mut batch)?;
            for index in 0..self.links.len() {
                self.flush(index)?;
            }
            // What a full socket kept from being said.
            self.pump(now)?;
        }
        for index in 0..self.links.len() {
            self.shut_link(index);
        }
        self.engine.close_peers();
        while let Some((source, event)) = self.engine.poll_event() {
            self.report(source, event, now);
        }
        self.tell_drops();
        self.tell_work();
        Ok(())
    }

    /// What carrying took: the fewer system calls a packet, the less of the processor.
    fn tell_work(&self) {
        let WorkStatus { packets_out, packets_in, system_calls } = self.work();
        log_info!(Topic::Tuntap, "packets carried: {packets_out} out, {packets_in} in, by {system_calls} system calls");
    }

    /// Why packets went no further, by number.
    fn tell_drops(&self) {
        let drops = self.drops();
        let counted: Vec<_> = drops.iter().filter(|(_, count)| *count > 0).collect();
        if !counted.is_empty() {
            let told: Vec<_> = counted.iter().map(|(reason, count)| format!("{} {count}", reason.name())).collect();
            log_info!(Topic::Protocol, "packets dropped: {}", told.join(", "));
        }
    }
}

/// A title is decoration: a kernel that refuses it changes nothing else.
fn write_title(title: &ProcessTitle, text: &str) {
    if let Err(why) = title.set(text) {
        log_debug!(Topic::Privsep, "process title: {why}");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The worker's state in the words of [`crate::status`].

use std::net::SocketAddr;

use mlvpn_core::state::link::Phase;
use mlvpn_core::state::session_key::Aead;
use mlvpn_core::words::event::Health;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::time::{Duration, Instant};
use nix::unistd::getppid;

use super::engine::{Engine, Source};
use super::facts::{LinkFacts, orders, repairs};
use super::links::{Hold, LinkPort};
use super::server::Server;
use super::worker::Worker;
use crate::config::{self, DeviceKind, Protocol};
use crate::status::{DropCounts, LinkState, LinkStatus, PeerStatus, Peers, SessionStatus, Status, TunnelState};

impl Worker {
    pub(super) fn snapshot(&self, now: Instant) -> Status {
        let links: Vec<LinkStatus> = self.configured_ports().map(|(index, port)| self.link(index, port, now)).collect();
        let sum = |of: fn(&LinkStatus) -> u64| links.iter().map(of).fold(0, u64::saturating_add);
        let (state, summary) = self.judge(&links);
        let general = &self.config.general;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            state,
            summary,
            protocol: general.protocol.name(),
            mode: general.mode.name(),
            device: self.device.name().to_string(),
            device_kind: match self.device.kind() {
                DeviceKind::Tun => "tun",
                DeviceKind::Tap => "tap",
            },
            mtu: self.engine.mtu().unwrap_or(self.mtu),
            // The monitor: it passes signals on.
            pid: getppid().as_raw().unsigned_abs(),
            uptime_ms: now.since(self.facts.started).millis(),
            configured_ms: now.since(self.facts.configured).millis(),
            connected_ms: self.facts.up_since.map(|since| now.since(since).millis()),
            server: matches!(self.engine, Engine::Client(_)).then(|| self.server_name().to_owned()),
            trouble: self.facts.trouble,
            session: self.session(),
            sent_bytes: sum(|link| link.sent_bytes),
            sent_bytes_per_sec: sum(|link| link.sent_bytes_per_sec.unwrap_or(0)),
            received_bytes: sum(|link| link.received_bytes),
            received_bytes_per_sec: sum(|link| link.received_bytes_per_sec.unwrap_or(0)),
            reordering: count(self.engine.reordering()),
            waiting: count(self.engine.waiting()),
            orders: self.engine.orders(now),
            repairs: self.engine.repairs(),
            drops: DropCounts::from(&self.drops()),
            work: self.work(),
            links,
        }
    }

    /// The links' ports in the order of the configuration.
    pub(super) fn configured_ports(&self) -> impl Iterator<Item = (usize, &LinkPort)> {
        self.config.links.iter().filter_map(|link| {
            let index = self.place_of(&link.name)?;
            Some((index, self.links.get(index)?.as_ref()?))
        })
    }

    fn judge(&self, links: &[LinkStatus]) -> (TunnelState, String) {
        if let Engine::Server(server) = &self.engine {
            let up = server.peers().filter(|(_, is_up)| *is_up).count();
            let state = if up > 0 { TunnelState::Up } else { TunnelState::Down };
            return (state, format!("{up} of {} peers connected", server.peers().count()));
        }
        let wanted = links.iter().filter(|link| link.state != LinkState::Disabled).count();
        let good = links.iter().filter(|link| link.state == LinkState::Up).count();
        let up = links.iter().filter(|link| link.state.is_connected()).count();
        match (up, good) {
            (0, _) if wanted == 0 => (TunnelState::Down, "every link is taken out".to_owned()),
            (0, _) => (TunnelState::Down, format!("none of {wanted} links is connected")),
            (_, good) if good == wanted => (TunnelState::Up, format!("all of {wanted} links are connected")),
            _ => (TunnelState::Degraded, format!("{good} of {wanted} links are well connected")),
        }
    }

    fn session(&self) -> Option<SessionStatus> {
        let Engine::Client(client) = &self.engine else { return None };
        Some(self.session_of(client.active.aead()?, self.failover.active))
    }

    fn session_of(&self, aead: Aead, place: usize) -> SessionStatus {
        let cipher = match aead {
            Aead::ChaCha20Poly1305 => "chacha20-poly1305",
            Aead::Aes256Gcm => "aes-256-gcm",
        };
        SessionStatus { cipher, renewals: self.facts.renewals.get(&place).copied().unwrap_or(0) }
    }

    fn link(&self, index: usize, port: &LinkPort, now: Instant) -> LinkStatus {
        let facts = self.engine.link(Source::Tunnel, LinkId::new(index));
        let configured = self.config.links.iter().find(|link| link.name == port.config.name);
        let interface = configured.and_then(|link| link.bindinterface).map(|name| name.to_string());
        let device =
            port.config.bindinterface.map(|name| name.to_string()).filter(|name| Some(name) != interface.as_ref());
        let state = self.link_state(port, facts.as_ref());
        let last = port.meter.last();
        LinkStatus {
            name: port.config.name.clone(),
            state,
            reason: reason(port, state, facts.as_ref()),
            backup: port.config.fallback_only,
            interface,
            device,
            local: port.socket().and_then(|socket| socket.local_addr().ok()).map(text),
            remote: port.remote().or(facts.and_then(|facts| facts.remote)).map(text),
            rate_bytes_per_sec: Some(u64::from(port.config.bandwidth_upload)).filter(|rate| *rate > 0),
            timeout_ms: Some(u64::from(port.config.timeout_secs).saturating_mul(1_000)),
            loss_tolerance_percent: Some(port.config.loss_tolerance_percent),
            latency_tolerance_ms: Some(port.config.latency_tolerance_ms.into()),
            mtu: facts.and_then(|facts| facts.mtu),
            sent_packets: port.meter.sent_packets(),
            sent_bytes: port.meter.sent_bytes(),
            sent_bytes_per_sec: last.map(|sample| u64::from(sample.sent)),
            received_packets: port.meter.received_packets(),
            received_bytes: port.meter.received_bytes(),
            received_bytes_per_sec: last.map(|sample| u64::from(sample.received)),
            ..measured(facts.as_ref(), now)
        }
    }

    fn link_state(&self, port: &LinkPort, facts: Option<&LinkFacts>) -> LinkState {
        match (port.hold, port.socket(), facts) {
            (Some(Hold::Disabled), ..) => LinkState::Disabled,
            (Some(Hold::InterfaceDown), ..) => LinkState::InterfaceDown,
            (None, None, _) => LinkState::NoSocket,
            (None, Some(_), None) if matches!(self.engine, Engine::Server(_)) => LinkState::Listening,
            (None, Some(_), Some(facts)) if facts.phase == Phase::Up => state_of(facts.health),
            (None, Some(_), _) => LinkState::Connecting,
        }
    }

    /// How a link that went down is now.
    pub(super) fn state_without_peer(&self, source: Source, id: LinkId) -> LinkState {
        let port = self.links.get(id.index()).and_then(Option::as_ref).filter(|_| source == Source::Tunnel);
        match port {
            Some(port) => match port.hold {
                Some(Hold::Disabled) => LinkState::Disabled,
                Some(Hold::InterfaceDown) => LinkState::InterfaceDown,
                None if port.socket().is_none() => LinkState::NoSocket,
                None => LinkState::Connecting,
            },
            None => LinkState::Connecting,
        }
    }
}

/// Peers.
impl Worker {
    pub(super) fn peers_snapshot(&self, first: usize, count: usize, now: Instant) -> Peers {
        let peers = match &self.engine {
            Engine::Classic(_) => return Peers { total: 0, peers: Vec::new() },
            _ => self.config.peers.iter().enumerate().skip(first).take(count),
        };
        let peers = peers.map(|(place, peer)| match &self.engine {
            Engine::Server(server) => self.client_status(server, peer, now),
            _ => self.server_status(place, peer, now),
        });
        Peers { total: self.config.peers.len() as u64, peers: peers.collect() }
    }

    /// A client's server.
    fn server_status(&self, place: usize, peer: &config::Peer, now: Instant) -> PeerStatus {
        let active = place == self.failover.active && self.config.general.protocol == Protocol::Two;
        let engine = match &self.engine {
            Engine::Client(client) if active => Some(&client.active),
            _ => None,
        };
        PeerStatus {
            up: engine.is_some_and(|engine| engine.is_up()),
            active,
            session: engine.and_then(|engine| Some(self.session_of(engine.aead()?, place))),
            mtu: engine.map(|engine| engine.mtu()),
            reordering: engine.map_or(0, |engine| count(engine.reordering())),
            waiting: engine.map_or(0, |engine| count(engine.waiting())),
            orders: engine.map(|engine| orders(engine, now)).unwrap_or_default(),
            repairs: engine.map(|engine| repairs(engine)),
            drops: engine.map(|engine| DropCounts::from(engine.drops())).unwrap_or_default(),
            links: Vec::new(),
            ..named(peer)
        }
    }

    /// A server's client.
    fn client_status(&self, server: &Server, peer: &config::Peer, now: Instant) -> PeerStatus {
        let found = server.place_of(&peer.name).and_then(|place| Some((place, server.engine(place)?)));
        let Some((place, engine)) = found else { return named(peer) };
        let links = (0..MAX_LINKS).filter_map(|number| {
            let facts = engine.link(LinkId::new(number))?;
            let state = if facts.phase == Phase::Up { state_of(facts.health) } else { LinkState::Connecting };
            let name = number.to_string();
            Some(LinkStatus {
                name,
                state,
                backup: facts.is_backup,
                remote: facts.remote.map(text),
                mtu: facts.mtu,
                sent_packets: facts.traffic.sent_packets,
                sent_bytes: facts.traffic.sent_bytes,
                received_packets: facts.traffic.received_packets,
                received_bytes: facts.traffic.received_bytes,
                ..measured(Some(&facts), now)
            })
        });
        PeerStatus {
            up: engine.is_up(),
            session: engine.aead().map(|aead| self.session_of(aead, place)),
            mtu: Some(engine.mtu()),
            reordering: count(engine.reordering()),
            waiting: count(engine.waiting()),
            orders: engine.orders(now),
            repairs: engine.repairs(),
            drops: engine.drops().into(),
            links: links.collect(),
            ..named(peer)
        }
    }
}

/// What the configuration says of a peer.
fn named(peer: &config::Peer) -> PeerStatus {
    PeerStatus {
        name: peer.name.clone(),
        public_key: peer.public_key.map(|key| key.to_text().as_str().to_owned()),
        allowed: peer.allowed.iter().map(|network| format!("{}/{}", network.address, network.prefix_len)).collect(),
        ..PeerStatus::default()
    }
}

/// What was measured of a link that its peer answered over; the rest is for the caller to say.
fn measured(facts: Option<&LinkFacts>, now: Instant) -> LinkStatus {
    let up = facts.filter(|facts| facts.phase == Phase::Up);
    LinkStatus {
        name: String::new(),
        state: LinkState::NoSocket,
        reason: None,
        backup: false,
        interface: None,
        device: None,
        local: None,
        remote: None,
        rate_bytes_per_sec: None,
        timeout_ms: None,
        loss_tolerance_percent: None,
        latency_tolerance_ms: None,
        rtt_us: up.and_then(|facts| facts.rtt).map(Duration::micros),
        rtt_deviation_us: up.filter(|facts| facts.rtt.is_some()).map(|facts| facts.rtt_deviation.micros()),
        loss_percent: up.map(|facts| facts.loss_percent),
        mtu: None,
        heard_ms: up.map(|facts| now.since(facts.last_heard).millis()),
        disconnects: facts.map_or(0, |facts| facts.disconnects),
        sent_packets: 0,
        sent_bytes: 0,
        sent_bytes_per_sec: None,
        received_packets: 0,
        received_bytes: 0,
        received_bytes_per_sec: None,
        sending: up.and_then(|facts| facts.sending),
        receiving: up.and_then(|facts| facts.receiving),
        policy: facts.and_then(|facts| facts.policy),
    }
}

/// How a link is whose peer answers over it.
pub(super) const fn state_of(health: Health) -> LinkState {
    match health {
        Health::Good => LinkState::Up,
        Health::Lossy => LinkState::Lossy,
        Health::Slow => LinkState::Slow,
        Health::Silent => LinkState::Silent,
    }
}

/// What keeps a link from carrying traffic.
fn reason(port: &LinkPort, state: LinkState, facts: Option<&LinkFacts>) -> Option<String> {
    let loss = || facts.map_or(0, |facts| facts.loss_percent);
    Some(match state {
        LinkState::Up | LinkState::Listening => return None,
        LinkState::Lossy => format!("it loses {} % of its packets", loss()),
        LinkState::Slow => "its round trip takes longer than its tolerance".to_owned(),
        LinkState::Silent => "its peer has not answered lately".to_owned(),
        LinkState::Disabled => "it was taken out".to_owned(),
        LinkState::InterfaceDown => "its interface is down".to_owned(),
        LinkState::NoSocket => port.trouble.clone()?,
        LinkState::Connecting => match (&port.trouble, facts.filter(|facts| facts.disconnects > 0)) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(facts)) => facts.down_cause.describe().to_owned(),
            (None, None) => "nobody has answered yet".to_owned(),
        },
    })
}

fn count(packets: usize) -> u32 {
    u32::try_from(packets).unwrap_or(u32::MAX)
}

fn text(address: SocketAddr) -> String {
    address.to_string()
}

// SPDX-License-Identifier: BSD-2-Clause
//! One end of the tunnel: a production engine of protocol 2 with what its port would give it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::memory::two::MessageKind;
use mlvpn_core::state::departures::Departures;
use mlvpn_core::state::handshake::{Identity, Offer, Responder};
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::tunnel::gateway::{Admission, Gateway};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::PeerConfig;
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;

use crate::session::keys;

/// Links an engine of the simulation can have.
pub const LINKS: usize = 4;

/// Packets its reorder buffer can hold: as the daemon's client.
pub const WINDOW: usize = 1024;

/// Packets of its pool: so many that it is never what limits.
const SLOTS: usize = 8192;

/// Packets that may wait at the device while the engine has no room: Linux's queue length for TUN devices.
const DEVICE_QUEUE: usize = 500;

/// Where the server listens.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 5_080);

/// What a link's interface carries, in bytes.
const LINK_MTU: u16 = 1500;

/// See the module's description.
pub struct End {
    peer: Box<Peer<LINKS, WINDOW>>,
    pool: Box<Pool<SLOTS>>,
    /// A server's; a client has none.
    gateway: Option<Box<Gateway>>,
    answers: VecDeque<(usize, Vec<u8>)>,
    waiting: VecDeque<Vec<u8>>,
    overflowed: u64,
    out: Box<[u8]>,
}

/// What an engine tells about its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Packets the engine dropped, for whatever reason, and packets that found the device's queue full.
    pub drops: u64,
    /// Packets sent again because the peer missed them; None while the engine does not count any.
    pub resends: Option<u64>,
    /// Packets sent twice on purpose; None while the engine does not count any.
    pub duplicates: Option<u64>,
}

impl End {
    /// A client whose links, of these settings, are all open.
    #[must_use]
    pub fn client(links: &[LinkSettings], seed: u64, now: Instant) -> Self {
        let mut peer = Peer::client(config(), keys::credentials(0), 0, keys::seed(seed));
        for (index, settings) in links.iter().enumerate() {
            let id = LinkId::new(index);
            assert!(peer.set_link(id, *settings), "link {index} of {LINKS}");
            peer.open_link(id, SERVER, LINK_MTU, now);
        }
        Self::new(peer, None)
    }

    /// The server.
    #[must_use]
    pub fn server(seed: u64) -> Self {
        let peer = Peer::server(config(), 0, keys::seed(seed));
        let responder = Responder::new(Identity::Keys(keys::pair(keys::SERVER)));
        let gateway = Gateway::new(Some(responder), None, u32::MAX, keys::seed(!seed));
        Self::new(peer, Some(Box::new(gateway)))
    }

    fn new(peer: Peer<LINKS, WINDOW>, gateway: Option<Box<Gateway>>) -> Self {
        let (answers, waiting) = (VecDeque::new(), VecDeque::new());
        let out = vec![0; MAX_DATAGRAM].into();
        Self { peer: Box::new(peer), pool: Box::new(Pool::new()), gateway, answers, waiting, overflowed: 0, out }
    }

    /// The engine.
    #[must_use]
    pub const fn peer(&self) -> &Peer<LINKS, WINDOW> {
        &self.peer
    }

    /// Tells the engine a link's settings anew; a server knows only links that have come up.
    pub fn set_link(&mut self, index: usize, settings: LinkSettings) {
        if self.peer.link(LinkId::new(index)).is_some() {
            self.peer.set_link(LinkId::new(index), settings);
        }
    }

    /// What the engine tells.
    #[must_use]
    pub fn facts(&self) -> EngineFacts {
        let dropped = DropReason::ALL.iter().map(|reason| self.peer.drops().of(*reason)).sum::<u64>();

        EngineFacts {
            drops: dropped + self.overflowed,
            resends: Some(self.peer.counts().resent),
            duplicates: Some(self.peer.drops().of(DropReason::Duplicate)),
        }
    }

    /// A datagram arrived over a link.
    pub fn receive(&mut self, link: usize, datagram: &[u8], now: Instant) {
        let is_data = datagram.first().copied().and_then(MessageKind::of) == Some(MessageKind::Data);
        let arrival = match &self.gateway {
            Some(_) => Arrival { link: LinkId::new(0), from: client_address(link), ecn: Ecn::NotEct, at: now },
            None => Arrival { link: LinkId::new(link), from: SERVER, ecn: Ecn::NotEct, at: now },
        };
        if self.gateway.is_some() && !is_data {
            return self.knock(link, datagram, arrival);
        }
        let slot = self.pool.take().expect("a generous pool");
        assert!(self.pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(datagram)), "too long for a buffer");
        self.peer.receive(&mut self.pool, slot, arrival);
    }

    fn knock(&mut self, link: usize, datagram: &[u8], arrival: Arrival) {
        let Some(gateway) = &mut self.gateway else { return };
        let answer = match gateway.knock(datagram, arrival, &mut self.out) {
            Admission::Claim(claim) => self.peer.answer(claim, &SharedSecret::none(), arrival, &mut self.out).ok(),
            Admission::Answer(transmit) => Some(transmit),
            Admission::Drop(_) => None,
        };
        self.answers.extend(answer.map(|Transmit { len, .. }| (link, self.out[..len].to_vec())));
    }

    /// How the engine sends on a link.
    #[must_use]
    pub fn departures(&self, link: LinkId) -> Option<&Departures> {
        self.peer.departures(link)
    }

    /// The host sends a packet.
    pub fn send(&mut self, packet: Vec<u8>, now: Instant) {
        if self.waiting.is_empty() && self.peer.has_room() {
            self.admit(&packet, now);
        } else if self.waiting.len() < DEVICE_QUEUE {
            self.waiting.push_back(packet);
        } else {
            self.overflowed += 1;
        }
    }

    fn admit(&mut self, packet: &[u8], now: Instant) {
        let slot = self.pool.take().expect("a generous pool");
        assert!(self.pool.packet_mut(&slot).is_some_and(|place| place.copy_from(packet)), "too long for a buffer");
        self.peer.send(&mut self.pool, slot, now);
    }

    /// The next packet for the host.
    pub fn poll_deliver(&mut self) -> Option<Vec<u8>> {
        let slot = self.peer.poll_deliver()?;
        let packet = self.pool.packet(&slot).map(|packet| packet.as_bytes().to_vec());
        self.pool.put(slot);
        packet
    }

    /// The next datagram, and the link it takes.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        while self.peer.has_room()
            && let Some(packet) = self.waiting.pop_front()
        {
            self.admit(&packet, now);
        }
        let Some(transmit) = self.peer.poll_transmit(&mut self.pool, now, &mut self.out) else {
            while self.peer.poll_event().is_some() {}
            return None;
        };
        let link = match &self.gateway {
            Some(_) => link_of(transmit.to),
            None => transmit.link.index(),
        };
        Some((link, self.out[..transmit.len].to_vec()))
    }

    /// When to call [`End::handle_timeout`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.peer.poll_timeout().map(|deadline| deadline.at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.peer.handle_timeout(now);
    }
}

/// AES, which is fast on the machines that simulate; lengths are the same with ChaCha20.
fn config() -> PeerConfig {
    PeerConfig { offer: Offer { aes_in_hardware: true, ..keys::PLAIN }, ..keys::config() }
}

/// Where a client's link comes from, as the server sees it.
fn client_address(link: usize) -> SocketAddr {
    let number = u8::try_from(link).expect("few links");
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, number + 1), 40_000))
}

fn link_of(address: SocketAddr) -> usize {
    (0..LINKS).find(|link| client_address(*link) == address).expect("an address of the client's")
}

// SPDX-License-Identifier: BSD-2-Clause
//! A server as a port builds it: one socket, one gateway, and an engine for every client.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::memory::two::{DataHeader, MessageKind};
use mlvpn_core::state::handshake::{Claim, HandshakeError, Identity, Responder};
use mlvpn_core::state::identity::{PublicKey, SharedSecret};
use mlvpn_core::tunnel::gateway::{Admission, Gateway};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::PeerConfig;
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::drops::{DropReason, Drops};
use mlvpn_core::words::limits::MAX_DATAGRAM;

use super::end::{End, SLOTS};
use super::keys;

/// Handshakes a second that are read without a cookie.
pub const UNGUARDED: u32 = 100;

/// A server. See the module's description.
pub struct Server<const LINKS: usize, const WINDOW: usize> {
    /// What reads initiations.
    pub gateway: Gateway,
    /// The clients' engines, by number.
    pub ends: Vec<End<LINKS, WINDOW>>,
    /// The clients' keys.
    pub by_key: BTreeMap<PublicKey, u16>,
    /// The client that is known by a secret alone.
    pub by_secret: Option<u16>,
    /// Secrets besides the keys, for clients that have one.
    pub secrets: BTreeMap<u16, SharedSecret>,
    /// What was dropped before an engine saw it.
    pub drops: Drops,
    /// Initiations that were read: two scalar multiplications each.
    pub claims: u64,
    /// Claims that were answered: three scalar multiplications each.
    pub answers: u64,
}

impl<const LINKS: usize, const WINDOW: usize> Server<LINKS, WINDOW> {
    /// A server without clients.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let keys = Responder::new(Identity::Keys(keys::pair(keys::SERVER)));
        Self {
            gateway: Gateway::new(Some(keys), None, UNGUARDED, keys::seed(seed)),
            ends: Vec::new(),
            by_key: BTreeMap::new(),
            by_secret: None,
            secrets: BTreeMap::new(),
            drops: Drops::new(),
            claims: 0,
            answers: 0,
        }
    }

    /// Adds the client whose keys have the next number.
    pub fn add(&mut self, config: PeerConfig, seed: u64) {
        let number = u16::try_from(self.ends.len()).expect("few clients");
        self.by_key.insert(*keys::pair(number).public_key(), number);
        self.ends.push(End::new(Peer::server(config, number, keys::seed(seed))));
    }

    /// Knows the client of this number by a secret alone from now on.
    pub fn know_by_secret(&mut self, number: u16, secret: SharedSecret, seed: u64) {
        self.by_key.retain(|_, other| *other != number);
        self.by_secret = Some(number);
        let keys = Responder::new(Identity::Keys(keys::pair(keys::SERVER)));
        let secret = Responder::new(Identity::Secret(secret));
        self.gateway = Gateway::new(Some(keys), Some(secret), UNGUARDED, keys::seed(seed));
    }

    /// Handles a datagram; returns an answer that the gateway gives, and the engine that was touched.
    pub fn receive(
        &mut self,
        pool: &mut Pool<SLOTS>,
        bytes: &[u8],
        arrival: Arrival,
    ) -> (Option<(SocketAddr, Vec<u8>)>, Option<u16>) {
        match bytes.first().copied().and_then(MessageKind::of) {
            Some(MessageKind::Data) => (None, self.data(pool, bytes, arrival)),
            _ => (self.knock(bytes, arrival), None),
        }
    }

    fn data(&mut self, pool: &mut Pool<SLOTS>, bytes: &[u8], arrival: Arrival) -> Option<u16> {
        let number = DataHeader::parse(bytes).ok().map(|header| Peer::<LINKS, WINDOW>::number_of(header.receiver));
        match number.and_then(|number| Some((number, self.ends.get_mut(usize::from(number))?))) {
            Some((number, end)) => {
                end.receive(pool, bytes, arrival);
                Some(number)
            }
            None => {
                self.drops.count(DropReason::NoSession);
                None
            }
        }
    }

    fn knock(&mut self, bytes: &[u8], arrival: Arrival) -> Option<(SocketAddr, Vec<u8>)> {
        let mut out = [0; MAX_DATAGRAM];
        let answer = match self.gateway.knock(bytes, arrival, &mut out) {
            Admission::Claim(claim) => {
                self.claims += 1;
                self.admit(claim, arrival, &mut out)
                    .or_else(|error| match error {
                        HandshakeError::Contended => match self.gateway.challenge(bytes, arrival, &mut out) {
                            Admission::Answer(transmit) => Ok(transmit),
                            _ => Err(error),
                        },
                        _ => Err(error),
                    })
                    .ok()
            }
            Admission::Answer(transmit) => Some(transmit),
            Admission::Drop(reason) => {
                self.drops.count(reason);
                None
            }
        };
        answer.map(|transmit| {
            assert!(transmit.len <= bytes.len(), "an answer larger than its question");
            (transmit.to, out[..transmit.len].to_vec())
        })
    }

    fn admit(&mut self, claim: Claim, arrival: Arrival, out: &mut [u8]) -> Result<Transmit, HandshakeError> {
        let number = match &claim.public_key {
            Some(key) => self.by_key.get(key).copied(),
            None => self.by_secret,
        };
        let number = number.ok_or(HandshakeError::WrongKey)?;
        let secret = self.secrets.get(&number).cloned().unwrap_or_else(SharedSecret::none);
        self.answers += 1;
        self.ends[usize::from(number)].peer.answer(claim, &secret, arrival, out)
    }
}

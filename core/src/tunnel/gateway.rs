// SPDX-License-Identifier: BSD-2-Clause
//! The gateway of a protocol-2 server: what comes from nobody known yet.
//!
//! It remembers no one. A handshake that is read costs two scalar multiplications; above a number of them in a second,
//! only senders are read that show a cookie made for their address, which a forger of addresses does not get to see, and
//! of each of them only a few: so that all there is to read in a second is bounded, whoever sends it.
//! Every answer is shorter than what it answers.

use core::net::IpAddr;

use crate::memory::two::{COOKIE_MESSAGE, MessageKind, REFUSAL, Refusal};
use crate::state::cookie::CookieGuard;
use crate::state::handshake::{Claim, HandshakeError, Responder};
use crate::state::identity::Ephemeral;
use crate::words::drops::DropReason;
use crate::words::ecn::Ecn;
use crate::words::time::{Duration, Instant};

use super::random::Random;
use super::{Arrival, Transmit};

/// The span over which handshakes are counted.
const SPAN: Duration = Duration::from_secs(1);

/// Refusals sent in one span.
const REFUSALS: u32 = 10;

/// Kinds of addresses among which those that showed a cookie are told apart: bytes of memory.
const BUCKETS: usize = 256;

/// Handshakes read in one span for one kind of address, once cookies are demanded: a client behind a lossy link asks
/// twice a second.
const READ_PER_BUCKET: u8 = 10;

/// A server's gateway. See the module's description.
pub struct Gateway {
    /// For peers that are known by their keys.
    keys: Option<Responder>,
    /// For the one peer that is known by a secret alone.
    secret: Option<Responder>,
    guard: CookieGuard,
    random: Random,
    /// Handshakes read in a span before cookies are demanded.
    unguarded: u32,
    counted_since: Instant,
    read: u32,
    refused: u32,
    /// Under load: what was read for addresses whose hash ends so.
    read_for: [u8; BUCKETS],
    /// Of that hash, so that nobody knows whose neighbour he is.
    bucket_key: u64,
}

/// What to do with what knocked.
#[expect(clippy::large_enum_variant, reason = "there is no heap to put the larger into, and few are made")]
pub enum Admission {
    /// Find the peer with this public key, and have it answer.
    Claim(Claim),
    /// Send this answer, which is in the buffer.
    Answer(Transmit),
    /// Nothing, for this reason.
    Drop(DropReason),
}

impl Gateway {
    /// A gateway for peers known by their keys, for one known by a secret, or for both. `unguarded` is how many
    /// handshakes a second it reads without a cookie; `seed` is from the system's random source.
    #[must_use]
    pub fn new(keys: Option<Responder>, secret: Option<Responder>, unguarded: u32, seed: [u8; 32]) -> Self {
        let mut random = Random::new(seed);
        let guard = CookieGuard::new(random.bytes());
        let bucket_key = random.token();
        Self {
            keys,
            secret,
            guard,
            random,
            unguarded,
            counted_since: Instant::ORIGIN,
            read: 0,
            refused: 0,
            read_for: [0; BUCKETS],
            bucket_key,
        }
    }

    /// Looks at a datagram; an answer is written to `out`. Work: a few hashes, and at most two scalar multiplications.
    pub fn knock(&mut self, datagram: &[u8], arrival: Arrival, out: &mut [u8]) -> Admission {
        if datagram.first().copied().and_then(MessageKind::of) != Some(MessageKind::Initiation) {
            return Admission::Drop(DropReason::Unknown);
        }
        self.count(arrival.at);
        match self.read(datagram, arrival, out) {
            Ok(admission) => admission,
            Err(error) => self.refuse(datagram, error, arrival, out),
        }
    }

    fn read(&mut self, datagram: &[u8], arrival: Arrival, out: &mut [u8]) -> Result<Admission, HandshakeError> {
        let mut inspected = Err(HandshakeError::OtherPattern);
        for responder in [&self.keys, &self.secret].into_iter().flatten() {
            if matches!(inspected, Err(HandshakeError::OtherPattern)) {
                inspected = responder.inspect(datagram).map(|knock| (responder, knock));
            }
        }
        let (responder, knock) = inspected?;
        if self.read >= self.unguarded {
            if !self.guard.admits(&knock, arrival.from, arrival.at) {
                let challenge = self.guard.challenge(&knock, arrival.from, self.random.array(), arrival.at);
                return Ok(answer(&challenge, arrival, out));
            }
            let bucket = self.read_for.get_mut(bucket(self.bucket_key, arrival.from.ip()));
            match bucket.filter(|read| **read < READ_PER_BUCKET) {
                Some(read) => *read = read.saturating_add(1),
                None => return Ok(Admission::Drop(DropReason::Handshake)),
            }
        }
        self.read = self.read.saturating_add(1);
        let ephemeral = Ephemeral::from_random(self.random.bytes());
        let mut claim = responder.read(&knock, ephemeral)?;
        claim.showed_cookie = self.guard.admits(&knock, arrival.from, arrival.at);
        Ok(Admission::Claim(claim))
    }

    /// Demands a cookie of the sender of an initiation that was read, because its peer's engine found the claim
    /// [`Contended`](HandshakeError::Contended). The question is written to `out`.
    pub fn challenge(&mut self, datagram: &[u8], arrival: Arrival, out: &mut [u8]) -> Admission {
        let responders = [&self.keys, &self.secret];
        let knock = responders.into_iter().flatten().find_map(|responder| responder.inspect(datagram).ok());
        match knock {
            Some(knock) => {
                let challenge = self.guard.challenge(&knock, arrival.from, self.random.array(), arrival.at);
                answer(&challenge, arrival, out)
            }
            None => Admission::Drop(DropReason::Handshake),
        }
    }

    fn refuse(&mut self, datagram: &[u8], error: HandshakeError, arrival: Arrival, out: &mut [u8]) -> Admission {
        let refusal = error.refusal().filter(|_| self.refused < REFUSALS && datagram.len() >= REFUSAL);
        match refusal.and_then(|reason| Refusal::answer(datagram, reason)) {
            Some(refusal) => {
                self.refused = self.refused.saturating_add(1);
                answer(&refusal.emit(), arrival, out)
            }
            None => Admission::Drop(match error {
                HandshakeError::Message(_) => DropReason::Malformed,
                HandshakeError::WrongKey | HandshakeError::Forged => DropReason::Unauthentic,
                _ => DropReason::Handshake,
            }),
        }
    }

    fn count(&mut self, now: Instant) {
        if now.since(self.counted_since) >= SPAN {
            self.counted_since = now;
            self.read = 0;
            self.refused = 0;
            self.read_for = [0; BUCKETS];
        }
    }
}

const _: () = assert!(COOKIE_MESSAGE <= crate::memory::two::INITIATION_SECRET);

/// Where an address is counted; an IPv6 one by its network, of which one host has all addresses.
fn bucket(key: u64, address: IpAddr) -> usize {
    let name = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    };
    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
    let mixed = name ^ key;
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::from((mixed >> 56) as u8)
}

fn answer(message: &[u8], arrival: Arrival, out: &mut [u8]) -> Admission {
    match out.get_mut(..message.len()) {
        Some(room) => {
            room.copy_from_slice(message);
            Admission::Answer(Transmit { link: arrival.link, to: arrival.from, len: message.len(), ecn: Ecn::NotEct })
        }
        None => Admission::Drop(DropReason::TooBig),
    }
}

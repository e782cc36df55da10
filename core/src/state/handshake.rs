// SPDX-License-Identifier: BSD-2-Clause
//! The handshake of protocol 2: one message each way, and both ends hold fresh keys.
//!
//! ```text
//! Initiator::new ── initiation ──▶ Responder::inspect, Responder::read ─▶ Claim
//! Initiator::finish ◀── response ── Claim::answer ─▶ Established
//!        └▶ Established
//! ```
//!
//! Nothing here knows an address, a clock or a peer list. Messages are lost and repeated by others: an initiator may send
//! the same initiation as often as it likes, and a responder that reads it again answers with other keys. So a replayed
//! initiation costs a responder up to five scalar multiplications and gives the replayer nothing; but the responder
//! must not take its new session for live before a packet sealed with the new keys came in.

mod terms;

pub use terms::{FEATURE_AES, FEATURES_KNOWN, FEATURES_OPTIONAL, HandshakeError, Offer};

use noise_protocol::ErrorKind;
use noise_protocol::patterns::{HandshakePattern, noise_ik_psk2, noise_nn_psk0};

use crate::memory::two::{
    CookieMessage, Initiation, MAC, MAX_INITIATION, MessageError, NOISE_KEYS, NOISE_RESPONSE, PAYLOAD, Pattern,
    Payload, RESPONSE, Response, VERSION, before_macs, set_mac1, set_mac2,
};
use crate::state::cookie::{AddresseeKeys, Cookie, Knock};
use crate::state::identity::{Ephemeral, KeyPair, PublicKey, SharedSecret};
use crate::state::noise::{Noise, PrivateKey};
use crate::state::session_key::{Aead, SessionKey};
use crate::words::ids::SessionIndex;

/// By what two ends know each other.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// Each knows the other's public key.
    Keys {
        /// This end's keys.
        own: &'a KeyPair,
        /// The peer's key.
        peer: &'a PublicKey,
        /// A secret besides the keys, or [`SharedSecret::none`].
        secret: &'a SharedSecret,
    },
    /// Both know one secret.
    Secret(&'a SharedSecret),
}

/// A finished handshake.
#[derive(Debug)]
pub struct Established {
    /// Seals what this end sends.
    pub send: SessionKey,
    /// Opens what this end receives.
    pub receive: SessionKey,
    /// By which this end knows the session: stands in packets that it receives.
    pub own_index: SessionIndex,
    /// By which the peer knows the session: stands in packets that it is sent.
    pub peer_index: SessionIndex,
    /// How packets are sealed.
    pub aead: Aead,
    /// What the peer can do.
    pub peer: Offer,
    /// The same at both ends, and another for every handshake.
    pub hash: [u8; 32],
}

/// The client's end, between initiation and response. Holds the handshake's secrets, which are wiped when it is dropped.
pub struct Initiator {
    /// None once it has finished, so that no second session gets the same keys.
    noise: Option<Noise>,
    pattern: Pattern,
    index: SessionIndex,
    offer: Offer,
    /// Of the initiation, to which a cookie refers.
    mac1: [u8; MAC],
    own_keys: AddresseeKeys,
    peer_keys: AddresseeKeys,
}

impl Initiator {
    /// Begins a handshake: writes an initiation, without a cookie, to the start of `out` and returns its length. `index`
    /// is free at this end. Three scalar multiplications with keys, one with a secret.
    pub fn new(
        credentials: Credentials<'_>,
        index: SessionIndex,
        offer: Offer,
        ephemeral: Ephemeral,
        out: &mut [u8; MAX_INITIATION],
    ) -> Result<(Self, usize), HandshakeError> {
        let (mut noise, pattern, own_keys, peer_keys) = match credentials {
            Credentials::Keys { own, peer, secret } => (
                with_keys(own, peer, secret, &ephemeral),
                Pattern::Keys,
                AddresseeKeys::of_public_key(own.public_key()),
                AddresseeKeys::of_public_key(peer),
            ),
            Credentials::Secret(secret) => {
                let keys = AddresseeKeys::of_secret(secret);
                (with_secret(secret, true, &ephemeral)?, Pattern::Secret, keys.clone(), keys)
            }
        };
        let mut sealed = [0; NOISE_KEYS];
        let sealed = sealed.get_mut(..pattern.noise_len()).ok_or(MessageError::Length)?;
        noise.write_message(&offer.payload(0, index), sealed).map_err(|error| unread(error.kind()))?;
        let initiation = Initiation { pattern, sender: index, noise: sealed, mac1: [0; MAC], mac2: [0; MAC] };
        let len = initiation.emit(out).ok_or(MessageError::Length)?;
        let message = out.get_mut(..len).ok_or(MessageError::Length)?;
        let mac1 = peer_keys.mac1(before_macs(message, 2));
        set_mac1(message, mac1);
        Ok((Self { noise: Some(noise), pattern, index, offer, mac1, own_keys, peer_keys }, len))
    }

    /// By which the response will name this handshake.
    #[must_use]
    pub const fn index(&self) -> SessionIndex {
        self.index
    }

    /// Reads a response. After an error the handshake still waits for the right one, so that a forger cannot end it;
    /// after a success it is over, and is to be dropped. Two scalar multiplications with keys, one with a secret, if mac1
    /// is right.
    pub fn finish(&mut self, datagram: &[u8]) -> Result<Established, HandshakeError> {
        let response = Response::parse(datagram)?;
        if response.pattern != self.pattern || response.receiver != self.index {
            return Err(HandshakeError::NotAwaited);
        }
        // A message that fails leaves the handshake in disorder: it is read into a copy.
        let mut noise = self.noise.clone().ok_or(HandshakeError::NotAwaited)?;
        if !self.own_keys.is_mac1(before_macs(datagram, 1), &response.mac1) {
            return Err(HandshakeError::WrongKey);
        }
        let mut payload = [0; PAYLOAD];
        noise.read_message(&response.noise, &mut payload).map_err(|error| match error.kind() {
            ErrorKind::DH => HandshakeError::BadKey,
            _ => HandshakeError::WrongSecret,
        })?;
        let payload = Payload::parse(&payload)?;
        if payload.sender != response.sender {
            return Err(HandshakeError::Forged);
        }
        let peer = Offer::of(&payload)?;
        if payload.chosen & !(self.offer.features() & payload.features) != 0 {
            return Err(HandshakeError::Features(payload.chosen));
        }
        let indices = (self.index, response.sender);
        let established = establish(&noise, indices, payload.chosen, peer)?;
        self.noise = None;
        Ok(established)
    }

    /// Reads the cookie in `datagram`, for the jar of the address from which the initiation was sent. With it the same
    /// initiation is to be sent again.
    pub fn read_cookie(&self, datagram: &[u8]) -> Result<Cookie, HandshakeError> {
        let message = CookieMessage::parse(datagram)?;
        if message.receiver != self.index || self.noise.is_none() {
            return Err(HandshakeError::NotAwaited);
        }
        self.peer_keys.open_cookie(&self.mac1, &message).ok_or(HandshakeError::Forged)
    }
}

/// Who a responder is.
pub enum Identity {
    /// The owner of a key pair; its peers have keys, too.
    Keys(KeyPair),
    /// One of those who know a secret.
    Secret(SharedSecret),
}

/// The server's end: reads initiations, one after another, and remembers none. An end that serves both patterns has two.
pub struct Responder {
    identity: Identity,
    /// Always those of `identity`.
    keys: AddresseeKeys,
}

impl Responder {
    /// A responder that is `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let keys = match &identity {
            Identity::Keys(pair) => AddresseeKeys::of_public_key(pair.public_key()),
            Identity::Secret(secret) => AddresseeKeys::of_secret(secret),
        };
        Self { identity, keys }
    }

    /// Under which cookies are sealed.
    #[must_use]
    pub const fn keys(&self) -> &AddresseeKeys {
        &self.keys
    }

    /// The pattern this responder does.
    #[must_use]
    pub const fn pattern(&self) -> Pattern {
        match self.identity {
            Identity::Keys(_) => Pattern::Keys,
            Identity::Secret(_) => Pattern::Secret,
        }
    }

    /// Parses an initiation and checks its mac1: one hash. Under load, ask a [`CookieGuard`](super::cookie::CookieGuard)
    /// about the knock before it is read.
    pub fn inspect<'d>(&self, datagram: &'d [u8]) -> Result<Knock<'d>, HandshakeError> {
        let initiation = Initiation::parse(datagram)?;
        if initiation.pattern != self.pattern() {
            return Err(HandshakeError::OtherPattern);
        }
        self.keys.admit(initiation, datagram).ok_or(HandshakeError::WrongKey)
    }

    /// Reads an initiation: two scalar multiplications with keys, none with a secret. `ephemeral` is what the answer is
    /// to be given with.
    pub fn read(&self, knock: &Knock<'_>, ephemeral: Ephemeral) -> Result<Claim, HandshakeError> {
        let initiation = knock.initiation();
        let mut noise = match &self.identity {
            Identity::Keys(own) => {
                let own_key = PrivateKey::with_public(own.secret_key().as_bytes(), own.public_key().as_bytes());
                start(Pattern::Keys, false, Some(own_key), None, &ephemeral)
            }
            Identity::Secret(secret) => with_secret(secret, false, &ephemeral)?,
        };
        let mut payload = [0; PAYLOAD];
        noise.read_message(initiation.noise, &mut payload).map_err(|error| unread(error.kind()))?;
        let payload = Payload::parse(&payload)?;
        if payload.sender != initiation.sender || payload.chosen != 0 {
            return Err(HandshakeError::Forged);
        }
        let public_key = noise.get_rs().map(PublicKey::from_bytes);
        let keys = public_key.as_ref().map_or_else(|| self.keys.clone(), AddresseeKeys::of_public_key);
        let offer = Offer::of(&payload)?;
        let (index, mac1, pattern) = (initiation.sender, initiation.mac1, initiation.pattern);
        Ok(Claim { public_key, index, offer, mac1, showed_cookie: false, noise, pattern, keys })
    }
}

/// An initiation that opened. Its sender has the key or secret it claims, unless it is a replay: then the answer is of no
/// use to whoever replayed it.
pub struct Claim {
    /// By which to look the peer up; None where a shared secret is all there is to know.
    pub public_key: Option<PublicKey>,
    /// By which the peer knows the session.
    pub index: SessionIndex,
    /// What the peer can do.
    pub offer: Offer,
    /// The initiation's mac1, by which it is known when it comes again.
    pub mac1: [u8; MAC],
    /// Whether its sender showed a cookie for the address it came from. Whoever reads cookies says so.
    pub showed_cookie: bool,
    noise: Noise,
    pattern: Pattern,
    /// Of the peer.
    keys: AddresseeKeys,
}

impl Claim {
    /// Accepts the peer: writes the response, and makes the session's keys. `secret` is the one this end shares with the
    /// peer besides the keys, else [`SharedSecret::none`]; in a handshake by a shared secret it is not used. `index` is
    /// free at this end. Three scalar multiplications with keys, two with a secret.
    pub fn answer(
        self,
        secret: &SharedSecret,
        index: SessionIndex,
        offer: Offer,
        out: &mut [u8; RESPONSE],
    ) -> Result<Established, HandshakeError> {
        let mut noise = self.noise;
        if self.pattern == Pattern::Keys {
            noise.push_psk(secret.as_bytes());
        }
        let chosen = if self.offer.aes_in_hardware { offer.features() & FEATURE_AES } else { 0 };
        let mut sealed = [0; NOISE_RESPONSE];
        noise.write_message(&offer.payload(chosen, index), &mut sealed).map_err(|error| unread(error.kind()))?;
        let response =
            Response { pattern: self.pattern, sender: index, receiver: self.index, noise: sealed, mac1: [0; MAC] };
        *out = response.emit();
        let mac1 = self.keys.mac1(before_macs(out, 1));
        set_mac2(out, mac1);
        establish(&noise, (index, self.index), chosen, self.offer)
    }
}

/// An initiator's Noise where both ends have keys. The responder gets the secret later, when it knows whose.
fn with_keys(own: &KeyPair, peer: &PublicKey, secret: &SharedSecret, ephemeral: &Ephemeral) -> Noise {
    let own_key = PrivateKey::with_public(own.secret_key().as_bytes(), own.public_key().as_bytes());
    let mut noise = start(Pattern::Keys, true, Some(own_key), Some(peer), ephemeral);
    noise.push_psk(secret.as_bytes());
    noise
}

/// Noise for two ends that have a secret, which must be one.
fn with_secret(secret: &SharedSecret, is_initiator: bool, ephemeral: &Ephemeral) -> Result<Noise, HandshakeError> {
    if secret.is_none() {
        return Err(HandshakeError::BadKey);
    }
    let mut noise = start(Pattern::Secret, is_initiator, None, None, ephemeral);
    noise.push_psk(secret.as_bytes());
    Ok(noise)
}

fn start(
    pattern: Pattern,
    is_initiator: bool,
    own_key: Option<PrivateKey>,
    peer: Option<&PublicKey>,
    ephemeral: &Ephemeral,
) -> Noise {
    let ephemeral = Some(PrivateKey::new_key(ephemeral.as_bytes()));
    let peer = peer.map(|key| *key.as_bytes());
    Noise::new(noise_pattern(pattern), is_initiator, prologue(pattern), own_key, ephemeral, peer, None)
}

fn noise_pattern(pattern: Pattern) -> HandshakePattern {
    match pattern {
        Pattern::Keys => noise_ik_psk2(),
        Pattern::Secret => noise_nn_psk0(),
    }
}

/// What both ends must agree on without sending it: the protocol's name, its version and the pattern.
const fn prologue(pattern: Pattern) -> [u8; 9] {
    let [m, l, v, p, n, space, two] = *b"mlvpn 2";
    [m, l, v, p, n, space, two, VERSION, pattern as u8]
}

fn establish(
    noise: &Noise,
    (own_index, peer_index): (SessionIndex, SessionIndex),
    chosen: u32,
    peer: Offer,
) -> Result<Established, HandshakeError> {
    let aead = if chosen & FEATURE_AES != 0 { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 };
    let (to_responder, to_initiator) = noise.get_ciphers();
    let [to_responder, to_initiator] =
        [to_responder, to_initiator].map(|cipher| SessionKey::new(aead, cipher.extract().0.bytes()));
    let (send, receive) =
        if noise.get_is_initiator() { (to_responder, to_initiator) } else { (to_initiator, to_responder) };
    let mut hash = [0; 32];
    hash.iter_mut().zip(noise.get_hash()).for_each(|(to, from)| *to = *from);
    // Never an error: AES is not offered where this build has none.
    let unknown = HandshakeError::Features(chosen);
    Ok(Established {
        send: send.ok_or(unknown)?,
        receive: receive.ok_or(unknown)?,
        own_index,
        peer_index,
        aead,
        peer,
        hash,
    })
}

fn unread(kind: ErrorKind) -> HandshakeError {
    match kind {
        ErrorKind::DH => HandshakeError::BadKey,
        ErrorKind::NeedPSK | ErrorKind::Decryption | ErrorKind::TooShort => HandshakeError::Forged,
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::state::identity::SecretKey;

    fn index(value: u32) -> SessionIndex {
        SessionIndex::new(value).expect("24 bits")
    }

    fn pair(byte: u8) -> KeyPair {
        KeyPair::new(SecretKey::from_random(Zeroizing::new([byte; 32])))
    }

    fn ephemeral(byte: u8) -> Ephemeral {
        Ephemeral::from_random(Zeroizing::new([byte; 32]))
    }

    const OFFER: Offer = Offer { aes_in_hardware: false, max_links: 4 };

    fn initiate(credentials: Credentials<'_>) -> (Initiator, [u8; MAX_INITIATION], usize) {
        let mut out = [0; MAX_INITIATION];
        let (initiator, len) =
            Initiator::new(credentials, index(1), OFFER, ephemeral(1), &mut out).expect("credentials are sound");
        (initiator, out, len)
    }

    fn answer(responder: &Responder, initiation: &[u8], secret: &SharedSecret) -> (Established, [u8; RESPONSE]) {
        let knock = responder.inspect(initiation).expect("for this responder");
        let claim = responder.read(&knock, ephemeral(2)).expect("it opens");
        assert_eq!((claim.index, claim.offer), (index(1), OFFER));
        let mut response = [0; RESPONSE];
        let established = claim.answer(secret, index(2), OFFER, &mut response).expect("it is answered");
        (established, response)
    }

    #[track_caller]
    fn assert_connected(from: &Established, to: &Established) {
        let mut sealed = [0; 20];
        assert!(from.send.seal(&[0; 12], b"", b"data", &mut sealed));
        assert_eq!(to.receive.open(&[0; 12], b"", &mut sealed), Ok(()));
        assert_eq!((from.own_index, from.hash, from.aead), (to.peer_index, to.hash, to.aead));
    }

    #[test]
    fn ends_with_keys_connect_and_the_server_learns_whom_it_talks_to() {
        let (client, server, secret) = (pair(3), pair(4), SharedSecret::none());
        let credentials = Credentials::Keys { own: &client, peer: server.public_key(), secret: &secret };
        let (mut initiator, out, len) = initiate(credentials);
        let responder = Responder::new(Identity::Keys(server.clone()));
        let knock = responder.inspect(&out[..len]).expect("for this responder");
        let claim = responder.read(&knock, ephemeral(2)).expect("it opens");
        assert_eq!(claim.public_key, Some(*client.public_key()));
        let (theirs, response) = answer(&responder, &out[..len], &secret);
        let ours = initiator.finish(&response).expect("it opens");
        assert_connected(&ours, &theirs);
        assert_connected(&theirs, &ours);
        assert_eq!(initiator.finish(&response).err(), Some(HandshakeError::NotAwaited));
    }

    #[test]
    fn ends_with_a_secret_connect() {
        let secret = SharedSecret::from_random(Zeroizing::new([5; 32]));
        let (mut initiator, out, len) = initiate(Credentials::Secret(&secret));
        let responder = Responder::new(Identity::Secret(secret.clone()));
        let (theirs, response) = answer(&responder, &out[..len], &SharedSecret::none());
        let ours = initiator.finish(&response).expect("it opens");
        assert_connected(&ours, &theirs);
        assert_connected(&theirs, &ours);
    }

    #[test]
    fn credentials_that_everyone_knows_are_refused() {
        let (client, none) = (pair(3), SharedSecret::none());
        let zero = PublicKey::from_bytes([0; 32]);
        let mut out = [0; MAX_INITIATION];
        for credentials in [Credentials::Secret(&none), Credentials::Keys { own: &client, peer: &zero, secret: &none }]
        {
            let made = Initiator::new(credentials, index(1), OFFER, ephemeral(1), &mut out);
            assert_eq!(made.err(), Some(HandshakeError::BadKey));
        }
    }

    #[test]
    fn a_handshake_under_way_takes_less_than_a_kibibyte() {
        assert!(size_of::<Initiator>() < 1024, "{}", size_of::<Initiator>());
        assert!(size_of::<Claim>() < 1024, "{}", size_of::<Claim>());
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Two ends of a tunnel, with all randomness fixed.

use std::net::SocketAddr;

use mlvpn_core::memory::two::{MAX_INITIATION, Pattern, RESPONSE};
use mlvpn_core::state::handshake::{
    Claim, Credentials, Established, HandshakeError, Identity, Initiator, Offer, Responder,
};
use mlvpn_core::state::identity::{Ephemeral, KeyPair, PublicKey, SecretKey, SharedSecret};
use mlvpn_core::words::ids::SessionIndex;
use zeroize::Zeroizing;

pub(crate) const PATTERNS: [Pattern; 2] = [Pattern::Keys, Pattern::Secret];
pub(crate) const OFFER: Offer = Offer { aes_in_hardware: false, max_links: 8 };
pub(crate) const CLIENT_INDEX: u32 = 0x00c1_1e47;
pub(crate) const SERVER_INDEX: u32 = 0x005e_4be4;
/// The bytes of which the keys are made, one each.
pub(crate) const CLIENT: u8 = 0x11;
pub(crate) const SERVER: u8 = 0x22;
pub(crate) const SECRET: u8 = 0x33;
pub(crate) const CLIENT_EPHEMERAL: u8 = 0x44;
pub(crate) const SERVER_EPHEMERAL: u8 = 0x55;

pub(crate) fn index(value: u32) -> SessionIndex {
    SessionIndex::new(value).expect("24 bits")
}

pub(crate) fn source() -> SocketAddr {
    "192.0.2.7:5080".parse().expect("an address")
}

pub(crate) fn pair(byte: u8) -> KeyPair {
    KeyPair::new(SecretKey::from_random(Zeroizing::new([byte; 32])))
}

pub(crate) fn secret(byte: u8) -> SharedSecret {
    SharedSecret::from_random(Zeroizing::new([byte; 32]))
}

pub(crate) fn ephemeral(byte: u8) -> Ephemeral {
    Ephemeral::from_random(Zeroizing::new([byte; 32]))
}

/// What a client is configured with; as it is, it fits [`server`].
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) own: KeyPair,
    pub(crate) peer: PublicKey,
    pub(crate) secret: SharedSecret,
    pub(crate) offer: Offer,
}

impl Default for Client {
    fn default() -> Self {
        Self { own: pair(CLIENT), peer: *pair(SERVER).public_key(), secret: secret(SECRET), offer: OFFER }
    }
}

impl Client {
    pub(crate) fn initiate(&self, pattern: Pattern) -> (Initiator, Vec<u8>) {
        let credentials = match pattern {
            Pattern::Keys => Credentials::Keys { own: &self.own, peer: &self.peer, secret: &self.secret },
            Pattern::Secret => Credentials::Secret(&self.secret),
        };
        let mut out = [0; MAX_INITIATION];
        let begun = Initiator::new(credentials, index(CLIENT_INDEX), self.offer, ephemeral(CLIENT_EPHEMERAL), &mut out);
        let (initiator, len) = begun.expect("the credentials are sound");
        (initiator, out[..len].to_vec())
    }
}

pub(crate) fn server(pattern: Pattern) -> Responder {
    Responder::new(match pattern {
        Pattern::Keys => Identity::Keys(pair(SERVER)),
        Pattern::Secret => Identity::Secret(secret(SECRET)),
    })
}

/// Everything a server does with an initiation before it looks the peer up.
pub(crate) fn read(responder: &Responder, initiation: &[u8]) -> Result<Claim, HandshakeError> {
    read_with(responder, initiation, SERVER_EPHEMERAL)
}

pub(crate) fn read_with(responder: &Responder, initiation: &[u8], byte: u8) -> Result<Claim, HandshakeError> {
    let knock = responder.inspect(initiation)?;
    responder.read(&knock, ephemeral(byte))
}

/// The rest of it.
pub(crate) fn answer(claim: Claim, secret: &SharedSecret, offer: Offer) -> (Established, [u8; RESPONSE]) {
    let mut response = [0; RESPONSE];
    let established = claim.answer(secret, index(SERVER_INDEX), offer, &mut response).expect("the claim is sound");
    (established, response)
}

/// A whole handshake between ends that fit: the client's session, then the server's.
pub(crate) fn connect(pattern: Pattern, client: Offer, server_offer: Offer) -> (Established, Established) {
    let client = Client { offer: client, ..Client::default() };
    let (mut initiator, initiation) = client.initiate(pattern);
    let claim = read(&server(pattern), &initiation).expect("it opens");
    let (theirs, response) = answer(claim, &secret(SECRET), server_offer);
    (initiator.finish(&response).expect("it opens"), theirs)
}

/// Whether a packet that `from` seals opens at `to`.
pub(crate) fn reaches(from: &Established, to: &Established) -> bool {
    let mut sealed = [0; 20];
    assert!(from.send.seal(&[1; 12], b"header", b"data", &mut sealed));
    to.receive.open(&[1; 12], b"header", &mut sealed).is_ok() && sealed.starts_with(b"data")
}

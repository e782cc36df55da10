// SPDX-License-Identifier: BSD-2-Clause
//! What two honest ends agree on, and how they learn that they do not fit.

use mlvpn_core::memory::two::{MessageError, Pattern, RefusalReason};
use mlvpn_core::state::handshake::{HandshakeError, Identity, Offer, Responder};
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::session_key::{Aead, HAS_AES};

use crate::ends::{
    CLIENT, CLIENT_INDEX, Client, OFFER, PATTERNS, SECRET, SERVER_INDEX, answer, connect, index, pair, reaches, read,
    secret, server,
};

#[test]
fn both_patterns_give_both_ends_the_same_session() {
    for pattern in PATTERNS {
        let (ours, theirs) = connect(pattern, OFFER, OFFER);
        assert!(reaches(&ours, &theirs) && reaches(&theirs, &ours), "{pattern:?}");
        assert!(!reaches(&ours, &ours), "{pattern:?}: a reflected packet must not open");
        assert_eq!(ours.hash, theirs.hash);
        assert_eq!((ours.own_index, ours.peer_index), (index(CLIENT_INDEX), index(SERVER_INDEX)));
        assert_eq!((theirs.own_index, theirs.peer_index), (index(SERVER_INDEX), index(CLIENT_INDEX)));
        assert_eq!((ours.peer, theirs.peer), (OFFER, OFFER));
    }
}

#[test]
fn a_server_learns_the_clients_key_and_may_share_no_secret_with_it() {
    let client = Client { secret: SharedSecret::none(), ..Client::default() };
    let (mut initiator, initiation) = client.initiate(Pattern::Keys);
    let claim = read(&server(Pattern::Keys), &initiation).expect("it opens");
    assert_eq!(claim.public_key, Some(*pair(CLIENT).public_key()));
    let (theirs, response) = answer(claim, &SharedSecret::none(), OFFER);
    assert!(reaches(&initiator.finish(&response).expect("it opens"), &theirs));
}

#[test]
fn aes_is_used_only_when_both_ends_have_it() {
    let with = Offer { aes_in_hardware: true, ..OFFER };
    for pattern in PATTERNS {
        for (client, server) in [(with, with), (with, OFFER), (OFFER, with), (OFFER, OFFER)] {
            let (ours, theirs) = connect(pattern, client, server);
            let both = client.aes_in_hardware && server.aes_in_hardware && HAS_AES;
            let expected = if both { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 };
            assert_eq!((ours.aead, theirs.aead), (expected, expected), "{pattern:?} {client:?} {server:?}");
            assert!(reaches(&ours, &theirs) && reaches(&theirs, &ours));
        }
    }
}

#[test]
fn a_client_with_a_wrong_key_for_the_server_is_not_heard() {
    let client = Client { peer: *pair(0x99).public_key(), ..Client::default() };
    let (_, initiation) = client.initiate(Pattern::Keys);
    assert_eq!(read(&server(Pattern::Keys), &initiation).err(), Some(HandshakeError::WrongKey));
}

#[test]
fn a_client_with_another_secret_is_not_heard_or_learns_of_it() {
    let client = Client { secret: secret(0x99), ..Client::default() };
    let (_, initiation) = client.initiate(Pattern::Secret);
    assert_eq!(read(&server(Pattern::Secret), &initiation).err(), Some(HandshakeError::WrongKey));
    let (mut initiator, initiation) = client.initiate(Pattern::Keys);
    let claim = read(&server(Pattern::Keys), &initiation).expect("the secret is not in the first message");
    let (_, response) = answer(claim, &secret(SECRET), OFFER);
    assert_eq!(initiator.finish(&response).err(), Some(HandshakeError::WrongSecret));
}

#[test]
fn an_impostor_without_the_servers_key_cannot_answer() {
    let (mut initiator, initiation) = Client::default().initiate(Pattern::Keys);
    let impostor = Responder::new(Identity::Keys(pair(0x99)));
    assert_eq!(read(&impostor, &initiation).err(), Some(HandshakeError::WrongKey));
    // It may answer an initiation of its own making, sent to itself under the same index.
    let lured = Client { peer: *pair(0x99).public_key(), ..Client::default() };
    let (_, initiation) = lured.initiate(Pattern::Keys);
    let (_, response) = answer(read(&impostor, &initiation).expect("its own"), &secret(SECRET), OFFER);
    assert_eq!(initiator.finish(&response).err(), Some(HandshakeError::WrongSecret));
}

#[test]
fn ends_with_different_patterns_are_told() {
    for (pattern, other) in [(Pattern::Keys, Pattern::Secret), (Pattern::Secret, Pattern::Keys)] {
        let (_, initiation) = Client::default().initiate(other);
        let error = read(&server(pattern), &initiation).err().expect("it is refused");
        assert_eq!(error, HandshakeError::OtherPattern);
        assert_eq!(error.refusal(), Some(RefusalReason::Pattern));
    }
}

#[test]
fn unknown_versions_and_patterns_are_refused_with_a_reason() {
    for pattern in PATTERNS {
        let (_, initiation) = Client::default().initiate(pattern);
        for value in (0..=u8::MAX).filter(|value| *value != 1) {
            let mut other = initiation.clone();
            other[1] = value;
            let error = read(&server(pattern), &other).err().expect("it is refused");
            assert_eq!(error, HandshakeError::Message(MessageError::Version(value)));
            assert_eq!(error.refusal(), Some(RefusalReason::Version));
        }
        for value in (0..=u8::MAX).filter(|value| ![1, 2].contains(value)) {
            let mut other = initiation.clone();
            other[2] = value;
            let error = read(&server(pattern), &other).err().expect("it is refused");
            assert_eq!(error, HandshakeError::Message(MessageError::Pattern(value)));
            assert_eq!(error.refusal(), Some(RefusalReason::Pattern));
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! `snow`, a Noise implementation with which ours shares no code, at either end.

use mlvpn_core::memory::two::{
    Initiation, MAX_INITIATION, NOISE_KEYS, NOISE_RESPONSE, PAYLOAD, Pattern, Payload, Response, before_macs, set_mac1,
};
use mlvpn_core::state::cookie::AddresseeKeys;
use mlvpn_core::state::handshake::{Established, FEATURE_AES, HandshakeError};
use mlvpn_core::state::identity::KeyPair;
use mlvpn_core::state::session_key::{Aead, SessionKey};
use snow::{Builder, HandshakeState};

use crate::ends::{
    CLIENT, CLIENT_EPHEMERAL, CLIENT_INDEX, Client, OFFER, PATTERNS, SECRET, SERVER, SERVER_EPHEMERAL, SERVER_INDEX,
    answer, index, pair, read, secret, server,
};

/// A key as [`pair`] makes it of `byte`.
fn clamped(byte: u8) -> [u8; 32] {
    let mut key = [byte; 32];
    key[0] &= 0xf8;
    key[31] = (key[31] & 0x7f) | 0x40;
    key
}

/// Snow in the place of one of our ends, with the keys of `ends`.
pub(crate) fn snow(pattern: Pattern, is_initiator: bool) -> HandshakeState {
    let (name, psk_at, number) = match pattern {
        Pattern::Keys => ("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", 2, 1),
        Pattern::Secret => ("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", 0, 2),
    };
    let prologue = [b"mlvpn 2".as_slice(), &[1, number]].concat();
    let own = clamped(if is_initiator { CLIENT } else { SERVER });
    let ephemeral = [if is_initiator { CLIENT_EPHEMERAL } else { SERVER_EPHEMERAL }; 32];
    let peer = pair(SERVER);
    let builder = Builder::new(name.parse().expect("snow knows it"))
        .prologue(&prologue)
        .and_then(|builder| builder.psk(psk_at, &[SECRET; 32]))
        .expect("snow takes it")
        .fixed_ephemeral_key_for_testing_only(&ephemeral);
    let builder = match pattern {
        Pattern::Keys => builder.local_private_key(&own).expect("snow takes it"),
        Pattern::Secret => builder,
    };
    if !is_initiator {
        return builder.build_responder().expect("snow has all it needs");
    }
    let builder = match pattern {
        Pattern::Keys => builder.remote_public_key(peer.public_key().as_bytes()).expect("snow takes it"),
        Pattern::Secret => builder,
    };
    builder.build_initiator().expect("snow has all it needs")
}

pub(crate) fn payload(sender: u32, features: u32, chosen: u32) -> [u8; PAYLOAD] {
    Payload { features, chosen, max_links: OFFER.max_links, sender: index(sender) }.emit()
}

fn keys_of(pattern: Pattern, owner: &KeyPair) -> AddresseeKeys {
    match pattern {
        Pattern::Keys => AddresseeKeys::of_public_key(owner.public_key()),
        Pattern::Secret => AddresseeKeys::of_secret(&secret(SECRET)),
    }
}

/// The initiation that snow makes of `payload`.
fn initiation_by(snow: &mut HandshakeState, pattern: Pattern, payload: &[u8]) -> Vec<u8> {
    let mut noise = [0; NOISE_KEYS];
    let len = snow.write_message(payload, &mut noise).expect("snow's turn");
    let message =
        Initiation { pattern, sender: index(CLIENT_INDEX), noise: &noise[..len], mac1: [0; 16], mac2: [0; 16] };
    let mut out = [0; MAX_INITIATION];
    let len = message.emit(&mut out).expect("snow's message has our length");
    let mac1 = keys_of(pattern, &pair(SERVER)).mac1(before_macs(&out[..len], 2));
    set_mac1(&mut out[..len], mac1);
    out[..len].to_vec()
}

/// The response that snow makes of `payload`.
pub(crate) fn response_by(snow: &mut HandshakeState, pattern: Pattern, payload: &[u8]) -> Vec<u8> {
    let mut noise = [0; NOISE_RESPONSE];
    assert_eq!(snow.write_message(payload, &mut noise).expect("snow's turn"), NOISE_RESPONSE);
    let (sender, receiver) = (index(SERVER_INDEX), index(CLIENT_INDEX));
    let mut out = Response { pattern, sender, receiver, noise, mac1: [0; 16] }.emit();
    let mac1 = keys_of(pattern, &pair(CLIENT)).mac1(before_macs(&out, 1));
    out[88 - 16..].copy_from_slice(&mac1);
    out.to_vec()
}

#[track_caller]
fn assert_same_keys(ours: &Established, snow: &mut HandshakeState) {
    assert_eq!(ours.hash, snow.get_handshake_hash());
    let (to_responder, to_initiator) = snow.dangerously_get_raw_split();
    let (ours_to_send, ours_to_receive) =
        if snow.is_initiator() { (to_initiator, to_responder) } else { (to_responder, to_initiator) };
    let chacha = |key| SessionKey::new(Aead::ChaCha20Poly1305, &key).expect("every build has it");
    let mut sealed = [0; 20];
    assert!(ours.send.seal(&[0; 12], b"", b"data", &mut sealed));
    assert_eq!(chacha(ours_to_send).open(&[0; 12], b"", &mut sealed), Ok(()));
    assert!(chacha(ours_to_receive).seal(&[0; 12], b"", b"data", &mut sealed));
    assert_eq!(ours.receive.open(&[0; 12], b"", &mut sealed), Ok(()));
}

#[test]
fn our_server_understands_the_other_implementation() {
    for pattern in PATTERNS {
        let mut snow = snow(pattern, true);
        let initiation = initiation_by(&mut snow, pattern, &payload(CLIENT_INDEX, 0, 0));
        let (_, own) = Client::default().initiate(pattern);
        assert_eq!(initiation, own, "{pattern:?}: of the same keys both make the same message");
        let (ours, response) = answer(read(&server(pattern), &initiation).expect("it opens"), &secret(SECRET), OFFER);
        let mut told = [0; PAYLOAD];
        let noise = Response::parse(&response).expect("our own").noise;
        assert_eq!(snow.read_message(&noise, &mut told).expect("snow opens it"), PAYLOAD);
        assert_eq!(told, payload(SERVER_INDEX, 0, 0));
        assert_same_keys(&ours, &mut snow);
    }
}

#[test]
fn our_client_understands_the_other_implementation() {
    for pattern in PATTERNS {
        let (mut initiator, initiation) = Client::default().initiate(pattern);
        let mut snow = snow(pattern, false);
        let mut told = [0; PAYLOAD];
        let noise = Initiation::parse(&initiation).expect("our own").noise;
        assert_eq!(snow.read_message(noise, &mut told).expect("snow opens it"), PAYLOAD);
        assert_eq!(told, payload(CLIENT_INDEX, 0, 0));
        let response = response_by(&mut snow, pattern, &payload(SERVER_INDEX, 0, 0));
        assert_same_keys(&initiator.finish(&response).expect("it opens"), &mut snow);
    }
}

/// The other implementation seals what ours would never say.
fn server_told(pattern: Pattern, payload: &[u8; PAYLOAD]) -> Option<HandshakeError> {
    let initiation = initiation_by(&mut snow(pattern, true), pattern, payload);
    read(&server(pattern), &initiation).err()
}

fn client_told(pattern: Pattern, payload: &[u8; PAYLOAD]) -> Option<HandshakeError> {
    let (mut initiator, initiation) = Client::default().initiate(pattern);
    let mut snow = snow(pattern, false);
    let noise = Initiation::parse(&initiation).expect("our own").noise;
    snow.read_message(noise, &mut [0; PAYLOAD]).expect("snow opens it");
    initiator.finish(&response_by(&mut snow, pattern, payload)).err()
}

#[test]
fn features_that_may_be_ignored_are_and_others_are_refused() {
    for pattern in PATTERNS {
        for bit in 0..32 {
            let features = 1 << bit;
            let expected = (bit >= 16).then_some(HandshakeError::Features(features));
            assert_eq!(server_told(pattern, &payload(CLIENT_INDEX, features, 0)), expected, "bit {bit}");
            assert_eq!(client_told(pattern, &payload(SERVER_INDEX, features, 0)), expected, "bit {bit}");
        }
    }
}

#[test]
fn a_choice_that_was_not_offered_is_refused() {
    for pattern in PATTERNS {
        for chosen in [FEATURE_AES, 2, 1 << 31] {
            let told = client_told(pattern, &payload(SERVER_INDEX, FEATURE_AES, chosen));
            assert_eq!(told, Some(HandshakeError::Features(chosen)));
            assert_eq!(server_told(pattern, &payload(CLIENT_INDEX, 1, chosen)), Some(HandshakeError::Forged));
        }
    }
}

#[test]
fn an_index_in_the_clear_that_is_not_the_sealed_one_is_refused() {
    for pattern in PATTERNS {
        assert_eq!(server_told(pattern, &payload(CLIENT_INDEX ^ 1, 0, 0)), Some(HandshakeError::Forged));
        assert_eq!(client_told(pattern, &payload(SERVER_INDEX ^ 1, 0, 0)), Some(HandshakeError::Forged));
    }
}

#[test]
fn a_number_of_links_out_of_range_is_refused() {
    for pattern in PATTERNS {
        for links in [0, 33, 255] {
            let mut payload = payload(CLIENT_INDEX, 0, 0);
            payload[8] = links;
            assert!(server_told(pattern, &payload).is_some(), "{links} links");
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What attackers do to handshakes, and what they gain: nothing.

use mlvpn_core::memory::two::{
    COOKIE_MESSAGE, MAC, MessageError, Pattern, RESPONSE, Refusal, RefusalReason, before_macs, set_mac1,
};
use mlvpn_core::state::cookie::{AddresseeKeys, COOKIE_PERIOD, CookieGuard, CookieJar};
use mlvpn_core::state::handshake::{HandshakeError, Responder};
use mlvpn_core::words::time::Instant;
use zeroize::Zeroizing;

use crate::ends::{
    Client, OFFER, PATTERNS, SECRET, SERVER, answer, pair, reaches, read, read_with, secret, server, source,
};

const NOW: Instant = Instant::from_micros(1_000_000_000);

fn keys_of_server(pattern: Pattern) -> AddresseeKeys {
    match pattern {
        Pattern::Keys => AddresseeKeys::of_public_key(pair(SERVER).public_key()),
        Pattern::Secret => AddresseeKeys::of_secret(&secret(SECRET)),
    }
}

/// What an attacker who knows the server's public key can do, and a peer who knows the secret: make mac1 right.
fn with_mac1(pattern: Pattern, mut initiation: Vec<u8>) -> Vec<u8> {
    let mac1 = keys_of_server(pattern).mac1(before_macs(&initiation, 2));
    set_mac1(&mut initiation, mac1);
    initiation
}

#[test]
fn a_flipped_bit_in_any_byte_of_an_initiation_is_refused() {
    for pattern in PATTERNS {
        let (_, initiation) = Client::default().initiate(pattern);
        for bit in 0..(initiation.len() - MAC) * 8 {
            let mut forged = initiation.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&server(pattern), &forged).is_err(), "{pattern:?}, bit {bit}");
            if bit / 8 < initiation.len() - 2 * MAC {
                let repaired = with_mac1(pattern, forged);
                assert!(read(&server(pattern), &repaired).is_err(), "{pattern:?}, bit {bit}, mac1 made right");
            }
        }
        assert!(read(&server(pattern), &initiation).is_ok());
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_response_is_refused_and_the_right_one_still_awaited() {
    for pattern in PATTERNS {
        let client = Client::default();
        let (mut initiator, initiation) = client.initiate(pattern);
        let claim = read(&server(pattern), &initiation).expect("it opens");
        let (theirs, response) = answer(claim, &secret(SECRET), OFFER);
        let own_keys = match pattern {
            Pattern::Keys => AddresseeKeys::of_public_key(client.own.public_key()),
            Pattern::Secret => keys_of_server(pattern),
        };
        for bit in 0..RESPONSE * 8 {
            let mut forged = response;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(initiator.finish(&forged).is_err(), "{pattern:?}, bit {bit}");
            let mac1 = own_keys.mac1(before_macs(&forged, 1));
            forged[RESPONSE - MAC..].copy_from_slice(&mac1);
            if bit / 8 < RESPONSE - MAC {
                assert!(initiator.finish(&forged).is_err(), "{pattern:?}, bit {bit}, mac1 made right");
            }
        }
        assert!(reaches(&initiator.finish(&response).expect("the right one"), &theirs));
    }
}

#[test]
fn messages_cut_or_lengthened_anywhere_are_refused() {
    for pattern in PATTERNS {
        let (mut initiator, initiation) = Client::default().initiate(pattern);
        let (_, response) = answer(read(&server(pattern), &initiation).expect("it opens"), &secret(SECRET), OFFER);
        for len in 0..initiation.len() {
            assert!(read(&server(pattern), &initiation[..len]).is_err(), "{pattern:?}, {len} bytes");
        }
        for len in 0..RESPONSE {
            let cut = initiator.finish(&response[..len]).err();
            assert_eq!(cut, Some(HandshakeError::Message(MessageError::Length)), "{pattern:?}, {len} bytes");
        }
        let longer = [initiation.as_slice(), &[0]].concat();
        assert_eq!(read(&server(pattern), &longer).err(), Some(HandshakeError::Message(MessageError::Length)));
        assert!(initiator.finish(&[response.as_slice(), &[0]].concat()).is_err());
    }
}

#[test]
fn a_replayed_initiation_gets_another_answer_and_its_sender_no_keys() {
    for pattern in PATTERNS {
        let (mut initiator, initiation) = Client::default().initiate(pattern);
        let responder = server(pattern);
        let (theirs, response) =
            answer(read_with(&responder, &initiation, 1).expect("it opens"), &secret(SECRET), OFFER);
        let ours = initiator.finish(&response).expect("it opens");
        let replay = read_with(&responder, &initiation, 2).expect("nothing tells it from the first");
        let (half_open, second) = answer(replay, &secret(SECRET), OFFER);
        assert_ne!(response, second);
        assert_ne!(theirs.hash, half_open.hash);
        // Whoever replayed it would have to be the client, and even the client's live session does not fit the new one.
        assert!(!reaches(&ours, &half_open) && !reaches(&half_open, &ours), "{pattern:?}");
        assert!(reaches(&ours, &theirs), "{pattern:?}: the live session is as it was");
        assert_eq!(initiator.finish(&second).err(), Some(HandshakeError::NotAwaited));
    }
}

#[test]
fn a_response_to_another_handshake_is_not_taken() {
    for (pattern, other) in [(Pattern::Keys, Pattern::Secret), (Pattern::Secret, Pattern::Keys)] {
        let (mut initiator, _) = Client::default().initiate(pattern);
        let (_, initiation) = Client::default().initiate(other);
        let (_, response) = answer(read(&server(other), &initiation).expect("it opens"), &secret(SECRET), OFFER);
        assert_eq!(initiator.finish(&response).err(), Some(HandshakeError::NotAwaited));
        // Reflected: an initiator is no responder, and a responder no initiator.
        assert!(initiator.finish(&initiation).is_err());
        assert!(server(other).inspect(&response).is_err());
    }
}

#[test]
fn under_load_a_client_gets_in_with_the_cookie_it_was_sent_and_nobody_else_does() {
    for pattern in PATTERNS {
        let guard = CookieGuard::new(Zeroizing::new([7; 32]));
        let responder = server(pattern);
        let (initiator, mut initiation) = Client::default().initiate(pattern);
        let asked = challenge(&guard, &responder, &initiation);
        assert!(asked.len() <= initiation.len());
        let mut jar = CookieJar::default();
        jar.put(initiator.read_cookie(&asked).expect("the cookie is for this initiation"), NOW);
        jar.stamp(&mut initiation, NOW);
        assert!(is_admitted(&guard, &responder, &initiation, NOW));
        assert!(read(&responder, &initiation).is_ok());
        for at in initiation.len() - MAC..initiation.len() {
            let mut forged = initiation.clone();
            forged[at] ^= 1;
            assert!(!is_admitted(&guard, &responder, &forged, NOW), "byte {at} of mac2");
        }
        let much_later = NOW + COOKIE_PERIOD + COOKIE_PERIOD;
        assert!(!is_admitted(&guard, &responder, &initiation, much_later));
        jar.stamp(&mut initiation, much_later);
        assert!(initiation.ends_with(&[0; MAC]), "a cookie that is no longer good is not shown");
        // Another client's initiation under the same index does not open it.
        let other = Client { own: pair(0x99), secret: secret(0x99), ..Client::default() };
        assert_eq!(other.initiate(pattern).0.read_cookie(&asked).err(), Some(HandshakeError::Forged));
    }
}

fn challenge(guard: &CookieGuard, responder: &Responder, initiation: &[u8]) -> [u8; COOKIE_MESSAGE] {
    let knock = responder.inspect(initiation).expect("mac1 is right");
    assert!(!guard.admits(&knock, source(), NOW), "there was no cookie yet");
    guard.challenge(&knock, source(), [3; 24], NOW)
}

fn is_admitted(guard: &CookieGuard, responder: &Responder, initiation: &[u8], now: Instant) -> bool {
    guard.admits(&responder.inspect(initiation).expect("mac1 is right"), source(), now)
}

#[test]
fn no_answer_is_larger_than_its_question() {
    for pattern in PATTERNS {
        let (_, initiation) = Client::default().initiate(pattern);
        assert!(RESPONSE <= initiation.len() && COOKIE_MESSAGE <= initiation.len());
    }
    for len in 0..20 {
        let mut question = vec![0; len];
        question.iter_mut().take(1).for_each(|first| *first = 0x80);
        if let Some(refusal) = Refusal::answer(&question, RefusalReason::Version) {
            assert!(refusal.emit().len() <= len);
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Datagrams that are broken, cut, or made up: counted, and otherwise as if they had never come.
//!
//! The classic tag covers the body, and through the nonce the flow and the counter. The bits, both timestamps and the
//! order number travel unprotected (as in MLVPN 2.3), so a change there is not noticed; see [`PROTECTED`].

use std::ops::Range;

use mlvpn_core::memory::classic::{Header, Kind};
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::limits::CLASSIC_HEADER;
use mlvpn_tests::inner;
use mlvpn_tests::pair::{Flight, Pair};
use mlvpn_tests::random::Random;

use super::{FIRST, assert_no_slot_is_lost, millis, numbers, secs};

/// Bytes of the header in which no bit may change: its length, flow and counter. The body follows.
const PROTECTED: [Range<usize>; 2] = [0..2, 8..20];

type Small = Pair<1, 8, 64>;

/// One fresh datagram of each kind, which its receiver has not seen, and the pair to try it on.
fn fresh(kind: Kind) -> (Small, Flight) {
    let sender = if kind == Kind::AuthOk { Role::Server } else { Role::Client };
    let mut pair = Small::up(LinkSettings::default(), |_| {});
    if kind == Kind::Auth || kind == Kind::AuthOk {
        pair = Small::new(LinkSettings::default(), |_| {});
    }
    pair.filter = Box::new(move |flight| Header::parse(&flight.bytes).unwrap().kind != kind);
    pair.sent.clear();
    match kind {
        Kind::Data => assert!(pair.client.send(&inner::ipv4(100, 1))),
        Kind::Disconnect => pair.client.tunnel.disconnect_link(FIRST),
        // The client's asking must pass for the server to answer.
        Kind::Auth | Kind::AuthOk | Kind::KeepAlive => {}
    }
    pair.run_for(millis(1_500));
    let of_kind = |flight: &&Flight| flight.sender == sender && Header::parse(&flight.bytes).unwrap().kind == kind;
    let flight = pair.sent.iter().find(of_kind).expect("the datagram was sent").clone();
    (pair, flight)
}

const KINDS: [Kind; 5] = [Kind::Auth, Kind::AuthOk, Kind::KeepAlive, Kind::Data, Kind::Disconnect];

fn receiver(flight: &Flight) -> Role {
    if flight.sender == Role::Client { Role::Server } else { Role::Client }
}

/// Has `bytes` arrive instead of the flight's own: one drop, for a reason that says it is forged, and no more.
fn assert_refused(pair: &mut Small, flight: &Flight, bytes: &[u8], what: std::fmt::Arguments<'_>) {
    let end = receiver(flight);
    let state = pair.end(end).state();
    let forged = |pair: &mut Small| {
        let drops = pair.end(end).tunnel.drops();
        let reasons = [DropReason::Malformed, DropReason::Unknown, DropReason::Unauthentic];
        (reasons.iter().map(|reason| drops.of(*reason)).sum::<u64>(), drops.total())
    };
    let (before, all_before) = forged(pair);
    pair.inject(end, FIRST, "203.0.113.66:6666".parse().unwrap(), bytes);
    assert_eq!(forged(pair), (before + 1, all_before + 1), "{what}");
    assert_eq!(pair.end(end).state(), state, "{what}");
    assert!(pair.end(end).delivered.is_empty(), "{what}");
}

#[test]
fn a_flipped_bit_in_any_protected_byte_of_any_kind_of_datagram_changes_nothing() {
    for kind in KINDS {
        let (mut pair, flight) = fresh(kind);
        let body = CLASSIC_HEADER..flight.bytes.len();
        for byte in PROTECTED.into_iter().chain([body]).flatten() {
            let bit = byte % 8;
            let mut forged = flight.bytes.clone();
            forged[byte] ^= 1 << bit;
            assert_refused(&mut pair, &flight, &forged, format_args!("{kind:?}, bit {bit} of byte {byte}"));
        }
        assert_no_slot_is_lost_in(&pair);
        // The true one is still taken.
        let end = receiver(&flight);
        let drops = pair.end(end).tunnel.drops().total();
        pair.inject(end, FIRST, flight.from, &flight.bytes);
        assert_eq!(pair.end(end).tunnel.drops().total(), drops, "{kind:?}");
    }
}

#[test]
fn a_flipped_bit_in_an_unprotected_byte_is_survived() {
    // After a goodbye there is nothing to survive.
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Disconnect) {
        for bit in [2..8, 20..CLASSIC_HEADER].into_iter().flatten().flat_map(|byte| byte * 8..byte * 8 + 8) {
            let (mut pair, flight) = fresh(kind);
            let mut changed = flight.bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            pair.inject(receiver(&flight), FIRST, flight.from, &changed);
            pair.filter = Box::new(|_| true);
            pair.run_for(secs(3));
            assert!(pair.server.tunnel.is_up() && pair.client.tunnel.is_up(), "{kind:?}, bit {bit}");
            // An order number far ahead costs a row of packets, but not the tunnel.
            pair.stream(Role::Client, 100..150, 100, millis(20));
            pair.run_for(secs(1));
            let delivered = numbers_of(&mut pair);
            let expected: Vec<_> = (140..150).collect();
            assert!(delivered.ends_with(&expected), "{kind:?}, bit {bit}: {delivered:?}");
        }
    }
}

fn numbers_of(pair: &mut Small) -> Vec<u64> {
    pair.server
        .take_delivered()
        .iter()
        .filter(|packet| packet.len() >= 48)
        .map(|packet| inner::number(packet))
        .collect()
}

fn assert_no_slot_is_lost_in(pair: &Small) {
    assert_eq!((pair.client.in_use(), pair.server.in_use()), (0, 0));
}

#[test]
fn a_datagram_cut_at_any_length_or_lengthened_changes_nothing() {
    for kind in KINDS {
        let (mut pair, flight) = fresh(kind);
        for len in 0..flight.bytes.len() {
            let cut = &flight.bytes[..len];
            assert_refused(&mut pair, &flight, cut, format_args!("{kind:?}, cut to {len}"));
            // Cut by someone who also makes its length right.
            if let Some(body) = len.checked_sub(CLASSIC_HEADER) {
                let mut cut = cut.to_vec();
                cut[..2].copy_from_slice(&(body as u16).to_be_bytes());
                assert_refused(&mut pair, &flight, &cut, format_args!("{kind:?}, shortened to {len}"));
            }
        }
        for more in [1, 16, 1_000] {
            let mut long = flight.bytes.clone();
            long.resize(flight.bytes.len() + more, 0);
            assert_refused(&mut pair, &flight, &long, format_args!("{kind:?}, {more} bytes more"));
        }
    }
}

#[test]
fn random_datagrams_change_nothing() {
    const SEED: u64 = 5;
    println!("seed {SEED}");
    let mut random = Random::new(SEED);
    let (mut pair, flight) = fresh(Kind::Data);
    for round in 0..3_000 {
        let mut bytes = random.bytes(1 + round % 200);
        if round % 2 == 0 && bytes.len() >= CLASSIC_HEADER {
            // A header that parses, so that only the tag is left to refuse it.
            let body = (bytes.len() - CLASSIC_HEADER) as u16;
            bytes[..2].copy_from_slice(&body.to_be_bytes());
            bytes[2] = (random.below(4) as u8) << 4 | 1;
            bytes[3] &= 0xfc;
        }
        assert_refused(&mut pair, &flight, &bytes, format_args!("seed {SEED}, round {round}"));
    }
    assert_no_slot_is_lost_in(&pair);
}

#[test]
fn a_datagram_of_another_link_is_authentic_there_too_but_the_true_link_recovers() {
    let mut pair: Pair = Pair::up(LinkSettings::default(), |_| {});
    let auth = pair.sent.iter().find(|flight| flight.sender == Role::Client && flight.link == FIRST).unwrap().clone();
    // MLVPN 2.3 has one key for all links, so an authentication of one link opens on another.
    pair.inject(Role::Server, super::SECOND, auth.from, &auth.bytes);
    pair.run_for(secs(2));
    let expected = pair.paths[1].client;
    assert_eq!(pair.server.tunnel.link(super::SECOND).unwrap().remote(), Some(expected));
    pair.stream(Role::Client, 0..10, 500, millis(1));
    pair.run_for(millis(100));
    assert_eq!(numbers(&mut pair, Role::Server), (0..10).collect::<Vec<_>>());
    assert_no_slot_is_lost(&pair);
}

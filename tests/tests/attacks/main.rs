// SPDX-License-Identifier: BSD-2-Clause
//! What somebody tries who has no keys, or the wrong ones, or recordings. One file each.

mod absurd_reports;
mod amplification;
mod control_frames;
mod counter_wrap;
mod downgrade;
mod flipped_bits;
mod forged_address;
mod handshake_flood;
mod reflection;
mod replayed_data;
mod replayed_handshake;
mod stale_keys;
mod too_many_links;
mod truncation;
mod wrong_key;
mod wrong_secret;

use std::net::SocketAddr;

use mlvpn_core::state::handshake::{Credentials, Established, Initiator};
use mlvpn_core::state::identity::{Ephemeral, SharedSecret};
use mlvpn_core::words::ids::{LinkId, SessionIndex};
use mlvpn_core::words::time::Duration;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::{Flight, Who, World};

const FIRST: LinkId = LinkId::new(0);
const CLIENT: Who = Who::Client(0);
const SERVER: Who = Who::Server(0);

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn attacker() -> SocketAddr {
    "203.0.113.66:6666".parse().expect("an address")
}

/// Packets arrive both ways, each once, and nothing else does. The first ones of a flow are thin and wait for none.
#[track_caller]
fn assert_carries(world: &mut World, from: u64) {
    world.run_for(millis(200));
    for who in [CLIENT, SERVER] {
        world.end(who).delivered.clear();
    }
    world.stream_both(from..from + 30, 500, millis(1));
    world.run_for(millis(200));
    for who in [CLIENT, SERVER] {
        let mut numbers = world.end(who).numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, (from..from + 30).collect::<Vec<_>>(), "{who:?}");
    }
    world.assert_no_slot_is_lost();
}

/// All that an end is, but its drop counters, its random source and when it was asked last, as text: equal texts are
/// equal states.
fn state(world: &mut World, who: Who) -> String {
    let mut text = format!("{:?}", world.end(who).peer);
    for (field, close) in [("drops: Drops", '}'), ("polled_at: ", ')'), ("check_at: ", ')')] {
        let start = text.find(field).unwrap_or_else(|| panic!("the engine shows no {field}"));
        let end = start + text[start..].find(close).expect("the field ends");
        text.replace_range(start..end, "");
    }
    text
}

/// What the client sent, or what it was sent.
fn recorded(world: &World, is_up: bool) -> Vec<Flight> {
    world.sent.iter().filter(|flight| flight.is_up == is_up).cloned().collect()
}

/// A session between an engine of the server and the test, which holds the client's keys.
fn established(world: &mut World, number: u16) -> Established {
    let (own, server) = (keys::pair(number), keys::pair(keys::SERVER));
    let secret = SharedSecret::none();
    let credentials = Credentials::Keys { own: &own, peer: server.public_key(), secret: &secret };
    let index = SessionIndex::new(77).expect("24 bits");
    let mut out = [0; mlvpn_core::memory::two::MAX_INITIATION];
    let ephemeral = Ephemeral::from_random(keys::seed(world.now().micros() + 5).into());
    let (mut initiator, len) = Initiator::new(credentials, index, keys::PLAIN, ephemeral, &mut out).expect("sound");
    let response = world.inject_up(attacker(), &out[..len]).expect("an answer");
    initiator.finish(&response).expect("the server's answer")
}

/// A data packet that the test seals with the client's key.
fn sealed(keys: &Established, counter: u64, control: bool, body: &[u8]) -> Vec<u8> {
    sealed_on(0, keys, counter, control, body)
}

/// The same on another link than the first.
fn sealed_on(link: u8, keys: &Established, counter: u64, control: bool, body: &[u8]) -> Vec<u8> {
    sealed_as(Place { link, counter, order: counter, ..Place::default() }, keys, control, body)
}

/// Where a packet of the test stands.
#[derive(Clone, Copy, Default)]
struct Place {
    link: u8,
    counter: u64,
    domain: u8,
    order: u64,
    send_time: u16,
}

/// The same anywhere.
fn sealed_as(place: Place, keys: &Established, control: bool, body: &[u8]) -> Vec<u8> {
    let Place { link, counter, domain, order, send_time } = place;
    use mlvpn_core::memory::two::{DATA_HEADER, DataFlags, DataHeader, data_nonce};
    let header = DataHeader {
        flags: DataFlags { control, ..DataFlags::default() },
        receiver: keys.peer_index,
        link,
        domain,
        counter_low: u32::try_from(counter & 0xffff_ffff).expect("32 bits"),
        order_low: u32::try_from(order & 0xff_ffff).expect("24 bits"),
        send_time,
    };
    let mut datagram = header.emit().to_vec();
    datagram.resize(DATA_HEADER + body.len() + 16, 0);
    let (aad, rest) = datagram.split_at_mut(DATA_HEADER);
    assert!(keys.send.seal(&data_nonce(link, counter), aad, body, rest));
    datagram
}

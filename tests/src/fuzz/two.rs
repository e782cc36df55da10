// SPDX-License-Identifier: BSD-2-Clause
//! Targets of protocol 2.

use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::memory::control;
use mlvpn_core::memory::two::{
    CookieMessage, DATA_HEADER, DataFlags, DataHeader, Initiation, MAX_INITIATION, Refusal, Response, data_nonce,
};
use mlvpn_core::state::handshake::{Credentials, Established, Initiator};
use mlvpn_core::state::identity::{Ephemeral, SharedSecret};
use mlvpn_core::words::ids::SessionIndex;
use mlvpn_core::words::limits::TAG;
use mlvpn_core::words::time::Duration;

use super::Input;
use crate::inner;
use crate::session::keys;
use crate::session::world::{Who, World};

/// Whatever message parses says all there is in its bytes: written again it is the same.
pub fn two_messages(data: &[u8]) {
    if let Ok(message) = Initiation::parse(data) {
        let mut out = [0; MAX_INITIATION];
        let len = message.emit(&mut out).expect("what was parsed has the right length");
        assert_eq!(out[..len], *data);
    }
    if let Ok(message) = Response::parse(data) {
        assert_eq!(message.emit()[..], *data);
    }
    if let Ok(message) = CookieMessage::parse(data) {
        assert_eq!(message.emit()[..], *data);
    }
    if let Ok(message) = Refusal::parse(data) {
        assert_eq!(message.emit()[..], *data);
    }
    if let Ok(header) = DataHeader::parse(data) {
        assert_eq!(header.emit(), data[..DATA_HEADER]);
        assert!(header.link < 32 && header.domain < 8 && data.len() >= DATA_HEADER + TAG);
    }
}

/// Frames that parse come back when they are written and parsed again, and the block is never longer than it was.
pub fn control_block(data: &[u8]) {
    let Ok((frames, rest)) = control::parse(data) else { return };
    let used = data.len() - rest.len();
    assert_eq!(used, usize::from(data[0]) + 1);
    let mut out = [0; control::MAX_BLOCK + 1];
    let len = control::emit(&frames, &mut out).expect("as many frames as there may be");
    assert!(len <= used, "the shortest encoding is written");
    assert_eq!(control::parse(&out[..len]), Ok((frames, &[][..])));
}

/// A server, a client with a session, and a stranger whose packets open are told anything, in any order; none may panic,
/// lose a slot, stand still, or answer with more than it was asked.
///
/// Input: steps, each a byte that says what and the bytes it needs.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let mut run = Run::new();
    while !input.0.is_empty() {
        run.step(&mut input);
    }
    run.world.filter = Box::new(|_| true);
    run.world.run_for(Duration::from_secs(1));
    run.world.assert_no_slot_is_lost();
}

struct Run {
    world: World<2, 8>,
    /// The keys of a second client, which is this target itself.
    keys: Established,
    counter: u64,
}

impl Run {
    fn new() -> Self {
        let mut world: World<2, 8> = World::one(7, 2);
        world.run_for(Duration::from_millis(300));
        world.add_client(0, keys::config(), keys::config());
        let (own, server, secret) = (keys::pair(1), keys::pair(keys::SERVER), SharedSecret::none());
        let credentials = Credentials::Keys { own: &own, peer: server.public_key(), secret: &secret };
        let index = SessionIndex::new(99).expect("24 bits");
        let mut out = [0; MAX_INITIATION];
        let ephemeral = Ephemeral::from_random([9; 32].into());
        let (mut initiator, len) = Initiator::new(credentials, index, keys::PLAIN, ephemeral, &mut out).expect("sound");
        let response = world.inject_up(address(0), &out[..len]).expect("the server answers");
        let keys = initiator.finish(&response).expect("it opens");
        Self { world, keys, counter: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let from = address(what >> 4);
        match what & 0x0f {
            0..=2 => self.inject(from, input, |_, bytes| bytes),
            3 => self.inject(from, input, Self::recorded),
            4..=8 => {
                let datagram = self.sealed(input);
                assert_eq!(self.world.inject_up(from, &datagram), None);
            }
            9 => self.world.run_for(Duration::from_millis(u64::from(input.byte()) * 10)),
            10 => self.world.run_for(Duration::from_secs(u64::from(input.byte()))),
            11 => {
                let lost = input.byte();
                self.world.filter = Box::new(move |flight| flight.bytes.len() % 8 != usize::from(lost & 7));
            }
            12 => self.world.clients[0].wires[usize::from(what >> 7)].rebind(),
            _ => {
                let len = inner::SHORTEST + usize::from(input.byte()) * 5;
                for who in [Who::Client(0), Who::Server(usize::from(what >> 7).try_into().expect("0 or 1"))] {
                    self.world.send(who, &inner::ipv4(len, 1));
                }
            }
        }
    }

    /// A datagram made of the input, to the server and to the client.
    fn inject(&mut self, from: SocketAddr, input: &mut Input<'_>, make: fn(&Self, Vec<u8>) -> Vec<u8>) {
        let len = usize::from(input.byte());
        let bytes = make(self, input.take(len).to_vec());
        let answer = self.world.inject_up(from, &bytes);
        assert!(answer.is_none_or(|answer| answer.len() <= bytes.len()));
        self.world.inject_down((0, 0), from, &bytes);
    }

    /// One of the datagrams that were sent, changed by the input: which, then pairs of place and value.
    fn recorded(&self, input: Vec<u8>) -> Vec<u8> {
        let which = usize::from(input.first().copied().unwrap_or(0)) % self.world.sent.len();
        let mut bytes = self.world.sent[which].bytes.clone();
        let len = bytes.len();
        for pair in input.get(1..).unwrap_or_default().chunks_exact(2) {
            bytes[usize::from(pair[0]) % len] ^= pair[1];
        }
        bytes
    }

    /// A packet that opens, with header and body as wild as the input likes.
    fn sealed(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let [bits, lane, step, order] = [input.byte(), input.byte(), input.byte(), input.byte()];
        self.counter = self.counter.wrapping_add(u64::from(step)).wrapping_sub(3);
        let counter_low = u32::try_from(self.counter & 0xffff_ffff).expect("32 bits");
        let flags = DataFlags {
            control: bits & 1 == 0,
            resend: bits & 2 != 0,
            duplicate: bits & 4 != 0,
            congestion: bits & 8 != 0,
        };
        let header = DataHeader {
            flags,
            receiver: self.keys.peer_index,
            link: lane & 3,
            domain: lane >> 6,
            counter_low,
            order_low: u32::from(order) << (bits >> 4),
            send_time: 0,
        };
        let len = usize::from(input.byte());
        let body = input.take(len);
        let mut datagram = header.emit().to_vec();
        datagram.resize(DATA_HEADER + body.len() + TAG, 0);
        let (aad, rest) = datagram.split_at_mut(DATA_HEADER);
        assert!(self.keys.send.seal(&data_nonce(lane & 3, self.counter), aad, body, rest));
        datagram
    }
}

fn address(bits: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, bits & 3), 5_080))
}

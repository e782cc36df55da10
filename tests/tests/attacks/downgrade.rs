// SPDX-License-Identifier: BSD-2-Clause
//! An end is to be talked into something older or weaker.

use mlvpn_core::memory::classic::{Header, Kind};
use mlvpn_core::memory::two::MessageKind;
use mlvpn_core::state::handshake::Offer;
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::session_key::HAS_AES;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ids::{FlowId, Order};
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{CLIENT, SERVER, assert_carries, attacker, millis};

#[test]
fn classic_datagrams_are_unknown_to_a_protocol_2_tunnel() {
    let mut world: World = World::up(76, 1);
    let key = ClassicKey::from_password(b"a guess");
    let before = (super::state(&mut world, CLIENT), super::state(&mut world, SERVER));
    for kind in [Kind::Auth, Kind::AuthOk, Kind::KeepAlive, Kind::Data, Kind::Disconnect] {
        let header = Header {
            body_len: 36,
            kind,
            ordered: false,
            timestamp: None,
            timestamp_reply: None,
            flow: FlowId(1),
            counter: 1,
            order: Order(1),
        };
        let mut datagram = header.emit().to_vec();
        datagram.resize(28 + 36, 0);
        assert!(key.seal(&header.nonce(), &[0x45; 20], &mut datagram[28..]));
        let dropped = world.clients[0].end.peer.drops().of(DropReason::Unknown);
        assert_eq!(world.inject_up(attacker(), &datagram), None);
        world.inject_down((0, 0), attacker(), &datagram);
        assert_eq!(world.clients[0].end.peer.drops().of(DropReason::Unknown), dropped + 1);
    }
    assert_eq!((super::state(&mut world, CLIENT), super::state(&mut world, SERVER)), before);
    assert_carries(&mut world, 0);
}

#[test]
fn a_client_that_gets_nothing_but_refusals_goes_on_asking_for_protocol_2() {
    let mut world: World = World::one(77, 1);
    world.filter = Box::new(|_| false);
    for _ in 0..20 {
        world.run_for(millis(500));
        let asked = world.sent.last().cloned().expect("it asks");
        assert_eq!(MessageKind::of(asked.bytes[0]), Some(MessageKind::Initiation));
        let mut refusal = vec![0x83, 1, 0, 0];
        refusal.extend_from_slice(&asked.bytes[4..8]);
        world.inject_down((0, 0), asked.to, &refusal);
    }
    assert!(world.sent.iter().all(|flight| MessageKind::of(flight.bytes[0]) == Some(MessageKind::Initiation)));
    world.filter = Box::new(|_| true);
    world.run_for(millis(1_000));
    assert_carries(&mut world, 0);
}

#[test]
fn what_the_ends_offer_is_sealed_so_that_no_bit_of_it_can_be_taken_away() {
    let mut config = keys::config();
    config.offer = Offer { aes_in_hardware: true, max_links: 8 };
    let mut world: World = World::empty(78);
    world.add_client(1, config.clone(), config);
    // Whatever is changed in the sealed payload of either message, the message is not accepted any more.
    world.filter = Box::new(|flight| {
        if flight.bytes[0] < 0xc0 {
            let at = if flight.bytes[0] == 0x80 { 8 + 80 } else { 12 + 32 };
            flight.bytes[at + 3] ^= 1;
        }
        true
    });
    world.run_for(millis(3_000));
    assert!(!world.clients[0].end.peer.is_up() && world.server.answers == 0);
    world.filter = Box::new(|_| true);
    world.run_for(millis(1_000));
    assert_carries(&mut world, 0);
    let text = format!("{:?}", world.clients[0].end.peer.aead());
    assert_eq!(text, if HAS_AES { "Some(Aes256Gcm)" } else { "Some(ChaCha20Poly1305)" });
}

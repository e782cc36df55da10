// SPDX-License-Identifier: BSD-2-Clause
//! The recorded sessions of MLVPN 2.3.5, byte by byte. Runs on big-endian machines too. That the fields make the
//! recorded datagrams again is tested at the sealer, in the core's `stages/seal.rs`.

use mlvpn_core::memory::classic::Header;
use mlvpn_core::memory::packet::Packet;
use mlvpn_core::stages::open::Opener;
use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::ids::Epoch;
use mlvpn_core::words::limits::TAG;
use mlvpn_tests::recording::{self, Session, from_hex};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

fn is_sealed(session: &Session, packet: &recording::Packet) -> bool {
    !session.cleartext_data || packet.decoded.kind() != mlvpn_core::memory::classic::Kind::Data
}

#[test]
fn every_recorded_datagram_opens_to_its_fields_and_plaintext() {
    for (name, session) in recording::sessions() {
        assert!(session.packets.len() >= 48, "{name} is cut short");
        let opener = Opener::new(session.key(), session.cleartext_data, Epoch::default());
        for (index, recorded) in session.packets.iter().enumerate() {
            let sealed = is_sealed(&session, recorded);
            let mut packet = Packet::new();
            assert!(packet.copy_from(&recorded.datagram));
            let opened = opener.open(&mut packet).unwrap_or_else(|reason| panic!("{name} {index}: {reason:?}"));
            assert_eq!(*opened.header(), recorded.decoded.header(sealed), "{name} {index}");
            assert_eq!(opened.is_authentic(), sealed, "{name} {index}");
            assert_eq!(packet.as_bytes(), recorded.decoded.plaintext, "{name} {index}");
        }
    }
}

#[test]
fn version_and_unused_bits_are_where_the_recording_says() {
    for (name, session) in recording::sessions() {
        for (index, recorded) in session.packets.iter().enumerate() {
            let bits = u16::from_le_bytes([recorded.datagram[2], recorded.datagram[3]]);
            assert_eq!((bits & 0xf, bits >> 11), (recorded.decoded.version, recorded.decoded.unused), "{name} {index}");
        }
    }
}

#[test]
fn the_key_made_of_the_password_is_the_recorded_key() {
    for (name, session) in recording::sessions() {
        let recorded: [u8; 32] = from_hex(&session.key_blake2b_256).unwrap().try_into().unwrap();
        for len in [0, 1, 31, 32, 33, 1_400] {
            let (nonce, plain) = ([len as u8; 24], vec![0x5a; len]);
            let mut sealed = vec![0; TAG + len];
            assert!(session.key().seal(&nonce, &plain, &mut sealed));
            assert_eq!(sealed, secretbox(&recorded, &nonce, &plain), "{name}, {len} bytes");
        }
    }
}

/// NaCl's crypto_secretbox by its definition: the stream's first 32 bytes key the authenticator of the rest.
fn secretbox(key: &[u8; 32], nonce: &[u8; 24], plain: &[u8]) -> Vec<u8> {
    let mut stream = [&[0; 32], plain].concat();
    XSalsa20::new(key.into(), nonce.into()).apply_keystream(&mut stream);
    let (one_time, sealed) = stream.split_first_chunk::<32>().unwrap();
    let tag: [u8; TAG] = Poly1305::new(one_time.into()).compute_unpadded(sealed).into();
    [&tag, sealed].concat()
}

#[test]
fn another_password_opens_nothing_that_is_sealed() {
    let other = mlvpn_core::state::keys::ClassicKey::from_password(b"correct horse battery staplf");
    for (name, session) in recording::sessions() {
        let opener = Opener::new(other.clone(), session.cleartext_data, Epoch::default());
        for (index, recorded) in session.packets.iter().enumerate().filter(|(_, p)| is_sealed(&session, p)) {
            let mut packet = Packet::new();
            assert!(packet.copy_from(&recorded.datagram));
            assert_eq!(opener.open(&mut packet).unwrap_err(), DropReason::Unauthentic, "{name} {index}");
        }
    }
}

#[test]
fn the_unused_bits_are_ignored_as_mlvpn_2_3_ignores_them() {
    let (_, session) = recording::sessions().remove(0);
    let mut datagram = session.packets[0].datagram.clone();
    datagram[3] |= 0xf8;
    assert_eq!(Header::parse(&datagram), Header::parse(&session.packets[0].datagram));
}

// SPDX-License-Identifier: BSD-2-Clause
//! Headers survive the wire.

use mlvpn_core::memory::classic::{Header, Kind, NO_TIMESTAMP};
use mlvpn_core::words::ids::{FlowId, Order};
use proptest::prelude::*;

fn timestamps() -> impl Strategy<Value = Option<u16>> {
    proptest::option::of(0..NO_TIMESTAMP)
}

fn headers() -> impl Strategy<Value = Header> {
    let kinds = prop::sample::select(vec![Kind::Auth, Kind::AuthOk, Kind::KeepAlive, Kind::Data, Kind::Disconnect]);
    let fields =
        (0..1_600u16, kinds, any::<bool>(), timestamps(), timestamps(), any::<u32>(), any::<u64>(), any::<u64>());
    fields.prop_map(|(body_len, kind, ordered, timestamp, timestamp_reply, flow, counter, order)| Header {
        body_len,
        kind,
        ordered,
        timestamp,
        timestamp_reply,
        flow: FlowId(flow),
        counter,
        order: Order(order),
    })
}

#[test]
fn what_is_emitted_parses_to_the_same_header() {
    let check = |header: Header| {
        let mut datagram = header.emit().to_vec();
        datagram.resize(datagram.len() + usize::from(header.body_len), 0xa5);
        prop_assert_eq!(Header::parse(&datagram), Ok(header));
        datagram.push(0);
        prop_assert!(Header::parse(&datagram).is_err());
        Ok(())
    };
    super::runner(2_000).run(&headers(), check).unwrap();
}

#[test]
fn two_packets_share_a_nonce_only_with_flow_and_counter() {
    let check = |(a, b): (Header, Header)| {
        let same = (a.flow, a.counter) == (b.flow, b.counter);
        prop_assert_eq!(a.nonce() == b.nonce(), same);
        prop_assert_eq!(a.nonce(), Header { kind: Kind::Data, order: Order(1), ..a }.nonce());
        Ok(())
    };
    super::runner(2_000).run(&(headers(), headers()), check).unwrap();
}

#[test]
fn any_bytes_are_refused_or_parse_to_what_emits_them_again() {
    let bytes = (proptest::collection::vec(any::<u8>(), 28..80), any::<bool>(), any::<bool>());
    let check = |(mut bytes, fix_len, fix_version): (Vec<u8>, bool, bool)| {
        if fix_len {
            let body = (bytes.len() - 28) as u16;
            bytes[..2].copy_from_slice(&body.to_be_bytes());
        }
        if fix_version {
            bytes[2] = bytes[2] & 0x30 | 1;
            bytes[3] &= 0xfc;
        }
        mlvpn_tests::fuzz::classic_header(&bytes);
        prop_assert!(!(fix_len && fix_version) || Header::parse(&bytes).is_ok());
        Ok(())
    };
    super::runner(4_000).run(&bytes, check).unwrap();
}

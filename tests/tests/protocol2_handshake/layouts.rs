// SPDX-License-Identifier: BSD-2-Clause
//! Parsing undoes encoding, and never encodes anything but what it parsed. Proptest prints the seed of what fails.

use mlvpn_core::memory::two::{
    CookieMessage, DATA_OVERHEAD, DataFlags, DataHeader, Initiation, MAX_INITIATION, NOISE_RESPONSE, Pattern, Payload,
    Refusal, RefusalReason, Response,
};
use proptest::prelude::*;

use crate::ends::index;

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just(Pattern::Keys), Just(Pattern::Secret)]
}

fn reason() -> impl Strategy<Value = RefusalReason> {
    prop_oneof![Just(RefusalReason::Version), Just(RefusalReason::Pattern), Just(RefusalReason::Feature)]
}

/// Random bytes that begin like a message now and then.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        any::<[u8; 8]>(),
        (0x80_u8..0x84, 0_u8..3, 0_u8..3, any::<[u8; 3]>()).prop_map(|(a, b, c, [d, e, f])| [a, b, c, 0, 0, d, e, f]),
    ];
    let len = prop_oneof![0_usize..200, Just(8), Just(64), Just(88), Just(100), Just(148)];
    (start, len, any::<u8>()).prop_map(|(start, len, fill)| {
        let mut bytes = start.to_vec();
        bytes.resize(len, fill);
        bytes
    })
}

proptest! {
    #[test]
    fn initiations_come_back(
        pattern in pattern(),
        sender in 0_u32..1 << 24,
        noise in any::<[u8; 32]>(),
        mac1 in any::<[u8; 16]>(),
        mac2 in any::<[u8; 16]>(),
    ) {
        let noise: Vec<u8> = noise.into_iter().cycle().take(pattern.noise_len()).collect();
        let initiation = Initiation { pattern, sender: index(sender), noise: &noise, mac1, mac2 };
        let mut out = [0xff; MAX_INITIATION];
        let len = initiation.emit(&mut out).expect("the noise message has its length");
        prop_assert_eq!(len, pattern.initiation_len());
        prop_assert_eq!(Initiation::parse(&out[..len]), Ok(initiation));
    }

    #[test]
    fn responses_come_back(
        pattern in pattern(),
        sender in 0_u32..1 << 24,
        receiver in 0_u32..1 << 24,
        fill in any::<u8>(),
        mac1 in any::<[u8; 16]>(),
    ) {
        let response = Response {
            pattern, sender: index(sender), receiver: index(receiver), noise: [fill; NOISE_RESPONSE], mac1,
        };
        prop_assert_eq!(Response::parse(&response.emit()), Ok(response));
    }

    #[test]
    fn cookies_and_refusals_come_back(
        receiver in 0_u32..1 << 24,
        nonce in any::<[u8; 24]>(),
        sealed in any::<[u8; 32]>(),
        reason in reason(),
        version in any::<u8>(),
    ) {
        let receiver = index(receiver);
        let cookie = CookieMessage { receiver, nonce, sealed };
        prop_assert_eq!(CookieMessage::parse(&cookie.emit()), Ok(cookie));
        let refusal = Refusal { reason, version, receiver };
        prop_assert_eq!(Refusal::parse(&refusal.emit()), Ok(refusal));
    }

    #[test]
    fn payloads_come_back(features: u32, chosen: u32, max_links in 1_u8..=32, sender in 0_u32..1 << 24) {
        let payload = Payload { features, chosen, max_links, sender: index(sender) };
        prop_assert_eq!(Payload::parse(&payload.emit()), Ok(payload));
    }

    #[test]
    fn data_headers_come_back(
        flags in any::<[bool; 4]>(),
        receiver in 0_u32..1 << 24,
        (link, domain) in (0_u8..32, 0_u8..8),
        counter_low: u32,
        order_low in 0_u32..1 << 24,
        send_time: u16,
    ) {
        let [control, resend, duplicate, congestion] = flags;
        let flags = DataFlags { control, resend, duplicate, congestion };
        let header = DataHeader { flags, receiver: index(receiver), link, domain, counter_low, order_low, send_time };
        let mut packet = header.emit().to_vec();
        packet.resize(DATA_OVERHEAD, 0);
        prop_assert_eq!(DataHeader::parse(&packet), Ok(header));
    }

    #[test]
    fn whatever_parses_is_encoded_as_it_was(bytes in datagram()) {
        if let Ok(initiation) = Initiation::parse(&bytes) {
            let mut out = [0; MAX_INITIATION];
            let len = initiation.emit(&mut out).expect("it has its length");
            prop_assert_eq!(&out[..len], &bytes[..]);
        }
        if let Ok(response) = Response::parse(&bytes) {
            prop_assert_eq!(&response.emit()[..], &bytes[..]);
        }
        if let Ok(cookie) = CookieMessage::parse(&bytes) {
            prop_assert_eq!(&cookie.emit()[..], &bytes[..]);
        }
        if let Ok(refusal) = Refusal::parse(&bytes) {
            prop_assert_eq!(&refusal.emit()[..], &bytes[..]);
        }
        if let Ok(header) = DataHeader::parse(&bytes) {
            prop_assert_eq!(&header.emit()[..], &bytes[..14]);
        }
    }
}

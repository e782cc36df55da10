// SPDX-License-Identifier: BSD-2-Clause
//! The recorded handshakes, `vectors/protocol2/handshake.json`: whoever writes a second implementation starts from these.

use mlvpn_core::memory::two::{DATA_HEADER, DATA_OVERHEAD, DataFlags, DataHeader, Pattern, data_nonce};
use mlvpn_core::state::cookie::{CookieGuard, CookieJar};
use mlvpn_core::state::handshake::Established;
use mlvpn_core::words::ids::SessionIndex;
use mlvpn_core::words::time::Instant;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ends::{
    CLIENT, CLIENT_EPHEMERAL, Client, OFFER, PATTERNS, SECRET, SERVER, SERVER_EPHEMERAL, answer, pair, read, secret,
    server, source,
};

const RECORDED: &str = include_str!("../../vectors/protocol2/handshake.json");
const COUNTER: u64 = 0x0000_0001_0000_0002;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A data packet of `session`, as a receiver with the given index gets it.
fn packet(session: &Established, receiver: SessionIndex) -> Vec<u8> {
    let header = DataHeader {
        flags: DataFlags { control: false, resend: true, duplicate: false, congestion: true },
        receiver,
        link: 3,
        domain: 1,
        counter_low: COUNTER as u32,
        order_low: 0x0a_0b0c,
        send_time: 0x1234,
    }
    .emit();
    let plain = b"an inner packet";
    let mut out = vec![0; DATA_OVERHEAD + plain.len()];
    let (head, body) = out.split_at_mut(DATA_HEADER);
    head.copy_from_slice(&header);
    assert!(session.send.seal(&data_nonce(3, COUNTER), &header, plain, body));
    out
}

fn derive(pattern: Pattern) -> Value {
    let client = Client::default();
    let (mut initiator, initiation) = client.initiate(pattern);
    let responder = server(pattern);
    let (theirs, response) = answer(read(&responder, &initiation).expect("it opens"), &secret(SECRET), OFFER);
    let ours = initiator.finish(&response).expect("it opens");

    let (awaiting, mut again) = client.initiate(pattern);
    let now = Instant::from_micros(1_000_000_000);
    let guard = CookieGuard::new(Zeroizing::new([7; 32]));
    let knock = responder.inspect(&again).expect("mac1 is right");
    let cookie = guard.challenge(&knock, source(), [9; 24], now);
    let mut jar = CookieJar::default();
    jar.put(awaiting.read_cookie(&cookie).expect("the cookie is for this initiation"), now);
    jar.stamp(&mut again, now);
    json!({
        "pattern": pattern as u8,
        "initiator_private": pair(CLIENT).secret_key().to_text().as_str(),
        "initiator_public": pair(CLIENT).public_key().to_text().as_str(),
        "responder_private": pair(SERVER).secret_key().to_text().as_str(),
        "responder_public": pair(SERVER).public_key().to_text().as_str(),
        "shared_secret": secret(SECRET).to_text().as_str(),
        "initiator_ephemeral": hex(&[CLIENT_EPHEMERAL; 32]),
        "responder_ephemeral": hex(&[SERVER_EPHEMERAL; 32]),
        "initiation": hex(&initiation),
        "response": hex(&response),
        "hash": hex(&ours.hash),
        "link": 3,
        "counter": COUNTER,
        "plain": hex(b"an inner packet"),
        "packet_to_responder": hex(&packet(&ours, ours.peer_index)),
        "packet_to_initiator": hex(&packet(&theirs, theirs.peer_index)),
        "cookie": hex(&cookie),
        "initiation_with_cookie": hex(&again),
    })
}

#[test]
fn the_recorded_handshakes_are_derived_again() {
    let derived = Value::Array(PATTERNS.map(derive).to_vec());
    let recorded: Value = serde_json::from_str(RECORDED).expect("the vectors are JSON");
    let text = serde_json::to_string_pretty(&derived).expect("values print");
    assert!(recorded == derived, "the handshake changed; if it was meant to, record this:\n{text}");
}

// SPDX-License-Identifier: BSD-2-Clause
//! The recorded session between real clients and a real ubusd: every message is read whole, and written again as the
//! same bytes. Runs on big-endian machines too.

use std::collections::BTreeMap;

use mlvpn_tests::recording::from_hex;
use mlvpn_tests::ubus::to_json;
use mlvpnd::blob::{Attrs, Writer};
use mlvpnd::blobmsg::{Builder, Table, kind};
use mlvpnd::frames::Frames;
use mlvpnd::message::{Attributes, Kind, attribute, write};
use mlvpnd::session::{Published, Session};
use serde_json::{Value, json};

/// A recorded message.
struct Recorded {
    /// Connection and sender.
    stream: (u64, String),
    kind: String,
    seq: u16,
    peer: u32,
    body: Vec<u8>,
}

impl Recorded {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0, number_of(&self.kind)];
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.peer.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

fn number_of(kind: &str) -> u8 {
    let kind = match kind {
        "HELLO" => Kind::Hello,
        "STATUS" => Kind::Status,
        "DATA" => Kind::Data,
        "LOOKUP" => Kind::Lookup,
        "INVOKE" => Kind::Invoke,
        "ADD_OBJECT" => Kind::AddObject,
        other => panic!("{other} was not recorded when this was written"),
    };
    kind as u8
}

fn recorded() -> Vec<Recorded> {
    let text = include_str!("../vectors/ubus/session.json");
    let session: Value = serde_json::from_str(text).expect("JSON");
    let events = session["events"].as_array().expect("a list").iter().filter(|event| event["blob"].is_string());
    let number = |value: &Value| value.as_u64().expect("a number");
    let read = |event: &Value| Recorded {
        stream: (number(&event["connection"]), event["sender"].as_str().expect("text").to_owned()),
        kind: event["type"].as_str().expect("text").to_owned(),
        seq: number(&event["seq"]).try_into().expect("16 bits"),
        peer: number(&event["peer"]).try_into().expect("32 bits"),
        body: from_hex(event["blob"].as_str().expect("text")).expect("hexadecimal digits"),
    };
    let recorded: Vec<Recorded> = events.map(read).collect();
    assert_eq!(recorded.len(), 80, "the recording is cut short");
    recorded
}

/// Attributes written again from what was read of them.
fn rewritten(attributes: &mut Writer, root: &[u8]) {
    for attr in Attrs::new(root).map(|attr| attr.expect("an attribute")) {
        match attr.id {
            attribute::DATA | attribute::SIGNATURE => {
                let mut copy = Builder::new();
                copy.fields(&Table::parse(attr.payload).expect("blobmsg"));
                attributes.put(attr.id, &copy.finish().expect("short"));
            }
            attribute::PATH | attribute::METHOD | attribute::USER | attribute::GROUP => {
                attributes.put_string(attr.id, attr.as_string().expect("a string"));
            }
            _ => attributes.put_u32(attr.id, attr.as_u32().expect("a number")),
        }
    }
}

#[test]
fn every_recorded_message_is_written_again_as_the_same_bytes() {
    for message in recorded() {
        let mut frames = Frames::new();
        frames.feed(&message.bytes());
        let frame = frames.take().expect("a message").expect("as a whole");
        let header = frame.header;
        assert_eq!((header.kind.map(|kind| kind as u8), header.seq), (Some(number_of(&message.kind)), message.seq));
        assert_eq!(frames.body(&frame), message.body);
        let again = write(header.kind.expect("a kind"), header.seq, header.peer, |attributes| {
            rewritten(attributes, &message.body[4..]);
        });
        assert_eq!(again.expect("short"), message.bytes(), "{} {}", message.kind, message.seq);
    }
}

#[test]
fn recorded_streams_fall_apart_into_their_messages() {
    let mut streams: BTreeMap<(u64, String), Vec<Recorded>> = BTreeMap::new();
    for message in recorded() {
        streams.entry(message.stream.clone()).or_default().push(message);
    }
    for (stream, messages) in streams {
        let bytes: Vec<u8> = messages.iter().flat_map(Recorded::bytes).collect();
        for cut in [1, 7, 64, bytes.len()] {
            let mut frames = Frames::new();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                frames.feed(piece);
                while let Some(frame) = frames.take().expect("messages") {
                    found.push(frames.body(&frame).to_vec());
                }
            }
            assert_eq!(found.len(), messages.len(), "{stream:?} cut at every {cut} bytes");
            assert!(found.iter().zip(&messages).all(|(found, message)| *found == message.body));
        }
    }
}

/// What `ubus send` was given and what its listener got: every type there is in JSON.
#[test]
fn a_recorded_event_says_what_was_sent() {
    let events = recorded();
    let heard = events.iter().find(|message| {
        let method = Attributes::parse(&message.body).expect("attributes").method;
        message.kind == "INVOKE" && method == Some(b"mlvpn.link")
    });
    let heard = Attributes::parse(&heard.expect("it was recorded").body).expect("attributes");
    let data = to_json(&heard.data.expect("data").expect("well-formed data"));
    let expected = json!({
        "link": "wan", "up": true, "rtt_us": 12345, "rate": 1.5, "big": 12_345_678_901_u64, "list": ["a", {"b": null}],
    });
    assert_eq!(data, expected);
}

/// The object `rc` as rpcd published it, through libubus.
#[test]
fn an_object_is_published_in_the_bytes_that_libubus_uses() {
    let rc = Published {
        path: "rc",
        methods: &[
            ("list", &[("name", kind::STRING), ("skip_running_check", kind::INT8)]),
            ("init", &[("name", kind::STRING), ("action", kind::STRING)]),
        ],
    };
    let mut session = Session::new(rc, None);
    session.begin();
    let mut frames = Frames::new();
    frames.feed(session.outbox());
    let frame = frames.take().expect("a message").expect("as a whole");
    let events = recorded();
    let published = events.iter().find(|message| {
        let path = Attributes::parse(&message.body).expect("attributes").path;
        message.kind == "ADD_OBJECT" && path == Some(b"rc")
    });
    assert_eq!(frames.body(&frame), published.expect("it was recorded").body);
}

// SPDX-License-Identifier: BSD-2-Clause
//! `core/PROTOCOL.md` says what the code does: every table of it is held against what the code encodes.

use std::collections::BTreeMap;

use mlvpn_core::memory::classic;
use mlvpn_core::memory::control::{self, Control, Gap, Report, Terms};
use mlvpn_core::memory::two::{
    COOKIE_MESSAGE, CookieMessage, DATA_HEADER, DATA_OVERHEAD, DataFlags, DataHeader, INITIATION_KEYS,
    INITIATION_SECRET, Initiation, MAX_INITIATION, MessageKind, NOISE_RESPONSE, Pattern, Payload, REFUSAL, RESPONSE,
    Refusal, RefusalReason, Response, VERSION,
};
use mlvpn_core::state::arrivals::REPORT_INTERVAL;
use mlvpn_core::state::cookie::COOKIE_PERIOD;
use mlvpn_core::state::handshake::{FEATURE_AES, FEATURES_OPTIONAL};
use mlvpn_core::words::ids::{FlowId, Order, SessionIndex};
use mlvpn_core::words::limits::{MAX_LINKS, TAG};
use mlvpn_core::words::policy::Stop;

use crate::ends::index;

const DOCUMENT: &str = include_str!("../../../core/PROTOCOL.md");

/// The rows of the first table under the heading `### title`, without its head.
fn table(title: &str) -> Vec<Vec<String>> {
    let heading = format!("### {title}");
    let section =
        DOCUMENT.lines().skip_while(|line| **line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let rows = section.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect();
    let rows: Vec<Vec<String>> = rows.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "PROTOCOL.md has no table under {title:?}");
    rows
}

fn number(cell: &str) -> usize {
    let parsed = cell.strip_prefix("0x").map_or_else(|| cell.parse(), |hex| usize::from_str_radix(hex, 16));
    parsed.unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

/// The first two columns of a table, as names by number.
fn names(title: &str) -> BTreeMap<usize, String> {
    table(title).into_iter().map(|row| (number(&row[0]), row[1].clone())).collect()
}

/// Checks that the table's fields lie one behind another, fill `message`, and hold `expected` there.
#[track_caller]
fn assert_layout(title: &str, message: &[u8], expected: &[(&str, &[u8])]) {
    let rows = table(title);
    let fields: Vec<&str> = rows.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(fields, expected.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{title}");
    let mut end = 0;
    for (row, (field, bytes)) in rows.iter().zip(expected) {
        assert_eq!(number(&row[0]), end, "{title}: {field} begins elsewhere");
        end += number(&row[1]);
        assert_eq!(&message[number(&row[0])..end], *bytes, "{title}: {field}");
    }
    assert_eq!(end, message.len(), "{title} is not as long as its fields");
}

#[test]
fn the_classic_header_is_as_documented() {
    let header = classic::Header {
        body_len: 0x0102,
        kind: classic::Kind::Disconnect,
        ordered: true,
        timestamp: Some(0x0304),
        timestamp_reply: None,
        flow: FlowId(0x0506_0708),
        counter: 0x090a_0b0c_0d0e_0f10,
        order: Order(0x1112_1314_1516_1718),
    };
    let bits: u16 = classic::VERSION | 4 << 4 | 1 << 10;
    let expected: [(&str, &[u8]); 7] = [
        ("length", &[1, 2]),
        ("bits", &bits.to_le_bytes()),
        ("timestamp", &[3, 4]),
        ("timestamp reply", &[0xff, 0xff]),
        ("flow", &[5, 6, 7, 8]),
        ("counter", &[9, 10, 11, 12, 13, 14, 15, 16]),
        ("order", &[17, 18, 19, 20, 21, 22, 23, 24]),
    ];
    assert_layout("Classic header", &header.emit(), &expected);
    let ranges: Vec<_> = table("Classic bits").iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected = [("0-3", "version"), ("4-9", "type"), ("10", "ordered"), ("11-15", "unused")];
    assert_eq!(ranges, expected.map(|(bits, field)| (bits.to_string(), field.to_string())));
}

#[test]
fn the_classic_types_are_as_documented() {
    let named = names("Classic types");
    let kinds = [
        (classic::Kind::Auth, "AUTH"),
        (classic::Kind::AuthOk, "AUTH_OK"),
        (classic::Kind::KeepAlive, "KEEPALIVE"),
        (classic::Kind::Data, "DATA"),
        (classic::Kind::Disconnect, "DISCONNECT"),
    ];
    assert_eq!(named, kinds.map(|(kind, name)| (kind as usize, name.to_string())).into());
    let bodies: Vec<String> = table("Classic types").iter().map(|row| row[2].clone()).collect();
    let quoted = |body: &[u8]| format!("`{}`", String::from_utf8_lossy(body));
    assert_eq!(bodies[..2], [quoted(classic::AUTH_BODY), quoted(classic::AUTH_OK_BODY)]);
}

#[test]
fn the_first_bytes_are_as_documented() {
    let named = names("First bytes");
    let kinds = [
        (MessageKind::Initiation, "initiation"),
        (MessageKind::Response, "response"),
        (MessageKind::Cookie, "cookie"),
        (MessageKind::Refusal, "refusal"),
        (MessageKind::Data, "data, plus flags"),
    ];
    assert_eq!(named, kinds.map(|(kind, name)| (usize::from(kind.first_byte()), name.to_string())).into());
}

#[test]
fn the_constants_are_as_documented() {
    let documented: BTreeMap<String, usize> =
        table("Constants").into_iter().map(|row| (row[0].clone(), number(&row[1]))).collect();
    let actual = [
        ("version", VERSION.into()),
        ("initiation, pattern 1", INITIATION_KEYS),
        ("initiation, pattern 2", INITIATION_SECRET),
        ("response", RESPONSE),
        ("cookie", COOKIE_MESSAGE),
        ("refusal", REFUSAL),
        ("data header", DATA_HEADER),
        ("tag", TAG),
        ("data overhead", DATA_OVERHEAD),
        ("session indices", SessionIndex::COUNT as usize),
        ("links", MAX_LINKS),
        ("cookie period", (COOKIE_PERIOD.micros() / 1_000_000) as usize),
        ("feature AES", FEATURE_AES as usize),
        ("features that may be ignored", FEATURES_OPTIONAL as usize),
    ];
    assert_eq!(documented, actual.map(|(name, value)| (name.to_string(), value)).into());
}

#[test]
fn initiations_are_as_documented() {
    for (pattern, title) in [(Pattern::Keys, "Initiation, pattern 1"), (Pattern::Secret, "Initiation, pattern 2")] {
        let noise: Vec<u8> = (0..pattern.noise_len()).map(|at| at as u8).collect();
        let initiation =
            Initiation { pattern, sender: index(0x01_0203), noise: &noise, mac1: [0xa1; 16], mac2: [0xa2; 16] };
        let mut out = [0; MAX_INITIATION];
        let len = initiation.emit(&mut out).expect("the noise message has its length");
        let expected: [(&str, &[u8]); 8] = [
            ("type", &[0x80]),
            ("version", &[VERSION]),
            ("pattern", &[pattern as u8]),
            ("reserved", &[0]),
            ("sender", &[0, 1, 2, 3]),
            ("noise", &noise),
            ("mac1", &[0xa1; 16]),
            ("mac2", &[0xa2; 16]),
        ];
        assert_layout(title, &out[..len], &expected);
    }
    let patterns: Vec<usize> = names("Handshake").into_keys().collect();
    assert_eq!(patterns, [Pattern::Keys as usize, Pattern::Secret as usize]);
}

#[test]
fn responses_and_payloads_are_as_documented() {
    let (sender, receiver) = (index(0x01_0203), index(0x04_0506));
    let noise = [0x77; NOISE_RESPONSE];
    let response = Response { pattern: Pattern::Secret, sender, receiver, noise, mac1: [0xa1; 16] };
    let expected: [(&str, &[u8]); 8] = [
        ("type", &[0x81]),
        ("version", &[VERSION]),
        ("pattern", &[2]),
        ("reserved", &[0]),
        ("sender", &[0, 1, 2, 3]),
        ("receiver", &[0, 4, 5, 6]),
        ("noise", &noise),
        ("mac1", &[0xa1; 16]),
    ];
    assert_layout("Response", &response.emit(), &expected);
    let payload = Payload { features: 0x0102_0304, chosen: 0x0506_0708, max_links: 9, sender: index(0x0a_0b0c) };
    let expected: [(&str, &[u8]); 4] =
        [("features", &[1, 2, 3, 4]), ("chosen", &[5, 6, 7, 8]), ("max links", &[9]), ("sender", &[10, 11, 12])];
    assert_layout("Payload", &payload.emit(), &expected);
}

#[test]
fn cookies_and_refusals_are_as_documented() {
    let receiver = index(0x01_0203);
    let cookie = CookieMessage { receiver, nonce: [4; 24], sealed: [5; 32] };
    let expected: [(&str, &[u8]); 5] = [
        ("type", &[0x82]),
        ("reserved", &[0; 3]),
        ("receiver", &[0, 1, 2, 3]),
        ("nonce", &[4; 24]),
        ("sealed", &[5; 32]),
    ];
    assert_layout("Cookie", &cookie.emit(), &expected);
    let refusal = Refusal { reason: RefusalReason::Feature, version: 7, receiver };
    let expected: [(&str, &[u8]); 5] =
        [("type", &[0x83]), ("reason", &[3]), ("version", &[7]), ("reserved", &[0]), ("receiver", &[0, 1, 2, 3])];
    assert_layout("Refusal", &refusal.emit(), &expected);
    let reasons =
        [(RefusalReason::Version, "version"), (RefusalReason::Pattern, "pattern"), (RefusalReason::Feature, "feature")];
    assert_eq!(names("Refusal reasons"), reasons.map(|(reason, name)| (reason as usize, name.to_string())).into());
}

#[test]
fn the_data_header_is_as_documented() {
    let header = DataHeader {
        flags: DataFlags::default(),
        receiver: index(0x01_0203),
        link: 0b1_0101,
        domain: 0b011,
        counter_low: 0x0405_0607,
        order_low: 0x08_090a,
        send_time: 0x0b0c,
    };
    let expected: [(&str, &[u8]); 6] = [
        ("flags", &[0xc0]),
        ("receiver", &[1, 2, 3]),
        ("link and domain", &[0b0111_0101]),
        ("counter", &[4, 5, 6, 7]),
        ("order", &[8, 9, 10]),
        ("send time", &[11, 12]),
    ];
    assert_layout("Data", &header.emit(), &expected);
    let flags = [
        ("control", DataFlags { control: true, ..DataFlags::default() }),
        ("resend", DataFlags { resend: true, ..DataFlags::default() }),
        ("duplicate", DataFlags { duplicate: true, ..DataFlags::default() }),
        ("congestion", DataFlags { congestion: true, ..DataFlags::default() }),
    ];
    let bit = |flags| (DataHeader { flags, ..header }.emit()[0] ^ 0xc0).trailing_zeros() as usize;
    assert_eq!(names("Data flags"), flags.map(|(name, flags)| (bit(flags), name.to_string())).into());
}

#[test]
fn the_control_frames_are_as_documented() {
    let frames: [(Control, &str); 12] = [
        (Control::Probe { id: 1 }, "Probe"),
        (Control::ProbeReply { id: 1 }, "ProbeReply"),
        (Control::Challenge { token: 1 }, "Challenge"),
        (Control::ChallengeReply { token: 1 }, "ChallengeReply"),
        (Control::SizeProbe { len: 1 }, "SizeProbe"),
        (Control::SizeReply { len: 1 }, "SizeReply"),
        (Control::Fresh, "Fresh"),
        (Control::Leave, "Leave"),
        (Control::Close, "Close"),
        (Control::Report(Report::default()), "Report"),
        (Control::Terms(Terms::default()), "Terms"),
        (Control::TermsReply { number: 1 }, "TermsReply"),
    ];
    let encoded = |frame: &Control| {
        let mut block = [0; 64];
        let len = control::emit(std::slice::from_ref(frame), &mut block).expect("a short frame");
        (usize::from(block[1]), len)
    };
    let numbered = frames.iter().map(|(frame, name)| (encoded(frame).0, (*name).to_string())).collect();
    assert_eq!(names("Control frames"), numbered);
    for ((frame, name), row) in frames.iter().zip(table("Control frames")) {
        // The length byte, the number, and a byte for each field whose value is small.
        let fields = row[2].split(' ').filter(|word| word.parse::<u8>().is_ok()).count();
        assert!(matches!(*name, "Report" | "Terms") || encoded(frame).1 == 2 + fields, "{name}");
    }
}

#[test]
fn terms_are_as_documented() {
    let terms =
        Terms { number: 1, tier: 2, weight: 3, is_backup: true, is_metered: true, stop: Stop::Hard, rate: 0x7f };
    let mut block = [0; 64];
    let len = control::emit(&[Control::Terms(terms)], &mut block).expect("a short frame");
    let expected: [(&str, &[u8]); 7] = [
        ("number", &[1]),
        ("tier", &[2]),
        ("weight", &[3]),
        ("backup", &[1]),
        ("metered", &[1]),
        ("stop", &[2]),
        ("rate", &[0x7f]),
    ];
    assert_layout("Terms", &block[2..len], &expected);
}

#[test]
fn a_report_is_as_documented() {
    let report = Report {
        link: 1,
        session: 0x2a,
        from: 70_000,
        span: 300,
        gaps: [Gap { after: 100, len: 2 }].into_iter().collect(),
        bytes: 150_000,
        busy_bytes: 9_000,
        busy_micros: 4_500,
        echo: 4_660,
        hold: 5,
        least: 40_000,
        jitter: 12,
    };
    let shown = format!("{report:?}");
    let fields: Vec<String> = table("Report").iter().map(|row| row[0].replace(' ', "_")).collect();
    let mut rest = shown.as_str();
    for field in &fields {
        let at = rest.find(&format!("{field}: ")).unwrap_or_else(|| panic!("{field} is not next in {rest}"));
        rest = &rest[at + 1..];
    }
    assert_eq!(fields.len(), 12);
    let mut block = [0; 64];
    let len = control::emit(&[Control::Report(report)], &mut block).expect("a short frame");
    let hex: Vec<String> = block[..len].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(DOCUMENT.contains(&format!("\n    {}\n", hex.join(" "))), "the vector is {}", hex.join(" "));
    assert!(DOCUMENT.contains(&format!("at most {} frames in {} bytes", control::MAX_FRAMES, control::MAX_BLOCK)));
    assert!(DOCUMENT.contains(&format!("| 0 to {} times |", control::MAX_GAPS)));
    assert!(DOCUMENT.contains(&format!("reports on a link {} ms after", REPORT_INTERVAL.millis())));
}

// SPDX-License-Identifier: BSD-2-Clause
//! Sessions recorded on the wire between two MLVPN 2.3.5 daemons, decoded with PyNaCl apart from this program.

use mlvpn_core::memory::classic::{Header, Kind, NO_TIMESTAMP};
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::words::ids::{FlowId, LinkId, Medium, Order};
use mlvpn_core::words::limits::TAG;
use serde::Deserialize;

/// The recordings by name. They are part of the program, so that a test runs on a machine that has no sources.
const SESSIONS: [(&str, &str); 3] = [
    ("encrypted", include_str!("../vectors/mlvpn-2.3.5/session-encrypted.json")),
    ("cleartext", include_str!("../vectors/mlvpn-2.3.5/session-cleartext.json")),
    ("tap", include_str!("../vectors/mlvpn-2.3.5/session-tap.json")),
];

/// All recorded sessions, each with its name.
#[must_use]
pub fn sessions() -> Vec<(&'static str, Session)> {
    SESSIONS.map(|(name, text)| (name, serde_json::from_str(text).expect("a recording is valid JSON"))).into()
}

/// One recorded session over two links, `l1` and `l2`.
#[derive(Debug, Deserialize)]
pub struct Session {
    /// The password both ends shared.
    pub password: String,
    /// The key made of it, in hexadecimal.
    pub key_blake2b_256: String,
    /// Whether data travelled unsealed.
    pub cleartext_data: bool,
    device: String,
    /// Every datagram, by time.
    pub packets: Vec<Packet>,
}

impl Session {
    /// What the device carried.
    #[must_use]
    pub fn medium(&self) -> Medium {
        match self.device.as_str() {
            "tap" => Medium::Ethernet,
            _ => Medium::Ip,
        }
    }

    /// The key derived from the password.
    #[must_use]
    pub fn key(&self) -> ClassicKey {
        ClassicKey::from_password(self.password.as_bytes())
    }
}

/// Which end sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The client.
    ClientToServer,
    /// The server.
    ServerToClient,
}

/// One datagram.
#[derive(Debug, Deserialize)]
pub struct Packet {
    /// When it was seen, in microseconds since the first.
    pub at_us: u64,
    link: String,
    /// Who sent it.
    pub direction: Direction,
    /// Its bytes.
    #[serde(deserialize_with = "hex")]
    pub datagram: Vec<u8>,
    /// What it says.
    pub decoded: Decoded,
}

impl Packet {
    /// The link it travelled on: `l1` is the first.
    #[must_use]
    pub fn link(&self) -> LinkId {
        LinkId::new(usize::from(self.link == "l2"))
    }
}

/// The fields of a datagram and the plaintext of its body.
#[derive(Debug, Deserialize)]
pub struct Decoded {
    #[serde(rename = "type")]
    kind: String,
    /// Protocol version.
    pub version: u16,
    reorder: u8,
    /// The five bits without a meaning.
    pub unused: u16,
    timestamp: u16,
    timestamp_reply: u16,
    flow_id: u32,
    seq: u64,
    data_seq: u64,
    /// The body without its tag.
    #[serde(deserialize_with = "hex")]
    pub plaintext: Vec<u8>,
}

impl Decoded {
    /// The packet's type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.kind.as_str() {
            "AUTH" => Kind::Auth,
            "AUTH_OK" => Kind::AuthOk,
            "KEEPALIVE" => Kind::KeepAlive,
            "DATA" => Kind::Data,
            "DISCONNECT" => Kind::Disconnect,
            other => panic!("a recording has a packet of type {other}"),
        }
    }

    /// The header that says all this, of a body sealed or bare.
    #[must_use]
    pub fn header(&self, sealed: bool) -> Header {
        let body_len = self.plaintext.len() + if sealed { TAG } else { 0 };
        Header {
            body_len: u16::try_from(body_len).expect("a body fits its datagram"),
            kind: self.kind(),
            ordered: self.reorder == 1,
            timestamp: Some(self.timestamp).filter(|value| *value != NO_TIMESTAMP),
            timestamp_reply: Some(self.timestamp_reply).filter(|value| *value != NO_TIMESTAMP),
            flow: FlowId(self.flow_id),
            counter: self.seq,
            order: Order(self.data_seq),
        }
    }
}

/// Bytes from hexadecimal digits; None when they are no such digits or an odd number of them.
#[must_use]
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok()).collect()
}

fn hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let digits = String::deserialize(deserializer)?;
    from_hex(&digits).ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_read_in_pairs() {
        assert_eq!(from_hex("00ff7f"), Some(vec![0, 255, 127]));
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Seal: a packet and the right to send it become a datagram.

use core::net::SocketAddr;

use crate::memory::classic::{Header, Kind};
use crate::state::keys::ClassicKey;
use crate::words::drops::DropReason;
use crate::words::ids::{Epoch, LinkId};
use crate::words::limits::{CLASSIC_HEADER, TAG};

/// The right to send one packet: its nonce, its link and the key epoch it was prepared under. Moved into
/// [`Sealer::seal`], so that a nonce cannot be used twice.
#[derive(Debug)]
#[must_use = "a ticket that is not sealed is a packet number lost"]
pub struct Ticket {
    pub(crate) header: Header,
    pub(crate) epoch: Epoch,
    pub(crate) link: LinkId,
    pub(crate) to: SocketAddr,
}

impl Ticket {
    /// The link to send on.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// The address to send to.
    #[must_use]
    pub const fn to(&self) -> SocketAddr {
        self.to
    }
}

/// Seals packets. Pure: it may be copied to another core and run there.
#[derive(Clone, Debug)]
pub struct Sealer {
    key: ClassicKey,
    cleartext_data: bool,
    epoch: Epoch,
}

impl Sealer {
    /// A sealer of `epoch`; with `cleartext_data` data bodies travel bare.
    #[must_use]
    pub const fn new(key: ClassicKey, cleartext_data: bool, epoch: Epoch) -> Self {
        Self { key, cleartext_data, epoch }
    }

    /// Writes the datagram of `body` to the front of `out` and returns its length.
    ///
    /// # Errors
    /// [`DropReason::StaleKey`] when the ticket is of another epoch, [`DropReason::TooBig`] when `out` is too small.
    pub fn seal(&self, ticket: Ticket, body: &[u8], out: &mut [u8]) -> Result<usize, DropReason> {
        let Ticket { mut header, epoch, .. } = ticket;
        if epoch != self.epoch {
            return Err(DropReason::StaleKey);
        }
        let bare = self.cleartext_data && header.kind == Kind::Data;
        let body_len = body.len().saturating_add(if bare { 0 } else { TAG });
        header.body_len = u16::try_from(body_len).map_err(|_| DropReason::TooBig)?;
        let len = CLASSIC_HEADER.saturating_add(body_len);
        let (front, rest) = out
            .get_mut(..len)
            .and_then(|out| out.split_first_chunk_mut::<CLASSIC_HEADER>())
            .ok_or(DropReason::TooBig)?;
        *front = header.emit();
        if bare {
            rest.copy_from_slice(body);
        } else if !self.key.seal(&header.nonce(), body, rest) {
            return Err(DropReason::TooBig);
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::net::{Ipv4Addr, SocketAddr};
    use std::vec::Vec;

    use serde_json::Value;

    use super::*;
    use crate::memory::classic::NO_TIMESTAMP;
    use crate::words::ids::{FlowId, Order};
    use crate::words::limits::MAX_DATAGRAM;

    fn ticket(epoch: Epoch) -> Ticket {
        let header = Header {
            body_len: 0,
            kind: Kind::Data,
            ordered: true,
            timestamp: None,
            timestamp_reply: None,
            flow: FlowId(1),
            counter: 2,
            order: Order(3),
        };
        Ticket { header, epoch, link: LinkId::new(0), to: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)) }
    }

    #[test]
    fn a_ticket_of_an_earlier_key_is_refused() {
        let old = Epoch::default();
        let sealer = Sealer::new(ClassicKey::from_password(b"new"), false, old.next());
        let mut out = [0; 100];
        assert_eq!(sealer.seal(ticket(old), b"data", &mut out), Err(DropReason::StaleKey));
        assert_eq!(sealer.seal(ticket(old.next()), b"data", &mut out), Ok(CLASSIC_HEADER + TAG + 4));
    }

    #[test]
    fn a_buffer_too_small_is_refused_at_every_length() {
        for (cleartext, whole) in [(false, CLASSIC_HEADER + TAG + 4), (true, CLASSIC_HEADER + 4)] {
            let sealer = Sealer::new(ClassicKey::from_password(b"key"), cleartext, Epoch::default());
            for len in 0..whole {
                let sealed = sealer.seal(ticket(Epoch::default()), b"data", &mut [0; 100][..len]);
                assert_eq!(sealed, Err(DropReason::TooBig), "{len}");
            }
            assert_eq!(sealer.seal(ticket(Epoch::default()), b"data", &mut [0; 100]), Ok(whole));
        }
    }
    /// Sessions recorded between two MLVPN 2.3.5 daemons, decoded apart from this program.
    const RECORDED: [&str; 3] = [
        include_str!("../../../tests/vectors/mlvpn-2.3.5/session-encrypted.json"),
        include_str!("../../../tests/vectors/mlvpn-2.3.5/session-cleartext.json"),
        include_str!("../../../tests/vectors/mlvpn-2.3.5/session-tap.json"),
    ];

    /// The header that a recorded packet's decoded fields make. Its length is left to the sealer.
    fn recorded_header(decoded: &Value) -> Header {
        let number = |name: &str| decoded[name].as_u64().expect("a number");
        let timestamp = |name| u16::try_from(number(name)).ok().filter(|value| *value != NO_TIMESTAMP);
        let kind = match decoded["type"].as_str().expect("a type") {
            "AUTH" => Kind::Auth,
            "AUTH_OK" => Kind::AuthOk,
            "KEEPALIVE" => Kind::KeepAlive,
            "DATA" => Kind::Data,
            "DISCONNECT" => Kind::Disconnect,
            other => panic!("a packet of type {other}"),
        };
        Header {
            body_len: 0,
            kind,
            ordered: number("reorder") == 1,
            timestamp: timestamp("timestamp"),
            timestamp_reply: timestamp("timestamp_reply"),
            flow: FlowId(u32::try_from(number("flow_id")).expect("32 bits")),
            counter: number("seq"),
            order: Order(number("data_seq")),
        }
    }

    fn bytes(hex: &Value) -> Vec<u8> {
        let pairs = hex.as_str().expect("digits").as_bytes().chunks_exact(2);
        pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).expect("hexadecimal")).collect()
    }

    #[test]
    fn the_recorded_fields_and_plaintexts_seal_to_the_recorded_datagrams() {
        for session in RECORDED.map(|text| serde_json::from_str::<Value>(text).expect("JSON")) {
            let key = ClassicKey::from_password(session["password"].as_str().expect("a password").as_bytes());
            let sealer = Sealer::new(key, session["cleartext_data"] == true, Epoch::default());
            let packets = session["packets"].as_array().expect("packets");
            assert!(packets.len() >= 48, "a recording is cut short");
            for (index, packet) in packets.iter().enumerate() {
                let ticket = Ticket { header: recorded_header(&packet["decoded"]), ..ticket(Epoch::default()) };
                let mut out = [0; MAX_DATAGRAM];
                let len = sealer.seal(ticket, &bytes(&packet["decoded"]["plaintext"]), &mut out).expect("it fits");
                assert_eq!(out[..len], bytes(&packet["datagram"]), "packet {index}");
            }
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What the fuzz targets do with their input. A plain test runs the same over the committed corpus.

mod bus;
mod port;
mod two;
mod uci;

use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::memory::classic::{Header, Kind, NO_TIMESTAMP};
use mlvpn_core::memory::packet::Packet;
use mlvpn_core::stages::classify::{FlowKey, classify};
use mlvpn_core::stages::too_big;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::{Arrival, Config};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::{FlowId, LinkId, Medium, Order};
use mlvpn_core::words::limits::{CLASSIC_HEADER, EGRESS_SLOTS, MAX_DATAGRAM, MAX_MTU, MIN_MTU, PACKET_CAPACITY, TAG};
use mlvpn_core::words::policy::LinkPolicy;
use mlvpn_core::words::time::{Duration, Instant};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use crate::end::{self, End};
pub use bus::{blobmsg, ubus};
pub use port::{config, filter, link_spec, monitor_request, netlink, trace};
pub use two::{control_block, session, two_messages};
pub use uci::{quoted, uci};

/// A target's name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this module.
pub const TARGETS: [Target; 15] = [
    ("classic_header", classic_header),
    ("classify_too_big", classify_too_big),
    ("engine", engine),
    ("two_messages", two_messages),
    ("control_block", control_block),
    ("session", session),
    ("config", config),
    ("netlink", netlink),
    ("monitor_request", monitor_request),
    ("link_spec", link_spec),
    ("trace", trace),
    ("blobmsg", blobmsg),
    ("ubus", ubus),
    ("uci", uci),
    ("filter", filter),
];

/// A header that parses says all there is in its bytes but the unused bits.
pub fn classic_header(data: &[u8]) {
    let Ok(header) = Header::parse(data) else { return };
    let mut expected = *data.first_chunk::<CLASSIC_HEADER>().expect("what parses holds a header");
    // The upper five bits of the little-endian field of bits have no meaning.
    expected[3] &= 0x07;
    assert_eq!(header.emit(), expected);
    assert_eq!(usize::from(header.body_len), data.len() - CLASSIC_HEADER);
    assert_eq!(header.has_tag(), data.len() >= CLASSIC_HEADER + TAG);
    assert!(header.timestamp != Some(NO_TIMESTAMP) && header.timestamp_reply != Some(NO_TIMESTAMP));
    let mut again = data.to_vec();
    again[..CLASSIC_HEADER].copy_from_slice(&header.emit());
    assert_eq!(Header::parse(&again), Ok(header));
}

/// Whatever the device hands over is classified, and the answer to what is too big is a valid packet.
///
/// Input: a byte for the medium, two for the MTU, the packet.
pub fn classify_too_big(data: &[u8]) {
    let Some((&[medium, high, low], bytes)) = data.split_first_chunk() else { return };
    let medium = if medium & 1 == 0 { Medium::Ip } else { Medium::Ethernet };
    let mtu = MIN_MTU + u16::from_be_bytes([high, low]) % (MAX_MTU - MIN_MTU + 1);
    let mut packet = Packet::new();
    if !packet.copy_from(bytes) {
        return;
    }
    let answered = too_big::answer(&mut packet, medium, mtu);
    if !answered {
        assert_eq!(packet.as_bytes(), bytes, "what is not answered is not changed");
        return;
    }
    let header = match (medium, bytes.get(12..14)) {
        (Medium::Ip, _) => 0,
        (Medium::Ethernet, Some([0x81, 0x00])) => 18,
        (Medium::Ethernet, _) => 14,
    };
    let inner = &packet.as_bytes()[header..];
    if inner[0] >> 4 == 4 {
        let answer = Ipv4Packet::new_checked(inner).expect("an answer is a whole packet");
        assert!(answer.verify_checksum() && inner.len() <= 576);
    } else {
        Ipv6Packet::new_checked(inner).expect("an answer is a whole packet");
        assert!(inner.len() <= 1280);
    }
    // The device's own limit lets the answer back in, unless a tiny MTU meets IPv6, which needs 1280.
    let refused = classify(packet.as_bytes(), medium, mtu.max(1280), &FlowKey::new([0; 16]));
    assert!(refused.is_ok(), "an answer is no packet: {refused:?}");
}

/// One end of a tunnel is told anything in any order; it must neither panic, nor lose a slot, nor stand still.
///
/// Input: a byte of configuration, then steps, each a byte that says what and the bytes it needs.
pub fn engine(data: &[u8]) {
    let mut input = Input(data);
    let mut run = Run::new(input.byte());
    while !input.0.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.finish();
}

/// Bytes taken from the front; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Up to `len` bytes, as many as there are.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

const LINKS: usize = 2;
const SLOTS: usize = 96;

/// An end and what its world has become.
struct Run {
    end: End<LINKS, 8, SLOTS>,
    config: Config,
    now: Instant,
    /// The order number that sealed data goes on from.
    order: u64,
    counter: u64,
}

impl Run {
    fn new(bits: u8) -> Self {
        let mut config = end::config(if bits & 1 == 0 { Role::Server } else { Role::Client });
        config.cleartext_data = bits & 2 != 0;
        config.medium = if bits & 4 == 0 { Medium::Ip } else { Medium::Ethernet };
        config.reorder = bits & 8 == 0;
        let now = Instant::from_micros(1_000_000);
        let mut end = End::new(config.clone(), 7);
        for id in (0..LINKS).map(LinkId::new) {
            assert!(end.tunnel.set_link(id, LinkSettings::default(), now));
            end.tunnel.open_link(id, Some(address(0)), now);
        }
        Self { end, config, now, order: 0, counter: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        let id = LinkId::new(usize::from(what >> 4) % (LINKS + 1));
        match what & 0x0f {
            0..=2 => {
                let from = address(input.byte());
                let len = usize::from(input.byte());
                self.receive(id, from, input.take(len));
            }
            3..=6 => self.receive_sealed(id, input),
            7..=8 => {
                let len = usize::from(input.short()) % (PACKET_CAPACITY + 1);
                let mut packet = input.take(len).to_vec();
                packet.resize(len, 0);
                self.end.send(&packet);
            }
            9 => {
                self.now += Duration::from_millis(u64::from(input.byte()) * 10);
                self.end.tunnel.handle_timeout(self.now);
            }
            10 => self.change_link(id, input.byte()),
            11 => self.end.tunnel.set_blocked(id, input.byte() & 1 == 1),
            12 => {
                self.config.mtu = MIN_MTU + input.short() % (MAX_MTU - MIN_MTU + 1);
                self.config.reorder = input.byte() & 1 == 0;
                self.end.tunnel.configure(self.config.clone());
            }
            // A port that is slow: nothing is drained until the next of these.
            _ => drop(self.end.drain(self.now)),
        }
    }

    fn change_link(&mut self, id: LinkId, bits: u8) {
        let settings = LinkSettings {
            rate_bytes_per_sec: u64::from(bits >> 4) * 100_000,
            timeout: Duration::from_secs(2 + u64::from(bits >> 5)),
            loss_tolerance: bits >> 1,
            latency_tolerance: Duration::from_millis(u64::from(bits)),
            fallback_only: bits & 8 != 0,
            policy: LinkPolicy { tier: bits >> 4, weight: bits, is_metered: bits & 1 != 0, ..LinkPolicy::default() },
        };
        match bits & 7 {
            0 => self.end.tunnel.close_link(id),
            1 => self.end.tunnel.open_link(id, None, self.now),
            2 => self.end.tunnel.open_link(id, Some(address(bits)), self.now),
            3 => self.end.tunnel.remove_link(id),
            4 => self.end.tunnel.disconnect_link(id),
            _ => assert_eq!(self.end.tunnel.set_link(id, settings, self.now), id.index() < LINKS),
        }
    }

    fn receive(&mut self, link: LinkId, from: SocketAddr, bytes: &[u8]) {
        self.end.receive(bytes, Arrival { link, from, ecn: Ecn::NotEct, at: self.now });
    }

    /// A datagram that opens, with a header as wild as the input likes.
    fn receive_sealed(&mut self, link: LinkId, input: &mut Input<'_>) {
        let [bits, flow, step, jump] = [input.byte(), input.byte(), input.byte(), input.byte()];
        let kind = [Kind::Auth, Kind::AuthOk, Kind::KeepAlive, Kind::Data, Kind::Disconnect][usize::from(bits & 7) % 5];
        let len = usize::from(input.byte());
        let body = input.take(len);
        let sealed = !(self.config.cleartext_data && kind == Kind::Data);
        self.counter = self.counter.wrapping_add(u64::from(step)).wrapping_sub(2);
        // Mostly small steps; now and then to the end of the numbers, or back.
        self.order = match jump {
            0xff => u64::MAX,
            0xfe => 0,
            jump => self.order.wrapping_add(u64::from(jump % 16)).wrapping_sub(4),
        };
        let header = Header {
            body_len: u16::try_from(body.len() + if sealed { TAG } else { 0 }).expect("a short body"),
            kind,
            ordered: bits & 8 == 0,
            timestamp: (bits & 16 == 0).then_some(u16::from(step) << 8),
            timestamp_reply: (bits & 32 == 0).then(|| u16::from(jump) << 6),
            flow: FlowId(u32::from(flow % 12)),
            counter: self.counter,
            order: Order(self.order),
        };
        let mut datagram = header.emit().to_vec();
        datagram.resize(CLASSIC_HEADER + usize::from(header.body_len), 0);
        if sealed {
            assert!(self.config.key.seal(&header.nonce(), body, &mut datagram[CLASSIC_HEADER..]));
        } else {
            datagram[CLASSIC_HEADER..].copy_from_slice(body);
        }
        self.receive(link, address(flow & 1), &datagram);
    }

    /// What holds however little the port has drained.
    fn check(&self) {
        let tunnel = &self.end.tunnel;
        assert!(tunnel.reordering() < 8, "more held than the window has places");
        assert!(self.end.in_use() <= 8 + EGRESS_SLOTS, "{} slots in use: one is lost", self.end.in_use());
        for id in (0..LINKS).map(LinkId::new) {
            assert!(tunnel.link(id).is_none_or(|link| link.loss_percent() <= 100));
        }
    }

    /// Time moves on, everything drains, and every slot comes back.
    fn finish(mut self) {
        for id in (0..LINKS).map(LinkId::new) {
            self.end.tunnel.set_blocked(id, false);
        }
        for datagram in self.end.drain(self.now) {
            assert!(datagram.bytes.len() <= MAX_DATAGRAM && Header::parse(&datagram.bytes).is_ok());
        }
        assert_eq!(self.end.in_use(), self.end.tunnel.reordering());
        // Two rounds: the first may take a link down, which then has something to do at once.
        for _ in 0..2 {
            self.end.tunnel.handle_timeout(self.now);
        }
        let next = self.end.tunnel.poll_timeout();
        assert!(next.is_none_or(|next| next.at > self.now), "{next:?} was due by {:?}", self.now);
        self.now += Duration::from_secs(10);
        self.end.tunnel.handle_timeout(self.now);
        drop(self.end.drain(self.now));
        assert_eq!(self.end.in_use(), 0, "a slot is lost");
    }
}

fn address(bits: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, bits & 3), 5_080))
}

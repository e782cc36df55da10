// SPDX-License-Identifier: BSD-2-Clause
//! A probe as an interactive program sends: a small UDP packet at a steady pace, whose one-way latency is noted.

use std::net::Ipv4Addr;

use mlvpn_core::words::time::{Duration, Instant};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr};

/// From one packet to the next.
const INTERVAL: Duration = Duration::from_millis(20);

/// Bytes of UDP payload: those of a voice packet of 20 ms at 8 kbit/s.
const PAYLOAD: usize = 32;

/// The port both sides use, by which a host knows the probe.
pub const PORT: u16 = 7_000;

/// One direction of the probe.
#[derive(Debug)]
pub struct Probe {
    next_at: Instant,
    from: Ipv4Addr,
    to: Ipv4Addr,
    counts_from: Instant,
    sent: u64,
    /// Latencies in microseconds, in the order of arrival.
    latencies: Vec<u64>,
}

/// What a probe measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of the packets took at most this long, in microseconds.
    pub median: u64,
    /// 99 of 100 that arrived did.
    pub p99: u64,
    /// The slowest.
    pub worst: u64,
    /// Packets lost, in millionths.
    pub lost_millionths: u64,
}

impl Probe {
    /// Sends from `at` on; counts what is sent from `counts_from` on.
    #[must_use]
    pub const fn new(at: Instant, (from, to): (Ipv4Addr, Ipv4Addr), counts_from: Instant) -> Self {
        Self { next_at: at, from, to, counts_from, sent: 0, latencies: Vec::new() }
    }

    /// When the next packet is due.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.next_at
    }

    /// The packet that is due.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_at > now {
            return None;
        }
        self.next_at += INTERVAL;
        self.sent += u64::from(now >= self.counts_from);
        let udp = UdpRepr { src_port: PORT, dst_port: PORT };
        let ip = Ipv4Repr {
            src_addr: self.from,
            dst_addr: self.to,
            next_header: IpProtocol::Udp,
            payload_len: udp.header_len() + PAYLOAD,
            hop_limit: 64,
        };
        let mut bytes = vec![0; ip.buffer_len() + ip.payload_len];
        let ignored = ChecksumCapabilities::ignored();
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ignored);
        let mut packet = UdpPacket::new_unchecked(&mut bytes[ip.buffer_len()..]);
        let (from, to) = (IpAddress::Ipv4(self.from), IpAddress::Ipv4(self.to));
        let stamp = |payload: &mut [u8]| payload[..8].copy_from_slice(&now.micros().to_be_bytes());
        udp.emit(&mut packet, &from, &to, PAYLOAD, stamp, &ignored);
        Some(bytes)
    }

    /// A packet of this direction arrived.
    pub fn receive(&mut self, packet: &[u8], now: Instant) {
        let stamp = packet.get(28..).and_then(|payload| payload.first_chunk());
        let Some(sent_at) = stamp.map(|bytes| Instant::from_micros(u64::from_be_bytes(*bytes))) else { return };
        if sent_at >= self.counts_from {
            self.latencies.push(now.since(sent_at).micros());
        }
    }

    /// What was measured; packets still on their way count as lost.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
        let arrived = sorted.len() as u64;
        Latency {
            median: at(50).copied().unwrap_or(0),
            p99: at(99).copied().unwrap_or(0),
            worst: sorted.last().copied().unwrap_or(0),
            lost_millionths: self.sent.saturating_sub(arrived) * 1_000_000 / self.sent.max(1),
        }
    }
}

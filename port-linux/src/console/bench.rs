// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpn bench`: what this machine's processor can seal and open, and what the whole engine can carry on one core.

use std::io::{self, Write};
use std::process::ExitCode;

use mlvpn_core::state::handshake::Offer;
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::state::session_key::{Aead, SessionKey};
use mlvpn_core::tunnel::peer::config::PeerConfig;
use mlvpn_core::words::ids::Medium;
use mlvpn_core::words::limits::{EGRESS_SLOTS, TAG};
use mlvpn_core::words::time::{Duration, Instant};
use serde_json::json;

use super::figures::rate;
use crate::clock;
use crate::diagnostics;
use crate::lab::engine::TunnelEnd;
use crate::lab::virtual_time::Endpoint;

/// Inner packets, in bytes: a bare TCP acknowledgement, a small one, and what fills a datagram.
const SIZES: [usize; 3] = [40, 512, 1_400];

/// Rounds of a figure; the least and the most are of these.
const ROUNDS: usize = 5;

/// Packets between two looks at the clock.
const BURST: u32 = 256;

/// As the daemon has.
const WINDOW: usize = 1024;

type End = TunnelEnd<1, WINDOW, { WINDOW + EGRESS_SLOTS + 1 }>;

/// Made-up time from one packet to the next: a link of 1.1 Gbit/s, so that no pacing is in the way.
const SPACING: Duration = Duration::from_micros(10);

/// What that link is said to carry, in bytes per second: more than is sent.
const LINK_RATE: u64 = 1_250_000_000;

/// How long the ends may take to agree, in steps of a made-up millisecond.
const MOST_STEPS: usize = 10_000;

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// How long each figure takes, in milliseconds.
    pub millis: u32,
    /// For programs.
    pub json: bool,
}

/// A figure.
struct Figure {
    what: &'static str,
    size: usize,
    /// Bytes of packets a second: the least, the mean and the most of the rounds.
    bytes_per_sec: [u64; 3],
}

/// Measures and prints.
#[must_use]
pub fn run(options: BenchOptions) -> ExitCode {
    match measure(options).and_then(|text| io::stdout().write_all(text.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            diagnostics::say(format_args!("mlvpn: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(options: BenchOptions) -> io::Result<String> {
    let round = Duration::from_millis(u64::from(options.millis) / ROUNDS as u64);
    let mut figures = Vec::new();
    for size in SIZES {
        for (what, aead) in [("chacha20-poly1305", Aead::ChaCha20Poly1305), ("aes-256-gcm", Aead::Aes256Gcm)] {
            if let Some(key) = SessionKey::new(aead, &[7; 32]) {
                let mut packet = vec![0; size.saturating_add(TAG)];
                let mut number = 0_u32;
                figures.push(Figure::of(what, size, round, || {
                    number = number.wrapping_add(1);
                    let mut nonce = [0; 12];
                    nonce[..4].copy_from_slice(&number.to_le_bytes());
                    key.seal_in_place(&nonce, &[], &mut packet) && key.open(&nonce, &[], &mut packet).is_ok()
                })?);
            }
        }
        let key = ClassicKey::from_password(b"only for measuring");
        let (plain, mut sealed) = (vec![0; size], vec![0; size.saturating_add(TAG)]);
        figures.push(Figure::of("xsalsa20-poly1305", size, round, || {
            key.seal(&[7; 24], &plain, &mut sealed) && key.open(&[7; 24], &mut sealed).is_ok()
        })?);
        let mut ends = Ends::up()?;
        let packet = packet(size);
        figures.push(Figure::of("whole engine", size, round, || ends.carry(&packet))?);
    }
    Ok(if options.json { as_json(&figures) } else { as_table(&figures) })
}

impl Figure {
    /// Has `work` done for a packet of `size` bytes again and again.
    fn of(what: &'static str, size: usize, round: Duration, mut work: impl FnMut() -> bool) -> io::Result<Self> {
        let mut rates = [0_u64; ROUNDS];
        for rate in &mut rates {
            let (began, mut packets) = (clock::now(), 0_u64);
            let mut elapsed = Duration::ZERO;
            while elapsed < round || packets == 0 {
                for _ in 0..BURST {
                    if !work() {
                        return Err(io::Error::other(format!("{what} lost a packet of {size} bytes")));
                    }
                }
                packets = packets.saturating_add(BURST.into());
                elapsed = clock::now().since(began);
            }
            let bytes = packets.saturating_mul(size as u64);
            *rate = bytes.saturating_mul(1_000_000) / elapsed.micros().max(1);
        }
        let sum: u64 = rates.iter().sum();
        let (least, most) = rates.iter().fold((u64::MAX, 0), |(least, most), rate| (least.min(*rate), most.max(*rate)));
        Ok(Self { what, size, bytes_per_sec: [least, sum / ROUNDS as u64, most] })
    }
}

/// Both ends of a tunnel in one process, with made-up time.
struct Ends {
    client: End,
    server: End,
    now: Instant,
}

impl Ends {
    fn up() -> io::Result<Self> {
        let offer = Offer { aes_in_hardware: false, max_links: 1 };
        let allowed = std::iter::empty().collect();
        let config = PeerConfig { medium: Medium::Ip, max_mtu: 1_420, reorder: true, offer, allowed };
        let now = Instant::from_micros(1_000_000);
        let end = |role, seed| {
            let secret = SharedSecret::from_random([9; 32].into());
            let mut end = End::new(role, config.clone(), secret, [seed; 32]);
            let settings = LinkSettings { rate_bytes_per_sec: LINK_RATE, ..LinkSettings::default() };
            end.open_link(0, settings, now);
            end
        };
        let mut ends = Self { client: end(Role::Client, 1), server: end(Role::Server, 2), now };
        for _ in 0..MOST_STEPS {
            ends.pass(Duration::from_millis(1));
            if ends.client.peer().is_up() && ends.server.peer().is_up() {
                return Ok(ends);
            }
        }
        Err(io::Error::other("the two ends did not agree"))
    }

    /// Sends a packet at the client and has it come out of the server.
    fn carry(&mut self, packet: &[u8]) -> bool {
        self.client.on_datagram(End::DEVICE, packet.to_vec(), self.now);
        for _ in 0..MOST_STEPS {
            if self.pass(SPACING) > 0 {
                return true;
            }
        }
        false
    }

    /// Lets made-up time pass and everything that waits go its way; how many packets came out of the server.
    fn pass(&mut self, step: Duration) -> usize {
        self.now += step;
        let now = self.now;
        let mut delivered = 0;
        for end in [&mut self.client, &mut self.server] {
            if end.next_deadline().is_some_and(|at| at <= now) {
                end.on_timer(now);
            }
        }
        loop {
            let mut is_done = true;
            while let Some((port, datagram)) = self.client.poll_transmit(now) {
                is_done = false;
                if port != End::DEVICE {
                    self.server.on_datagram(port, datagram, now);
                }
            }
            while let Some((port, datagram)) = self.server.poll_transmit(now) {
                is_done = false;
                if port == End::DEVICE {
                    delivered += 1;
                } else {
                    self.client.on_datagram(port, datagram, now);
                }
            }
            if is_done {
                return delivered;
            }
        }
    }
}

/// An IPv4 packet of this length with nothing in it.
fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    let total = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let header = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet[..header.len()].copy_from_slice(&header);
    packet
}

fn as_table(figures: &[Figure]) -> String {
    let mut text = format!("{:18} {:>6} {:>12} {:>12} {:>12}\n", "sealed and opened", "bytes", "least", "mean", "most");
    for Figure { what, size, bytes_per_sec } in figures {
        let [least, mean, most] = bytes_per_sec.map(rate);
        text.push_str(&format!("{what:18} {size:6} {least:>12} {mean:>12} {most:>12}\n"));
    }
    text.push_str(
        "On one core. The whole engine: from one device to the other, both ends, without the kernel's part.\n",
    );
    text
}

fn as_json(figures: &[Figure]) -> String {
    let figures: Vec<_> = figures
        .iter()
        .map(|figure| {
            let [least, mean, most] = figure.bytes_per_sec;
            json!({"what": figure.what, "packet_bytes": figure.size, "least_bytes_per_sec": least,
                   "mean_bytes_per_sec": mean, "most_bytes_per_sec": most})
        })
        .collect();
    format!("{}\n", json!({ "figures": figures }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_and_the_engine_are_measured_at_every_size() {
        let text = measure(BenchOptions { millis: 1, json: true }).expect("figures");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let figures = value["figures"].as_array().expect("a list");
        for what in ["chacha20-poly1305", "xsalsa20-poly1305", "whole engine"] {
            let of = figures.iter().filter(|figure| figure["what"] == what);
            let sizes: Vec<u64> = of.clone().filter_map(|figure| figure["packet_bytes"].as_u64()).collect();
            assert_eq!(sizes, SIZES.map(|size| size as u64), "{what}");
            assert!(of.clone().all(|figure| figure["mean_bytes_per_sec"].as_u64() > Some(0)));
        }
    }
}

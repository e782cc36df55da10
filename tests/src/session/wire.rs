// SPDX-License-Identifier: BSD-2-Clause
//! What lies between one link of a client and the server.

use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::words::time::Duration;

use crate::random::Random;

/// Where the server listens.
pub const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 5_080);

/// Bytes of IPv4 and UDP headers.
pub const HEADERS: usize = 28;

/// One link's underlay, the same in both directions but where it says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Time a datagram takes, each way.
    pub delay: Duration,
    /// Up to this much is added to the delay of each datagram by chance, which reorders.
    pub jitter: Duration,
    /// Datagrams lost among a thousand.
    pub loss: u64,
    /// Datagrams repeated among a thousand.
    pub repeats: u64,
    /// The largest IPv4 packet that passes, in bytes.
    pub mtu: usize,
    /// Whether the client's datagrams pass.
    pub is_up_open: bool,
    /// Whether the server's datagrams pass.
    pub is_down_open: bool,
    /// Where the client's datagrams seem to come from: its address translator's mapping.
    pub client: SocketAddr,
}

impl Wire {
    /// A wire of 10 ms each way that carries everything up to 1500 bytes, for link `link` of client `client`.
    #[must_use]
    pub fn new(client: u16, link: u8) -> Self {
        let [high, low] = client.to_be_bytes();
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0,
            repeats: 0,
            mtu: 1500,
            is_up_open: true,
            is_down_open: true,
            client: SocketAddr::from((Ipv4Addr::new(10, link + 1, high, low), 40_000)),
        }
    }

    /// Cuts the wire both ways.
    pub const fn cut(&mut self) {
        (self.is_up_open, self.is_down_open) = (false, false);
    }

    /// Mends the wire both ways.
    pub const fn mend(&mut self) {
        (self.is_up_open, self.is_down_open) = (true, true);
    }

    /// The address translator forgets the link and gives it another port.
    pub fn rebind(&mut self) {
        self.client.set_port(self.client.port().wrapping_add(1).max(1_024));
    }

    /// After how long each copy of a datagram of `len` bytes arrives.
    #[must_use]
    pub fn copies(&self, len: usize, is_up: bool, random: &mut Random) -> Vec<Duration> {
        let is_open = if is_up { self.is_up_open } else { self.is_down_open };
        if !is_open || len + HEADERS > self.mtu || random.below(1_000) < self.loss {
            return Vec::new();
        }
        let count = if random.below(1_000) < self.repeats { 2 } else { 1 };
        let jitter = self.jitter.micros() + 1;
        (0..count).map(|_| self.delay + Duration::from_micros(random.below(jitter))).collect()
    }
}

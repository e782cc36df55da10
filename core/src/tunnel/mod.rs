// SPDX-License-Identifier: BSD-2-Clause
//! The engine: one tunnel over up to `LINKS` links, with a reorder window of `WINDOW` packets.
//!
//! Sans-IO: a port owns sockets, device, clock and packet memory. Its loop is, in any order and as things happen:
//!
//! 1. A packet from the device: take a slot from the pool, fill it, [`Tunnel::send`]. Stop reading the device while
//!    [`Tunnel::has_room`] is false.
//! 2. A datagram from a link's socket: take a slot, fill it, [`Tunnel::receive`].
//! 3. The deadline of [`Tunnel::poll_timeout`] has come: [`Tunnel::handle_timeout`].
//! 4. After each of these: [`Tunnel::poll_deliver`] until None, each slot written to the device and put back;
//!    [`Tunnel::poll_transmit`] until None, each datagram sent; [`Tunnel::poll_event`] until None.
//!
//! Time must not go backwards between calls. Whatever a peer or a forger sends, a call's work is bounded by the number
//! of links, the window and one pass over one packet; nothing allocates. Every packet that goes no further is counted
//! in [`Tunnel::drops`].

mod bond;
mod classic;
mod config;
mod events;
pub mod gateway;
pub mod peer;
mod random;

use core::net::SocketAddr;

use crate::state::link::LinkTimer;
use crate::words::ecn::Ecn;
use crate::words::ids::LinkId;
use crate::words::time::Instant;

pub use classic::Tunnel;
pub use config::Config;

/// When [`Tunnel::handle_timeout`] is due, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Why.
    pub cause: Cause,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A link has something to do.
    Link(LinkId, LinkTimer),
    /// A link of a session has something to do (protocol 2).
    Path(LinkId),
    /// The session has something to do (protocol 2).
    Session,
    /// A link may take the next packet, a report is due, or news of a link's packets are (protocol 2).
    Data,
    /// A packet has been held for a missing one for long enough.
    Reorder,
}

/// A datagram to send: the first `len` bytes of the buffer given to [`Tunnel::poll_transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The link whose socket sends it.
    pub link: LinkId,
    /// Where to.
    pub to: SocketAddr,
    /// Its length in bytes.
    pub len: usize,
    /// What its outer IP header is to say of congestion.
    pub ecn: Ecn,
}

/// Where and when a datagram arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// On which link's socket.
    pub link: LinkId,
    /// From which address.
    pub from: SocketAddr,
    /// What its outer IP header says of congestion.
    pub ecn: Ecn,
    /// When.
    pub at: Instant,
}

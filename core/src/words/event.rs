// SPDX-License-Identifier: BSD-2-Clause
//! What the engine tells its port besides packets.

use core::net::SocketAddr;

use super::ids::LinkId;

/// Something a port reports to its user: a log line, a status script, a process title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link's peer has authenticated; it carries data from now on.
    LinkUp(LinkId),
    /// The link no longer carries data.
    LinkDown(LinkId, DownCause),
    /// The link left the aggregate, or came back to it, without going down.
    LinkHealth(LinkId, Health),
    /// The link's peer is now at this address, which it proved by a fresh authentic packet.
    PeerMoved(LinkId, SocketAddr),
    /// The first link came up.
    TunnelUp,
    /// The last link went down.
    TunnelDown,
    /// Both ends have new keys (protocol 2).
    NewSession,
    /// The peer ended the session; its links go down without waiting for a timeout (protocol 2).
    SessionEnded,
    /// The largest inner packet has changed to this many bytes (protocol 2).
    MtuChanged(u16),
    /// The peer sent something of the handshake that was not accepted, or refused this end's, for this reason
    /// (protocol 2). Anyone can cause it.
    HandshakeTrouble(Trouble),
}

/// What went wrong with a handshake, in words for a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble(pub &'static str);

/// Why a link went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownCause {
    /// Nothing authentic was heard for the link's timeout.
    Timeout,
    /// The peer said goodbye.
    PeerLeft,
    /// The port closed the link's socket.
    Closed,
}

impl DownCause {
    /// The cause in words for a log line.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Timeout => "nothing heard from the peer for its timeout",
            Self::PeerLeft => "the peer disconnected",
            Self::Closed => "its socket was closed",
        }
    }
}

/// How good a link that is up is. All but [`Health::Good`] leave the aggregate unless nothing else is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Within its tolerances.
    #[default]
    Good,
    /// Loses at least `loss_tolerance` percent.
    Lossy,
    /// Its smoothed round-trip time is at least `latency_tolerance`.
    Slow,
    /// Silent for longer than its peer should be: probably dead, but not yet timed out.
    Silent,
}

impl Health {
    /// In which order links that are up are used, the lowest first; a higher tier only when those below are empty.
    #[must_use]
    pub const fn tier(self, fallback_only: bool) -> u8 {
        match (self, fallback_only) {
            (Self::Good, false) => 0,
            (Self::Good, true) => 1,
            (Self::Lossy | Self::Slow, _) => 2,
            (Self::Silent, _) => 3,
        }
    }
}

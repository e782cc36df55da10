// SPDX-License-Identifier: BSD-2-Clause
//! What is known of a packet from the device: enough for the queue at the entrance and for rules by port, mark and
//! protocol, so that no later stage looks into headers again.

use crate::words::ecn::Ecn;
use crate::words::ids::LinkId;

/// A packet of at most this many bytes counts as small: it carries a voice frame, a game's move, a question to a name
/// server or a key press, and eight of them take a link no longer than one full packet.
pub const SMALL: u16 = 256;

/// How a packet is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// A keyed hash of what identifies the flow; equal for all packets of one flow and direction.
    pub flow: u32,
    /// The ports of source and destination, where the packet shows them: not in fragments.
    pub ports: Option<(u16, u16)>,
    /// The packet's length in bytes, with an Ethernet header where there is one.
    pub len: u16,
    /// The IP protocol (IPv6: behind the extension headers); None when the packet is not IP.
    pub protocol: Option<u8>,
    /// The differentiated services codepoint (RFC 2474), six bits.
    pub dscp: u8,
    /// What the IP header says of congestion.
    pub ecn: Ecn,
    /// What it does for its connection.
    pub kind: Kind,
    /// Whether the receiver may hold the packet to restore order.
    pub ordered: bool,
    /// A rule says that somebody waits for the packet.
    pub is_urgent: bool,
    /// The link a filter of the user's chose, which carries the packet as long as it is up.
    pub link: Option<LinkId>,
}

/// What a packet does for its connection, as far as one packet tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Anything but what follows.
    #[default]
    Other,
    /// A TCP segment that only acknowledges. Acknowledgements are cumulative: one overtaken by a later one is of no
    /// use, and of no harm.
    BareAck,
    /// A TCP segment that opens a connection (SYN).
    Opening,
    /// A TCP segment that ends one (FIN, RST).
    Closing,
}

impl Class {
    /// Whether somebody likely waits for just this packet: it opens a connection, only acknowledges, is small, or a rule
    /// says so.
    #[must_use]
    pub const fn is_small(&self) -> bool {
        self.len <= SMALL || self.is_urgent || matches!(self.kind, Kind::BareAck | Kind::Opening)
    }
}

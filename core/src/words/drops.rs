// SPDX-License-Identifier: BSD-2-Clause
//! Why a packet was dropped, and how often.

/// Why the engine dropped a packet. Every drop has one of these reasons and is counted under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// A datagram too short, too long, or whose stated length is not its own.
    Malformed,
    /// A datagram of another protocol version or an unknown packet type.
    Unknown,
    /// The tag did not verify: a wrong password at one end, or a forgery.
    Unauthentic,
    /// A packet number seen before, or behind the replay window.
    Replayed,
    /// A packet of a flow that has ended, or that did not begin with an authentication.
    StaleFlow,
    /// Data for a link that is not up.
    LinkNotUp,
    /// Cleartext data from an address that is not the link's peer.
    WrongAddress,
    /// A data packet whose order number was delivered before.
    Duplicate,
    /// No link is up to carry the packet.
    NoLink,
    /// The packet is larger than the tunnel's MTU; the sender was told where its protocol allows that.
    TooBig,
    /// What came from the device is no IP packet.
    NotIp,
    /// A queue, the packet pool or the device is full, or the device is down.
    QueueFull,
    /// The packet was prepared under a key that has been replaced since.
    StaleKey,
    /// A packet of a session that does not exist, or exists no more.
    NoSession,
    /// An inner packet from an address its peer may not use.
    NotAllowed,
    /// A handshake message that was not awaited, or not accepted.
    Handshake,
    /// A queue stood for too long or grew too large, or a packet came marked whose transport understands no mark.
    Congestion,
    /// A packet from the device to an address that is no peer's.
    NoPeer,
    /// A packet of a link beyond those that the two ends agreed on.
    TooManyLinks,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 19] = [
        Self::Malformed,
        Self::Unknown,
        Self::Unauthentic,
        Self::Replayed,
        Self::StaleFlow,
        Self::LinkNotUp,
        Self::WrongAddress,
        Self::Duplicate,
        Self::NoLink,
        Self::TooBig,
        Self::NotIp,
        Self::QueueFull,
        Self::StaleKey,
        Self::NoSession,
        Self::NotAllowed,
        Self::Handshake,
        Self::Congestion,
        Self::NoPeer,
        Self::TooManyLinks,
    ];

    /// The reason as a word for status output, lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Unauthentic => "unauthentic",
            Self::Replayed => "replayed",
            Self::StaleFlow => "stale_flow",
            Self::LinkNotUp => "link_not_up",
            Self::WrongAddress => "wrong_address",
            Self::Duplicate => "duplicate",
            Self::NoLink => "no_link",
            Self::TooBig => "too_big",
            Self::NotIp => "not_ip",
            Self::QueueFull => "queue_full",
            Self::StaleKey => "stale_key",
            Self::NoSession => "no_session",
            Self::NotAllowed => "not_allowed",
            Self::Handshake => "handshake",
            Self::Congestion => "congestion",
            Self::NoPeer => "no_peer",
            Self::TooManyLinks => "too_many_links",
        }
    }
}

/// A counter per [`DropReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Indexed by the reason's discriminant.
    counts: [u64; DropReason::ALL.len()],
}

impl Drops {
    /// No drops yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; DropReason::ALL.len()] }
    }

    /// Counts one packet dropped for `reason`.
    pub fn count(&mut self, reason: DropReason) {
        if let Some(count) = self.counts.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts what `others` counted.
    pub fn add(&mut self, others: &Self) {
        for (count, other) in self.counts.iter_mut().zip(others.counts) {
            *count = count.saturating_add(other);
        }
    }

    /// Packets dropped for `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.counts.iter().copied())
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut drops = Drops::new();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{} is out of place in ALL", reason.name());
            drops.count(reason);
            assert_eq!(drops.of(reason), 1);
        }
        assert_eq!(drops.total(), DropReason::ALL.len() as u64);
        let twice = drops;
        drops.add(&twice);
        assert!(drops.iter().all(|(_, count)| count == 2));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a sender is told, and what it tells.

use crate::simulation::tcp::congestion::Algorithm;

/// How a sender is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Its port and the receiver's.
    pub ports: (u16, u16),
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The largest payload the own interface allows, without options.
    pub largest_payload: u16,
    /// Whether marks of congestion are asked for (RFC 3168).
    pub ecn: bool,
    /// What the application hands over in bytes per second; None as much as is taken.
    pub application: Option<u64>,
    /// Decides what the algorithm leaves to chance.
    pub seed: u64,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sendings {
    /// Segments sent, copies included.
    pub segments: u64,
    /// Copies.
    pub copies: u64,
    /// Recoveries begun.
    pub recoveries: u64,
    /// Alarms that were false.
    pub undone: u64,
    /// Timeouts.
    pub timeouts: u64,
    /// Tail probes.
    pub probes: u64,
}

impl Sendings {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: &Self) -> Self {
        Self {
            segments: self.segments + other.segments,
            copies: self.copies + other.copies,
            recoveries: self.recoveries + other.recoveries,
            undone: self.undone + other.undone,
            timeouts: self.timeouts + other.timeouts,
            probes: self.probes + other.probes,
        }
    }
}

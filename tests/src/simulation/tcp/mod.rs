// SPDX-License-Identifier: BSD-2-Clause
//! A model of Linux's TCP in virtual time: what a bonding tunnel's performance depends on most. Integers only, so that a
//! run comes out the same on every machine.
//!
//! ```text
//! Sender ─ Segment ─▶ Receiver      congestion: cubic (with hystart), bbr
//!        ◀─ Segment ─               losses: scoreboard ─▶ rack ─▶ recovery
//! ```
//!
//! Left out, because the simulations do not meet it: closing, urgent data, Nagle's algorithm, zero windows, and the
//! segmentation offload that the issue wants off.

pub mod bbr;
pub mod congestion;
pub mod cubic;
pub mod hystart;
pub mod rack;
pub mod receiver;
pub mod recovery;
pub mod round_trip;
pub mod scoreboard;
pub mod segment;
pub mod sender;

#[cfg(test)]
mod tests;

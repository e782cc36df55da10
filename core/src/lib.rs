// SPDX-License-Identifier: BSD-2-Clause
//! The engine of mlvpn, a tunnel that bonds several internet links into one.
//!
//! ```text
//! TUN ─▶ classify ─▶ schedule ─▶ seal ─▶ socket
//! TUN ◀─ reorder  ◀─ replay   ◀─ open ◀─ socket
//! ```
//!
//! No standard library, no heap, no clock, no socket, no log: a port (`port-linux`, a simulation) owns those,
//! tells the [`tunnel::Tunnel`] what happened and asks it what to do.
//!
//! The folders are layers; each imports only those above it, and a stage never imports another stage:
//!
//! | layer | rooms |
//! |---|---|
//! | [`words`] | limits, time, identifiers, drop reasons, events, classes of packets |
//! | [`memory`] | packets, their pool, and the wire formats' headers |
//! | [`state`] | keys, handshake, cookies, sessions, replay window, estimators, path MTU, one link or path |
//! | [`stages`] | classify, clamp, ecn, too_big, ingress, schedule, seal, open, allow, reorder |
//! | [`tunnel`] | the public engine that wires them |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod memory;
pub mod stages;
pub mod state;
pub mod tunnel;
pub mod words;

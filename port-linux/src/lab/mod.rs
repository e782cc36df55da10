// SPDX-License-Identifier: BSD-2-Clause
//! The laboratory: internet links that can be described in a word, and traffic to put on them.
//!
//! [`link`] is the one model of a one-way link. Two drivers run it: [`virtual_time`] jumps from event to event, so a
//! simulated hour takes seconds and comes out the same every time; [`realtime`] joins two network namespaces, so that
//! any program and the kernel's own TCP can use the same links. [`tcp`], [`kernel`], [`load`], [`ping`] and [`iperf`] are the traffic.
//!
//! It lives in the Linux port and not in the `tests` crate because the `demo` command shows the tunnel on emulated
//! links and nothing may depend on `tests`, which sees every crate. Nothing here is reached by a running daemon.
//!
//! ```text
//! LinkSpec ("16:1mbit/15ms") -> Direction (one way, in full) -> LinkModel -> virtual_time::World
//!                                                                         -> realtime::Emulation
//! ```

pub mod chance;
mod counters;
mod direction;
pub mod engine;
pub mod iperf;
pub mod kernel;
pub mod link;
pub mod load;
mod mishaps;
pub mod namespace;
mod netlink;
pub mod ping;
pub mod realtime;
pub mod spec;
pub mod stream;
pub mod svg;
mod sys;
pub mod tcp;
pub mod trace;
pub mod virtual_time;

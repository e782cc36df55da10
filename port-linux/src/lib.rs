// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn on Linux: devices, sockets, timers, configuration and the command line around `mlvpn-core`.

// They panic where nobody reads; see `diagnostics`.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod backoff;
#[cfg(feature = "full")]
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "full")]
pub mod console;
#[cfg(feature = "full")]
pub mod control;
pub mod daemon;
#[cfg(feature = "full")]
pub mod demo;
pub mod device;
pub mod diagnostics;
pub mod filter;
pub mod interface;
pub mod keys;
#[cfg(feature = "full")]
pub mod lab;
pub mod log;
pub mod netlink;
pub mod notify;
pub mod offload;
pub mod privilege;
pub mod reactor;
#[cfg(feature = "full")]
pub mod roles;
#[cfg(not(feature = "full"))]
#[path = "roles/none.rs"]
pub mod roles;
pub mod script;
pub mod socket;
pub mod status;
mod sys;
pub mod title;

#[cfg(test)]
mod sandbox;

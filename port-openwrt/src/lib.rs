// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpnd`: the daemon of `mlvpn` on OpenWrt, with its object on the bus.
//!
//! ```text
//! /etc/config/mlvpn ─▶ config
//! worker's loop ─▶ bus ─▶ session ─▶ object  (status, links, peers, history, reload, link, keygen)
//!                   │       └─▶ netifd (which device an interface is)
//!                   └ frames ─▶ message ─▶ blobmsg ─▶ blob
//! ```
//!
//! Everything ubus is written here, from its messages up: a router's program of a few hundred kilobytes links no C library.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod blob;
pub mod blobmsg;
pub mod bus;
pub mod cli;
pub mod config;
pub mod encode;
pub mod frames;
pub mod message;
mod netifd;
mod object;
pub mod session;

// SPDX-License-Identifier: BSD-2-Clause
//! The control socket and the HTTP status interface: MLVPN 2.3.5's, with true values, and commands besides.
//!
//! [`sockets`] opens the listeners while the process has its rights; [`face`] serves them on the worker's loop, and
//! accepts, reads and writes without ever waiting. What a client may hold is bounded: how many there are, how much each may
//! send, how long it may take. Formats are apart from all that: [`http`], 2.3.5's words in [`classic`], and what Prometheus
//! reads in [`metrics`].

mod classic;
mod client;
mod face;
mod http;
mod metrics;
mod sockets;

pub(crate) use face::Face;
pub use sockets::{EXTENSION, FOLDER, InUse, Sockets, connect, ensure_free, folder, path_of, remove};

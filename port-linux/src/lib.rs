// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn on Linux: devices, sockets, timers, configuration and the command line around `mlvpn-core`.

pub mod clock;
pub mod lab;

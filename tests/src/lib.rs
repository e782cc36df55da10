// SPDX-License-Identifier: BSD-2-Clause
//! What the tests, simulations and benches of mlvpn share.

pub mod configuration;
pub mod daemon;
pub mod network;
pub mod peer;
pub mod program;
pub mod stream;
pub mod wait;

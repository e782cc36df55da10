// SPDX-License-Identifier: BSD-2-Clause
//! What the tests, simulations and benches of mlvpn share.

pub mod bench;
pub mod configuration;
pub mod daemon;
pub mod end;
pub mod fuzz;
pub mod inner;
pub mod network;
pub mod pair;
pub mod peer;
pub mod program;
pub mod random;
pub mod recording;
pub mod session;
pub mod simulation;
pub mod stream;
pub mod ubus;
pub mod wait;

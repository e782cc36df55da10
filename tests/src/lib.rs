// SPDX-License-Identifier: BSD-2-Clause
//! What the tests, simulations and benches of mlvpn share.

pub mod end;
pub mod fuzz;
pub mod inner;
pub mod pair;
pub mod random;
pub mod recording;

// SPDX-License-Identifier: BSD-2-Clause
//! Enforces the architecture: the core's layers, the direction of dependencies, and the rules a reader relies on.

mod crates;
mod layers;
mod source;
mod tree;

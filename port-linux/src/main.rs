// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpn` program.

fn main() {}

// SPDX-License-Identifier: BSD-2-Clause
//! Protocol 2 in virtual time: clients and one server, joined by wires that delay, lose, reorder, repeat and rewrite.

pub mod end;
pub mod keys;
pub mod server;
pub mod wire;
pub mod world;

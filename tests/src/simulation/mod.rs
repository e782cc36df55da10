// SPDX-License-Identifier: BSD-2-Clause
//! The bonding benchmark in virtual time: TCP flows as Linux would send them, through two production engines, over links
//! as people have them. A simulated minute takes a second or two and comes out the same on every machine.
//!
//! ```text
//! host ─ engine ═ links ═ engine ─ host          scenario ─▶ world ─▶ outcome ─▶ table
//! ```
//!
//! `scenario` has the table of links and mishaps, `tcp` and `probe` are the traffic, `world` runs them, and `table`
//! prints what came out. `kernel` runs the same flows with the kernel's own TCP, to check the model against.

pub mod capacity;
pub mod end;
pub mod kernel;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod scenario;
pub mod table;
pub mod tcp;
pub mod world;

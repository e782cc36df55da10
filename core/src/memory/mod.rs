// SPDX-License-Identifier: BSD-2-Clause
//! Second layer, memory: packets, the pool they come from, and the headers of the wire formats.

mod bytes;
pub(crate) mod checksum;
pub mod classic;
pub mod control;
pub mod ethernet;
pub mod packet;
pub mod pool;
pub mod two;

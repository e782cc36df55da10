// SPDX-License-Identifier: BSD-2-Clause
//! First layer, words: the types every other room speaks in. Imports nothing of this crate.

pub mod class;
pub mod drops;
pub mod ecn;
pub mod event;
pub mod ids;
pub mod limits;
pub mod network;
pub mod policy;
pub mod rules;
pub mod time;

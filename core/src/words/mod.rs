// SPDX-License-Identifier: BSD-2-Clause
//! First layer, words: the types every other room speaks in. Imports nothing of this crate.

pub mod time;

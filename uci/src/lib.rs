// SPDX-License-Identifier: BSD-2-Clause
//! How OpenWrt tells mlvpn what to do.
//!
//! No standard library, no heap: what is read borrows from the text, and its owner brings the room.
//!
//! | module | holds |
//! |---|---|
//! | [`word`] | a word of UCI's text, quotes and escapes still in it |
//! | [`reader`] | UCI's text to statements, byte for byte as libuci does |
//! | [`package`] | statements to sections and options, merged as libuci merges them |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(test)]
extern crate std;

pub mod package;
pub mod reader;
pub mod word;

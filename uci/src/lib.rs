// SPDX-License-Identifier: BSD-2-Clause
//! What mlvpn can be told, and how OpenWrt says it.
//!
//! ```text
//! /etc/config/mlvpn ─▶ reader ─▶ package ─▶ value ─▶ policy, port-linux's Config
//!                                   options ─┘ └▶ document: table, JSON of the settings page
//! ```
//!
//! No standard library, no heap: what is read borrows from the text, and its owner brings the room.
//!
//! | module | holds |
//! |---|---|
//! | [`word`] | a word of UCI's text, quotes and escapes still in it |
//! | [`reader`] | UCI's text to statements, byte for byte as libuci does |
//! | [`package`] | statements to sections and options, merged as libuci merges them |
//! | [`options`] | the one list of options, of mlvpn.conf and of UCI |
//! | [`value`] | one value by its kind |
//! | [`policy`] | what a link and a class of traffic are to be used for |
//! | [`document`] | the list as a table for people and as JSON for the settings page |
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

pub mod document;
pub mod options;
pub mod package;
pub mod policy;
pub mod reader;
pub mod value;
pub mod word;

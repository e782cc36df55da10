// SPDX-License-Identifier: BSD-2-Clause
//! The engine of mlvpn, a tunnel that bonds several internet links into one.
#![no_std]
#![forbid(unsafe_code)]

pub mod words;

// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpn demo`: a tunnel over emulated links at work, to be watched.

mod emulated;
mod plan;
mod record;
mod run;

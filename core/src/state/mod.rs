// SPDX-License-Identifier: BSD-2-Clause
//! Third layer, state: what the tunnel remembers about keys, packets seen, and each link.

pub mod cookie;
pub mod estimate;
pub mod flows;
pub mod handshake;
pub mod identity;
pub mod keys;
pub mod link;
pub mod mtu;
mod noise;
pub mod path;
pub mod replay;
pub mod session;
pub mod session_key;

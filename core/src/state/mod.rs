// SPDX-License-Identifier: BSD-2-Clause
//! Third layer, state: what the tunnel remembers about keys, packets seen, and each link.

pub mod arrivals;
pub mod cookie;
pub mod departures;
pub mod estimate;
pub mod flight;
pub mod flows;
pub mod handshake;
pub mod identity;
pub mod keys;
pub mod link;
pub mod mtu;
mod noise;
pub mod overflow;
pub mod path;
pub mod rate;
pub mod reach;
pub mod replay;
pub mod session;
pub mod session_key;

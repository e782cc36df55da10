// SPDX-License-Identifier: BSD-2-Clause
//! Third layer, state: what the tunnel remembers about keys, packets seen, and each link.

pub mod estimate;
pub mod flows;
pub mod keys;
pub mod link;
pub mod mtu;
pub mod replay;

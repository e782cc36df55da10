// SPDX-License-Identifier: BSD-2-Clause
//! What a tunnel is told before it starts.

use crate::state::keys::ClassicKey;
use crate::state::link::Role;
use crate::words::ids::Medium;

/// A tunnel's configuration. All but `role` and `medium` may change while it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which end this is.
    pub role: Role,
    /// What the device carries.
    pub medium: Medium,
    /// The key both ends share.
    pub key: ClassicKey,
    /// Data packets travel unsealed. Both ends must agree.
    pub cleartext_data: bool,
    /// The largest inner IP packet, in bytes.
    pub mtu: u16,
    /// Restore the order of received packets.
    pub reorder: bool,
}

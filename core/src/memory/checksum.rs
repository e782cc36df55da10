// SPDX-License-Identifier: BSD-2-Clause
//! The internet checksum (RFC 1071), kept right while single words under it change.

/// The checksum after one word under it changed (RFC 1624, equation 3).
#[must_use]
pub(crate) const fn adjust(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = (!checksum as u32).wrapping_add(!old as u32).wrapping_add(new as u32);
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    !((sum & 0xffff) as u16)
}

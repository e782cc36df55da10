// SPDX-License-Identifier: BSD-2-Clause
//! Where a frame's payload begins: Ethernet II (IEEE 802.3) with at most one VLAN tag (IEEE 802.1Q).

use crate::words::limits::{ETHERNET_HEADER, VLAN_TAG};

const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// The length of `frame`'s header, tag included, and its payload; None when it is too short for its header.
#[must_use]
pub fn split(frame: &[u8]) -> Option<(usize, &[u8])> {
    const TAGGED: usize = ETHERNET_HEADER + VLAN_TAG;
    let (_, payload) = frame.split_at_checked(ETHERNET_HEADER)?;
    if ethertype(frame, ETHERNET_HEADER) == Some(&ETHERTYPE_VLAN) {
        return Some((TAGGED, frame.get(TAGGED..)?));
    }
    Some((ETHERNET_HEADER, payload))
}

/// Whether a frame whose header has `header` bytes says that an IP packet follows.
#[must_use]
pub fn carries_ip(frame: &[u8], header: usize) -> bool {
    matches!(ethertype(frame, header), Some(&ETHERTYPE_IPV4 | &ETHERTYPE_IPV6))
}

/// The type field that ends a header of this length.
fn ethertype(frame: &[u8], header: usize) -> Option<&[u8; 2]> {
    frame.get(header.checked_sub(2)?..)?.first_chunk()
}

// SPDX-License-Identifier: BSD-2-Clause
//! Inner packets that carry a number, so that a test knows each again.

/// The shortest packet that has room for its number: an IPv6 header and eight bytes.
pub const SHORTEST: usize = 48;

/// An IPv4 packet of `len` bytes, at least [`SHORTEST`], from 10.0.0.1 to 10.0.0.2 (protocol 253, RFC 3692).
#[must_use]
pub fn ipv4(len: usize, number: u64) -> Vec<u8> {
    assert!(len >= SHORTEST, "no room for the number");
    let mut packet = filled(len, number);
    packet[..20].fill(0);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).expect("an IP packet's length").to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 253]);
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet
}

/// An IPv6 packet of `len` bytes, at least [`SHORTEST`], from fd00::1 to fd00::2.
#[must_use]
pub fn ipv6(len: usize, number: u64) -> Vec<u8> {
    assert!(len >= SHORTEST, "no room for the number");
    let mut packet = filled(len, number);
    packet[..40].fill(0);
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&u16::try_from(len - 40).expect("an IP packet's length").to_be_bytes());
    packet[6..8].copy_from_slice(&[253, 64]);
    (packet[8], packet[23], packet[24], packet[39]) = (0xfd, 1, 0xfd, 2);
    packet
}

/// An Ethernet frame around `ip`, from one unicast address to another.
#[must_use]
pub fn frame(ip: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if ip[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &kind, ip].concat()
}

/// The number in a packet of [`ipv4`] or [`ipv6`]: its last eight bytes.
#[must_use]
pub fn number(packet: &[u8]) -> u64 {
    u64::from_be_bytes(*packet.last_chunk().expect("a packet with a number"))
}

fn filled(len: usize, number: u64) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    packet[len - 8..].copy_from_slice(&number.to_be_bytes());
    packet
}

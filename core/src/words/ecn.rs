// SPDX-License-Identifier: BSD-2-Clause
//! Explicit congestion notification: the two lowest bits of what was IPv4's type of service and IPv6's traffic class.

/// What an IP header says of congestion (RFC 3168, section 5). The numbers are those on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not understand marks: congestion is told by dropping.
    #[default]
    NotEct = 0,
    /// The transport understands marks, and these as those of RFC 9331 (L4S).
    Ect1 = 1,
    /// The transport understands marks.
    Ect0 = 2,
    /// A queue on the way was congested.
    Ce = 3,
}

impl Ecn {
    /// Every codepoint, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::NotEct, Self::Ect1, Self::Ect0, Self::Ce];

    /// The codepoint in the two lowest bits of a type of service or traffic class.
    #[must_use]
    pub const fn from_traffic_class(byte: u8) -> Self {
        match byte & 0b11 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The codepoint's two bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether the transport understands a mark, so that a packet may be marked instead of dropped.
    #[must_use]
    pub const fn is_capable(self) -> bool {
        !matches!(self, Self::NotEct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codepoint_is_what_its_bits_say_whatever_the_dscp() {
        for ecn in Ecn::ALL {
            for dscp in 0..64 {
                assert_eq!(Ecn::from_traffic_class(dscp << 2 | ecn.bits()), ecn);
            }
        }
    }
}

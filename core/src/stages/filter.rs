// SPDX-License-Identifier: BSD-2-Clause
//! Filter: whether a packet is one that an expression of the user's describes.
//!
//! An expression is compiled once, by who reads it, into [`Step`]s: each looks at one number of the packet and says
//! which step is next. What is compiled are the expressions of pcap-filter(7), so a program ends as libpcap's do: a look
//! past the end of the packet, and a step that is not there, reject it.

use crate::memory::ethernet;
use crate::words::ids::Medium;

/// Where a step's number begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nowhere: the number is the packet's length in bytes.
    Length,
    /// At this many bytes of the packet.
    Packet(u16),
    /// At this many bytes behind an IPv4 header, as that tells its own length.
    BehindIpv4(u16),
}

/// How many bytes a number has, the most significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One.
    Byte,
    /// Two.
    Half,
    /// Four.
    Word,
}

/// How the number is compared with the step's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is the value.
    Equal,
    /// It is larger.
    Above,
    /// It is the value or larger.
    AtLeast,
}

/// What follows a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The packet matches.
    Accept,
    /// It does not.
    Reject,
    /// The step at this place. A program of an expression only goes forward.
    Step(u16),
}

/// Whether `(number & mask) >> shift` compares with `value`, and what follows then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the number is.
    pub base: Base,
    /// How many bytes it has; of no meaning for the length.
    pub width: Width,
    /// Its bits that count.
    pub mask: u32,
    /// By how many bits it is moved to the right, fewer than 32.
    pub shift: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u32,
    /// What follows if so.
    pub yes: Next,
    /// What follows if not.
    pub no: Next,
}

const _: () = assert!(size_of::<Step>() <= 28);

impl Step {
    /// What follows for this packet; None when it ends before the number.
    fn next(&self, packet: &[u8]) -> Option<Next> {
        let number = self.number(packet)?;
        let number = (number & self.mask).checked_shr(self.shift.into()).unwrap_or(0);
        let is_so = match self.comparison {
            Comparison::Equal => number == self.value,
            Comparison::Above => number > self.value,
            Comparison::AtLeast => number >= self.value,
        };
        Some(if is_so { self.yes } else { self.no })
    }

    fn number(&self, packet: &[u8]) -> Option<u32> {
        /// Of an IPv4 header's first byte, what counts its length in words of four bytes (RFC 791).
        const LENGTH: u8 = 0x0f;
        let start = match self.base {
            Base::Length => return u32::try_from(packet.len()).ok(),
            Base::Packet(start) => usize::from(start),
            Base::BehindIpv4(start) => {
                usize::from(packet.first()? & LENGTH).saturating_mul(4).saturating_add(start.into())
            }
        };
        let bytes = packet.get(start..)?;
        Some(match self.width {
            Width::Byte => u32::from(*bytes.first()?),
            Width::Half => u32::from(u16::from_be_bytes(*bytes.first_chunk()?)),
            Width::Word => u32::from_be_bytes(*bytes.first_chunk()?),
        })
    }
}

/// Whether `steps` accept an IP packet; without steps every packet is accepted. Work: each step once at the most, also
/// of a program that goes backward, which then rejects.
#[must_use]
pub fn matches(steps: &[Step], packet: &[u8]) -> bool {
    let mut next = if steps.is_empty() { Next::Accept } else { Next::Step(0) };
    for _ in 0..=steps.len() {
        next = match next {
            Next::Accept => return true,
            Next::Reject => return false,
            Next::Step(place) => match steps.get(usize::from(place)).and_then(|step| step.next(packet)) {
                Some(next) => next,
                None => return false,
            },
        };
    }
    false
}

/// The IP packet that filters look at: of a frame what its header says is one, and else nothing.
#[must_use]
pub fn subject(packet: &[u8], medium: Medium) -> Option<&[u8]> {
    match medium {
        Medium::Ip => Some(packet),
        Medium::Ethernet => {
            let (header, inner) = ethernet::split(packet)?;
            ethernet::carries_ip(packet, header).then_some(inner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step {
        base: Base::Packet(0),
        width: Width::Byte,
        mask: u32::MAX,
        shift: 0,
        comparison: Comparison::Equal,
        value: 0x45,
        yes: Next::Accept,
        no: Next::Reject,
    };

    #[test]
    fn numbers_are_read_masked_shifted_and_compared() {
        let packet = [0x45, 0xb8, 1, 2, 3, 4];
        assert!(matches(&[STEP], &packet));
        let dscp = Step { base: Base::Packet(1), mask: 0xfc, shift: 2, value: 46, ..STEP };
        assert!(matches(&[dscp], &packet));
        let half = Step { base: Base::Packet(2), width: Width::Half, value: 0x0102, ..STEP };
        let word = Step { base: Base::Packet(2), width: Width::Word, value: 0x0102_0304, ..STEP };
        assert!(matches(&[half], &packet) && matches(&[word], &packet));
        let len = Step { base: Base::Length, comparison: Comparison::AtLeast, value: 6, ..STEP };
        assert!(matches(&[len], &packet) && !matches(&[len], &packet[..5]));
        assert!(!matches(&[Step { comparison: Comparison::Above, ..len }], &packet));
    }

    #[test]
    fn what_lies_behind_an_ipv4_header_is_found_by_its_length() {
        let mut packet = [0; 32];
        packet[0] = 0x46;
        packet[26] = 7;
        let behind = Step { base: Base::BehindIpv4(2), value: 7, ..STEP };
        assert!(matches(&[behind], &packet));
        packet[0] = 0x45;
        assert!(!matches(&[behind], &packet));
    }

    #[test]
    fn a_look_past_the_end_rejects_whatever_the_step_says_of_no() {
        let beyond = Step { base: Base::Packet(1), width: Width::Word, no: Next::Accept, ..STEP };
        assert!(!matches(&[beyond], &[0; 4]) && matches(&[beyond], &[0; 5]));
        assert!(!matches(&[Step { base: Base::BehindIpv4(0), no: Next::Accept, ..STEP }], &[]));
    }

    #[test]
    fn steps_lead_to_one_another_and_a_circle_ends() {
        let first = Step { yes: Next::Step(1), ..STEP };
        let second = Step { base: Base::Packet(1), value: 1, ..STEP };
        assert!(matches(&[first, second], &[0x45, 1]) && !matches(&[first, second], &[0x45, 2]));
        assert!(!matches(&[Step { yes: Next::Step(0), ..STEP }], &[0x45]));
        assert!(!matches(&[first], &[0x45]), "a step that is not there");
        assert!(matches(&[], &[]));
    }

    #[test]
    fn the_subject_of_a_frame_is_the_ip_packet_in_it() {
        let mut frame = [0; 34];
        frame[12] = 0x08;
        assert_eq!(subject(&frame, Medium::Ethernet).map(<[u8]>::len), Some(20));
        frame[13] = 0x06;
        assert_eq!(subject(&frame, Medium::Ethernet), None, "ARP");
        assert_eq!(subject(&frame, Medium::Ip), Some(&frame[..]));
    }
}

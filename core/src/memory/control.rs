// SPDX-License-Identifier: BSD-2-Clause
//! Control frames of protocol 2: what the two ends say to each other about their links, sealed, alone or in front of a
//! data packet.
//!
//! A body with control begins with one byte, the length of the block of frames, then the block, then the inner packet
//! or, in a size probe, padding. Frames are postcard's encoding of [`Control`]; none holds another, so there is nothing
//! to nest.

use serde::{Deserialize, Serialize};

use crate::words::policy::Stop;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Are you there? To be answered at once with a reply on the same link.
    Probe {
        /// Comes back in the reply.
        id: u16,
    },
    /// Yes.
    ProbeReply {
        /// The probe's.
        id: u16,
    },
    /// Is this address yours? To be answered to where it came from.
    Challenge {
        /// Random; comes back in the reply.
        token: u64,
    },
    /// Yes.
    ChallengeReply {
        /// The challenge's.
        token: u64,
    },
    /// A datagram padded to this many bytes of UDP payload arrives whole.
    SizeProbe {
        /// The datagram's length.
        len: u16,
    },
    /// It did.
    SizeReply {
        /// The probe's.
        len: u16,
    },
    /// The sender has just started: its order numbers begin anew.
    Fresh,
    /// The link this arrives on leaves the session.
    Leave,
    /// The session ends.
    Close,
    /// What arrived over a link.
    Report(Report),
    /// How the link this arrives on is to be used in both directions. Only a client says that.
    Terms(Terms),
    /// The terms are followed.
    TermsReply {
        /// Of the terms.
        number: u8,
    },
}

/// What a client wants of one of its links. The default is what a server assumes that was told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Counts the changes, and wraps: later ones are ahead by less than 128.
    pub number: u8,
    /// 1 to 9: the link joins when those of lower tiers are full or down.
    pub tier: u8,
    /// Its share beside links of the same tier, 1 to 100; 0 for none in particular.
    pub weight: u8,
    /// It carries data only while no other link does.
    pub is_backup: bool,
    /// Data costs money.
    pub is_metered: bool,
    /// What its quota makes of it.
    pub stop: Stop,
    /// The most that the server is to send, in bytes per second; 0 for any.
    pub rate: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { number: 0, tier: 1, weight: 0, is_backup: false, is_metered: false, stop: Stop::None, rate: 0 }
    }
}

/// What a receiver says of the packets of one link: which arrived and which are missing, and how long they took.
///
/// Sums count from the beginning of the session and wrap. One-way times are differences of two clocks that nothing
/// relates, so they mean something only beside other ones of the same pair of ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The link.
    pub link: u8,
    /// The low 8 bits of the receiver's name of the session whose counters these are.
    pub session: u8,
    /// The low 32 bits of the first counter spoken of.
    pub from: u32,
    /// How many counters are spoken of: those from `from` on arrived, but for the gaps.
    pub span: u16,
    /// The counters that are missing, in order.
    pub gaps: heapless::Vec<Gap, MAX_GAPS>,
    /// Bytes that arrived, with their UDP and IP headers.
    pub bytes: u32,
    /// Bytes that arrived while packets queued somewhere on the way.
    pub busy_bytes: u32,
    /// For how long packets queued, in microseconds.
    pub busy_micros: u32,
    /// The send time of the packet that arrived last.
    pub echo: u16,
    /// For how long it has been here, in units of 100 microseconds.
    pub hold: u16,
    /// The least one-way time since the last report, in units of 100 microseconds, modulo 65,536.
    pub least: u16,
    /// The mean deviation between the one-way times of neighbouring packets (RFC 3550, 6.4.1), in units of 10
    /// microseconds.
    pub jitter: u16,
}

/// A run of counters that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Counters that arrived before it, from the gap before or from the report's first counter on.
    pub after: u16,
    /// How many are missing.
    pub len: u16,
}

/// Gaps in one report at most; with more of them a report speaks of fewer counters. 16 gaps are a tenth of what
/// 100 Mbit/s carry in 20 ms.
pub const MAX_GAPS: usize = 16;

/// Frames in one block at most.
pub const MAX_FRAMES: usize = 8;

/// The longest block, without the byte before it. The longest frame, a report of [`MAX_GAPS`] gaps whose every number
/// takes the most bytes postcard's varints have, is within it.
pub const MAX_BLOCK: usize = u8::MAX as usize;

/// The longest encoding of a report: its number, two bytes, four numbers of 32 bits and five of 16, and the gaps behind
/// their count.
const MAX_REPORT: usize = 1 + 2 + 4 * 5 + 5 * 3 + 1 + MAX_GAPS * 6;

const _: () = assert!(MAX_REPORT <= MAX_BLOCK);

/// A body that is not what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The frames of one block.
pub type Frames = heapless::Vec<Control, MAX_FRAMES>;

/// Writes the block of `frames`, with its length byte, to the front of `out` and returns its length; None when `out`
/// is too small.
#[must_use]
pub fn emit(frames: &[Control], out: &mut [u8]) -> Option<usize> {
    let (len, mut rest) = out.split_first_mut()?;
    let room = rest.len();
    for frame in frames {
        let used = postcard::to_slice(frame, rest).ok()?.len();
        rest = rest.get_mut(used..)?;
    }
    let used = room.saturating_sub(rest.len());
    *len = u8::try_from(used).ok()?;
    used.checked_add(1)
}

/// Reads the block at the front of `body`: its frames and the bytes that follow.
pub fn parse(body: &[u8]) -> Result<(Frames, &[u8]), Malformed> {
    let (len, rest) = body.split_first().ok_or(Malformed)?;
    let (mut block, rest) = rest.split_at_checked(usize::from(*len)).ok_or(Malformed)?;
    let mut frames = Frames::new();
    while !block.is_empty() {
        let (frame, left) = postcard::take_from_bytes(block).map_err(|_| Malformed)?;
        frames.push(frame).map_err(|_| Malformed)?;
        block = left;
    }
    Ok((frames, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_as_they_went_in_and_unknown_stops_are_refused() {
        let terms = Terms {
            number: u8::MAX,
            tier: 9,
            weight: 100,
            is_backup: true,
            is_metered: true,
            stop: Stop::Hard,
            rate: u64::MAX,
        };
        let frames = Frames::from_iter([Control::Terms(terms), Control::TermsReply { number: 7 }]);
        let mut body = [0; 32];
        let len = emit(&frames, &mut body).unwrap();
        assert_eq!(&body[..len], [19, 10, 255, 9, 100, 1, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 11, 7]);
        assert_eq!(parse(&body[..len]), Ok((frames, &[][..])));
        body[7] = 3;
        assert_eq!(parse(&body[..len]), Err(Malformed));
    }

    fn longest() -> Control {
        let gap = Gap { after: u16::MAX, len: u16::MAX };
        Control::Report(Report {
            link: u8::MAX,
            session: u8::MAX,
            from: u32::MAX,
            span: u16::MAX,
            gaps: [gap; MAX_GAPS].into_iter().collect(),
            bytes: u32::MAX,
            busy_bytes: u32::MAX,
            busy_micros: u32::MAX,
            echo: u16::MAX,
            hold: u16::MAX,
            least: u16::MAX,
            jitter: u16::MAX,
        })
    }

    #[test]
    fn a_block_of_the_longest_frames_comes_back_as_it_went_in() {
        let mut frames = Frames::from_iter([longest()]);
        while frames.push(Control::Challenge { token: u64::MAX }).is_ok() {}
        let mut body = [0x77; MAX_BLOCK + 1 + 3];
        let len = emit(&frames, &mut body).unwrap();
        assert_eq!(len, 1 + MAX_REPORT + (MAX_FRAMES - 1) * 11);
        let (back, rest) = parse(&body[..len + 3]).unwrap();
        assert_eq!((back, rest), (frames, &[0x77; 3][..]));
    }

    #[test]
    fn a_block_longer_than_its_length_can_say_is_refused() {
        assert_eq!(emit(&[longest(), longest()], &mut [0; 2 * MAX_BLOCK]), None);
    }

    #[test]
    fn an_empty_block_is_one_byte() {
        let mut body = [9; 2];
        assert_eq!(emit(&[], &mut body), Some(1));
        assert_eq!(parse(&body), Ok((Frames::new(), &[9][..])));
    }

    #[test]
    fn too_many_frames_unknown_ones_and_blocks_past_the_end_are_refused() {
        let mut body = [0; 64];
        let len = emit(&[const { Control::Leave }; MAX_FRAMES], &mut body).unwrap();
        assert_eq!(len, MAX_FRAMES + 1);
        body[0] += 1;
        body[len] = body[1];
        assert_eq!(parse(&body), Err(Malformed));
        assert_eq!(parse(&[1, 0xff]), Err(Malformed));
        assert_eq!(parse(&[2, 6]), Err(Malformed));
        assert_eq!(parse(&[]), Err(Malformed));
        // A probe whose number is cut.
        assert_eq!(parse(&[1, 0]), Err(Malformed));
    }

    #[test]
    fn a_buffer_too_small_is_refused() {
        assert_eq!(emit(&[Control::Challenge { token: u64::MAX }], &mut [0; 11]), None);
        assert_eq!(emit(&[], &mut []), None);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Control frames of protocol 2: what the two ends say to each other about their links, sealed, alone or in front of a
//! data packet.
//!
//! A body with control begins with one byte, the length of the block of frames, then the block, then the inner packet
//! or, in a size probe, padding. Frames are postcard's encoding of [`Control`]; none holds another, so there is nothing
//! to nest.

use serde::{Deserialize, Serialize};

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// The longest encoding of a frame: its number, and a token of ten bytes (postcard's varint of 64 bits).
const MAX_FRAME: usize = 11;

/// Frames in one block at most.
pub const MAX_FRAMES: usize = 8;

/// The longest block, without the byte before it.
pub const MAX_BLOCK: usize = MAX_FRAMES * MAX_FRAME;

const _: () = assert!(MAX_BLOCK <= u8::MAX as usize);

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

    const LONGEST: Control = Control::Challenge { token: u64::MAX };

    #[test]
    fn a_block_of_the_longest_frames_comes_back_as_it_went_in() {
        let frames = [LONGEST; MAX_FRAMES];
        let mut body = [0x77; MAX_BLOCK + 1 + 3];
        assert_eq!(emit(&frames, &mut body), Some(MAX_BLOCK + 1));
        let (back, rest) = parse(&body).unwrap();
        assert_eq!((&back[..], rest), (&frames[..], &[0x77; 3][..]));
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
        let len = emit(&[Control::Leave; MAX_FRAMES], &mut body).unwrap();
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
        assert_eq!(emit(&[LONGEST], &mut [0; 11]), None);
        assert_eq!(emit(&[], &mut []), None);
    }
}

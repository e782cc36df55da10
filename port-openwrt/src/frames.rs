// SPDX-License-Identifier: BSD-2-Clause
//! A stream of bytes cut into messages.

use std::ops::Range;

use crate::blob::{HEADER, Malformed};
use crate::message::{Header, MESSAGE_HEADER, body_len};

/// Longer messages are passed over, in bytes without the header: netifd's answer about 100 interfaces is not as long, and
/// a router with 64 MB should not hold more for what somebody else sends.
pub const MAX_RECEIVED: usize = 131_072;

/// Messages come out whole, in the order of their bytes, however these were cut. Holds one message at most, and what
/// was fed with its end.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the first message not yet taken begins.
    start: usize,
    /// Bytes of a message too long to be kept that are still to come.
    skip: usize,
    /// Messages passed over.
    skipped: u64,
}

/// A message, as [`Frames::body`] gives it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    range: Range<usize>,
}

impl Frames {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes of the stream. Every message that is whole should be taken before.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is whole.
    ///
    /// # Errors
    /// When the stream is no stream of messages: nothing after this can be told apart.
    pub fn take(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            let skipped = self.skip.min(self.rest().len());
            self.start = self.start.saturating_add(skipped);
            self.skip = self.skip.saturating_sub(skipped);
            if self.skip > 0 {
                return Ok(None);
            }
            let rest = self.rest();
            let Some((header, body)) = rest.split_first_chunk::<MESSAGE_HEADER>() else { return Ok(None) };
            let Some(word) = body.first_chunk::<HEADER>() else { return Ok(None) };
            let (header, len) = (Header::parse(*header)?, body_len(*word)?);
            if len > MAX_RECEIVED {
                self.skip = MESSAGE_HEADER.saturating_add(len);
                self.skipped = self.skipped.saturating_add(1);
                continue;
            }
            if body.len() < len {
                return Ok(None);
            }
            let begin = self.start.saturating_add(MESSAGE_HEADER);
            let range = begin..begin.saturating_add(len);
            self.start = range.end;
            return Ok(Some(Frame { header, range }));
        }
    }

    /// What follows a message's header; the message must have been taken since the last [`Frames::feed`].
    #[must_use]
    pub fn body(&self, frame: &Frame) -> &[u8] {
        self.bytes.get(frame.range.clone()).unwrap_or_default()
    }

    /// How many messages were passed over for their length.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Kind, attribute, write};

    fn message(seq: u16, len: usize) -> Vec<u8> {
        write(Kind::Data, seq, 0, |attributes| attributes.put(attribute::DATA, &vec![0; len])).unwrap()
    }

    fn drain(frames: &mut Frames) -> Vec<(u16, usize)> {
        let mut found = Vec::new();
        while let Some(frame) = frames.take().unwrap() {
            found.push((frame.header.seq, frames.body(&frame).len()));
        }
        found
    }

    #[test]
    fn messages_come_out_whole_however_they_were_cut() {
        let stream: Vec<u8> = (1..5).flat_map(|seq| message(seq, usize::from(seq) * 3)).collect();
        for cut in 1..stream.len() {
            let mut frames = Frames::new();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                frames.feed(piece);
                found.extend(drain(&mut frames));
            }
            assert_eq!(found, [(1, 12), (2, 16), (3, 20), (4, 20)], "cut at every {cut} bytes");
        }
    }

    #[test]
    fn a_message_too_long_is_passed_over_without_being_held() {
        let mut frames = Frames::new();
        let stream = [message(1, 500_000), message(2, 4)].concat();
        let mut found = Vec::new();
        let mut most = 0;
        for piece in stream.chunks(1_000) {
            frames.feed(piece);
            most = most.max(frames.held());
            found.extend(drain(&mut frames));
        }
        assert_eq!((found, frames.skipped()), (vec![(2, 12)], 1));
        assert!(most <= 2_000, "{most} bytes were held");
    }

    #[test]
    fn a_stream_of_something_else_is_an_error() {
        let mut frames = Frames::new();
        frames.feed(b"GET / HTTP/1.1\r\n");
        assert!(matches!(frames.take(), Err(Malformed)));
        let mut frames = Frames::new();
        frames.feed(&[0; 12]);
        assert!(matches!(frames.take(), Err(Malformed)));
    }
}

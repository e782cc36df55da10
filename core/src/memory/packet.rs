// SPDX-License-Identifier: BSD-2-Clause
//! One packet in place: a fixed buffer and the window of it that is the packet now.

use crate::words::limits::PACKET_CAPACITY;

/// A buffer of [`PACKET_CAPACITY`] bytes with a window.
///
/// A datagram is received at the buffer's start; opening it moves the window onto the inner packet without copying.
#[derive(Clone, Debug)]
pub struct Packet {
    /// `start + len <= PACKET_CAPACITY`, always.
    start: u16,
    len: u16,
    bytes: [u8; PACKET_CAPACITY],
}

const _: () = assert!(size_of::<Packet>() == PACKET_CAPACITY + 4);
const _: () = assert!(size_of::<Packet>() == 26 * 64);

impl Packet {
    /// An empty packet, all zero, so that a pool in a `static` costs no space in the program file.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: 0, len: 0, bytes: [0; PACKET_CAPACITY] }
    }

    /// Lets `write` fill the buffer from its start; it returns how many bytes it wrote, which become the packet.
    pub fn fill<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        let len = write(&mut self.bytes)?.min(PACKET_CAPACITY);
        self.start = 0;
        self.len = u16::try_from(len).unwrap_or(0);
        Ok(len)
    }

    /// Copies `bytes` in as the packet; `false`, and no change, when they do not fit.
    #[must_use]
    pub fn copy_from(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.start = 0;
        self.len = u16::try_from(bytes.len()).unwrap_or(0);
        true
    }

    /// The packet's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let start = usize::from(self.start);
        self.bytes.get(start..start.saturating_add(usize::from(self.len))).unwrap_or(&[])
    }

    /// The packet's bytes, to change in place.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        let start = usize::from(self.start);
        self.bytes.get_mut(start..start.saturating_add(usize::from(self.len))).unwrap_or(&mut [])
    }

    /// Bytes in the packet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the packet has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first `len` bytes; `false`, and no change, when there are fewer.
    #[must_use]
    pub fn truncate(&mut self, len: usize) -> bool {
        match u16::try_from(len) {
            Ok(len) if len <= self.len => {
                self.len = len;
                true
            }
            _ => false,
        }
    }

    /// Removes `count` bytes from the front; `false`, and no change, when the packet is shorter.
    #[must_use]
    pub fn trim_front(&mut self, count: usize) -> bool {
        let Some((count, rest)) =
            u16::try_from(count).ok().and_then(|count| Some((count, self.len.checked_sub(count)?)))
        else {
            return false;
        };
        self.start = self.start.saturating_add(count);
        self.len = rest;
        true
    }
}

impl Default for Packet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_moves_the_window_and_never_past_the_end() {
        let mut packet = Packet::new();
        assert!(packet.copy_from(b"headerbody"));
        assert!(packet.trim_front(6));
        assert_eq!(packet.as_bytes(), b"body");
        assert!(!packet.trim_front(5));
        assert_eq!(packet.as_bytes(), b"body");
        assert!(packet.trim_front(4));
        assert!(packet.is_empty());
    }

    #[test]
    fn filling_starts_afresh_and_takes_no_more_than_the_capacity() {
        let mut packet = Packet::new();
        assert!(packet.copy_from(b"old"));
        assert!(packet.trim_front(2));
        let filled: Result<usize, ()> = packet.fill(|buffer| {
            buffer[..3].copy_from_slice(b"new");
            Ok(3)
        });
        assert_eq!(filled, Ok(3));
        assert_eq!(packet.as_bytes(), b"new");
        assert_eq!(packet.fill::<()>(|_| Ok(usize::MAX)), Ok(PACKET_CAPACITY));
        assert!(!packet.copy_from(&[0; PACKET_CAPACITY + 1]));
    }
}

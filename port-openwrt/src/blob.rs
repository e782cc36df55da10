// SPDX-License-Identifier: BSD-2-Clause
//! Attributes as libubox's `blob.h` lays them out: a big-endian word with a flag (1 bit), an id (7 bits) and the length of
//! word and payload (24 bits); then the payload, and zeros up to a multiple of four.

/// Bytes of the word before a payload.
pub const HEADER: usize = 4;

/// Attributes begin at multiples of this.
pub const ALIGN: usize = 4;

/// What the length's 24 bits hold.
const MAX_LEN: usize = 0x00ff_ffff;

/// The flag: the payload begins with a name (see [`crate::blobmsg`]).
const EXTENDED: u32 = 0x8000_0000;

/// Bytes that are no attributes: a length that is too short, or too long for what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed")
    }
}

impl std::error::Error for Malformed {}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// What it is, 0 to 127.
    pub id: u8,
    /// Whether the payload begins with a name.
    pub is_extended: bool,
    /// The payload without its padding.
    pub payload: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attribute at the front of `bytes`, and what follows its padding.
    ///
    /// # Errors
    /// When it is not there as a whole.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (word, _) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let word = u32::from_be_bytes(*word);
        let len = usize::try_from(word & 0x00ff_ffff).map_err(|_| Malformed)?;
        let payload = bytes.get(HEADER..len).ok_or(Malformed)?;
        let rest = bytes.get(len.next_multiple_of(ALIGN)..).ok_or(Malformed)?;
        let id = u8::try_from((word & !EXTENDED) >> 24).map_err(|_| Malformed)?;
        Ok((Self { id, is_extended: word & EXTENDED != 0, payload }, rest))
    }

    /// The payload as a number.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        self.payload.try_into().ok().map(u32::from_be_bytes)
    }

    /// The payload as a byte that says yes or no.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self.payload {
            [byte] => Some(*byte != 0),
            _ => None,
        }
    }

    /// The payload as a string, without the zero that ends it.
    #[must_use]
    pub fn as_string(&self) -> Option<&'a [u8]> {
        string(self.payload)
    }
}

/// A string up to its first zero; there must be one at the end.
pub(crate) fn string(payload: &[u8]) -> Option<&[u8]> {
    let end = payload.iter().position(|byte| *byte == 0)?;
    (payload.last() == Some(&0)).then(|| payload.get(..end))?
}

/// The attributes that `bytes` consist of, in order; an error is the last.
#[derive(Clone, Debug)]
pub struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// Of a payload.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = Attr::split(self.0);
        self.0 = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(attr, _)| attr))
    }
}

/// Writes attributes. What is longer than a length can say makes [`Writer::finish`] fail.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    is_too_long: bool,
}

/// An attribute whose payload is being written: where it begins.
#[derive(Debug)]
#[must_use = "an attribute that is not closed has no length"]
pub struct Open(usize);

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins an attribute: its payload is what is written until [`Writer::close`].
    pub fn open(&mut self, id: u8, is_extended: bool) -> Open {
        let open = Open(self.bytes.len());
        let flag = if is_extended { EXTENDED } else { 0 };
        self.bytes.extend_from_slice(&(flag | u32::from(id & 0x7f) << 24).to_be_bytes());
        open
    }

    /// Ends an attribute.
    pub fn close(&mut self, open: Open) {
        let len = self.bytes.len().saturating_sub(open.0);
        match u32::try_from(len).ok().filter(|_| len <= MAX_LEN) {
            Some(len) => {
                let word = self.bytes.get_mut(open.0..).and_then(|bytes| bytes.first_chunk_mut::<HEADER>());
                if let Some(word) = word {
                    *word = (u32::from_be_bytes(*word) | len).to_be_bytes();
                }
            }
            None => self.is_too_long = true,
        }
        self.pad();
    }

    /// Writes bytes of the open attribute's payload.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes zeros up to where an attribute can begin.
    pub fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// An attribute with this payload.
    pub fn put(&mut self, id: u8, payload: &[u8]) {
        let open = self.open(id, false);
        self.bytes(payload);
        self.close(open);
    }

    /// A number.
    pub fn put_u32(&mut self, id: u8, value: u32) {
        self.put(id, &value.to_be_bytes());
    }

    /// A string, without any zero in it.
    pub fn put_string(&mut self, id: u8, text: &[u8]) {
        let open = self.open(id, false);
        self.string(text);
        self.close(open);
    }

    /// A string of the open attribute's payload, up to its first zero, and the zero that ends it.
    pub fn string(&mut self, text: &[u8]) {
        self.bytes(text.split(|byte| *byte == 0).next().unwrap_or_default());
        self.bytes(&[0]);
    }

    /// What was written.
    ///
    /// # Errors
    /// When an attribute is longer than its length can say.
    pub fn finish(self) -> Result<Vec<u8>, TooLong> {
        if self.is_too_long { Err(TooLong) } else { Ok(self.bytes) }
    }
}

/// More than a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("more than a message holds")
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_padded_and_its_length_is_not() {
        let mut writer = Writer::new();
        writer.put_string(2, b"uci\0x");
        writer.put_u32(3, 0x4ce4_b6c9);
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes, [2, 0, 0, 8, b'u', b'c', b'i', 0, 3, 0, 0, 8, 0x4c, 0xe4, 0xb6, 0xc9]);
        let attrs: Vec<Attr<'_>> = Attrs::new(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!((attrs[0].as_string(), attrs[1].as_u32()), (Some(&b"uci"[..]), Some(0x4ce4_b6c9)));
        assert_eq!((attrs[0].as_bool(), attrs[1].as_bool(), attrs[1].as_string()), (None, None, None));
    }

    #[test]
    fn nested_attributes_are_counted_in_the_outer_length() {
        let mut writer = Writer::new();
        let outer = writer.open(7, true);
        writer.put(1, &[9]);
        writer.close(outer);
        assert_eq!(writer.finish().unwrap(), [0x87, 0, 0, 12, 1, 0, 0, 5, 9, 0, 0, 0]);
    }

    #[test]
    fn what_is_cut_short_or_overlong_is_malformed_and_ends_the_walk() {
        for bytes in [&[0, 0, 0][..], &[0, 0, 0, 3], &[0, 0, 0, 0], &[1, 0, 0, 6, 1, 2], &[1, 0, 1, 0, 0, 0, 0, 0]] {
            assert_eq!(Attr::split(bytes), Err(Malformed), "{bytes:?}");
            assert_eq!(Attrs::new(bytes).collect::<Vec<_>>(), [Err(Malformed)]);
        }
        assert_eq!(Attrs::new(&[]).count(), 0);
    }

    #[test]
    fn an_attribute_longer_than_24_bits_say_is_refused() {
        let mut writer = Writer::new();
        writer.put(1, &vec![0; MAX_LEN - HEADER]);
        assert!(writer.finish().is_ok());
        let mut writer = Writer::new();
        writer.put(1, &vec![0; MAX_LEN - HEADER + 1]);
        assert_eq!(writer.finish(), Err(TooLong));
    }
}

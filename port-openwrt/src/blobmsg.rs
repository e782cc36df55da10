// SPDX-License-Identifier: BSD-2-Clause
//! Named and typed values as libubox's `blobmsg.h` has them: what methods take and answer, JSON in binary.
//!
//! A [`Table`] or an [`Array`] exists only after everything in it was checked, to the last nested value; reading one cannot
//! fail. Strings and names are bytes: nobody promises that they are UTF-8.

use crate::blob::{ALIGN, Attr, Attrs, Malformed, Open, Writer, string};

/// Values nest this deep at most. What OpenWrt's own programs say nests four or five deep.
pub const MAX_DEPTH: u8 = 16;

/// Values in a message at most. netifd tells some 60 of an interface, so this is a machine with 500 interfaces.
pub const MAX_VALUES: u32 = 32_768;

/// The ids of the types, which are those of `blobmsg.h`.
pub mod kind {
    /// Null, or bytes of no type.
    pub const UNSPEC: u8 = 0;
    /// Values without names.
    pub const ARRAY: u8 = 1;
    /// Values with names.
    pub const TABLE: u8 = 2;
    /// Bytes up to a zero.
    pub const STRING: u8 = 3;
    /// 64 bits.
    pub const INT64: u8 = 4;
    /// 32 bits.
    pub const INT32: u8 = 5;
    /// 16 bits.
    pub const INT16: u8 = 6;
    /// 8 bits, which also say yes and no.
    pub const INT8: u8 = 7;
    /// A floating-point number of 64 bits.
    pub const DOUBLE: u8 = 8;
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Null when empty.
    Unspec(&'a [u8]),
    /// Values without names.
    Array(Array<'a>),
    /// Values with names.
    Table(Table<'a>),
    /// Without the zero that ends it.
    String(&'a [u8]),
    /// 64 bits.
    Int64(i64),
    /// 32 bits.
    Int32(i32),
    /// 16 bits.
    Int16(i16),
    /// 8 bits.
    Int8(i8),
    /// The bits of a floating-point number.
    Double(u64),
}

impl<'a> Value<'a> {
    /// The value as a number that is not negative, however wide.
    #[must_use]
    pub fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Self::Int64(value) => u64::try_from(value).ok(),
            Self::Int32(value) => u64::try_from(value).ok(),
            Self::Int16(value) => u64::try_from(value).ok(),
            Self::Int8(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The value as yes or no.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Int8(value) => Some(*value != 0),
            _ => None,
        }
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value of an attribute that was checked.
    fn read(id: u8, data: &'a [u8]) -> Option<Self> {
        Some(match id {
            kind::UNSPEC => Self::Unspec(data),
            kind::ARRAY => Self::Array(Array(data)),
            kind::TABLE => Self::Table(Table(data)),
            kind::STRING => Self::String(string(data)?),
            kind::INT64 => Self::Int64(i64::from_be_bytes(data.try_into().ok()?)),
            kind::INT32 => Self::Int32(i32::from_be_bytes(data.try_into().ok()?)),
            kind::INT16 => Self::Int16(i16::from_be_bytes(data.try_into().ok()?)),
            kind::INT8 => Self::Int8(i8::from_be_bytes(data.try_into().ok()?)),
            kind::DOUBLE => Self::Double(u64::from_be_bytes(data.try_into().ok()?)),
            _ => return None,
        })
    }
}

/// Values with names, all checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Table<'a>(&'a [u8]);

/// Values without names, all checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Array<'a>(&'a [u8]);

impl<'a> Table<'a> {
    /// The table that `payload` is.
    ///
    /// # Errors
    /// When anything in it is malformed, too deep, or too much.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut left = MAX_VALUES;
        check(payload, 0, &mut left)?;
        Ok(Self(payload))
    }

    /// Names and values in order. Names may be empty, and come twice.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        fields(self.0)
    }

    /// The first value of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Value<'a>> {
        self.fields().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }
}

impl<'a> Array<'a> {
    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        fields(self.0).map(|(_, value)| value)
    }
}

fn fields<'a>(payload: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
    Attrs::new(payload).filter_map(|attr| {
        let attr = attr.ok()?;
        let (name, data) = split_name(&attr).ok()?;
        Some((name, Value::read(attr.id, data)?))
    })
}

/// Checks all values of a payload, and what nests in them. `left` is how many more there may be.
fn check(payload: &[u8], depth: u8, left: &mut u32) -> Result<(), Malformed> {
    for attr in Attrs::new(payload) {
        let attr = attr?;
        *left = left.checked_sub(1).ok_or(Malformed)?;
        let (_, data) = split_name(&attr)?;
        match Value::read(attr.id, data).ok_or(Malformed)? {
            Value::Array(Array(inner)) | Value::Table(Table(inner)) if depth < MAX_DEPTH => {
                check(inner, depth.saturating_add(1), left)?;
            }
            Value::Array(_) | Value::Table(_) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(())
}

/// A value's name, and its data behind the name's padding.
fn split_name<'a>(attr: &Attr<'a>) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let (len, rest) = attr.payload.split_first_chunk::<2>().filter(|_| attr.is_extended).ok_or(Malformed)?;
    let len = usize::from(u16::from_be_bytes(*len));
    let name = rest.get(..len).ok_or(Malformed)?;
    let end = rest.get(len).ok_or(Malformed)?;
    let data = attr.payload.get(name_room(len)..).ok_or(Malformed)?;
    if *end == 0 && !name.contains(&0) { Ok((name, data)) } else { Err(Malformed) }
}

/// Bytes that a name of `len` takes: its length, itself, the zero behind it, and padding.
const fn name_room(len: usize) -> usize {
    (2 + len + 1).next_multiple_of(ALIGN)
}

/// Writes values.
#[derive(Debug, Default)]
pub struct Builder(pub(crate) Writer);

impl Builder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a value of this type; an element of an array has an empty name.
    pub fn open(&mut self, id: u8, name: &[u8]) -> Open {
        let open = self.0.open(id, true);
        let name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
        self.0.bytes(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.bytes(name);
        self.0.bytes(&[0]);
        self.0.pad();
        open
    }

    /// Ends a value.
    pub fn close(&mut self, open: Open) {
        self.0.close(open);
    }

    /// A value that nothing nests in.
    pub fn leaf(&mut self, id: u8, name: &[u8], data: &[u8]) {
        let open = self.open(id, name);
        self.0.bytes(data);
        self.close(open);
    }

    /// A string, up to its first zero.
    pub fn string(&mut self, name: &[u8], text: &[u8]) {
        let open = self.open(kind::STRING, name);
        self.0.string(text);
        self.close(open);
    }

    /// Any value, with all that nests in it.
    pub fn value(&mut self, name: &[u8], value: Value<'_>) {
        match value {
            Value::Unspec(data) => self.leaf(kind::UNSPEC, name, data),
            Value::String(text) => self.string(name, text),
            Value::Int64(value) => self.leaf(kind::INT64, name, &value.to_be_bytes()),
            Value::Int32(value) => self.leaf(kind::INT32, name, &value.to_be_bytes()),
            Value::Int16(value) => self.leaf(kind::INT16, name, &value.to_be_bytes()),
            Value::Int8(value) => self.leaf(kind::INT8, name, &value.to_be_bytes()),
            Value::Double(bits) => self.leaf(kind::DOUBLE, name, &bits.to_be_bytes()),
            Value::Array(array) => {
                let open = self.open(kind::ARRAY, name);
                array.values().for_each(|value| self.value(b"", value));
                self.close(open);
            }
            Value::Table(table) => {
                let open = self.open(kind::TABLE, name);
                self.fields(&table);
                self.close(open);
            }
        }
    }

    /// Everything in a table.
    pub fn fields(&mut self, table: &Table<'_>) {
        table.fields().for_each(|(name, value)| self.value(name, value));
    }

    /// What was written: the payload of a table.
    ///
    /// # Errors
    /// As [`Writer::finish`].
    pub fn finish(self) -> Result<Vec<u8>, crate::blob::TooLong> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_as_it_went_in() {
        let mut inner = Builder::new();
        inner.string(b"deep", b"x");
        let inner = inner.finish().unwrap();
        let values = [
            Value::Unspec(b""),
            Value::String(b"text"),
            Value::Int64(-5),
            Value::Int32(i32::MIN),
            Value::Int16(-2),
            Value::Int8(1),
            Value::Double(1.5_f64.to_bits()),
            Value::Table(Table::parse(&inner).unwrap()),
            Value::Array(Array(&inner)),
        ];
        let mut builder = Builder::new();
        for value in values {
            builder.value(b"name", value);
        }
        let bytes = builder.finish().unwrap();
        let table = Table::parse(&bytes).unwrap();
        let read: Vec<Value<'_>> = table.fields().map(|(_, value)| value).collect();
        assert_eq!(read[..8], values[..8]);
        // The element of an array has no name, whatever it had.
        let Value::Array(array) = read[8] else { panic!("{:?}", read[8]) };
        assert_eq!(array.values().collect::<Vec<_>>(), [Value::String(b"x")]);
        assert_eq!(table.find("name"), Some(Value::Unspec(b"")));
        assert_eq!(table.find("other"), None);
    }

    #[test]
    fn numbers_of_any_width_are_read_as_one_and_negative_ones_are_none() {
        for value in [Value::Int8(7), Value::Int16(7), Value::Int32(7), Value::Int64(7)] {
            assert_eq!(value.as_unsigned(), Some(7));
        }
        assert_eq!(Value::Int32(-7).as_unsigned(), None);
        assert_eq!(Value::String(b"7").as_unsigned(), None);
        assert_eq!((Value::Int8(2).as_bool(), Value::Int32(1).as_bool()), (Some(true), None));
        assert_eq!((Value::String(b"a").as_str(), Value::String(&[0xff]).as_str()), (Some("a"), None));
    }

    fn nested(depth: u8) -> Vec<u8> {
        let mut builder = Builder::new();
        let open: Vec<Open> = (0..depth).map(|_| builder.open(kind::TABLE, b"t")).collect();
        open.into_iter().rev().for_each(|open| builder.close(open));
        builder.finish().unwrap()
    }

    #[test]
    fn what_nests_too_deep_is_refused() {
        assert!(Table::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Table::parse(&nested(MAX_DEPTH + 1)), Err(Malformed));
        assert_eq!(Table::parse(&nested(200)), Err(Malformed));
    }

    #[test]
    fn more_values_than_a_message_may_have_are_refused() {
        let many = |count: u32| {
            let mut builder = Builder::new();
            (0..count).for_each(|_| builder.leaf(kind::INT8, b"", &[0]));
            builder.finish().unwrap()
        };
        assert!(Table::parse(&many(MAX_VALUES)).is_ok());
        assert_eq!(Table::parse(&many(MAX_VALUES + 1)), Err(Malformed));
    }

    #[test]
    fn values_of_another_length_type_or_name_than_they_say_are_refused() {
        let leaf = |id, data: &[u8]| {
            let mut builder = Builder::new();
            builder.leaf(id, b"n", data);
            builder.finish().unwrap()
        };
        for (id, data) in [
            (kind::INT8, &[][..]),
            (kind::INT8, &[1, 2]),
            (kind::INT16, &[1]),
            (kind::INT32, &[0; 8]),
            (kind::INT64, &[0; 4]),
            (kind::DOUBLE, &[0; 4]),
            (kind::STRING, &[]),
            (kind::STRING, b"no zero"),
            (kind::TABLE, &[1]),
            (9, &[]),
            (127, &[]),
        ] {
            assert_eq!(Table::parse(&leaf(id, data)), Err(Malformed), "{id} {data:?}");
        }
        // A length of the name beyond the value; a name that does not end; no name at all.
        for bytes in [
            [0x87, 0, 0, 8, 0, 9, 0, 0],
            [0x87, 0, 0, 8, 0, 1, b'n', b'x'],
            [0x87, 0, 0, 8, 0, 1, 0, 0],
            [0x07, 0, 0, 8, 0, 0, 0, 0],
        ] {
            assert_eq!(Table::parse(&bytes), Err(Malformed), "{bytes:?}");
        }
    }
}

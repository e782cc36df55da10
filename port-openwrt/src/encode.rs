// SPDX-License-Identifier: BSD-2-Clause
//! Anything `serde` can serialise, as a blobmsg table: structures and maps become tables, sequences arrays.
//!
//! What is `None` is left out. Numbers of up to 32 bits are written as 32 bits, as OpenWrt's programs expect them, unless
//! they exceed what a signed one holds, which is what the readers take it for; 64 bits stay 64.

use std::fmt::{self, Display};

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use crate::blob::{Open, TooLong};
use crate::blobmsg::{Builder, kind};

/// The payload of a table with the fields of `value`.
///
/// # Errors
/// When `value` is no structure and no map, or holds what blobmsg has no word for.
pub fn to_table(value: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    let mut out = Builder::new();
    value.serialize(Encoder { out: &mut out, name: None })?;
    Ok(out.finish()?)
}

/// Why a value is no blobmsg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// It is of a kind that blobmsg does not have.
    Unsupported,
    /// It is longer than an attribute can be.
    TooLong,
    /// Its own serialisation failed.
    Custom(String),
}

impl Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("blobmsg has no such values"),
            Self::TooLong => TooLong.fmt(f),
            Self::Custom(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<TooLong> for EncodeError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl ser::Error for EncodeError {
    fn custom<T: Display>(why: T) -> Self {
        Self::Custom(why.to_string())
    }
}

/// Writes one value under a name; without one, the fields of the message itself.
struct Encoder<'a, 'n> {
    out: &'a mut Builder,
    name: Option<&'n str>,
}

impl Encoder<'_, '_> {
    fn leaf(self, id: u8, data: &[u8]) -> Result<(), EncodeError> {
        let name = self.name.ok_or(EncodeError::Unsupported)?;
        self.out.leaf(id, name.as_bytes(), data);
        Ok(())
    }
}

/// Methods for what blobmsg has no word for.
macro_rules! unsupported {
    ($($method:ident($($value:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self $(, _: $value)*) -> Result<$ok, EncodeError> {
            Err(EncodeError::Unsupported)
        })*
    };
}

/// The same for variants that hold something.
macro_rules! unsupported_variants {
    () => {
        type SerializeTupleVariant = Impossible<(), EncodeError>;
        type SerializeStructVariant = Impossible<(), EncodeError>;
        unsupported! {
            serialize_bytes(&[u8]) -> ();
            serialize_i128(i128) -> ();
            serialize_u128(u128) -> ();
            serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
            serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), EncodeError> {
            Err(EncodeError::Unsupported)
        }
    };
}

impl<'a> Serializer for Encoder<'a, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeMap = Fields<'a>;
    type SerializeStruct = Fields<'a>;

    unsupported_variants! {}
    unsupported! {
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
    }

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.leaf(kind::INT8, &[u8::from(value)])
    }

    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.leaf(kind::INT32, &value.to_be_bytes())
    }

    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.leaf(kind::INT64, &value.to_be_bytes())
    }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_i32(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        match i32::try_from(value) {
            Ok(value) => self.serialize_i32(value),
            Err(_) => self.serialize_i64(value.into()),
        }
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.serialize_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.leaf(kind::DOUBLE, &value.to_bits().to_be_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        let name = self.name.ok_or(EncodeError::Unsupported)?;
        self.out.string(name.as_bytes(), value.as_bytes());
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'a>, EncodeError> {
        let name = self.name.ok_or(EncodeError::Unsupported)?;
        let open = self.out.open(kind::ARRAY, name.as_bytes());
        Ok(Elements { out: self.out, open })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'a>, EncodeError> {
        let open = self.name.map(|name| self.out.open(kind::TABLE, name.as_bytes()));
        Ok(Fields { out: self.out, open, key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields<'a>, EncodeError> {
        self.serialize_map(Some(len))
    }
}

/// An array that is being written.
struct Elements<'a> {
    out: &'a mut Builder,
    open: Open,
}

impl SerializeSeq for Elements<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Encoder { out: self.out, name: Some("") })
    }

    fn end(self) -> Result<(), EncodeError> {
        self.out.close(self.open);
        Ok(())
    }
}

/// A table that is being written, or the message itself.
struct Fields<'a> {
    out: &'a mut Builder,
    open: Option<Open>,
    /// Of the value that comes next in a map.
    key: String,
}

impl SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.key = key.serialize(Key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(Encoder { out: self.out, name: Some(&self.key) })
    }

    fn end(self) -> Result<(), EncodeError> {
        if let Some(open) = self.open {
            self.out.close(open);
        }
        Ok(())
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        value.serialize(Encoder { out: self.out, name: Some(name) })
    }

    fn end(self) -> Result<(), EncodeError> {
        SerializeMap::end(self)
    }
}

/// A map's key, which must be text.
struct Key;

impl Serializer for Key {
    type Ok = String;
    type Error = EncodeError;
    type SerializeSeq = Impossible<String, EncodeError>;
    type SerializeTuple = Impossible<String, EncodeError>;
    type SerializeTupleStruct = Impossible<String, EncodeError>;
    type SerializeTupleVariant = Impossible<String, EncodeError>;
    type SerializeMap = Impossible<String, EncodeError>;
    type SerializeStruct = Impossible<String, EncodeError>;
    type SerializeStructVariant = Impossible<String, EncodeError>;

    fn serialize_str(self, value: &str) -> Result<String, EncodeError> {
        Ok(value.to_owned())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<String, EncodeError> {
        Err(EncodeError::Unsupported)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<String, EncodeError> {
        Err(EncodeError::Unsupported)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, EncodeError> {
        Err(EncodeError::Unsupported)
    }

    unsupported! {
        serialize_bool(bool) -> String;
        serialize_i8(i8) -> String;
        serialize_i16(i16) -> String;
        serialize_i32(i32) -> String;
        serialize_i64(i64) -> String;
        serialize_u8(u8) -> String;
        serialize_u16(u16) -> String;
        serialize_u32(u32) -> String;
        serialize_u64(u64) -> String;
        serialize_f32(f32) -> String;
        serialize_f64(f64) -> String;
        serialize_char(char) -> String;
        serialize_bytes(&[u8]) -> String;
        serialize_none() -> String;
        serialize_unit() -> String;
        serialize_unit_struct(&'static str) -> String;
        serialize_unit_variant(&'static str, u32, &'static str) -> String;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::blobmsg::{Table, Value};

    #[derive(serde::Serialize)]
    struct Sample<'a> {
        flag: bool,
        small: u8,
        large: u32,
        huge: u64,
        ratio: f64,
        absent: Option<u8>,
        present: Option<&'a str>,
        list: Vec<Inner>,
        counts: BTreeMap<&'static str, u64>,
    }

    #[derive(serde::Serialize)]
    struct Inner {
        name: char,
    }

    #[test]
    fn a_structure_becomes_a_table_of_its_fields() {
        let sample = Sample {
            flag: true,
            small: 255,
            large: u32::MAX,
            huge: u64::MAX,
            ratio: 1.5,
            absent: None,
            present: Some("te\0xt"),
            list: vec![Inner { name: 'ä' }],
            counts: BTreeMap::from([("a", 1)]),
        };
        let bytes = to_table(&sample).unwrap();
        let table = Table::parse(&bytes).unwrap();
        let names: Vec<&[u8]> = table.fields().map(|(name, _)| name).collect();
        let expected = ["flag", "small", "large", "huge", "ratio", "present", "list", "counts"];
        assert_eq!(names, expected.map(str::as_bytes));
        assert_eq!(table.find("flag"), Some(Value::Int8(1)));
        assert_eq!(table.find("small"), Some(Value::Int32(255)));
        assert_eq!(table.find("large"), Some(Value::Int64(u32::MAX.into())));
        assert_eq!(table.find("huge"), Some(Value::Int64(i64::MAX)));
        assert_eq!(table.find("ratio"), Some(Value::Double(1.5_f64.to_bits())));
        assert_eq!(table.find("present"), Some(Value::String(b"te")));
        let Some(Value::Array(list)) = table.find("list") else { panic!("no list") };
        let Some(Value::Table(inner)) = list.values().next() else { panic!("no table") };
        assert_eq!(inner.find("name").and_then(|value| value.as_str()), Some("ä"));
        let Some(Value::Table(counts)) = table.find("counts") else { panic!("no counts") };
        assert_eq!(counts.find("a"), Some(Value::Int64(1)));
    }

    #[test]
    fn what_blobmsg_has_no_word_for_is_an_error() {
        assert_eq!(to_table(&5), Err(EncodeError::Unsupported));
        assert_eq!(to_table(&"text"), Err(EncodeError::Unsupported));
        assert_eq!(to_table(&vec![1]), Err(EncodeError::Unsupported));
        assert_eq!(to_table(&BTreeMap::from([(1, 1)])), Err(EncodeError::Unsupported));
        assert_eq!(to_table(&BTreeMap::from([("a", (1, 2))])), Err(EncodeError::Unsupported));
    }
}

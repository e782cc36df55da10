// SPDX-License-Identifier: BSD-2-Clause
//! A bus for tests: a stand-in for ubusd, or a real one, and clients of either.

mod broker;
mod client;
mod netifd;
mod stand_in;

use mlvpnd::blob::Writer;
use mlvpnd::blobmsg::{Array, Table, Value};
use mlvpnd::message::Kind;
use serde_json::{Map, Number};

pub use broker::Broker;
pub use client::{Answer, Client};
pub use netifd::{Interface, Netifd};
pub use stand_in::StandIn;

/// A whole message.
///
/// # Panics
/// When it is longer than ubusd takes.
#[must_use]
pub fn message(kind: Kind, seq: u16, peer: u32, attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    mlvpnd::message::write(kind, seq, peer, attributes).expect("tests say little")
}

/// A table as JSON, as `ubus` prints it.
#[must_use]
pub fn to_json(table: &Table<'_>) -> serde_json::Value {
    let fields = table.fields().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value_to_json(value)));
    serde_json::Value::Object(fields.collect::<Map<_, _>>())
}

fn array_to_json(array: &Array<'_>) -> serde_json::Value {
    array.values().map(value_to_json).collect()
}

fn value_to_json(value: Value<'_>) -> serde_json::Value {
    match value {
        Value::Unspec(_) => serde_json::Value::Null,
        Value::Array(array) => array_to_json(&array),
        Value::Table(table) => to_json(&table),
        Value::String(text) => String::from_utf8_lossy(text).into_owned().into(),
        Value::Int64(value) => value.into(),
        Value::Int32(value) => value.into(),
        Value::Int16(value) => value.into(),
        Value::Int8(value) => (value != 0).into(),
        Value::Double(bits) => Number::from_f64(f64::from_bits(bits)).map_or(serde_json::Value::Null, Into::into),
    }
}

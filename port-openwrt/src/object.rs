// SPDX-License-Identifier: BSD-2-Clause
//! The object `mlvpn`: its methods, and what they answer.

use mlvpn::daemon::{Control, LinkChange, Usage};
use mlvpn::log::Topic;
use mlvpn::log_warn;
use mlvpn::status::{HISTORY_SAMPLES, Happening, LinkStatus, SAMPLE_INTERVAL};
use mlvpn_core::state::identity::{KEY, SecretKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::blobmsg::{Table, Value, kind};
use crate::encode::to_table;
use crate::message::Status;
use crate::session::{Call, Published};

/// Peers told at once when nobody says how many: 2,000 of 500 bytes fill a message.
const USUAL_PEERS: u64 = 100;

/// The object as it is published. Arguments nobody knows are passed over, as rpcd adds its own.
pub(crate) const OBJECT: Published = Published {
    path: "mlvpn",
    methods: &[
        ("status", &[]),
        ("links", &[("name", kind::STRING)]),
        ("peers", &[("first", kind::INT32), ("count", kind::INT32)]),
        ("history", &[("name", kind::STRING), ("seconds", kind::INT32)]),
        ("reload", &[]),
        ("link", &[("name", kind::STRING), ("action", kind::STRING), ("rate", kind::INT32)]),
        ("keygen", &[("private_key", kind::STRING)]),
    ],
};

/// What a method answers: a table's payload, wiped after use since it may hold a key.
type Answer = Result<Zeroizing<Vec<u8>>, Status>;

/// Does what a call asks for.
pub(crate) fn call(call: &Call<'_>, control: &mut dyn Control) -> Answer {
    let arguments = Arguments(call.arguments.map_err(|_| Status::INVALID_ARGUMENT)?);
    match call.method {
        b"status" => encode(&control.status()),
        b"links" => links(&arguments, control),
        b"peers" => peers(&arguments, control),
        b"history" => history(&arguments, control),
        b"reload" => reload(control),
        b"link" => link(&arguments, control),
        b"keygen" => keygen(&arguments),
        _ => Err(Status::METHOD_NOT_FOUND),
    }
}

/// A happening as an event: its name behind the object's, and its payload.
pub(crate) fn event(happening: &Happening) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
    let (name, data) = match happening {
        Happening::Tunnel(tunnel) => ("tunnel", encode(tunnel)),
        Happening::Link(link) => ("link", encode(link)),
    };
    Some((name, data.ok()?))
}

#[derive(Serialize)]
struct Links {
    links: Vec<LinkStatus>,
}

fn links(arguments: &Arguments<'_>, control: &dyn Control) -> Answer {
    let mut links = control.status().links;
    if let Some(name) = arguments.text("name")? {
        links.retain(|link| link.name == name);
        if links.is_empty() {
            return Err(Status::NOT_FOUND);
        }
    }
    encode(&Links { links })
}

fn peers(arguments: &Arguments<'_>, control: &dyn Control) -> Answer {
    let first = arguments.number("first")?.unwrap_or(0);
    let count = arguments.number("count")?.unwrap_or(USUAL_PEERS);
    encode(&control.peers(clamp(first), clamp(count)))
}

fn history(arguments: &Arguments<'_>, control: &dyn Control) -> Answer {
    let all = HISTORY_SAMPLES as u64;
    let seconds = arguments.number("seconds")?;
    let samples = seconds.map_or(all, |seconds| seconds.saturating_mul(1_000).div_ceil(SAMPLE_INTERVAL.millis()));
    let mut history = control.history(clamp(samples.min(all)));
    if let Some(name) = arguments.text("name")? {
        history.links.retain(|link| link.name == name);
        if history.links.is_empty() {
            return Err(Status::NOT_FOUND);
        }
    }
    encode(&history)
}

fn reload(control: &mut dyn Control) -> Answer {
    control.reload().map_err(|why| {
        log_warn!(Topic::Control, "cannot have the configuration read again: {why}");
        Status::SYSTEM_ERROR
    })?;
    Ok(nothing())
}

fn link(arguments: &Arguments<'_>, control: &mut dyn Control) -> Answer {
    let name = arguments.text("name")?.ok_or(Status::INVALID_ARGUMENT)?;
    let usage = match arguments.text("action")? {
        None => None,
        Some("up") => Some(Usage::Configured),
        Some("down") => Some(Usage::Disabled),
        Some("backup") => Some(Usage::Backup),
        Some(_) => return Err(Status::INVALID_ARGUMENT),
    };
    let rate = arguments.number("rate")?.map(u32::try_from).transpose().map_err(|_| Status::INVALID_ARGUMENT)?;
    if usage.is_none() && rate.is_none() {
        return Err(Status::INVALID_ARGUMENT);
    }
    let change = LinkChange { usage, rate_bytes_per_sec: rate };
    control.change_link(name, change).map_err(|_| Status::NOT_FOUND)?;
    Ok(nothing())
}

#[derive(Serialize)]
struct Keys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
    public_key: &'a str,
}

/// A new pair of keys, or the public key that belongs to the private one given.
fn keygen(arguments: &Arguments<'_>) -> Answer {
    let (private, is_new) = match arguments.text("private_key")? {
        Some(text) => (SecretKey::from_text(text).map_err(|_| Status::INVALID_ARGUMENT)?, false),
        None => {
            let mut bytes = Zeroizing::new([0; KEY]);
            getrandom::fill(&mut *bytes).map_err(|_| Status::SYSTEM_ERROR)?;
            (SecretKey::from_random(bytes), true)
        }
    };
    let (text, public) = (private.to_text(), private.public_key().to_text());
    encode(&Keys { private_key: is_new.then(|| text.as_str()), public_key: public.as_str() })
}

fn encode(value: &impl Serialize) -> Answer {
    to_table(value).map(Zeroizing::new).map_err(|why| {
        log_warn!(Topic::Control, "an answer cannot be told on the bus: {why}");
        Status::UNKNOWN_ERROR
    })
}

fn nothing() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::new())
}

fn clamp(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A call's arguments; one of the wrong type is an error, and not passed over.
struct Arguments<'a>(Table<'a>);

impl<'a> Arguments<'a> {
    fn text(&self, name: &str) -> Result<Option<&'a str>, Status> {
        self.typed(name, |value| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        self.typed(name, |value| value.as_unsigned())
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Result<Option<T>, Status> {
        self.0.find(name).map(|value| read(value).ok_or(Status::INVALID_ARGUMENT)).transpose()
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The object `mlvpn`: its methods, and what they answer.

use mlvpn::daemon::{self, Command, CommandError, Control, LinkAction, LinkCommand};
use mlvpn::log::Topic;
use mlvpn::log_warn;
use mlvpn::status::Happening;
use mlvpn_core::state::identity::{KEY, SecretKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::blobmsg::{Table, Value, kind};
use crate::encode::to_table;
use crate::message::Status;
use crate::session::{Call, Published};

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
    let command = match call.method {
        b"status" => Command::Status {},
        b"links" => Command::Links { name: arguments.owned("name")? },
        b"peers" => Command::Peers { first: arguments.number("first")?, count: arguments.number("count")? },
        b"history" => Command::History { name: arguments.owned("name")?, seconds: arguments.number("seconds")? },
        b"reload" => Command::Reload {},
        b"link" => Command::Link(link(&arguments)?),
        b"keygen" => return keygen(&arguments),
        _ => return Err(Status::METHOD_NOT_FOUND),
    };
    match command.run(control) {
        Ok(daemon::Answer::Done {}) => Ok(nothing()),
        Ok(answer) => encode(&answer),
        Err(CommandError::NotFound(_)) => Err(Status::NOT_FOUND),
        Err(CommandError::Invalid(_)) => Err(Status::INVALID_ARGUMENT),
        Err(CommandError::Failed(why)) => {
            log_warn!(Topic::Control, "{why}");
            Err(Status::SYSTEM_ERROR)
        }
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

fn link(arguments: &Arguments<'_>) -> Result<LinkCommand, Status> {
    let name = arguments.owned("name")?.ok_or(Status::INVALID_ARGUMENT)?;
    let action = arguments.text("action")?.map(|word| LinkAction::of(word).ok_or(Status::INVALID_ARGUMENT));
    let rate = arguments.number("rate")?.map(u32::try_from).transpose().map_err(|_| Status::INVALID_ARGUMENT)?;
    Ok(LinkCommand { name, action: action.transpose()?, rate, ..LinkCommand::default() })
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

/// A call's arguments; one of the wrong type is an error, and not passed over.
struct Arguments<'a>(Table<'a>);

impl<'a> Arguments<'a> {
    fn text(&self, name: &str) -> Result<Option<&'a str>, Status> {
        self.typed(name, |value| value.as_str())
    }

    fn owned(&self, name: &str) -> Result<Option<String>, Status> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        self.typed(name, |value| value.as_unsigned())
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Result<Option<T>, Status> {
        self.0.find(name).map(|value| read(value).ok_or(Status::INVALID_ARGUMENT)).transpose()
    }
}

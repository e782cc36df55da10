// SPDX-License-Identifier: BSD-2-Clause
//! Messages between ubusd and its clients: a header, and attributes by number (`ubusmsg.h`).

use crate::blob::{Attrs, HEADER, Malformed, TooLong, Writer};
use crate::blobmsg::Table;

/// Bytes of version, type, sequence number and peer.
pub const MESSAGE_HEADER: usize = 8;

/// ubusd and libubus take no longer ones (`UBUS_MAX_MSGLEN`), in bytes without the header.
pub const MAX_SENT: usize = 1_048_576;

/// ubusd's own object, which takes events and says who hears them.
pub const EVENT_OBJECT: u32 = 1;

/// Attributes' numbers.
pub mod attribute {
    /// How a request ended.
    pub const STATUS: u8 = 1;
    /// An object's path.
    pub const PATH: u8 = 2;
    /// An object's number.
    pub const OBJECT: u8 = 3;
    /// A method, or an event.
    pub const METHOD: u8 = 4;
    /// The number of an object's set of methods.
    pub const TYPE: u8 = 5;
    /// An object's methods with their arguments.
    pub const SIGNATURE: u8 = 6;
    /// Arguments or results.
    pub const DATA: u8 = 7;
    /// The object subscribed to.
    pub const TARGET: u8 = 8;
    /// Whether anyone is subscribed.
    pub const ACTIVE: u8 = 9;
    /// Nobody waits for an answer.
    pub const NO_REPLY: u8 = 10;
    /// Who is subscribed.
    pub const SUBSCRIBERS: u8 = 11;
    /// The caller's user.
    pub const USER: u8 = 12;
    /// The caller's group.
    pub const GROUP: u8 = 13;
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// ubusd greets.
    Hello = 0,
    /// How a request ended.
    Status = 1,
    /// Part of an answer.
    Data = 2,
    /// Are you there?
    Ping = 3,
    /// Which objects are there?
    Lookup = 4,
    /// Call a method.
    Invoke = 5,
    /// Publish an object.
    AddObject = 6,
    /// Withdraw it.
    RemoveObject = 7,
    /// Hear another object's notifications.
    Subscribe = 8,
    /// Hear them no more, or: it is gone.
    Unsubscribe = 9,
    /// Tell the subscribers, or: there are some now.
    Notify = 10,
    /// Watch the bus.
    Monitor = 11,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Hello,
        Self::Status,
        Self::Data,
        Self::Ping,
        Self::Lookup,
        Self::Invoke,
        Self::AddObject,
        Self::RemoveObject,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Notify,
        Self::Monitor,
    ];
}

/// How a request ended (`enum ubus_msg_status`): what `ubus` prints and scripts see as exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// It was done.
    pub const OK: Self = Self(0);
    /// Nobody knows what was asked.
    pub const INVALID_COMMAND: Self = Self(1);
    /// An argument is missing, or of the wrong type, or means nothing; or ubusd will not have an object.
    pub const INVALID_ARGUMENT: Self = Self(2);
    /// The object has no such method.
    pub const METHOD_NOT_FOUND: Self = Self(3);
    /// There is no such thing.
    pub const NOT_FOUND: Self = Self(4);
    /// The caller may not.
    pub const PERMISSION_DENIED: Self = Self(6);
    /// It was tried, and failed.
    pub const UNKNOWN_ERROR: Self = Self(9);
    /// The system refused.
    pub const SYSTEM_ERROR: Self = Self(13);
}

/// The first bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is for; `None` for what this version does not know.
    pub kind: Option<Kind>,
    /// By which an answer finds its question.
    pub seq: u16,
    /// Who asks; in an answer that ubusd passes on, the object's number.
    pub peer: u32,
}

impl Header {
    /// Reads a header of the one version there is.
    ///
    /// # Errors
    /// Of another version: what follows cannot be told apart.
    pub fn parse(bytes: [u8; MESSAGE_HEADER]) -> Result<Self, Malformed> {
        let [version, kind, seq_high, seq_low, peer @ ..] = bytes;
        if version != 0 {
            return Err(Malformed);
        }
        let kind = Kind::ALL.get(usize::from(kind)).copied();
        Ok(Self { kind, seq: u16::from_be_bytes([seq_high, seq_low]), peer: u32::from_be_bytes(peer) })
    }
}

/// The attributes of a message that this program reads. One of a wrong length is as good as absent, as to ubusd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// How a request ended.
    pub status: Option<Status>,
    /// An object's path.
    pub path: Option<&'a [u8]>,
    /// An object's number.
    pub object: Option<u32>,
    /// A method, or an event.
    pub method: Option<&'a [u8]>,
    /// The number of an object's set of methods.
    pub kind: Option<u32>,
    /// An object's methods.
    pub signature: Option<&'a [u8]>,
    /// Arguments or results, not checked by ubusd.
    pub data: Option<Result<Table<'a>, Malformed>>,
    /// The object subscribed to.
    pub target: Option<u32>,
    /// Whether anyone is subscribed.
    pub active: Option<bool>,
    /// Nobody waits for an answer.
    pub no_reply: bool,
    /// The caller's user.
    pub user: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    /// Reads the attributes that follow a header, with the word around them.
    ///
    /// # Errors
    /// When they are no attributes.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (root, _) = crate::blob::Attr::split(message)?;
        let mut found = Self::default();
        for attr in Attrs::new(root.payload) {
            let attr = attr?;
            match attr.id {
                attribute::STATUS => found.status = attr.as_u32().map(Status),
                attribute::PATH => found.path = attr.as_string(),
                attribute::OBJECT => found.object = attr.as_u32(),
                attribute::METHOD => found.method = attr.as_string(),
                attribute::TYPE => found.kind = attr.as_u32(),
                attribute::SIGNATURE => found.signature = Some(attr.payload),
                attribute::DATA => found.data = Some(Table::parse(attr.payload)),
                attribute::TARGET => found.target = attr.as_u32(),
                attribute::ACTIVE => found.active = attr.as_bool(),
                attribute::NO_REPLY => found.no_reply = attr.as_bool() == Some(true),
                attribute::USER => found.user = attr.as_string(),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Writes a whole message: its header, and the attributes that `write` adds.
///
/// # Errors
/// When it is longer than ubusd takes.
pub fn write(kind: Kind, seq: u16, peer: u32, write: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, TooLong> {
    let mut writer = Writer::new();
    writer.bytes(&[0, kind as u8]);
    writer.bytes(&seq.to_be_bytes());
    writer.bytes(&peer.to_be_bytes());
    let root = writer.open(0, false);
    write(&mut writer);
    writer.close(root);
    let message = writer.finish()?;
    if message.len() > MESSAGE_HEADER + MAX_SENT { Err(TooLong) } else { Ok(message) }
}

/// Bytes of the attributes that follow a header, padding included, told from their first word.
///
/// # Errors
/// When the word says less than its own length.
pub fn body_len(word: [u8; HEADER]) -> Result<usize, Malformed> {
    let len = usize::try_from(u32::from_be_bytes(word) & 0x00ff_ffff).map_err(|_| Malformed)?;
    if len < HEADER { Err(Malformed) } else { Ok(len.next_multiple_of(crate::blob::ALIGN)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_numbers() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let bytes = write(Kind::Invoke, 0x1234, 7, |attributes| {
            attributes.put_u32(attribute::OBJECT, 9);
            attributes.put_string(attribute::METHOD, b"status");
            attributes.put(attribute::DATA, &[]);
            attributes.put(attribute::NO_REPLY, &[1]);
        });
        let bytes = bytes.unwrap();
        let (header, body) = bytes.split_first_chunk::<MESSAGE_HEADER>().unwrap();
        let header = Header::parse(*header).unwrap();
        assert_eq!(header, Header { kind: Some(Kind::Invoke), seq: 0x1234, peer: 7 });
        assert_eq!(body_len(*body.first_chunk().unwrap()), Ok(body.len()));
        let found = Attributes::parse(body).unwrap();
        let expected = Attributes {
            object: Some(9),
            method: Some(b"status"),
            data: Some(Ok(Table::default())),
            no_reply: true,
            ..Attributes::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn foreign_data_that_is_malformed_spoils_only_itself() {
        let bytes = write(Kind::Invoke, 1, 2, |attributes| {
            attributes.put(attribute::OBJECT, &[1, 2, 3]);
            attributes.put(attribute::DATA, &[1, 2, 3]);
            attributes.put(99, &[1]);
            attributes.put_string(attribute::METHOD, b"x");
        });
        let bytes = bytes.unwrap();
        let found = Attributes::parse(&bytes[MESSAGE_HEADER..]).unwrap();
        assert_eq!((found.object, found.data, found.method), (None, Some(Err(Malformed)), Some(&b"x"[..])));
    }

    #[test]
    fn another_version_and_impossible_lengths_are_refused() {
        assert_eq!(Header::parse([1, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed));
        assert_eq!(Header::parse([0, 200, 0, 0, 0, 0, 0, 0]).unwrap().kind, None);
        assert_eq!(body_len([0, 0, 0, 3]), Err(Malformed));
        assert_eq!(body_len([0, 0, 0, 5]), Ok(8));
        assert_eq!(Attributes::parse(&[0, 0, 0, 8]), Err(Malformed));
    }

    #[test]
    fn a_message_that_ubusd_would_refuse_is_not_written() {
        let of = |len: usize| write(Kind::Data, 0, 0, |attributes| attributes.put(attribute::DATA, &vec![0; len]));
        assert!(of(MAX_SENT - 2 * HEADER).is_ok());
        assert_eq!(of(MAX_SENT - 2 * HEADER + 1), Err(TooLong));
    }
}

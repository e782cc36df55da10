// SPDX-License-Identifier: BSD-2-Clause
//! A client of the bus that waits for its answers, as the program `ubus` does.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpnd::blob::Writer;
use mlvpnd::encode::to_table;
use mlvpnd::frames::Frames;
use mlvpnd::message::{Attributes, EVENT_OBJECT, Kind, Status, attribute};
use serde_json::{Value, json};

use super::{message, to_json};
use crate::wait::LIMIT;

/// What a call brought: its result, or why there is none.
pub type Answer = Result<Value, Status>;

/// A connection to the bus.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
    seq: u16,
    /// Calls, events and notifications that came while something else was awaited.
    calls: VecDeque<Incoming>,
}

/// Somebody calls: an event is a call of a method of its name.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The method.
    pub method: String,
    /// The arguments.
    pub data: Value,
    seq: u16,
    peer: u32,
    object: u32,
    no_reply: bool,
}

/// A message, as far as clients look at it.
struct Reply {
    kind: Option<Kind>,
    seq: u16,
    status: Option<Status>,
    object: Option<u32>,
    data: Option<Value>,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(StdDuration::from_millis(20))).expect("a socket");
        Self { stream, frames: Frames::new(), seq: 0, calls: VecDeque::new() }
    }

    /// Calls a method of an object; several results are one after the other in an array.
    ///
    /// # Errors
    /// When it has no result but a status.
    pub fn call(&mut self, path: &str, method: &str, arguments: &Value) -> Answer {
        let object = self.look_up(path)?;
        self.invoke(object, method, arguments)
    }

    /// The number of an object.
    ///
    /// # Errors
    /// When there is none.
    pub fn look_up(&mut self, path: &str) -> Result<u32, Status> {
        let (replies, status) = self.ask(Kind::Lookup, 0, |out| out.put_string(attribute::PATH, path.as_bytes()));
        match replies.iter().find_map(|reply| reply.object) {
            Some(object) if status == Status::OK => Ok(object),
            _ => Err(if status == Status::OK { Status::NOT_FOUND } else { status }),
        }
    }

    fn invoke(&mut self, object: u32, method: &str, arguments: &Value) -> Answer {
        let arguments = to_table(arguments).expect("arguments are an object");
        let (replies, status) = self.ask(Kind::Invoke, object, |out| {
            out.put_u32(attribute::OBJECT, object);
            out.put_string(attribute::METHOD, method.as_bytes());
            out.put(attribute::DATA, &arguments);
        });
        if status != Status::OK {
            return Err(status);
        }
        let mut data = replies.into_iter().filter_map(|reply| reply.data);
        Ok(data.next().unwrap_or(Value::Null))
    }

    /// Hears events whose names match, from now on.
    ///
    /// # Panics
    /// When the bus refuses.
    pub fn listen(&mut self, pattern: &str) {
        let object = self.publish(None).expect("an object without a path");
        let object = i32::from_ne_bytes(object.to_ne_bytes());
        // The number's type is asked for, which is why it is not 64 bits wide.
        let arguments = json!({"object": 0, "pattern": pattern});
        let mut builder = mlvpnd::blobmsg::Builder::new();
        builder.value(b"object", mlvpnd::blobmsg::Value::Int32(object));
        builder.string(b"pattern", arguments["pattern"].as_str().unwrap_or_default().as_bytes());
        let arguments = builder.finish().expect("short");
        let (_, status) = self.ask(Kind::Invoke, EVENT_OBJECT, |out| {
            out.put_u32(attribute::OBJECT, EVENT_OBJECT);
            out.put_string(attribute::METHOD, b"register");
            out.put(attribute::DATA, &arguments);
        });
        assert_eq!(status, Status::OK, "listening for {pattern}");
    }

    /// Hears what an object notifies its subscribers of, from now on.
    ///
    /// # Panics
    /// When the bus refuses.
    pub fn subscribe(&mut self, path: &str) {
        let own = self.publish(None).expect("an object without a path");
        let target = self.look_up(path).expect("the object is there");
        let (_, status) = self.ask(Kind::Subscribe, 0, |out| {
            out.put_u32(attribute::OBJECT, own);
            out.put_u32(attribute::TARGET, target);
        });
        assert_eq!(status, Status::OK, "subscribing to {path}");
    }

    /// Adds an object, and tells its number.
    ///
    /// # Errors
    /// When the bus refuses.
    pub fn publish(&mut self, path: Option<&str>) -> Result<u32, Status> {
        let (replies, status) = self.ask(Kind::AddObject, 0, |out| {
            if let Some(path) = path {
                out.put_string(attribute::PATH, path.as_bytes());
                out.put(attribute::SIGNATURE, &[]);
            }
        });
        replies.iter().find_map(|reply| reply.object).filter(|_| status == Status::OK).ok_or(status)
    }

    /// Notifies the subscribers of an object of this client's.
    pub fn notify(&mut self, object: u32, method: &str, data: &Value) {
        let data = to_table(data).expect("data are an object");
        self.seq += 1;
        let told = message(Kind::Notify, self.seq, object, |out| {
            out.put_u32(attribute::OBJECT, object);
            out.put_string(attribute::METHOD, method.as_bytes());
            out.put(attribute::NO_REPLY, &[1]);
            out.put(attribute::DATA, &data);
        });
        self.send(&told);
    }

    /// The next call, event or notification, if one comes within a moment.
    pub fn poll(&mut self) -> Option<Incoming> {
        if self.calls.is_empty() {
            self.receive();
        }
        self.calls.pop_front()
    }

    /// Waits for a call, event or notification that `is_wanted`, and passes over others.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect(&mut self, method: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = clock::now() + LIMIT;
        let mut passed = Vec::new();
        while clock::now() < deadline {
            let Some(call) = self.poll() else { continue };
            if call.method == method && is_wanted(&call.data) {
                return call.data;
            }
            passed.push(call);
        }
        panic!("{method} did not come; there came {passed:#?}");
    }

    /// Answers a call.
    pub fn answer(&mut self, call: &Incoming, answer: &Answer) {
        if call.no_reply {
            return;
        }
        if let Ok(data) = answer {
            let data = to_table(data).expect("results are an object");
            let told = message(Kind::Data, call.seq, call.peer, |out| {
                out.put_u32(attribute::OBJECT, call.object);
                out.put(attribute::DATA, &data);
            });
            self.send(&told);
        }
        let status = answer.as_ref().err().copied().unwrap_or(Status::OK);
        let ended = message(Kind::Status, call.seq, call.peer, |out| {
            out.put_u32(attribute::STATUS, status.0);
            out.put_u32(attribute::OBJECT, call.object);
        });
        self.send(&ended);
    }

    /// Asks, and waits for every answer up to the status that ends it.
    fn ask(&mut self, kind: Kind, peer: u32, attributes: impl FnOnce(&mut Writer)) -> (Vec<Reply>, Status) {
        self.seq += 1;
        let seq = self.seq;
        self.send(&message(kind, seq, peer, attributes));
        let deadline = clock::now() + LIMIT;
        let mut replies = Vec::new();
        while clock::now() < deadline {
            for reply in self.receive() {
                match reply {
                    Reply { seq: answered, .. } if answered != seq => {}
                    Reply { kind: Some(Kind::Status), status: Some(status), .. } => return (replies, status),
                    other => replies.push(other),
                }
            }
        }
        panic!("{kind:?} was not answered");
    }

    fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).expect("the bus is there");
    }

    /// Takes what came within a moment: answers are returned, calls are kept.
    fn receive(&mut self) -> Vec<Reply> {
        let mut bytes = [0; 16_384];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the bus is gone"),
            Ok(len) => self.frames.feed(&bytes[..len]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Vec::new(),
            Err(why) => panic!("the bus is gone: {why}"),
        }
        let mut replies = Vec::new();
        while let Some(frame) = self.frames.take().expect("messages") {
            let found = Attributes::parse(self.frames.body(&frame)).expect("attributes");
            let data = found.data.map(|data| to_json(&data.expect("well-formed data")));
            let (header, object) = (frame.header, found.object);
            match (header.kind, found.method, object) {
                (Some(Kind::Invoke), Some(method), Some(object)) => self.calls.push_back(Incoming {
                    method: String::from_utf8_lossy(method).into_owned(),
                    data: data.unwrap_or(Value::Null),
                    seq: header.seq,
                    peer: header.peer,
                    object,
                    no_reply: found.no_reply,
                }),
                (kind, ..) => replies.push(Reply { kind, seq: header.seq, status: found.status, object, data }),
            }
        }
        replies
    }
}

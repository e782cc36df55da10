// SPDX-License-Identifier: BSD-2-Clause
//! A stand-in for ubusd: of its protocol what `mlvpnd` and these tests use, as far as the recorded session and the real one
//! show it. The real one takes its place where there is one, see [`Broker`](super::Broker).

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration as StdDuration;

use mlvpnd::blob::Writer;
use mlvpnd::encode::to_table;
use mlvpnd::frames::Frames;
use mlvpnd::message::{Attributes, EVENT_OBJECT, Header, Kind, Status, attribute};
use serde_json::json;

use super::{message, to_json};

/// The user that every client is; a real ubusd asks the kernel.
const USER: &[u8] = b"root";

/// A running stand-in; it is gone when dropped, and its clients' connections are closed.
#[derive(Debug)]
pub struct StandIn {
    bus: Arc<Mutex<Bus>>,
    is_ending: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Bus {
    clients: HashMap<u32, UnixStream>,
    objects: BTreeMap<u32, Object>,
    /// Patterns of events, and the objects that hear them.
    patterns: Vec<(String, u32)>,
    denied: Vec<String>,
    last_number: u32,
    last_seq: u16,
}

#[derive(Debug)]
struct Object {
    client: u32,
    path: Option<Vec<u8>>,
    signature: Vec<u8>,
    /// Objects that hear its notifications.
    subscribers: Vec<u32>,
}

impl StandIn {
    /// Listens at `path`, and publishes no object of a path in `denied`.
    ///
    /// # Panics
    /// When it cannot listen there.
    #[must_use]
    pub fn start(path: &Path, denied: &[&str]) -> Self {
        let socket = UnixListener::bind(path).expect("a path nobody listens at");
        socket.set_nonblocking(true).expect("a socket");
        let denied = denied.iter().map(|path| (*path).to_owned()).collect();
        let bus = Arc::new(Mutex::new(Bus { denied, last_number: 0x1000, ..Bus::default() }));
        let is_ending = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&bus), Arc::clone(&is_ending));
        let listener = thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                match socket.accept() {
                    Ok((stream, _)) => serve(&shared, stream),
                    Err(_) => thread::sleep(StdDuration::from_millis(5)),
                }
            }
        });
        Self { bus, is_ending, listener: Some(listener) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        for stream in lock(&self.bus).clients.values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn lock(bus: &Mutex<Bus>) -> MutexGuard<'_, Bus> {
    bus.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Greets a client, and serves it in a thread until it leaves.
fn serve(bus: &Arc<Mutex<Bus>>, mut stream: UnixStream) {
    stream.set_nonblocking(false).expect("a socket");
    let id = {
        let mut bus = lock(bus);
        let id = bus.number();
        bus.clients.insert(id, stream.try_clone().expect("descriptors"));
        bus.send(id, &message(Kind::Hello, 0, id, |_| {}));
        id
    };
    let bus = Arc::clone(bus);
    thread::spawn(move || {
        let mut frames = Frames::new();
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut bytes) {
            frames.feed(&bytes[..len]);
            while let Ok(Some(frame)) = frames.take() {
                lock(&bus).handle(id, frame.header, frames.body(&frame));
            }
        }
        lock(&bus).remove_client(id);
    });
}

impl Bus {
    fn number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    fn send(&mut self, client: u32, message: &[u8]) {
        if let Some(stream) = self.clients.get_mut(&client) {
            // Who left meanwhile is removed by its own thread.
            drop(stream.write_all(message));
        }
    }

    fn handle(&mut self, client: u32, header: Header, body: &[u8]) {
        let Ok(found) = Attributes::parse(body) else { return };
        let ended = match header.kind {
            Some(Kind::AddObject) => self.add_object(client, header, &found),
            Some(Kind::RemoveObject) => self.remove_object(client, header, &found),
            Some(Kind::Lookup) => self.look_up(client, header, &found),
            Some(Kind::Invoke) => return self.invoke(client, header, &found),
            Some(Kind::Data | Kind::Status) => return self.pass_answer(client, header, &found, body),
            Some(Kind::Subscribe) => self.subscribe(client, &found),
            Some(Kind::Notify) => return self.notify(client, header, &found),
            Some(Kind::Ping) => Status::OK,
            _ => Status::INVALID_COMMAND,
        };
        self.end(client, header, ended);
    }

    /// Tells a client how its request ended.
    fn end(&mut self, client: u32, header: Header, status: Status) {
        let ended = message(Kind::Status, header.seq, header.peer, |out| out.put_u32(attribute::STATUS, status.0));
        self.send(client, &ended);
    }

    fn add_object(&mut self, client: u32, header: Header, found: &Attributes<'_>) -> Status {
        let path = found.path.map(<[u8]>::to_vec);
        if let Some(path) = &path {
            let is_taken = self.objects.values().any(|object| object.path.as_ref() == Some(path));
            if is_taken || self.denied.iter().any(|denied| denied.as_bytes() == path) {
                return Status::INVALID_ARGUMENT;
            }
        }
        let id = self.number();
        let signature = found.signature.unwrap_or_default().to_vec();
        self.objects.insert(id, Object { client, path: path.clone(), signature, subscribers: Vec::new() });
        if let Some(path) = path {
            self.tell_event("ubus.object.add", &json!({"id": id, "path": String::from_utf8_lossy(&path)}), None);
        }
        let answer = message(Kind::Data, header.seq, header.peer, |out| out.put_u32(attribute::OBJECT, id));
        self.send(client, &answer);
        Status::OK
    }

    fn remove_object(&mut self, client: u32, header: Header, found: &Attributes<'_>) -> Status {
        let Some(id) = found.object.filter(|id| self.owner(*id) == Some(client)) else { return Status::NOT_FOUND };
        let answer = message(Kind::Data, header.seq, header.peer, |out| out.put_u32(attribute::OBJECT, id));
        self.send(client, &answer);
        self.withdraw(id);
        Status::OK
    }

    /// An object is gone: its subscribers are told, and what it heard it hears no more.
    fn withdraw(&mut self, id: u32) {
        let Some(object) = self.objects.remove(&id) else { return };
        for subscriber in object.subscribers {
            let Some(owner) = self.owner(subscriber) else { continue };
            self.last_seq += 1;
            let gone = message(Kind::Unsubscribe, self.last_seq, 0, |out| {
                out.put_u32(attribute::OBJECT, subscriber);
                out.put_u32(attribute::TARGET, id);
            });
            self.send(owner, &gone);
        }
        self.patterns.retain(|(_, hearer)| *hearer != id);
        let losing: Vec<u32> = self
            .objects
            .iter()
            .filter(|(_, object)| object.subscribers.contains(&id))
            .map(|(target, _)| *target)
            .collect();
        for target in losing {
            if let Some(object) = self.objects.get_mut(&target) {
                object.subscribers.retain(|subscriber| *subscriber != id);
            }
            self.tell_active(target);
        }
        if let Some(path) = object.path {
            self.tell_event("ubus.object.remove", &json!({"id": id, "path": String::from_utf8_lossy(&path)}), None);
        }
    }

    fn remove_client(&mut self, client: u32) {
        self.clients.remove(&client);
        let own: Vec<u32> =
            self.objects.iter().filter(|(_, object)| object.client == client).map(|(id, _)| *id).collect();
        own.into_iter().for_each(|id| self.withdraw(id));
    }

    fn look_up(&mut self, client: u32, header: Header, found: &Attributes<'_>) -> Status {
        let is_wanted = |object: &Object| match (found.path, object.path.as_deref()) {
            (None, Some(_)) => true,
            (Some(wanted), Some(path)) => match wanted.strip_suffix(b"*") {
                Some(prefix) => path.starts_with(prefix),
                None => wanted == path,
            },
            (_, None) => false,
        };
        let answers: Vec<Vec<u8>> = self
            .objects
            .iter()
            .filter(|(_, object)| is_wanted(object))
            .map(|(id, object)| {
                message(Kind::Data, header.seq, header.peer, |out| {
                    out.put_string(attribute::PATH, object.path.as_deref().unwrap_or_default());
                    out.put_u32(attribute::OBJECT, *id);
                    out.put(attribute::SIGNATURE, &object.signature);
                })
            })
            .collect();
        answers.iter().for_each(|answer| self.send(client, answer));
        if answers.is_empty() && found.path.is_some() { Status::NOT_FOUND } else { Status::OK }
    }

    fn invoke(&mut self, client: u32, header: Header, found: &Attributes<'_>) {
        let (Some(id), Some(method)) = (found.object, found.method) else {
            return self.end(client, header, Status::INVALID_ARGUMENT);
        };
        if id == EVENT_OBJECT {
            let ended = self.event(client, method, found);
            return self.end(client, header, ended);
        }
        let Some(owner) = self.owner(id) else { return self.end(client, header, Status::NOT_FOUND) };
        let call = message(Kind::Invoke, header.seq, client, |out| forward(out, id, found));
        self.send(owner, &call);
    }

    /// The methods of ubusd's own object.
    fn event(&mut self, client: u32, method: &[u8], found: &Attributes<'_>) -> Status {
        let Some(Ok(arguments)) = found.data else { return Status::INVALID_ARGUMENT };
        let arguments = to_json(&arguments);
        match method {
            b"register" => {
                let pattern = arguments["pattern"].as_str();
                // Numbers above the middle are printed as negative ones.
                let object = arguments["object"].as_i64().map(|number| number & 0xffff_ffff);
                let object = object.and_then(|number| u32::try_from(number).ok());
                let (Some(pattern), Some(object)) = (pattern, object) else { return Status::INVALID_ARGUMENT };
                self.patterns.push((pattern.to_owned(), object));
                Status::OK
            }
            b"send" => {
                let Some(id) = arguments["id"].as_str() else { return Status::INVALID_ARGUMENT };
                self.tell_event(id, &arguments["data"], Some(client));
                Status::OK
            }
            _ => Status::INVALID_COMMAND,
        }
    }

    /// Tells who hears an event, but not who sent it.
    fn tell_event(&mut self, id: &str, data: &serde_json::Value, from: Option<u32>) {
        let data = to_table(data).unwrap_or_default();
        let hears = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => id.starts_with(prefix),
            None => id == pattern,
        };
        let hearers: Vec<u32> =
            self.patterns.iter().filter(|(pattern, _)| hears(pattern)).map(|(_, object)| *object).collect();
        for hearer in hearers {
            let Some(owner) = self.owner(hearer).filter(|owner| Some(*owner) != from) else { continue };
            self.last_seq += 1;
            let event = message(Kind::Invoke, self.last_seq, 0, |out| {
                out.put_u32(attribute::OBJECT, hearer);
                out.put_string(attribute::METHOD, id.as_bytes());
                out.put(attribute::DATA, &data);
            });
            self.send(owner, &event);
        }
    }

    /// Passes an object's answer on to who asked.
    fn pass_answer(&mut self, client: u32, header: Header, found: &Attributes<'_>, body: &[u8]) {
        let Some(object) = found.object.filter(|id| self.owner(*id) == Some(client)) else { return };
        let mut answer = message(header.kind.expect("it was matched"), header.seq, object, |_| {});
        answer.truncate(mlvpnd::message::MESSAGE_HEADER);
        answer.extend_from_slice(body);
        self.send(header.peer, &answer);
    }

    fn subscribe(&mut self, client: u32, found: &Attributes<'_>) -> Status {
        let (Some(own), Some(target)) = (found.object, found.target) else { return Status::INVALID_ARGUMENT };
        if self.owner(own) != Some(client) {
            return Status::INVALID_ARGUMENT;
        }
        let Some(object) = self.objects.get_mut(&target) else { return Status::NOT_FOUND };
        object.subscribers.push(own);
        self.tell_active(target);
        Status::OK
    }

    /// Tells an object whether anyone is subscribed to it.
    fn tell_active(&mut self, target: u32) {
        let Some(object) = self.objects.get(&target) else { return };
        let (owner, is_active) = (object.client, !object.subscribers.is_empty());
        self.last_seq += 1;
        let told = message(Kind::Notify, self.last_seq, 0, |out| {
            out.put_u32(attribute::OBJECT, target);
            out.put(attribute::ACTIVE, &[u8::from(is_active)]);
        });
        self.send(owner, &told);
    }

    fn notify(&mut self, client: u32, header: Header, found: &Attributes<'_>) {
        let Some(object) = found.object.and_then(|id| self.objects.get(&id)).filter(|object| object.client == client)
        else {
            return self.end(client, header, Status::NOT_FOUND);
        };
        for subscriber in object.subscribers.clone() {
            let Some(owner) = self.owner(subscriber) else { continue };
            let told = message(Kind::Invoke, header.seq, client, |out| {
                forward(out, subscriber, found);
                out.put(attribute::NO_REPLY, &[u8::from(found.no_reply)]);
            });
            self.send(owner, &told);
        }
        if !found.no_reply {
            self.end(client, header, Status::OK);
        }
    }

    /// The client that an object belongs to.
    fn owner(&self, object: u32) -> Option<u32> {
        self.objects.get(&object).map(|object| object.client)
    }
}

/// A call's attributes as its receiver gets them.
fn forward(out: &mut Writer, object: u32, found: &Attributes<'_>) {
    out.put_u32(attribute::OBJECT, object);
    out.put_string(attribute::METHOD, found.method.unwrap_or_default());
    out.put_string(attribute::USER, USER);
    if let Some(Ok(data)) = found.data {
        let mut copy = mlvpnd::blobmsg::Builder::new();
        copy.fields(&data);
        out.put(attribute::DATA, &copy.finish().unwrap_or_default());
    }
}

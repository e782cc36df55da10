// SPDX-License-Identifier: BSD-2-Clause
//! A client's side of one connection to ubusd, without the socket: what to say, and what an answer means.
//!
//! After [`Session::begin`] it publishes the object, under a second path where there is one, adds one without a name that hears netifd and ubusd, and asks for
//! netifd's interfaces, again whenever netifd comes back. What is to be sent gathers in the outbox; messages that came are
//! given to [`Session::handle`], which says what the daemon has to do about them.
//!
//! Of several tunnels each has a path of its own, and whoever is first has the short one, too; the others go on asking for
//! it, so that it is there as long as any tunnel is.

use mlvpn::backoff::Backoff;
use mlvpn_core::words::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

use crate::blob::{Malformed, TooLong, Writer};
use crate::blobmsg::{Builder, Table};
use crate::message::{Attributes, EVENT_OBJECT, Header, Kind, Status, attribute, write};

/// netifd's object that tells of all interfaces.
const NETIFD: &[u8] = b"network.interface";

/// ubusd's event that an object was published.
const OBJECT_ADDED: &[u8] = b"ubus.object.add";

/// When netifd is not there and its coming might have been missed, it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What waits to be sent may not become longer, in bytes: a ubusd that does not read is as good as none. Two of the longest
/// messages fit.
const MAX_OUTBOX: usize = 2 * crate::message::MAX_SENT;

/// Questions that may be unanswered at once; more than ever are asked.
const MAX_ASKED: usize = 16;

/// An object to publish.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Its path.
    pub path: &'static str,
    /// Its methods: names, and each argument's name and [type](crate::blobmsg::kind).
    pub methods: &'static [(&'static str, &'static [(&'static str, u8)])],
}

/// One path of the object.
#[derive(Debug)]
struct Place {
    path: String,
    /// The object's number, once it is published.
    object: Option<u32>,
    has_subscribers: bool,
    /// The waits between attempts to publish it.
    publishing: Backoff,
    /// When to try again to publish it; `None` while it is there, or ubusd is being asked.
    publish_at: Option<Instant>,
}

impl Place {
    const fn new(path: String) -> Self {
        Self { path, object: None, has_subscribers: false, publishing: Backoff::new(), publish_at: None }
    }
}

/// What an answer that is awaited is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// The path of this number.
    Publish(usize),
    AddListener,
    HearObjects,
    FindNetifd,
    Subscribe,
    Dump,
    /// Whatever comes of it.
    Tell,
}

/// What a message means for the daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard<'a> {
    /// Nothing.
    Nothing,
    /// The object is there for everyone, under the path of this number: 0 is the short one.
    Published(usize),
    /// ubusd will not have the object under this path.
    Refused(usize, Status),
    /// ubusd will not tell of netifd: interfaces are not followed.
    NetifdRefused(Status),
    /// Somebody calls a method of the object; answer it with [`Session::answer`].
    Call(Call<'a>),
    /// netifd's answer about every interface.
    Interfaces(Table<'a>),
    /// netifd tells of an interface.
    Interface(Table<'a>),
}

/// A call of a method of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Which.
    pub method: &'a [u8],
    /// The arguments, empty when there are none.
    pub arguments: Result<Table<'a>, Malformed>,
    object: u32,
    seq: u16,
    peer: u32,
    no_reply: bool,
}

/// One connection's state. See the module's description.
#[derive(Debug)]
pub struct Session {
    published: Published,
    /// The object's paths, the short one first.
    places: Vec<Place>,
    /// The number of the object that hears.
    listener: Option<u32>,
    netifd: Option<u32>,
    seq: u16,
    asked: Vec<(u16, Question)>,
    /// When to look for netifd again; `None` while it is there, or is being asked.
    look_at: Option<Instant>,
    outbox: Zeroizing<Vec<u8>>,
}

impl Session {
    /// Of a connection that is about to be; the tunnel called `tunnel` is found under its own path, too.
    #[must_use]
    pub fn new(published: Published, tunnel: Option<&str>) -> Self {
        let own = tunnel.map(|tunnel| format!("{}.{tunnel}", published.path));
        let paths = std::iter::once(published.path.to_owned()).chain(own);
        Self {
            published,
            places: paths.map(Place::new).collect(),
            listener: None,
            netifd: None,
            seq: 0,
            asked: Vec::with_capacity(MAX_ASKED),
            look_at: None,
            outbox: Zeroizing::new(Vec::new()),
        }
    }

    /// The connection is there: everything begins.
    pub fn begin(&mut self) {
        (0..self.places.len()).for_each(|place| self.publish(place));
        self.ask(Question::AddListener, Kind::AddObject, 0, |_| {});
    }

    /// Whether the object is published, under any path.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.places.iter().any(|place| place.object.is_some())
    }

    /// The path of this number.
    #[must_use]
    pub fn path(&self, place: usize) -> &str {
        self.places.get(place).map_or("", |place| &place.path)
    }

    /// When [`Session::handle_timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.publish_at).chain(self.look_at).min()
    }

    /// Tries again what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for place in 0..self.places.len() {
            if self.places.get(place).and_then(|place| place.publish_at).is_some_and(|at| at <= now) {
                self.publish(place);
            }
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.find_netifd();
        }
    }

    /// Takes a message and says what to do about it. One that is malformed means nothing.
    pub fn handle<'a>(&mut self, header: Header, body: &'a [u8], now: Instant) -> Heard<'a> {
        let Ok(found) = Attributes::parse(body) else { return Heard::Nothing };
        match header.kind {
            Some(Kind::Data) => self.handle_data(header.seq, found),
            Some(Kind::Status) => self.handle_status(header.seq, found, now),
            Some(Kind::Invoke) => self.handle_invoke(header, found),
            Some(Kind::Notify) => {
                let told = self.places.iter_mut().find(|place| place.object.is_some() && place.object == found.object);
                if let Some(place) = told {
                    place.has_subscribers = found.active == Some(true);
                }
                Heard::Nothing
            }
            Some(Kind::Unsubscribe) if self.netifd.is_some() && found.target == self.netifd => {
                self.netifd = None;
                self.look_at = Some(now + LOOK_AGAIN);
                Heard::Nothing
            }
            _ => Heard::Nothing,
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// When the result is longer than ubusd takes; the caller is told, too.
    pub fn answer(&mut self, call: &Call<'_>, answer: Result<&[u8], Status>) -> Result<(), TooLong> {
        if call.no_reply {
            return Ok(());
        }
        let object = call.object;
        let (mut status, mut outcome) = (answer.err().unwrap_or(Status::OK), Ok(()));
        if let Ok(result) = answer {
            let message = write(Kind::Data, call.seq, call.peer, |attributes| {
                attributes.put_u32(attribute::OBJECT, object);
                attributes.put(attribute::DATA, result);
            });
            match message.map(Zeroizing::new) {
                Ok(message) => self.send(&message),
                Err(why) => (status, outcome) = (Status::UNKNOWN_ERROR, Err(why)),
            }
        }
        self.send_status(call.seq, call.peer, object, status);
        outcome
    }

    /// Sends an event called by the object's path, a dot and `event`, with a table's payload, and notifies the object's
    /// subscribers of `event`.
    pub fn announce(&mut self, event: &str, data: &[u8]) {
        let path = self.published.path;
        let mut arguments = Builder::new();
        arguments.string(b"id", format!("{path}.{event}").as_bytes());
        let open = arguments.open(crate::blobmsg::kind::TABLE, b"data");
        arguments.0.bytes(data);
        arguments.close(open);
        let Ok(arguments) = arguments.finish() else { return };
        self.invoke(Question::Tell, EVENT_OBJECT, b"send", &arguments);
        let subscribed = self.places.iter().filter(|place| place.has_subscribers).filter_map(|place| place.object);
        for object in subscribed.collect::<Vec<_>>() {
            self.ask(Question::Tell, Kind::Notify, object, |attributes| {
                attributes.put_u32(attribute::OBJECT, object);
                attributes.put_string(attribute::METHOD, event.as_bytes());
                attributes.put(attribute::NO_REPLY, &[1]);
                attributes.put(attribute::DATA, data);
            });
        }
    }

    /// What is to be sent.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        &self.outbox
    }

    /// Whether more waits to be sent than ubusd will ever take.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.outbox.len() > MAX_OUTBOX
    }

    /// The first `count` bytes of the outbox were sent.
    pub fn sent(&mut self, count: usize) {
        if count >= self.outbox.len() {
            // An answer may have held a key.
            self.outbox.zeroize();
        } else {
            self.outbox.drain(..count);
        }
    }
}

/// What came.
impl Session {
    fn handle_data<'a>(&mut self, seq: u16, found: Attributes<'a>) -> Heard<'a> {
        let question = self.asked.iter().find(|(asked, _)| *asked == seq).map(|(_, question)| *question);
        match (question, found) {
            (Some(Question::Publish(place)), Attributes { object: Some(object), .. }) => {
                if let Some(place) = self.places.get_mut(place) {
                    place.object = Some(object);
                }
            }
            (Some(Question::AddListener), Attributes { object: Some(object), .. }) => self.listener = Some(object),
            (Some(Question::FindNetifd), Attributes { object: Some(object), .. }) => self.netifd = Some(object),
            (Some(Question::Dump), Attributes { data: Some(Ok(data)), .. }) => return Heard::Interfaces(data),
            _ => {}
        }
        Heard::Nothing
    }

    /// A question was answered as a whole.
    fn handle_status<'a>(&mut self, seq: u16, found: Attributes<'a>, now: Instant) -> Heard<'a> {
        let Some(place) = self.asked.iter().position(|(asked, _)| *asked == seq) else { return Heard::Nothing };
        let (_, question) = self.asked.remove(place);
        let status = found.status.unwrap_or(Status::UNKNOWN_ERROR);
        match (question, status) {
            (Question::Publish(place), status) => return self.handle_published(place, status, now),
            (Question::AddListener, Status::OK) => {
                self.hear_objects();
                self.find_netifd();
            }
            (Question::FindNetifd, Status::OK) => self.ask_netifd(),
            (Question::FindNetifd | Question::Subscribe | Question::Dump, Status::NOT_FOUND) => {
                self.netifd = None;
                self.look_at = Some(now + LOOK_AGAIN);
            }
            (Question::FindNetifd | Question::Subscribe | Question::Dump, status) if status != Status::OK => {
                self.look_at = Some(now + LOOK_AGAIN);
                return Heard::NetifdRefused(status);
            }
            _ => {}
        }
        Heard::Nothing
    }

    fn handle_published<'a>(&mut self, number: usize, status: Status, now: Instant) -> Heard<'a> {
        let Some(place) = self.places.get_mut(number) else { return Heard::Nothing };
        if status == Status::OK && place.object.is_some() {
            place.publishing.succeeded();
            return Heard::Published(number);
        }
        place.object = None;
        place.publish_at = Some(place.publishing.failed(now));
        Heard::Refused(number, status)
    }

    fn handle_invoke<'a>(&mut self, header: Header, found: Attributes<'a>) -> Heard<'a> {
        let (Some(object), Some(method)) = (found.object, found.method) else { return Heard::Nothing };
        let Header { seq, peer, .. } = header;
        let arguments = found.data.unwrap_or(Ok(Table::default()));
        if self.places.iter().any(|place| place.object == Some(object)) {
            return Heard::Call(Call { method, arguments, object, seq, peer, no_reply: found.no_reply });
        }
        if self.listener != Some(object) {
            return Heard::Nothing;
        }
        if !found.no_reply {
            self.send_status(seq, peer, object, Status::OK);
        }
        let Ok(arguments) = arguments else { return Heard::Nothing };
        if method == OBJECT_ADDED {
            let path = arguments.find("path").and_then(|path| path.as_str());
            if path.is_some_and(|path| path.as_bytes() == NETIFD) {
                self.find_netifd();
            }
            return Heard::Nothing;
        }
        match method {
            b"interface.update" | b"interface.down" => Heard::Interface(arguments),
            _ => Heard::Nothing,
        }
    }
}

/// What is said.
impl Session {
    fn publish(&mut self, number: usize) {
        let Some(place) = self.places.get_mut(number) else { return };
        place.publish_at = None;
        let path = place.path.clone();
        let signature = signature(self.published.methods);
        self.ask(Question::Publish(number), Kind::AddObject, 0, |attributes| {
            attributes.put_string(attribute::PATH, path.as_bytes());
            attributes.put(attribute::SIGNATURE, &signature);
        });
    }

    fn hear_objects(&mut self) {
        let Some(listener) = self.listener else { return };
        let mut arguments = Builder::new();
        arguments.leaf(crate::blobmsg::kind::INT32, b"object", &listener.to_be_bytes());
        arguments.string(b"pattern", OBJECT_ADDED);
        if let Ok(arguments) = arguments.finish() {
            self.invoke(Question::HearObjects, EVENT_OBJECT, b"register", &arguments);
        }
    }

    fn find_netifd(&mut self) {
        self.look_at = None;
        let is_asking = |(_, question): &(u16, Question)| {
            matches!(question, Question::FindNetifd | Question::Subscribe | Question::Dump)
        };
        if self.asked.iter().any(is_asking) {
            return;
        }
        self.ask(Question::FindNetifd, Kind::Lookup, 0, |attributes| attributes.put_string(attribute::PATH, NETIFD));
    }

    /// Subscribes first and asks then, so that no change falls between.
    fn ask_netifd(&mut self) {
        let (Some(listener), Some(netifd)) = (self.listener, self.netifd) else { return };
        self.ask(Question::Subscribe, Kind::Subscribe, 0, |attributes| {
            attributes.put_u32(attribute::OBJECT, listener);
            attributes.put_u32(attribute::TARGET, netifd);
        });
        self.invoke(Question::Dump, netifd, b"dump", &[]);
    }

    fn invoke(&mut self, question: Question, object: u32, method: &[u8], arguments: &[u8]) {
        self.ask(question, Kind::Invoke, object, |attributes| {
            attributes.put_u32(attribute::OBJECT, object);
            attributes.put_string(attribute::METHOD, method);
            attributes.put(attribute::DATA, arguments);
        });
    }

    fn ask(&mut self, question: Question, kind: Kind, peer: u32, attributes: impl FnOnce(&mut Writer)) {
        self.seq = self.seq.wrapping_add(1);
        if let Ok(message) = write(kind, self.seq, peer, attributes) {
            if self.asked.len() == MAX_ASKED {
                self.asked.remove(0);
            }
            self.asked.push((self.seq, question));
            self.send(&message);
        }
    }

    fn send_status(&mut self, seq: u16, peer: u32, object: u32, status: Status) {
        let message = write(Kind::Status, seq, peer, |attributes| {
            attributes.put_u32(attribute::STATUS, status.0);
            attributes.put_u32(attribute::OBJECT, object);
        });
        if let Ok(message) = message {
            self.send(&message);
        }
    }

    fn send(&mut self, message: &[u8]) {
        if !self.is_stuck() {
            self.outbox.extend_from_slice(message);
        }
    }
}

/// The methods as ubusd keeps them for `ubus -v list`.
fn signature(methods: &[(&str, &[(&str, u8)])]) -> Vec<u8> {
    let mut out = Builder::new();
    for (method, arguments) in methods {
        let open = out.open(crate::blobmsg::kind::TABLE, method.as_bytes());
        for (argument, id) in *arguments {
            out.leaf(crate::blobmsg::kind::INT32, argument.as_bytes(), &u32::from(*id).to_be_bytes());
        }
        out.close(open);
    }
    out.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobmsg::{Value, kind};
    use crate::frames::Frames;
    use crate::message::MESSAGE_HEADER;

    const METHODS: Published =
        Published { path: "mlvpn", methods: &[("status", &[]), ("link", &[("name", kind::STRING)])] };

    /// A session and the ubusd that a test plays.
    struct Play {
        session: Session,
        now: Instant,
    }

    impl Play {
        fn begin() -> Self {
            Self::begin_as(None)
        }

        fn begin_as(tunnel: Option<&str>) -> Self {
            let mut session = Session::new(METHODS, tunnel);
            session.begin();
            Self { session, now: Instant::ORIGIN }
        }

        /// What the session said since the last call: kind, sequence number, method or path.
        fn said(&mut self) -> Vec<(Kind, u16, String)> {
            let mut frames = Frames::new();
            frames.feed(self.session.outbox());
            let mut said = Vec::new();
            while let Some(frame) = frames.take().unwrap() {
                let found = Attributes::parse(frames.body(&frame)).unwrap();
                let word = found.method.or(found.path).unwrap_or_default();
                said.push((frame.header.kind.unwrap(), frame.header.seq, String::from_utf8_lossy(word).into_owned()));
            }
            self.session.sent(usize::MAX);
            said
        }

        /// Gives it a message; returns what it means, in words.
        fn tell(&mut self, kind: Kind, seq: u16, attributes: impl FnOnce(&mut Writer)) -> String {
            let message = write(kind, seq, 77, attributes).unwrap();
            let (header, body) = message.split_first_chunk::<MESSAGE_HEADER>().unwrap();
            format!("{:?}", self.session.handle(Header::parse(*header).unwrap(), body, self.now))
        }

        fn answer(&mut self, seq: u16, object: Option<u32>, status: Status) -> String {
            if let Some(object) = object {
                self.tell(Kind::Data, seq, |attributes| attributes.put_u32(attribute::OBJECT, object));
            }
            self.tell(Kind::Status, seq, |attributes| attributes.put_u32(attribute::STATUS, status.0))
        }

        /// Up to where the object is published and netifd is followed.
        fn established() -> Self {
            let mut play = Self::begin();
            play.said();
            assert_eq!(play.answer(1, Some(100), Status::OK), "Published(0)");
            play.answer(2, Some(200), Status::OK);
            let said = play.said();
            let words: Vec<&str> = said.iter().map(|(_, _, word)| word.as_str()).collect();
            assert_eq!(words, ["register", "network.interface"]);
            play.answer(3, None, Status::OK);
            play.answer(4, Some(300), Status::OK);
            let kinds: Vec<(Kind, String)> = play.said().into_iter().map(|(kind, _, word)| (kind, word)).collect();
            assert_eq!(kinds, [(Kind::Subscribe, String::new()), (Kind::Invoke, "dump".to_owned())]);
            play.answer(5, None, Status::OK);
            play
        }
    }

    #[test]
    fn it_publishes_the_object_and_follows_netifd() {
        let mut play = Play::established();
        assert!(play.session.is_published());
        let heard = play.tell(Kind::Data, 6, |attributes| attributes.put(attribute::DATA, &[]));
        assert_eq!(heard, "Interfaces(Table([]))");
        assert_eq!(play.answer(6, None, Status::OK), "Nothing");
        let heard = play.tell(Kind::Invoke, 1, |attributes| {
            attributes.put_u32(attribute::OBJECT, 200);
            attributes.put_string(attribute::METHOD, b"interface.update");
            attributes.put(attribute::NO_REPLY, &[1]);
        });
        assert_eq!(heard, "Interface(Table([]))");
        assert!(play.said().is_empty(), "nobody waits for an answer");
        assert_eq!(play.session.deadline(), None);
    }

    #[test]
    fn a_refused_object_is_offered_again_ever_more_rarely() {
        let mut play = Play::begin();
        play.said();
        assert_eq!(play.answer(1, None, Status::INVALID_ARGUMENT), "Refused(0, Status(2))");
        let retry_at = play.session.deadline().unwrap();
        play.session.handle_timeout(Instant::ORIGIN);
        assert!(play.said().is_empty());
        play.session.handle_timeout(retry_at);
        assert_eq!(play.session.deadline(), None, "the answer is awaited");
        let said = play.said();
        assert_eq!((said[0].0, said[0].2.as_str()), (Kind::AddObject, "mlvpn"));
        assert_eq!(play.answer(said[0].1, Some(100), Status::OK), "Published(0)");
    }

    #[test]
    fn one_of_several_tunnels_has_its_own_path_and_the_short_one_when_that_comes_free() {
        let mut play = Play::begin_as(Some("home"));
        let said: Vec<String> = play.said().into_iter().map(|(.., word)| word).collect();
        assert_eq!(said[..2], ["mlvpn", "mlvpn.home"]);
        assert_eq!(play.answer(1, None, Status::INVALID_ARGUMENT), "Refused(0, Status(2))");
        assert_eq!(play.answer(2, Some(101), Status::OK), "Published(1)");
        assert!(play.session.is_published());
        let call = |object| {
            write(Kind::Invoke, 9, 55, |attributes| {
                attributes.put_u32(attribute::OBJECT, object);
                attributes.put_string(attribute::METHOD, b"status");
            })
        };
        let heard = |play: &mut Play, object| {
            let message = call(object).unwrap();
            let (header, body) = message.split_first_chunk::<MESSAGE_HEADER>().unwrap();
            matches!(play.session.handle(Header::parse(*header).unwrap(), body, play.now), Heard::Call(_))
        };
        assert!(heard(&mut play, 101) && !heard(&mut play, 100));
        let retry_at = play.session.deadline().unwrap();
        play.said();
        play.session.handle_timeout(retry_at);
        let said = play.said();
        assert_eq!((said.len(), said[0].2.as_str()), (1, "mlvpn"));
        assert_eq!(play.answer(said[0].1, Some(100), Status::OK), "Published(0)");
        assert!(heard(&mut play, 101) && heard(&mut play, 100));
    }

    #[test]
    fn netifd_is_looked_for_until_it_is_there_and_again_when_it_left() {
        let mut play = Play::begin();
        play.said();
        play.answer(2, Some(200), Status::OK);
        play.said();
        play.answer(4, None, Status::NOT_FOUND);
        let look_at = play.session.deadline().unwrap();
        play.session.handle_timeout(look_at);
        assert_eq!(play.said()[0].2, "network.interface");
        play.answer(5, Some(300), Status::OK);
        play.answer(6, None, Status::OK);
        play.answer(7, None, Status::OK);
        play.said();
        play.tell(Kind::Unsubscribe, 1, |attributes| {
            attributes.put_u32(attribute::OBJECT, 200);
            attributes.put_u32(attribute::TARGET, 300);
        });
        assert!(play.session.deadline().is_some());
        let mut added = Builder::new();
        added.string(b"path", b"network.interface");
        let added = added.finish().unwrap();
        play.tell(Kind::Invoke, 9, |attributes| {
            attributes.put_u32(attribute::OBJECT, 200);
            attributes.put_string(attribute::METHOD, OBJECT_ADDED);
            attributes.put(attribute::DATA, &added);
        });
        let kinds: Vec<Kind> = play.said().into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, [Kind::Status, Kind::Lookup]);
    }

    #[test]
    fn a_call_is_answered_with_its_data_and_its_status() {
        let mut play = Play::established();
        let message = write(Kind::Invoke, 9, 55, |attributes| {
            attributes.put_u32(attribute::OBJECT, 100);
            attributes.put_string(attribute::METHOD, b"status");
        });
        let message = message.unwrap();
        let (header, body) = message.split_first_chunk::<MESSAGE_HEADER>().unwrap();
        let heard = play.session.handle(Header::parse(*header).unwrap(), body, play.now);
        let Heard::Call(call) = heard else { panic!("{heard:?}") };
        assert_eq!((call.method, call.arguments), (&b"status"[..], Ok(Table::default())));
        play.session.answer(&call, Ok(&[])).unwrap();
        let said = play.said();
        assert_eq!(
            said.iter().map(|(kind, seq, _)| (*kind, *seq)).collect::<Vec<_>>(),
            [(Kind::Data, 9), (Kind::Status, 9)]
        );
        play.session.answer(&call, Err(Status::NOT_FOUND)).unwrap();
        assert_eq!(play.said().len(), 1);
        assert_eq!(play.session.answer(&call, Ok(&vec![0; 2_000_000])), Err(TooLong));
        assert_eq!(play.said()[0].0, Kind::Status, "the caller is told that it failed");
    }

    #[test]
    fn calls_for_other_objects_and_answers_to_nothing_mean_nothing() {
        let mut play = Play::established();
        let heard = play.tell(Kind::Invoke, 1, |attributes| {
            attributes.put_u32(attribute::OBJECT, 999);
            attributes.put_string(attribute::METHOD, b"status");
        });
        assert_eq!(heard, "Nothing");
        assert_eq!(play.answer(4_000, Some(1), Status::OK), "Nothing");
        assert_eq!(play.tell(Kind::Monitor, 1, |_| {}), "Nothing");
        assert_eq!(
            play.session.handle(Header { kind: Some(Kind::Data), seq: 1, peer: 0 }, &[1], play.now),
            Heard::Nothing
        );
        assert!(play.said().is_empty());
    }

    #[test]
    fn events_go_to_listeners_and_to_subscribers_while_there_are_any() {
        let mut play = Play::established();
        let mut data = Builder::new();
        data.value(b"up", Value::Int8(1));
        let data = data.finish().unwrap();
        play.session.announce("link", &data);
        assert_eq!(play.said().into_iter().map(|said| said.2).collect::<Vec<_>>(), ["send"]);
        play.tell(Kind::Notify, 1, |attributes| {
            attributes.put_u32(attribute::OBJECT, 100);
            attributes.put(attribute::ACTIVE, &[1]);
        });
        play.session.announce("link", &data);
        assert_eq!(play.said().into_iter().map(|said| said.2).collect::<Vec<_>>(), ["send", "link"]);
    }

    #[test]
    fn what_nobody_reads_does_not_grow_without_end() {
        let mut play = Play::established();
        let data = vec![0; 1_000];
        for _ in 0..10_000 {
            play.session.announce("link", &data);
        }
        assert!(play.session.is_stuck());
        assert!(play.session.outbox().len() < MAX_OUTBOX + 2_000);
    }
}

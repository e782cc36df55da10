// SPDX-License-Identifier: BSD-2-Clause
//! The control sockets on the worker's loop. Nothing here waits, and a turn of the loop does little of it: packets go
//! between any two answers. The one descriptor a service has is a set of descriptors, polled when it is ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use zeroize::Zeroizing;

use super::client::{Asked, Client, MAX_REQUEST, Way};
use super::http::{self, Content, Refusal};
use super::sockets::Sockets;
use super::{classic, metrics};
use crate::daemon::{Command, Control, Occasion, Service};
use crate::log::{RateLimit, Topic};
use crate::reactor::{Interest, Token};
use crate::{clock, log_warn};

/// Clients of each way at once: more than people and monitors have, and 16 KB each. When one more comes, the one that was
/// silent longest goes.
const CLIENTS: usize = 16;

/// Events served in a turn of the worker's loop. An answer takes some 50 us.
const EVENTS_PER_TURN: usize = 8;

/// Clients accepted in a turn.
const ACCEPTS_PER_TURN: usize = 4;

/// Bytes read from a client in a turn.
const READ_BYTES: usize = 4 << 10;

/// How long no client is accepted when the system has no room for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Names of the descriptors; clients follow.
const UNIX: u64 = 0;
const TCP: u64 = 1;
const FIRST_CLIENT: u64 = 2;

struct Seat {
    socket: OwnedFd,
    client: Client,
    /// What the kernel was told to tell.
    interest: EpollFlags,
    is_shut: bool,
}

/// The control sockets at work.
pub(crate) struct Face {
    epoll: Epoll,
    sockets: Sockets,
    /// Of the UNIX socket first, then of TCP.
    seats: Vec<Option<Seat>>,
    /// Until when no client is accepted.
    paused: Option<Instant>,
    /// The earliest of all times, which the loop asks for at every turn.
    deadline: Option<Instant>,
    trouble: RateLimit,
}

impl Face {
    /// Serves these sockets.
    ///
    /// # Errors
    /// The kernel's refusal, normally for want of file descriptors.
    pub(crate) fn new(sockets: Sockets) -> io::Result<Self> {
        let face = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            sockets,
            seats: (0..2 * CLIENTS).map(|_| None).collect(),
            paused: None,
            deadline: None,
            trouble: RateLimit::new(Duration::from_secs(60)),
        };
        face.listen(true)?;
        Ok(face)
    }

    /// Has clients accepted, or not.
    fn listen(&self, listen: bool) -> io::Result<()> {
        let unix = self.sockets.unix.as_ref().map(|listener| (listener.as_fd(), UNIX));
        let tcp = self.sockets.http.as_ref().map(|listener| (listener.as_fd(), TCP));
        for (listener, name) in unix.into_iter().chain(tcp) {
            if listen {
                self.epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, name))?;
            } else {
                self.epoll.delete(listener)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, control: &mut dyn Control) {
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
        let found = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(found) {
            match event.data() {
                UNIX => self.accept(Way::Unix, control.now()),
                TCP => self.accept(Way::Tcp, control.now()),
                name => {
                    let place = usize::try_from(name.saturating_sub(FIRST_CLIENT)).unwrap_or(usize::MAX);
                    self.serve_client(place, event.events(), control);
                }
            }
        }
    }

    fn accept(&mut self, way: Way, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = match way {
                Way::Unix => self.sockets.unix.as_ref().map(|listener| listener.accept().map(|(it, _)| it.into())),
                Way::Tcp => self.sockets.http.as_ref().map(|listener| listener.accept().map(|(it, _)| it.into())),
            };
            match accepted {
                Some(Ok(socket)) => self.seat(way, socket, now),
                Some(Err(why)) if why.kind() == io::ErrorKind::WouldBlock => return,
                // It left before it was served.
                Some(Err(why)) if why.kind() == io::ErrorKind::ConnectionAborted => {}
                Some(Err(why)) => return self.pause(&why, now),
                None => return,
            }
        }
    }

    /// There is no room for a client now: the kernel keeps them, and would tell of them all the time.
    fn pause(&mut self, why: &io::Error, now: Instant) {
        if let Some(more) = self.trouble.admit(now) {
            log_warn!(Topic::Control, "nobody can be served: {why} ({more} more not logged)");
        }
        if self.paused.is_none() && self.listen(false).is_ok() {
            self.paused = Some(now + PAUSE);
        }
    }

    fn seat(&mut self, way: Way, socket: OwnedFd, now: Instant) {
        let first = match way {
            Way::Unix => 0,
            Way::Tcp => CLIENTS,
        };
        let seats = self.seats.iter().enumerate().skip(first).take(CLIENTS);
        // An empty seat comes before every time.
        let Some((place, _)) = seats.min_by_key(|(_, seat)| seat.as_ref().map(|seat| seat.client.active())) else {
            return;
        };
        let name = FIRST_CLIENT.saturating_add(place as u64);
        let interest = EpollFlags::EPOLLIN;
        if self.epoll.add(&socket, EpollEvent::new(interest, name)).is_ok() {
            let seat = Seat { socket, client: Client::new(way, now), interest, is_shut: false };
            if let Some(free) = self.seats.get_mut(place) {
                *free = Some(seat);
            }
        }
    }

    fn serve_client(&mut self, place: usize, flags: EpollFlags, control: &mut dyn Control) {
        let now = control.now();
        let Some(mut seat) = self.seats.get_mut(place).and_then(Option::take) else { return };
        let is_alive = seat.read(flags, now);
        if is_alive && self.proceed(&mut seat, place, control) {
            self.seats[place] = Some(seat);
        }
    }

    /// Answers at most one request and sends what can be sent; whether the client stays.
    fn proceed(&self, seat: &mut Seat, place: usize, control: &mut dyn Control) -> bool {
        if let Some(asked) = seat.client.next() {
            let (text, is_last) = reply(&asked, control);
            seat.client.answer(text, is_last, control.now());
        }
        if !seat.write(control.now()) || seat.client.is_over() {
            return false;
        }
        if seat.client.is_lingering() && !seat.is_shut {
            seat.is_shut = true;
            if shutdown(seat.socket.as_raw_fd(), Shutdown::Write).is_err() {
                return false;
            }
        }
        let mut interest = EpollFlags::empty();
        interest.set(EpollFlags::EPOLLIN, seat.client.wants_to_read());
        interest.set(EpollFlags::EPOLLOUT, seat.client.wants_to_write());
        if interest != seat.interest {
            let name = FIRST_CLIENT.saturating_add(place as u64);
            seat.interest = interest;
            return self.epoll.modify(&seat.socket, &mut EpollEvent::new(interest, name)).is_ok();
        }
        true
    }

    fn handle_timeouts(&mut self, control: &mut dyn Control) {
        let now = control.now();
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = self.listen(true).is_err().then(|| now + PAUSE);
        }
        for place in 0..self.seats.len() {
            let is_due = |seat: &mut Seat| seat.client.deadline() <= now;
            let Some(mut seat) = self.seats.get_mut(place).and_then(|seat| seat.take_if(is_due)) else { continue };
            seat.client.handle_timeout();
            if !seat.client.is_over() && self.proceed(&mut seat, place, control) {
                self.seats[place] = Some(seat);
            }
        }
    }
}

impl Seat {
    /// Reads what came; whether the client is still there.
    fn read(&mut self, flags: EpollFlags, now: Instant) -> bool {
        let is_broken = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        if !self.client.wants_to_read() {
            // Whoever is to be written to is found broken by that.
            return !is_broken || self.client.wants_to_write();
        }
        if !is_broken && !flags.contains(EpollFlags::EPOLLIN) {
            return true;
        }
        let mut bytes = Zeroizing::new([0; READ_BYTES]);
        match recv(self.socket.as_raw_fd(), &mut *bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(len) => {
                self.client.take(bytes.get(..len).unwrap_or_default(), now);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }

    /// Sends what can be sent; whether the client is still there.
    fn write(&mut self, now: Instant) -> bool {
        while !self.client.outbox().is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), self.client.outbox(), flags) {
                Ok(count) => self.client.sent(count, now),
                Err(Errno::EAGAIN | Errno::EINTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

impl Service for Face {
    fn serve(&mut self, occasion: Occasion, control: &mut dyn Control) {
        match occasion {
            Occasion::Start => {
                if let Err(why) = control.reactor().register(&self.epoll.0, Token::Service, Interest::Read) {
                    log_warn!(Topic::Control, "the control sockets are not served: {why}");
                }
            }
            Occasion::Ready(_) => self.turn(control),
            Occasion::Due => self.handle_timeouts(control),
            Occasion::Happened(_) => {}
            Occasion::End => self.seats.clear(),
        }
        let clients = self.seats.iter().flatten().map(|seat| seat.client.deadline());
        self.deadline = clients.chain(self.paused).min();
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// The answer to a request, and whether the connection is over with it.
fn reply(asked: &Asked, control: &mut dyn Control) -> (String, bool) {
    match asked {
        Asked::Line(line) => reply_to_line(line, control),
        Asked::Http(Err(refusal)) => (http::refuse(*refusal, false), true),
        Asked::Http(Ok(request)) => {
            let (status, wall) = (control.status(), wall());
            let text = match request.path.trim_start_matches('/') {
                "status" => http::answer(Content::Json, &classic::status(&status, wall), request.head_only),
                "metrics" => {
                    let peers = control.peers(0, metrics::MOST_PEERS);
                    let content = if request.takes_openmetrics { Content::OpenMetrics } else { Content::Prometheus };
                    http::answer(content, &metrics::render(&status, &peers, wall, content), request.head_only)
                }
                _ => http::refuse(Refusal::NotFound, request.head_only),
            };
            (text, true)
        }
    }
}

/// 2.3.5's words, and commands as JSON.
fn reply_to_line(line: &[u8], control: &mut dyn Control) -> (String, bool) {
    if line.len() >= MAX_REQUEST {
        return (error("the command is too long"), true);
    }
    if line.starts_with(b"{") {
        return (run(line, control), false);
    }
    let first = line.split(|byte| *byte == b' ').find(|word| !word.is_empty()).unwrap_or_default();
    match first.to_ascii_lowercase().as_slice() {
        b"" => (String::new(), false),
        b"status" => (classic::status(&control.status(), wall()), false),
        b"metrics" => (classic::metrics(&control.status(), wall()), false),
        b"quit" => ("bye.".to_owned(), true),
        _ => (error("unknown command"), false),
    }
}

fn run(line: &[u8], control: &mut dyn Control) -> String {
    let command = match serde_json::from_slice::<Command>(line) {
        Ok(command) => command,
        Err(why) => return error(&misread(&why)),
    };
    match command.run(control) {
        Ok(answer) => match serde_json::to_string(&answer) {
            Ok(mut text) => {
                text.push('\n');
                text
            }
            Err(why) => error(&why.to_string()),
        },
        Err(why) => error(&why.to_string()),
    }
}

/// What is wrong with a command. A value of the wrong kind is not repeated, for it may be a secret.
fn misread(why: &serde_json::Error) -> String {
    let text = why.to_string();
    if text.starts_with("invalid") {
        return format!("not a command: a value at column {} is of the wrong kind", why.column());
    }
    format!("not a command: {text}")
}

fn error(text: &str) -> String {
    format!("{{\"error\": {}}}\n", classic::quoted(text))
}

/// Seconds since 1970; a machine without a clock begins there.
fn wall() -> u64 {
    u64::try_from(clock::wall_seconds()).unwrap_or(0)
}

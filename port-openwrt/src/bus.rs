// SPDX-License-Identifier: BSD-2-Clause
//! The connection to ubusd on the worker's loop: opened, read, written, lost, and opened again.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use mlvpn::backoff::Backoff;
use mlvpn::daemon::{Control, Occasion, Service};
use mlvpn::log::Topic;
use mlvpn::reactor::{Interest, Readiness, Token};
use mlvpn::{log_debug, log_info, log_warn};
use mlvpn_core::words::time::Instant;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::frames::Frames;
use crate::message::Status;
use crate::session::{Heard, Session};
use crate::{netifd, object};

/// Where ubusd listens, since OpenWrt 21.02.
pub const SOCKET: &str = "/var/run/ubus/ubus.sock";

/// Bytes read before packets get their turn again.
const READ_PER_TURN: usize = 16_384;

/// The worker's [`Service`]: the object `mlvpn` on the bus.
pub struct Bus {
    path: PathBuf,
    /// The tunnel's name, where there may be several.
    tunnel: Option<String>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Whether the log has it that ubusd is missed.
    is_missed: bool,
    /// Which path ubusd refused last, and how, so that the log has it once.
    refused: Option<(usize, Status)>,
}

struct Connection {
    socket: UnixStream,
    session: Session,
    frames: Frames,
    interest: Interest,
}

impl Bus {
    /// A bus whose ubusd listens at `path`; it need not do so yet. The object is found under the name of `tunnel`, too.
    #[must_use]
    pub const fn new(path: PathBuf, tunnel: Option<String>) -> Self {
        Self { path, tunnel, connection: None, backoff: Backoff::new(), is_missed: false, refused: None }
    }
}

impl Service for Bus {
    fn serve(&mut self, occasion: Occasion, control: &mut dyn Control) {
        let served = match occasion {
            Occasion::Start => self.connect(control),
            Occasion::Ready(readiness) => self.read(readiness, control),
            Occasion::Due => self.catch_up(control),
            Occasion::Happened(happening) => {
                if let Some((session, (name, data))) = self.session().zip(object::event(&happening)) {
                    session.announce(name, &data);
                }
                Ok(())
            }
            Occasion::End => Ok(()),
        };
        if let Err(why) = served.and_then(|()| self.flush(control)) {
            self.disconnect(&why, control);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.connection {
            Some(connection) => connection.session.deadline(),
            None => self.backoff.retry_at(),
        }
    }
}

impl Bus {
    fn session(&mut self) -> Option<&mut Session> {
        self.connection.as_mut().map(|connection| &mut connection.session)
    }

    fn connect(&mut self, control: &mut dyn Control) -> io::Result<()> {
        let socket = open(&self.path)?;
        control.reactor().register(&socket, Token::Service, Interest::Read)?;
        let mut session = Session::new(object::OBJECT, self.tunnel.as_deref());
        session.begin();
        self.connection = Some(Connection { socket, session, frames: Frames::new(), interest: Interest::Read });
        Ok(())
    }

    fn catch_up(&mut self, control: &mut dyn Control) -> io::Result<()> {
        match &mut self.connection {
            Some(connection) => {
                connection.session.handle_timeout(control.now());
                Ok(())
            }
            None => self.connect(control),
        }
    }

    fn read(&mut self, readiness: Readiness, control: &mut dyn Control) -> io::Result<()> {
        let Some(connection) = self.connection.as_mut().filter(|_| readiness.is_readable) else { return Ok(()) };
        let mut bytes = [0; READ_PER_TURN];
        let len = match connection.socket.read(&mut bytes) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "ubusd closed the connection")),
            Ok(len) => len,
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return Ok(()),
            Err(why) => return Err(why),
        };
        let skipped = connection.frames.skipped();
        connection.frames.feed(bytes.get(..len).unwrap_or_default());
        self.handle(control)?;
        if self.connection.as_ref().is_some_and(|connection| connection.frames.skipped() > skipped) {
            log_warn!(Topic::Control, "ubus: a message is too long for a router and was passed over");
        }
        Ok(())
    }

    /// Acts on every message that came as a whole.
    fn handle(&mut self, control: &mut dyn Control) -> io::Result<()> {
        let Some(Connection { session, frames, .. }) = &mut self.connection else { return Ok(()) };
        let desync = |_| io::Error::new(io::ErrorKind::InvalidData, "ubusd sent what is no message");
        while let Some(frame) = frames.take().map_err(desync)? {
            match session.handle(frame.header, frames.body(&frame), control.now()) {
                Heard::Nothing => {}
                Heard::Published(place) => {
                    log_info!(Topic::Control, "ubus: object {} is published", session.path(place));
                    self.is_missed = false;
                    self.refused.take_if(|(refused, _)| *refused == place);
                    self.backoff.succeeded();
                }
                Heard::Refused(place, status) => {
                    if self.refused.replace((place, status)) != Some((place, status)) {
                        say_refused(session.path(place), status);
                    }
                }
                Heard::NetifdRefused(Status(status)) => log_warn!(
                    Topic::Control,
                    "ubus: netifd's interfaces cannot be followed (status {status}): does /usr/share/acl.d/mlvpn.json let \
                     this user subscribe to network.interface and call its dump?"
                ),
                Heard::Call(call) => {
                    let answer = object::call(&call, control);
                    let answer = answer.as_ref().map(|result| result.as_slice()).map_err(|status| *status);
                    if let Err(why) = session.answer(&call, answer) {
                        log_warn!(Topic::Control, "ubus: {}: {why}", String::from_utf8_lossy(call.method));
                    }
                }
                Heard::Interfaces(dump) => netifd::follow_all(&dump, control),
                Heard::Interface(interface) => netifd::follow_one(&interface, control),
            }
        }
        Ok(())
    }

    /// Sends what waits, as far as ubusd takes it.
    fn flush(&mut self, control: &mut dyn Control) -> io::Result<()> {
        let Some(Connection { socket, session, interest, .. }) = &mut self.connection else { return Ok(()) };
        while !session.outbox().is_empty() {
            match socket.write(session.outbox()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => session.sent(len),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        if session.is_stuck() {
            return Err(io::Error::other("ubusd does not read what it is sent"));
        }
        let wanted = if session.outbox().is_empty() { Interest::Read } else { Interest::Both };
        if wanted != *interest {
            control.reactor().modify(&*socket, Token::Service, wanted)?;
            *interest = wanted;
        }
        Ok(())
    }

    fn disconnect(&mut self, why: &io::Error, control: &mut dyn Control) {
        if let Some(connection) = self.connection.take()
            && let Err(why) = control.reactor().deregister(&connection.socket)
        {
            log_debug!(Topic::Control, "ubus: {why}");
        }
        let now = control.now();
        let within = self.backoff.failed(now).since(now).millis() / 1_000;
        if std::mem::replace(&mut self.is_missed, true) {
            log_debug!(Topic::Control, "ubus: {}: {why}; trying again within {within} s", self.path.display());
        } else {
            let path = self.path.display();
            log_warn!(Topic::Control, "ubus: {path}: {why}; the tunnel goes on, trying again within {within} s");
        }
    }
}

fn say_refused(path: &str, Status(status): Status) {
    log_warn!(
        Topic::Control,
        "ubus: ubusd refuses the object {path} (status {status}): another tunnel has it, or /usr/share/acl.d/mlvpn.json does \
         not let this user publish it; trying again"
    );
}

/// Connects without waiting: a ubusd whose queue is full is tried again like one that is not there.
fn open(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

// SPDX-License-Identifier: BSD-2-Clause
//! The worker's end of the channel.

use super::files::Opened;
use super::protocol::{self, Answer, Ends, MAX_ANSWER, MAX_MESSAGE, Mtu, Refused, Request, Run};
use crate::script::{LinkName, ScriptEvent};
use crate::sys;
use nix::sys::socket::{MsgFlags, send};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The worker's line to its monitor. All calls return at once; register it with the reactor and call
/// [`Monitor::poll_notice`] when it is readable.
#[derive(Debug)]
pub struct Monitor {
    pub(super) channel: OwnedFd,
}

/// What the monitor answers.
#[derive(Debug)]
pub enum Notice {
    /// The configuration, and the files it names.
    Config(Opened),
    /// The configuration could not be opened, for this reason.
    NoConfig(io::Error),
    /// What became of [`Request::OpenLink`].
    Link {
        /// As it was asked with.
        serial: u64,
        /// The link's socket, or why there is none.
        outcome: Result<OpenedLink, Refused>,
    },
    /// What became of [`Request::FindServer`].
    Server {
        /// As it was asked with.
        serial: u64,
        /// Where the server is; `None` when the configuration does not say.
        found: Result<Option<SocketAddr>, String>,
    },
    /// The monitor is gone; so is, in a moment, the worker.
    Gone,
}

/// A link's socket, opened by the monitor.
#[derive(Debug)]
pub struct OpenedLink {
    /// What it was opened for.
    pub ends: Ends,
    /// The socket.
    pub socket: OwnedFd,
    /// Another, of the same address, interface and mark, to ask the kernel about routes with.
    pub probe: OwnedFd,
}

impl Monitor {
    /// Asks the monitor for something. Some requests are answered with a [`Notice`]; of the others failures are in the
    /// log.
    ///
    /// # Errors
    /// `WouldBlock` when the monitor lags behind by hundreds of requests; `BrokenPipe` when it is gone.
    pub fn ask(&self, request: &Request) -> io::Result<()> {
        let mut buffer = [0; MAX_MESSAGE];
        let message = protocol::write(request, &mut buffer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no message has room for it"))?;
        send(self.channel.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL).map(drop).map_err(io::Error::from)
    }

    /// Has the status command run: [`Monitor::ask`] with [`Request::RunScript`]. `mtu` in bytes.
    ///
    /// # Errors
    /// As [`Monitor::ask`], and `InvalidInput`: a link event needs a link, and no other event may have one.
    pub fn run_script(&self, event: ScriptEvent, link: Option<&LinkName>, mtu: u32) -> io::Result<()> {
        let run = Mtu::new(mtu).and_then(|mtu| Run::new(event, link.cloned(), mtu));
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, format!("no run for {event:?}, {link:?}, {mtu}"));
        self.ask(&Request::RunScript(run.ok_or_else(refused)?))
    }

    /// The monitor's next answer; `None` when none waits.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn poll_notice(&self) -> io::Result<Option<Notice>> {
        let mut bytes = vec![0; MAX_ANSWER];
        let (len, descriptors) = match sys::receive_with_descriptors(&self.channel, &mut bytes) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Some(Notice::Gone)),
            Err(error) => return Err(error),
        };
        if len == 0 {
            return Ok(Some(Notice::Gone));
        }
        let answer = bytes.get(..len).and_then(protocol::read);
        answer.and_then(|answer| notice(answer, descriptors)).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// An answer with what came along; `None` when that is not what it needs.
fn notice(answer: Answer, descriptors: Vec<OwnedFd>) -> Option<Notice> {
    let mut descriptors = descriptors.into_iter();
    Some(match answer {
        Answer::Config { paths } => {
            let config = File::from(descriptors.next()?);
            Notice::Config(Opened::received(config, &paths, descriptors.map(File::from))?)
        }
        Answer::NoConfig(code) => Notice::NoConfig(io::Error::from_raw_os_error(code)),
        Answer::Link { serial, outcome: Ok(ends) } => {
            let (socket, probe) = (descriptors.next()?, descriptors.next()?);
            Notice::Link { serial, outcome: Ok(OpenedLink { ends, socket, probe }) }
        }
        Answer::Link { serial, outcome: Err(refused) } => Notice::Link { serial, outcome: Err(refused) },
        Answer::Server { serial, found } => Notice::Server { serial, found },
    })
}

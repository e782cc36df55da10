// SPDX-License-Identifier: BSD-2-Clause
//! Names become addresses on a thread of their own: the system's resolver blocks for seconds when a link is down, and
//! packets must not wait for it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A name to resolve for a link.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// The link's place.
    pub(super) link: usize,
    /// Set anew with each question of a link, so that an answer to an outdated one is known.
    pub(super) serial: u64,
    /// Where the link binds, if to an address.
    pub(super) local: Option<String>,
    /// Where its peer is, if known.
    pub(super) remote: Option<(String, u16)>,
}

/// The addresses of a [`Question`].
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) link: usize,
    pub(super) serial: u64,
    pub(super) found: Result<Addresses, String>,
}

/// A link's two ends, of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) local: Option<IpAddr>,
    pub(super) remote: Option<SocketAddr>,
}

/// The thread and the line to it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Resolver {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    wake: Arc<EventFd>,
}

impl Resolver {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (questions, asked) = channel::<Question>();
        let (answer, answers) = channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let waker = Arc::clone(&wake);
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            for question in asked {
                let found = resolve(&question);
                let sent = answer.send(Answer { link: question.link, serial: question.serial, found });
                if sent.is_err() || waker.write(1).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { questions, answers, wake })
    }

    /// Asks; the answer comes later.
    pub(super) fn ask(&self, question: Question) {
        // The thread ends only after this end is dropped.
        let _ = self.questions.send(question);
    }

    /// The next answer, if one came.
    pub(super) fn poll(&self) -> Option<Answer> {
        // Zero is no error here: the answer may have been taken on an earlier wake.
        let _ = self.wake.read();
        self.answers.try_recv().ok()
    }
}

impl AsFd for Resolver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// The addresses when both ends are written as addresses, so that nobody need be asked.
pub(super) fn literal(question: &Question) -> Option<Addresses> {
    let local = question.local.as_ref().map(|host| host.parse::<IpAddr>()).transpose().ok()?;
    let remote = question.remote.as_ref().map(|(host, port)| host.parse().map(|ip| SocketAddr::new(ip, *port)));
    let addresses = Addresses { local, remote: remote.transpose().ok()? };
    addresses.agree().then_some(addresses)
}

impl Addresses {
    /// Whether both ends are of one IP version.
    fn agree(&self) -> bool {
        match (self.local, self.remote) {
            (Some(local), Some(remote)) => local.is_ipv4() == remote.is_ipv4(),
            _ => true,
        }
    }
}

fn resolve(question: &Question) -> Result<Addresses, String> {
    let look_up = |host: &str, port: u16| -> Result<Vec<SocketAddr>, String> {
        let found: Vec<_> = (host, port).to_socket_addrs().map_err(|why| format!("{host}: {why}"))?.collect();
        if found.is_empty() { Err(format!("{host}: has no address")) } else { Ok(found) }
    };
    let locals = question.local.as_ref().map(|host| look_up(host, 0)).transpose()?;
    let remotes = question.remote.as_ref().map(|(host, port)| look_up(host, *port)).transpose()?;
    let locals = locals.map_or_else(|| vec![None], |found| found.into_iter().map(|a| Some(a.ip())).collect());
    let remotes = remotes.map_or_else(|| vec![None], |found| found.into_iter().map(Some).collect::<Vec<_>>());
    let pairs =
        remotes.iter().flat_map(|remote| locals.iter().map(|local| Addresses { local: *local, remote: *remote }));
    pairs.clone().find(Addresses::agree).ok_or_else(|| {
        "bindhost and remotehost have no IP version in common; give both an IPv4 or both an IPv6 address".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(local: Option<&str>, remote: Option<&str>) -> Question {
        Question {
            link: 0,
            serial: 0,
            local: local.map(str::to_owned),
            remote: remote.map(|host| (host.to_owned(), 5080)),
        }
    }

    #[test]
    fn addresses_are_taken_as_they_are() {
        let found = literal(&question(Some("127.0.0.1"), Some("192.0.2.1"))).expect("literal");
        assert_eq!(
            (found.local, found.remote),
            (Some(IpAddr::from([127, 0, 0, 1])), Some(([192, 0, 2, 1], 5080).into()))
        );
        assert_eq!(literal(&question(None, None)), Some(Addresses { local: None, remote: None }));
        assert_eq!(literal(&question(None, Some("localhost"))), None);
    }

    #[test]
    fn ends_of_different_ip_versions_are_refused_with_the_reason() {
        let question = question(Some("127.0.0.1"), Some("::1"));
        assert_eq!(literal(&question), None);
        assert!(resolve(&question).expect_err("no pair").contains("IP version in common"));
    }

    #[test]
    fn answers_come_through_the_thread_with_the_serial_asked() {
        let resolver = Resolver::start().expect("thread");
        resolver.ask(Question { serial: 7, ..question(None, Some("127.0.0.1")) });
        let answer = loop {
            if let Some(answer) = resolver.poll() {
                break answer;
            }
            thread::yield_now();
        };
        assert_eq!(answer.serial, 7);
        assert_eq!(answer.found.expect("an address").remote, Some(([127, 0, 0, 1], 5080).into()));
    }
}

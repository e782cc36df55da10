// SPDX-License-Identifier: BSD-2-Clause
//! Names become addresses on a thread of the monitor's: the system's resolver blocks for seconds when a link is down,
//! and nothing else may wait for it. The worker cannot ask it, having no files to read and no name server to talk to.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys;

/// Questions that may wait: two for each link there can be, so that only a worker gone wild fills it.
const MOST_WAITING: usize = 128;

/// Names to resolve, and what for.
#[derive(Clone, Debug)]
pub(super) struct Question<P> {
    /// What the addresses are for.
    pub(super) purpose: P,
    /// Where a link binds, if to an address.
    pub(super) local: Option<String>,
    /// Where its peer is, if known.
    pub(super) remote: Option<(String, u16)>,
}

/// The addresses of a [`Question`].
#[derive(Debug)]
pub(super) struct Found<P> {
    pub(super) purpose: P,
    pub(super) addresses: Result<Addresses, String>,
}

/// A link's two ends, of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) local: Option<IpAddr>,
    pub(super) remote: Option<SocketAddr>,
}

/// The thread and the line to it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Resolver<P>(Arc<Line<P>>);

/// Two queues between the monitor and the thread. Not `std`'s channels: six times as large in a router's flash.
#[derive(Debug)]
struct Line<P> {
    waiting: Mutex<Waiting<P>>,
    /// That something was asked, or that nobody will ask again.
    asked: Condvar,
    /// Readable when something was found.
    wake: EventFd,
}

#[derive(Debug)]
struct Waiting<P> {
    questions: VecDeque<Question<P>>,
    /// Twice as many as questions at most: whoever does not take what was found may not ask.
    found: VecDeque<Found<P>>,
    is_over: bool,
}

impl<P> Line<P> {
    fn lock(&self) -> MutexGuard<'_, Waiting<P>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next question, once there is one; none when nobody asks any more.
    fn next(&self) -> Option<Question<P>> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_over {
                return None;
            }
            if let Some(question) = waiting.questions.pop_front() {
                return Some(question);
            }
            waiting = self.asked.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<P: Send + 'static> Resolver<P> {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let waiting = Waiting { questions: VecDeque::new(), found: VecDeque::new(), is_over: false };
        let line = Arc::new(Line { waiting: Mutex::new(waiting), asked: Condvar::new(), wake });
        let ours = Arc::clone(&line);
        sys::start_thread(Box::new(move || {
            while let Some(question) = line.next() {
                let addresses = resolve(&question);
                line.lock().found.push_back(Found { purpose: question.purpose, addresses });
                if line.wake.write(1).is_err() {
                    break;
                }
            }
        }))?;
        Ok(Self(ours))
    }

    /// Asks; what is found comes later. False when too much is asked already.
    pub(super) fn ask(&self, question: Question<P>) -> bool {
        let mut waiting = self.0.lock();
        let has_room = waiting.questions.len().max(waiting.found.len()) < MOST_WAITING;
        if has_room {
            waiting.questions.push_back(question);
            self.0.asked.notify_one();
        }
        has_room
    }

    /// What was found next, if anything.
    pub(super) fn poll(&self) -> Option<Found<P>> {
        // Zero is no error here: it may have been taken on an earlier wake.
        let _ = self.0.wake.read();
        self.0.lock().found.pop_front()
    }
}

impl<P> Drop for Resolver<P> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.asked.notify_one();
    }
}

impl<P> AsFd for Resolver<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

/// The addresses when both ends are written as addresses, so that nobody need be asked.
pub(super) fn literal<P>(question: &Question<P>) -> Option<Addresses> {
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

fn resolve<P>(question: &Question<P>) -> Result<Addresses, String> {
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

    fn question(local: Option<&str>, remote: Option<&str>) -> Question<u64> {
        Question { purpose: 7, local: local.map(str::to_owned), remote: remote.map(|host| (host.to_owned(), 5080)) }
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
    fn what_was_found_comes_through_the_thread_with_its_purpose() {
        let resolver = Resolver::start().expect("thread");
        assert!(resolver.ask(question(None, Some("127.0.0.1"))));
        let found = loop {
            if let Some(found) = resolver.poll() {
                break found;
            }
            std::thread::yield_now();
        };
        assert_eq!(found.purpose, 7);
        assert_eq!(found.addresses.expect("an address").remote, Some(([127, 0, 0, 1], 5080).into()));
    }
}

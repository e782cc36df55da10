// SPDX-License-Identifier: BSD-2-Clause
//! Each link's socket: opened, lost, and opened again when what it needs is there.

use std::net::{IpAddr, SocketAddr};

use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;

use super::resolver::{Addresses, Question};
use crate::backoff::Backoff;
use crate::config;
use crate::netlink::Change;
use crate::socket::{Family, LinkAddress, LinkSocket, OpenError, SendError};

/// A link's socket and what is needed to open it again.
#[derive(Debug)]
pub(super) struct LinkPort {
    pub(super) config: config::Link,
    socket: Option<LinkSocket>,
    /// The peer's address the socket was opened for.
    remote: Option<SocketAddr>,
    /// When to try again; armed exactly while there is no socket and no answer of the resolver is awaited.
    backoff: Backoff,
    /// The question that is with the resolver.
    asked: Option<u64>,
    /// A datagram the socket had no room for.
    unsent: Option<Unsent>,
}

#[derive(Debug)]
struct Unsent {
    bytes: Box<[u8; MAX_DATAGRAM]>,
    len: usize,
    to: SocketAddr,
}

/// What became of a datagram.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is on its way, or was for nobody: UDP does not tell.
    Yes,
    /// The socket is full; the datagram is kept, and the link must be passed over until [`LinkPort::flush`].
    Full,
    /// It was too long for the path, whose MTU is now this, if known.
    TooLong(Option<u32>),
    /// The link cannot send: close it.
    Broken(std::io::Error),
}

impl LinkPort {
    /// A link without a socket, due to be opened.
    pub(super) fn new(config: config::Link) -> Self {
        Self { config, socket: None, remote: None, backoff: Backoff::new(), asked: None, unsent: None }
    }

    /// What to resolve before opening.
    pub(super) fn question(&self, link: usize, serial: u64) -> Question {
        let remote = self.config.remotehost.clone().zip(self.config.remoteport);
        Question { link, serial, local: self.config.bindhost.clone(), remote }
    }

    /// Remembers that the resolver has a question of this link.
    pub(super) fn wait_for_answer(&mut self, serial: u64) {
        self.asked = Some(serial);
    }

    /// Whether the answer is to the question asked last.
    pub(super) fn takes_answer(&mut self, serial: u64) -> bool {
        if self.asked == Some(serial) {
            self.asked = None;
            return true;
        }
        false
    }

    /// Whether the link is to be opened now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.socket.is_none() && self.asked.is_none() && self.backoff.is_due(now)
    }

    /// When the link is to be opened, if it is closed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        if self.socket.is_some() || self.asked.is_some() { None } else { self.backoff.retry_at() }
    }

    /// Opens the socket.
    pub(super) fn open(&mut self, addresses: Addresses) -> Result<&LinkSocket, OpenError> {
        let family = addresses.remote.map(|remote| remote.ip()).or(addresses.local).map_or(Family::V4, Family::of);
        let address = LinkAddress {
            bind_addr: addresses.local,
            bind_port: self.config.bindport.unwrap_or(0),
            interface: self.config.bindinterface,
            family,
        };
        self.remote = addresses.remote;
        Ok(self.socket.insert(LinkSocket::open(&address)?))
    }

    /// Notes that the link did not open, or broke, and says when it is tried again.
    pub(super) fn failed(&mut self, now: Instant) -> Instant {
        self.backoff.failed(now)
    }

    /// Notes that the link is up: the next failure is a first one.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// Something about the machine's network got better: try soon.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.socket.is_none() {
            self.backoff.hurry(now);
        }
    }

    /// Closes the socket; returns it for deregistering.
    pub(super) fn close(&mut self) -> Option<LinkSocket> {
        self.unsent = None;
        self.asked = None;
        self.socket.take()
    }

    /// The open socket.
    pub(super) fn socket(&self) -> Option<&LinkSocket> {
        self.socket.as_ref()
    }

    /// The peer's address the socket was opened for; a server has none.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Sends a datagram.
    pub(super) fn send(&mut self, datagram: &[u8], to: SocketAddr) -> Sent {
        let Some(socket) = &self.socket else { return Sent::Yes };
        match socket.send_to(datagram, to) {
            Ok(()) | Err(SendError::Refused(_)) => Sent::Yes,
            Err(SendError::WouldBlock) => {
                self.keep(datagram, to);
                Sent::Full
            }
            Err(SendError::TooLong { path_mtu }) => Sent::TooLong(path_mtu),
            Err(SendError::LinkDown(why) | SendError::Io(why)) => Sent::Broken(why),
        }
    }

    /// Sends the datagram kept back, when the socket has room again.
    pub(super) fn flush(&mut self) -> Sent {
        match self.unsent.take() {
            Some(unsent) => self.send(unsent.bytes.get(..unsent.len).unwrap_or_default(), unsent.to),
            None => Sent::Yes,
        }
    }

    /// Whether a datagram waits for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether `change` took away what the open socket is bound to.
    pub(super) fn is_broken_by(&self, change: &Change) -> bool {
        match change {
            Change::LinkDown(interface) => {
                let bound = self.config.bindinterface;
                bound.is_some() && interface.name == bound
            }
            Change::AddressRemoved(_, address) => self.bound_address() == Some(*address),
            Change::LinkUp(_) | Change::AddressAdded(..) | Change::RouteChanged | Change::Overrun => false,
        }
    }

    fn bound_address(&self) -> Option<IpAddr> {
        self.socket.as_ref()?.address().bind_addr
    }

    fn keep(&mut self, datagram: &[u8], to: SocketAddr) {
        let mut bytes = Box::new([0; MAX_DATAGRAM]);
        if let Some(room) = bytes.get_mut(..datagram.len()) {
            room.copy_from_slice(datagram);
            self.unsent = Some(Unsent { bytes, len: datagram.len(), to });
        }
    }
}

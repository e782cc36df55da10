// SPDX-License-Identifier: BSD-2-Clause
//! What is asked of the kernel's routing by rtnetlink (`man 7 rtnetlink`), so that no `ip` program is needed: requests,
//! their verdicts, and lists.
//!
//! Everything acts on the calling thread's network namespace.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER_LEN: usize = 16;

/// Bytes of a list read at a time: more than the kernel puts into one answer (32 KiB).
const LIST_BYTES: usize = 64 * 1024;

// Kernel constants that libc does not name on every target (linux/fib_rules.h, rtnetlink.h).
pub(crate) const RTM_NEWRULE: u16 = 32;
pub(crate) const RTM_DELRULE: u16 = 33;
pub(crate) const RTM_GETRULE: u16 = 34;
pub(crate) const FR_ACT_TO_TBL: u8 = 1;
pub(crate) const FIB_RULE_INVERT: u32 = 2;
pub(crate) const FRA_SRC: u16 = 2;
pub(crate) const FRA_PRIORITY: u16 = 6;
pub(crate) const FRA_FWMARK: u16 = 10;
pub(crate) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(crate) const FRA_TABLE: u16 = 15;
pub(crate) const FRA_FWMASK: u16 = 16;
pub(crate) const FRA_PROTOCOL: u16 = 21;

/// `AF_INET` and `AF_INET6`, which every Linux numbers alike, as the byte that messages carry.
pub(crate) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// An address as it stands in a message.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A netlink request being written; integers are in the machine's byte order, attributes padded to four bytes.
pub(crate) struct Request {
    message: Vec<u8>,
}

impl Request {
    /// A request of this kind, to be acknowledged.
    pub(crate) fn new(kind: u16, flags: libc::c_int) -> Self {
        Self::with_flags(kind, flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK)
    }

    /// A request for a list.
    pub(crate) fn for_list(kind: u16) -> Self {
        Self::with_flags(kind, libc::NLM_F_REQUEST | libc::NLM_F_DUMP)
    }

    fn with_flags(kind: u16, flags: libc::c_int) -> Self {
        let mut request = Self { message: vec![0; 4] };
        request.bytes(&kind.to_ne_bytes());
        request.bytes(&u16::try_from(flags).unwrap_or(0).to_ne_bytes());
        request.word(1); // sequence number: one request per socket
        request.word(0); // the kernel fills the port in
        request
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.message.extend_from_slice(bytes);
    }

    pub(crate) fn word(&mut self, word: u32) {
        self.bytes(&word.to_ne_bytes());
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes(&len.to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.message.resize(self.message.len().next_multiple_of(4), 0);
    }

    pub(crate) fn attribute_word(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Sends the request and waits for the kernel's verdict.
    pub(crate) fn perform(self) -> io::Result<()> {
        acknowledgement(&self.send()?)
    }

    /// Sends the request and tells the body of every message of the list that comes back.
    pub(crate) fn list(self, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
        let socket = self.send()?;
        let mut buffer = vec![0; LIST_BYTES];
        loop {
            let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = buffer.get(..len).unwrap_or_default();
            while let Some((message, after)) = super::message(rest) {
                match super::message_kind(message).map(libc::c_int::from) {
                    Some(libc::NLMSG_DONE) => return Ok(()),
                    Some(libc::NLMSG_ERROR) => return verdict(message),
                    _ => tell(message.get(HEADER_LEN..).unwrap_or_default()),
                }
                rest = after;
            }
        }
    }

    fn send(mut self) -> io::Result<OwnedFd> {
        let len = u32::try_from(self.message.len()).map_err(io::Error::other)?;
        if let Some(place) = self.message.get_mut(..4) {
            place.copy_from_slice(&len.to_ne_bytes());
        }
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        send(socket.as_raw_fd(), &self.message, MsgFlags::empty())?;
        Ok(socket)
    }
}

fn acknowledgement(socket: &OwnedFd) -> io::Result<()> {
    let mut reply = [0; 4096];
    let len = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    verdict(reply.get(..len).unwrap_or_default())
}

fn verdict(reply: &[u8]) -> io::Result<()> {
    let error = reply.get(HEADER_LEN..).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes));
    match (super::message_kind(reply).map(libc::c_int::from), error) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "netlink answered with something else than a verdict")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes() {
        let mut request = Request::new(RTM_NEWRULE, 0);
        request.attribute(7, &[1, 2, 3]);
        assert_eq!(request.message.len(), HEADER_LEN + 8);
        assert_eq!(request.message.get(HEADER_LEN..HEADER_LEN + 2), Some(&7_u16.to_ne_bytes()[..]));
    }
}

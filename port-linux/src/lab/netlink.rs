// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces, addresses, routes and rules set by rtnetlink (`man 7 rtnetlink`), so that no `ip` program is needed.
//!
//! Every function acts on the calling thread's network namespace.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER_LEN: usize = 16;
/// Kernel constants that libc does not name on every target (linux/fib_rules.h).
const RTM_NEWRULE: u16 = 32;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;

/// Brings an interface up, with the given MTU in bytes if any.
pub(super) fn bring_up(interface: &str, mtu: Option<u32>) -> io::Result<()> {
    let up = u32::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    let mut request = Request::new(libc::RTM_NEWLINK, 0);
    request.bytes(&[0; 4]); // family, padding, type
    request.word(index_of(interface)?);
    request.word(up);
    request.word(up); // the flags that change
    if let Some(mtu) = mtu {
        request.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
    }
    request.perform()
}

/// Gives an interface an address; IPv6 addresses are usable at once, without duplicate address detection.
pub(super) fn add_address(interface: &str, address: IpAddr, prefix_len: u8) -> io::Result<()> {
    const IFA_F_NODAD: u8 = 2;
    let mut request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    request.bytes(&[family(address), prefix_len, flags, 0]);
    request.word(index_of(interface)?);
    request.attribute(libc::IFA_LOCAL, &octets(address));
    request.attribute(libc::IFA_ADDRESS, &octets(address));
    request.perform()
}

/// Routes everything of one address family into an interface, in the given routing table.
pub(super) fn add_default_route(interface: &str, example: IpAddr, table: u32) -> io::Result<()> {
    let mut request = Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    let scope = if example.is_ipv4() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    // Family, lengths of destination and source, TOS, table (the attribute holds it), protocol, scope, type.
    request.bytes(&[family(example), 0, 0, 0, libc::RT_TABLE_UNSPEC, libc::RTPROT_STATIC, scope, libc::RTN_UNICAST]);
    request.word(0);
    request.attribute(libc::RTA_TABLE, &table.to_ne_bytes());
    request.attribute(libc::RTA_OIF, &index_of(interface)?.to_ne_bytes());
    request.perform()
}

/// Sends what has `source` as its source address to a routing table of its own.
pub(super) fn add_source_rule(source: IpAddr, table: u32) -> io::Result<()> {
    let mut request = Request::new(RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    let bits = if source.is_ipv4() { 32 } else { 128 };
    request.bytes(&[family(source), 0, bits, 0, libc::RT_TABLE_UNSPEC, 0, 0, FR_ACT_TO_TBL]);
    request.word(0);
    request.attribute(FRA_SRC, &octets(source));
    request.attribute(FRA_TABLE, &table.to_ne_bytes());
    request.perform()
}

fn index_of(interface: &str) -> io::Result<u32> {
    Ok(if_nametoindex(interface)?)
}

/// `AF_INET` and `AF_INET6`, which every Linux numbers alike, as the byte that messages carry.
const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A netlink request being written; integers are in the machine's byte order, attributes padded to four bytes.
struct Request {
    message: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: libc::c_int) -> Self {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let mut request = Self { message: vec![0; 4] };
        request.bytes(&kind.to_ne_bytes());
        request.bytes(&u16::try_from(flags).unwrap_or(0).to_ne_bytes());
        request.word(1); // sequence number: one request per socket
        request.word(0); // the kernel fills the port in
        request
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.message.extend_from_slice(bytes);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes(&len.to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.message.resize(self.message.len().next_multiple_of(4), 0);
    }

    /// Sends the request and waits for the kernel's verdict.
    fn perform(mut self) -> io::Result<()> {
        let len = u32::try_from(self.message.len()).map_err(io::Error::other)?;
        self.message[..4].copy_from_slice(&len.to_ne_bytes());
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        send(socket.as_raw_fd(), &self.message, MsgFlags::empty())?;
        acknowledgement(&socket)
    }
}

fn acknowledgement(socket: &OwnedFd) -> io::Result<()> {
    let mut reply = [0; 4096];
    let len = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    let malformed =
        || io::Error::new(io::ErrorKind::InvalidData, "netlink answered with something else than a verdict");
    let kind = reply.get(4..6).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes));
    let error =
        reply.get(HEADER_LEN..len).and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_ne_bytes(*bytes));
    match (kind.map(libc::c_int::from), error) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(malformed()),
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
        assert_eq!(request.message[HEADER_LEN..HEADER_LEN + 2], 7_u16.to_ne_bytes());
    }

    #[test]
    fn an_unknown_interface_is_an_error() {
        assert!(bring_up("no-such-if", None).is_err());
    }
}

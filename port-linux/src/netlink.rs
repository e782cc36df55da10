// SPDX-License-Identifier: BSD-2-Clause
//! What changes on the machine's network: interfaces up and down, addresses that come and go (rtnetlink).
//!
//! The parser is a function over bytes that trusts no length in them. The kernel drops notifications when nobody reads
//! fast enough; that is reported as [`Change::Overrun`], after which everything has to be looked at anew.

#[cfg(feature = "full")]
pub(crate) mod request;

use crate::interface::InterfaceName;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes read at a time; the kernel fills at most one page or 8 KiB per notification (`NLMSG_GOODSIZE`).
const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes asked for the kernel's queue: hundreds of changes while the loop is busy elsewhere.
const QUEUE_BYTES: usize = 256 * 1024;

/// Reads per call of [`Netlink::drain`], so that a storm of changes cannot starve the packets.
const READS_PER_DRAIN: usize = 32;

/// The groups of linux/rtnetlink.h this socket hears: links, addresses and routes of both versions of IP.
const GROUPS: i32 = libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE;

/// One thing that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface is up and has a carrier. Repeated whenever something else about it changes.
    LinkUp(Interface),
    /// An interface is down, lost its carrier, or was removed.
    LinkDown(Interface),
    /// An address became usable on the interface with this index.
    AddressAdded(u32, IpAddr),
    /// An address left the interface with this index.
    AddressRemoved(u32, IpAddr),
    /// A route came or went.
    RouteChanged,
    /// Changes were lost: look at everything anew.
    Overrun,
}

/// An interface as the kernel names it in a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it, never reused while the machine runs.
    pub index: u32,
    /// Its name; `None` when it is none this program could configure.
    pub name: Option<InterfaceName>,
}

/// The socket the kernel's notifications come in on.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Box<[u8; BUFFER_BYTES]>,
}

impl Netlink {
    /// Subscribes to changes of links, addresses and routes in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        setsockopt(&socket, sockopt::RcvBuf, &QUEUE_BYTES)?;
        let groups = u32::try_from(GROUPS).map_err(io::Error::other)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { socket, buffer: Box::new([0; BUFFER_BYTES]) })
    }

    /// Takes the waiting notifications and tells each change; does nothing when none waits. Reads a bounded number, so
    /// the socket may still be readable afterwards.
    ///
    /// # Errors
    /// The socket failed; the changes told so far hold.
    pub fn drain(&mut self, mut tell: impl FnMut(Change)) -> io::Result<()> {
        for _ in 0..READS_PER_DRAIN {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), self.buffer.as_mut_slice()) {
                // Another process may send here; only the kernel (port 0) is believed.
                Ok((_, Some(sender))) if sender.pid() != 0 => {}
                Ok((len, _)) if len >= BUFFER_BYTES => tell(Change::Overrun),
                Ok((len, _)) => parse(self.buffer.get(..len).unwrap_or_default(), &mut tell),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => tell(Change::Overrun),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where things stand in the messages, from linux/netlink.h, rtnetlink.h, if_link.h and if_addr.h. All numbers are in
/// the machine's own byte order, addresses in the network's.
mod field {
    use std::ops::Range;

    /// `nlmsghdr`: length (header included), type; its size is the alignment of what follows, too.
    pub(super) const LENGTH: Range<usize> = 0..4;
    pub(super) const TYPE: Range<usize> = 4..6;
    pub(super) const HEADER: usize = 16;
    /// Messages and attributes start at multiples of this.
    pub(super) const ALIGN: usize = 4;
    /// `ifinfomsg`.
    pub(super) const LINK_INDEX: Range<usize> = 4..8;
    pub(super) const LINK_FLAGS: Range<usize> = 8..12;
    pub(super) const LINK_BODY: usize = 16;
    /// `ifaddrmsg`.
    pub(super) const ADDRESS_FLAGS: usize = 2;
    pub(super) const ADDRESS_INDEX: Range<usize> = 4..8;
    pub(super) const ADDRESS_BODY: usize = 8;
    /// `rtmsg`.
    pub(super) const ROUTE_FLAGS: Range<usize> = 8..12;
    /// `rtattr`: length (header included) and type.
    pub(super) const ATTRIBUTE_LENGTH: Range<usize> = 0..2;
    pub(super) const ATTRIBUTE_TYPE: Range<usize> = 2..4;
    pub(super) const ATTRIBUTE_HEADER: usize = 4;
}

/// `IFF_UP | IFF_RUNNING`: set up by the user, and the driver has a carrier.
const RUNNING: u32 = (libc::IFF_UP | libc::IFF_RUNNING) as u32;

/// `RTM_F_CLONED`: an entry of a cache, not a route.
const ROUTE_CLONED: u32 = 0x200;

/// Tells each change in `bytes`, a run of netlink messages. What is cut or unknown is passed over. At most as many
/// steps as `bytes` holds attribute headers.
pub fn parse(bytes: &[u8], mut tell: impl FnMut(Change)) {
    let mut rest = bytes;
    while let Some((message, after)) = message(rest) {
        let kind = message_kind(message).unwrap_or(0);
        if let Some(change) = change(kind, message.get(field::HEADER..).unwrap_or_default()) {
            tell(change);
        }
        rest = after;
    }
}

/// The first message of a run of them, and what follows.
pub(crate) fn message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    split(bytes, u32_at(bytes, field::LENGTH), field::HEADER)
}

/// A message's type.
pub(crate) fn message_kind(message: &[u8]) -> Option<u16> {
    u16_at(message, field::TYPE)
}

fn change(kind: u16, body: &[u8]) -> Option<Change> {
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link_change(kind == libc::RTM_NEWLINK, body),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => address_change(kind == libc::RTM_NEWADDR, body),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            (u32_at(body, field::ROUTE_FLAGS)? & ROUTE_CLONED == 0).then_some(Change::RouteChanged)
        }
        kind if i32::from(kind) == libc::NLMSG_OVERRUN => Some(Change::Overrun),
        _ => None,
    }
}

fn link_change(is_new: bool, body: &[u8]) -> Option<Change> {
    let index = u32_at(body, field::LINK_INDEX)?;
    let flags = u32_at(body, field::LINK_FLAGS)?;
    let name = attribute(body.get(field::LINK_BODY..)?, libc::IFLA_IFNAME).and_then(InterfaceName::from_kernel);
    let interface = Interface { index, name };
    let is_up = is_new && flags & RUNNING == RUNNING;
    Some(if is_up { Change::LinkUp(interface) } else { Change::LinkDown(interface) })
}

fn address_change(is_new: bool, body: &[u8]) -> Option<Change> {
    let index = u32_at(body, field::ADDRESS_INDEX)?;
    let attributes = body.get(field::ADDRESS_BODY..)?;
    // On a point-to-point interface IFA_ADDRESS is the peer's; IFA_LOCAL is ours wherever both exist.
    let local = attribute(attributes, libc::IFA_LOCAL).or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
    let ip = match local.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(local).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(local).ok()?)),
        _ => return None,
    };
    if !is_new {
        return Some(Change::AddressRemoved(index, ip));
    }
    // An IPv6 address cannot be bound while the kernel still asks whether it is a duplicate; it tells again after.
    let unusable = libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED;
    let is_usable = u32::from(*body.get(field::ADDRESS_FLAGS)?) & unusable == 0;
    is_usable.then_some(Change::AddressAdded(index, ip))
}

/// The contents of the first attribute of type `wanted`.
pub(crate) fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let length = u16_at(rest, field::ATTRIBUTE_LENGTH).map(u32::from);
        let (attribute, after) = split(rest, length, field::ATTRIBUTE_HEADER)?;
        if u16_at(attribute, field::ATTRIBUTE_TYPE)? == wanted {
            return attribute.get(field::ATTRIBUTE_HEADER..);
        }
        rest = after;
    }
}

/// Splits `bytes` after an item of `length` bytes, of which the first `header` always exist, and the padding behind
/// it. `None` at the end and when the length is impossible, so that every step goes forward.
fn split(bytes: &[u8], length: Option<u32>, header: usize) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(length?).ok()?;
    if length < header {
        return None;
    }
    let item = bytes.get(..length)?;
    let padded = length.checked_next_multiple_of(field::ALIGN)?;
    Some((item, bytes.get(padded..).unwrap_or_default()))
}

fn u32_at(bytes: &[u8], at: std::ops::Range<usize>) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: std::ops::Range<usize>) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox;
    use proptest::prelude::*;
    use std::time::Duration;

    fn padded(mut item: Vec<u8>) -> Vec<u8> {
        item.resize(item.len().next_multiple_of(4), 0xee);
        item
    }

    fn attribute_bytes(kind: u16, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + contents.len()).expect("short");
        padded([&length.to_ne_bytes()[..], &kind.to_ne_bytes(), contents].concat())
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).expect("short");
        padded([&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat())
    }

    fn link(kind: u16, index: u32, flags: i32, name: &str) -> Vec<u8> {
        let name = attribute_bytes(libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        let mtu = attribute_bytes(libc::IFLA_MTU, &1500_u32.to_ne_bytes());
        message(kind, &[&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4], &mtu, &name].concat())
    }

    fn address(kind: u16, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let flags = u8::try_from(flags).expect("a byte of flags");
        let mut body = vec![2, 24, flags, 0];
        body.extend(7_u32.to_ne_bytes());
        for (kind, contents) in attributes {
            body.extend(attribute_bytes(*kind, contents));
        }
        message(kind, &body)
    }

    fn changes(bytes: &[u8]) -> Vec<Change> {
        let mut changes = Vec::new();
        parse(bytes, |change| changes.push(change));
        changes
    }

    #[test]
    fn links_and_addresses_are_told_in_order() {
        let up = libc::IFF_UP | libc::IFF_RUNNING;
        let peer: &[u8] = &[10, 0, 0, 1];
        let own: &[u8] = &[10, 0, 0, 2];
        let bytes = [
            link(libc::RTM_NEWLINK, 3, up, "wan"),
            link(libc::RTM_NEWLINK, 3, libc::IFF_UP, "wan"),
            link(libc::RTM_DELLINK, 3, up, "wan"),
            address(libc::RTM_NEWADDR, 0, &[(libc::IFA_ADDRESS, peer), (libc::IFA_LOCAL, own)]),
            address(libc::RTM_DELADDR, 0, &[(libc::IFA_ADDRESS, &[0xfe; 16])]),
            message(libc::RTM_NEWROUTE, &[0; 12]),
        ]
        .concat();
        let wan = Interface { index: 3, name: "wan".parse().ok() };
        let all_fe = IpAddr::V6(Ipv6Addr::from([0xfe; 16]));
        let expected = [
            Change::LinkUp(wan),
            Change::LinkDown(wan),
            Change::LinkDown(wan),
            Change::AddressAdded(7, IpAddr::from([10, 0, 0, 2])),
            Change::AddressRemoved(7, all_fe),
            Change::RouteChanged,
        ];
        assert_eq!(changes(&bytes), expected);
    }

    #[test]
    fn an_address_that_may_be_a_duplicate_is_not_usable_yet() {
        let bytes = address(libc::RTM_NEWADDR, libc::IFA_F_TENTATIVE, &[(libc::IFA_ADDRESS, &[0xfe; 16])]);
        assert_eq!(changes(&bytes), []);
    }

    #[test]
    fn impossible_lengths_end_the_parse() {
        assert_eq!(changes(&[0; 64]), []);
        assert_eq!(changes(&message(libc::RTM_NEWLINK, &[0; 7])), []);
        let mut cut = link(libc::RTM_NEWLINK, 3, 0, "wan");
        cut.truncate(cut.len() - 5);
        assert_eq!(changes(&cut), []);
        let zero_length_attribute = message(libc::RTM_NEWADDR, &[0; 16]);
        assert_eq!(changes(&zero_length_attribute), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            changes(&bytes);
        }

        #[test]
        fn damaged_messages_tell_no_more_changes_than_messages(damage in proptest::collection::vec((0_usize..400, any::<u8>()), 0..8)) {
            let mut bytes = [
                link(libc::RTM_NEWLINK, 3, libc::IFF_UP, "wan"),
                address(libc::RTM_NEWADDR, 0, &[(libc::IFA_LOCAL, &[10, 0, 0, 2])]),
                link(libc::RTM_DELLINK, 4, libc::IFF_UP, "lte"),
            ].concat();
            let most = bytes.len() / 16;
            for (at, value) in damage {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            prop_assert!(changes(&bytes).len() <= most);
        }
    }

    /// Drains until `wanted` is among the changes told, old ones in `told` included.
    fn wait_for(netlink: &mut Netlink, told: &mut Vec<Change>, wanted: impl Fn(&Change) -> bool) {
        for _ in 0..20_000 {
            if told.iter().any(&wanted) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            netlink.drain(|change| told.push(change)).expect("drain");
        }
        panic!("the change never came, only {told:?}");
    }

    #[test]
    fn the_kernel_tells_of_an_interface_that_comes_and_goes() {
        use crate::device::{DeviceKind, TunDevice};
        sandbox::in_namespace("netlink with a TUN device", || {
            let mut netlink = Netlink::open().expect("open");
            let mut told = Vec::new();
            let device = TunDevice::create("wan0", DeviceKind::Tun, 1400).expect("create");
            device.set_up().expect("up");
            let is_wan = |interface: &Interface| interface.name == Some(device.name());
            wait_for(
                &mut netlink,
                &mut told,
                |change| matches!(change, Change::LinkUp(interface) if is_wan(interface)),
            );
            sandbox::run("ip addr add 10.1.0.1/24 dev wan0 && ip route add 10.3.0.0/24 dev wan0");
            let own = IpAddr::from([10, 1, 0, 1]);
            wait_for(&mut netlink, &mut told, |change| matches!(change, Change::AddressAdded(_, ip) if *ip == own));
            wait_for(&mut netlink, &mut told, |change| *change == Change::RouteChanged);
            let name = device.name();
            told.clear();
            drop(device);
            wait_for(&mut netlink, &mut told, |change| matches!(change, Change::AddressRemoved(_, ip) if *ip == own));
            let is_gone = |change: &Change| matches!(change, Change::LinkDown(gone) if gone.name == Some(name));
            wait_for(&mut netlink, &mut told, is_gone);
        });
    }

    #[test]
    fn changes_nobody_read_are_reported_as_an_overrun() {
        sandbox::in_namespace("netlink", || {
            let mut netlink = Netlink::open().expect("open");
            let mut told = Vec::new();
            setsockopt(&netlink.socket, sockopt::RcvBuf, &2048).expect("a short queue");
            sandbox::run("for i in 1 2 3 4 5 6 7 8 9; do ip link set lo down; ip link set lo up; done");
            wait_for(&mut netlink, &mut told, |change| *change == Change::Overrun);
        });
    }
}

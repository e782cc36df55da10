// SPDX-License-Identifier: BSD-2-Clause
//! One link's UDP socket: bound to an address, an interface, or both, never blocking.
//!
//! A router's links come and go: an interface may be missing at start and an address may move. Errors therefore say
//! whether waiting can help ([`OpenError::is_temporary`], with [`Backoff`](crate::backoff::Backoff) for how long), and
//! sending tells trouble of the link from trouble of the datagram.
//!
//! Datagrams are sent and received many at a time, see [`outgoing`] and [`incoming`].

pub mod incoming;
pub mod outgoing;

use crate::interface::{self, InterfaceName};
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket as new_socket, sockopt,
};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes asked for the socket's buffers each way: 100 ms at 80 Mbit/s, so that a burst outlives a scheduling delay. The
/// kernel caps it at `net.core.rmem_max` and `wmem_max`.
const BUFFER_BYTES: usize = 1 << 20;

/// The version of IP a link's datagrams travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and only that: a link that speaks both would hide which path it uses.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Where a link's datagrams leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The local address; `None` for any.
    pub bind_addr: Option<IpAddr>,
    /// The local UDP port; 0 lets the kernel choose.
    pub bind_port: u16,
    /// The interface all datagrams must use, whatever the routes say.
    pub interface: Option<InterfaceName>,
    /// The version of IP.
    pub family: Family,
}

/// What happens to a datagram longer than the path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// The kernel fragments it, and learns from ICMP what fits. The default: an MLVPN peer whose MTU is set too high
    /// (2.3.5's default of 1432 makes 1504-byte datagrams) still gets its packets through, slower, where forbidding
    /// fragments would make a tunnel that passes pings and hangs downloads.
    Kernel,
    /// It is refused with [`SendError::TooLong`] and never fragmented on the way: for finding the path's MTU.
    Never,
}

/// One link's open socket.
#[derive(Debug)]
pub struct LinkSocket {
    socket: UdpSocket,
    address: LinkAddress,
    /// The longest datagrams, in bytes, that the kernel cuts a run of into; 0 when it cuts none.
    longest_cut: Cell<usize>,
    /// Whether the kernel hands over datagrams joined.
    is_joining: bool,
    /// System calls made to send and receive.
    calls: Cell<u64>,
    /// Another socket of the same address, interface and mark, which asks the kernel about routes; `None` where this
    /// process may open one when it needs it.
    probe: Option<UdpSocket>,
}

/// What a [`LinkSocket`] was doing when it could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Socket,
    Options,
    Interface,
    Bind,
}

/// Why a link's socket could not be opened; the text names the parameters and what to do.
#[derive(Debug)]
pub struct OpenError {
    step: Step,
    address: LinkAddress,
    error: io::Error,
}

/// Why a datagram was not sent. None of these makes the socket useless.
#[derive(Debug)]
pub enum SendError {
    /// The socket's buffer is full: wait until it is writable.
    WouldBlock,
    /// The link cannot send now: its interface is down, its address gone, or no route leads there.
    LinkDown(io::Error),
    /// The datagram is longer than the path carries, whose MTU (bytes, IP header included) is this where known.
    TooLong {
        /// The MTU of the path in bytes, IP header included.
        path_mtu: Option<u32>,
    },
    /// The report of an *earlier* datagram: the peer's host answered that nobody listens, or cannot be reached.
    Refused(io::Error),
    /// Anything else.
    Io(io::Error),
}

impl LinkSocket {
    /// Opens and binds the link's socket.
    ///
    /// # Errors
    /// An [`OpenError`]; ask it whether to try again later.
    pub fn open(address: &LinkAddress) -> Result<Self, OpenError> {
        let failed = |step| move |errno: Errno| OpenError { step, address: *address, error: errno.into() };
        let family = match address.family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = new_socket(family, SockType::Datagram, flags, None).map_err(failed(Step::Socket))?;
        set_options(&socket, address.family).map_err(failed(Step::Options))?;
        set_fragmentation(&socket, address.family, Fragmentation::Kernel)
            .and_then(|()| tell_traffic_class(&socket, address.family))
            .map_err(|error| OpenError { step: Step::Options, address: *address, error })?;
        if let Some(name) = &address.interface {
            setsockopt(&socket, sockopt::BindToDevice, &name.as_str().into()).map_err(failed(Step::Interface))?;
        }
        bind_local(&socket, address).map_err(failed(Step::Bind))?;
        Ok(Self::new(socket, *address, None))
    }

    fn new(socket: OwnedFd, address: LinkAddress, probe: Option<OwnedFd>) -> Self {
        // A kernel that does not know these options (before Linux 4.18 and 5.0) carries datagrams one by one.
        let cuts = sys::set_socket_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let is_joining = sys::set_socket_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let longest_cut = Cell::new(if cuts { usize::MAX } else { 0 });
        let (socket, probe) = (UdpSocket::from(socket), probe.map(UdpSocket::from));
        Self { socket, address, probe, longest_cut, is_joining, calls: Cell::new(0) }
    }

    /// A socket that a process with more rights opened for `address`, and another like it to ask about routes with.
    #[must_use]
    pub fn adopt(socket: OwnedFd, probe: OwnedFd, address: LinkAddress) -> Self {
        Self::new(socket, address, Some(probe))
    }

    /// Leaves no datagrams to the kernel to cut or join, for kernels and devices that do it wrong.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn forgo_offload(&mut self) -> io::Result<()> {
        self.longest_cut.set(0);
        if self.is_joining {
            sys::set_socket_option(&self.socket, libc::SOL_UDP, libc::UDP_GRO, 0)?;
            self.is_joining = false;
        }
        Ok(())
    }

    /// Marks what the socket sends, for the routing rules (`SO_MARK`). Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        Ok(setsockopt(&self.socket, sockopt::Mark, &mark)?)
    }

    /// The largest IP packet (bytes) the link can send whole from this machine: see [`outgoing_mtu`].
    ///
    /// # Errors
    /// As [`outgoing_mtu`].
    pub fn outgoing_mtu(&self, destination: Option<SocketAddr>) -> io::Result<Option<u32>> {
        let path_mtu = destination.map(|destination| self.path_mtu(destination)).transpose()?;
        Ok(interface_mtu(&self.address)?.into_iter().chain(path_mtu).min())
    }

    fn path_mtu(&self, destination: SocketAddr) -> io::Result<u32> {
        match &self.probe {
            Some(probe) => probed_mtu(probe, self.address.family, destination),
            None => route_mtu(&self.address, destination),
        }
    }

    /// What the socket was opened for.
    #[must_use]
    pub fn address(&self) -> &LinkAddress {
        &self.address
    }

    /// The address and port the socket has.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// System calls made so far to send and receive.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn count_call(&self) {
        self.calls.set(self.calls.get().wrapping_add(1));
    }

    /// Chooses what happens to datagrams longer than the path's MTU; [`Fragmentation::Kernel`] until called.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_fragmentation(&self, fragmentation: Fragmentation) -> io::Result<()> {
        set_fragmentation(&self.socket, self.address.family, fragmentation)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The largest IP packet (bytes) a link can send whole from this machine: the MTU of its interface and of the route to
/// `destination`, whichever is smaller; `None` when neither the interface, the local address nor the destination tells.
///
/// # Errors
/// The interface or address is not there now, or no route leads to `destination`.
pub fn outgoing_mtu(address: &LinkAddress, destination: Option<SocketAddr>) -> io::Result<Option<u32>> {
    let path_mtu = destination.map(|destination| route_mtu(address, destination)).transpose()?;
    Ok(interface_mtu(address)?.into_iter().chain(path_mtu).min())
}

/// The MTU of the interface that `address` names, or that has it.
fn interface_mtu(address: &LinkAddress) -> io::Result<Option<u32>> {
    let holder = match (address.interface, address.bind_addr) {
        (Some(name), _) => Some(name),
        (None, Some(local)) => interface::holding(local)?,
        (None, None) => None,
    };
    holder.map(|name| interface::mtu(&name)).transpose()
}

/// The MTU of the route from `address` to `destination`.
fn route_mtu(address: &LinkAddress, destination: SocketAddr) -> io::Result<u32> {
    let probe = LinkSocket::open(&LinkAddress { bind_port: 0, ..*address }).map_err(|failed| failed.error)?;
    probed_mtu(&probe.socket, address.family, destination)
}

/// The MTU of the route the probe's datagrams would take: it is connected, which sends nothing, and asked.
fn probed_mtu(probe: &UdpSocket, family: Family, destination: SocketAddr) -> io::Result<u32> {
    // Whatever it asked about before.
    sys::disconnect(probe)?;
    probe.connect(destination)?;
    let mtu = match family {
        Family::V4 => sys::socket_option(probe, libc::IPPROTO_IP, libc::IP_MTU),
        Family::V6 => sys::socket_option(probe, libc::IPPROTO_IPV6, libc::IPV6_MTU),
    }?;
    u32::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

fn set_options(socket: &OwnedFd, family: Family) -> Result<(), Errno> {
    // As MLVPN 2.3.5: a restarted daemon takes its port over while the old one still says goodbye.
    setsockopt(socket, sockopt::ReuseAddr, &true)?;
    setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
    setsockopt(socket, sockopt::SndBuf, &BUFFER_BYTES)?;
    if family == Family::V6 {
        setsockopt(socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(())
}

fn set_fragmentation(socket: &impl AsFd, family: Family, fragmentation: Fragmentation) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    };
    // The values are the same for both versions of IP (linux/in.h, in6.h).
    let value = match fragmentation {
        Fragmentation::Kernel => libc::IP_PMTUDISC_WANT,
        Fragmentation::Never => libc::IP_PMTUDISC_PROBE,
    };
    sys::set_socket_option(socket, level, name, value)
}

/// Has the kernel tell the traffic class of each datagram received, which holds its congestion codepoint.
fn tell_traffic_class(socket: &impl AsFd, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => sys::set_socket_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
        Family::V6 => sys::set_socket_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
    }
}

fn bind_local(socket: &OwnedFd, address: &LinkAddress) -> Result<(), Errno> {
    let port = address.bind_port;
    let local = match (address.family, address.bind_addr) {
        (Family::V4, None) => SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
        (Family::V6, None) => SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)),
        (Family::V4, Some(IpAddr::V4(ip))) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
        (Family::V6, Some(IpAddr::V6(ip))) => {
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope(ip, address.interface)?))
        }
        (Family::V4 | Family::V6, Some(_)) => return Err(Errno::EAFNOSUPPORT),
    };
    bind(socket.as_raw_fd(), &SockaddrStorage::from(local))
}

/// A link-local address means something on one interface only, which binding has to name.
fn scope(ip: Ipv6Addr, interface: Option<InterfaceName>) -> Result<u32, Errno> {
    match interface {
        Some(name) if ip.is_unicast_link_local() => nix::net::if_::if_nametoindex(name.as_str()),
        _ => Ok(0),
    }
}

/// What an error of `send` or `recv` on an unconnected UDP socket is about.
fn classify(error: io::Error) -> SendError {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        // ENOBUFS is the interface's queue, not the socket's, but the cure is the same: later.
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR => SendError::WouldBlock,
        Errno::EMSGSIZE => SendError::TooLong { path_mtu: None },
        Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::EPROTO | Errno::ENOPROTOOPT => {
            SendError::Refused(error)
        }
        // EPERM and EACCES: a firewall rule drops what the link sends. EINVAL: the bound address left the machine.
        Errno::EADDRNOTAVAIL
        | Errno::ENETUNREACH
        | Errno::ENETDOWN
        | Errno::ENODEV
        | Errno::ENXIO
        | Errno::ENONET
        | Errno::EINVAL
        | Errno::EPERM
        | Errno::EACCES => SendError::LinkDown(error),
        _ => SendError::Io(error),
    }
}

impl OpenError {
    /// Whether trying again later can succeed without a change of configuration: an interface or address that is not
    /// there yet, a port still held, memory short.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let errno = Errno::from_raw(self.error.raw_os_error().unwrap_or(0));
        matches!(
            errno,
            Errno::ENODEV
                | Errno::ENXIO
                | Errno::EADDRNOTAVAIL
                | Errno::EADDRINUSE
                | Errno::ENETDOWN
                | Errno::ENOBUFS
                | Errno::ENOMEM
                | Errno::EMFILE
                | Errno::ENFILE
        )
    }

    fn advice(&self) -> &'static str {
        match (self.step, Errno::from_raw(self.error.raw_os_error().unwrap_or(0))) {
            (Step::Interface | Step::Bind, Errno::ENODEV | Errno::ENXIO) => "waiting for the interface to appear",
            (Step::Bind, Errno::EADDRNOTAVAIL) => "waiting for the address to appear on this machine",
            (Step::Bind, Errno::EADDRINUSE) => "another program holds the port; stop it or change bindport",
            (Step::Bind, Errno::EACCES | Errno::EPERM) => "ports below 1024 need CAP_NET_BIND_SERVICE",
            (Step::Bind, Errno::EAFNOSUPPORT) => "bindhost and remotehost must both be IPv4 or both IPv6",
            (Step::Interface, Errno::EPERM) => "binding to an interface needs CAP_NET_RAW before Linux 5.7",
            (Step::Socket, Errno::EAFNOSUPPORT) => "this kernel has no support for that version of IP",
            _ => "the kernel refused it",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bind_addr, self.bind_port) {
            (Some(ip), 0) => write!(f, "{ip}")?,
            (Some(ip), port) => write!(f, "{ip} port {port}")?,
            (None, 0) => write!(f, "any {} address", self.family)?,
            (None, port) => write!(f, "{} port {port}", self.family)?,
        }
        match self.interface {
            Some(name) => write!(f, " on interface {name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.step, self.address.interface) {
            (Step::Socket, _) => write!(f, "cannot open an {} socket", self.address.family)?,
            (Step::Options, _) => write!(f, "cannot set up an {} socket", self.address.family)?,
            (Step::Interface, Some(name)) => write!(f, "cannot use interface {name}")?,
            (Step::Interface, None) | (Step::Bind, _) => write!(f, "cannot bind to {}", self.address)?,
        }
        write!(f, ": {}; {}", self.error, self.advice())
    }
}

impl std::error::Error for OpenError {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the socket's buffer is full"),
            Self::LinkDown(why) => write!(f, "the link cannot send: {why}"),
            Self::TooLong { path_mtu: Some(mtu) } => write!(f, "longer than the path's MTU of {mtu} bytes"),
            Self::TooLong { path_mtu: None } => f.write_str("longer than the path's MTU"),
            Self::Refused(why) => write!(f, "an earlier datagram was refused: {why}"),
            Self::Io(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::incoming::Inbox;
    use super::outgoing::Outgoing;
    use super::*;
    use crate::device::{DeviceKind, TunDevice};
    use crate::sandbox;
    use mlvpn_core::words::ecn::Ecn;
    use std::time::Duration;

    fn from(bind_addr: &str) -> LinkAddress {
        let ip: IpAddr = bind_addr.parse().expect("an address");
        LinkAddress { bind_addr: Some(ip), bind_port: 0, interface: None, family: Family::of(ip) }
    }

    /// A TUN device that is up, stands for a link's interface, and has the address `network`.1/24.
    fn wan(name: &str, network: &str, mtu: u32) -> TunDevice {
        let device = TunDevice::create(name, DeviceKind::Tun, mtu).expect("create");
        device.set_up().expect("up");
        sandbox::run(&format!("ip addr add {network}.1/24 dev {name}"));
        device
    }

    /// What comes next: datagram by datagram, with sender and mark.
    fn receive(socket: &LinkSocket) -> Vec<(Vec<u8>, SocketAddr, Ecn)> {
        let mut inbox = Inbox::new();
        loop {
            socket.receive(&mut inbox).expect("receive");
            let all = inbox.letters().flat_map(|letter| {
                letter.datagrams().map(move |bytes| (bytes.to_vec(), letter.from, letter.ecn)).collect::<Vec<_>>()
            });
            let all: Vec<_> = all.collect();
            if !all.is_empty() {
                return all;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_empty(socket: &LinkSocket) -> bool {
        let mut inbox = Inbox::new();
        socket.receive(&mut inbox).expect("receive");
        inbox.letters().next().is_none()
    }

    fn send(socket: &LinkSocket, bytes: &[u8], to: SocketAddr, ecn: Ecn) -> Result<(), SendError> {
        socket.send(&[Outgoing { bytes, to, ecn }]).1
    }

    /// The next IPv4 UDP packet (or fragment of one) that left through `device`.
    fn sent_through(device: &TunDevice) -> Vec<u8> {
        let mut buffer = [0; 4096];
        loop {
            match device.read(&mut buffer).expect("read") {
                Some(len) if buffer[0] == 0x45 && buffer[9] == 17 => return buffer[..len].to_vec(),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn datagrams_pass_over_ipv4_and_ipv6() {
        for local in ["127.0.0.1", "::1"] {
            let (one, two) = match (LinkSocket::open(&from(local)), LinkSocket::open(&from(local))) {
                (Ok(one), Ok(two)) => (one, two),
                (Err(why), _) | (_, Err(why)) => {
                    eprintln!("skipped: {why}");
                    continue;
                }
            };
            assert!(is_empty(&one));
            send(&one, b"there", two.local_addr().expect("address"), Ecn::NotEct).expect("send");
            let from = one.local_addr().expect("address");
            assert_eq!(receive(&two), [(b"there".to_vec(), from, Ecn::NotEct)]);
        }
    }

    #[test]
    fn each_datagram_brings_its_own_congestion_codepoint_over_ipv4_and_ipv6() {
        for local in ["127.0.0.1", "::1"] {
            let (one, two) = match (LinkSocket::open(&from(local)), LinkSocket::open(&from(local))) {
                (Ok(one), Ok(two)) => (one, two),
                (Err(why), _) | (_, Err(why)) => {
                    eprintln!("skipped: {why}");
                    continue;
                }
            };
            let to = two.local_addr().expect("address");
            // Twice, so that one that sticks to the socket would show.
            for ecn in Ecn::ALL.into_iter().chain(Ecn::ALL) {
                send(&one, &[ecn.bits(); 3], to, ecn).expect("send");
                let from = one.local_addr().expect("address");
                assert_eq!(receive(&two), [(vec![ecn.bits(); 3], from, ecn)]);
            }
        }
    }

    #[test]
    fn a_codepoint_leaves_in_the_ip_header_and_a_datagram_that_is_too_long_is_refused_with_it() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let device = wan("wan0", "10.1.0", 1300);
            let socket = LinkSocket::open(&from("10.1.0.1")).expect("open");
            let peer = "10.1.0.2:5080".parse().expect("an address");
            for ecn in Ecn::ALL {
                send(&socket, b"x", peer, ecn).expect("send");
                assert_eq!(sent_through(&device)[1], ecn.bits());
            }
            socket.set_fragmentation(Fragmentation::Never).expect("set");
            let refused = send(&socket, &[7; 1273], peer, Ecn::Ect0).expect_err("one byte too long");
            assert!(matches!(refused, SendError::TooLong { path_mtu: Some(1300) }), "{refused}");
        });
    }

    #[test]
    fn a_missing_interface_or_address_is_worth_waiting_for_and_one_of_the_other_family_is_not() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let address = LinkAddress { interface: Some("wan0".parse().expect("a name")), ..from("10.1.0.1") };
            let missing = LinkSocket::open(&address).expect_err("no interface");
            assert!(missing.is_temporary() && missing.to_string().contains("wan0"), "{missing}");
            let missing = LinkSocket::open(&from("10.1.0.1")).expect_err("no address");
            assert!(missing.is_temporary() && missing.to_string().contains("10.1.0.1"), "{missing}");
            let _device = wan("wan0", "10.1.0", 1400);
            assert!(LinkSocket::open(&address).is_ok());
            let mixed = LinkSocket::open(&LinkAddress { family: Family::V6, ..address }).expect_err("mixed");
            assert!(!mixed.is_temporary() && mixed.to_string().contains("bindhost"), "{mixed}");
        });
    }

    #[test]
    fn why_a_socket_did_not_open_reads_as_a_sentence() {
        let any = LinkAddress { bind_addr: None, bind_port: 0, interface: None, family: Family::V4 };
        let on = LinkAddress { interface: Some("wan0".parse().expect("a name")), ..any };
        let said = |step, address, errno: Errno| OpenError { step, address, error: errno.into() }.to_string();
        for (said, expected) in [
            (said(Step::Interface, on, Errno::ENODEV), "cannot use interface wan0: No such device"),
            (said(Step::Bind, LinkAddress { bind_port: 53, ..on }, Errno::EACCES), "cannot bind to IPv4 port 53 on"),
            (said(Step::Bind, from("192.0.2.1"), Errno::EADDRNOTAVAIL), "cannot bind to 192.0.2.1: Cannot assign"),
            (said(Step::Socket, any, Errno::EAFNOSUPPORT), "cannot open an IPv4 socket: Address family"),
        ] {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn an_interface_decides_over_the_routes() {
        sandbox::in_namespace("sockets on TUN devices", || {
            let (first, second) = (wan("wan0", "10.1.0", 1400), wan("wan1", "10.2.0", 1400));
            sandbox::run("ip route add 198.51.100.0/24 dev wan0 && ip route add default dev wan1 metric 9");
            let mut address = LinkAddress { bind_addr: None, bind_port: 0, interface: None, family: Family::V4 };
            let peer = "198.51.100.1:5080".parse().expect("an address");
            send(&LinkSocket::open(&address).expect("open"), b"by route", peer, Ecn::NotEct).expect("send");
            assert_eq!(&sent_through(&first)[28..], b"by route");
            address.interface = Some("wan1".parse().expect("a name"));
            send(&LinkSocket::open(&address).expect("open"), b"by name", peer, Ecn::NotEct).expect("send");
            assert_eq!(&sent_through(&second)[28..], b"by name");
        });
    }

    #[test]
    fn long_datagrams_are_fragmented_unless_that_is_forbidden() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let device = wan("wan0", "10.1.0", 1300);
            let socket = LinkSocket::open(&from("10.1.0.1")).expect("open");
            let peer = "10.1.0.2:5080".parse().expect("an address");
            send(&socket, &[7; 1400], peer, Ecn::NotEct).expect("send");
            let lengths = [sent_through(&device).len(), sent_through(&device).len()];
            assert_eq!(lengths.iter().sum::<usize>(), 1400 + 8 + 20 + 20, "{lengths:?}");
            socket.set_fragmentation(Fragmentation::Never).expect("set");
            send(&socket, &[7; 1272], peer, Ecn::NotEct).expect("a datagram that just fits");
            let refused = send(&socket, &[7; 1273], peer, Ecn::NotEct).expect_err("one byte too long");
            assert!(matches!(refused, SendError::TooLong { path_mtu: Some(1300) }), "{refused}");
        });
    }

    #[test]
    fn trouble_of_the_link_is_told_from_trouble_of_the_socket() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let device = wan("wan0", "10.1.0", 1400);
            let socket = LinkSocket::open(&from("10.1.0.1")).expect("open");
            let nowhere =
                send(&socket, b"x", "203.0.113.1:1".parse().expect("an address"), Ecn::NotEct).expect_err("no route");
            assert!(matches!(nowhere, SendError::LinkDown(_)), "{nowhere}");
            let name = device.name();
            drop(device);
            // A program that another test is just starting may hold a copy of the device for a moment.
            while interface::mtu(&name).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let peer = "10.1.0.2:5080".parse().expect("an address");
            let gone = send(&socket, b"x", peer, Ecn::NotEct).expect_err("the interface is gone");
            assert!(matches!(gone, SendError::LinkDown(_)), "{gone}");
            let _back = wan("wan0", "10.1.0", 1400);
            send(&socket, b"x", peer, Ecn::NotEct).expect("the same socket works again");
        });
    }

    #[test]
    fn a_port_nobody_listens_on_does_not_break_the_socket() {
        let socket = LinkSocket::open(&from("127.0.0.1")).expect("open");
        let closed = LinkSocket::open(&from("127.0.0.1")).map(|gone| gone.local_addr()).expect("open");
        for _ in 0..3 {
            send(&socket, b"x", closed.as_ref().copied().expect("address"), Ecn::NotEct).expect("send");
            assert!(is_empty(&socket));
        }
    }

    #[test]
    fn the_mtu_of_a_link_is_the_least_of_its_interface_and_its_route() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let _device = wan("wan0", "10.1.0", 1400);
            sandbox::run("ip route add 198.51.100.0/24 dev wan0 mtu 1280");
            let mut address = from("10.1.0.1");
            assert_eq!(outgoing_mtu(&address, None).expect("by address"), Some(1400));
            let peer = Some("198.51.100.1:5080".parse().expect("an address"));
            assert_eq!(outgoing_mtu(&address, peer).expect("by route"), Some(1280));
            address.bind_addr = None;
            assert_eq!(outgoing_mtu(&address, None).expect("nothing tells"), None);
            address.interface = Some("wan0".parse().expect("a name"));
            assert_eq!(outgoing_mtu(&address, None).expect("by name"), Some(1400));
        });
    }

    /// Datagrams of these lengths, each of its own bytes, with these marks in turn.
    fn letters(lengths: &[usize], marks: &[Ecn]) -> Vec<(Vec<u8>, Ecn)> {
        let filled = lengths.iter().enumerate().map(|(number, &len)| vec![(number % 251) as u8; len]);
        filled.zip(marks.iter().copied().cycle()).collect()
    }

    /// Sends and receives `all`, and says how many system calls the sending took.
    fn pass(one: &LinkSocket, two: &LinkSocket, all: &[(Vec<u8>, Ecn)]) -> u64 {
        let to = two.local_addr().expect("address");
        let outgoing: Vec<_> = all.iter().map(|(bytes, ecn)| Outgoing { bytes, to, ecn: *ecn }).collect();
        let before = one.calls();
        let (sent, result) = one.send(&outgoing);
        assert!(sent == all.len() && result.is_ok(), "{sent} {result:?}");
        let calls = one.calls() - before;
        let mut came = Vec::new();
        while came.len() < all.len() {
            came.extend(receive(two).into_iter().map(|(bytes, _, ecn)| (bytes, ecn)));
        }
        assert!(came == *all, "order, lengths, bytes or marks differ");
        calls
    }

    #[test]
    fn runs_and_batches_arrive_as_the_datagrams_they_were_with_their_marks() {
        for local in ["127.0.0.1", "::1"] {
            let (mut one, mut two) = match (LinkSocket::open(&from(local)), LinkSocket::open(&from(local))) {
                (Ok(one), Ok(two)) => (one, two),
                (Err(why), _) | (_, Err(why)) => {
                    eprintln!("skipped: {why}");
                    continue;
                }
            };
            let cuts = one.longest_cut.get() > 0;
            let equal = letters(&[1400; 40], &[Ecn::Ect0]);
            let calls = pass(&one, &two, &equal);
            assert!(calls == if cuts { 1 } else { 3 }, "{calls} calls");
            pass(&one, &two, &letters(&[1400, 1400, 700, 1400, 60, 60, 1, 1400], &[Ecn::NotEct]));
            pass(&one, &two, &letters(&[900; 30], &[Ecn::Ect0, Ecn::Ect0, Ecn::Ce, Ecn::NotEct, Ecn::Ect1]));
            // As on a kernel that cuts and joins nothing.
            one.forgo_offload().and_then(|()| two.forgo_offload()).expect("an option");
            assert_eq!(pass(&one, &two, &equal), 3);
            pass(&one, &two, &letters(&[1400, 60, 1400, 60, 1], &[Ecn::NotEct, Ecn::Ce]));
        }
    }

    #[test]
    fn datagrams_the_kernel_does_not_cut_leave_one_by_one_and_it_is_not_asked_again() {
        sandbox::in_namespace("sockets on a TUN device", || {
            let device = wan("wan0", "10.1.0", 1300);
            let socket = LinkSocket::open(&from("10.1.0.1")).expect("open");
            if socket.longest_cut.get() == 0 {
                return eprintln!("skipped: the kernel has no UDP_SEGMENT");
            }
            let to = "10.1.0.2:5080".parse().expect("an address");
            let send = |bytes: &[u8]| {
                let before = socket.calls();
                let (sent, result) = socket.send(&[Outgoing { bytes, to, ecn: Ecn::Ect1 }; 3]);
                (sent, result, socket.calls() - before)
            };
            // Longer than the path carries: fragmented, each into two.
            let (sent, result, calls) = send(&[7; 1400]);
            assert!(sent == 3 && result.is_ok() && calls == 2, "{sent} {result:?} {calls}");
            let lengths: Vec<_> = (0..6).map(|_| sent_through(&device)[1..4].to_vec()).collect();
            assert!(lengths.iter().all(|header| header[0] == Ecn::Ect1.bits()), "{lengths:?}");
            assert_eq!(socket.longest_cut.get(), 1399);
            let (sent, result, calls) = send(&[7; 1400]);
            assert!(sent == 3 && result.is_ok() && calls == 1, "{sent} {result:?} {calls}");
            (0..6).for_each(|_| drop(sent_through(&device)));
            // What fits is still cut by the kernel.
            let (sent, result, calls) = send(&[9; 1000]);
            assert!(sent == 3 && result.is_ok() && calls == 1, "{sent} {result:?} {calls}");
            for _ in 0..3 {
                let packet = sent_through(&device);
                assert!(packet.len() == 1028 && packet[1] == Ecn::Ect1.bits() && packet[28..] == [9; 1000]);
            }
            socket.set_fragmentation(Fragmentation::Never).expect("set");
            let (sent, result, _) = send(&[7; 1273]);
            assert!(sent == 0 && matches!(result, Err(SendError::TooLong { path_mtu: Some(1300) })), "{result:?}");
        });
    }
}

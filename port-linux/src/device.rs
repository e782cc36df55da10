// SPDX-License-Identifier: BSD-2-Clause
//! The tunnel's device: a TUN (IP packets) or TAP (Ethernet frames) interface, read and written one packet at a time.

use crate::interface::{self, BadInterfaceName, InterfaceName};
use crate::sys;
use nix::errno::Errno;
use std::cell::Cell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Where the kernel's TUN driver is opened.
const TUN_PATH: &str = "/dev/net/tun";

/// What the device carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// IP packets.
    Tun,
    /// Ethernet frames.
    Tap,
}

/// A TUN or TAP interface this process holds. It disappears from the system when dropped.
///
/// All reads and writes are non-blocking and whole packets; wait for readiness with a [`Reactor`](crate::reactor::Reactor).
#[derive(Debug)]
pub struct TunDevice {
    file: File,
    name: InterfaceName,
    kind: DeviceKind,
    offload: Option<Offload>,
    /// Reads and writes so far.
    calls: Cell<u64>,
}

/// What stands in front of every packet and is left to the reader and writer: see [`offload`](crate::offload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Whether the kernel takes and hands over runs of UDP datagrams as it does TCP's (since Linux 6.2).
    pub udp: bool,
}

/// What the reader of a device can do (linux/if_tun.h): finish checksums, cut TCP's super-segments, also those that
/// begin with `CWR`.
const TCP_OFFLOADS: libc::c_uint = 0x01 | 0x02 | 0x04 | 0x08;

/// The same for UDP over IPv4 and IPv6, since Linux 6.2.
const UDP_OFFLOADS: libc::c_uint = 0x20 | 0x40;

/// Why the device could not be made or changed; the text says what to do.
#[derive(Debug)]
pub enum DeviceError {
    /// There is no TUN driver.
    NoDriver(io::Error),
    /// The process may not create or change network interfaces.
    NotPermitted(io::Error),
    /// Another program holds the device of this name.
    Busy(String),
    /// The name cannot name an interface.
    BadName(String, BadInterfaceName),
    /// An interface of this name exists and is not a device of this kind.
    OtherKind(String, DeviceKind),
    /// The device exists, and the kernel refused this MTU (bytes).
    Mtu(u32, io::Error),
    /// The device was deleted while this process held it, as with `ip link delete`.
    Deleted(InterfaceName),
    /// Anything else.
    Io(String, io::Error),
}

/// Why a packet was not delivered to the device. None of these ends the tunnel but [`WriteError::Gone`].
#[derive(Debug)]
pub enum WriteError {
    /// The kernel has no room now; the packet may be dropped as a full interface would.
    Full,
    /// The interface is not up (yet): the status script sets it up.
    Down,
    /// The kernel does not take this for a packet.
    Malformed,
    /// The device was deleted or failed; the text names it.
    Gone(io::Error),
}

impl TunDevice {
    /// Creates the device `name` (or takes over a persistent one nobody holds) and sets its MTU in bytes. An empty
    /// name lets the kernel choose one, and `%d` in a name stands for the first free number.
    ///
    /// # Errors
    /// A [`DeviceError`] whose text says what to do.
    pub fn create(name: &str, kind: DeviceKind, mtu: u32) -> Result<Self, DeviceError> {
        if !name.is_empty() {
            name.parse::<InterfaceName>().map_err(|why| DeviceError::BadName(name.to_owned(), why))?;
        }
        let device = Self::attach(name, kind, 0)?;
        device.set_mtu(mtu)?;
        Ok(device)
    }

    /// As [`TunDevice::create`], for super-segments where the kernel has them and the device carries IP packets:
    /// [`TunDevice::offload`] says so.
    ///
    /// # Errors
    /// As [`TunDevice::create`].
    pub fn create_offloading(name: &str, kind: DeviceKind, mtu: u32) -> Result<Self, DeviceError> {
        if kind == DeviceKind::Tap || !(name.is_empty() || name.parse::<InterfaceName>().is_ok()) {
            return Self::create(name, kind, mtu);
        }
        let Ok(mut device) = Self::attach(name, kind, libc::IFF_VNET_HDR) else {
            return Self::create(name, kind, mtu);
        };
        let udp = sys::set_tun_offloads(&device.file, TCP_OFFLOADS | UDP_OFFLOADS).is_ok();
        if !udp && sys::set_tun_offloads(&device.file, TCP_OFFLOADS).is_err() {
            drop(device);
            return Self::create(name, kind, mtu);
        }
        device.offload = Some(Offload { udp });
        device.set_mtu(mtu)?;
        Ok(device)
    }

    fn attach(name: &str, kind: DeviceKind, flags: libc::c_int) -> Result<Self, DeviceError> {
        let file = open_driver()?;
        let mode = match kind {
            DeviceKind::Tun => libc::IFF_TUN,
            DeviceKind::Tap => libc::IFF_TAP,
        };
        let given = sys::attach_tun(&file, name.as_bytes(), mode | libc::IFF_NO_PI | flags)
            .map_err(|error| attach_error(name, kind, error))?;
        Ok(Self { file, name: given, kind, offload: None, calls: Cell::new(0) })
    }

    /// Whether a header stands in front of every packet read and written, and what may be behind it.
    #[must_use]
    pub const fn offload(&self) -> Option<Offload> {
        self.offload
    }

    /// Reads and writes so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn count_call(&self) {
        self.calls.set(self.calls.get().wrapping_add(1));
    }

    /// The name the kernel gave the device.
    #[must_use]
    pub fn name(&self) -> InterfaceName {
        self.name
    }

    /// What the device carries.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// Sets the MTU in bytes. Needs `CAP_NET_ADMIN`: a worker without it asks its monitor.
    ///
    /// # Errors
    /// [`DeviceError::NotPermitted`] or [`DeviceError::Mtu`].
    pub fn set_mtu(&self, mtu: u32) -> Result<(), DeviceError> {
        interface::set_mtu(&self.name, mtu).map_err(|error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EPERM => DeviceError::NotPermitted(error),
            _ => DeviceError::Mtu(mtu, error),
        })
    }

    /// Sets the interface up. The status script normally does this, together with addresses and routes.
    ///
    /// # Errors
    /// [`DeviceError::NotPermitted`] or [`DeviceError::Io`].
    pub fn set_up(&self) -> Result<(), DeviceError> {
        interface::set_up(&self.name).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => DeviceError::NotPermitted(error),
            _ => DeviceError::Io(self.name.to_string(), error),
        })
    }

    /// Reads one packet into `buffer` and says its length in bytes; `None` when none waits. A packet longer than
    /// `buffer` is cut by the kernel, so a caller that wants to notice gives one byte more than the MTU.
    ///
    /// # Errors
    /// The device was deleted or failed; there is no way on but to make it anew. The text names the device.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            self.count_call();
            match (&self.file).read(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    /// Hands `packet` to the kernel as received on the device.
    ///
    /// # Errors
    /// A [`WriteError`]; the packet was not delivered.
    pub fn write(&self, packet: &[u8]) -> Result<(), WriteError> {
        self.write_parts(&[IoSlice::new(packet)])
    }

    /// The same for a packet in parts.
    ///
    /// # Errors
    /// A [`WriteError`]; nothing was delivered.
    pub fn write_parts(&self, parts: &[IoSlice<'_>]) -> Result<(), WriteError> {
        loop {
            self.count_call();
            let error = match (&self.file).write_vectored(parts) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            return Err(match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::EINTR => continue,
                Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => WriteError::Full,
                Errno::EIO => WriteError::Down,
                Errno::EINVAL | Errno::EMSGSIZE => WriteError::Malformed,
                _ => WriteError::Gone(self.failure(error)),
            });
        }
    }

    /// What `error`, after which the device is of no use, means.
    fn failure(&self, error: io::Error) -> io::Error {
        let failure = match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EBADFD => DeviceError::Deleted(self.name),
            _ => DeviceError::Io(self.name.to_string(), error),
        };
        io::Error::other(failure)
    }
}

impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open_driver() -> Result<File, DeviceError> {
    let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(TUN_PATH);
    open.map_err(|error| match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => DeviceError::NoDriver(error),
        Errno::EPERM | Errno::EACCES => DeviceError::NotPermitted(error),
        _ => DeviceError::Io(TUN_PATH.to_owned(), error),
    })
}

fn attach_error(name: &str, kind: DeviceKind, error: io::Error) -> DeviceError {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EPERM | Errno::EACCES => DeviceError::NotPermitted(error),
        Errno::EBUSY => DeviceError::Busy(name.to_owned()),
        Errno::EINVAL => DeviceError::OtherKind(name.to_owned(), kind),
        _ => DeviceError::Io(name.to_owned(), error),
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tun => "tun",
            Self::Tap => "tap",
        })
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver(why) => write!(f, "cannot open {TUN_PATH}: {why}; load the driver with `modprobe tun`"),
            Self::NotPermitted(why) => {
                write!(f, "may not create or change the tunnel device: {why}; start as root or with CAP_NET_ADMIN")
            }
            Self::Busy(name) => {
                write!(f, "device {name} is held by another program; stop it or choose another interface_name")
            }
            Self::BadName(name, why) => write!(f, "interface_name \"{name}\" is not possible: {why}"),
            Self::OtherKind(name, kind) => {
                write!(f, "an interface {name} exists that is no {kind} device; choose another interface_name")
            }
            Self::Mtu(mtu, why) => write!(f, "the kernel refuses an mtu of {mtu} bytes: {why}; set mtu to 1280..1500"),
            Self::Deleted(name) => write!(f, "device {name} was deleted by another program; start mlvpn again"),
            Self::Io(name, why) => write!(f, "device {name}: {why}"),
        }
    }
}

impl std::error::Error for DeviceError {}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the device has no room"),
            Self::Down => f.write_str("the device is down; the status script should set it up"),
            Self::Malformed => f.write_str("the kernel does not take it for a packet"),
            Self::Gone(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for WriteError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn a_device_gets_the_name_and_mtu_it_was_asked_for() {
        sandbox::in_namespace("a TUN device", || {
            let device = TunDevice::create("mlvpn0", DeviceKind::Tun, 1400).expect("create");
            assert_eq!(device.name().as_str(), "mlvpn0");
            assert_eq!(interface::mtu(&device.name()).expect("mtu"), 1400);
            device.set_mtu(1300).expect("set mtu");
            assert_eq!(interface::mtu(&device.name()).expect("mtu"), 1300);
            assert!(matches!(device.set_mtu(20), Err(DeviceError::Mtu(20, _))));
        });
    }

    #[test]
    fn the_kernel_chooses_a_name_when_none_is_given() {
        sandbox::in_namespace("a TUN device", || {
            let first = TunDevice::create("", DeviceKind::Tap, 1400).expect("create");
            let second = TunDevice::create("bond%d", DeviceKind::Tun, 1400).expect("create");
            assert_eq!((first.name().as_str(), second.name().as_str()), ("tap0", "bond0"));
        });
    }

    #[test]
    fn errors_say_what_is_in_the_way() {
        sandbox::in_namespace("a TUN device", || {
            let held = TunDevice::create("held", DeviceKind::Tun, 1400).expect("create");
            let busy = TunDevice::create("held", DeviceKind::Tun, 1400).expect_err("busy");
            assert!(matches!(busy, DeviceError::Busy(_)), "{busy}");
            let kind = TunDevice::create("lo", DeviceKind::Tun, 1400).expect_err("loopback is no TUN device");
            assert!(matches!(kind, DeviceError::OtherKind(..)), "{kind}");
            let name = TunDevice::create("no/name", DeviceKind::Tun, 1400).expect_err("bad name");
            assert!(name.to_string().contains("no/name"), "{name}");
            drop(held);
        });
    }

    #[test]
    fn a_device_deleted_under_its_holder_is_named() {
        sandbox::in_namespace("a TUN device", || {
            let device = TunDevice::create("mlvpn0", DeviceKind::Tun, 1400).expect("create");
            sandbox::run("ip link delete mlvpn0");
            let said = device.read(&mut [0; 64]).expect_err("gone").to_string();
            assert_eq!(said, "device mlvpn0 was deleted by another program; start mlvpn again");
            let refused = device.write(&echo_of_nothing()).expect_err("gone");
            assert!(matches!(refused, WriteError::Gone(_)), "{refused}");
            assert_eq!(refused.to_string(), said);
        });
    }

    #[test]
    fn packets_pass_both_ways_and_a_device_that_is_down_takes_none() {
        sandbox::in_namespace("a TUN device", || {
            let device = TunDevice::create("mlvpn0", DeviceKind::Tun, 1400).expect("create");
            assert!(matches!(device.write(&echo_of_nothing()), Err(WriteError::Down)));
            sandbox::run("ip addr add 10.9.0.1/24 dev mlvpn0");
            device.set_up().expect("up");
            assert!(matches!(device.write(&[0; 3]), Err(WriteError::Malformed)));
            let socket = UdpSocket::bind("10.9.0.1:7000").expect("bind");
            socket.send_to(b"hello", "10.9.0.2:7001").expect("send");
            let mut packet = read_udp(&device);
            assert_eq!(&packet[28..], b"hello");
            // Turned round, addresses and ports swapped, it is the answer; a checksum of zero means "none" in UDP.
            packet.copy_within(12..16, 16);
            packet[12..16].copy_from_slice(&[10, 9, 0, 2]);
            packet[20..24].copy_from_slice(&[0x1b, 0x59, 0x1b, 0x58]);
            packet[26..28].copy_from_slice(&[0, 0]);
            device.write(&packet).expect("write");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
            let mut answer = [0; 16];
            let (len, from) = socket.recv_from(&mut answer).expect("receive");
            assert_eq!((&answer[..len], from.to_string().as_str()), (&b"hello"[..], "10.9.0.2:7001"));
        });
    }

    /// The first IPv4 UDP packet the kernel sends into the device, other chatter (IPv6 router solicitations) skipped.
    fn read_udp(device: &TunDevice) -> Vec<u8> {
        let mut buffer = [0; 2000];
        loop {
            match device.read(&mut buffer).expect("read") {
                Some(len) if buffer[0] == 0x45 && buffer[9] == 17 => return buffer[..len].to_vec(),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn echo_of_nothing() -> [u8; 20] {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[3] = 20;
        packet
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Network interfaces by name: the name itself, the MTU, and setting an interface up.

use crate::sys;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, socket};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::str::FromStr;

/// The kernel's `IFNAMSIZ` less the closing zero byte.
pub const MAX_INTERFACE_NAME_BYTES: usize = 15;

/// The name of a network interface, as the kernel would accept it, held in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName {
    /// The letters, then zero bytes up to the end; never empty, ASCII only.
    bytes: [u8; MAX_INTERFACE_NAME_BYTES],
}

/// Why a text is no interface name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInterfaceName;

impl fmt::Display for BadInterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an interface name has 1 to {MAX_INTERFACE_NAME_BYTES} letters, digits or signs, no space, '/', ':' or '%'"
        )
    }
}

impl std::error::Error for BadInterfaceName {}

impl InterfaceName {
    /// The name in a zero-terminated field of the kernel's; `None` when it is none.
    pub(crate) fn from_kernel(field: &[u8]) -> Option<Self> {
        let len = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        Self::checked(field.get(..len)?)
    }

    /// The name's letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The name's letters as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(MAX_INTERFACE_NAME_BYTES);
        self.bytes.get(..len).unwrap_or_default()
    }

    /// Stands where no valid name was read; the error reported keeps it from being used.
    pub(crate) fn placeholder() -> Self {
        let mut bytes = [0; MAX_INTERFACE_NAME_BYTES];
        for (to, from) in bytes.iter_mut().zip(*b"mlvpn0") {
            *to = from;
        }
        Self { bytes }
    }

    /// True when the kernel is to choose the number in the name (`%d`), which it does for a device it creates.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.as_bytes().contains(&b'%')
    }

    fn checked(name: &[u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
        let is_pattern = name.windows(2).filter(|two| two == b"%d").count() == 1;
        let percents = name.iter().filter(|byte| **byte == b'%').count();
        let is_sound = name.iter().all(allowed) && percents == usize::from(is_pattern);
        if name.is_empty() || name.len() > MAX_INTERFACE_NAME_BYTES || name == b"." || name == b".." || !is_sound {
            return None;
        }
        let mut bytes = [0; MAX_INTERFACE_NAME_BYTES];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes })
    }
}

impl FromStr for InterfaceName {
    type Err = BadInterfaceName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::checked(text.as_bytes()).ok_or(BadInterfaceName)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = BadInterfaceName;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterfaceName({})", self.as_str())
    }
}

/// The MTU of the interface `name`, in bytes.
///
/// # Errors
/// The kernel's refusal: `ENODEV` when there is no such interface now.
pub fn mtu(name: &InterfaceName) -> io::Result<u32> {
    sys::interface_mtu(request_socket()?, name)
}

/// Sets the MTU of the interface `name` to `mtu` bytes.
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `EINVAL` for a size the interface cannot carry.
pub fn set_mtu(name: &InterfaceName, mtu: u32) -> io::Result<()> {
    sys::set_interface_mtu(request_socket()?, name, mtu)
}

/// Sets the interface `name` up (`IFF_UP`).
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` when there is no such interface now.
pub fn set_up(name: &InterfaceName) -> io::Result<()> {
    sys::set_interface_up(request_socket()?, name)
}

/// The kernel's number for the interface `name`.
///
/// # Errors
/// The kernel's refusal: `ENODEV` when there is no such interface now.
pub fn index(name: &InterfaceName) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name.as_str())?)
}

/// The interface that has the address `local` now; `None` when none has.
///
/// # Errors
/// The kernel's refusal to list the addresses.
pub fn holding(local: IpAddr) -> io::Result<Option<InterfaceName>> {
    let has_local = |address: &SockaddrStorage| match local {
        IpAddr::V4(local) => address.as_sockaddr_in().is_some_and(|found| found.ip() == local),
        IpAddr::V6(local) => address.as_sockaddr_in6().is_some_and(|found| found.ip() == local),
    };
    let mut interfaces = nix::ifaddrs::getifaddrs()?;
    let found = interfaces.find(|interface| interface.address.as_ref().is_some_and(has_local));
    Ok(found.and_then(|interface| interface.interface_name.parse().ok()))
}

/// Interface requests go through any socket; a UNIX one exists on a kernel without IPv4, too.
fn request_socket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_would_refuse_are_refused() {
        for bad in ["", ".", "..", "sixteen-letters-", "a b", "a/b", "eth0:1", "tab\t", "umläut", "a%", "%s", "%d%d"] {
            assert_eq!(bad.parse::<InterfaceName>(), Err(BadInterfaceName), "{bad:?}");
        }
        for good in ["mlvpn0", "a", "fifteen-letters", "wan.7", "pppoe-wan", "tun%d"] {
            assert_eq!(good.parse::<InterfaceName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a_kernel_field_ends_at_its_first_zero_byte() {
        let name = InterfaceName::from_kernel(b"wan\0garbage\0\0\0\0\0");
        assert_eq!(name.map(|name| name.to_string()), Some("wan".to_owned()));
        assert_eq!(InterfaceName::from_kernel(&[0; 16]), None);
    }

    #[test]
    fn the_loopback_interface_has_an_mtu_and_an_absent_one_says_so() {
        let loopback = "lo".parse().expect("a name");
        assert!(mtu(&loopback).is_ok_and(|mtu| mtu >= 1280), "{:?}", mtu(&loopback));
        let absent = "absent-0".parse().expect("a name");
        assert_eq!(mtu(&absent).map_err(|error| error.raw_os_error()), Err(Some(nix::errno::Errno::ENODEV as i32)));
    }
}

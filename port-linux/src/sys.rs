// SPDX-License-Identifier: BSD-2-Clause
//! The one file with `unsafe`: system calls that neither `std` nor `nix` offers safely, each behind a safe function.
//!
//! Nothing here decides anything: a function does one call, checks what makes it sound, and hands back the kernel's
//! answer. What an error means is said where the call is used.

use crate::interface::InterfaceName;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Turns the kernel's "-1 and errno" into a result.
fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// An interface request that names `name` and is zero otherwise.
fn interface_request(name: &[u8]) -> libc::ifreq {
    // SAFETY: `ifreq` is a C structure of integers and arrays of them; all zero bytes are a valid value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // One byte fewer than the field holds, so that the name always ends in a zero byte.
    for (slot, &byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

/// Makes `tun` (an open `/dev/net/tun`) the device `name` with `flags` (`IFF_TUN`, `IFF_NO_PI`, ..) and reads back the
/// name the kernel gave it. An empty name or one with `%d` lets the kernel choose.
///
/// # Errors
/// The kernel's refusal of `TUNSETIFF`; `InvalidData` when it answers with a name that is none.
pub(crate) fn attach_tun(tun: impl AsFd, name: &[u8], flags: libc::c_int) -> io::Result<InterfaceName> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(flags).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(tun.as_fd().as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let mut given = [0_u8; libc::IFNAMSIZ];
    for (byte, &letter) in given.iter_mut().zip(&request.ifr_name) {
        *byte = u8::from_ne_bytes(letter.to_ne_bytes());
    }
    InterfaceName::from_kernel(&given).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The MTU of the interface `name`, in bytes, asked through any `socket`.
///
/// # Errors
/// The kernel's refusal: `ENODEV` when there is no such interface.
pub(crate) fn interface_mtu(socket: impl AsFd, name: &InterfaceName) -> io::Result<u32> {
    let mut request = interface_request(name.as_bytes());
    // SAFETY: SIOCGIFMTU reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFMTU as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel answered, so it wrote the `ifru_mtu` member of the union; any bits are a valid integer.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Sets the MTU of the interface `name` to `mtu` bytes, through any `socket`.
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `EINVAL` for a size the interface cannot carry.
pub(crate) fn set_interface_mtu(socket: impl AsFd, name: &InterfaceName, mtu: u32) -> io::Result<()> {
    let mut request = interface_request(name.as_bytes());
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: SIOCSIFMTU reads one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFMTU as libc::Ioctl, &raw mut request) })?;
    Ok(())
}

/// Sets the interface `name` up, through any `socket`, leaving its other flags as they are.
///
/// # Errors
/// The kernel's refusal: `EPERM` without `CAP_NET_ADMIN`, `ENODEV` when there is no such interface.
pub(crate) fn set_interface_up(socket: impl AsFd, name: &InterfaceName) -> io::Result<()> {
    let mut request = interface_request(name.as_bytes());
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: SIOCGIFFLAGS reads and writes one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel answered, so it wrote the `ifru_flags` member of the union; any bits are a valid integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is; the file descriptor is open for the call.
    check(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request) })?;
    Ok(())
}

/// Sets the socket option `name` of `level`, one whose value is an integer.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn set_socket_option(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `size` bytes from `value`, which has that size and outlives the call.
    check(unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), size) })?;
    Ok(())
}

/// The socket option `name` of `level`, one whose value is an integer.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn socket_option(socket: impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes to `value`, which has that size, and the length to `size`.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut size) })?;
    Ok(value)
}

/// Receives one message from a UNIX `socket` into `buffer`: its length, and the file descriptor that came with it.
///
/// # Errors
/// The kernel's refusal: `WouldBlock` when none waits.
pub(crate) fn receive_with_descriptor(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut space = nix::cmsg_space!([libc::c_int; 1]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            for raw in received {
                // SAFETY: the kernel has just opened `raw` for this process, and nothing else knows of it, so the
                // value made here owns it alone. All are taken, so none stays open; the last is kept.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
    }
    Ok((message.bytes, descriptor))
}

/// Which of the two processes a [`fork`] returned in.
pub(crate) enum Forked {
    /// The process that called, told the child's process id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Splits the process in two.
///
/// # Errors
/// `WouldBlock` when other threads run (a copy of one thread of several could find locks held for ever), or the
/// kernel's refusal.
pub(crate) fn fork() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "a process with several threads cannot fork safely"));
    }
    // SAFETY: this is the only thread (checked above, and nobody else is there to start another), so the child is a
    // full copy of the program with no lock held by a thread that did not come along.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}

/// Has `command` start as the leader of a session and process group of its own, with no signal blocked: a program
/// inherits what its parent blocked, and a reactor's owner blocks the signals that should end a program.
pub(crate) fn own_session(command: &mut Command) {
    let become_leader = || {
        SigSet::empty().thread_set_mask()?;
        nix::unistd::setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec only `pthread_sigmask` and `setsid` run, which are async-signal-safe here (one
    // thread, no lock) and allocate nothing.
    unsafe { command.pre_exec(become_leader) };
}

/// The header `capset` wants: version 3 (64 capabilities in two words), this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// One word of each of the three sets `capset` takes.
#[repr(C)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h, since Linux 2.6.26.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Makes `set` (bit n is capability n) the thread's effective and permitted capabilities; none are inheritable.
///
/// # Errors
/// `EPERM` when `set` holds a capability the process has not.
pub(crate) fn set_capabilities(set: u64) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let words = [set & 0xffff_ffff, set >> 32].map(|word| {
        let bits = u32::try_from(word).unwrap_or(0);
        CapabilityWords { effective: bits, permitted: bits, inheritable: 0 }
    });
    // SAFETY: version 3 of the call reads one header and two sets of words, which is what the pointers lead to.
    let answer = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Removes capability number `capability` from the bounding set, so that no later exec can bring it back. `false` when
/// this kernel has no capability of that number.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub(crate) fn drop_bounding_capability(capability: u8) -> io::Result<bool> {
    let number = libc::c_ulong::from(capability);
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
    match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, zero, zero, zero) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the system log under `name`, with the process id in each line, as a daemon.
pub(crate) fn open_syslog(name: &'static CStr) {
    // SAFETY: the C library keeps the pointer, and `name` lives for ever.
    unsafe { libc::openlog(name.as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) };
}

/// Writes one line to the system log at `priority` (`LOG_ERR`, ..).
pub(crate) fn write_syslog(priority: libc::c_int, line: &CStr) {
    // SAFETY: the format takes exactly one string, `line`, which ends in a zero byte and outlives the call.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

/// Local calendar time of `seconds` since 1970: year, month (1-12), day, hour, minute, second. `None` for a time the C
/// library cannot name.
pub(crate) fn local_time(seconds: i64) -> Option<[i32; 6]> {
    // The C library's own width, 32 bits on some routers.
    #[allow(clippy::useless_conversion, reason = "the C library's time has 32 bits on some routers")]
    let seconds = seconds.try_into().ok()?;
    // SAFETY: `tm` is a C structure of integers and one pointer; all zero bytes are a valid value of it.
    let mut broken: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers lead to values of the right type that outlive the call; the answer is only tested.
    let answer = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken) };
    if answer.is_null() {
        return None;
    }
    Some([
        broken.tm_year.saturating_add(1900),
        broken.tm_mon.saturating_add(1),
        broken.tm_mday,
        broken.tm_hour,
        broken.tm_min,
        broken.tm_sec,
    ])
}

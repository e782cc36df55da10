// SPDX-License-Identifier: BSD-2-Clause
//! The laboratory's only `unsafe` code: what neither std nor nix wraps.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::sys::socket::AddressFamily;

/// Makes a TUN device named `name` in the calling thread's network namespace and returns its non-blocking descriptor;
/// each read and write is one bare IP packet. The device lives as long as the descriptor.
///
/// # Errors
/// Of opening `/dev/net/tun` (missing, not permitted) or of `TUNSETIFF` (name too long or taken, not permitted).
pub(super) fn open_tun(name: &str) -> io::Result<OwnedFd> {
    // SAFETY: `ifreq` is a C struct of integers, arrays and a union of such; all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface name is empty, too long, or holds a NUL"));
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: `file` is an open descriptor and TUNSETIFF reads and writes exactly one `ifreq`, which outlives the call.
    let outcome = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(file.into()) }
}

/// A command that starts in the network namespace `namespace` and is killed when the thread that spawned it ends.
pub(super) fn command_in(namespace: OwnedFd, program: &OsStr) -> Command {
    let mut command = Command::new(program);
    let enter = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; the closure makes two system calls and
    // converts an error number, without allocation or locks. It owns the descriptor it uses.
    unsafe { command.pre_exec(enter) };
    command
}

/// A stream socket of the kernel's Multipath TCP, which is not in nix's list of protocols.
///
/// # Errors
/// Of socket(2): a kernel without it, or one where it is switched off (`net.mptcp.enabled`).
pub(super) fn mptcp_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let descriptor = unsafe { libc::socket(family as libc::c_int, kind, libc::IPPROTO_MPTCP) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

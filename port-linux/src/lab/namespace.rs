// SPDX-License-Identifier: BSD-2-Clause
//! Network namespaces as values: no names, no `ip` program, nothing left behind.
//!
//! A namespace lives as long as a descriptor of it, a process or a socket in it; the kernel closes all of those however
//! the process ends, and the devices in it go with it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use super::{netlink, sys};

/// Why the laboratory could not be set up.
#[derive(Debug)]
pub enum LabError {
    /// The machine does not permit it to this user.
    Forbidden {
        /// What was tried.
        what: &'static str,
        /// What would permit it.
        remedy: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A system call failed for another reason.
    Failed {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { what, remedy, source } => write!(f, "not permitted to {what} ({source}): {remedy}"),
            Self::Failed { what, source } => write!(f, "failed to {what}: {source}"),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Forbidden { source, .. } | Self::Failed { source, .. } => Some(source),
        }
    }
}

impl LabError {
    /// For use in `map_err`: an error of a system call, told apart by whether permission was missing.
    pub(super) fn of<E: Into<io::Error>>(what: &'static str, remedy: &'static str) -> impl Fn(E) -> Self {
        move |error| {
            let source = error.into();
            match source.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS) => {
                    Self::Forbidden { what, remedy, source }
                }
                _ => Self::Failed { what, source },
            }
        }
    }

    /// Whether the machine forbids it to this user, so that a test should skip and say so.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

const ROOT_REMEDY: &str = "run as root, or where unprivileged user namespaces are allowed \
    (sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1, \
    kernel.apparmor_restrict_unprivileged_userns=0)";

/// How the process came to the right to make network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It had it already.
    Native,
    /// It is root in a new user namespace of its own, and its former self outside.
    UserNamespace,
}

/// Gets the process the right to make network namespaces, entering a user namespace when it is not privileged. Call it
/// first thing in `main`: the kernel refuses it once a second thread exists.
///
/// # Errors
/// [`LabError::Forbidden`] when the machine allows no user namespaces to this user, [`LabError::Failed`] with
/// `EINVAL` when the process has threads.
pub fn become_root_in_user_namespace() -> Result<Privilege, LabError> {
    if may_administer()? {
        return Ok(Privilege::Native);
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(LabError::of("enter a user namespace", ROOT_REMEDY))?;
    // Groups must be given up before an unprivileged process may map its own (user_namespaces(7)).
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        fs::write(file, text).map_err(LabError::of("map the user into its namespace", ROOT_REMEDY))?;
    }
    Ok(Privilege::UserNamespace)
}

/// Whether this thread holds CAP_SYS_ADMIN (namespaces) and CAP_NET_ADMIN (devices). Asked of `/proc`, because trying
/// would need a thread, and a thread forbids the user namespace that may be needed next.
fn may_administer() -> Result<bool, LabError> {
    const WANTED: u64 = (1 << 21) | (1 << 12);
    let status = fs::read_to_string("/proc/thread-self/status")
        .map_err(LabError::of("read the process's capabilities", "mount /proc"))?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = held.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    Ok(held & WANTED == WANTED)
}

/// A network namespace with its loopback interface up and nothing else in it.
#[derive(Debug)]
pub struct Namespace {
    descriptor: OwnedFd,
}

/// An address with the length of its network's prefix in bits.
pub type Prefixed = (IpAddr, u8);

impl Namespace {
    /// Makes a new namespace.
    ///
    /// # Errors
    /// [`LabError::Forbidden`] without the right to; see [`become_root_in_user_namespace`].
    pub fn new() -> Result<Self, LabError> {
        // A thread of its own: unshare moves the calling thread only, and this one must not come back.
        let made = thread::scope(|scope| scope.spawn(make).join());
        let descriptor = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Self { descriptor })
    }

    /// Runs `work` in a thread inside the namespace and waits for it. Sockets it opens belong to the namespace for
    /// good, whichever thread uses them. Costs a thread: not for each packet.
    ///
    /// # Errors
    /// [`LabError`] when the namespace cannot be entered; a panic in `work` continues in the caller.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, LabError> {
        let inside = || {
            setns(&self.descriptor, CloneFlags::CLONE_NEWNET)
                .map_err(LabError::of("enter a network namespace", ROOT_REMEDY))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will start inside the namespace. The child is killed when the thread that spawned it ends, so
    /// spawn it from one that outlives it.
    ///
    /// # Errors
    /// [`LabError::Failed`] when descriptors have run out.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, LabError> {
        let descriptor = self.descriptor.try_clone().map_err(LabError::of("copy a descriptor", "raise ulimit -n"))?;
        Ok(sys::command_in(descriptor, program.as_ref()))
    }

    /// Makes a TUN device inside, up, with the given MTU (bytes) and addresses. It lives as long as the descriptor
    /// returned, which does not block; each read and write is one IP packet.
    ///
    /// # Errors
    /// [`LabError`] when the machine has no TUN driver, forbids it, or refuses a name or an address.
    pub fn add_tun(&self, name: &str, mtu: u32, addresses: &[Prefixed]) -> Result<OwnedFd, LabError> {
        let device = self
            .run(|| sys::open_tun(name))?
            .map_err(LabError::of("make a TUN device", "load the tun module and permit /dev/net/tun to this user"))?;
        self.configure(name, mtu, addresses)?;
        Ok(device)
    }

    /// Brings an interface up with the given MTU (bytes) and addresses.
    ///
    /// # Errors
    /// [`LabError`] when there is no such interface or the kernel refuses a setting.
    pub fn configure(&self, interface: &str, mtu: u32, addresses: &[Prefixed]) -> Result<(), LabError> {
        let configure = || {
            for &(address, prefix_len) in addresses {
                netlink::add_address(interface, address, prefix_len)?;
            }
            netlink::bring_up(interface, Some(mtu))
        };
        self.run(configure)?.map_err(LabError::of("configure an interface", ROOT_REMEDY))
    }

    /// Routes everything of the family of `source` into `interface`; with `table`, only what is sent from `source`
    /// (policy routing, as a machine with several uplinks needs it).
    ///
    /// # Errors
    /// [`LabError`] when there is no such interface, it is down, or the kernel has no policy routing.
    pub fn route_default(&self, interface: &str, source: IpAddr, table: Option<u32>) -> Result<(), LabError> {
        let route = || {
            if let Some(table) = table {
                netlink::add_source_rule(source, table)?;
            }
            netlink::add_default_route(interface, source, table.unwrap_or(u32::from(libc::RT_TABLE_MAIN)))
        };
        self.run(route)?.map_err(LabError::of("set a route", ROOT_REMEDY))
    }
}

fn make() -> Result<OwnedFd, LabError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(LabError::of("make a network namespace", ROOT_REMEDY))?;
    netlink::bring_up("lo", None).map_err(LabError::of("bring the loopback interface up", ROOT_REMEDY))?;
    let file = File::open("/proc/thread-self/ns/net").map_err(LabError::of("open the namespace", "mount /proc"))?;
    Ok(file.into())
}

// SPDX-License-Identifier: BSD-2-Clause
//! Two processes instead of one: a small monitor that keeps root's rights and does two things, and a worker that
//! handles everything the network sends and keeps as few rights as the work allows.
//!
//! Order of a start: read the configuration, [`identity`], [`split`] (a fork, before anything is opened and while one
//! thread runs). The worker opens its device and sockets, tells the monitor the device's name, and calls
//! [`drop_privileges`]; a further confinement (chroot, seccomp) belongs right behind that call, where every file the
//! worker starts with is open and nothing from the network has been read.
//!
//! What the monitor holds and the worker cannot change: the configuration's path, the script's path, and the script's
//! environment, which the monitor itself reads from the configuration. What the worker can ask for is
//! [`protocol::Request`].

mod files;
mod monitor;
mod protocol;

pub use files::Opened;
pub use monitor::{Monitor, Notice, Split, split};
pub use protocol::Request;

use crate::config::OpenFile;
use crate::script::{Script, ScriptEnvironment};
use crate::sys;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, User, geteuid, getppid, initgroups, setresgid, setresuid};
use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Reads the script's environment out of the configuration, open at its start, and opens with the second argument what
/// that names: the worker gets the same files. `None` keeps the environment before, as for a configuration the worker will
/// not follow.
pub type ReadEnvironment = Box<dyn Fn(&File, OpenFile<'_>) -> Option<ScriptEnvironment>>;

/// What the monitor needs to know before the worker exists.
pub struct MonitorPlan {
    /// The configuration to open for the worker, as an absolute path.
    pub config_path: PathBuf,
    /// The status command, if there is one.
    pub script: Option<Script>,
    /// What the status command is told, until the configuration is opened anew.
    pub environment: ScriptEnvironment,
    /// Reads the environment anew each time the worker has the configuration opened.
    pub read_environment: ReadEnvironment,
}

/// Who the worker is to be.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The user the process already runs as, who is not root: there are no privileges to give up, and none for the
    /// monitor to keep. Scripts run as that user.
    Unchanged,
    /// The user to become.
    User(User),
    /// Root, by the user's express wish.
    Root,
}

/// Why the process may not start as whom it was started.
#[derive(Debug)]
pub enum IdentityError {
    /// Root, and the user given does not exist or is root.
    Root(String),
    /// The user database could not be read.
    Lookup(String, io::Error),
}

/// Decides who the worker is to be: MLVPN 2.3.5's rules for `--user` and `--yes-run-as-root`.
///
/// # Errors
/// The process is root, `user` is nobody to become, and running as root was not asked for.
pub fn identity(user: &str, is_root_allowed: bool) -> Result<Identity, IdentityError> {
    if !geteuid().is_root() {
        return Ok(Identity::Unchanged);
    }
    let found = User::from_name(user).map_err(|errno| IdentityError::Lookup(user.to_owned(), errno.into()))?;
    match found.filter(|found| !found.uid.is_root()) {
        Some(found) => Ok(Identity::User(found)),
        None if is_root_allowed => Ok(Identity::Root),
        None => Err(IdentityError::Root(user.to_owned())),
    }
}

/// A right of root's the worker may keep; the number is the kernel's (linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Binding to ports below 1024: only for a configuration that has such a `bindport`.
    BindLowPorts = 10,
    /// Binding a socket to an interface, which needs a right before Linux 5.7: see [`needs_raw_sockets`].
    RawSockets = 13,
}

/// Whether this kernel wants `CAP_NET_RAW` for binding a socket to an interface (before Linux 5.7). An unreadable
/// version counts as an old one.
#[must_use]
pub fn needs_raw_sockets() -> bool {
    let release = nix::sys::utsname::uname().ok();
    let release = release.as_ref().and_then(|facts| facts.release().to_str()).unwrap_or_default();
    is_before_5_7(release)
}

fn is_before_5_7(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 7),
        _ => true,
    }
}

/// Makes the process `identity` for good, with no rights but `keep`, and none to be gained by executing anything. The
/// process dies with its parent, the monitor. The device's MTU is set by the monitor, so `CAP_NET_ADMIN` is not kept.
///
/// # Errors
/// The kernel's refusal of any step; the process must then end, as it may have more rights than it should.
pub fn drop_privileges(identity: &Identity, keep: &[Capability]) -> io::Result<()> {
    let parent = getppid();
    let set = keep.iter().fold(0_u64, |set, &capability| set | 1 << capability as u8);
    match identity {
        Identity::User(user) => {
            drop_bounding_set(set)?;
            prctl::set_keepcaps(true)?;
            let name = CString::new(user.name.as_str())?;
            initgroups(&name, user.gid)?;
            setresgid(user.gid, user.gid, user.gid)?;
            setresuid(user.uid, user.uid, user.uid)?;
            sys::set_capabilities(set)?;
            prctl::set_keepcaps(false)?;
            if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
                return Err(io::Error::other("the process could become root again"));
            }
        }
        Identity::Root | Identity::Unchanged => {}
    }
    prctl::set_no_new_privs()?;
    // Changing the user makes the kernel forget this, so it is said (again) at the very end.
    die_with_parent(parent)
}

/// Removes what is not kept from the bounding set: even a set-user-id program could not bring it back.
fn drop_bounding_set(keep: u64) -> io::Result<()> {
    for capability in 0..64_u8 {
        if keep & (1 << capability) == 0 && !sys::drop_bounding_capability(capability)? {
            break;
        }
    }
    Ok(())
}

/// Has the kernel end this process when `parent` ends: by the signal that lets it say goodbye to its peers.
fn die_with_parent(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    // It may have ended before. Its number alone tells: in a jail with process numbers of its own the monitor itself is 1.
    if getppid() != parent {
        return Err(io::Error::other("the privileged process died"));
    }
    Ok(())
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(user) => write!(
                f,
                "not allowed to run as root, and \"{user}\" is no unprivileged user; \
                 create it or name another with --user (or insist with --yes-run-as-root)"
            ),
            Self::Lookup(user, why) => write!(f, "cannot look up user \"{user}\": {why}"),
        }
    }
}

impl std::error::Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_from_5_7_bind_to_interfaces_without_rights() {
        for (release, is_before) in [
            ("4.14.221", true),
            ("5.6.19-rc1", true),
            ("5.7.0", false),
            ("5.10.0-27-amd64", false),
            ("6.1", false),
            ("odd", true),
        ] {
            assert_eq!(is_before_5_7(release), is_before, "{release}");
        }
    }

    #[test]
    fn root_needs_a_user_to_become_or_an_express_wish() {
        if !geteuid().is_root() {
            assert!(matches!(identity("absent-user", false), Ok(Identity::Unchanged)));
            eprintln!("the rest skipped: it needs root");
            return;
        }
        let refused = identity("absent-user", false).expect_err("no such user");
        assert!(refused.to_string().contains("absent-user") && refused.to_string().contains("--user"), "{refused}");
        assert!(matches!(identity("root", false), Err(IdentityError::Root(_))));
        assert!(matches!(identity("absent-user", true), Ok(Identity::Root)));
        assert!(matches!(identity("nobody", false), Ok(Identity::User(user)) if user.name == "nobody"));
    }
}

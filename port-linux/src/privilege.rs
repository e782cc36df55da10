// SPDX-License-Identifier: BSD-2-Clause
//! Two processes instead of one: a small monitor that keeps root's rights, and a worker that handles everything the
//! network sends and has none.
//!
//! Order of a start: read the configuration, [`identity`], make the device, [`split`] (a fork, while one thread runs). The
//! worker opens what else it starts with and calls [`lock_down`], before anything from the network is read.
//!
//! What the monitor holds and the worker cannot change: the configuration's path, the script's path, and its [`Orders`],
//! which the monitor itself reads from the configuration: what the script is told, and which sockets there may be. What
//! the worker can ask for is [`Request`], as often as a worker needs to. A worker that asks for what is none is stopped.

mod allowance;
mod channel;
mod confine;
mod files;
mod grants;
mod monitor;
mod protocol;
mod resolver;
#[cfg(all(feature = "full", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp;

pub use channel::{Monitor, Notice, OpenedLink};
pub use confine::{Confinement, lock_down};
pub use files::Opened;
pub use grants::LinkGrants;
pub use monitor::{Split, split};
pub use protocol::{Ends, LinkOrder, Mtu, Refused, Request, Run};

use crate::config::OpenFile;
use crate::roles;
use crate::script::{Script, ScriptEnvironment};
use nix::unistd::{User, geteuid};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Reads the monitor's orders out of the configuration, open at its start, and opens with the second argument what that
/// names: the worker gets the same files. `None` keeps the orders before, as for a configuration the worker will not follow.
pub type ReadOrders = Box<dyn Fn(&File, OpenFile<'_>) -> Option<Orders>>;

/// What the monitor does by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// What the status command is told.
    pub environment: ScriptEnvironment,
    /// Which sockets the worker may have.
    pub links: LinkGrants,
    /// What the tunnel is to this machine.
    pub plan: roles::Plan,
}

/// What the monitor needs to know before the worker exists.
pub struct MonitorPlan {
    /// The configuration to open for the worker, as an absolute path.
    pub config_path: PathBuf,
    /// The status command, if there is one.
    pub script: Option<Script>,
    /// What to do, until the configuration is opened anew.
    pub orders: Orders,
    /// Reads the orders anew each time the worker has the configuration opened.
    pub read_orders: ReadOrders,
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

// SPDX-License-Identifier: BSD-2-Clause
//! The MLVPN 2.3.5 to test against. It is not part of this repository: build it from its public source and name the
//! program in the variable `MLVPN_PEER`.

use std::path::PathBuf;

use nix::unistd::User;

use crate::daemon::Program;

/// The variable that names the program.
pub const VARIABLE: &str = "MLVPN_PEER";

/// Users of every Debian system, tried in turn: 2.3.5 wants one with a home that exists, to lock itself into.
const USERS: [&str; 4] = ["daemon", "bin", "mail", "games"];

/// The peer's program, ready to start.
///
/// # Errors
/// Why there is none, for whoever wonders what was skipped.
pub fn program() -> Result<Program, String> {
    let path = std::env::var_os(VARIABLE).map(PathBuf::from);
    let path = path.ok_or_else(|| format!("{VARIABLE} does not name an mlvpn 2.3.5 program to talk to"))?;
    if !path.is_file() {
        return Err(format!("{VARIABLE} names {}, which is no file", path.display()));
    }
    let fits = |name: &&str| User::from_name(name).ok().flatten().is_some_and(|user| user.dir.is_dir());
    let user = USERS.into_iter().find(fits).ok_or_else(|| format!("none of the users {USERS:?} has a home"))?;
    let arguments = ["--debug", "--user", user, "--name", "test"].map(str::to_owned);
    Ok(Program { path, arguments: arguments.into() })
}

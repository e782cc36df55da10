// SPDX-License-Identifier: BSD-2-Clause
//! The MLVPN 2.3.5 to test against. It is not part of this repository: build it from its public source and name the
//! program in the variable `MLVPN_PEER`.

use std::path::PathBuf;
use std::process::Command;

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
    ready(path)
}

/// The same, or else an `mlvpn` in the search path that is not ours: 2.3.5 makes no keys.
///
/// # Errors
/// As [`program`].
pub fn program_or_on_path() -> Result<Program, String> {
    if std::env::var_os(VARIABLE).is_some() {
        return program();
    }
    let path = on_path("mlvpn").map_err(|_| format!("{VARIABLE} is not set, and no mlvpn is on PATH"))?;
    let help = Command::new(&path).arg("--help").output().map_err(|why| format!("{}: {why}", path.display()))?;
    if String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("keygen") {
        return Err(format!("{VARIABLE} is not set, and the mlvpn on PATH is not 2.3.5"));
    }
    ready(path)
}

/// The program of that name in the search path.
///
/// # Errors
/// That there is none.
pub fn on_path(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("no program {program} on PATH"))
}

fn ready(path: PathBuf) -> Result<Program, String> {
    let fits = |name: &&str| User::from_name(name).ok().flatten().is_some_and(|user| user.dir.is_dir());
    let user = USERS.into_iter().find(fits).ok_or_else(|| format!("none of the users {USERS:?} has a home"))?;
    let arguments = ["--debug", "--user", user, "--name", "test"].map(str::to_owned);
    Ok(Program { path, arguments: arguments.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_said_to_be_missing() {
        assert!(on_path("sh").is_ok());
        assert_eq!(on_path("no-such-program"), Err("no program no-such-program on PATH".to_owned()));
    }
}

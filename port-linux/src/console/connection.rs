// SPDX-License-Identifier: BSD-2-Clause
//! Finding a daemon's socket, and asking there.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Trouble;
use crate::config;
use crate::control::{EXTENSION, connect, folder, path_of};
use crate::daemon::{Command, KeyText};

/// A daemon that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer, in bytes: a thousand peers of eight links each.
const MAX_ANSWER: u64 = 16 << 20;

/// Which daemon is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `--socket`: where it listens.
    pub socket: Option<PathBuf>,
    /// `--tunnel`: the name of its device.
    pub tunnel: Option<String>,
    /// `--config`: its configuration.
    pub config: Option<PathBuf>,
    /// The folder of sockets; the usual one when absent.
    pub folder: Option<PathBuf>,
}

/// A socket where a daemon may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Place {
    /// Every daemon that may be meant, by name.
    pub(super) fn every(&self) -> Result<Vec<Found>, Trouble> {
        if let Some(path) = &self.socket {
            return Ok(vec![Found::at(path)]);
        }
        if let Some(path) = &self.config {
            return of_configuration(path).map(|found| vec![found]);
        }
        let folder = self.folder.clone().unwrap_or_else(folder);
        if let Some(name) = &self.tunnel {
            let path = folder.join(format!("{name}.{EXTENSION}"));
            if name.contains('/') || !path.exists() {
                return Err(none(&folder, Some(name)));
            }
            return Ok(vec![Found { name: name.clone(), path }]);
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let sockets = entries.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
        // What a killed daemon left is nobody's.
        let mut found: Vec<Found> = sockets.filter(|path| !is_left(path)).map(|path| Found::at(&path)).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        if found.is_empty() { Err(none(&folder, None)) } else { Ok(found) }
    }

    /// The one daemon that is meant.
    pub(super) fn one(&self) -> Result<Found, Trouble> {
        let mut every = self.every()?;
        match (every.pop(), every.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => {
                let names: Vec<String> = every.into_iter().chain(last).map(|found| found.name).collect();
                Err(Trouble(format!("several tunnels run here: {}; say which with --tunnel NAME", names.join(", "))))
            }
        }
    }
}

fn of_configuration(path: &Path) -> Result<Found, Trouble> {
    let loaded = config::load(path).map_err(|reports| {
        let lines: Vec<String> = reports.iter().map(ToString::to_string).collect();
        Trouble(lines.join("\n"))
    });
    let (config, _) = loaded?;
    Ok(Found::at(&path_of(&config.general, &config.general.interface_name)))
}

fn none(folder: &Path, name: Option<&str>) -> Trouble {
    let what = name.map_or_else(|| "no tunnel runs".to_owned(), |name| format!("no tunnel {name} runs"));
    let folder = folder.display();
    Trouble(format!(
        "{what} here: there is no socket of it in {folder}; start mlvpn, or say where it listens with --socket PATH, the \
         control_unix_path of its configuration"
    ))
}

fn is_left(path: &Path) -> bool {
    connect(path).is_err_and(|why| why.kind() == io::ErrorKind::ConnectionRefused)
}

impl Found {
    fn at(path: &Path) -> Self {
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self { name, path: path.to_owned() }
    }

    pub(super) fn connect(&self) -> Result<Connection, Trouble> {
        let stream = connect(&self.path).map_err(|why| unreachable(&self.path, &why))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream), path: self.path.clone() })
    }
}

/// Why nobody could be asked, and what to do.
fn unreachable(path: &Path, why: &io::Error) -> Trouble {
    let place = path.display();
    Trouble(match why.kind() {
        io::ErrorKind::NotFound => {
            format!("no daemon listens at {place}: it is not there; start mlvpn, or check control_unix_path")
        }
        io::ErrorKind::ConnectionRefused => {
            format!("no daemon listens at {place}: the one that did has ended; start mlvpn")
        }
        io::ErrorKind::PermissionDenied => {
            format!("not permitted to connect to {place}: it is for root{}; use sudo", group_of(path))
        }
        io::ErrorKind::WouldBlock => format!("the daemon at {place} accepts nobody: it hangs, or too many ask"),
        _ => format!("cannot connect to {place}: {why}"),
    })
}

/// The group that may connect, where it can be found out.
fn group_of(path: &Path) -> String {
    let group = fs::metadata(path).ok().and_then(|facts| Group::from_gid(Gid::from_raw(facts.gid())).ok().flatten());
    group.map_or_else(String::new, |group| format!(" and the group {}", group.name))
}

/// A connection to a daemon.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Connection {
    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, command: &Command) -> Result<Value, Trouble> {
        let mut line = Zeroizing::new(serde_json::to_vec(command).map_err(|why| Trouble(why.to_string()))?);
        line.push(b'\n');
        let mut answer = String::new();
        let stream = self.stream.get_mut();
        let asked = stream.write_all(&line).and_then(|()| {
            let mut bounded = Read::take(&mut self.stream, MAX_ANSWER);
            bounded.read_line(&mut answer)
        });
        let place = self.path.display();
        match asked {
            Ok(0) => return Err(Trouble(format!("the daemon at {place} said nothing; it may be ending, or too busy"))),
            Ok(_) => {}
            Err(why) => return Err(Trouble(format!("the daemon at {place} does not answer: {why}"))),
        }
        let value: Value = serde_json::from_str(&answer)
            .map_err(|_| Trouble(format!("{place} does not answer as mlvpn; is it MLVPN 2.3.5?")))?;
        match value.get("error").and_then(Value::as_str) {
            Some(error) => Err(Trouble(error.to_owned())),
            None => Ok(value),
        }
    }
}

/// The secret in a file that only its owner can read.
pub(super) fn secret(path: &Path) -> Result<KeyText, Trouble> {
    let text =
        config::read_secret(path, &config::open_file).map_err(|why| Trouble(format!("{}: {why}", path.display())))?;
    Ok(KeyText(Zeroizing::new(text.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mlvpn-connection-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn place(folder: &Path) -> Place {
        Place { folder: Some(folder.to_owned()), ..Place::default() }
    }

    #[test]
    fn without_a_daemon_the_folder_is_named_and_what_to_do() {
        let folder = scratch("none");
        drop(UnixListener::bind(folder.join("left.sock")).expect("a socket"));
        let why = place(&folder).every().expect_err("nobody is there").to_string();
        for word in [&folder.display().to_string(), "start mlvpn", "--socket", "control_unix_path"] {
            assert!(why.contains(word), "{word}: {why}");
        }
        let named = Place { tunnel: Some("office".to_owned()), ..place(&folder) };
        assert!(named.every().expect_err("no").to_string().contains("no tunnel office runs"));
        let left = Place { socket: Some(folder.join("left.sock")), ..Place::default() };
        let why = left.one().expect("a path").connect().expect_err("refused").to_string();
        assert!(why.contains("has ended") && why.contains("left.sock"), "{why}");
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn one_of_several_tunnels_must_be_named() {
        let folder = scratch("several");
        let kept: Vec<UnixListener> =
            ["b.sock", "a.sock", "c.other"].map(|name| UnixListener::bind(folder.join(name)).expect("a socket")).into();
        let names: Vec<String> = place(&folder).every().expect("two").into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["a", "b"]);
        let why = place(&folder).one().expect_err("two").to_string();
        assert!(why.contains("a, b") && why.contains("--tunnel"), "{why}");
        let named = Place { tunnel: Some("b".to_owned()), ..place(&folder) };
        assert_eq!(named.one().expect("b").path, folder.join("b.sock"));
        drop(kept);
        fs::remove_dir_all(folder).expect("ours");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A daemon of the kernel demo: this program again, as a child that is watched by its log and ends with its owner.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::Duration as StdDuration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::record::LinkState;
use crate::diagnostics;
use crate::lab::namespace::Namespace;

/// The client as its server's configuration calls it.
pub(super) const CLIENT: &str = "user";

/// How long a daemon may take to say goodbye before it is killed.
const FAREWELL_POLLS: u32 = 100;
const FAREWELL_POLL: StdDuration = StdDuration::from_millis(10);

/// Lines of a daemon's log that are shown when it fails.
const LINES_KEPT: usize = 6;

/// A directory only its owner can reach, gone when dropped.
pub(super) struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// Makes one in the system's place for temporary files; `mark` keeps its name from being guessed.
    pub(super) fn create(mark: u64) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("mlvpn-demo-{}-{mark:016x}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Writes a file with mode 0600, in place of an older one.
    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            diagnostics::say(format_args!("mlvpn: cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// A running daemon.
pub(super) struct Daemon {
    child: Child,
    log: ChildStderr,
    unfinished: Vec<u8>,
    lines: VecDeque<String>,
    has_device: bool,
    links: Vec<LinkState>,
    /// Which links of the plan its configuration has, in this order.
    places: Vec<usize>,
}

impl Daemon {
    /// Starts a daemon in a namespace: of the plan's `links` those at `places` are in its configuration.
    pub(super) fn start(
        namespace: &Namespace,
        program: &Path,
        config: &Path,
        links: usize,
        places: &[usize],
    ) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", program.display());
        let mut command = namespace.command(program).map_err(|error| error.to_string())?;
        command.args([OsStr::new("--config"), config.as_os_str()]);
        // Its control socket is its own: both daemons have a device of one name.
        command.env("RUNTIME_DIRECTORY", config.parent().unwrap_or(Path::new("/")));
        // Named root, because a user namespace has no other user to become, even where the machine knows an `mlvpn`.
        command.args(["--debug", "--natural-title", "--user", "root", "--yes-run-as-root"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let Some(log) = child.stderr.take() else { return Err("the daemon has no log".to_owned()) };
        let mut daemon = Self {
            child,
            log,
            unfinished: Vec::new(),
            lines: VecDeque::new(),
            has_device: false,
            links: vec![LinkState::Unused; links],
            places: places.to_vec(),
        };
        let flags = fcntl(&daemon.log, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        flags.map_err(|errno| failed(errno.into()))?;
        daemon.watch()?;
        Ok(daemon)
    }

    /// Reads its log; an error when it has ended.
    pub(super) fn watch(&mut self) -> Result<(), String> {
        let mut buffer = [0; 4096];
        loop {
            match self.log.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => self.unfinished.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot read a daemon's log: {error}")),
            }
        }
        while let Some(end) = self.unfinished.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            self.note(String::from_utf8_lossy(&line).trim_end());
        }
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let lines: Vec<_> = self.lines.iter().map(|line| format!("\n  {line}")).collect();
                Err(format!("a daemon ended by itself, {status}; its last words:{}", lines.concat()))
            }
            Err(error) => Err(format!("cannot watch a daemon: {error}")),
        }
    }

    /// Whether its device is there.
    pub(super) const fn has_device(&self) -> bool {
        self.has_device
    }

    /// What it thinks of a link.
    pub(super) fn link(&self, index: usize) -> LinkState {
        self.links.get(index).copied().unwrap_or_default()
    }

    /// Asks it to end, without waiting for that.
    pub(super) fn ask_to_end(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // One that has ended by itself needs no asking.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    fn note(&mut self, line: &str) {
        if line.contains("/tuntap] created ") {
            self.has_device = true;
        }
        if let Some((index, state)) = link_news(line, &self.places)
            && let Some(link) = self.links.get_mut(index)
        {
            *link = state;
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.ask_to_end();
        for _ in 0..FAREWELL_POLLS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(FAREWELL_POLL);
        }
        // What can fail is that it has ended in between.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name a link has in the daemons' configurations, by its place in the plan.
pub(super) fn link_name(index: usize) -> String {
    format!("link{}", index + 1)
}

/// What a line of the log tells about a link: the client's `... [INFO/protocol] link1: up`, or `user.0: up` of its server,
/// which counts the links the client has.
fn link_news(line: &str, places: &[usize]) -> Option<(usize, LinkState)> {
    let (_, message) = line.split_once("] ")?;
    let (name, news) = message.split_once(": ")?;
    let index = match name.strip_prefix("link") {
        Some(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
        None => *places.get(name.strip_prefix(CLIENT)?.strip_prefix('.')?.parse::<usize>().ok()?)?,
    };
    let state = match news.split([',', ' ']).next()? {
        "up" | "within" => LinkState::Up,
        "down" => LinkState::Connecting,
        "lossy" => LinkState::Lossy,
        "slow" => LinkState::Slow,
        "silent" => LinkState::Silent,
        _ => return None,
    };
    Some((index, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_log_tells_what_links_do() {
        for (line, news) in [
            ("2026-11-21T09:57:50 [INFO/protocol] link1: up", Some((0, LinkState::Up))),
            ("2026-11-21T09:57:50 [WARN/rtt] link12: silent for 2040 ms", Some((11, LinkState::Silent))),
            ("2026-11-21T09:57:50 [INFO/protocol] user.1: up", Some((4, LinkState::Up))),
            ("2026-11-21T09:57:50 [INFO/protocol] user.2: up", None),
            ("2026-11-21T09:57:50 [INFO/protocol] user: up", None),
            ("2026-11-21T09:57:50 [INFO/rtt] link2: within its tolerances again", Some((1, LinkState::Up))),
            (
                "2026-11-21T09:57:50 [WARN/protocol] link2: down, the peer disconnected",
                Some((1, LinkState::Connecting)),
            ),
            ("2026-11-21T09:57:50 [INFO/protocol] link1: peer at 10.0.0.1:5080", None),
            ("2026-11-21T09:57:50 [INFO/tuntap] created tun interface mlvpn0", None),
        ] {
            assert_eq!(link_news(line, &[1, 4]), news, "{line}");
        }
    }

    #[test]
    fn a_private_directory_is_its_owners_alone_and_goes_away() {
        let directory = PrivateDirectory::create(0x1234_5678).expect("a directory");
        let file = directory.write("a.conf", "text").expect("a file");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&directory.0), mode(&file)), (0o700, 0o600));
        let path = directory.0.clone();
        drop(directory);
        assert!(!path.exists());
    }
}

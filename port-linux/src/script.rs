// SPDX-License-Identifier: BSD-2-Clause
//! The status command: what MLVPN 2.3.5 runs when the tunnel or a link comes up or goes down, one after another, while
//! packets go on flowing.
//!
//! `$1` is the device, `$2` the event, `$3` the link (for link events); the environment is IP4, IP6, IP4_GATEWAY,
//! IP6_GATEWAY, IP4_ROUTES, IP6_ROUTES, DEVICE, MTU and a fixed PATH. 2.3.5 also hands down whatever environment the
//! daemon was started with; that is left out, as the command runs as root.

use crate::config::MAX_PEER_NAME_BYTES;
use crate::interface::InterfaceName;
use crate::log::Topic;
use crate::{log_debug, log_warn, sys};
use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How long one run may take; then it is killed with everything it started. Setting addresses takes milliseconds, so
/// this is a script that hangs.
pub const RUN_LIMIT: Duration = Duration::from_secs(30);

/// Runs that may wait. Each link event makes one or two, so this is dozens of flaps during one hanging script.
const QUEUE_LEN: usize = 64;

/// Where the status command finds its programs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of a status command, as checked by [`Script::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(PathBuf);

/// Why a status command is not run; the text says what to do.
#[derive(Debug)]
pub enum ScriptError {
    /// The path does not start at the root directory.
    NotAbsolute(PathBuf),
    /// There is nothing to run.
    Missing(PathBuf, io::Error),
    /// It is not a plain file.
    NotAFile(PathBuf),
    /// It belongs to somebody else (this user id), who could change what runs as root.
    Owner(PathBuf, u32),
    /// Group or others have access (these permission bits).
    Open(PathBuf, u32),
    /// Its owner may not execute it.
    NotExecutable(PathBuf),
    /// It could not be started.
    Start(PathBuf, io::Error),
}

/// What happened, in the words of `$2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptEvent {
    /// The first link came up.
    TunnelUp,
    /// The last link went down.
    TunnelDown,
    /// A link came up.
    LinkUp,
    /// A link went down.
    LinkDown,
}

/// A link's name as a script may see it: 1 to [`LinkName::MAX_BYTES`] bytes without control characters.
///
/// Every name the configuration accepts is one, and so is `PEER.N`, link N of a peer, with every name of a peer that it
/// accepts. A dash at the start is no obstacle: the name is the script's third argument, never an option of what
/// executes the script. (What the script hands it to is another matter, so the configuration warns.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

/// What the configuration has the script told in its environment, each as written there, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptEnvironment {
    /// IP4: the tunnel's IPv4 address.
    pub ip4: String,
    /// IP6: the tunnel's IPv6 address.
    pub ip6: String,
    /// IP4_GATEWAY.
    pub ip4_gateway: String,
    /// IP6_GATEWAY.
    pub ip6_gateway: String,
    /// IP4_ROUTES: networks with spaces between.
    pub ip4_routes: String,
    /// IP6_ROUTES: networks with spaces between.
    pub ip6_routes: String,
}

/// One run to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRun {
    /// `$1` and DEVICE.
    pub device: InterfaceName,
    /// `$2`.
    pub event: ScriptEvent,
    /// `$3`; with link events only.
    pub link: Option<LinkName>,
    /// MTU: the tunnel's, in bytes.
    pub mtu: u32,
    /// The rest of the environment.
    pub environment: ScriptEnvironment,
}

/// Runs the status command in order, one at a time, without ever waiting for it.
///
/// Call [`ScriptRunner::poll`] after `SIGCHLD`, at [`ScriptRunner::deadline`] and after [`ScriptRunner::enqueue`].
#[derive(Debug)]
pub struct ScriptRunner {
    script: Script,
    waiting: VecDeque<ScriptRun>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Pid,
    event: ScriptEvent,
    /// When to kill it.
    kill_at: Instant,
}

impl Script {
    /// The command at `path`, if MLVPN 2.3.5 would run it: an absolute path to a file that belongs to root (or to the
    /// user who runs this), executable, and closed to group and others. Its directory should be root's, too: who can
    /// write there can exchange the file between the check and the run.
    ///
    /// # Errors
    /// A [`ScriptError`] whose text says what to do.
    pub fn check(path: &Path) -> Result<Self, ScriptError> {
        let owned = || path.to_owned();
        if !path.is_absolute() {
            return Err(ScriptError::NotAbsolute(owned()));
        }
        let facts = path.metadata().map_err(|why| ScriptError::Missing(owned(), why))?;
        let mode = facts.permissions().mode() & 0o7777;
        if !facts.is_file() {
            Err(ScriptError::NotAFile(owned()))
        } else if facts.uid() != 0 && facts.uid() != nix::unistd::geteuid().as_raw() {
            Err(ScriptError::Owner(owned(), facts.uid()))
        } else if mode & 0o077 != 0 {
            Err(ScriptError::Open(owned(), mode))
        } else if mode & 0o100 == 0 {
            Err(ScriptError::NotExecutable(owned()))
        } else {
            Ok(Self(owned()))
        }
    }

    /// Where the command is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn start(&self, run: &ScriptRun) -> Result<Pid, ScriptError> {
        // It may have been changed since the last run.
        Self::check(&self.0)?;
        self.launch(run).map_err(|why| ScriptError::Start(self.0.clone(), why))
    }

    fn launch(&self, run: &ScriptRun) -> io::Result<Pid> {
        let program = text(self.0.as_os_str())?;
        let named = [run.device.as_str(), run.event.word()];
        let words = named.into_iter().chain(run.link.as_ref().map(LinkName::as_str));
        let arguments = std::iter::once(Ok(program.clone())).chain(words.map(text)).collect::<io::Result<Vec<_>>>()?;
        let mtu = run.mtu.to_string();
        let own = [("PATH", PATH), ("DEVICE", run.device.as_str()), ("MTU", &mtu)];
        let variables = own.into_iter().chain(run.environment.variables());
        let environment =
            variables.map(|(name, value)| text(&format!("{name}={value}"))).collect::<io::Result<Vec<_>>>()?;
        sys::start_session(&program, &arguments, &environment)
    }
}

/// As the kernel takes it; a zero byte would end it early.
fn text<T: AsRef<OsStr> + ?Sized>(text: &T) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

impl ScriptRunner {
    /// A runner of `script` with nothing to do.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self { script, waiting: VecDeque::with_capacity(QUEUE_LEN), running: None }
    }

    /// Puts `run` behind those that wait; [`ScriptRunner::poll`] starts it.
    ///
    /// # Errors
    /// Too many wait: `run` comes back.
    #[expect(clippy::result_large_err, reason = "a full queue hands the run back; once per event, never per packet")]
    pub fn enqueue(&mut self, run: ScriptRun) -> Result<(), ScriptRun> {
        if self.waiting.len() >= QUEUE_LEN {
            return Err(run);
        }
        self.waiting.push_back(run);
        Ok(())
    }

    /// Takes the end of a run, kills one that is overdue at `now`, and starts the next. Failures are logged: nobody
    /// waits for an answer.
    pub fn poll(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            match waitpid(running.child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if now < running.kill_at => return,
                Ok(WaitStatus::StillAlive) => running.kill(&self.script, "it took too long"),
                Ok(status) => log_end(&self.script, running.event, status),
                Err(why) => log_warn!(Topic::Privsep, "lost sight of {}: {why}", self.script),
            }
            self.running = None;
        }
        while self.running.is_none() {
            let Some(run) = self.waiting.pop_front() else { return };
            match self.script.start(&run) {
                Ok(child) => self.running = Some(Running { child, event: run.event, kill_at: now + RUN_LIMIT }),
                Err(why) => log_warn!(Topic::Privsep, "{} not run for {}: {why}", self.script, run.event.word()),
            }
        }
    }

    /// When to call [`ScriptRunner::poll`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.kill_at)
    }

    /// Whether nothing runs or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Kills what runs and forgets what waits.
    pub fn abandon(&mut self) {
        self.waiting.clear();
        if let Some(mut running) = self.running.take() {
            running.kill(&self.script, "the daemon ends");
        }
    }
}

impl Running {
    /// Kills the run and all it started, and takes its end, which follows at once.
    fn kill(&mut self, script: &Script, why: &str) {
        log_warn!(Topic::Privsep, "{script} {} killed: {why}", self.event.word());
        // Its session may not exist yet when it was only just started; then the process alone is killed.
        if killpg(self.child, Signal::SIGKILL).is_err() && kill(self.child, Signal::SIGKILL).is_err() {
            return;
        }
        let mut end = waitpid(self.child, None);
        while end == Err(Errno::EINTR) {
            end = waitpid(self.child, None);
        }
        if let Err(why) = end {
            log_warn!(Topic::Privsep, "lost sight of {script}: {why}");
        }
    }
}

fn log_end(script: &Script, event: ScriptEvent, status: WaitStatus) {
    let event = event.word();
    match status {
        WaitStatus::Exited(_, 0) => log_debug!(Topic::Privsep, "{script} {event} done"),
        WaitStatus::Exited(_, code) => log_warn!(Topic::Privsep, "{script} {event} ended with status {code}"),
        WaitStatus::Signaled(_, signal, _) => {
            log_warn!(Topic::Privsep, "{script} {event} was killed by signal {}", signal as i32);
        }
        _ => log_warn!(Topic::Privsep, "{script} {event} ended"),
    }
}

impl ScriptEvent {
    /// Every event.
    pub const ALL: [Self; 4] = [Self::TunnelUp, Self::TunnelDown, Self::LinkUp, Self::LinkDown];

    /// The word in `$2`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TunnelUp => "tuntap_up",
            Self::TunnelDown => "tuntap_down",
            Self::LinkUp => "rtun_up",
            Self::LinkDown => "rtun_down",
        }
    }

    /// Whether the event is about one link, which `$3` names.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        matches!(self, Self::LinkUp | Self::LinkDown)
    }
}

impl LinkName {
    /// The longest, in bytes: a peer's name and the number of any link behind it.
    pub const MAX_BYTES: usize = MAX_PEER_NAME_BYTES + ".255".len();

    /// `name`, if a script may see it.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_short = (1..=Self::MAX_BYTES).contains(&name.len());
        (is_short && !name.chars().any(char::is_control)).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LinkName {
    type Error = &'static str;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("no link has such a name")
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl ScriptEnvironment {
    fn variables(&self) -> [(&'static str, &str); 6] {
        [
            ("IP4", &self.ip4),
            ("IP6", &self.ip6),
            ("IP4_GATEWAY", &self.ip4_gateway),
            ("IP6_GATEWAY", &self.ip6_gateway),
            ("IP4_ROUTES", &self.ip4_routes),
            ("IP6_ROUTES", &self.ip6_routes),
        ]
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute(path) => write!(f, "statuscommand {}: give the whole path, from /", path.display()),
            Self::Missing(path, why) => write!(f, "statuscommand {}: {why}", path.display()),
            Self::NotAFile(path) => write!(f, "statuscommand {} is not a file", path.display()),
            Self::Owner(path, uid) => {
                write!(f, "statuscommand {0} belongs to user {uid}; `chown root {0}`", path.display())
            }
            Self::Open(path, mode) => {
                write!(f, "statuscommand {0} is open to group or others ({mode:04o}); `chmod 700 {0}`", path.display())
            }
            Self::NotExecutable(path) => {
                write!(f, "statuscommand {0} is not executable; `chmod 700 {0}`", path.display())
            }
            Self::Start(path, why) => write!(f, "statuscommand {} does not start: {why}", path.display()),
        }
    }
}

impl std::error::Error for ScriptError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ScriptFile;

    fn run(event: ScriptEvent, link: Option<&str>) -> ScriptRun {
        let environment =
            ScriptEnvironment { ip4: "10.9.0.1/24".into(), ip6_routes: "a b".into(), ..Default::default() };
        let device = "mlvpn0".parse().expect("a name");
        ScriptRun { device, event, link: link.and_then(LinkName::new), mtu: 1428, environment }
    }

    /// Polls at `now` until nothing is left to do.
    fn finish(runner: &mut ScriptRunner, now: Instant) {
        for _ in 0..20_000 {
            runner.poll(now);
            if runner.is_idle() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("still running");
    }

    #[test]
    fn a_script_gets_mlvpns_arguments_and_environment_and_nothing_else_in_order() {
        let file = ScriptFile::new(
            "#!/bin/sh\n{ echo \"$# $*\"; env | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL= | sort; } >> OUT",
        );
        let mut runner = ScriptRunner::new(Script::check(&file.path).expect("check"));
        runner.enqueue(run(ScriptEvent::LinkUp, Some("adsl"))).expect("room");
        runner.enqueue(run(ScriptEvent::TunnelUp, None)).expect("room");
        finish(&mut runner, Instant::ORIGIN);
        let environment = "DEVICE=mlvpn0\nIP4=10.9.0.1/24\nIP4_GATEWAY=\nIP4_ROUTES=\nIP6=\nIP6_GATEWAY=\nIP6_ROUTES=a b\n\
                           MTU=1428\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n";
        let expected = format!("3 mlvpn0 rtun_up adsl\n{environment}2 mlvpn0 tuntap_up\n{environment}");
        assert_eq!(file.output(), expected);
    }

    #[test]
    fn a_name_that_looks_like_an_option_is_the_scripts_third_argument_all_the_same() {
        let file = ScriptFile::new("#!/bin/sh\nprintf '%s|' \"$@\" >> OUT");
        let mut runner = ScriptRunner::new(Script::check(&file.path).expect("check"));
        for name in ["-n", "--", "-c"] {
            runner.enqueue(run(ScriptEvent::LinkUp, Some(name))).expect("room");
        }
        finish(&mut runner, Instant::ORIGIN);
        assert_eq!(file.output(), "mlvpn0|rtun_up|-n|mlvpn0|rtun_up|--|mlvpn0|rtun_up|-c|");
    }

    #[test]
    fn a_script_that_hangs_is_killed_with_all_it_started_and_the_next_runs() {
        let file = ScriptFile::new("#!/bin/sh\nif [ $2 = rtun_up ]; then sleep 1000; fi; echo $2 >> OUT");
        let mut runner = ScriptRunner::new(Script::check(&file.path).expect("check"));
        runner.enqueue(run(ScriptEvent::LinkUp, Some("adsl"))).expect("room");
        runner.enqueue(run(ScriptEvent::LinkDown, Some("adsl"))).expect("room");
        runner.poll(Instant::ORIGIN);
        assert_eq!(runner.deadline(), Some(Instant::ORIGIN + RUN_LIMIT));
        finish(&mut runner, Instant::ORIGIN + RUN_LIMIT);
        assert_eq!(file.output(), "rtun_down\n");
    }

    #[test]
    fn a_script_others_could_change_is_refused_and_checked_again_at_each_run() {
        let file = ScriptFile::new("#!/bin/sh\necho ran >> OUT");
        let mut runner = ScriptRunner::new(Script::check(&file.path).expect("check"));
        file.set_mode(0o720);
        assert!(matches!(Script::check(&file.path), Err(ScriptError::Open(_, 0o720))));
        runner.enqueue(run(ScriptEvent::LinkUp, Some("adsl"))).expect("room");
        finish(&mut runner, Instant::ORIGIN);
        assert_eq!(file.output(), "");
        file.set_mode(0o600);
        assert!(matches!(Script::check(&file.path), Err(ScriptError::NotExecutable(_))));
        assert!(matches!(Script::check(Path::new("up.sh")), Err(ScriptError::NotAbsolute(_))));
        assert!(matches!(Script::check(Path::new("/absent/up.sh")), Err(ScriptError::Missing(..))));
        assert!(matches!(Script::check(Path::new("/")), Err(ScriptError::NotAFile(_))));
    }

    #[test]
    fn a_script_whose_interpreter_is_missing_does_not_start_and_the_next_event_is_tried() {
        let file = ScriptFile::new("#!/absent/sh\n");
        let script = Script::check(&file.path).expect("check");
        let why = script.start(&run(ScriptEvent::TunnelUp, None)).expect_err("no such interpreter");
        assert!(matches!(&why, ScriptError::Start(_, why) if why.kind() == io::ErrorKind::NotFound), "{why}");
        let mut runner = ScriptRunner::new(script);
        runner.enqueue(run(ScriptEvent::TunnelUp, None)).expect("room");
        runner.enqueue(run(ScriptEvent::TunnelDown, None)).expect("room");
        runner.poll(Instant::ORIGIN);
        assert!(runner.is_idle());
    }

    #[test]
    fn the_queue_is_bounded_and_hands_back_what_does_not_fit() {
        let file = ScriptFile::new("#!/bin/sh\n");
        let mut runner = ScriptRunner::new(Script::check(&file.path).expect("check"));
        for _ in 0..QUEUE_LEN {
            runner.enqueue(run(ScriptEvent::LinkUp, Some("adsl"))).expect("room");
        }
        let extra = run(ScriptEvent::LinkDown, Some("adsl"));
        assert_eq!(runner.enqueue(extra.clone()), Err(extra));
    }

    #[test]
    fn link_names_that_could_mislead_a_script_are_refused() {
        for good in ["adsl 1", "-n", "--", "\u{e9}", &format!("{}.255", "x".repeat(64))] {
            assert_eq!(LinkName::new(good).map(|name| name.as_str().to_owned()), Some(good.to_owned()));
        }
        for bad in ["", "a\nb", "a\0b", "\u{9b}31m", &"x".repeat(LinkName::MAX_BYTES + 1)] {
            assert_eq!(LinkName::new(bad), None, "{bad:?}");
        }
    }
}

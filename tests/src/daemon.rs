// SPDX-License-Identifier: BSD-2-Clause
//! A daemon under test: started in a namespace with files of its own, watched through its log and its status command,
//! ended and cleaned up when dropped.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use mlvpn::lab::namespace::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::configuration::Configuration;
use crate::{program, wait};

/// Sets the tunnel's device up as an administrator's would, then notes its call in a line.
const STATUS_COMMAND: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ "$2" = tuntap_up ]; then
    [ "${MTU:-0}" -gt 0 ] && ip link set dev "$1" mtu "$MTU"
    ip link set dev "$1" up
    [ -n "$IP4" ] && ip address replace "$IP4" dev "$1"
    [ -n "$IP6" ] && ip address replace "$IP6" dev "$1" nodad
fi
line="$# $*|IP4=$IP4|IP6=$IP6|IP4_GATEWAY=$IP4_GATEWAY|IP6_GATEWAY=$IP6_GATEWAY"
line="$line|IP4_ROUTES=$IP4_ROUTES|IP6_ROUTES=$IP6_ROUTES|DEVICE=$DEVICE|MTU=$MTU"
echo "$line" >>"${0%/*}/calls"
"#;

/// What to start: our daemon, or another to talk to.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Arguments beside `--config`.
    pub arguments: Vec<String>,
}

impl Program {
    /// This tree's daemon, logging to standard error, becoming [`program::UNPRIVILEGED_USER`].
    #[must_use]
    pub fn ours() -> Self {
        let arguments = ["--debug", "--user", program::UNPRIVILEGED_USER, "--name", "test"].map(str::to_owned);
        Self { path: program::mlvpn().to_owned(), arguments: arguments.into() }
    }
}

impl Program {
    /// This tree's daemon for OpenWrt, the same way, with the bus whose ubusd listens at `socket`.
    #[must_use]
    pub fn router(socket: &Path) -> Self {
        let mut program = Self { path: program::mlvpnd().to_owned(), ..Self::ours() };
        program.arguments.extend(["--ubus-socket".to_owned(), socket.to_string_lossy().into_owned()]);
        program
    }
}

/// A folder that only its owner can enter, gone when dropped.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// A new one, empty.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder, which a default should not")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mlvpn-tests-{}-{count}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).expect("a new folder");
        Self(path)
    }

    /// Removes whatever folders a process that was killed has left behind.
    pub fn remove_left_by(process: u32) {
        let mark = format!("mlvpn-tests-{process}-");
        let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&mark)) {
            if let Err(why) = fs::remove_dir_all(entry.path()) {
                eprintln!("{} stays: {why}", entry.path().display());
            }
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file with these permissions, whole or not at all, and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let (path, draft) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).expect("a new file");
        file.write_all(text.as_ref()).expect("room for a small file");
        // Whatever the umask takes away.
        file.set_permissions(Permissions::from_mode(mode)).expect("our own file");
        // Not open for writing when it is run.
        drop(file);
        fs::rename(&draft, &path).expect("a file can be renamed");
        path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {why}", self.0.display());
        }
    }
}

/// One run of the status command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How many arguments it got.
    pub count: usize,
    /// The arguments with spaces between.
    pub arguments: String,
    /// The environment, as `NAME=value` in a fixed order.
    pub environment: Vec<String>,
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.split('|').map(str::to_owned);
        let (count, arguments) = parts.next()?.split_once(' ').map(|(count, rest)| (count.parse(), rest.to_owned()))?;
        Some(Self { count: count.ok()?, arguments, environment: parts.collect() })
    }

    /// The value of a variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    monitor: Child,
    worker: Pid,
    folder: PrivateFolder,
    /// Lines of the log, and calls, that earlier expectations have passed over.
    read_lines: Cell<usize>,
    read_calls: Cell<usize>,
}

impl Daemon {
    /// Starts our daemon.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(namespace: &Namespace, configuration: &Configuration) -> Self {
        Self::start_program(namespace, &Program::ours(), configuration)
    }

    /// Starts any daemon that takes such a configuration, and waits for its two processes. `statuscommand` is set to
    /// a command of the test's.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_program(namespace: &Namespace, program: &Program, configuration: &Configuration) -> Self {
        let folder = PrivateFolder::new();
        folder.write("status", STATUS_COMMAND, 0o700);
        let text = configuration_text(&folder, configuration);
        Self::start_in(folder, namespace, program, ("mlvpn.conf", &text))
    }

    /// Starts a daemon with a configuration of any other form: a file's name and text. It has no status command.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_file(namespace: &Namespace, program: &Program, file: (&str, &str)) -> Self {
        Self::start_in(PrivateFolder::new(), namespace, program, file)
    }

    /// The same with files beside the configuration, in a folder that is root's alone; `{folder}` stands for it.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    #[must_use]
    pub fn start_with_files(
        namespace: &Namespace,
        program: &Program,
        file: (&str, &str),
        beside: &[(&str, &str)],
    ) -> Self {
        let folder = PrivateFolder::new();
        for (name, text) in beside {
            folder.write(name, text, 0o600);
        }
        let text = file.1.replace("{folder}", &folder.path().to_string_lossy());
        Self::start_in(folder, namespace, program, (file.0, &text))
    }

    fn start_in(folder: PrivateFolder, namespace: &Namespace, program: &Program, (name, text): (&str, &str)) -> Self {
        let path = folder.write(name, text, 0o600);
        let log = File::create_new(folder.path().join("log")).expect("a new file");
        let mut command = namespace.command(&program.path).expect("descriptors");
        // Where it makes its control socket: every daemon's device has the same name.
        command.env("RUNTIME_DIRECTORY", folder.path());
        command.args(&program.arguments).arg("--config").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        let mut monitor = command.stderr(log).spawn().expect("the daemon is a program");
        let mut worker = None;
        let monitor_pid = pid_of(&monitor);
        let started = wait::becomes(|| {
            worker = child_of(monitor_pid);
            worker.is_some() || monitor.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let Some(worker) = worker.filter(|_| started) else {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("{} did not start:\n{log}", program.path.display());
        };
        Self { monitor, worker, folder, read_lines: Cell::new(0), read_calls: Cell::new(0) }
    }

    /// The folder that is the daemon's alone, where its control socket is unless the configuration says otherwise.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file beside its configuration, which only root can read.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, text: &str) {
        self.folder.write(name, text, 0o600);
    }

    /// The process that keeps root's rights.
    #[must_use]
    pub fn monitor(&self) -> Pid {
        pid_of(&self.monitor)
    }

    /// The process that does the work.
    #[must_use]
    pub const fn worker(&self) -> Pid {
        self.worker
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Every finished run of the status command so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| Call::read(line.strip_suffix('\n')?)).collect()
    }

    /// Waits until each of `texts` stands in a line of the log, in any order, beyond what earlier expectations read.
    ///
    /// # Panics
    /// When one does not appear.
    pub fn expect_log(&self, texts: &[&str]) {
        let wanted = wait::becomes(|| {
            let log = self.log();
            let lines = log.lines().enumerate().skip(self.read_lines.get());
            let found = texts.iter().map(|text| lines.clone().find(|(_, line)| line.contains(text)).map(|(at, _)| at));
            let found: Option<Vec<usize>> = found.collect();
            if let Some(last) = found.as_ref().and_then(|found| found.iter().max()) {
                self.read_lines.set(last + 1);
            }
            found.is_some()
        });
        assert!(wanted, "not logged: {texts:?}\n{self}");
    }

    /// Waits until the status command was run with each of `arguments` (without the device), in any order, beyond
    /// what earlier expectations saw.
    ///
    /// # Panics
    /// When a run is missing.
    pub fn expect_calls(&self, arguments: &[&str]) {
        let wanted = wait::becomes(|| {
            let calls = self.calls();
            let calls = calls.iter().enumerate().skip(self.read_calls.get());
            let found = arguments.iter().map(|wanted| {
                let is_wanted = |call: &Call| call.arguments.split_once(' ').is_some_and(|(_, rest)| rest == *wanted);
                calls.clone().find(|(_, call)| is_wanted(call)).map(|(at, _)| at)
            });
            let found: Option<Vec<usize>> = found.collect();
            if let Some(last) = found.as_ref().and_then(|found| found.iter().max()) {
                self.read_calls.set(last + 1);
            }
            found.is_some()
        });
        assert!(wanted, "not called: {arguments:?}\n{self}");
    }

    /// How often the status command was run with `arguments` (without the device).
    #[must_use]
    pub fn count_calls(&self, arguments: &str) -> usize {
        let calls = self.calls();
        calls.iter().filter(|call| call.arguments.split_once(' ').is_some_and(|(_, rest)| rest == arguments)).count()
    }

    /// The worker's title, as `ps` shows it.
    #[must_use]
    pub fn title(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.worker)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    /// Waits until the worker's title ends so.
    ///
    /// # Panics
    /// When it does not.
    pub fn expect_title(&self, title: &str) {
        assert!(wait::becomes(|| self.title() == title), "title {:?}, not {title:?}\n{self}", self.title());
    }

    /// Sends a signal to the monitor.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill(self.monitor(), signal).expect("the monitor runs");
    }

    /// Writes another configuration and has it read.
    ///
    /// # Panics
    /// When the daemon has ended.
    pub fn reload(&self, configuration: &Configuration) {
        self.reload_as(configuration, b"", 0o600);
    }

    /// Has the daemon follow a file that replaces the one it was started with.
    ///
    /// # Panics
    /// As [`Daemon::reload`].
    pub fn reload_file(&self, name: &str, text: &str) {
        self.write_file(name, text);
        self.signal(Signal::SIGHUP);
    }

    /// The same with `comment` above the configuration, in whatever encoding, and with the file's rights.
    ///
    /// # Panics
    /// When the daemon has ended.
    pub fn reload_as(&self, configuration: &Configuration, comment: &[u8], mode: u32) {
        let text = [comment, configuration_text(&self.folder, configuration).as_bytes()].concat();
        self.folder.write("mlvpn.conf", text, mode);
        self.signal(Signal::SIGHUP);
    }

    /// Waits for the monitor's end, and sees that the worker's came, too.
    ///
    /// # Panics
    /// When one goes on.
    pub fn expect_end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = wait::becomes(|| {
            status = self.monitor.try_wait().expect("our own child");
            status.is_some() && !is_running(self.worker)
        });
        assert!(ended, "it goes on\n{self}");
        status.expect("it ended")
    }
}

impl std::fmt::Display for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "log of {}:\n{}", self.monitor(), self.log())?;
        self.calls().iter().try_for_each(|call| writeln!(f, "{call:?}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
        let has_ended = |monitor: &mut Child| !matches!(monitor.try_wait(), Ok(None));
        if !has_ended(&mut self.monitor) && kill(self.monitor(), Signal::SIGTERM).is_ok() {
            wait::becomes(|| has_ended(&mut self.monitor));
        }
        if !has_ended(&mut self.monitor) {
            eprintln!("{} is killed: it did not end", self.monitor());
            drop(self.monitor.kill());
            drop(self.monitor.wait());
        }
        if is_running(self.worker) && !wait::becomes(|| !is_running(self.worker)) {
            eprintln!("{} is killed: it did not end with its monitor", self.worker);
            if let Err(why) = kill(self.worker, Signal::SIGKILL) {
                eprintln!("{} stays: {why}", self.worker);
            }
        }
    }
}

/// Runs our program to its end with these arguments.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn run(arguments: &[&str]) -> std::process::Output {
    Command::new(program::mlvpn()).args(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

/// Whether a process runs; one that ended and that nobody asked after does not.
#[must_use]
pub fn is_running(pid: Pid) -> bool {
    stat_fields(pid.as_raw()).is_some_and(|(_, state)| state != "Z" && state != "X")
}

fn configuration_text(folder: &PrivateFolder, configuration: &Configuration) -> String {
    let command = folder.path().join("status");
    configuration.clone().with("general", "statuscommand", &command.to_string_lossy()).text()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("pids are small"))
}

/// The first child a process made that still runs.
fn child_of(parent: Pid) -> Option<Pid> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let children = pids.filter(|&pid| stat_fields(pid).is_some_and(|(of, _)| of == parent.as_raw()));
    children.min().map(Pid::from_raw)
}

/// Parent and state of a process: fields 4 and 3 of proc_pid_stat(5), counted from behind the name's parenthesis.
fn stat_fields(pid: i32) -> Option<(i32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((fields.next()?.parse().ok()?, state))
}

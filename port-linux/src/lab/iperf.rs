// SPDX-License-Identifier: BSD-2-Clause
//! iperf3 between two namespaces, and the processor time programs used meanwhile: the benches' instrument.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn_core::words::time::Duration;
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::namespace::{LabError, Namespace};
use crate::clock;

/// One run of iperf3: TCP from the client to the server, or back when reversed.
#[derive(Clone, Copy, Debug)]
pub struct IperfRun<'a> {
    /// The server's namespace.
    pub server: &'a Namespace,
    /// The client's namespace.
    pub client: &'a Namespace,
    /// The server's address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
    /// Length in whole seconds.
    pub seconds: u32,
    /// First seconds not counted.
    pub omit_seconds: u32,
    /// Parallel flows.
    pub flows: u32,
    /// The kernel's congestion control (`cubic`, `bbr`), or its default.
    pub congestion: Option<&'a str>,
    /// Whether the server sends.
    pub is_reversed: bool,
}

/// What the receiver of a run counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IperfResult {
    /// Payload bytes.
    pub bytes: u64,
    /// Time they took, in seconds.
    pub seconds: f64,
    /// Payload bits per second.
    pub bits_per_second: f64,
}

/// Why a run gave no result.
#[derive(Debug)]
pub enum IperfError {
    /// The program is not installed.
    Missing,
    /// The namespaces could not be used.
    Lab(LabError),
    /// A process could not be started or read.
    Failed(io::Error),
    /// The server did not listen within ten seconds.
    NoServer,
    /// iperf3 gave up; its own words.
    Refused(String),
    /// What iperf3 printed has no result in it.
    Unreadable,
}

impl fmt::Display for IperfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "iperf3 is not installed (Debian package iperf3)"),
            Self::Lab(error) => write!(f, "{error}"),
            Self::Failed(error) => write!(f, "iperf3: {error}"),
            Self::NoServer => write!(f, "iperf3's server did not listen within ten seconds"),
            Self::Refused(words) => write!(f, "iperf3: {words}"),
            Self::Unreadable => write!(f, "iperf3 printed no result"),
        }
    }
}

impl std::error::Error for IperfError {}

impl From<LabError> for IperfError {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

impl From<io::Error> for IperfError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Failed(error) }
    }
}

/// A child that does not outlive its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It has usually ended by itself after its one client; then both calls have nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs iperf3 once and waits for it.
///
/// # Errors
/// [`IperfError`]; [`IperfError::Missing`] where iperf3 is not installed.
pub fn run(plan: &IperfRun<'_>) -> Result<IperfResult, IperfError> {
    let port = plan.port.to_string();
    let mut command = plan.server.command("iperf3")?;
    command.args(["--server", "--one-off", "--port", &port]).stdin(Stdio::null());
    let server = Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    await_listener(plan.server, plan.port)?;
    let output = client_command(plan)?.output()?;
    drop(server);
    read_result(&output)
}

fn client_command(plan: &IperfRun<'_>) -> Result<Command, IperfError> {
    let mut command = plan.client.command("iperf3")?;
    command.args(["--json", "--client", &plan.address.to_string(), "--port", &plan.port.to_string()]);
    command.args(["--time", &plan.seconds.to_string(), "--omit", &plan.omit_seconds.to_string()]);
    command.args(["--parallel", &plan.flows.to_string()]);
    if let Some(congestion) = plan.congestion {
        command.args(["--congestion", congestion]);
    }
    if plan.is_reversed {
        command.arg("--reverse");
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// Waits until something listens on the port; a trial connection would use up the one-off server.
fn await_listener(namespace: &Namespace, port: u16) -> Result<(), IperfError> {
    let deadline = clock::now() + Duration::from_secs(10);
    while clock::now() < deadline {
        if namespace.run(|| has_listener(port))?? {
            return Ok(());
        }
        thread::sleep(StdDuration::from_millis(10));
    }
    Err(IperfError::NoServer)
}

/// Reads the kernel's socket tables: the second column is `ADDRESS:PORT` in hexadecimal, the fourth 0A for LISTEN.
fn has_listener(port: u16) -> io::Result<bool> {
    let suffix = format!(":{port:04X}");
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            Ok(text) => text,
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let listens = |line: &str| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next().is_some_and(|local| local.ends_with(&suffix)) && columns.nth(1) == Some("0A")
        };
        if text.lines().any(listens) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_result(output: &Output) -> Result<IperfResult, IperfError> {
    let json = String::from_utf8_lossy(&output.stdout);
    if let Some(words) = string_after(&json, "\"error\":") {
        return Err(IperfError::Refused(words.to_owned()));
    }
    if !output.status.success() {
        return Err(IperfError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    parse_received(&json).ok_or(IperfError::Unreadable)
}

/// The members of `sum_received`, which holds no inner object.
fn parse_received(json: &str) -> Option<IperfResult> {
    let (_, rest) = json.split_once("\"sum_received\":")?;
    let (object, _) = rest.split_once('}')?;
    let number = |key: &str| {
        let (_, rest) = object.split_once(key)?;
        Some(rest.split([',', '\n']).next()?.trim())
    };
    Some(IperfResult {
        bytes: number("\"bytes\":")?.parse().ok()?,
        seconds: number("\"seconds\":")?.parse().ok()?,
        bits_per_second: number("\"bits_per_second\":")?.parse().ok()?,
    })
}

fn string_after<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(key)?;
    rest.trim_start().strip_prefix('"')?.split('"').next()
}

/// Processor time a process has used so far, user and system together, its threads included; in clock ticks (10 ms)
/// by nature.
///
/// # Errors
/// When there is no such process or `/proc` is not as expected.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_ticks(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a stat line"))?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
    Ok(Duration::from_micros(ticks.saturating_mul(1_000_000) / per_second.max(1)))
}

/// Processor time a thread of this process has used so far, to the nanosecond: the first field of its `schedstat`.
///
/// # Errors
/// When there is no such thread, or the kernel keeps no such statistics.
pub fn thread_time(thread: Pid) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let nanos = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    let nanos = nanos.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a schedstat line"))?;
    Ok(Duration::from_micros(nanos / 1_000))
}

/// Fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold anything, also spaces and parentheses, so
/// counting begins behind its last parenthesis, at field 3.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_received_sum_is_found_among_the_others() {
        let json = "{\"end\": {\"sum_sent\": {\"bytes\": 1,\n\"seconds\": 2,\n\"bits_per_second\": 4\n},\n\"sum_received\":\t{\n\
            \"start\":\t0,\n\"seconds\":\t2.5,\n\"bytes\":\t9000000,\n\"bits_per_second\":\t28800000.5,\n\"sender\":\ttrue\n}}}";
        let expected = IperfResult { bytes: 9_000_000, seconds: 2.5, bits_per_second: 28_800_000.5 };
        assert_eq!(parse_received(json), Some(expected));
        assert_eq!(parse_received("{}"), None);
    }

    #[test]
    fn a_programs_name_does_not_confuse_its_times() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 100";
        assert_eq!(parse_ticks(stat), Some(42));
    }

    #[test]
    fn this_process_has_used_some_time_and_an_absent_one_is_an_error() {
        assert!(processor_time(std::process::id()).is_ok());
        assert!(processor_time(u32::MAX).is_err());
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's own TCP over the same links, in namespaces and real time: what the model is checked against. Needs root
//! and iperf3.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::lab::namespace::{LabError, Namespace};
use mlvpn::lab::realtime::{Emulation, End};
use mlvpn::lab::spec::LinkSpec;
use serde_json::Value;

use super::tcp::congestion::Algorithm;

const USER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));
const INTERFACE: &str = "link0";
const PORT: &str = "5201";

/// Receive buffers as the model has them: Linux's defaults, up to 6 MB.
const RECEIVE_BUFFERS: &str = "4096 131072 6291456";

/// What one flow of the kernel's did.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Payload bits per second over the whole run.
    pub bits_per_second: u64,
    /// When half a second first brought 90 % of the link's payload rate, in milliseconds.
    pub reached_millis: Option<u64>,
    /// Mean of the sender's smoothed round trips, one for each 100 ms, in microseconds.
    pub mean_rtt: u64,
    /// Segments sent again.
    pub copies: u64,
}

/// Why nothing was measured.
#[derive(Debug)]
pub enum KernelError {
    /// Namespaces or links.
    Lab(LabError),
    /// A program or file.
    Io(io::Error),
    /// What iperf3 printed.
    Unreadable(String),
}

impl std::fmt::Display for KernelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lab(error) => write!(f, "{error}"),
            Self::Io(error) => write!(f, "{error}; iperf3 and ip must be installed"),
            Self::Unreadable(text) => write!(f, "iperf3 printed no result: {text}"),
        }
    }
}

impl From<LabError> for KernelError {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

impl From<io::Error> for KernelError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It has usually ended by itself after its one client; then both calls have nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends over a link of `spec` towards the user for `seconds`; `needed` is 90 % of the link's payload rate in bits per
/// second.
///
/// # Errors
/// [`KernelError`].
pub fn measure(
    spec: &LinkSpec,
    algorithm: Algorithm,
    (seconds, needed): (u64, u64),
    seed: u64,
) -> Result<Measured, KernelError> {
    let (user, far) = (Namespace::new()?, Namespace::new()?);
    let mut emulation = Emulation::new();
    let ends = [(&user, USER), (&far, FAR)];
    let addresses = ends.map(|(_, address)| [(address, 24)]);
    let end =
        |index: usize| End { namespace: ends[index].0, interface: INTERFACE, mtu: 1500, addresses: &addresses[index] };
    emulation.join(&end(0), &end(1), spec, seed)?;
    let running = emulation.start()?;
    for namespace in [&user, &far] {
        namespace.run(|| fs::write("/proc/sys/net/ipv4/tcp_rmem", RECEIVE_BUFFERS))??;
    }
    let single = ["link", "set", "dev", INTERFACE, "gso_max_segs", "1"];
    let status = far.command("ip")?.args(single).status()?;
    if !status.success() {
        return Err(KernelError::Unreadable("ip cannot turn segmentation off".to_owned()));
    }
    let mut listen = user.command("iperf3")?;
    listen.args(["--server", "--one-off", "--port", PORT, "--json", "--interval", "0.1"]);
    listen.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(listen.spawn()?);
    let sender = call(&far, algorithm, seconds)?;
    // The server prints when all is over.
    let mut receiver = String::new();
    if let Some(mut printed) = server.0.stdout.take() {
        printed.read_to_string(&mut receiver)?;
    }
    drop(server);
    running.stop()?;
    read(&sender, &receiver, needed).ok_or(KernelError::Unreadable(sender))
}

/// The server may not listen yet: a few attempts.
fn call(far: &Namespace, algorithm: Algorithm, seconds: u64) -> Result<String, KernelError> {
    const ATTEMPTS: u32 = 20;
    let congestion = if algorithm == Algorithm::Bbr { "bbr" } else { "cubic" };
    let mut text = String::new();
    for _ in 0..ATTEMPTS {
        let mut command: Command = far.command("iperf3")?;
        command.args(["--json", "--client", &USER.to_string(), "--port", PORT, "--interval", "0.1"]);
        command.args(["--time", &seconds.to_string(), "--congestion", congestion]).stdin(Stdio::null());
        let output = command.output()?;
        text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        thread::sleep(StdDuration::from_millis(100));
    }
    Err(KernelError::Unreadable(text))
}

/// The sender knows round trips and copies, the receiver what arrived when.
fn read(sender: &str, receiver: &str, needed: u64) -> Option<Measured> {
    const SPAN: usize = 5;
    let [sender, receiver]: [Value; 2] = [serde_json::from_str(sender).ok()?, serde_json::from_str(receiver).ok()?];
    let field = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let rates: Vec<u64> = streams(&receiver)?.iter().map(|stream| field(stream, "bytes") * 80).collect();
    let reached = rates.windows(SPAN).position(|window| window.iter().sum::<u64>() / SPAN as u64 >= needed);
    let rtts: Vec<u64> = streams(&sender)?.iter().map(|stream| field(stream, "rtt")).collect();
    let end = sender.get("end")?;
    let received = end.get("sum_received")?.get("bits_per_second")?.as_f64()?;
    Some(Measured {
        // A rate below 2^53 is whole bits in a double.
        bits_per_second: format!("{received:.0}").parse().ok()?,
        reached_millis: reached.map(|place| place as u64 * 100),
        mean_rtt: rtts.iter().sum::<u64>() / (rtts.len() as u64).max(1),
        copies: field(end.get("sum_sent")?, "retransmits"),
    })
}

/// The one stream of each interval.
fn streams(json: &Value) -> Option<Vec<Value>> {
    let intervals = json.get("intervals")?.as_array()?;
    Some(intervals.iter().filter_map(|interval| interval.get("streams")?.get(0).cloned()).collect())
}

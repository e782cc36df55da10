// SPDX-License-Identifier: BSD-2-Clause
//! Other tunnels, set up as their documents say: here those that bond, in [`single`] those of one link. None is part of
//! this repository; each is run where it is found on `PATH`.

pub mod single;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mlvpn_core::words::time::Duration;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemons::LinkRate;
use crate::configuration::Family;
use crate::daemon::PrivateFolder;
use crate::network::{Network, Side, outside_address, tunnel_address};
use crate::{peer, wait};

/// The port both tunnels use outside.
const PORT: &str = "5080";

/// A tunnel of two processes, ended when dropped.
#[derive(Debug)]
pub struct Rival {
    /// The server's address inside.
    pub address: Ipv4Addr,
    client: Process,
    server: Process,
    folder: PrivateFolder,
}

impl Rival {
    /// The client's process, and the server's.
    #[must_use]
    pub fn pids(&self) -> [Pid; 2] {
        [&self.client, &self.server].map(|process| Pid::from_raw(i32::try_from(process.0.id()).unwrap_or(0)))
    }

    /// The ends of what both processes have said.
    pub(super) fn last_words(&self) -> String {
        const LINES: usize = 5;
        let of = |name: &str| {
            let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("; {name}: {}", lines[lines.len().saturating_sub(LINES)..].join(" | "))
        };
        format!("{}{} ({}, {})", of("client"), of("server"), self.client.0.id(), self.server.0.id())
    }
}

/// A child that is asked to end when dropped, and killed when it does not.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// Starts a command whose words go into the folder's file `name`.
    fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self, String> {
        let log = File::create(folder.join(name)).map_err(|why| why.to_string())?;
        let errors = log.try_clone().map_err(|why| why.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map(Self).map_err(|why| format!("{command:?}: {why}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(0));
        if !has_ended(&mut self.0) && kill(pid, Signal::SIGTERM).is_ok() {
            wait::becomes_within(|| has_ended(&mut self.0), Duration::from_secs(3));
        }
        if !has_ended(&mut self.0) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

/// A command on a side.
fn command(network: &Network, side: Side, program: &Path, arguments: &[&str]) -> Result<Command, String> {
    let mut command = network.at(side).command(program).map_err(|why| why.to_string())?;
    command.args(arguments);
    Ok(command)
}

/// Runs a command to its end; what it said.
fn run(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{command:?}: {why}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}; {} {said}", output.status, errors.trim()))
}

fn has_device(network: &Network, side: Side, name: &str) -> bool {
    let path = format!("/proc/thread-self/net/dev_snmp6/{name}");
    network.at(side).run(|| Path::new(&path).exists()).unwrap_or(false)
}

/// Glorytun (angt): fixed rates, set at the client, of which the server learns.
///
/// # Errors
/// When it is not on `PATH`, or does not start.
pub fn glorytun(network: &Network, rates: &[LinkRate]) -> Result<Rival, String> {
    let program = &peer::on_path("glorytun")?;
    let folder = PrivateFolder::new();
    let mut keygen = Command::new(program);
    keygen.arg("keygen");
    let key = folder.write("key", run(keygen)?, 0o600);
    let key = key.to_string_lossy();
    // Its control sockets lie in one folder whatever the namespace, so that the names must differ between processes.
    let device = |side| format!("gt{}{}", if side == Side::Client { "c" } else { "s" }, std::process::id());
    let bind = |side, more: &[&str]| {
        let name = device(side);
        let mut arguments =
            vec!["bind", "dev", name.as_str(), "keyfile", &key, "from", "addr", "0.0.0.0", "port", PORT];
        arguments.extend_from_slice(more);
        let file = if side == Side::Client { "client" } else { "server" };
        Process::start(command(network, side, program, &arguments)?, folder.path(), file)
    };
    let first = outside_address(Side::Server, 1, Family::V4).to_string();
    let server = bind(Side::Server, &[])?;
    let client = bind(Side::Client, &["to", "addr", &first, "port", PORT])?;
    for side in [Side::Client, Side::Server] {
        let name = device(side);
        if !wait::becomes(|| has_device(network, side, &name)) {
            return Err(format!("glorytun made no device {name}"));
        }
        network.ip(side, &format!("address add {}/24 dev {name}", tunnel_address(side, Family::V4)));
        network.ip(side, &format!("link set {name} up"));
    }
    for (rate, link) in rates.iter().zip(1..) {
        let (up, down) = (rate.up.to_string(), rate.down.to_string());
        let of = |side| outside_address(side, link, Family::V4).to_string();
        let (from, to, name) = (of(Side::Client), of(Side::Server), device(Side::Client));
        let path = ["path", "dev", &name, "addr", &from, "to", "addr", &to, "port", PORT];
        let set = ["set", "up", "rate", "fixed", "tx", &up, "rx", &down];
        run(command(network, Side::Client, program, &[&path[..], &set[..]].concat())?)?;
    }
    let address = Ipv4Addr::new(10, 42, 0, 2);
    Ok(Rival { address, client, server, folder })
}

/// mqvpn (mp0rta): every link is a path to one address of the server.
///
/// # Errors
/// When it is not on `PATH`, or does not start.
pub fn mqvpn(network: &Network, links: usize, scheduler: &str) -> Result<Rival, String> {
    let program = &peer::on_path("mqvpn")?;
    let folder = PrivateFolder::new();
    let mut keygen = Command::new(program);
    keygen.arg("--genkey");
    let key = run(keygen)?;
    let of = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (certificate, private) = (of("certificate"), of("private"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=bondbench", "-keyout", &private, "-out", &certificate]);
    run(openssl)?;
    let meeting = outside_address(Side::Server, 1, Family::V4);
    for link in 2..=links {
        network.ip(Side::Client, &format!("route add {meeting}/32 dev link{link} metric {}", 100 + link));
    }
    let listen = format!("{meeting}:{PORT}");
    let shared = ["--auth-key", &key, "--scheduler", scheduler, "--log-level", "warn", "--tun-name"];
    let ending = ["--subnet", "10.42.0.0/24", "--cert", &certificate, "--key", &private];
    let server = [&["--mode", "server", "--listen", &listen], &shared[..], &["mqs0"], &ending[..]].concat();
    let server = Process::start(command(network, Side::Server, program, &server)?, folder.path(), "server")?;
    let mut client = [&["--mode", "client", "--server", &listen, "--insecure"], &shared[..], &["mqc0"]].concat();
    let names: Vec<String> = (1..=links).map(|link| format!("link{link}")).collect();
    for name in &names {
        client.extend_from_slice(&["--path", name]);
    }
    client.push("--no-manage-routes");
    if !wait::becomes(|| has_device(network, Side::Server, "mqs0")) {
        return Err("mqvpn's server made no device".to_owned());
    }
    let client = Process::start(command(network, Side::Client, program, &client)?, folder.path(), "client")?;
    // The server takes its network's first address.
    let rival = Rival { address: Ipv4Addr::new(10, 42, 0, 1), client, server, folder };
    if !wait::becomes(|| has_device(network, Side::Client, "mqc0")) {
        return Err(format!("mqvpn's client made no device{}", rival.last_words()));
    }
    network.ip(Side::Client, &format!("route replace {}/32 dev mqc0", rival.address));
    Ok(rival)
}

/// The kernel's Multipath TCP: the client opens a subflow from every link's address to the server's first.
pub(super) fn mptcp_endpoints(network: &Network, links: usize) -> Result<(), String> {
    for side in [Side::Client, Side::Server] {
        network.ip(side, "mptcp limits set subflow 8 add_addr_accepted 8");
    }
    for link in 2..=links {
        let (name, address) = (format!("link{link}"), outside_address(Side::Client, link, Family::V4));
        // Of any two default routes of one machine only policy can choose (ip-mptcp(8)).
        let table = 100 + u32::try_from(link).map_err(|why| why.to_string())?;
        network.client.route_default(&name, address, Some(table)).map_err(|why| why.to_string())?;
        network.ip(Side::Client, &format!("mptcp endpoint add {address} dev {name} subflow"));
    }
    Ok(())
}

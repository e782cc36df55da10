// SPDX-License-Identifier: BSD-2-Clause
//! The commands that ask a running daemon: `mlvpn show`, `list`, `link`, `set`, `peer` and `reload`, and `bench`, which asks
//! nobody.

mod bench;
mod connection;
mod figures;
mod table;
mod words;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub use bench::{BenchOptions, run as bench};
pub use connection::Place;
pub use words::{WordError, link_command, link_words, tunnel_change, tunnel_words};

use crate::daemon::{Command, NewPeer};
use crate::diagnostics;
use connection::{Connection, Found};

/// Between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Puts the cursor into the first corner and empties the screen (ECMA-48).
const EMPTY_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Peers asked for at once.
const PEERS_AT_ONCE: u64 = 1_000;

/// A command for a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Which daemon.
    pub place: Place,
    /// What it is to do.
    pub action: Action,
}

/// What a running daemon is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say how it is.
    Show {
        /// For programs.
        json: bool,
        /// Again and again.
        watch: bool,
    },
    /// Say that it is there.
    List,
    /// Tell of its peers, or of one.
    ShowPeers {
        /// Which.
        name: Option<String>,
        /// For programs.
        json: bool,
    },
    /// Admit a peer; its secret is in a file.
    AddPeer {
        /// The peer, without its secret.
        peer: NewPeer,
        /// Where the secret is.
        secret_file: Option<PathBuf>,
    },
    /// Anything else, which is answered with nothing.
    Change(Command),
}

/// Why a command came to nothing; the text says what to do.
#[derive(Debug)]
pub struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<io::Error> for Trouble {
    fn from(why: io::Error) -> Self {
        Self(why.to_string())
    }
}

/// Does it, and says on standard error why not.
#[must_use]
pub fn run(live: Live) -> ExitCode {
    match live.act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            diagnostics::say(format_args!("mlvpn: {why}"));
            ExitCode::FAILURE
        }
    }
}

impl Live {
    fn act(self) -> Result<(), Trouble> {
        let place = &self.place;
        match self.action {
            Action::Show { json, watch: false } => print(&shown(&place.every()?, json)?),
            Action::Show { json, watch: true } => watch(place, json),
            Action::List => {
                let every = place.every()?;
                let lines = every.iter().map(|found| format!("{}\t{}\n", found.name, found.path.display()));
                print(&lines.collect::<String>())
            }
            Action::ShowPeers { name, json } => show_peers(&place.one()?, name.as_deref(), json),
            Action::AddPeer { mut peer, secret_file } => {
                if let Some(path) = secret_file {
                    peer.secret = Some(connection::secret(&path)?);
                }
                let told = place.one()?.connect()?.ask(&Command::AddPeer(peer.clone()))?;
                print(&admitted(&peer, &told))
            }
            Action::Change(command) => place.one()?.connect()?.ask(&command).map(drop),
        }
    }
}

/// What a peer that was admitted is still lacking: it is in no file, and may have networks nobody routes to it.
fn admitted(peer: &NewPeer, told: &Value) -> String {
    let NewPeer { name, public_key, secret, allowed_ips } = peer;
    let mut text =
        format!("{name} is admitted until the daemon ends; to keep it, put this into its configuration:\n\n");
    text.push_str(&format!("[peer {name}]\npublic_key = \"{public_key}\"\n"));
    if secret.is_some() {
        text.push_str("secret = \"what is in the file\"\n");
    }
    if !allowed_ips.is_empty() {
        text.push_str(&format!("allowed_ips = \"{}\"\n", allowed_ips.join(", ")));
    }
    let device = told["device"].as_str().unwrap_or("the device");
    for network in told["unrouted"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!(
            "\n{network} is not routed into the tunnel: name it, or a network around it, in remote_networks of [general], \
             or run: ip route add {network} dev {device}\n"
        ));
    }
    text
}

fn print(text: &str) -> Result<(), Trouble> {
    let mut output = io::stdout();
    Ok(output.write_all(text.as_bytes()).and_then(|()| output.flush())?)
}

/// The tunnels as JSON in a line, or as tables.
fn shown(found: &[Found], json: bool) -> Result<String, Trouble> {
    let mut tunnels = Vec::new();
    for found in found {
        tunnels.push(look(&mut found.connect()?)?);
    }
    if json {
        return Ok(format!("{}\n", json!({ "tunnels": tunnels })));
    }
    Ok(tunnels.iter().map(table::tunnel).collect::<Vec<_>>().join("\n"))
}

/// A tunnel's status, with its peers.
fn look(connection: &mut Connection) -> Result<Value, Trouble> {
    let mut status = connection.ask(&Command::Status {})?;
    let peers = connection.ask(&Command::Peers { first: None, count: Some(PEERS_AT_ONCE) })?;
    if let Some(entries) = status.as_object_mut() {
        entries.insert("peers".to_owned(), peers);
    }
    Ok(status)
}

/// Until the daemon ends, or the user has seen enough.
fn watch(place: &Place, json: bool) -> Result<(), Trouble> {
    let is_screen = io::stdout().is_terminal() && !json;
    loop {
        let text = shown(&place.every()?, json)?;
        print(&if is_screen { format!("{EMPTY_SCREEN}{text}") } else { text })?;
        thread::sleep(LOOK_EVERY);
    }
}

fn show_peers(found: &Found, name: Option<&str>, json: bool) -> Result<(), Trouble> {
    let mut connection = found.connect()?;
    let mut peers = Vec::new();
    loop {
        let first = peers.len() as u64;
        let part = connection.ask(&Command::Peers { first: Some(first), count: Some(PEERS_AT_ONCE) })?;
        let more = part["peers"].as_array().cloned().unwrap_or_default();
        let is_last = more.is_empty();
        peers.extend(more);
        if is_last {
            break;
        }
    }
    if let Some(name) = name {
        peers.retain(|peer| peer["name"] == name);
        if peers.is_empty() {
            return Err(Trouble(format!("there is no peer \"{name}\"; `mlvpn peer show` lists them")));
        }
    }
    if json {
        return print(&format!("{}\n", json!({ "peers": peers })));
    }
    print(&table::peers(&peers))
}

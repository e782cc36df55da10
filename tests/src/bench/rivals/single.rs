// SPDX-License-Identifier: BSD-2-Clause
//! Tunnels in user space that have one link, for what a packet costs beside theirs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use super::{PORT, Process, Rival, command, has_device, run};
use crate::configuration::Family;
use crate::daemon::PrivateFolder;
use crate::network::{Network, Side, outside_address, tunnel_address};
use crate::{peer, wait};

/// The server's address inside all of these.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 2);

/// Implementations of WireGuard that stay in the foreground, and how each is told to.
pub const WIREGUARDS: [(&str, &[&str]); 3] = [
    ("wireguard-go", &["-f"]),
    // Else it looks for the user who called sudo.
    ("boringtun-cli", &["--foreground", "--disable-drop-privileges"]),
    ("gotatun", &["--foreground", "--disable-drop-privileges"]),
];

/// One side's file or device: all sides share one file system, so that names differ.
fn name(kind: &str, side: Side) -> String {
    format!("{kind}{}{}", if side == Side::Client { "c" } else { "s" }, std::process::id())
}

/// WireGuard by the program `program`, set up by `wg` over its socket.
///
/// # Errors
/// When the program or `wg` is not on `PATH`, or does not start.
pub fn wireguard(network: &Network, program: &str, flags: &[&str]) -> Result<Rival, String> {
    let (program, wg) = (&peer::on_path(program)?, &peer::on_path("wg")?);
    let folder = PrivateFolder::new();
    let start = |side, file| {
        let device = name("wg", side);
        let arguments = [flags, &[&device]].concat();
        let process = Process::start(command(network, side, program, &arguments)?, folder.path(), file)?;
        let is_there = || has_device(network, side, &device) && Path::new(&socket(&device)).exists();
        if wait::becomes(is_there) { Ok(process) } else { Err(format!("{} made no {device}", program.display())) }
    };
    let (server, client) = (start(Side::Server, "server")?, start(Side::Client, "client")?);
    let rival = Rival { address: SERVER, client, server, folder };
    let keys = [Side::Client, Side::Server].map(|side| key_pair(wg, rival.folder.path(), side));
    let [client_keys, server_keys] = keys;
    let (client_keys, server_keys) = (client_keys?, server_keys?);
    for (side, own, other) in [(Side::Client, &client_keys, &server_keys), (Side::Server, &server_keys, &client_keys)] {
        let device = name("wg", side);
        let far = if side == Side::Client { Side::Server } else { Side::Client };
        let endpoint = format!("{}:{PORT}", outside_address(far, 1, Family::V4));
        let set = ["set", &device, "listen-port", PORT, "private-key", &own.0, "peer", &other.1, "endpoint", &endpoint];
        run(command(network, side, wg, &[&set[..], &["allowed-ips", "10.42.0.0/24"]].concat())?)?;
        network.ip(side, &format!("address add {}/24 dev {device}", tunnel_address(side, Family::V4)));
        // What wg-quick sets on Ethernet.
        network.ip(side, &format!("link set {device} mtu 1420 up"));
    }
    Ok(rival)
}

/// Where a program of WireGuard's listens for `wg`.
fn socket(device: &str) -> String {
    format!("/var/run/wireguard/{device}.sock")
}

/// The file with a side's private key, and its public key.
fn key_pair(wg: &Path, folder: &Path, side: Side) -> Result<(String, String), String> {
    let mut make = Command::new(wg);
    make.arg("genkey");
    let file = folder.join(name("key", side));
    std::fs::write(&file, run(make)?).map_err(|why| why.to_string())?;
    let mut derive = Command::new("sh");
    derive.args(["-c", "wg pubkey <\"$0\""]).arg(&file);
    Ok((file.to_string_lossy().into_owned(), run(derive)?))
}

/// VpnCloud (dswd), with the cipher that it measures to be quickest.
///
/// # Errors
/// When it is not on `PATH`, or does not start.
pub fn vpncloud(network: &Network) -> Result<Rival, String> {
    let program = &peer::on_path("vpncloud")?;
    let folder = PrivateFolder::new();
    let meeting = format!("{}:{PORT}", outside_address(Side::Server, 1, Family::V4));
    let start = |side, file, more: &[&str]| {
        // It asks the kernel which address it would reach the internet from, and does not start where there is none.
        network.ip(side, "route replace default dev link1");
        let (device, address) = (name("vc", side), tunnel_address(side, Family::V4));
        // Its option --ip sets another address in version 2.3.0.
        let claim = format!("{address}/32");
        let own = ["--type", "tun", "--device", &device, "--listen", PORT, "--password", "of a bench"];
        let claims = ["--no-auto-claim", "--claim", &claim, "--no-port-forwarding"];
        let arguments = [&own[..], &claims, more].concat();
        let process = Process::start(command(network, side, program, &arguments)?, folder.path(), file)?;
        if !wait::becomes(|| has_device(network, side, &device)) {
            return Err(format!("vpncloud made no {device}"));
        }
        network.ip(side, &format!("address replace {address}/24 dev {device}"));
        network.ip(side, &format!("link set {device} up"));
        Ok(process)
    };
    let (server, client) = (start(Side::Server, "server", &[])?, start(Side::Client, "client", &["--peer", &meeting])?);
    Ok(Rival { address: SERVER, client, server, folder })
}

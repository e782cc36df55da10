// SPDX-License-Identifier: BSD-2-Clause
//! Translation of addresses, in a table of nftables of the tunnel's own.
//!
//! The table is written in nft's words and handed to nft, which replaces it as a whole or not at all: the kernel's own
//! interface to nftables has no kept, permissively licensed crate, and a machine that translates has nft.

use crate::config::{Forward, Mode};
use crate::interface::InterfaceName;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// Where nft is looked for: the environment the daemon was started with decides nothing that runs as root.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts the table in place of the one before.
pub(super) fn set(device: &InterfaceName, nat: Option<Mode>, forwards: &[Forward]) -> Result<(), String> {
    if device.as_str().contains(['"', '\\', '*']) {
        return Err(format!("nft takes no device of the name {device}; choose another interface_name"));
    }
    nft(&text(device, nat, forwards))
}

/// Removes the table, if there is one.
pub(super) fn remove(device: &InterfaceName) -> Result<(), String> {
    let table = table(device);
    nft(&format!("add table inet {table}\ndelete table inet {table}\n"))
}

/// Whether an earlier daemon left the table.
pub(super) fn is_there(device: &InterfaceName) -> bool {
    let mut command = Command::new("nft");
    command.args(["list", "table", "inet", &table(device)]).env_clear().env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn nft(text: &str) -> Result<(), String> {
    let started = |why: io::Error| format!("nft does not start: {why}; install nftables");
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).env_clear().env("PATH", PATH);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(started)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).map_err(started)?;
    }
    let output = child.wait_with_output().map_err(started)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft refuses: {}; its kernel modules may be missing", said.lines().next().unwrap_or("no reason")))
}

/// The table's name: the device's, in the letters nft takes for one.
fn table(device: &InterfaceName) -> String {
    let mut name = String::from("mlvpn_");
    for byte in device.as_str().bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "_{byte:02x}");
        }
    }
    name
}

fn text(device: &InterfaceName, nat: Option<Mode>, forwards: &[Forward]) -> String {
    let table = table(device);
    let before: String = forwards.iter().map(|forward| rule(device, forward)).collect();
    let mut behind = String::new();
    if !forwards.is_empty() {
        // The machine behind the tunnel may have another way to the internet than this one: it answers this machine.
        let _ = writeln!(behind, "        oifname \"{device}\" ct status dnat masquerade");
    }
    match nat {
        Some(Mode::Server) => {
            let _ = writeln!(behind, "        iifname \"{device}\" oifname != \"{device}\" masquerade");
        }
        Some(Mode::Client) => {
            let _ = writeln!(behind, "        oifname \"{device}\" masquerade");
        }
        None => {}
    }
    format!(
        "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n    \
         chain prerouting {{\n        type nat hook prerouting priority dstnat; policy accept;\n{before}    }}\n    \
         chain postrouting {{\n        type nat hook postrouting priority srcnat; policy accept;\n{behind}    }}\n}}\n"
    )
}

fn rule(device: &InterfaceName, forward: &Forward) -> String {
    let Forward { transport, first, last, to, to_port } = forward;
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let (version, place) = match to {
        IpAddr::V4(address) => ("ip", address.to_string()),
        IpAddr::V6(address) => ("ip6", format!("[{address}]")),
    };
    let place = to_port.map_or_else(|| place.clone(), |port| format!("{place}:{port}"));
    let own = format!("iifname != \"{device}\" fib daddr type local");
    format!("        {own} {transport} dport {ports} dnat {version} to {place}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;
    use crate::sandbox;

    fn device(name: &str) -> InterfaceName {
        name.parse().expect("a name")
    }

    fn forwards() -> Vec<Forward> {
        let web = Forward {
            transport: Transport::Tcp,
            first: 8080,
            last: 8080,
            to: IpAddr::from([10, 42, 42, 2]),
            to_port: Some(80),
        };
        let to = "fd42::2".parse().expect("an address");
        vec![web, Forward { transport: Transport::Udp, first: 5000, last: 5010, to, to_port: None }]
    }

    #[test]
    fn a_table_is_the_devices_own() {
        assert_eq!(table(&device("mlvpn0")), "mlvpn_mlvpn0");
        assert_ne!(table(&device("a-b")), table(&device("a_b")));
    }

    #[test]
    fn nft_takes_the_table_again_and_again_and_removes_it_as_often() {
        sandbox::in_namespace("a table of nftables", || {
            if Command::new("nft").arg("--version").output().is_err() {
                return eprintln!("skipped: nft is not installed (Debian package nftables)");
            }
            let device = device("mlvpn-0");
            assert!(!is_there(&device));
            for nat in [Some(Mode::Server), Some(Mode::Client), None] {
                set(&device, nat, &forwards()).expect("nft takes it");
                assert!(is_there(&device));
            }
            for _ in 0..2 {
                remove(&device).expect("nft takes it");
                assert!(!is_there(&device));
            }
        });
    }
}

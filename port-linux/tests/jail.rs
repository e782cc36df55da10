// SPDX-License-Identifier: BSD-2-Clause
//! The daemon as process 1, which it is in OpenWrt's jail and in containers. Needs root, /dev/net/tun and `unshare`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const CONFIG: &str = "[general]\nprotocol = 2\nmode = client\n[peer office]\nremotehost = 127.0.0.1\nremoteport = 5080\n\
    secret = q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n[l1]\n";

#[test]
fn the_daemon_starts_as_process_1() {
    let can_unshare = Command::new("unshare").args(["--pid", "--net", "--fork", "true"]).stderr(Stdio::null()).status();
    if !can_unshare.is_ok_and(|status| status.success()) || !Path::new("/dev/net/tun").exists() {
        eprintln!("skipped: it needs root, unshare and /dev/net/tun");
        return;
    }
    let path = std::env::temp_dir().join(format!("mlvpn-jail-{}.conf", std::process::id()));
    fs::write(&path, CONFIG).expect("the file can be written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("the file is ours");
    // What ends the outer process ends the namespace, and with it the daemon.
    let mut daemon = Command::new("unshare")
        .args([
            "--pid",
            "--net",
            "--fork",
            "--kill-child",
            env!("CARGO_BIN_EXE_mlvpn"),
            "--debug",
            "--user",
            "nobody",
            "--config",
        ])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let log = BufReader::new(daemon.stderr.take().expect("it is piped"));
    // It says so when its rights are dropped and it works; a daemon that cannot start ends, and the log with it.
    let mut lines = log.lines().map(|line| line.expect("the log is text"));
    let mut told = Vec::new();
    let is_up = lines.by_ref().inspect(|line| told.push(line.clone())).any(|line| line.contains("l1: socket at"));
    daemon.kill().expect("it runs");
    daemon.wait().expect("it ends");
    fs::remove_file(&path).expect("the file is there");
    assert!(is_up, "{}", told.join("\n"));
}

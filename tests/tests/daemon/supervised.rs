// SPDX-License-Identifier: BSD-2-Clause
//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mlvpn_tests::daemon::PrivateFolder;
use mlvpn_tests::network::Network;
use mlvpn_tests::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::configurations;

/// The next word that is not about the watchdog.
fn heard(systemd: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    loop {
        let len = systemd.recv(&mut bytes).expect("a word within the time limit");
        let word = String::from_utf8_lossy(&bytes[..len]).into_owned();
        if word != "WATCHDOG=1" {
            return word;
        }
    }
}

#[test]
fn systemd_hears_of_start_life_reload_and_end() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", configurations(1).0.text(), 0o600);
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).expect("a new socket");
    systemd.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let mut command = network.client.command(program::mlvpn()).expect("descriptors");
    command.args(["--debug", "--user", "nobody", "--config"]).arg(&path);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    command.stderr(std::fs::File::create(folder.path().join("log")).expect("a new file"));
    let mut monitor = command.spawn().expect("it starts");
    let pid = Pid::from_raw(i32::try_from(monitor.id()).expect("a process number"));
    assert_eq!(heard(&systemd), "READY=1");
    // It goes on without traffic.
    for _ in 0..3 {
        let mut bytes = [0; 64];
        let len = systemd.recv(&mut bytes).expect("a word within the time limit");
        assert_eq!(&bytes[..len], b"WATCHDOG=1");
    }
    kill(pid, Signal::SIGHUP).expect("it runs");
    assert!(heard(&systemd).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(&systemd), "READY=1");
    // A reload that is refused is over, too.
    folder.write("mlvpn.conf", "[general]\n", 0o600);
    kill(pid, Signal::SIGHUP).expect("it runs");
    assert!(heard(&systemd).starts_with("RELOADING=1"));
    assert_eq!(heard(&systemd), "READY=1");
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(heard(&systemd), "STOPPING=1");
    assert!(monitor.wait().expect("it ends").success());
}

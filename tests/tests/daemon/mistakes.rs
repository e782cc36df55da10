// SPDX-License-Identifier: BSD-2-Clause
//! What people see who got something wrong.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, PrivateFolder, run};
use mlvpn_tests::network::{Network, Side};
use mlvpn_tests::program;
use nix::unistd::{Uid, chown, geteuid};

/// The user who owns nothing.
const NOBODY: u32 = 65_534;

fn good() -> Configuration {
    Configuration::new(Side::Client, 2, Family::V4)
}

/// Runs the daemon with this text in a file of this mode.
fn start(text: &str, mode: u32, user: &str) -> Output {
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", text, mode);
    run(&["--debug", "--user", user, "--config", &path.to_string_lossy()])
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(!said.contains("staple"), "the password is in {said:?}");
}

#[test]
fn a_file_others_can_read_is_refused_with_the_remedy() {
    assert_refused(&start(&good().text(), 0o644, "nobody"), &["mode 0644", "chmod 600 "]);
    assert_refused(&start(&good().text(), 0o660, "nobody"), &["mode 0660", "chmod 600 "]);
}

#[test]
fn a_missing_file_is_named() {
    assert_refused(
        &run(&["--debug", "--config", "/nonexistent/mlvpn.conf"]),
        &["/nonexistent/mlvpn.conf", "No such file"],
    );
}

#[test]
fn mistakes_in_the_file_are_told_with_line_and_option() {
    let text = good().with("l2", "remoteport", "no port").without("general", "password").text();
    let line = text.lines().position(|line| line.contains("no port")).expect("the line") + 1;
    assert_refused(
        &start(&text, 0o600, "nobody"),
        &["error: ", &format!("mlvpn.conf:{line}"), "[l2] remoteport", "[general] password"],
    );
}

#[test]
fn root_must_say_whom_to_become() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root is asked");
        return;
    }
    for user in ["root", "no-such-user-here"] {
        assert_refused(&start(&good().text(), 0o600, user), &["--user", "--yes-run-as-root", user]);
    }
}

#[test]
fn check_says_what_is_wrong_without_starting() {
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", good().text(), 0o600);
    let output = run(&["check", &path.to_string_lossy()]);
    assert!(output.status.success(), "{output:?}");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(summary.contains("fine: client, 2 links") && summary.contains("0 errors"), "{summary}");

    let path =
        folder.write("mlvpn.conf", good().with("l1", "remoteport", "70000").with("l1", "colour", "red").text(), 0o600);
    let output = run(&["check", &path.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let findings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(findings.contains("[l1] remoteport") && findings.contains("[l1] colour"), "{findings}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not usable"), "{output:?}");
}

#[test]
fn a_device_that_another_daemon_holds_is_named() {
    let Some(network) = Network::emulated(&["unlimited/1ms"]) else { return };
    let configuration = Configuration::new(Side::Client, 1, Family::V4);
    let first = Daemon::start(&network.client, &configuration);
    first.expect_log(&["created tun interface mlvpn0"]);
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", configuration.text(), 0o600);
    let mut second = network.client.command(program::mlvpn()).expect("descriptors");
    let output = second.args(["--debug", "--user", "nobody", "--config"]).arg(path).output().expect("it starts");
    assert_refused_by_worker(
        &output,
        "device mlvpn0 is held by another program; stop it or choose another interface_name",
    );
}

/// The worker says why, and its monitor ends as it did.
#[track_caller]
fn assert_refused_by_worker(output: &Output, words: &str) {
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(words), "{words:?} is not in {said:?}");
}

#[test]
fn a_machine_without_the_driver_is_told_to_load_it() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can hide /dev/net");
    }
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", good().text(), 0o600);
    let hide = r#"mount -t tmpfs tmpfs /dev/net && exec "$0" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide]).arg(program::mlvpn());
    let output = command.args(["--debug", "--user", "nobody", "--config"]).arg(path).output().expect("unshare");
    if String::from_utf8_lossy(&output.stderr).contains("unshare:") {
        return eprintln!("skipped: no mount namespaces here");
    }
    assert_refused_by_worker(&output, "cannot open /dev/net/tun: No such file or directory");
    assert_refused_by_worker(&output, "modprobe tun");
}

#[test]
fn who_is_not_root_is_told_what_it_takes() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can be somebody else");
    }
    let folder = PrivateFolder::new();
    let path = folder.write("mlvpn.conf", good().text(), 0o600);
    for own in [folder.path(), &path] {
        chown(own, Some(Uid::from_raw(NOBODY)), None).expect("root may");
    }
    // The program may lie where only root can go.
    let copy = folder.path().join("mlvpn");
    std::fs::copy(program::mlvpn(), &copy).expect("room for a program");
    chown(&copy, Some(Uid::from_raw(NOBODY)), None).expect("root may");
    let mut command = Command::new(&copy);
    let output = command.args(["--debug", "--config"]).arg(&path).uid(NOBODY).gid(NOBODY).output().expect("it starts");
    assert_refused_by_worker(&output, "start as root or with CAP_NET_ADMIN");
}

// SPDX-License-Identifier: BSD-2-Clause
//! What people see who got something wrong.

use std::process::Output;

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{PrivateFolder, run};
use mlvpn_tests::network::Side;
use nix::unistd::geteuid;

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

// SPDX-License-Identifier: BSD-2-Clause
//! The program as a shell sees it: what it prints where, and what it exits with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn mlvpn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlvpn")).args(args).output().expect("cargo built the program")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// Writes a file only its owner can reach, for this process alone.
fn scratch(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mlvpn-command-line-{}-{name}", std::process::id()));
    fs::write(&path, content).expect("the temporary directory takes files");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
    path
}

#[test]
fn version_goes_to_standard_output() {
    let output = mlvpn(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("mlvpn version {}.\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_exits_with_2_and_the_usage() {
    let output = mlvpn(&["--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("Usage: mlvpn"), "{}", text(&output.stderr));
}

#[test]
fn check_exits_with_0_when_there_are_only_warnings() {
    let path = scratch("fine", "[general]\nmode = server\npassword = short\n[dsl1]\nbindport = 5080\n");
    let output = mlvpn(&["check", path.to_str().expect("made from text")]);
    fs::remove_file(&path).expect("the file is ours");
    assert_eq!(output.status.code(), Some(0));
    let (path, findings) = (path.display(), text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{path}: fine: server, 1 link, 0 filters; 0 errors, 1 warning\n"));
    assert!(findings.starts_with(&format!("warning: {path}:3: [general] password: ")), "{findings}");
    assert!(!findings.contains("short\n"), "{findings}");
}

#[test]
fn check_exits_with_1_when_there_is_an_error() {
    let path = scratch("bad", "[general]\nmode = server\n");
    let output = mlvpn(&["check", path.to_str().expect("made from text")]);
    fs::remove_file(&path).expect("the file is ours");
    assert_eq!(output.status.code(), Some(1));
    let findings = text(&output.stderr);
    assert!(findings.contains("[general] password: not given; "), "{findings}");
    assert!(text(&output.stdout).ends_with(": not usable; 1 error, 1 warning\n"));
}

// SPDX-License-Identifier: BSD-2-Clause
//! The program as a shell sees it: what it prints where, and what it exits with.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

/// Runs the program with `input` on its standard input.
fn mlvpn_fed(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
    let pipes = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("cargo built the program");
    // Dropped at the end of the statement, which is the end of the input.
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the program reads its input");
    child.wait_with_output().expect("the program ends")
}

#[test]
fn pubkey_prints_what_wg_pubkey_prints() {
    // Alice's keys of RFC 7748, section 6.1.
    let output = mlvpn_fed(&["pubkey"], "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn pubkey_of_something_else_exits_with_1_and_shows_none_of_it() {
    let output = mlvpn_fed(&["pubkey"], "hunter2");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let said = text(&output.stderr);
    assert!(said.starts_with("mlvpn: standard input is no private key"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn keygen_and_gensecret_print_one_key_and_nothing_else() {
    for command in ["keygen", "gensecret"] {
        let output = mlvpn(&[command]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        let key = text(&output.stdout);
        assert!(key.len() == 45 && key.ends_with("=\n"), "{command} printed {} bytes", key.len());
        assert_eq!(mlvpn_fed(&["pubkey"], key).status.code(), Some(0), "{command}");
    }
}

#[test]
fn a_secret_written_to_a_file_that_others_can_reach_is_warned_about() {
    let file = std::env::temp_dir().join(format!("mlvpn-command-line-{}-key", std::process::id()));
    for (command, mode, warned) in
        [("keygen", 0o600, false), ("keygen", 0o604, true), ("gensecret", 0o640, true), ("gensecret", 0o700, false)]
    {
        let open = File::create(&file).expect("the temporary directory takes files");
        open.set_permissions(Permissions::from_mode(mode)).expect("the file is ours");
        let output = Command::new(env!("CARGO_BIN_EXE_mlvpn")).arg(command).stdout(open).output().expect("built");
        let (written, said) = (fs::read_to_string(&file).expect("the file is ours"), text(&output.stderr));
        fs::remove_file(&file).expect("the file is ours");
        assert_eq!((output.status.code(), written.len()), (Some(0), 45), "{command}");
        assert_eq!(said.contains("umask 077"), warned, "{command} {mode:o}: {said}");
    }
}

/// A device that takes no byte: writing fails, for want of room.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("every Linux has it")
}

/// The end of a pipe whose other end nobody holds any more.
fn closed() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer
}

#[test]
fn exit_codes_are_right_where_standard_error_cannot_be_written() {
    let warned = scratch("warned", "[general]\nmode = server\npassword = short\n[dsl1]\nbindport = 5080\n");
    let wrong = scratch("wrong", "[general]\nmode = server\n");
    let (warned_path, wrong_path) = (warned.to_str().expect("made from text"), wrong.to_str().expect("made from text"));
    let cases: [(&[&str], i32); 9] = [
        (&["--nonsense"], 2),
        (&["check", warned_path], 0),
        (&["check", wrong_path], 1),
        (&["check", "/absent/mlvpn.conf"], 1),
        (&["pubkey"], 1),
        (&["--config", wrong_path], 1),
        (&["--config", "/absent/mlvpn.conf"], 1),
        (&["--config", warned_path, "--debug", "-D", "nonsense", "--yes-run-as-root"], 1),
        (&["demo", "--links", "nonsense"], 2),
    ];
    for (args, code) in cases {
        for stderr in [Stdio::from(full()), Stdio::from(closed())] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
            let output = command.args(args).stdin(Stdio::null()).stderr(stderr).output().expect("built");
            assert_eq!(output.status.code(), Some(code), "{args:?}");
        }
    }
    for path in [warned, wrong] {
        fs::remove_file(path).expect("the file is ours");
    }
}

#[test]
fn a_result_that_cannot_be_written_to_standard_output_exits_with_1() {
    let fine = scratch("unread", "[general]\nmode = server\npassword = short\n[dsl1]\nbindport = 5080\n");
    for args in [&["--version"][..], &["keygen"], &["gensecret"], &["check", fine.to_str().expect("made from text")]] {
        for stdout in [Stdio::from(full()), Stdio::from(closed())] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
            let output = command.args(args).stdin(Stdio::null()).stdout(stdout).output().expect("built");
            assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stderr));
            assert!(text(&output.stderr).lines().any(|line| line.starts_with("mlvpn: ")), "{args:?}");
        }
    }
    fs::remove_file(fine).expect("the file is ours");
}

#[test]
fn a_secret_is_made_though_the_warning_about_its_file_cannot_be_written() {
    let file = std::env::temp_dir().join(format!("mlvpn-command-line-{}-unwarned", std::process::id()));
    let open = File::create(&file).expect("the temporary directory takes files");
    open.set_permissions(Permissions::from_mode(0o644)).expect("the file is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
    let status = command.arg("keygen").stdout(open).stderr(full()).status().expect("built");
    let written = fs::read_to_string(&file).expect("the file is ours");
    fs::remove_file(&file).expect("the file is ours");
    assert_eq!((status.code(), written.len()), (Some(0), 45));
}

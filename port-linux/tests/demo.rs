// SPDX-License-Identifier: BSD-2-Clause
//! The demo as a shell sees it: what it prints where, what it exits with, and that nothing of it stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Polls of a tenth of a second after which something will never happen, however busy the machine.
const POLLS: u32 = 600;

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
    command.arg("demo").args(args);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// A directory of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mlvpn-demo-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("the temporary directory takes directories");
        Self(path)
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).expect("ours").next().is_none()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the machine forbids the kernel demo, which then must have said so and failed.
fn is_forbidden(status: Option<i32>, errors: &str) -> bool {
    let forbidden = errors.contains("--kernel: not permitted to") || errors.contains("--kernel: failed to make a TUN");
    if forbidden {
        assert_eq!(status, Some(1), "{errors}");
        eprintln!("skipped: {errors}");
    }
    forbidden
}

fn assert_result(output: &Output, mode: &str) {
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{errors}");
    let result: Value = serde_json::from_str(out).expect("standard output is JSON and nothing else");
    assert_eq!((&result["mode"], &result["intact"]), (&Value::from(mode), &Value::from(true)), "{out}");
    let names: Vec<_> = result["stretches"].as_array().expect("an array").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["alone", "alone", "bonded", "pulled", "back"]);
    for stretch in &result["stretches"].as_array().expect("an array")[..3] {
        assert!(stretch["payload_bps"].as_u64().is_some_and(|rate| rate > 0), "{out}");
    }
    assert_eq!(result["links"][0]["rate_bps"], 20_000_000);
    assert!(result["longest_gap_pull_ms"].as_f64().is_some_and(|gap| gap > 0.0), "{out}");
    assert!(result["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{out}");
}

#[test]
fn a_short_demo_prints_its_result_as_json_and_draws_it() {
    let scratch = Scratch::new("json");
    let svg = scratch.0.join("demo.svg");
    let drawing = svg.to_str().expect("made from text");
    let output = demo(&["--links", "20mbit/5ms,10mbit/20ms", "--seconds", "6", "--json", "--svg", drawing]).output();
    assert_result(&output.expect("cargo built the program"), "emulated");
    assert!(fs::read_to_string(&svg).expect("it was drawn").ends_with("</svg>\n"));
}

#[test]
fn with_kernel_the_same_comes_of_real_devices() {
    let scratch = Scratch::new("kernel");
    let links = ["--links", "20mbit/5ms,10mbit/20ms", "--seconds", "6", "--json", "--kernel"];
    let output = demo(&links).env("TMPDIR", &scratch.0).output().expect("cargo built the program");
    if is_forbidden(output.status.code(), text(&output.stderr)) {
        return;
    }
    assert_result(&output, "kernel");
    assert!(scratch.is_empty(), "something was left in the directory for temporary files");
}

#[test]
fn without_a_terminal_plain_lines_and_a_table_are_printed() {
    let output = demo(&["--seconds", "5"]).output().expect("cargo built the program");
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    for part in
        ["mlvpn demo: 2 emulated links", "both links bonded", "link 1 pulled", "Longest gap", "every byte as sent"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains('\x1b'), "{out}");
}

#[test]
fn links_that_mean_nothing_exit_with_2_and_name_the_part() {
    for (links, part) in
        [("40mbit", "link 1: link description: ''"), ("1mbit/1ms,fast/1ms", "link 2: link description: 'fast'")]
    {
        let output = demo(&["--links", links]).output().expect("cargo built the program");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn too_short_a_demo_is_a_usage_error() {
    let output = demo(&["--seconds", "1"]).output().expect("cargo built the program");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert!(text(&output.stderr).contains("1 is not in 5..=3600"), "{}", text(&output.stderr));
}

#[test]
fn a_drawing_that_cannot_be_written_is_a_failure_before_anything_is_shown() {
    let output = demo(&["--links", "5mbit/5ms", "--seconds", "3600", "--svg", "/nonexistent/demo.svg"]).output();
    let output = output.expect("cargo built the program");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("/nonexistent/demo.svg"), "{}", text(&output.stderr));
}

#[test]
fn interrupted_it_ends_at_once_and_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let scratch = Scratch::new(signal.as_str());
        let drawing = scratch.0.join("demo.svg");
        let drawing = drawing.to_str().expect("made from text");
        let mut child = spawn(&["--seconds", "3600", "--svg", drawing], &std::env::temp_dir());
        // What it prints first comes after it began to catch signals.
        let mut first = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("it says something");
        send(&child, signal);
        assert_eq!(wait(&mut child).code(), Some(code));
        assert!(scratch.is_empty(), "an empty drawing was left");
    }
}

#[test]
fn interrupted_with_kernel_it_leaves_no_process_and_no_file() {
    let scratch = Scratch::new("interrupted");
    let mut child = spawn(&["--kernel", "--seconds", "3600"], &scratch.0);
    let mut family = Vec::new();
    for _ in 0..POLLS {
        // Two daemons, each a monitor and a worker.
        family = descendants(child.id());
        if family.len() >= 4 || child.try_wait().expect("ours").is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    if family.len() < 4 {
        let output = child.wait_with_output().expect("ours");
        let errors = text(&output.stderr);
        assert!(is_forbidden(output.status.code(), errors), "no daemons were seen: {errors}");
        return;
    }
    send(&child, Signal::SIGINT);
    assert_eq!(wait(&mut child).code(), Some(130));
    assert!(scratch.is_empty(), "something was left in the directory for temporary files");
    let is_gone = (0..POLLS).any(|_| {
        thread::sleep(Duration::from_millis(100));
        family.iter().all(|&(pid, started)| start_time(pid) != Some(started))
    });
    assert!(is_gone, "of {family:?} some are left");
}

fn spawn(args: &[&str], temporary: &Path) -> Child {
    let mut command = demo(args);
    command.env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("cargo built the program")
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("it runs and is ours");
}

fn wait(child: &mut Child) -> ExitStatus {
    for _ in 0..POLLS {
        if let Some(status) = child.try_wait().expect("ours") {
            return status;
        }
        thread::sleep(Duration::from_millis(100));
    }
    child.kill().expect("ours");
    panic!("it did not end")
}

/// Children and their children, each with its time of start, which tells a process from a later one of its number.
fn descendants(pid: u32) -> Vec<(u32, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children.collect::<String>().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let with_time = |pid: u32| start_time(pid).map(|time| (pid, time));
    children.iter().flat_map(|&pid| with_time(pid).into_iter().chain(descendants(pid))).collect()
}

/// Field 22 of `/proc/PID/stat`, counted behind the name, which may hold anything.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let is_zombie = fields.trim_start().starts_with('Z');
    fields.split_whitespace().nth(19)?.parse().ok().filter(|_| !is_zombie)
}

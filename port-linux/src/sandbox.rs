// SPDX-License-Identifier: BSD-2-Clause
//! Tests that need a kernel of their own: a thread in a fresh network namespace, so that parallel tests never meet.

use crate::interface;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Runs `test` in a new thread inside a new network namespace whose loopback is up. Says why when it cannot (no root,
/// no `/dev/net/tun`); `need` names what the test would have used.
pub(crate) fn in_namespace(need: &str, test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {need} in a network namespace needs root");
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        eprintln!("skipped: {need} needs /dev/net/tun");
        return;
    }
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
                eprintln!("skipped: {need} needs a network namespace: {why}");
                return;
            }
            interface::set_up(&"lo".parse().expect("a name")).expect("loopback up");
            test();
        });
        thread.join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a shell command (of iproute2) in the calling thread's namespace and expects it to succeed.
pub(crate) fn run(command: &str) {
    let status = Command::new("sh").arg("-c").arg(command).status().expect("sh starts");
    assert!(status.success(), "{command}: {status}");
}

// SPDX-License-Identifier: BSD-2-Clause
//! Tests that need a kernel of their own: a thread in a fresh network namespace, so that parallel tests never meet.

use crate::interface;
use nix::sched::{CloneFlags, unshare};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// A status command in a directory of its own, removed with the value. `OUT` in its text is a file there.
pub(crate) struct ScriptFile {
    pub(crate) path: PathBuf,
    directory: PathBuf,
}

impl ScriptFile {
    /// Writes the file by way of a shell: had this process written it, another test's fork could hold it open for
    /// writing at the moment it is to be executed, which the kernel refuses.
    pub(crate) fn new(text: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("mlvpn-script-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (path, out) = (directory.join("status.sh"), directory.join("out"));
        let text = text.replace("OUT", &out.display().to_string());
        let write = "printf '%s\\n' \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let status = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status().expect("sh starts");
        assert!(status.success(), "{status}");
        Self { path, directory }
    }

    /// What the script wrote to `OUT`.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.directory.join("out")).unwrap_or_default()
    }

    pub(crate) fn set_mode(&self, mode: u32) {
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }
}

impl Drop for ScriptFile {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{} stays: {why}", self.directory.display());
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A bus in a folder of its own: the stand-in, or the real ubusd that `UBUSD` names.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use super::stand_in::StandIn;
use crate::{program, wait};

/// The environment's variable that names a real ubusd.
const UBUSD: &str = "UBUSD";

/// A bus that can be stopped and started again. Its folder is gone when it is dropped.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    denied: Vec<&'static str>,
    running: Option<Running>,
}

#[derive(Debug)]
enum Running {
    StandIn { _broker: StandIn },
    Real(Child),
}

impl Broker {
    /// Starts one that lets the daemon under test do what it has to.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_denying(&[])
    }

    /// The same, but objects of these paths may not be published by other users than root.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_denying(denied: &[&'static str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mlvpn-ubus-{}-{count}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&folder).expect("a new folder");
        let mut broker = Self { folder, denied: denied.to_vec(), running: None };
        broker.resume();
        broker
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("ubus.sock")
    }

    /// Ends it: every connection is closed.
    ///
    /// # Panics
    /// When a real one cannot be ended.
    pub fn stop(&mut self) {
        if let Some(Running::Real(mut child)) = self.running.take() {
            child.kill().expect("it runs");
            child.wait().expect("our own child");
        }
        drop(fs::remove_file(self.socket()));
    }

    /// Starts it again.
    ///
    /// # Panics
    /// When it does not start.
    pub fn resume(&mut self) {
        let socket = self.socket();
        let running = match std::env::var_os(UBUSD) {
            Some(program) => Running::Real(self.start_real(Path::new(&program))),
            None => Running::StandIn { _broker: StandIn::start(&socket, &self.denied) },
        };
        self.running = Some(running);
        assert!(wait::becomes(|| socket.exists()), "it does not listen");
        // The daemon under test is not root.
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("our own socket");
    }

    fn start_real(&self, program: &Path) -> Child {
        let user = program::UNPRIVILEGED_USER;
        let publish = if self.denied.is_empty() { r#""mlvpn""# } else { "" };
        let acl = format!(
            r#"{{"user": "{user}", "publish": [{publish}], "subscribe": ["network.interface"], "send": ["mlvpn.*"],
            "listen": ["ubus.object.add"], "access": {{"network.interface": {{"methods": ["dump"]}}}}}}"#
        );
        let rules = self.folder.join("acl.d");
        fs::create_dir_all(&rules).expect("a folder of our own");
        fs::write(rules.join("mlvpn.json"), acl).expect("room for a small file");
        let mut command = Command::new(program);
        command.arg("-s").arg(self.socket()).arg("-A").arg(&rules);
        command.spawn().unwrap_or_else(|why| panic!("{UBUSD}={}: {why}", program.display()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_dir_all(&self.folder));
    }
}

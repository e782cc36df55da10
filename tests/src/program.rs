// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpn` program, built like the test that asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The user whom daemons become in tests: present on every Debian and OpenWrt, owner of nothing.
pub const UNPRIVILEGED_USER: &str = "nobody";

/// The path of `mlvpn`, from this tree and of the caller's build profile. Cargo hands a program's path only to tests of
/// its own package, and builds it only for those, so it is built here when it is missing or old.
///
/// # Panics
/// When it does not build; cargo's words are on standard error.
pub fn mlvpn() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    let this = std::env::current_exe().expect("a program knows its path");
    let folder = this.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder };
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "mlvpn", "--bin", "mlvpn", "--profile", profile]);
    cargo
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    let status = cargo.status().expect("cargo, which built this, starts");
    assert!(status.success(), "{cargo:?}: {status}");
    folder.join("mlvpn")
}

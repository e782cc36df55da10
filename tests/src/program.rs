// SPDX-License-Identifier: BSD-2-Clause
//! The programs `mlvpn` and `mlvpnd`, built like the test that asks for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The user whom daemons become in tests: present on every Debian and OpenWrt, owner of nothing.
pub const UNPRIVILEGED_USER: &str = "nobody";

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The path of `mlvpn`, from this tree and of the caller's build profile. Cargo hands a program's path only to tests of
/// its own package, and builds it only for those, so it is built here when it is missing or old.
///
/// # Panics
/// When it does not build; cargo's words are on standard error.
pub fn mlvpn() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("mlvpn"))
}

/// The same for `mlvpnd`, OpenWrt's.
///
/// # Panics
/// As [`mlvpn()`].
pub fn mlvpnd() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("mlvpnd"))
}

fn build(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a program knows its path");
    let folder = this.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("deps lies in a folder") } else { folder };
    let program = folder.join(name);
    if !is_fresh(&program) {
        compile(folder, name);
    }
    program
}

/// Whether the program is newer than every file it was made of. Asked before cargo is, which may know another set of
/// features than the command that built the tests did, and would compile everything for it.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|facts| facts.modified());
    let (Ok(built), Ok(list)) = (changed(program), fs::read_to_string(program.with_extension("d"))) else {
        return false;
    };
    // `program: source source ...`, as make has it, a space inside a name written as "\ ".
    let Some((_, sources)) = list.trim_end().split_once(": ") else { return false };
    let sources = sources.replace("\\ ", "\0");
    let sources = sources.split(' ').map(|source| PathBuf::from(source.replace('\0', " ")));
    let lock = Path::new(ROOT).join("Cargo.lock");
    sources.chain([lock]).all(|source| changed(&source).is_ok_and(|changed| changed <= built))
}

fn compile(folder: &Path, name: &str) {
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", name, "--bin", name, "--profile", profile]);
    cargo.arg("--target-dir").arg(target).current_dir(ROOT);
    let status = cargo.status().expect("cargo, which built this, starts");
    assert!(status.success(), "{cargo:?}: {status}");
}

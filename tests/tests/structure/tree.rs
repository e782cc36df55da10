// SPDX-License-Identifier: BSD-2-Clause
//! The rules, held against the files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;
use crate::{crates, layers};

/// What may stand at the top beside dotfiles and the build's own folder.
const TOP_LEVEL: [&str; 13] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "core",
    "cross",
    "openwrt-package",
    "port-linux",
    "port-openwrt",
    "tests",
    "uci",
];
/// Folders that hold no source of ours: git's own, builds, and what a fuzzer or a peer recorded.
const NOT_SOURCE: [&str; 5] = [".git", "target", "out", "vectors", "corpus"];
/// The one file that reads a clock.
const CLOCK: &str = "port-linux/src/clock.rs";
/// The one file beside each port's `sys.rs` that needs the keyword: a program without an operating system names its entry.
const BARE: &str = "cross/bare/src/main.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below `folder` as (path relative to the repository, text); binary files are left out.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if NOT_SOURCE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(root()).expect("the file is below the root");
                found.push((relative.to_string_lossy().trim_start_matches("./").to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<(String, String)> {
    let sources: Vec<_> = files(folder).into_iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    assert!(!sources.is_empty(), "no source found below {folder:?}");
    sources
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} rules broken:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn the_core_keeps_its_layers() {
    let sources = rust_files("core/src");
    let found: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| layers::violations(path.trim_start_matches("core/src/"), text))
        .collect();
    assert_none(&found);
}

#[test]
fn dependencies_between_crates_point_one_way() {
    let present = crates::CRATES.iter().filter(|(folder, _)| root().join(folder).join("Cargo.toml").exists());
    let found: Vec<String> = present
        .flat_map(|(folder, _)| {
            let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("the manifest is text");
            crates::violations(folder, &manifest)
        })
        .collect();
    assert_none(&found);
}

#[test]
fn the_top_level_holds_what_the_architecture_names() {
    let entries = fs::read_dir(root()).expect("the root can be listed");
    let names = entries.map(|entry| entry.expect("the entry can be read").file_name().to_string_lossy().into_owned());
    let strangers: Vec<String> = names
        .filter(|name| !name.starts_with('.') && name != "target")
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert_none(&strangers);
}

#[test]
fn every_source_file_and_script_names_its_licence() {
    let spdx = concat!("SPDX-License", "-Identifier: BSD-2-Clause");
    let missing: Vec<String> = files("")
        .into_iter()
        .filter(|(path, text)| path.ends_with(".rs") || path.ends_with(".sh") || text.starts_with("#!/"))
        .filter(|(_, text)| !text.lines().take(3).any(|line| line.contains(spdx)))
        .map(|(path, _)| format!("{path}: no licence line on top"))
        .collect();
    assert_none(&missing);
}

#[test]
fn no_file_speaks_of_one_developers_machine() {
    let places = [concat!("/", "work/"), concat!("/tmp", "/wt"), concat!("/tmp", "/peer"), concat!("/tmp", "/target")];
    let starts_there = |text: &str, place: &str| {
        text.match_indices(place)
            .any(|(at, _)| !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '.'))
    };
    let found: Vec<String> = files("")
        .iter()
        .flat_map(|(path, text)| {
            let named = places.iter().filter(|place| starts_there(text, place));
            named.map(move |place| format!("{path}: names {place}"))
        })
        .collect();
    assert_none(&found);
}

#[test]
fn clocks_and_unsafe_code_stay_in_their_files() {
    let mut found = Vec::new();
    for (path, text) in rust_files("") {
        let source = Source::read(&text);
        let clock = source.paths.iter().filter(|named| {
            let reads = |clock: &str| named.segments.windows(2).any(|pair| pair == [clock, "now"]);
            path != CLOCK && (reads("Instant") || reads("SystemTime"))
        });
        found.extend(clock.map(|named| format!("{path}:{}: reads a clock; only {CLOCK} may", named.line)));
        let may_be_unsafe = path.ends_with("/sys.rs") || path == BARE;
        let keyword = source.words.iter().filter(|(_, word)| !may_be_unsafe && word == "unsafe");
        found.extend(keyword.map(|(line, _)| format!("{path}:{line}: unsafe code; only a sys.rs may hold it")));
    }
    assert_none(&found);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Dependencies between the crates point one way.

/// Folder and package of each crate, each depending only on those before it. `tests` is last: nothing depends on it.
pub(crate) const CRATES: [(&str, &str); 5] = [
    ("core", "mlvpn-core"),
    ("uci", "mlvpn-uci"),
    ("port-linux", "mlvpn"),
    ("port-openwrt", "mlvpnd"),
    ("tests", "mlvpn-tests"),
];

/// The packages of ours that `manifest`, the `Cargo.toml` of the crate in `folder`, must not depend on but does.
pub(crate) fn violations(folder: &str, manifest: &str) -> Vec<String> {
    let own = CRATES.iter().position(|(known, _)| *known == folder).expect("the folder holds a known crate");
    let later = &CRATES[own + 1..];
    let names = dependencies(manifest);
    let wrong = later.iter().filter(|(folder, package)| {
        names.iter().any(|name| name == package || name.trim_end_matches('/').rsplit('/').next() == Some(folder))
    });
    wrong.map(|(_, package)| format!("{folder} depends on {package}, which comes after it")).collect()
}

/// Keys of the dependency tables, and the packages and paths they stand for.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.split('.').any(|part| part.ends_with("dependencies"));
            names.extend(inside.then(|| table.rsplit('.').next().unwrap_or_default().to_string()));
            continue;
        }
        if !inside {
            continue;
        }
        names.extend(line.split(['.', '=', ' ']).next().map(|key| key.trim_matches('"').to_string()));
        // Every quoted value: a `package` or a `path` among them renames nothing away.
        names.extend(line.split('"').skip(1).step_by(2).map(String::from));
    }
    names
}

#[test]
fn a_dependency_against_the_direction_is_reported() {
    assert_eq!(violations("core", "[dependencies]\nmlvpn-uci.workspace = true").len(), 1);
    assert_eq!(violations("uci", "[dependencies.mlvpn]\nworkspace = true").len(), 1);
    assert_eq!(violations("uci", "[build-dependencies]\nport = { package = \"mlvpn\", version = \"1\" }").len(), 1);
    assert_eq!(violations("port-linux", "[target.'cfg(unix)'.dev-dependencies]\nx = { path = \"../tests\" }").len(), 1);
    assert_eq!(violations("port-openwrt", "[dependencies]\nmlvpn-tests = \"1\"").len(), 1);
}

#[test]
fn a_dependency_along_the_direction_is_fine() {
    let manifest =
        "[package]\nname = \"mlvpn\"\n[dependencies]\nmlvpn-core.workspace = true\nmlvpn-uci = \"1\"\n[lints]";
    assert_eq!(violations("port-linux", manifest), Vec::<String>::new());
    assert_eq!(violations("tests", "[dev-dependencies]\nmlvpnd.workspace = true"), Vec::<String>::new());
}

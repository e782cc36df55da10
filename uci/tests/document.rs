// SPDX-License-Identifier: BSD-2-Clause
//! The documents made from the list of options are those that are committed. `MLVPN_BLESS=1` writes them anew.

use std::path::Path;

use mlvpn_uci::document;
use mlvpn_uci::options::OPTIONS;

/// Where the settings page of OpenWrt loads the options from.
const PAGE: &str = "../openwrt-package/luci-app-mlvpn/htdocs/luci-static/resources/mlvpn/options.json";
const TABLE: &str = "OPTIONS.md";

fn check(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MLVPN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, made).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "{} is old; run: MLVPN_BLESS=1 cargo test -p mlvpn-uci --test document", path.display());
}

#[test]
fn the_table_is_that_of_the_list() {
    let mut made = String::new();
    document::markdown(&mut made).expect("a string takes all");
    check(TABLE, &made);
}

#[test]
fn the_settings_pages_options_are_those_of_the_list() {
    let mut made = String::new();
    document::json(&mut made).expect("a string takes all");
    let parsed: serde_json::Value = serde_json::from_str(&made).expect("it is JSON");
    for (spec, uci) in OPTIONS.iter().filter_map(|spec| spec.in_uci.as_ref().map(|uci| (spec, uci))) {
        let option = &parsed[spec.section.uci_type()][uci.name];
        assert_eq!(option["help"], spec.help, "{}", uci.name);
        assert_eq!(option["secret"] == true, uci.kind.is_secret(), "{}", uci.name);
    }
    check(PAGE, &made);
}

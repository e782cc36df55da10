// SPDX-License-Identifier: BSD-2-Clause
//! One table of values that options take and refuse, which the settings page's checks are held against, too
//! (tests/luci/test_config.py).

use mlvpn_uci::options::{self, SectionKind};
use mlvpn_uci::value;

#[test]
fn the_reader_takes_and_refuses_what_the_settings_page_does() {
    let table: serde_json::Value = serde_json::from_str(include_str!("values.json")).expect("the table is JSON");
    let mut count = 0;
    for (name, cases) in table.as_object().expect("the table is an object") {
        let (section, option) = name.split_once('.').expect("SECTION.OPTION");
        let section = SectionKind::UCI.into_iter().find(|kind| kind.uci_type() == section).expect("a kind of section");
        let (_, uci) = options::find_uci(section, option).unwrap_or_else(|| panic!("there is no option {name}"));
        for (list, is_fine) in [("accept", true), ("refuse", false)] {
            for text in cases[list].as_array().expect("a list") {
                let text = text.as_str().expect("a text");
                assert_eq!(value::read(uci.kind, text).is_some(), is_fine, "{name} {text:?}");
                count += 1;
            }
        }
    }
    assert!(count > 200, "only {count} cases");
}

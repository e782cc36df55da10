// SPDX-License-Identifier: BSD-2-Clause
//! UCI's text, and the tunnels it becomes.

use std::fmt::Write;

use mlvpn::config::uci::{self, Sources};
use mlvpn::config::{MAX_REPORTS, Severity};
use mlvpn_uci::package::{Entry, Package, Section, room_for};
use mlvpn_uci::reader::Error;

/// A file of UCI that is read is written back as one that reads the same; what becomes of it is refused with an error or
/// accepted without one, and every report names a line there is.
///
/// Input: /etc/config/mlvpn; behind a byte 0x1e /etc/config/network.
pub fn uci(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, network) = text.split_once('\u{1e}').unwrap_or((&text, ""));
    let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
    match exported(text) {
        Ok(written) => assert_eq!(exported(&written).as_ref(), Ok(&written)),
        Err(error) => assert!((1..=error.line).contains(&error.begun) && error.line <= lines, "{error:?}"),
    }
    let sources = Sources { network, openmptcprouter: "", secret: &|_| Err("there is none".to_owned()) };
    let loaded = uci::parse("fuzz", text, &sources);
    let (Ok((_, reports)) | Err(reports)) = &loaded;
    let own = reports.iter().filter(|report| &*report.file == "fuzz");
    let sound = own.clone().all(|report| report.line.is_none_or(|line| (1..=lines).contains(&line)));
    assert!(sound, "{reports:?}");
    assert!(reports.len() <= 2 * MAX_REPORTS + 1, "{} reports", reports.len());
    assert_eq!(loaded.is_err(), reports.iter().any(|report| report.severity == Severity::Error), "{reports:?}");
    for tunnel in loaded.iter().flat_map(|(tunnels, _)| tunnels) {
        let names = |link: &str| tunnel.config.link(link).is_some();
        assert_eq!(tunnel.links.len(), tunnel.config.links.len());
        assert!(tunnel.links.iter().all(|link| names(&link.name)), "what is said of a link that does not exist");
        assert!(tunnel.config.classes.iter().all(|class| class.rule.link.as_deref().is_none_or(names)));
    }
}

/// What is read of a text, written anew with every word in single quotes.
fn exported(text: &str) -> Result<String, Error> {
    let (sections, entries) = room_for(text);
    let mut room = (vec![Section::default(); sections], vec![Entry::default(); entries]);
    let package = Package::read(text, &mut room.0, &mut room.1)?;
    let mut written = String::new();
    for (index, section) in package.sections().iter().enumerate() {
        let [kind, name] = [section.kind, section.name].map(|word| quoted(&word.to_string()));
        writeln!(written, "config {kind} {name}").expect("a string takes all");
        for entry in package.entries_of(index) {
            let keyword = if entry.in_list { "list" } else { "option" };
            let value = quoted(&entry.value.to_string());
            writeln!(written, "\t{keyword} {} {value}", entry.name).expect("a string takes all");
        }
    }
    Ok(written)
}

/// A word as the shell quotes it, which UCI reads alike.
#[must_use]
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

// SPDX-License-Identifier: BSD-2-Clause
//! Which protocol a file is for, and what it says that the other protocol would use.

use std::sync::Arc;

use super::ini::{Document, Entry, Section};
use super::options::{self, SectionKind};
use super::peers;
use super::read::GENERAL;
use super::report::{Report, Reports, Severity};
use super::types::Protocol;
use super::values::SectionReader;

/// Options of `[general]` that only the classic protocol uses, and what protocol 2 has instead.
const CLASSIC_ONLY: [(&str, &str); 2] = [
    (
        "password",
        "remove the line; peers are known by their public_key or secret, and a server knows one peer of the \
                  classic protocol by a password in its [peer NAME]",
    ),
    ("cleartext_data", "remove the line; all data is sealed"),
];
const PRIVATE_KEY: &str = "private_key";

/// The protocol that was chosen; without a word about it, the classic one, so that a file of MLVPN 2.3.5 keeps its
/// meaning. What the other protocol would use is reported.
pub(crate) fn chosen(file: &Arc<str>, document: &Document, reports: &mut Reports) -> Protocol {
    let Some(general) = document.section(GENERAL) else { return Protocol::Classic };
    let mut read = SectionReader { file, section: general, kind: SectionKind::General, reports };
    let given = read.find("protocol").is_some();
    let protocol = read.protocol();
    match protocol {
        Some(Protocol::Two) => {
            for (name, advice) in CLASSIC_ONLY {
                if let Some((_, entry)) = read.find(name) {
                    read.warn(entry, "not used with protocol 2", advice);
                }
            }
            Protocol::Two
        }
        Some(Protocol::Classic) if given => {
            report_unused(file, document, reports);
            Protocol::Classic
        }
        _ if first_of_two(document).is_none() => Protocol::Classic,
        // What follows is read as what it looks like, so that the reports are about what was meant.
        None if given => Protocol::Two,
        _ => {
            let advice = "add protocol = 2 for keys and peers, or protocol = classic for a password";
            read.missing("protocol", advice);
            Protocol::Two
        }
    }
}

/// Where the file says something that only protocol 2 uses.
enum Trace<'a> {
    Key(&'a Section, &'a Entry),
    Peer(&'a Section),
}

fn traces_of_two(document: &Document) -> impl Iterator<Item = Trace<'_>> {
    let general = document.sections.iter().filter(|section| section.name == GENERAL);
    let keys = general.filter_map(|section| {
        section.entries.iter().find(|entry| entry.key == PRIVATE_KEY).map(|entry| Trace::Key(section, entry))
    });
    keys.chain(document.sections.iter().filter(|section| is_peer(section, Protocol::Classic)).map(Trace::Peer))
}

fn first_of_two(document: &Document) -> Option<Trace<'_>> {
    traces_of_two(document).next()
}

fn report_unused(file: &Arc<str>, document: &Document, reports: &mut Reports) {
    for trace in traces_of_two(document) {
        match trace {
            Trace::Key(section, entry) => {
                let mut read = SectionReader { file, section, kind: SectionKind::General, reports };
                let (message, advice) = ("not used with protocol classic", "set protocol = 2, or remove the line");
                read.say(Severity::Warning, entry, message.to_owned(), advice.to_owned());
            }
            Trace::Peer(section) => {
                let advice = "set protocol = 2, or remove the section";
                let report = Report::warning(file, "the peer is ignored with protocol classic", advice);
                reports.push(report.at(section.line).in_section(&section.name));
            }
        }
    }
}

/// Whether a section is a peer. With the classic protocol every name can be a link's, so there only one is that says what
/// no link can.
pub(crate) fn is_peer(section: &Section, protocol: Protocol) -> bool {
    let has = |kind, entry: &Entry| options::find(kind, &entry.key).is_some();
    // A password is more likely one of [general] that stands in the wrong place.
    let only_peers_have = |entry: &Entry| {
        has(SectionKind::Peer, entry) && !has(SectionKind::Link, entry) && !has(SectionKind::General, entry)
    };
    peers::name(section).is_some() && (protocol == Protocol::Two || section.entries.iter().any(only_peers_have))
}

// SPDX-License-Identifier: BSD-2-Clause
//! Classes of packets: `[class NAME]` sections from text to types.

use std::sync::Arc;

use mlvpn_core::words::rules::MAX_RULES;
use mlvpn_uci::policy::ClassRule;
use mlvpn_uci::value::Value;

use super::ini::{Document, Section};
use super::options::SectionKind;
use super::report::{Report, Reports, quotable};
use super::types::{Class, Link, Mode};
use super::values::SectionReader;

/// The word that opens a class's section.
const CLASS: &str = "class";

/// The links a class may name, and whose they are.
type Links<'a> = (&'a [Link], Option<Mode>);

/// The name of the class a section is, empty where it is missing; None when the section is none.
pub(crate) fn name(section: &Section) -> Option<&str> {
    let rest = section.name.strip_prefix(CLASS)?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim_matches([' ', '\t']))
}

/// Reads all classes. As everywhere, when an error was reported the result must not be used.
pub(crate) fn read(file: &Arc<str>, document: &Document, links: Links<'_>, reports: &mut Reports) -> Vec<Class> {
    let mut classes = Vec::new();
    for section in document.sections.iter().filter(|section| name(section).is_some()) {
        let place = |report: Report| report.at(section.line).in_section(&section.name);
        if classes.len() == MAX_RULES {
            reports.push(place(Report::error(file, format!("more than {MAX_RULES} classes"), "join some")));
            break;
        }
        let rule = rule(file, section, reports);
        for (option, report) in faults(file, &rule, links) {
            let line = section.entries.iter().find(|entry| Some(entry.key.as_str()) == option).map(|entry| entry.line);
            let report = place(report).at(line.unwrap_or(section.line));
            reports.push(match option {
                Some(option) => report.about(option),
                None => report,
            });
        }
        classes.push(Class { name: name(section).unwrap_or_default().to_owned(), rule });
    }
    classes
}

fn rule(file: &Arc<str>, section: &Section, reports: &mut Reports) -> ClassRule {
    let mut read = SectionReader { file, section, kind: SectionKind::Class, reports };
    read.report_unread();
    let mut rule = ClassRule::default();
    let byte = |value: Value<'_>| match value {
        Value::Number(number) => u8::try_from(number).ok(),
        _ => None,
    };
    read.list("proto", |value| byte(value).is_none_or(|protocol| rule.protocols.push(protocol).is_ok()));
    read.list("dscp", |value| byte(value).is_none_or(|dscp| rule.dscps.push(dscp).is_ok()));
    read.list("port", |value| match value {
        Value::Ports { first, last } => rule.ports.push((first, last)).is_ok(),
        _ => true,
    });
    rule.link = read.word("link").and_then(|(name, _)| heapless_name(name.trim_matches('\t')));
    rule.duplicate = read.flag("duplicate");
    rule.interactive = read.flag("interactive");
    rule
}

/// A longer name is no link's; what is left of it is none either.
fn heapless_name(name: &str) -> Option<heapless::String<{ mlvpn_uci::policy::MAX_LINK_NAME_BYTES }>> {
    let mut kept = heapless::String::new();
    name.chars().for_each(|char| drop(kept.push(char)));
    Some(kept)
}

/// What is wrong with a rule, whatever file it is from, and with which of its options.
pub(crate) fn faults(
    file: &Arc<str>,
    rule: &ClassRule,
    (links, mode): Links<'_>,
) -> Vec<(Option<&'static str>, Report)> {
    let mut faults = Vec::new();
    if rule.does_nothing() {
        let advice = "add link, duplicate or interactive";
        faults.push((None, Report::warning(file, "says nothing of what to do with its packets", advice)));
    }
    if rule.matches_all() {
        let advice = "add proto, port or dscp";
        faults.push((None, Report::warning(file, "every packet belongs to it", advice)));
    }
    let Some(link) = rule.link.as_deref() else { return faults };
    if mode == Some(Mode::Server) {
        let message = "a server's links are its clients', whose names it does not know";
        faults.push((Some("link"), Report::error(file, message, "set it on the client, which sends by it")));
    } else if !links.iter().any(|other| other.name == link) {
        let names: Vec<_> = links.iter().map(|link| quotable(&link.name).to_string()).collect();
        let advice = format!("the links are {}", names.join(", "));
        faults.push((Some("link"), Report::error(file, format!("there is no link called {}", quotable(link)), advice)));
    }
    faults
}

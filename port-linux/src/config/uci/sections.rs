// SPDX-License-Identifier: BSD-2-Clause
//! The sections of the file with their values checked one by one against the list of options.

use std::sync::Arc;

use mlvpn_uci::options::{self, Absent, InUci, OptionSpec, SectionKind, ValueKind};
use mlvpn_uci::package::{Entry, Package};
use mlvpn_uci::value::{self, Expected, Value};
use zeroize::Zeroizing;

use crate::config::report::{Report, Reports, quotable};

/// A section whose values are what their options may be.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its place in the package.
    pub(super) index: usize,
    pub(super) kind: SectionKind,
    /// Its name; for an anonymous one what stands in for it, maybe empty.
    pub(super) name: String,
    /// What reports call it.
    pub(super) label: String,
    pub(super) line: u32,
    given: Vec<Given>,
}

/// An option that was given.
struct Given {
    spec: &'static OptionSpec,
    uci: &'static InUci,
    /// Whether by its own name, not by an alias.
    by_name: bool,
    line: u32,
    /// One value, or those of a list; wiped, since it may be a secret.
    values: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("name", &self.uci.name).field("line", &self.line).finish_non_exhaustive()
    }
}

impl Placed {
    fn given(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.uci.name == name)
    }

    /// The value of an option that is no list, and its line.
    pub(super) fn text(&self, name: &str) -> Option<(&Zeroizing<String>, u32)> {
        let given = self.given(name)?;
        given.values.last().map(|value| (value, given.line))
    }

    /// The same as a value, and its default in its absence.
    pub(super) fn value(&self, name: &str) -> Option<Value<'_>> {
        let (_, uci) = options::find_uci(self.kind, name)?;
        match (self.text(name), uci.default) {
            (Some((text, _)), _) => value::read(uci.kind, text),
            (None, Absent::Text(text)) => value::read(uci.kind, text),
            (None, Absent::Number(number)) if uci.kind == ValueKind::Flag => Some(Value::Flag(number != 0)),
            (None, Absent::Number(number)) => Some(Value::Number(number)),
            (None, _) => None,
        }
    }

    pub(super) fn line_of(&self, name: &str) -> u32 {
        self.given(name).map_or(self.line, |given| given.line)
    }

    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(self.kind, SectionKind::General | SectionKind::OpenMptcProuter)
    }

    pub(super) fn is_enabled(&self) -> bool {
        let option = if self.kind == SectionKind::OpenMptcProuter { "enable" } else { "enabled" };
        self.value(option) == Some(Value::Flag(true))
    }

    /// Whether this is a part of that tunnel. That there is such a tunnel was checked.
    pub(super) fn belongs_to(&self, tunnel: &Self) -> bool {
        let parts = [SectionKind::Link, SectionKind::Peer, SectionKind::Class];
        parts.contains(&self.kind)
            && tunnel.kind == SectionKind::General
            && self.text("tunnel").is_none_or(|(name, _)| name.as_str() == tunnel.name)
    }

    /// The options that mlvpn.conf has, too: its name for each, the line, and the value as it is written there.
    pub(super) fn for_conf(&self) -> impl Iterator<Item = (&'static str, u32, Zeroizing<String>)> + '_ {
        let shared = self.given.iter().filter(|given| given.spec.in_conf);
        shared.map(|given| {
            let mut text =
                Zeroizing::new(String::with_capacity(given.values.iter().map(|value| value.len() + 1).sum()));
            for value in &given.values {
                match value::read(given.uci.kind, value) {
                    Some(Value::Number(number)) => text.push_str(&number.to_string()),
                    // There, too, with its unit.
                    Some(Value::Bytes(_)) if given.uci.kind == ValueKind::Volume => text.push_str(value),
                    Some(Value::Bytes(bytes)) => text.push_str(&bytes.to_string()),
                    Some(Value::Flag(flag)) => text.push(if flag { '1' } else { '0' }),
                    _ => text.push_str(value),
                }
                text.push(' ');
            }
            text.pop();
            (given.spec.name, given.line, text)
        })
    }

    /// A finding about this section.
    pub(super) fn report(&self, report: Report) -> Report {
        report.at(self.line).in_section(&self.label)
    }

    /// Says that an option that must be there is not.
    pub(super) fn missing(&self, file: &Arc<str>, option: &str, advice: &str, reports: &mut Reports) {
        reports.push(self.report(Report::error(file, "not given", advice)).about(option));
    }
}

/// Reads every section of a known type, and reports what is said in vain.
pub(super) fn read(file: &Arc<str>, package: &Package<'_, '_>, reports: &mut Reports) -> Vec<Placed> {
    let mut placed = Vec::new();
    for (index, section) in package.sections().iter().enumerate() {
        let word = section.kind.to_string();
        let Some(kind) = SectionKind::UCI.into_iter().find(|kind| kind.uci_type() == word) else {
            let near = options::closest(&word, SectionKind::UCI.into_iter().map(SectionKind::uci_type));
            let advice = near.map_or("remove it".to_owned(), |near| format!("did you mean config {near}?"));
            let message = format!("sections of type {} are unknown; it is ignored", quotable(&word));
            reports.push(Report::warning(file, message, advice).at(section.line));
            continue;
        };
        let name = section.name.to_string();
        let before = package.sections().iter().take(index).filter(|other| other.kind == section.kind).count();
        let label = if name.is_empty() { format!("@{word}[{before}]") } else { format!("{word} {name}") };
        let mut one = Placed { index, kind, name, label, line: section.line, given: Vec::new() };
        for entry in package.entries_of(index) {
            take(file, &mut one, entry, reports);
        }
        one.given.iter().for_each(|given| check(file, &one, given, reports));
        stand_in_for_name(&mut one);
        placed.push(one);
    }
    placed
}

/// An anonymous tunnel is called `tunnel`, an anonymous link after its interface or device.
fn stand_in_for_name(section: &mut Placed) {
    if !section.name.is_empty() {
        return;
    }
    let stand_in = match section.kind {
        SectionKind::General | SectionKind::OpenMptcProuter => Some("tunnel".to_owned()),
        SectionKind::Link => {
            section.text("interface").or_else(|| section.text("device")).map(|(name, _)| name.to_string())
        }
        SectionKind::Peer | SectionKind::Class => None,
    };
    section.name = stand_in.unwrap_or_default();
}

fn take(file: &Arc<str>, section: &mut Placed, entry: &Entry<'_>, reports: &mut Reports) {
    let name = entry.name.to_string();
    let mut warn = |message: String, advice: String| {
        let report = Report::warning(file, message, advice).at(entry.line);
        reports.push(report.in_section(&section.label).about(&name));
    };
    let Some((spec, uci)) = options::find_uci(section.kind, &name) else {
        return warn("unknown option".to_owned(), advice_for_unknown(section.kind, &name));
    };
    if let Some(line) = entry.replaces {
        warn(format!("given on line {line}, too; this value counts"), "remove the lines that do not count".to_owned());
    }
    // Wiped when dropped, and of the right size from the start: a String that grows leaves copies behind.
    let mut value = Zeroizing::new(String::with_capacity(entry.value.len()));
    entry.value.pieces().for_each(|piece| value.push_str(piece));
    let values: Vec<_> = if uci.is_list {
        let words = value.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        words.map(|word| Zeroizing::new(word.to_owned())).collect()
    } else {
        vec![value]
    };
    let by_name = uci.name == name;
    let Some(given) = section.given.iter_mut().find(|given| std::ptr::eq(given.uci, uci)) else {
        section.given.push(Given { spec, uci, by_name, line: entry.line, values });
        return;
    };
    if uci.is_list {
        given.values.extend(values);
        return;
    }
    // Only a list or an alias gives a single option twice.
    let counts = by_name >= given.by_name;
    let used = if counts { entry.line } else { given.line };
    warn(
        format!("given more than once; the value on line {used} counts"),
        "remove the lines that do not count".to_owned(),
    );
    if counts {
        *given = Given { spec, uci, by_name, line: entry.line, values };
    }
}

fn advice_for_unknown(kind: SectionKind, name: &str) -> String {
    if let Some(near) = options::nearest_uci(kind, name) {
        return format!("did you mean {near}?");
    }
    // What mlvpn.conf calls it, when UCI calls it otherwise.
    let renamed = options::find(kind, name).and_then(|spec| spec.in_uci);
    let elsewhere = SectionKind::UCI.into_iter().find(|other| options::find_uci(*other, name).is_some());
    match (renamed, elsewhere) {
        (Some(uci), _) => format!("here it is called {}", uci.name),
        (None, Some(other)) => format!("it belongs into a section of type {}", other.uci_type()),
        (None, None) => "remove the line".to_owned(),
    }
}

fn check(file: &Arc<str>, section: &Placed, given: &Given, reports: &mut Reports) {
    let say = |report: Report| report.at(given.line).in_section(&section.label).about(given.uci.name);
    if given.values.iter().any(|value| value::read(given.uci.kind, value).is_none()) {
        let advice = format!("give {}", Expected(given.uci.kind));
        reports.push(say(Report::error(file, "not a value this option can have", advice)));
    }
}

/// Each part names a tunnel there is, or there is but one.
pub(super) fn check_owners(file: &Arc<str>, placed: &[Placed], tunnels: &[&Placed], reports: &mut Reports) {
    let own: Vec<&&Placed> = tunnels.iter().filter(|tunnel| tunnel.kind == SectionKind::General).collect();
    let names = || own.iter().map(|tunnel| quotable(&tunnel.name)).collect::<Vec<_>>().join(", ");
    for (number, tunnel) in tunnels.iter().enumerate() {
        if tunnels.iter().take(number).any(|other| other.name == tunnel.name) {
            let report = Report::error(file, "there is another tunnel without a name", "give each section a name");
            reports.push(tunnel.report(report));
        }
    }
    for section in placed.iter().filter(|section| !section.is_tunnel() && section.is_enabled()) {
        let (message, advice) = match section.text("tunnel") {
            Some((name, _)) if own.iter().any(|tunnel| tunnel.name == name.as_str()) => continue,
            None if own.len() == 1 => continue,
            _ if own.is_empty() => {
                ("there is no tunnel it could belong to", "add a section like config tunnel 'home'".into())
            }
            Some(_) => ("there is no such tunnel", format!("the tunnels are {}", names())),
            None => ("it could belong to several tunnels", format!("set it to one of {}", names())),
        };
        let report = Report::error(file, message, advice).at(section.line_of("tunnel")).in_section(&section.label);
        reports.push(report.about("tunnel"));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A tunnel of /etc/config/mlvpn as mlvpn.conf: what it is lowered to anyway, written down with the comments of the file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use mlvpn_uci::options::SectionKind;
use mlvpn_uci::package::Package;
use zeroize::Zeroizing;

use super::sections::{self, Placed};
use super::{Context, Room, Sources, lower, openmptcprouter};
use crate::config::Config;
use crate::config::ini::Document;
use crate::config::report::{Report, Reports, quotable};

/// The result.
pub(crate) struct Conf {
    pub(crate) text: Zeroizing<String>,
    pub(crate) notes: Vec<Report>,
    /// What the text must mean.
    pub(crate) config: Config,
}

/// Converts one tunnel: that called `wanted`, or the only one.
pub(crate) fn to_conf(
    name: &str,
    text: &str,
    wanted: Option<&str>,
    sources: &Sources<'_>,
) -> Result<Conf, Vec<Report>> {
    let file: Arc<str> = Arc::from(name);
    let mut reports = Reports::new();
    let mut room = Room::for_text(text);
    let package = room.read(&file, text).map_err(|report| vec![*report])?;
    let placed = sections::read(&file, &package, &mut reports);
    let tunnels: Vec<&Placed> = placed.iter().filter(|section| section.is_tunnel()).collect();
    sections::check_owners(&file, &placed, &tunnels, &mut reports);
    let tunnel = chosen(&file, &tunnels, wanted)?;
    let mut context = Context { sources, reports: &mut reports };
    let owned: Vec<&Placed> =
        placed.iter().filter(|section| section.belongs_to(tunnel) && section.is_enabled()).collect();
    let mut lowered = match tunnel.kind {
        SectionKind::OpenMptcProuter => openmptcprouter::lower(&file, tunnel, &mut context),
        _ => lower::tunnel(&file, &package, tunnel, &owned, &mut context),
    };
    let classes = owned.iter().filter(|section| section.kind == SectionKind::Class);
    for (section, number) in classes.zip(1..) {
        let Some(lowered) = &mut lowered else { break };
        let name = if section.name.is_empty() { format!("rule{number}") } else { section.name.clone() };
        lowered.open(&format!("class {name}"), section);
        lowered.push_shared(section);
    }
    let config = lowered.as_ref().and_then(|lowered| lowered.read(&file, &mut reports));
    let (Some(lowered), Some(config), false) = (lowered, config, reports.has_errors()) else {
        return Err(reports.into_sorted(&file));
    };
    let written = Written::of(lowered.document(), text);
    note_losses(&file, &package, &placed, &written, &mut reports);
    for link in lowered.links.iter().filter_map(|link| Some((&link.name, link.interface.as_ref()?))) {
        let message = format!("is bound to what /etc/config/network calls {}", quotable(link.1));
        let report = Report::warning(&file, message, "set bindinterface to that interface's device");
        reports.push(report.in_section(&format!("link {}", link.0)));
    }
    Ok(Conf { text: written.text, notes: reports.into_sorted(&file), config })
}

fn chosen<'a>(file: &Arc<str>, tunnels: &[&'a Placed], wanted: Option<&str>) -> Result<&'a Placed, Vec<Report>> {
    let names = || tunnels.iter().map(|tunnel| quotable(&tunnel.name)).collect::<Vec<_>>().join(", ");
    let fitting: Vec<&&Placed> = tunnels.iter().filter(|t| wanted.is_none_or(|name| t.name == name)).collect();
    let (message, advice) = match (&*fitting, wanted) {
        ([one], _) => return Ok(one),
        ([], None) => ("no tunnel".to_owned(), "add a section like config tunnel 'home'".to_owned()),
        ([], Some(name)) => (format!("no tunnel called {}", quotable(name)), format!("the tunnels are {}", names())),
        _ => {
            let message = "several tunnels, and mlvpn.conf holds one".to_owned();
            (message, format!("say which by --tunnel: {}", names()))
        }
    };
    Err(vec![Report::error(file, message, advice)])
}

/// The sections of mlvpn.conf with the comments of another file.
struct Written {
    text: Zeroizing<String>,
    /// Lines of the other file that are in the text.
    lines: BTreeSet<u32>,
}

impl Written {
    fn of(document: &Document, source: &str) -> Self {
        let entries = document.sections.iter().flat_map(|section| &section.entries).map(|entry| entry.line);
        let lines: BTreeSet<u32> = document.sections.iter().map(|section| section.line).chain(entries).collect();
        let mut comments: Vec<(u32, &str)> = source.split('\n').zip(1..).filter_map(comment).collect();
        let mut written = Self { text: Zeroizing::new(String::new()), lines };
        for (section, place) in document.sections.iter().zip(0..) {
            if place > 0 {
                written.text.push('\n');
            }
            written.comments_above(section.line, &mut comments);
            let _ = writeln!(written.text, "[{}]", section.name);
            for entry in &section.entries {
                written.comments_above(entry.line, &mut comments);
                let _ = writeln!(written.text, "{} = \"{}\"", entry.key, entry.text().as_str());
            }
        }
        written.comments_above(u32::MAX, &mut comments);
        written
    }

    /// Writes the comments that stand above a line, or behind what is there, and below every other line that is written.
    fn comments_above(&mut self, line: u32, comments: &mut Vec<(u32, &str)>) {
        let from = self.lines.range(..line).next_back().copied().unwrap_or(0);
        comments.retain(|(at, text)| {
            let is_here = *at <= line && (*at > from || line == u32::MAX);
            if is_here {
                let _ = writeln!(self.text, "{text}");
            }
            !is_here
        });
    }
}

/// The comment of a line of UCI, where no quote goes over the line's end.
fn comment((line, number): (&str, u32)) -> Option<(u32, &str)> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        // What follows a backslash, but in single quotes, is a character like others.
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => is_escaped = true,
            (None, '#') => return Some((number, line.get(at..)?.trim_end_matches('\r'))),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Says what mlvpn.conf has no word for.
fn note_losses(
    file: &Arc<str>,
    package: &Package<'_, '_>,
    placed: &[Placed],
    written: &Written,
    reports: &mut Reports,
) {
    /// They say where a section belongs, or stand in another form.
    const SAID_OTHERWISE: [&str; 4] = ["enabled", "enable", "tunnel", "interface"];
    for section in placed {
        if section.kind != SectionKind::General && !written.lines.contains(&section.line) && !section.is_tunnel() {
            let advice = "set by hand what you need of it";
            reports.push(section.report(Report::warning(file, "the section is not in the result", advice)));
            continue;
        }
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for entry in package.entries_of(section.index) {
            let name = entry.name.to_string();
            let is_there = package
                .entries_of(section.index)
                .any(|other| other.name == entry.name && written.lines.contains(&other.line));
            if SAID_OTHERWISE.contains(&name.as_str()) || is_there || !seen.insert(name.clone()) {
                continue;
            }
            let report = Report::warning(file, "mlvpn.conf has no such option", "set by hand what you need of it");
            reports.push(report.at(entry.line).in_section(&section.label).about(&name));
        }
    }
}

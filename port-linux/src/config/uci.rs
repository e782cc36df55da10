// SPDX-License-Identifier: BSD-2-Clause
//! OpenWrt's /etc/config/mlvpn to the same configuration that mlvpn.conf becomes.
//!
//! Text goes through [`mlvpn_uci`] (sections, and values by the list of options), is written as the sections mlvpn.conf
//! would have, and read on from there: so both files mean the same, and what no value alone can show is checked by one
//! piece of code. What only UCI can say stands beside the configuration, in [`Tunnel`].
//!
//! A link is named by an interface of /etc/config/network. Which device that is, and which address it has, netifd knows:
//! whoever starts the tunnel asks, and completes the links of the configuration by [`Link::interface`].

mod lower;
mod openmptcprouter;
mod sections;
mod to_conf;

use std::path::Path;
use std::sync::Arc;

use mlvpn_core::words::rules::MAX_RULES;
use mlvpn_uci::options::SectionKind;
use mlvpn_uci::package::{self, Entry, Package, Section};
use mlvpn_uci::policy::{ClassRule, LinkPolicy};
use zeroize::Zeroizing;

use super::report::{Report, Reports, quotable};
use super::{Class, Config, classes};
use sections::Placed;
pub(crate) use to_conf::to_conf;

/// Sections and options beyond these are nobody's router; they bound the work, which for each option goes through all.
const MAX_SECTIONS: usize = 512;
const MAX_ENTRIES: usize = 8192;

/// Reads the file a secret is in; the error says why it could not.
pub type ReadSecret<'a> = &'a dyn Fn(&Path) -> Result<Zeroizing<String>, String>;

/// What else the configuration is made of.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The text of /etc/config/network, whose interfaces are the links of OpenMPTCProuter's form.
    pub network: &'a str,
    /// The text of /etc/config/openmptcprouter, where such an interface may have its `multipath`; empty without it.
    pub openmptcprouter: &'a str,
    /// How a secret's file is read; [`read_secret`](super::read_secret) is one way.
    pub secret: ReadSecret<'a>,
}

/// An enabled tunnel.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// The section's name.
    pub name: String,
    /// What mlvpn.conf can say, too.
    pub config: Config,
    /// What it cannot say of the links, in the order of [`Config::links`].
    pub links: Vec<Link>,
}

/// What UCI says of a link besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name of the link in the configuration.
    pub name: String,
    /// The interface of /etc/config/network whose device the link is to be bound to; `None` when the file names the
    /// device, or when the link goes wherever the routing table says.
    pub interface: Option<String>,
    /// Whether the link is to be bound to the interface's IPv4 address, too, which the file does not say.
    pub takes_address: bool,
    /// What the link is to be used for.
    pub policy: LinkPolicy,
}

/// The enabled tunnels with the warnings about the file, or what is wrong with it.
pub type Loaded = Result<(Vec<Tunnel>, Vec<Report>), Vec<Report>>;

/// Reads /etc/config/mlvpn from text; `name` is what the reports call the file.
///
/// # Errors
/// What keeps mlvpn from running with the text, and the warnings besides. One faulty tunnel stops all: what a user
/// changed last is what is wrong.
pub fn parse(name: &str, text: &str, sources: &Sources<'_>) -> Loaded {
    let file: Arc<str> = Arc::from(name);
    let mut reports = Reports::new();
    let mut room = Room::for_text(text);
    let tunnels = match room.read(&file, text) {
        Ok(package) => tunnels(&file, &package, sources, &mut reports),
        Err(report) => {
            reports.push(*report);
            Vec::new()
        }
    };
    let failed = reports.has_errors();
    let reports = reports.into_sorted(&file);
    if failed { Err(reports) } else { Ok((tunnels, reports)) }
}

/// Whether a text has OpenMPTCProuter's form, which alone needs the network's text; other files need not be opened.
#[must_use]
pub fn needs_network(text: &str) -> bool {
    let mut room = Room::for_text(text);
    let package = room.read(&Arc::from(""), text);
    package.is_ok_and(|package| package.sections().iter().any(|section| section.kind.is("mlvpn")))
}

/// The room for what a text holds.
struct Room<'a> {
    sections: Vec<Section<'a>>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Room<'a> {
    fn for_text(text: &str) -> Self {
        let (sections, entries) = package::room_for(text);
        Self {
            sections: vec![Section::default(); sections.min(MAX_SECTIONS)],
            entries: vec![Entry::default(); entries.min(MAX_ENTRIES)],
        }
    }

    fn read(&mut self, file: &Arc<str>, text: &'a str) -> Result<Package<'_, 'a>, Box<Report>> {
        Package::read(text, &mut self.sections, &mut self.entries).map_err(|error| {
            let mut message = error.reason.message().to_owned();
            if error.begun != error.line {
                message = format!("{message}; it begins on line {}", error.begun);
            }
            Box::new(Report::error(file, message, error.reason.advice()).at(error.line))
        })
    }
}

fn tunnels(file: &Arc<str>, package: &Package<'_, '_>, sources: &Sources<'_>, reports: &mut Reports) -> Vec<Tunnel> {
    let placed = sections::read(file, package, reports);
    let is_tunnel = |section: &&Placed| section.is_tunnel();
    let all: Vec<&Placed> = placed.iter().filter(is_tunnel).collect();
    sections::check_owners(file, &placed, &all, reports);
    if !all.iter().any(|section| section.is_enabled()) {
        let (message, advice) = match all.first() {
            None => ("no tunnel".to_owned(), "run: uci set mlvpn.tunnel=tunnel; uci commit mlvpn".to_owned()),
            Some(first) => {
                let option = if first.kind == SectionKind::General { "enabled" } else { "enable" };
                ("no tunnel is enabled".to_owned(), format!("set {option} to 1 in {}", quotable(&first.label)))
            }
        };
        reports.push(Report::warning(file, message, advice));
    }
    let enabled = all.into_iter().filter(|section| section.is_enabled());
    enabled.filter_map(|tunnel| one(file, package, &placed, tunnel, &mut Context { sources, reports })).collect()
}

/// What reading a tunnel needs besides the file.
struct Context<'a> {
    sources: &'a Sources<'a>,
    reports: &'a mut Reports,
}

fn one(
    file: &Arc<str>,
    package: &Package<'_, '_>,
    placed: &[Placed],
    tunnel: &Placed,
    context: &mut Context<'_>,
) -> Option<Tunnel> {
    let had_errors = context.reports.has_errors();
    let owned: Vec<&Placed> =
        placed.iter().filter(|section| section.belongs_to(tunnel) && section.is_enabled()).collect();
    let lowered = match tunnel.kind {
        SectionKind::OpenMptcProuter => openmptcprouter::lower(file, tunnel, context),
        _ => lower::tunnel(file, package, tunnel, &owned, context),
    }?;
    // A gap in what is read on would be reported as something that was not given.
    if had_errors || context.reports.has_errors() {
        return None;
    }
    let mut config = lowered.read(file, context.reports)?;
    config.classes = classes(file, package, &owned, &config, context.reports);
    Some(Tunnel { name: tunnel.name.clone(), config, links: lowered.links })
}

fn classes(
    file: &Arc<str>,
    package: &Package<'_, '_>,
    owned: &[&Placed],
    config: &Config,
    reports: &mut Reports,
) -> Vec<Class> {
    let mut found = Vec::new();
    for section in owned.iter().filter(|section| section.kind == SectionKind::Class) {
        let Ok(rule) = ClassRule::read(package, section.index) else {
            let advice = "join neighbouring ports to ranges, or make it two classes";
            reports.push(section.report(Report::error(file, "a list has more than 16 values", advice)));
            continue;
        };
        for (option, report) in classes::faults(file, &rule, (&config.links, Some(config.general.mode))) {
            let report = section.report(report);
            reports.push(match option {
                Some(option) => report.at(section.line_of(option)).about(option),
                None => report,
            });
        }
        if found.len() == MAX_RULES {
            reports.push(section.report(Report::error(file, format!("more than {MAX_RULES} classes"), "join some")));
            break;
        }
        found.push(Class { name: section.name.clone(), rule });
    }
    found
}

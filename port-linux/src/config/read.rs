// SPDX-License-Identifier: BSD-2-Clause
//! From sections of text to the typed configuration.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::ini::{Document, Section};
use super::options::{self, SectionKind};
use super::report::{Report, Reports, Severity};
use super::secret::Secret;
use super::types::{Filter, General, Link, MAX_FILTERS, MAX_LINK_NAME_BYTES, MAX_LINKS, Mode, Protocol};
use super::values::SectionReader;
use super::{Config, checks, classes, peers, protocol};
use crate::filter::{self, Fault};
use crate::interface::InterfaceName;
use crate::script::LinkName;
use mlvpn_core::words::policy::Limits;

/// The name of the one section that is neither a link nor a peer nor holds filters.
pub(crate) const GENERAL: &str = "general";

/// Reads what a document says. When an error was reported the result has gaps filled with placeholders and must not be
/// used; without `[general]` there is none at all.
pub(crate) fn config(file: &Arc<str>, document: &Document, reports: &mut Reports) -> Option<Config> {
    let protocol = protocol::chosen(file, document, reports);
    let mut mode = None;
    let section = document.section(GENERAL);
    let general = section.map(|section| general(file, section, protocol, &mut mode, reports));
    if general.is_none() {
        let advice = "begin the file with [general], and set mode and password there";
        reports.push(Report::error(file, "no [general] section", advice));
    }
    let above = Above { general: general.as_ref(), mode, protocol };
    let links = links(file, document, &above, reports);
    let peers = match (protocol, &general) {
        (Protocol::Two, Some(general)) => peers::read(file, document, &peers::Own { general, mode }, reports),
        _ => Vec::new(),
    };
    let classes = match protocol {
        Protocol::Two => classes::read(file, document, (&links, mode), reports),
        Protocol::Classic => Vec::new(),
    };
    let filters = filters(file, document, &links, reports);
    let config = Config { general: general?, links, peers, classes, filters };
    checks::sockets(file, document, &config, reports);
    checks::addresses(file, document, &config, reports);
    checks::mtu(file, document, &config, reports);
    checks::cleartext(file, document, &config, reports);
    Some(config)
}

/// What a link needs to know of `[general]`; nothing that was not given.
struct Above<'a> {
    general: Option<&'a General>,
    mode: Option<Mode>,
    protocol: Protocol,
}

impl Above<'_> {
    /// A value that links without their own take over.
    fn inherit(&self, value: impl Fn(&General) -> u32) -> u32 {
        self.general.map_or(0, value)
    }
}

fn general(
    file: &Arc<str>,
    section: &Section,
    protocol: Protocol,
    mode: &mut Option<Mode>,
    reports: &mut Reports,
) -> General {
    let mut read = SectionReader { file, section, kind: SectionKind::General, reports };
    read.report_unread();
    *mode = read.mode();
    if mode.is_none() {
        read.missing("mode", "add mode = \"client\" or mode = \"server\"");
    }
    General {
        mode: mode.unwrap_or(Mode::Client),
        protocol,
        private_key: (protocol == Protocol::Two).then(|| read.private_key("private_key")).flatten(),
        password: password(&mut read, protocol),
        statuscommand: read.path("statuscommand"),
        // Absent only if it was given and is not one, which is an error.
        interface_name: read.interface("interface_name").unwrap_or_else(InterfaceName::placeholder),
        tuntap: read.device(),
        offload: read.flag_or("offload", true),
        control_unix_path: read.path("control_unix_path"),
        control_bind_host: read.host("control_bind_host"),
        control_bind_port: read.port("control_bind_port"),
        cleartext_data: protocol == Protocol::Classic && read.flag("cleartext_data"),
        timeout_secs: read.number("timeout", 0),
        reorder_buffer_size: match protocol {
            Protocol::Classic => read.number("reorder_buffer_size", 0),
            Protocol::Two => read.number_if_given("reorder_buffer_size").unwrap_or(options::REORDER_YES),
        },
        loss_tolerance_percent: percent(read.number("loss_tolerence", 0)),
        latency_tolerance_ms: read.number("latency_tolerence", 0),
        ip4: read.address4("ip4"),
        ip6: read.address6("ip6"),
        ip4_gateway: read.gateway("ip4_gateway", 32),
        ip6_gateway: read.gateway("ip6_gateway", 128),
        ip4_routes: read.routes::<Ipv4Addr>("ip4_routes"),
        ip6_routes: read.routes::<Ipv6Addr>("ip6_routes"),
        mtu: read.number_if_given("mtu").and_then(|mtu| u16::try_from(mtu).ok()),
        quota_file: read.path("quota_file"),
        roles: read.roles(),
    }
}

/// The classic protocol's password; protocol 2 has none.
fn password(read: &mut SectionReader<'_>, protocol: Protocol) -> Secret {
    let given = if protocol == Protocol::Classic { read.password() } else { None };
    given.unwrap_or_else(|| {
        if protocol == Protocol::Classic {
            read.missing("password", "add password = \"...\", the same on both sides");
        }
        Secret::new(Zeroizing::default())
    })
}

/// The table caps tolerances at 100.
fn percent(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(100)
}

fn links(file: &Arc<str>, document: &Document, above: &Above<'_>, reports: &mut Reports) -> Vec<Link> {
    let mut links = Vec::new();
    for section in document.sections.iter().filter(|section| is_link(section, above.protocol)) {
        let at = |report: Report| report.at(section.line).in_section(&section.name);
        // With protocol 2 a link of a client needs to say nothing: the system chooses its way, the peers the server.
        if section.entries.is_empty() && above.protocol == Protocol::Classic {
            let advice = "set the link's options below it, or remove it";
            reports.push(at(Report::warning(file, "the section is empty and is ignored", advice)));
            continue;
        }
        if names_links(section, document, above.protocol) {
            let message = "its options are names of links, so that it seems to hold filters";
            reports.push(at(Report::error(file, message, "call it [filters]")));
            continue;
        }
        if links.len() == MAX_LINKS {
            let message = format!("more than {MAX_LINKS} links");
            reports.push(at(Report::error(file, message, "remove links")));
            break;
        }
        report_name(file, section, reports);
        links.push(link(file, section, above, reports));
    }
    if links.is_empty() {
        reports.push(Report::warning(file, "no link", "add a section for each internet link, like [dsl1]"));
    }
    links
}

/// Whether every option of a section is the name of a link, and none is one of a link's.
fn names_links(section: &Section, document: &Document, protocol: Protocol) -> bool {
    let names_link = |key: &str| {
        options::find(SectionKind::Link, key).is_none()
            && document.section(key).is_some_and(|section| is_link(section, protocol))
    };
    !section.entries.is_empty() && section.entries.iter().all(|entry| names_link(&entry.key))
}

fn is_link(section: &Section, protocol: Protocol) -> bool {
    let is_class = protocol == Protocol::Two && classes::name(section).is_some();
    section.name != GENERAL && !section.holds_filters() && !protocol::is_peer(section, protocol) && !is_class
}

fn report_name(file: &Arc<str>, section: &Section, reports: &mut Reports) {
    let name = &section.name;
    let report = if name.is_empty() {
        Report::error(file, "the link has no name", "write one between the brackets, like [dsl1]")
    } else if name.len() > MAX_LINK_NAME_BYTES {
        let message = format!("the link's name is longer than {MAX_LINK_NAME_BYTES} bytes");
        Report::error(file, message, "shorten it")
    } else if LinkName::new(name).is_none() {
        // It is neither empty nor too long.
        Report::error(file, "the link's name has a control character", "use letters and digits")
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        || name.starts_with('-')
    {
        let advice = "use letters, digits, '-', '_' and '.', and begin with a letter or digit";
        Report::warning(file, "the link's name may confuse the status script that gets it as an argument", advice)
    } else {
        return;
    };
    reports.push(report.at(section.line).in_section(name));
}

fn link(file: &Arc<str>, section: &Section, above: &Above<'_>, reports: &mut Reports) -> Link {
    let mut read = SectionReader { file, section, kind: SectionKind::Link, reports };
    read.report_unread();
    if let Some(entry) = section.entries.iter().find(|entry| entry.key == "bindfib") {
        let advice = "use bindinterface, or remove the line";
        read.say(Severity::Warning, entry, "has no effect on Linux".to_owned(), advice.to_owned());
    }
    let link = Link {
        name: section.name.clone(),
        bindhost: read.host("bindhost"),
        bindport: read.port("bindport"),
        bindinterface: read.interface("bindinterface"),
        takes_address: false,
        remotehost: read.host("remotehost"),
        remoteport: read.port("remoteport"),
        bandwidth_upload: read.number("bandwidth_upload", 0),
        timeout_secs: read.number("timeout", above.inherit(|general| general.timeout_secs)),
        loss_tolerance_percent: percent(
            read.number("loss_tolerence", above.inherit(|general| general.loss_tolerance_percent.into())),
        ),
        latency_tolerance_ms: read.number("latency_tolerence", above.inherit(|general| general.latency_tolerance_ms)),
        fallback_only: read.flag("fallback_only"),
        bandwidth_download: read.number("bandwidth_download", 0),
        weight: read.number_if_given("weight").and_then(|weight| u8::try_from(weight).ok()),
        tier: small(read.number("tier", 1)),
        metered: read.flag("metered"),
        day: Limits { soft: read.volume("quota_day_soft"), hard: read.volume("quota_day_hard") },
        month: Limits { soft: read.volume("quota_month_soft"), hard: read.volume("quota_month_hard") },
        month_start: small(read.number("quota_month_start", 1)),
    };
    report_unused_policy(above, &mut read);
    report_quotas(&link, &mut read);
    match (above.mode, above.protocol) {
        (Some(Mode::Server), _) => report_missing_server(&link, &mut read),
        (Some(Mode::Client), Protocol::Classic) => report_missing_client(&link, &mut read),
        // The peers say where the server is.
        (Some(Mode::Client), Protocol::Two) | (None, _) => {}
    }
    link
}

/// The table caps what is read with this below 256.
fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Options that are a client's of protocol 2.
const POLICY: [&str; 9] = [
    "bandwidth_download",
    "weight",
    "tier",
    "metered",
    "quota_day_soft",
    "quota_day_hard",
    "quota_month_soft",
    "quota_month_hard",
    "quota_month_start",
];

/// The client says what its links are used for, and the server follows; the classic protocol has no words for it.
fn report_unused_policy(above: &Above<'_>, read: &mut SectionReader<'_>) {
    let (message, advice) = match (above.protocol, above.mode) {
        (Protocol::Classic, _) => ("not used with protocol classic", "set protocol = 2, or remove the line"),
        (_, Some(Mode::Server)) => ("not used by a server, which follows its clients", "set it on the client"),
        _ => return,
    };
    for name in POLICY {
        if let Some((_, entry)) = read.find(name) {
            read.warn(entry, message, advice);
        }
    }
}

fn report_quotas(link: &Link, read: &mut SectionReader<'_>) {
    for (limits, soft) in [(link.day, "quota_day_soft"), (link.month, "quota_month_soft")] {
        if limits.soft.zip(limits.hard).is_some_and(|(soft, hard)| soft > hard)
            && let Some((_, entry)) = read.find(soft)
        {
            read.warn(entry, "larger than the hard quota, so it has no effect", "make it the smaller one");
        }
    }
}

fn report_missing_server(link: &Link, read: &mut SectionReader<'_>) {
    if link.bindport.is_none() {
        read.missing("bindport", "add the UDP port the server waits on, as bindport = 5080");
    }
}

fn report_missing_client(link: &Link, read: &mut SectionReader<'_>) {
    if link.remotehost.is_none() {
        read.missing("remotehost", "add the server's name or address");
    }
    if link.remoteport.is_none() {
        read.missing("remoteport", "add the server's UDP port, its bindport for this link");
    }
}

fn filters(file: &Arc<str>, document: &Document, links: &[Link], reports: &mut Reports) -> Vec<Filter> {
    let mut filters = Vec::new();
    for section in document.sections.iter().filter(|section| section.holds_filters()) {
        if section.name != "filters" {
            let message = "every section whose name begins with \"filters\" holds filters";
            let report = Report::warning(file, message, "write [filters], or give the link another name");
            reports.push(report.at(section.line).in_section(&section.name));
        }
        for entry in &section.entries {
            let say = |report: Report| report.at(entry.line).in_section(&section.name).about(&entry.key);
            if filters.len() == MAX_FILTERS {
                let message = format!("more than {MAX_FILTERS} filters; this one and what follows is ignored");
                reports.push(say(Report::warning(file, message, "join filters with \"or\"")));
                return filters;
            }
            if !links.iter().any(|link| link.name == entry.key) {
                let advice = match links {
                    [] => "add a section for the link".to_owned(),
                    _ => format!("the links are {}", names(links)),
                };
                reports.push(say(Report::error(file, "the filter is for a link that does not exist", advice)));
                continue;
            }
            let expression = entry.text().to_string();
            match filter::compile(&expression) {
                Ok(steps) => filters.push(Filter { link: entry.key.clone(), expression, steps, line: entry.line }),
                // As 2.3.5 goes on without a filter it does not understand.
                Err(Fault { at, message, advice }) => {
                    let column = entry.column_of(at);
                    let message = format!("column {column}: {message}; packets are not filtered by this");
                    reports.push(say(Report::warning(file, message, advice)));
                }
            }
        }
    }
    filters
}

fn names(links: &[Link]) -> String {
    links.iter().map(|link| super::report::quotable(&link.name)).collect::<Vec<_>>().join(", ")
}

// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf, line by line, as UCI.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use mlvpn_uci::options::{self, SectionKind, SectionName, ValueKind};
use mlvpn_uci::value::{self, Value};
use zeroize::Zeroizing;

use super::super::ini::{self, Document, Entry, Section};
use super::super::read::GENERAL;
use super::super::report::{Report, Reports};
use super::super::uci::{self, Sources};
use super::super::values::SectionReader;
use super::super::{Config, Protocol, classes, protocol};
use super::{Converted, comparable, not_the_same};

/// What the tunnel is called: mlvpn.conf has no name for it.
const TUNNEL: &str = "tunnel";

/// What of mlvpn.conf has no counterpart, and what to do about it there.
const NO_COUNTERPART: [(&str, &str); 13] = [
    ("statuscommand", "put scripts into /etc/hotplug.d/mlvpn"),
    ("control_unix_path", "ask ubus: ubus call mlvpn status"),
    ("control_bind_host", "ask ubus: ubus call mlvpn status"),
    ("control_bind_port", "ask ubus: ubus call mlvpn status"),
    ("bindfib", "it had no effect on Linux"),
    ("quota_file", "there the service keeps what is used of quotas"),
    ("setup", "there netifd gives the device its addresses and routes"),
    ("remote_networks", "write them as list ip4_routes and list ip6_routes"),
    ("default_gateway", "write list ip4_routes default, and list ip6_routes default for IPv6"),
    ("kill_switch", "take the forwarding from lan to wan out of /etc/config/firewall"),
    ("nat", "set masq in the tunnel's zone of /etc/config/firewall"),
    ("port_forwards", "write a config redirect into /etc/config/firewall for each"),
    ("routing_table", "set ip4table and ip6table of the interface in /etc/config/network"),
];

pub(super) fn convert(name: &str, text: &str) -> Result<Converted, Vec<Report>> {
    let (config, reports) = Config::parse(name, text)?;
    let file: Arc<str> = Arc::from(name);
    let document = ini::parse(&file, text, &mut Reports::new());
    let mut writer = Writer {
        file: &file,
        protocol: config.general.protocol,
        out: Zeroizing::new(String::new()),
        notes: Reports::new(),
        names: names(&document, config.general.protocol),
        open: None,
        begun: BTreeSet::new(),
    };
    reports.into_iter().for_each(|report| writer.notes.push(report));
    for (line, number) in text.trim_end_matches('\n').split('\n').zip(1_u32..) {
        writer.line(&document, line, number);
    }
    let none: uci::ReadSecret<'_> = &|_| Err("none is named".to_owned());
    let again = uci::parse(name, &writer.out, &Sources { network: "", openmptcprouter: "", secret: none });
    let expected = comparable(&config, |kind, name| {
        writer.names.get(&(kind, name.to_owned())).cloned().unwrap_or_else(|| name.to_owned())
    });
    let fault = match &again {
        Ok((tunnels, _)) if is_same(tunnels, &expected) => None,
        Ok(_) => Some(not_the_same(&file, None)),
        Err(reports) => Some(not_the_same(&file, Some(reports))),
    };
    if let Some(fault) = fault {
        // What was noted on the way is likely why.
        writer.notes.push(fault);
        return Err(writer.notes.into_sorted(&file));
    }
    Ok(Converted { text: writer.out, notes: writer.notes.into_sorted(&file) })
}

/// Whether the result is one tunnel, and the expected one.
fn is_same(tunnels: &[uci::Tunnel], expected: &Config) -> bool {
    matches!(tunnels, [one] if comparable(&one.config, |_, name| name.to_owned()) == *expected)
}

/// A section's kind and name.
type Key = (SectionKind, String);

/// What links, peers and classes are called in UCI, where names have letters, digits and `_` only, and no two sections one name.
fn names(document: &Document, protocol: Protocol) -> HashMap<Key, String> {
    let mut taken: BTreeSet<String> = BTreeSet::from([TUNNEL.to_owned()]);
    let mut names = HashMap::new();
    for section in document.sections.iter().filter(|section| section.name != GENERAL) {
        let (Some(kind), name) = kind_of(section, protocol) else { continue };
        let mut fitting: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        while fitting.is_empty() || fitting == GENERAL || !taken.insert(fitting.clone()) {
            fitting.push('_');
        }
        names.insert((kind, name.to_owned()), fitting);
    }
    names
}

/// What a section is, and its name.
fn kind_of(section: &Section, protocol: Protocol) -> (Option<SectionKind>, &str) {
    if section.name == GENERAL {
        (Some(SectionKind::General), TUNNEL)
    } else if section.holds_filters() {
        (None, &section.name)
    } else if protocol::is_peer(section, protocol) {
        (Some(SectionKind::Peer), section.name.trim_start_matches("peer").trim())
    } else if let Some(name) = classes::name(section).filter(|_| protocol == Protocol::Two) {
        (Some(SectionKind::Class), name)
    } else {
        (Some(SectionKind::Link), &section.name)
    }
}

struct Writer<'a> {
    file: &'a Arc<str>,
    protocol: Protocol,
    out: Zeroizing<String>,
    notes: Reports,
    names: HashMap<Key, String>,
    /// The section of mlvpn.conf whose lines are being written.
    open: Option<String>,
    /// Sections that were begun: a section may go on further down.
    begun: BTreeSet<String>,
}

impl Writer<'_> {
    fn line(&mut self, document: &Document, line: &str, number: u32) {
        let line = line.replace('\r', "");
        let comment = ini::comment(&line).map(str::to_owned);
        let entry = document.sections.iter().find_map(|section| {
            let entry = section.entries.iter().find(|entry| entry.line == number)?;
            Some((section, entry))
        });
        if let Some(section) = document.sections.iter().find(|section| section.line == number) {
            self.begin(section, comment.as_deref());
        } else if let Some((section, entry)) = entry {
            if self.open.as_deref() != Some(&section.name) {
                self.begin(section, None);
            }
            let written = self.entry(section, entry);
            match written {
                Some(written) if written.is_empty() && comment.is_none() => {}
                Some(written) => self.put(&written, comment.as_deref()),
                None => self.put(&Zeroizing::new(format!("# {}", line.trim())), None),
            }
        } else if line.trim().is_empty() || line.trim_start().starts_with('#') {
            self.put(&Zeroizing::new(String::new()), Some(line.trim()));
        } else {
            // The reader said why it is ignored.
            self.put(&Zeroizing::new(format!("# {}", line.trim())), None);
        }
    }

    /// Writes a line and a comment behind it. A backslash at a line's end would join the next one to it.
    fn put(&mut self, text: &Zeroizing<String>, comment: Option<&str>) {
        self.out.push_str(text);
        let comment = comment.unwrap_or_default();
        if !text.is_empty() && !comment.is_empty() {
            self.out.push(' ');
        }
        self.out.push_str(comment);
        if self.out.ends_with('\\') {
            self.out.push(' ');
        }
        self.out.push('\n');
    }

    fn note(&mut self, section: &Section, entry: Option<&Entry>, message: &str, advice: &str) {
        let report = Report::warning(self.file, message, advice).in_section(&section.name);
        self.notes.push(match entry {
            Some(entry) => report.at(entry.line).about(&entry.key),
            None => report.at(section.line),
        });
    }

    fn begin(&mut self, section: &Section, comment: Option<&str>) {
        let is_again = !self.begun.insert(section.name.clone());
        self.open = Some(section.name.clone());
        let (kind, name) = kind_of(section, self.protocol);
        let is_ignored = self.protocol == Protocol::Classic && section.entries.is_empty();
        let Some(kind) = kind.filter(|kind| *kind == SectionKind::General || !is_ignored) else {
            if !is_ignored {
                let advice = "write a config class for each: they match protocols, ports and DSCPs";
                self.note(section, None, "OpenWrt's file has no filters", advice);
            }
            return self.put(&Zeroizing::new(format!("# [{}]", section.name)), comment);
        };
        let uci_name = self.uci_name(section);
        if kind != SectionKind::General && uci_name != name {
            let message = format!("called {uci_name} there, where names have letters, digits and '_' only");
            self.note(section, None, &message, "use that name with ubus and in /etc/config/mlvpn");
        }
        let mut head = Zeroizing::new(format!("config {} '{uci_name}'", kind.uci_type()));
        self.put(&head, comment);
        if is_again {
            return;
        }
        head.clear();
        if kind == SectionKind::General {
            head.push_str("\toption enabled '1'");
            self.put(&head, None);
            if !section.entries.iter().any(|entry| entry.key == "protocol") {
                self.put(&Zeroizing::new("\toption protocol 'classic'".to_owned()), None);
            }
        }
        if kind == SectionKind::Link
            && !section.entries.iter().any(|e| options::find(kind, &e.key).is_some_and(|o| o.name == "bindinterface"))
        {
            let message =
                format!("is bound to no interface; there it will be to the one /etc/config/network calls {uci_name}");
            self.note(section, None, &message, "set the option interface to that link's interface");
        }
    }

    fn uci_name(&self, section: &Section) -> String {
        match kind_of(section, self.protocol) {
            (Some(SectionKind::General), name) => name.to_owned(),
            (Some(kind), name) => self.names.get(&(kind, name.to_owned())).cloned().unwrap_or_default(),
            (None, _) => String::new(),
        }
    }

    /// The entry as UCI has it; none when it has no counterpart, which was noted.
    fn entry(&mut self, section: &Section, entry: &Entry) -> Option<Zeroizing<String>> {
        let kind = kind_of(section, self.protocol).0?;
        let spec = options::find(kind, &entry.key)?;
        let mut quiet = Reports::new();
        let mut read = SectionReader { file: self.file, section, kind, reports: &mut quiet };
        if read.find(spec.name).is_none_or(|(_, counts)| counts.line != entry.line) {
            return None;
        }
        let number = |read: &mut SectionReader<'_>| read.number_if_given(spec.name).map(|number| number.to_string());
        match (spec.name, spec.in_uci) {
            ("remotehost" | "remoteport", _) => self.server(section, entry, kind),
            ("reorder_buffer", _) => {
                let size = read.number_if_given("reorder_buffer_size")?;
                let is_own = read.find("reorder_buffer_size").is_none();
                is_own.then(|| option("reorder_buffer_size", &size.to_string()))
            }
            (name, None) => {
                let advice =
                    NO_COUNTERPART.iter().find(|(other, _)| *other == name).map_or("set it by hand", |(_, a)| *a);
                self.note(section, Some(entry), "OpenWrt's file has no such option", advice);
                None
            }
            (_, Some(uci)) if uci.is_list => {
                let text = entry.text();
                let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
                let lines: Vec<String> =
                    words.map(|word| format!("\tlist {} {}", uci.name, quoted(word).as_str())).collect();
                Some(Zeroizing::new(lines.join("\n")))
            }
            (_, Some(uci)) => {
                let text = match spec.kind {
                    ValueKind::Number { .. } => Zeroizing::new(number(&mut read)?),
                    ValueKind::Flag => Zeroizing::new(u8::from(read.flag(spec.name)).to_string()),
                    // A longer name is cut.
                    ValueKind::Interface => Zeroizing::new(read.interface(spec.name)?.as_str().to_owned()),
                    ValueKind::Section(SectionName::Link) => {
                        let name = entry.joined();
                        Zeroizing::new(
                            self.names.get(&(SectionKind::Link, name.to_string())).cloned().unwrap_or_default(),
                        )
                    }
                    kind if kind.keeps_spaces() => entry.text(),
                    _ => entry.joined(),
                };
                let text = if uci.kind == ValueKind::Rate { Zeroizing::new(rate(&text)) } else { text };
                let fits = value::read(uci.kind, &text).is_some();
                if !fits {
                    self.note(section, Some(entry), "OpenWrt's file does not take the value", "set it by hand");
                }
                fits.then(|| option(uci.name, &text))
            }
        }
    }

    /// Host and port in one, where the first of the two stands.
    fn server(&mut self, section: &Section, entry: &Entry, kind: SectionKind) -> Option<Zeroizing<String>> {
        let mut quiet = Reports::new();
        let mut read = SectionReader { file: self.file, section, kind, reports: &mut quiet };
        let lines = ["remotehost", "remoteport"].map(|name| read.find(name).map(|(_, entry)| entry.line));
        let both = read.host("remotehost").zip(read.port("remoteport"));
        let Some((host, port)) = both else {
            let advice = "give both, host and port";
            self.note(section, Some(entry), "OpenWrt's file takes host and port together", advice);
            return None;
        };
        if lines.into_iter().flatten().min() != Some(entry.line) {
            // It is part of what was written for the other.
            return Some(Zeroizing::default());
        }
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let fits = matches!(value::read(ValueKind::Endpoint, &place), Some(Value::Endpoint { .. }));
        fits.then(|| option("server", &place))
    }
}

fn option(name: &str, text: &str) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(name.len() + 4 * text.len() + 16));
    let _ = write!(line, "\toption {name} {}", quoted(text).as_str());
    line
}

/// As the shell and `uci` quote it.
fn quoted(text: &str) -> Zeroizing<String> {
    let mut quoted = Zeroizing::new(String::with_capacity(4 * text.len() + 2));
    quoted.push('\'');
    for c in text.chars() {
        if c == '\'' { quoted.push_str("'\\''") } else { quoted.push(c) }
    }
    quoted.push('\'');
    quoted
}

/// Bytes per second in the largest unit of bits that shows them whole.
fn rate(bytes: &str) -> String {
    let bits = bytes.parse::<u64>().unwrap_or(0).saturating_mul(8);
    match bits {
        0 => "0".to_owned(),
        bits if bits % 1_000_000 == 0 => format!("{}mbit", bits / 1_000_000),
        bits if bits % 1_000 == 0 => format!("{}kbit", bits / 1_000),
        bits => format!("{bits}bit"),
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A tunnel written as the sections mlvpn.conf would have, and the reports about those said in UCI's words.

use std::path::Path;
use std::sync::Arc;

use mlvpn_uci::options::{self, SectionKind};
use mlvpn_uci::package::Package;
use mlvpn_uci::policy::LinkPolicy;
use mlvpn_uci::value::{self, Expected, Value};
use zeroize::Zeroizing;

use super::sections::Placed;
use super::{Context, Link};
use crate::config::Config;
use crate::config::ini::{Document, Entry, Section};
use crate::config::read::{self, GENERAL};
use crate::config::report::{Report, Reports};

/// The link of a tunnel that names none: one by whatever way the routing table says.
const ONLY_LINK: &str = "default";
/// The peer that a tunnel's own options describe, on a client and on a server.
const ONLY_PEER: [&str; 2] = ["server", "client"];

/// The options of a tunnel that describe a peer, the first of them on a client only.
const OWN_PEER: [&str; 4] = ["server", "public_key", "secret", "secret_file"];

/// A tunnel as mlvpn.conf would have it, and what that cannot say.
pub(super) struct Lowered {
    document: Document,
    /// For each section of the document, what UCI calls it and which kind it is there.
    origins: Vec<(String, SectionKind)>,
    pub(super) links: Vec<Link>,
}

impl Lowered {
    pub(super) const fn new() -> Self {
        Self { document: Document { sections: Vec::new() }, origins: Vec::new(), links: Vec::new() }
    }

    /// The sections.
    pub(super) const fn document(&self) -> &Document {
        &self.document
    }

    /// Begins a section; what follows belongs to it.
    pub(super) fn open(&mut self, name: &str, origin: &Placed) {
        self.document.sections.push(Section { name: name.to_owned(), line: origin.line, entries: Vec::new() });
        self.origins.push((origin.label.clone(), origin.kind));
    }

    pub(super) fn push(&mut self, key: &str, line: u32, value: &str) {
        self.push_secret(key, line, Zeroizing::new(value.to_owned()));
    }

    pub(super) fn push_secret(&mut self, key: &str, line: u32, value: Zeroizing<String>) {
        if let Some(section) = self.document.sections.last_mut() {
            section.entries.push(Entry::literal(key, line, value));
        }
    }

    /// What the section says that mlvpn.conf can say, too.
    pub(super) fn push_shared(&mut self, from: &Placed) {
        for (name, line, text) in from.for_conf() {
            self.push_secret(name, line, text);
        }
    }

    /// Reads on as from mlvpn.conf.
    pub(super) fn read(&self, file: &Arc<str>, reports: &mut Reports) -> Option<Config> {
        let mut found = Reports::new();
        let config = read::config(file, &self.document, &mut found);
        for report in found.into_sorted(file) {
            reports.push(self.in_words_of_uci(report));
        }
        config
    }

    fn in_words_of_uci(&self, mut report: Report) -> Report {
        let name = report.section.as_deref().unwrap_or(GENERAL);
        let at = self.document.sections.iter().position(|section| section.name == name);
        let Some((label, kind)) = at.and_then(|at| self.origins.get(at)) else { return report };
        report.option = report.option.map(|option| match (kind, option.as_str()) {
            (SectionKind::OpenMptcProuter, "remotehost") => "host".to_owned(),
            (SectionKind::OpenMptcProuter, _) => option.replace("tolerence", "tolerance"),
            (_, "remotehost" | "remoteport") => "server".to_owned(),
            _ => options::find(*kind, &option).and_then(|spec| spec.in_uci).map_or(option, |uci| uci.name.to_owned()),
        });
        report.in_section(label)
    }
}

/// Writes a `config tunnel` and its parts; nothing when that cannot be done, which was reported then.
pub(super) fn tunnel(
    file: &Arc<str>,
    package: &Package<'_, '_>,
    tunnel: &Placed,
    owned: &[&Placed],
    context: &mut Context<'_>,
) -> Option<Lowered> {
    let mut lowering = Lowering { file, tunnel, lowered: Lowered::new(), context };
    lowering.general();
    lowering.warn_of_unused();
    let peers: Vec<&&Placed> = owned.iter().filter(|section| section.kind == SectionKind::Peer).collect();
    if lowering.is_two() {
        lowering.own_peer(peers.is_empty());
    }
    peers.into_iter().for_each(|peer| lowering.peer(peer));
    let links: Vec<&&Placed> = owned.iter().filter(|section| section.kind == SectionKind::Link).collect();
    if links.is_empty() {
        lowering.only_link();
    }
    links.into_iter().for_each(|link| lowering.link(package, link));
    Some(lowering.lowered)
}

struct Lowering<'a, 'c> {
    file: &'a Arc<str>,
    tunnel: &'a Placed,
    lowered: Lowered,
    context: &'a mut Context<'c>,
}

impl Lowering<'_, '_> {
    fn is_two(&self) -> bool {
        self.tunnel.value("protocol") == Some(Value::Text("2"))
    }

    fn is_server(&self) -> bool {
        self.tunnel.value("mode") == Some(Value::Text("server"))
    }

    fn general(&mut self) {
        let tunnel = self.tunnel;
        self.lowered.open(GENERAL, tunnel);
        self.lowered.push_shared(tunnel);
        // Where UCI has another default than mlvpn.conf.
        for name in ["mode", "protocol"] {
            if let (None, Some(Value::Text(text))) = (tunnel.text(name), tunnel.value(name)) {
                self.lowered.push(name, tunnel.line, text);
            }
        }
        let key = self.secret(tunnel, "private_key");
        let password = self.secret(tunnel, "password");
        if !self.is_two() && !password {
            let advice = "add it, the same on both sides, or password_file";
            tunnel.missing(self.file, "password", advice, self.context.reports);
        }
        if self.is_two() && !key && tunnel.text("public_key").is_some() {
            let advice = "add this end's key (run: mlvpn keygen), or private_key_file";
            tunnel.missing(self.file, "private_key", advice, self.context.reports);
        }
    }

    /// What mlvpn.conf has no option for, so that its reader cannot say that it is not used.
    fn warn_of_unused(&mut self) {
        let unused: &[(&str, &str)] = match (self.is_server(), self.is_two()) {
            (true, true) => &[("server", "by a server, which waits for its peers wherever they are")],
            (true, false) => &[
                ("server", "by a server, which waits for its client wherever it is"),
                ("public_key", "with protocol classic"),
                ("secret", "with protocol classic"),
                ("secret_file", "with protocol classic"),
            ],
            (false, true) => &[("port", "by a client, whose links have their bindport")],
            (false, false) => &[
                ("port", "by a client, whose links have their bindport"),
                ("public_key", "with protocol classic"),
                ("secret", "with protocol classic"),
                ("secret_file", "with protocol classic"),
            ],
        };
        for (option, why) in unused.iter().filter(|(option, _)| self.tunnel.text(option).is_some()) {
            let report = Report::warning(self.file, format!("not used {why}"), "remove the line");
            let report = report.at(self.tunnel.line_of(option)).in_section(&self.tunnel.label);
            self.context.reports.push(report.about(option));
        }
    }

    /// Takes a secret from its file, if that is where it is; true when it is given one way or the other.
    fn secret(&mut self, section: &Placed, option: &str) -> bool {
        let file_option = format!("{option}_file");
        let inline = section.text(option).is_some();
        let Some((path, line)) = section.text(&file_option) else { return inline };
        let fail = |message: String, advice: String| {
            let report = Report::error(self.file, message, advice).at(line);
            report.in_section(&section.label).about(&file_option)
        };
        if inline {
            let report = fail(format!("{option} is given, too"), "remove one of the two".to_owned());
            self.context.reports.push(report);
            return true;
        }
        let kind = options::find_uci(section.kind, option).map(|(_, uci)| uci.kind);
        match ((self.context.sources.secret)(Path::new(path.as_str())), kind) {
            (Err(why), _) => {
                let report =
                    fail(format!("cannot be read: {why}"), "check the path and who may read the file".to_owned());
                self.context.reports.push(report);
            }
            (Ok(text), Some(kind)) if value::read(kind, text.trim_end_matches(['\r', '\n'])).is_none() => {
                let report =
                    fail("the file holds something else".to_owned(), format!("write into it {}", Expected(kind)));
                self.context.reports.push(report);
            }
            (Ok(text), _) => {
                let value = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
                self.lowered.push_secret(option, line, value);
            }
        }
        true
    }

    /// The peer that the tunnel's own options describe.
    fn own_peer(&mut self, is_alone: bool) {
        let tunnel = self.tunnel;
        let named_by = if self.is_server() { &OWN_PEER[1..] } else { &OWN_PEER[..] };
        let described = named_by.iter().any(|name| tunnel.text(name).is_some());
        if !described {
            if is_alone && !self.is_server() {
                let advice = "add where the server is, as HOST:PORT, or a section like config peer 'home'";
                tunnel.missing(self.file, "server", advice, self.context.reports);
            }
            return;
        }
        let name = ONLY_PEER[usize::from(self.is_server())];
        self.lowered.open(&format!("peer {name}"), tunnel);
        if let Some((key, line)) = tunnel.text("public_key") {
            self.lowered.push("public_key", line, key);
        }
        if let Some((secret, line)) = tunnel.text("secret") {
            self.lowered.push_secret("secret", line, secret.clone());
        }
        self.place_and_proof(tunnel);
    }

    fn peer(&mut self, peer: &Placed) {
        if !self.is_two() {
            let advice = "remove it, or set protocol to 2";
            self.context.reports.push(peer.report(Report::warning(
                self.file,
                "the peer is ignored with protocol classic",
                advice,
            )));
            return;
        }
        self.lowered.open(&format!("peer {}", peer.name), peer);
        self.lowered.push_shared(peer);
        self.place_and_proof(peer);
    }

    /// What a peer needs, be it described in a section of its own or in the tunnel's.
    fn place_and_proof(&mut self, section: &Placed) {
        let has_secret = self.secret(section, "secret");
        if !has_secret && section.text("public_key").is_none() {
            let advice =
                "add the other end's key (run there: mlvpn pubkey), or one secret on both sides (run: mlvpn gensecret)";
            section.missing(self.file, "public_key", advice, self.context.reports);
        }
        // A server's own address was warned about, if it is the tunnel's.
        if !(self.is_server() && section.is_tunnel()) {
            self.server(section);
        }
        if section.text("server").is_none() && !self.is_server() {
            section.missing(self.file, "server", "add where it is, as HOST:PORT", self.context.reports);
        }
    }

    /// The server's place, if the section gives one; false if not.
    fn server(&mut self, section: &Placed) -> bool {
        let Some(Value::Endpoint { host, port }) = section.value("server") else { return false };
        let line = section.line_of("server");
        self.lowered.push("remotehost", line, host);
        self.lowered.push("remoteport", line, &port.to_string());
        true
    }

    fn link(&mut self, package: &Package<'_, '_>, link: &Placed) {
        if let Some(report) = self.name_fault(link) {
            self.context.reports.push(link.report(report));
            return;
        }
        self.lowered.open(&link.name, link);
        self.lowered.push_shared(link);
        let has_own_server = self.server(link);
        self.place_of_link(link, has_own_server);
        let interface = match (link.text("device"), link.text("interface")) {
            (Some(_), _) => None,
            (None, Some((interface, _))) => Some(interface.to_string()),
            (None, None) => Some(link.name.clone()),
        };
        let policy = LinkPolicy::read(package, link.index);
        self.lowered.links.push(Link { name: link.name.clone(), interface, takes_address: false, policy });
    }

    fn name_fault(&self, link: &Placed) -> Option<Report> {
        let (message, advice) = match link.name.as_str() {
            "" => ("the link has no name", "name it after its interface, like config link 'wan'"),
            name if name == GENERAL || name == "peer" || name.starts_with("filters") => {
                ("a link cannot be called so", "give it another name, and name its interface by the option interface")
            }
            name if self.lowered.links.iter().any(|other| other.name == name) => {
                ("there is another link of this name", "give each link a name of its own")
            }
            _ => return None,
        };
        Some(Report::error(self.file, message, advice))
    }

    /// Where a link's datagrams go, or come in, when it does not say.
    fn place_of_link(&mut self, link: &Placed, has_own_server: bool) {
        if self.is_server() {
            if link.text("bindport").is_none() {
                self.own_port();
            }
        } else if !self.is_two() && !has_own_server && !self.server(self.tunnel) {
            let advice = "add where the server is, as HOST:PORT, to the tunnel or to each link";
            link.missing(self.file, "server", advice, self.context.reports);
        }
    }

    fn own_port(&mut self) {
        if let Some(Value::Number(port)) = self.tunnel.value("port") {
            self.lowered.push("bindport", self.tunnel.line_of("port"), &port.to_string());
        }
    }

    fn only_link(&mut self) {
        if !self.is_server() {
            let message = "no link: the tunnel has one, by whatever way the routing table says";
            let report = Report::warning(self.file, message, "add a section for each, like config link 'wan'");
            self.context.reports.push(self.tunnel.report(report));
        }
        self.lowered.open(ONLY_LINK, self.tunnel);
        self.place_of_link(self.tunnel, false);
        let policy = LinkPolicy::default();
        self.lowered.links.push(Link { name: ONLY_LINK.to_owned(), interface: None, takes_address: false, policy });
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf as OpenWrt's /etc/config/mlvpn, and back: order and comments stay, and what the other file cannot say is said.
//!
//! Both ways end with the proof: the result is read as its daemon would, and must be the same configuration but for what
//! was said to be left out.

mod to_uci;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use mlvpn_uci::options::SectionKind;
use zeroize::Zeroizing;

use super::report::Report;
use super::uci::{self, Sources};
use super::{Config, Roles, Secret, open, open_file, read_secret, read_text};

/// A file in the other form.
pub struct Converted {
    /// Its text; it holds the secrets of the file it was made of.
    pub text: Zeroizing<String>,
    /// What the other form cannot say, and what the reader of the file said of it.
    pub notes: Vec<Report>,
}

impl std::fmt::Debug for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converted").field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// Converts a file to the other form, whichever it has; `name` is what the reports call it, `tunnel` which of several
/// tunnels of /etc/config/mlvpn is meant.
///
/// # Errors
/// What keeps the file from being read, or its meaning from being kept.
pub fn convert(name: &str, text: &str, tunnel: Option<&str>, sources: &Sources<'_>) -> Result<Converted, Vec<Report>> {
    if !is_uci(text) {
        return to_uci::convert(name, text);
    }
    let converted = uci::to_conf(name, text, tunnel, sources)?;
    let again = Config::parse(name, &converted.text);
    let is_same = again.as_ref().is_ok_and(|(again, _)| *again == converted.config);
    if !is_same {
        return Err(vec![not_the_same(&Arc::from(name), again.err().as_deref())]);
    }
    Ok(Converted { text: converted.text, notes: converted.notes })
}

/// `mlvpn convert FILE`: the other form to `out`, everything that is to be said to `findings`. OpenWrt's /etc/config/network
/// is read beside a file of UCI, where it is there. True when it was converted.
///
/// # Errors
/// When one of the two cannot be written to.
pub fn run(path: &Path, tunnel: Option<&str>, findings: &mut dyn Write, out: &mut dyn Write) -> io::Result<bool> {
    let name = path.to_string_lossy();
    let beside = |file: &str| {
        let text = path.parent().and_then(|folder| std::fs::read_to_string(folder.join(file)).ok());
        text.unwrap_or_default()
    };
    let (network, openmptcprouter) = (beside("network"), beside("openmptcprouter"));
    let secret = |path: &Path| read_secret(path, &open_file);
    let sources = Sources { network: &network, openmptcprouter: &openmptcprouter, secret: &secret };
    let text = open(path).and_then(|file| read_text(&file, &name)).map_err(|report| vec![*report]);
    let converted = text.and_then(|text| convert(&name, &text, tunnel, &sources));
    let (Ok(Converted { notes: reports, .. }) | Err(reports)) = &converted;
    for report in reports {
        writeln!(findings, "{}: {report}", report.severity)?;
    }
    match &converted {
        Ok(converted) => out.write_all(converted.text.as_bytes()).and_then(|()| out.flush()).map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Whether a text is UCI's: its first statement begins with one of UCI's keywords.
fn is_uci(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let word = lines.next().and_then(|line| line.split([' ', '\t']).next());
    matches!(word, Some("config" | "package"))
}

/// What is said when the proof fails: never a wrong file without a word.
fn not_the_same(file: &Arc<str>, reports: Option<&[Report]>) -> Report {
    let why = reports.and_then(|reports| reports.iter().max_by_key(|report| report.severity));
    let message = why.map_or("it cannot be said in the other form".to_owned(), |why| {
        format!("the other form does not take it: {}: {}", why.option.as_deref().unwrap_or("the file"), why.message)
    });
    Report::error(file, message, "check the values of the file for quotes and characters that are not ASCII")
}

/// A configuration without what /etc/config/mlvpn cannot say, links and peers called as they are there.
/// `renamed` is told of which kind of section a name is.
fn comparable(config: &Config, renamed: impl Fn(SectionKind, &str) -> String) -> Config {
    let mut config = config.clone();
    let general = &mut config.general;
    general.statuscommand = None;
    general.control_unix_path = None;
    general.control_bind_host = None;
    general.control_bind_port = None;
    if general.protocol == super::Protocol::Two {
        // A classic password beside protocol 2 is read by nobody.
        general.password = Secret::new(Zeroizing::default());
    }
    general.quota_file = None;
    // There netifd and the firewall do all this.
    general.roles = Roles::default();
    config.filters.clear();
    for class in &mut config.classes {
        class.name = renamed(SectionKind::Class, &class.name);
        let link = class.rule.link.take().map(|link| renamed(SectionKind::Link, &link));
        class.rule.link = link.and_then(|link| link.as_str().try_into().ok());
    }
    for link in &mut config.links {
        link.name = renamed(SectionKind::Link, &link.name);
    }
    for peer in &mut config.peers {
        peer.name = renamed(SectionKind::Peer, &peer.name);
    }
    config
}

// SPDX-License-Identifier: BSD-2-Clause
//! The peers of protocol 2: `[peer NAME]` sections from text to types.

use std::sync::Arc;

use super::ini::{Document, Section};
use super::options::SectionKind;
use super::peer_checks;
use super::protocol::is_peer;
use super::read::GENERAL;
use super::report::{Report, Reports, quotable};
use super::types::{General, MAX_PEER_NAME_BYTES, MAX_PEERS, Mode, Peer, Protocol};
use super::values::SectionReader;

/// The word that opens a peer's section.
const PEER: &str = "peer";

/// The name of the peer a section is, empty where it is missing; None when the section is none.
pub(crate) fn name(section: &Section) -> Option<&str> {
    let rest = section.name.strip_prefix(PEER)?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim_matches([' ', '\t']))
}

/// What a peer needs to know of this end.
pub(crate) struct Own<'a> {
    pub(crate) general: &'a General,
    /// Absent when it was not given.
    pub(crate) mode: Option<Mode>,
}

/// Reads all peers. As everywhere, when an error was reported the result must not be used.
pub(crate) fn read(file: &Arc<str>, document: &Document, own: &Own<'_>, reports: &mut Reports) -> Vec<Peer> {
    let mut read = Vec::new();
    for section in document.sections.iter().filter(|section| is_peer(section, Protocol::Two)) {
        if read.len() == MAX_PEERS {
            let report = Report::error(file, format!("more than {MAX_PEERS} peers"), "remove peers");
            reports.push(report.at(section.line).in_section(&section.name));
            break;
        }
        report_name(file, section, reports);
        read.push((peer(file, section, own, reports), section));
    }
    report_none(file, document, &read, own, reports);
    report_private_key(file, document, &read, own, reports);
    peer_checks::names(file, &read, reports);
    peer_checks::keys(file, &read, own, reports);
    if own.mode == Some(Mode::Server) && read.len() > 1 {
        peer_checks::shares_of_a_server(file, &read, reports);
    }
    read.into_iter().map(|(peer, _)| peer).collect()
}

fn report_name(file: &Arc<str>, section: &Section, reports: &mut Reports) {
    let name = name(section).unwrap_or_default();
    let report = if name.is_empty() {
        Report::error(file, "the peer has no name", "write one behind the word, like [peer home]")
    } else if name.len() > MAX_PEER_NAME_BYTES {
        let message = format!("the peer's name is longer than {MAX_PEER_NAME_BYTES} bytes");
        Report::error(file, message, "shorten it")
    } else if !name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        Report::error(file, "the peer's name has a character that is not printable ASCII", "use letters and digits")
    } else {
        return;
    };
    reports.push(report.at(section.line).in_section(&section.name));
}

fn peer(file: &Arc<str>, section: &Section, own: &Own<'_>, reports: &mut Reports) -> Peer {
    let mut read = SectionReader { file, section, kind: SectionKind::Peer, reports };
    read.report_unread();
    let mut peer = Peer {
        name: name(section).unwrap_or_default().to_owned(),
        public_key: read.public_key("public_key"),
        secret: read.shared_secret("secret"),
        password: read.password(),
        remotehost: read.host("remotehost"),
        remoteport: read.port("remoteport"),
        allowed: read.networks("allowed_ips"),
    };
    report_credentials(&mut read, own);
    report_password(&mut read, own);
    match own.mode {
        Some(Mode::Server) => leave_out_place(&mut peer, &mut read),
        Some(Mode::Client) => report_place(&peer, &mut read),
        None => {}
    }
    if read.find("allowed_ips").is_some_and(|(_, entry)| entry.text().trim_matches([',', ' ', '\t']).is_empty()) {
        read.missing("allowed_ips", "write networks as ADDRESS/PREFIX, or remove the line");
    }
    peer
}

/// Each peer proves itself by a key or by a secret.
fn report_credentials(read: &mut SectionReader<'_>, own: &Own<'_>) {
    if ["public_key", "secret", "password"].iter().any(|name| read.find(name).is_some()) {
        return;
    }
    let advice = match own.general.private_key {
        Some(_) => "add the output of `mlvpn pubkey` for the other end's private key",
        None => {
            "add the other end's key and this end's private_key in [general] (run: mlvpn keygen), or one secret on \
             both sides (run: mlvpn gensecret)"
        }
    };
    read.missing("public_key", advice);
}

/// A password makes the peer one of the classic protocol, which only a server serves: a client that asked in both would
/// end up with the weaker one whenever somebody kept the answers of the other from it.
fn report_password(read: &mut SectionReader<'_>, own: &Own<'_>) {
    let Some((_, entry)) = read.find("password") else { return };
    if own.mode == Some(Mode::Client) {
        let advice = "remove the line, or set protocol = classic and the password in [general]";
        read.fail(entry, "a client does not fall back to the classic protocol".to_owned(), advice);
    } else if read.find("public_key").is_some() || read.find("secret").is_some() {
        let advice = "remove the password, or make it two peers";
        read.fail(entry, "a peer of protocol 2 has no password besides its key or secret".to_owned(), advice);
    }
}

/// A server waits for its peers, wherever they are.
fn leave_out_place(peer: &mut Peer, read: &mut SectionReader<'_>) {
    for name in ["remotehost", "remoteport"] {
        if let Some((_, entry)) = read.find(name) {
            read.warn(entry, "not used by a server, which waits for its peers wherever they are", "remove the line");
        }
    }
    (peer.remotehost, peer.remoteport) = (None, None);
}

fn report_place(peer: &Peer, read: &mut SectionReader<'_>) {
    if peer.remotehost.is_none() && read.find("remotehost").is_none() {
        read.missing("remotehost", "add the server's name or address");
    }
    // 0 is a port in no socket's address.
    if peer.remoteport.is_none() {
        read.missing("remoteport", "add the server's UDP port, the bindport of its link");
    }
}

/// A peer and where it stands.
pub(crate) type Placed<'a> = (Peer, &'a Section);

fn report_none(file: &Arc<str>, document: &Document, peers: &[Placed<'_>], own: &Own<'_>, reports: &mut Reports) {
    if !peers.is_empty() {
        return;
    }
    let report = match own.mode {
        Some(Mode::Client) => {
            let advice = "add a section for the server, like [peer home], with public_key, remotehost and remoteport";
            Report::error(file, "no peer", advice)
        }
        Some(Mode::Server) => {
            let advice = "add a section for each client, like [peer home], with its public_key and allowed_ips";
            Report::warning(file, "no peer; nobody can connect", advice)
        }
        None => return,
    };
    let line = document.section(GENERAL).map_or(1, |section| section.line);
    reports.push(report.at(line).in_section(GENERAL));
}

/// This end's key is needed, and of use, when a peer has one.
fn report_private_key(
    file: &Arc<str>,
    document: &Document,
    peers: &[Placed<'_>],
    own: &Own<'_>,
    reports: &mut Reports,
) {
    let Some(section) = document.section(GENERAL) else { return };
    let keyed = peers.iter().find(|(_, section)| section.entries.iter().any(|entry| entry.key == "public_key"));
    let mut read = SectionReader { file, section, kind: SectionKind::General, reports };
    match (keyed, read.find("private_key"), &own.general.private_key) {
        (Some((peer, _)), None, _) => {
            let why =
                format!("add the output of `mlvpn keygen`, since [peer {}] has a public_key", quotable(&peer.name));
            read.missing("private_key", &why);
        }
        (None, Some((_, entry)), Some(_)) if !peers.is_empty() => {
            let advice = "give each peer its public_key, or remove the line if the secret alone is meant";
            read.warn(entry, "not used, since no peer has a public_key", advice);
        }
        _ => {}
    }
}

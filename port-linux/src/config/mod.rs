// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf: read once, every oddity reported with its line, and typed from there on.
//!
//! Text goes through [`ini`] (sections and entries) and the table of [`options`] (what each entry may be), and comes
//! out as a [`Config`]. What MLVPN 2.3.5 runs with, we run with, and say as a warning what it kept silent about; an
//! error is what it stops at, or what would be unsafe to go on with, or no text at all.

mod addresses;
mod changes;
mod checks;
mod classes;
pub mod convert;
mod file;
pub mod ini;
mod mtu;
mod peer_checks;
mod peer_values;
mod peers;
mod protocol;
mod read;
mod report;
mod roles;
mod secret;
mod types;
pub mod uci;
mod values;

use std::sync::Arc;

pub use crate::device::DeviceKind;
pub use crate::interface::InterfaceName;
pub use changes::Changes;
pub use file::{
    MAX_FILE_BYTES, OpenFile, check, check_loaded, load, load_from, open, open_file, read_secret, read_text,
    refused_permissions,
};
pub use mlvpn_core::tunnel::peer::config::Network;
pub use mlvpn_uci::options;
pub(crate) use mtu::USUAL_PATH_MTU;
pub use peer_values::network;
pub use report::{MAX_REPORTS, Report, Severity};
pub use roles::{Forward, MAX_FORWARDS, Roles, Transport};
pub use secret::{PrivateKey, Secret};
pub use types::{
    Cidr, Class, Filter, General, Link, MAX_FILTERS, MAX_LINK_NAME_BYTES, MAX_LINKS, MAX_PEER_NAME_BYTES, MAX_PEERS,
    Mode, Peer, Protocol,
};

use report::Reports;

/// A configuration with the warnings about it, or what is wrong with it, errors and warnings in the order of lines.
pub type Loaded = Result<(Config, Vec<Report>), Vec<Report>>;

/// A whole configuration. There is no invalid one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The tunnel.
    pub general: General,
    /// Its links in the order of the file, no two of one name, at most [`MAX_LINKS`].
    pub links: Vec<Link>,
    /// The peers of protocol 2 in the order of the file, no two of one name, at most [`MAX_PEERS`]; none with the classic
    /// protocol. A client has at least one, and they are its servers in the order in which to try them.
    pub peers: Vec<Peer>,
    /// Classes of packets in the order of the file, with protocol 2, at most
    /// [`MAX_RULES`](mlvpn_core::words::rules::MAX_RULES); each that names a link names one of these, and only a client's do.
    pub classes: Vec<Class>,
    /// Its filters in the order of the file, at most [`MAX_FILTERS`]; each names one of the links.
    pub filters: Vec<Filter>,
}

impl Config {
    /// Reads a configuration from text; `name` is what the reports call the file. The work is bounded by
    /// [`ini::MAX_ENTRIES`] and the length of the text.
    ///
    /// # Errors
    /// What keeps mlvpn from running with the text, and the warnings besides.
    pub fn parse(name: &str, text: &str) -> Loaded {
        let file: Arc<str> = Arc::from(name);
        if let Some(report) = ini::not_text(&file, text) {
            return Err(vec![report]);
        }
        let mut reports = Reports::new();
        let document = ini::parse(&file, text, &mut reports);
        let config = read::config(&file, &document, &mut reports);
        let failed = reports.has_errors();
        let reports = reports.into_sorted(&file);
        match config {
            Some(config) if !failed => Ok((config, reports)),
            _ => Err(reports),
        }
    }

    /// The link of this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The peer of this name.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What a reload must do: the difference between the configuration that runs and the one just read.

use std::collections::HashMap;
use std::sync::Arc;

use super::Config;
use super::options::{self, SectionKind, Takes};
use super::report::Report;
use super::types::General;

/// What differs. Links are told by their names; a link in none of the lists is unchanged and stays up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Options of `[general]` that differ and take effect at once, by their names in the table of options.
    pub general: Vec<&'static str>,
    /// Options of `[general]` that differ and are read at start only.
    pub restart: Vec<&'static str>,
    /// Links to open.
    pub added: Vec<String>,
    /// Links to close, DISCONNECT said.
    pub removed: Vec<String>,
    /// Links whose addresses changed: to close and open again.
    pub moved: Vec<String>,
    /// Links that stay up and get other limits.
    pub tuned: Vec<String>,
    /// Peers to admit, or servers to know of.
    pub peers_added: Vec<String>,
    /// Peers whose sessions are to end.
    pub peers_removed: Vec<String>,
    /// Peers of which anything differs.
    pub peers_changed: Vec<String>,
    /// The peers that stay are in another order, which is the order in which a client tries them.
    pub peers_reordered: bool,
    /// The classes differ.
    pub classes: bool,
    /// The list of filters differs.
    pub filters: bool,
}

impl Changes {
    /// True when nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything about peers changed.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        let lists = [&self.peers_added, &self.peers_removed, &self.peers_changed];
        self.peers_reordered || lists.iter().any(|list| !list.is_empty())
    }

    /// One warning for each option that was changed in vain.
    #[must_use]
    pub fn reports(&self, file: &str) -> Vec<Report> {
        let file: Arc<str> = Arc::from(file);
        let (message, advice) = ("the change takes effect after a restart", "restart mlvpn when convenient");
        let report = |option: &&str| Report::warning(&file, message, advice).in_section("general").about(option);
        self.restart.iter().map(report).collect()
    }
}

impl Config {
    /// What has to change for `newer` to hold where `self` does.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Changes {
        let mut changes = Changes {
            filters: self.filters != newer.filters,
            classes: self.classes != newer.classes,
            ..Changes::default()
        };
        for (name, differs) in differences(&self.general, &newer.general) {
            let start_only = options::find(SectionKind::General, name).is_some_and(|spec| spec.takes == Takes::Restart);
            match (differs, start_only) {
                (true, true) => changes.restart.push(name),
                (true, false) => changes.general.push(name),
                (false, _) => {}
            }
        }
        for link in &newer.links {
            match self.link(&link.name) {
                None => changes.added.push(link.name.clone()),
                Some(old) if old == link => {}
                Some(old) if old.same_path(link) => changes.tuned.push(link.name.clone()),
                Some(_) => changes.moved.push(link.name.clone()),
            }
        }
        let gone = self.links.iter().filter(|link| newer.link(&link.name).is_none());
        changes.removed = gone.map(|link| link.name.clone()).collect();
        self.peer_changes(newer, &mut changes);
        changes
    }

    /// The differences between peers, in work that grows with their number.
    fn peer_changes(&self, newer: &Self, changes: &mut Changes) {
        let by_name = |config: &'_ Self| -> HashMap<String, usize> {
            config.peers.iter().enumerate().map(|(place, peer)| (peer.name.clone(), place)).collect()
        };
        let (old_places, new_places) = (by_name(self), by_name(newer));
        let mut before = 0;
        for peer in &newer.peers {
            let Some(&place) = old_places.get(&peer.name) else {
                changes.peers_added.push(peer.name.clone());
                continue;
            };
            if self.peers[place] != *peer {
                changes.peers_changed.push(peer.name.clone());
            }
            changes.peers_reordered |= place < before;
            before = place;
        }
        let gone = self.peers.iter().filter(|peer| !new_places.contains_key(&peer.name));
        changes.peers_removed = gone.map(|peer| peer.name.clone()).collect();
    }
}

/// Each option of `[general]` and whether it differs.
fn differences(old: &General, new: &General) -> [(&'static str, bool); 31] {
    [
        ("mode", old.mode != new.mode),
        ("protocol", old.protocol != new.protocol),
        ("private_key", old.private_key != new.private_key),
        ("password", old.password != new.password),
        ("statuscommand", old.statuscommand != new.statuscommand),
        ("interface_name", old.interface_name != new.interface_name),
        ("tuntap", old.tuntap != new.tuntap),
        ("offload", old.offload != new.offload),
        ("control_unix_path", old.control_unix_path != new.control_unix_path),
        ("control_bind_host", old.control_bind_host != new.control_bind_host),
        ("control_bind_port", old.control_bind_port != new.control_bind_port),
        ("cleartext_data", old.cleartext_data != new.cleartext_data),
        ("timeout", old.timeout_secs != new.timeout_secs),
        ("reorder_buffer_size", old.reorder_buffer_size != new.reorder_buffer_size),
        ("loss_tolerence", old.loss_tolerance_percent != new.loss_tolerance_percent),
        ("latency_tolerence", old.latency_tolerance_ms != new.latency_tolerance_ms),
        ("ip4", old.ip4 != new.ip4),
        ("ip6", old.ip6 != new.ip6),
        ("ip4_gateway", old.ip4_gateway != new.ip4_gateway),
        ("ip6_gateway", old.ip6_gateway != new.ip6_gateway),
        ("ip4_routes", old.ip4_routes != new.ip4_routes),
        ("ip6_routes", old.ip6_routes != new.ip6_routes),
        ("mtu", old.mtu != new.mtu),
        ("quota_file", old.quota_file != new.quota_file),
        ("setup", old.roles.setup != new.roles.setup),
        ("remote_networks", old.roles.remote_networks != new.roles.remote_networks),
        ("default_gateway", old.roles.default_gateway != new.roles.default_gateway),
        ("kill_switch", old.roles.kill_switch != new.roles.kill_switch),
        ("nat", old.roles.nat != new.roles.nat),
        ("port_forwards", old.roles.port_forwards != new.roles.port_forwards),
        ("routing_table", old.roles.routing_table != new.roles.routing_table),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::options::ValueKind;
    use super::*;

    const BASE: &str = "[general]\nmode = client\npassword = q3Zt8uW1xYk5rPz9vNc2\n\
        [a]\nremotehost = h\nremoteport = 1\n[b]\nremotehost = h\nremoteport = 2\n";

    fn read(text: &str) -> Config {
        Config::parse("f", text).expect("the test's text is a configuration").0
    }

    #[test]
    fn every_option_of_general_is_compared() {
        let config = read(BASE);
        let compared = differences(&config.general, &config.general).map(|(name, _)| name);
        let known = options::conf().filter(|spec| spec.section == SectionKind::General);
        for spec in known.filter(|spec| !matches!(spec.kind, ValueKind::Switch { .. })) {
            assert!(compared.contains(&spec.name), "{}", spec.name);
        }
        for name in compared {
            assert!(options::find(SectionKind::General, name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_unchanged_file_changes_nothing() {
        assert!(read(BASE).changes(&read(&BASE.replace('\n', "\n\n# moved down\n"))).is_empty());
    }

    #[test]
    fn links_are_added_removed_moved_and_tuned_by_name() {
        let newer = "[c]\nremotehost = h\nremoteport = 3\n";
        let changes = read(BASE).changes(&read(&format!("{BASE}{newer}")));
        assert_eq!(changes, Changes { added: vec!["c".into()], ..Changes::default() });
        let changes = read(BASE).changes(&read(&BASE.replace("remoteport = 2", "remoteport = 9")));
        assert_eq!(changes, Changes { moved: vec!["b".into()], ..Changes::default() });
        let changes = read(BASE).changes(&read(&format!("{BASE}timeout = 5\n")));
        assert_eq!(changes, Changes { tuned: vec!["b".into()], ..Changes::default() });
        let changes = read(&format!("{BASE}{newer}")).changes(&read(BASE));
        assert_eq!(changes, Changes { removed: vec!["c".into()], ..Changes::default() });
    }

    #[test]
    fn a_changed_start_only_option_is_reported() {
        let newer = BASE.replace("[general]", "[general]\ntuntap = tap\nreorder_buffer_size = 64");
        let changes = read(BASE).changes(&read(&newer));
        assert_eq!(
            (changes.restart.as_slice(), changes.general.as_slice()),
            (&["tuntap"][..], &["reorder_buffer_size"][..])
        );
        let reports: Vec<_> = changes.reports("mlvpn.conf").iter().map(ToString::to_string).collect();
        let expected =
            "mlvpn.conf: [general] tuntap: the change takes effect after a restart; restart mlvpn when convenient";
        assert_eq!(reports, [expected]);
    }

    /// A server of three peers.
    const PEERS: &str = "[general]\nmode = server\nprotocol = 2\n\
        private_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n[a]\nbindport = 1\n\
        [peer x]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nallowed_ips = 10.0.0.1\n\
        [peer y]\nsecret = q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\nallowed_ips = 10.0.0.2\n";

    #[test]
    fn peers_are_added_removed_changed_and_reordered_by_name() {
        let (head, y) = PEERS.split_at(PEERS.find("[peer y]").expect("it is there"));
        let without_y = read(head).changes(&read(PEERS));
        assert_eq!(without_y, Changes { peers_added: vec!["y".into()], ..Changes::default() });
        let back = read(PEERS).changes(&read(head));
        assert_eq!(back, Changes { peers_removed: vec!["y".into()], ..Changes::default() });
        let (general, x) = head.split_at(head.find("[peer x]").expect("it is there"));
        let turned = read(PEERS).changes(&read(&format!("{general}{y}{x}")));
        assert_eq!(turned, Changes { peers_reordered: true, ..Changes::default() });
        for newer in [PEERS.replace("10.0.0.2", "10.0.0.2/31"), PEERS.replace("secret = q83v", "secret = r83v")] {
            let changed = read(PEERS).changes(&read(&newer));
            assert_eq!(changed, Changes { peers_changed: vec!["y".into()], ..Changes::default() });
        }
    }

    #[test]
    fn a_new_private_key_or_protocol_waits_for_a_restart() {
        let other_key = PEERS.replace("private_key = d", "private_key = f");
        let changes = read(PEERS).changes(&read(&other_key));
        assert_eq!(changes, Changes { restart: vec!["private_key"], ..Changes::default() });
        assert!(read(BASE).changes(&read(PEERS)).restart.contains(&"protocol"));
    }

    #[test]
    fn changed_filters_are_noticed() {
        let newer = format!("{BASE}[filters]\na = icmp\n");
        assert!(read(BASE).changes(&read(&newer)).filters);
    }
}

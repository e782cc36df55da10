// SPDX-License-Identifier: BSD-2-Clause
//! What commands changed that the configuration does not know of. It lasts until the daemon ends; a file that is read again
//! is followed with it on top.

use std::collections::HashSet;

use super::command::CommandError;
use super::service::TunnelChange;
use super::worker::Worker;
use crate::config::{Config, MAX_PEERS, Mode, Network, Peer, Protocol};
use crate::log::Topic;
use crate::{clock, log_info, log_warn};

/// Changes that outlast a reload.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Of every link.
    pub(super) tolerances: TunnelChange,
    /// Peers that are in no file.
    added: Vec<Peer>,
    /// Names of peers that are in the file and shall not be admitted.
    removed: HashSet<String>,
}

impl Live {
    /// Puts the changes on top of a configuration that was read. A peer that the file knows now, or that is in the way of
    /// one the file knows, is the file's.
    pub(super) fn follow(&mut self, newer: &mut Config) {
        self.removed.retain(|name| newer.peer(name).is_some());
        newer.peers.retain(|peer| !self.removed.contains(&peer.name));
        self.added.retain(|peer| match conflict(newer, peer) {
            None => {
                newer.peers.push(peer.clone());
                true
            }
            Some(why) => {
                log_warn!(Topic::Config, "{}: added by command and given up: {why}", peer.name);
                false
            }
        });
    }
}

/// Why `peer` cannot be one of the configuration's.
fn conflict(config: &Config, peer: &Peer) -> Option<String> {
    let general = &config.general;
    if general.protocol != Protocol::Two || general.mode != Mode::Server {
        return Some("only a server of protocol 2 has peers to add and remove; a client's are in its file".to_owned());
    }
    let Some(own) = &general.private_key else {
        return Some("this end has no private_key in [general]; add one (run: mlvpn keygen) and restart".to_owned());
    };
    if peer.public_key.as_ref() == Some(own.pair().public_key()) {
        return Some("the public key is this end's own; give that of the other end".to_owned());
    }
    if config.peers.len() >= MAX_PEERS {
        return Some(format!("there are {MAX_PEERS} peers, and no more are served"));
    }
    if peer.allowed.is_empty() && !config.peers.is_empty() {
        return Some("the networks of the peer are missing; several peers need them".to_owned());
    }
    config.peers.iter().find_map(|other| rivalry(other, peer))
}

/// Why two peers cannot be there together.
fn rivalry(other: &Peer, peer: &Peer) -> Option<String> {
    let name = &other.name;
    if *name == peer.name {
        return Some(format!("there is a peer {name}; remove it first, or choose another name"));
    }
    if other.public_key.is_some() && other.public_key == peer.public_key {
        return Some(format!("the public key is that of {name}; each peer has a key of its own"));
    }
    if other.allowed.is_empty() {
        return Some(format!("{name} has all networks; give it allowed_ips in the file"));
    }
    let overlaps = |a: &Network, b: &Network| a.contains(b.address) || b.contains(a.address);
    let shared = peer.allowed.iter().find(|own| other.allowed.iter().any(|theirs| overlaps(own, theirs)))?;
    Some(format!("{}/{} overlaps a network of {name}", shared.address, shared.prefix_len))
}

/// Those of a peer's networks that the configuration does not route into the tunnel: they lie neither in the device's own
/// networks nor in those behind it. Only the monitor sets routes, and only what the file lets it: a worker that was taken
/// over cannot draw the machine's traffic into the tunnel by inventing peers.
fn unrouted(config: &Config, peer: &Peer) -> Vec<Network> {
    let general = &config.general;
    let own4 = general.ip4.iter().chain(&general.ip4_routes).map(|cidr| (cidr.address.into(), cidr.prefix_len));
    let own6 = general.ip6.iter().chain(&general.ip6_routes).map(|cidr| (cidr.address.into(), cidr.prefix_len));
    let mut routed: Vec<Network> =
        own4.chain(own6).map(|(address, prefix_len)| Network { address, prefix_len }).collect();
    routed.extend(&general.roles.remote_networks);
    let lies_in = |own: &Network, around: &Network| around.prefix_len <= own.prefix_len && around.contains(own.address);
    peer.allowed.iter().filter(|own| !routed.iter().any(|around| lies_in(own, around))).copied().collect()
}

impl Worker {
    /// Admits a peer; which of its networks this machine does not send into the tunnel.
    pub(super) fn admit_peer(&mut self, peer: Peer) -> Result<Vec<Network>, CommandError> {
        if let Some(why) = conflict(&self.config, &peer) {
            return Err(CommandError::Invalid(why));
        }
        log_info!(Topic::Control, "{}: peer admitted, as somebody asked", peer.name);
        let unrouted = unrouted(&self.config, &peer);
        let mut newer = self.config.clone();
        newer.peers.push(peer.clone());
        self.live.removed.remove(&peer.name);
        self.live.added.push(peer);
        let followed = self.follow_config(newer, clock::now());
        followed.map(|()| unrouted).map_err(|why| CommandError::Failed(why.to_string()))
    }

    pub(super) fn dismiss_peer(&mut self, name: &str) -> Result<(), CommandError> {
        let general = &self.config.general;
        if general.protocol != Protocol::Two || general.mode != Mode::Server {
            let text = "only a server of protocol 2 has peers to add and remove; a client's are in its file";
            return Err(CommandError::Invalid(text.to_owned()));
        }
        let mut newer = self.config.clone();
        newer.peers.retain(|peer| peer.name != name);
        if newer.peers.len() == self.config.peers.len() {
            return Err(CommandError::NotFound("there is no such peer; `mlvpn peer show` lists them".to_owned()));
        }
        log_info!(Topic::Control, "{name}: peer removed, as somebody asked");
        let was_added = self.live.added.iter().any(|peer| peer.name == name);
        self.live.added.retain(|peer| peer.name != name);
        if !was_added {
            self.live.removed.insert(name.to_owned());
        }
        self.follow_config(newer, clock::now()).map_err(|why| CommandError::Failed(why.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "[general]\nmode = server\nprotocol = 2\n\
        private_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n[a]\nbindport = 1\n";
    const X: &str = "[peer x]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nallowed_ips = 10.0.0.0/24\n";
    const Y: &str = "[peer y]\nsecret = q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\nallowed_ips = 10.0.1.0/24\n";

    fn read(text: &str) -> Config {
        Config::parse("f", text).expect("a configuration").0
    }

    fn peer(text: &str) -> Peer {
        read(&format!("{SERVER}{text}")).peers.remove(0)
    }

    #[test]
    fn a_peer_that_was_added_stays_and_one_that_was_removed_stays_away_when_the_file_is_read_again() {
        let mut live = Live { added: vec![peer(X)], ..Live::default() };
        live.removed.insert("y".to_owned());
        let mut newer = read(&format!("{SERVER}{Y}"));
        live.follow(&mut newer);
        let names: Vec<&str> = newer.peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["x"]);
        assert!(live.removed.contains("y"));
        // Gone from the file: forgotten, and let in when it is back.
        live.follow(&mut read(SERVER));
        assert!(live.removed.is_empty());
    }

    #[test]
    fn a_peer_that_the_file_knows_now_is_the_files() {
        let mut live = Live { added: vec![peer(X)], ..Live::default() };
        let mut newer = read(&format!("{SERVER}{}", X.replace("10.0.0.0", "10.0.9.0")));
        live.follow(&mut newer);
        assert!(live.added.is_empty());
        assert_eq!(newer.peers.len(), 1);
    }

    #[test]
    fn networks_of_a_new_peer_that_nothing_routes_into_the_tunnel_are_told() {
        let general = "[general]\nip4 = 10.42.0.1/24\nip6_routes = fd00:7::/48\nremote_networks = 192.168.0.0/16\n";
        let config = read(&SERVER.replace("[general]\n", general));
        let networks = "10.42.0.3/32, 192.168.9.0/24, 192.0.0.0/8, 172.16.0.0/12, fd00:7:0:1::/64, fd00:8::/64";
        let peer = peer(&X.replace("10.0.0.0/24", networks));
        let told = unrouted(&config, &peer);
        let told: Vec<String> = told.iter().map(|own| format!("{}/{}", own.address, own.prefix_len)).collect();
        assert_eq!(told, ["192.0.0.0/8", "172.16.0.0/12", "fd00:8::/64"]);
    }

    #[test]
    fn peers_that_are_in_each_others_way_are_refused_with_the_reason() {
        let config = read(&format!("{SERVER}{X}"));
        let y = peer(Y);
        assert_eq!(conflict(&config, &y), None);
        for (changed, word) in [
            (Peer { name: "x".to_owned(), ..y.clone() }, "there is a peer x"),
            (Peer { public_key: peer(X).public_key, ..y.clone() }, "the public key is that of x"),
            (Peer { allowed: peer(&X.replace("/24", "/16")).allowed, ..y.clone() }, "overlaps a network of x"),
            (Peer { allowed: Vec::new(), ..y.clone() }, "networks of the peer are missing"),
        ] {
            let why = conflict(&config, &changed).unwrap_or_default();
            assert!(why.contains(word), "{why}");
        }
        let client = "[general]\nmode = client\npassword = q3Zt8uW1xYk5rPz9vNc2\n[a]\nremotehost = h\nremoteport = 1\n";
        assert!(conflict(&read(client), &y).is_some_and(|why| why.contains("only a server")));
    }
}

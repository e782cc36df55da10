// SPDX-License-Identifier: BSD-2-Clause
//! What no peer alone can show: names and keys given twice, keys in the wrong place, networks of two peers.

use std::collections::HashMap;
use std::sync::Arc;

use mlvpn_core::state::identity::{KeyPair, PublicKey, SecretKey, SharedSecret};
use mlvpn_core::tunnel::peer::config::Network;

use super::ini::Section;
use super::peer_values::{RUN_GENSECRET, RUN_PUBKEY, written};
use super::peers::{Own, Placed};
use super::report::{Report, Reports, quotable};
use super::types::{Mode, Peer};

/// An error about an option of a peer: at its line, or at the section's where it is not given.
fn error(file: &Arc<str>, section: &Section, option: &str, message: impl Into<String>, advice: &str) -> Report {
    let entry = section.entries.iter().find(|entry| entry.key == option);
    let line = entry.map_or(section.line, |entry| entry.line);
    Report::error(file, message, advice).at(line).in_section(&section.name).about(option)
}

/// Two sections may name one peer though their headers differ, by a blank.
pub(crate) fn names(file: &Arc<str>, peers: &[Placed<'_>], reports: &mut Reports) {
    let mut seen = HashMap::new();
    for (peer, section) in peers {
        if let Some(line) = seen.insert(&peer.name, section.line) {
            let message = format!("there is a peer of this name on line {line}");
            reports.push(Report::error(file, message, "rename one").at(section.line).in_section(&section.name));
        }
    }
}

/// Keys that stand where another belongs, and keys of two peers.
pub(crate) fn keys(file: &Arc<str>, peers: &[Placed<'_>], own: &Own<'_>, reports: &mut Reports) {
    let pair = own.general.private_key.as_ref().map(super::secret::PrivateKey::pair);
    let mut seen: HashMap<PublicKey, &Peer> = HashMap::new();
    for (peer, section) in peers {
        if let Some((message, advice)) = peer.public_key.and_then(|key| misplaced(&key, pair?)) {
            reports.push(error(file, section, "public_key", message, advice));
        }
        if let Some(message) = peer.secret.as_ref().and_then(|secret| known(secret, peer.public_key, pair)) {
            reports.push(error(file, section, "secret", message, RUN_GENSECRET));
        }
        let Some(key) = peer.public_key else { continue };
        if let Some(twin) = seen.insert(key, peer).filter(|twin| is_same_peer(twin, peer, own.mode)) {
            let message = format!("the key of [peer {}]", quotable(&twin.name));
            let advice = "give each peer its own key, or make it one peer";
            reports.push(error(file, section, "public_key", message, advice));
        }
    }
}

/// What else a peer's public key is, when it is a key of this end.
fn misplaced(key: &PublicKey, own: &KeyPair) -> Option<(&'static str, &'static str)> {
    if key == own.public_key() {
        return Some(("the public key of this end", RUN_PUBKEY));
    }
    // Reading sets the bits that a private key has fixed, however they were written.
    let as_private = SecretKey::from_text(key.to_text().as_str()).ok()?;
    (as_private.to_text().as_str() == own.secret_key().to_text().as_str())
        .then_some(("the private key of this end", RUN_PUBKEY))
}

/// Which key of somebody a secret is.
fn known(secret: &SharedSecret, peer: Option<PublicKey>, own: Option<&KeyPair>) -> Option<&'static str> {
    let text = secret.to_text();
    let is_public = |key: PublicKey| key.to_text().as_str() == text.as_str();
    if peer.is_some_and(is_public) || own.is_some_and(|own| is_public(*own.public_key())) {
        return Some("a public key, which everyone may know");
    }
    let as_private = SecretKey::from_text(text.as_str()).ok()?;
    (as_private.to_text().as_str() == own?.secret_key().to_text().as_str())
        .then_some("the private key of this end, which nobody else may know")
}

/// A server tells its peers by their keys; a client may know one server at several addresses.
fn is_same_peer(one: &Peer, other: &Peer, mode: Option<Mode>) -> bool {
    mode != Some(Mode::Client) || (one.remotehost == other.remotehost && one.remoteport == other.remoteport)
}

/// What a server of several peers needs: to tell them apart, and to know whose each network is.
pub(crate) fn shares_of_a_server(file: &Arc<str>, peers: &[Placed<'_>], reports: &mut Reports) {
    let has = |section: &Section, option: &str| section.entries.iter().any(|entry| entry.key == option);
    let (mut keyless, mut classic): (Option<&Peer>, Option<&Peer>) = (None, None);
    for (peer, section) in peers {
        if peer.allowed.is_empty() && !has(section, "allowed_ips") {
            let advice = "add the networks of this peer, as allowed_ips = 10.42.43.2/32; a server with several peers \
                          needs them";
            reports.push(error(file, section, "allowed_ips", "not given", advice));
        }
        if !has(section, "public_key") && has(section, "secret") {
            if let Some(first) = keyless {
                let message =
                    format!("not given, as for [peer {}]; one peer at most can go without", quotable(&first.name));
                reports.push(error(file, section, "public_key", message, RUN_PUBKEY));
            }
            keyless = keyless.or(Some(peer));
        }
        if peer.password.is_some() {
            if let Some(first) = classic {
                let message = format!("given, as for [peer {}]", quotable(&first.name));
                let advice = "give one peer a password at most: nothing in a classic datagram tells whose it is";
                reports.push(error(file, section, "password", message, advice));
            }
            classic = classic.or(Some(peer));
        }
    }
    networks(file, peers, reports);
}

/// Each network belongs to one peer. Networks are nested or apart, so in the order of their first addresses, wider ones
/// first, those a network lies in are the ones before it that have not ended: at most one for each prefix length.
fn networks(file: &Arc<str>, peers: &[Placed<'_>], reports: &mut Reports) {
    let of = |(place, (peer, _)): (usize, &Placed<'_>)| -> Vec<_> {
        peer.allowed.iter().map(|network| (*network, place)).collect()
    };
    let mut all: Vec<(Network, usize)> = peers.iter().enumerate().flat_map(of).collect();
    all.sort_by_key(|(network, place)| (network.address, network.prefix_len, *place));
    let mut around: Vec<(Network, usize)> = Vec::new();
    for (network, place) in all {
        while around.last().is_some_and(|(outer, _)| !outer.contains(network.address)) {
            around.pop();
        }
        if let Some((outer, owner)) = around.iter().rev().find(|(_, owner)| *owner != place) {
            // The peer further down in the file is told.
            let (mine, theirs) = if place > *owner { (network, *outer) } else { (*outer, network) };
            let ((_, section), (other, _)) = (&peers[place.max(*owner)], &peers[place.min(*owner)]);
            let message =
                format!("{} overlaps {} of [peer {}]", written(&mine), written(&theirs), quotable(&other.name));
            reports.push(error(file, section, "allowed_ips", message, "give each network to one peer"));
        }
        around.push((network, place));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn peer(name: &str, networks: &[(u32, u8)]) -> Placed<'static> {
        static SECTION: Section = Section { name: String::new(), line: 1, entries: Vec::new() };
        let network = |&(bits, prefix_len): &(u32, u8)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            Network { address: IpAddr::V4(Ipv4Addr::from_bits(bits & mask)), prefix_len }
        };
        let allowed = networks.iter().map(network).collect();
        let (name, remotehost) = (name.to_owned(), None);
        (Peer { name, public_key: None, secret: None, password: None, remotehost, remoteport: None, allowed }, &SECTION)
    }

    /// Pseudorandom numbers of one seed: the multiplier is Knuth's for 64 bits.
    fn next(state: &mut u64) -> u32 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(*state >> 33).expect("31 bits")
    }

    #[test]
    fn an_overlap_is_found_exactly_when_comparing_each_with_each_finds_one() {
        let (mut found, mut free) = (0, 0);
        for seed in 0..2000_u64 {
            let mut state = seed;
            let mut some = |peer_name: &str| {
                let list: Vec<_> = (0..3)
                    .map(|_| {
                        let bits = next(&mut state) << 26;
                        (bits, u8::try_from(next(&mut state) % 4 + 3).expect("below 7"))
                    })
                    .collect();
                peer(peer_name, &list)
            };
            let peers = [some("a"), some("b"), some("c")];
            let both = |a: &Network, b: &Network| a.contains(b.address) || b.contains(a.address);
            let naive = (0..3).any(|i| {
                (0..i).any(|j| peers[i].0.allowed.iter().any(|a| peers[j].0.allowed.iter().any(|b| both(a, b))))
            });
            let mut reports = Reports::new();
            networks(&Arc::from("f"), &peers, &mut reports);
            assert_eq!(reports.has_errors(), naive, "seed {seed}: {peers:?}");
            if naive { found += 1 } else { free += 1 }
        }
        assert!(found > 100 && free > 100, "{found} with overlaps, {free} without");
    }
}

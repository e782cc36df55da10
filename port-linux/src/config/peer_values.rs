// SPDX-License-Identifier: BSD-2-Clause
//! Reads the values that only protocol 2 has: its name, keys, and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mlvpn_core::state::identity::{KEY_TEXT, KeyTextError, PublicKey, SecretKey, SharedSecret};
use mlvpn_core::tunnel::peer::config::{MAX_ALLOWED, Network};

use super::addresses::{Routable, parse_cidr};
use super::ini::Entry;
use super::secret::PrivateKey;
use super::types::{Cidr, Protocol};
use super::values::SectionReader;

const RUN_KEYGEN: &str = "give the output of `mlvpn keygen`";
pub(crate) const RUN_PUBKEY: &str = "give the output of `mlvpn pubkey` for the other end's private key";
pub(crate) const RUN_GENSECRET: &str = "set the output of `mlvpn gensecret` on both sides";

impl SectionReader<'_> {
    /// The protocol, the classic one when there is no word about it; None when the word is none.
    pub(crate) fn protocol(&mut self) -> Option<Protocol> {
        let Some((word, entry)) = self.word("protocol") else { return Some(Protocol::Classic) };
        let known = [Protocol::Classic, Protocol::Two].into_iter().find(|known| known.name() == word.as_str());
        if known.is_none() {
            self.fail(entry, "neither \"classic\" nor \"2\"", "write one of the two");
        }
        known
    }

    pub(crate) fn private_key(&mut self, name: &str) -> Option<PrivateKey> {
        self.key(name, RUN_KEYGEN, SecretKey::from_text).map(PrivateKey::new)
    }

    pub(crate) fn public_key(&mut self, name: &str) -> Option<PublicKey> {
        self.key(name, RUN_PUBKEY, PublicKey::from_text)
    }

    pub(crate) fn shared_secret(&mut self, name: &str) -> Option<SharedSecret> {
        self.key(name, RUN_GENSECRET, SharedSecret::from_text)
    }

    fn key<K>(&mut self, name: &str, advice: &str, read: fn(&str) -> Result<K, KeyTextError>) -> Option<K> {
        let (word, entry) = self.word(name)?;
        let text = word.trim_matches('\t');
        match read(text) {
            Ok(key) => Some(key),
            Err(error) => {
                self.fail(entry, fault(text, error), advice);
                None
            }
        }
    }

    /// The networks of a list. One that is none is an error: the peer would be refused what it should be allowed.
    pub(crate) fn networks(&mut self, name: &str) -> Vec<Network> {
        let Some((_, entry)) = self.find(name) else { return Vec::new() };
        let text = entry.text();
        let mut networks = Vec::new();
        let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        for (word, number) in words.zip(1u32..) {
            let Some(network) = self.network(word, entry, number) else { continue };
            if networks.contains(&network) {
                let message = format!("network {number} was given before");
                self.warn(entry, message, "remove one of the two");
            } else if networks.len() == MAX_ALLOWED {
                let advice = "join neighbouring networks to larger ones, or make it two peers";
                self.fail(entry, format!("more than {MAX_ALLOWED} networks"), advice);
                break;
            } else {
                networks.push(network);
            }
        }
        networks
    }

    fn network(&mut self, word: &str, entry: &Entry, number: u32) -> Option<Network> {
        let read = read_network::<Ipv4Addr>(word).or_else(|| read_network::<Ipv6Addr>(word));
        let Some((network, exact)) = read else {
            let advice = "write networks as ADDRESS/PREFIX, separated by commas or spaces";
            self.fail(entry, format!("network {number} is not one"), advice);
            return None;
        };
        if !exact {
            let message = format!("network {number} has bits set beyond its prefix length, which are ignored");
            self.warn(entry, message, format!("write {}", written(&network)));
        }
        Some(network)
    }
}

/// What is wrong with a key's text, which is not shown: it may be most of a secret.
fn fault(text: &str, error: KeyTextError) -> String {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    match error {
        KeyTextError::Text if !text.bytes().all(is_base64) => "not base64".to_owned(),
        KeyTextError::Text if text.len() != KEY_TEXT => {
            format!("{} characters long, and a key has {KEY_TEXT}", text.len())
        }
        KeyTextError::Text => "not 32 bytes in base64".to_owned(),
        KeyTextError::Zero => "all zeros, which everyone knows".to_owned(),
        KeyTextError::LowOrder => "not a usable key: everyone can work out what is agreed with it".to_owned(),
    }
}

/// The network a word names, and whether the word has no bits beyond the prefix length.
fn read_network<A: Routable + Into<IpAddr>>(word: &str) -> Option<(Network, bool)> {
    let (cidr, _) = parse_cidr::<A>(word, A::ADDRESS_BITS)?;
    let network = A::network(cidr);
    Some((Network { address: network.address.into(), prefix_len: network.prefix_len }, network == cidr))
}

/// The network that `text` names, as ADDRESS/PREFIX or an address alone.
#[must_use]
pub fn network(text: &str) -> Option<Network> {
    let read = read_network::<Ipv4Addr>(text).or_else(|| read_network::<Ipv6Addr>(text));
    read.map(|(network, _)| network)
}

/// A network as it stands in the file.
pub(crate) fn written(network: &Network) -> String {
    Cidr { address: network.address, prefix_len: network.prefix_len }.to_string()
}

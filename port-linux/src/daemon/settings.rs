// SPDX-License-Identifier: BSD-2-Clause
//! The configuration in the engine's words, and in the status command's.

use std::io;

use mlvpn_core::state::handshake::{Identity, Offer, Responder};
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::gateway::Gateway;
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::peer::config::{ClientCredentials, Network, PeerConfig};
use mlvpn_core::tunnel::{self, Tunnel};
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::limits::MAX_LINKS;
use mlvpn_core::words::policy::{LinkPolicy, Quota};
use mlvpn_core::words::rules::{Action, MAX_RULES, Rule, Rules};
use mlvpn_core::words::time::Duration;

use super::client::{Client, ServerEngine};
use super::engine::Engine;
use super::peer_engine::PEER_LINKS;
use super::server::{Credentials, PeerSettings, Server};
use crate::clock;
use crate::config::{self, Config, DeviceKind, Link, Mode, Protocol, Secret, USUAL_PATH_MTU};
use crate::privilege::{LinkGrants, Orders};
use crate::roles::Plan;
use crate::script::ScriptEnvironment;
use crate::socket::Family;

/// Handshakes a server reads in a second before it demands cookies: 287 us each on one core, so 3 % of it.
const UNGUARDED_HANDSHAKES: u32 = 100;

/// The engine's configuration.
pub(super) fn tunnel(config: &Config, mtu: u16) -> tunnel::Config {
    tunnel::Config {
        role: match config.general.mode {
            Mode::Client => Role::Client,
            Mode::Server => Role::Server,
        },
        medium: medium(config.general.tuntap),
        key: ClassicKey::from_password(config.general.password.expose()),
        cleartext_data: config.general.cleartext_data,
        mtu,
        reorder: config.general.reorder_buffer_size > 0,
    }
}

/// The engine the configuration asks for, with a seed of its own.
/// A client's is that of server number `server`, under `number`.
pub(super) fn engine(config: &Config, mtu: u16, server: usize, number: u16) -> io::Result<Engine> {
    let seed = random()?;
    match (config.general.protocol, config.general.mode) {
        (Protocol::Classic, _) => Ok(Engine::Classic(Box::new(Tunnel::new(tunnel(config, mtu), seed)))),
        (Protocol::Two, Mode::Client) => {
            client_engine(config, server, number).map(|engine| Engine::Client(Box::new(Client::new(engine))))
        }
        (Protocol::Two, Mode::Server) => new_server(config, seed).map(|server| Engine::Server(Box::new(server))),
    }
}

/// A client's engine towards server number `place`.
pub(super) fn client_engine(config: &Config, place: usize, number: u16) -> io::Result<Box<ServerEngine>> {
    let peer = config.peers.get(place).ok_or_else(|| io::Error::other("no such [peer] section"))?;
    let credentials = client_credentials(config, peer);
    Ok(Box::new(Peer::client(peer_config(config, &[], MAX_LINKS), credentials, number, random()?)))
}

/// A server with its peers.
fn new_server(config: &Config, seed: [u8; 32]) -> io::Result<Server> {
    let keys = config.general.private_key.as_ref().map(|key| Responder::new(Identity::Keys(key.pair().clone())));
    let secret = config.peers.iter().find(|peer| peer.public_key.is_none()).map(shared_secret);
    let secret = secret.map(|secret| Responder::new(Identity::Secret(secret)));
    let gateway = Gateway::new(keys, secret, UNGUARDED_HANDSHAKES, seed);
    let mut server = Server::new(gateway, medium(config.general.tuntap));
    for peer in &config.peers {
        server.add_peer(peer_settings(config, peer), random()?, clock::now());
    }
    Ok(server)
}

/// What a server knows of a peer.
pub(super) fn peer_settings(config: &Config, peer: &config::Peer) -> PeerSettings {
    PeerSettings {
        name: peer.name.clone(),
        networks: peer.allowed.clone(),
        credentials: match &peer.password {
            Some(password) => Credentials::Classic(classic_peer(config, password)),
            None => Credentials::Two {
                public_key: peer.public_key,
                secret: shared_secret(peer),
                config: Box::new(peer_config(config, &peer.allowed, PEER_LINKS)),
            },
        },
    }
}

/// A server's configuration towards the peer that speaks the classic protocol, until its sockets are open and tell the
/// MTU.
fn classic_peer(config: &Config, password: &Secret) -> tunnel::Config {
    let usual = config.inner_mtu_of_classic_peer(u32::from(USUAL_PATH_MTU), Family::V4);
    tunnel::Config {
        role: Role::Server,
        medium: medium(config.general.tuntap),
        key: ClassicKey::from_password(password.expose()),
        cleartext_data: false,
        mtu: config.general.mtu.map_or(usual, |mtu| mtu.min(usual)),
        reorder: config.general.reorder_buffer_size > 0,
    }
}

/// What an engine that takes `links` links is told.
fn peer_config(config: &Config, allowed: &[Network], links: usize) -> PeerConfig {
    PeerConfig {
        medium: medium(config.general.tuntap),
        max_mtu: config.general.mtu.unwrap_or_else(|| config.usual_inner_mtu()),
        reorder: config.general.reorder_buffer_size > 0,
        offer: Offer { aes_in_hardware: has_aes(), max_links: u8::try_from(links).unwrap_or(u8::MAX) },
        allowed: allowed.iter().copied().collect(),
    }
}

fn client_credentials(config: &Config, peer: &config::Peer) -> ClientCredentials {
    match (peer.public_key, &config.general.private_key) {
        (Some(server), Some(own)) => {
            ClientCredentials::Keys { own: own.pair().clone(), server, secret: shared_secret(peer) }
        }
        // Without a public key there is a secret: the configuration's reader saw to that.
        _ => ClientCredentials::Secret(shared_secret(peer)),
    }
}

fn shared_secret(peer: &config::Peer) -> SharedSecret {
    peer.secret.clone().unwrap_or_else(SharedSecret::none)
}

/// Whether the CPU has instructions for AES and for GCM's multiplication.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// 32 bytes of the system's random source.
pub(super) fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A client's link of protocol 2 leads to its server, where the link does not say otherwise.
pub(super) fn with_server(mut link: Link, config: &Config, server: usize) -> Link {
    if config.general.protocol == Protocol::Two
        && config.general.mode == Mode::Client
        && let Some(peer) = config.peers.get(server)
    {
        link.remotehost = link.remotehost.or_else(|| peer.remotehost.clone());
        link.remoteport = link.remoteport.or(peer.remoteport);
    }
    link
}

/// A link's settings.
pub(super) fn link(link: &Link) -> LinkSettings {
    LinkSettings {
        rate_bytes_per_sec: u64::from(link.bandwidth_upload),
        timeout: Duration::from_secs(u64::from(link.timeout_secs)),
        loss_tolerance: link.loss_tolerance_percent,
        latency_tolerance: Duration::from_millis(u64::from(link.latency_tolerance_ms)),
        fallback_only: link.fallback_only,
        policy: LinkPolicy {
            tier: link.tier,
            weight: link.weight.unwrap_or(0),
            is_metered: link.metered,
            receive_bytes_per_sec: u64::from(link.bandwidth_download),
            quota: Quota { day: link.day, month: link.month },
        },
    }
}

/// The classes as the engine knows them; `place_of` says which link has a name. One that names a link that has no place is
/// for none in particular.
pub(super) fn rules(config: &Config, place_of: impl Fn(&str) -> Option<LinkId>) -> Rules {
    let rules = config.classes.iter().map(|class| {
        let from = &class.rule;
        let mut rule = Rule::default();
        // Both have room for as many values, and the reader took no DSCP that is none.
        let _ = rule.protocols.extend_from_slice(&from.protocols);
        let _ = rule.ports.extend_from_slice(&from.ports);
        for dscp in &from.dscps {
            let _ = rule.match_dscp(*dscp);
        }
        rule.action = Action {
            link: from.link.as_deref().and_then(&place_of),
            duplicate: from.duplicate,
            interactive: from.interactive,
        };
        rule
    });
    Rules(rules.take(MAX_RULES).collect())
}

/// What the status command is told, as written in the configuration.
fn script_environment(config: &Config) -> ScriptEnvironment {
    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    fn list(values: &[impl ToString]) -> String {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
    let general = &config.general;
    ScriptEnvironment {
        ip4: text(general.ip4.as_ref()),
        ip6: text(general.ip6.as_ref()),
        ip4_gateway: text(general.ip4_gateway),
        ip6_gateway: text(general.ip6_gateway),
        ip4_routes: list(&general.ip4_routes),
        ip6_routes: list(&general.ip6_routes),
    }
}

/// What the monitor takes from the configuration; `follows_devices`: interfaces may have other names than the kernel's.
pub(super) fn orders(config: &Config, follows_devices: bool) -> Orders {
    let is_client_of_two = config.general.protocol == Protocol::Two && config.general.mode == Mode::Client;
    let servers = config.peers.iter().filter(|_| is_client_of_two);
    let links = LinkGrants {
        links: config.links.clone(),
        servers: servers.map(|peer| (peer.remotehost.clone(), peer.remoteport)).collect(),
        follows_devices,
        mark: None,
    };
    Orders { environment: script_environment(config), links, plan: Plan::of(config, !follows_devices) }
}

/// What the configuration asks for and this version does not do, each in a sentence for the log.
pub(super) fn not_yet_served(config: &Config) -> Vec<&'static str> {
    let mut sentences = Vec::new();
    let is_asked = config.general.control_unix_path.is_some() || config.general.control_bind_port.is_some();
    if is_asked && cfg!(not(feature = "full")) {
        sentences.push("this program has no control socket: ask the object mlvpn on ubus");
    }
    sentences
}

pub(super) fn medium(kind: DeviceKind) -> Medium {
    match kind {
        DeviceKind::Tun => Medium::Ip,
        DeviceKind::Tap => Medium::Ethernet,
    }
}

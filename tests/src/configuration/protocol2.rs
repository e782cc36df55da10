// SPDX-License-Identifier: BSD-2-Clause
//! Configurations of protocol 2.

use mlvpn_core::state::identity::{KeyPair, SecretKey, SharedSecret};
use zeroize::Zeroizing;

use super::{Configuration, Family};
use crate::network::{Side, outside_address};

/// A private key and its public one, as a configuration has them.
#[must_use]
pub fn keys(number: u8) -> (String, String) {
    let secret = SecretKey::from_random(Zeroizing::new([number; 32]));
    let private = secret.to_text().as_str().to_owned();
    let public = KeyPair::new(secret).public_key().to_text().as_str().to_owned();
    (private, public)
}

/// A shared secret, as a configuration has it.
#[must_use]
pub fn secret(number: u8) -> String {
    SharedSecret::from_random(Zeroizing::new([number; 32])).to_text().as_str().to_owned()
}

/// Both ends with protocol 2, without peers; the client's links lead to the server's.
#[must_use]
pub fn without_peers(links: usize) -> (Configuration, Configuration) {
    let of = |side| Configuration::new(side, links, Family::V4);
    let (client, server) = (of(Side::Client), of(Side::Server));
    let modern = |side: Configuration| side.without("general", "password").with("general", "protocol", "2");
    (modern(client), modern(server))
}

/// Both ends known by their keys.
#[must_use]
pub fn with_keys(links: usize) -> (Configuration, Configuration) {
    let (client, server) = without_peers(links);
    let ((client_private, client_public), (server_private, server_public)) = (keys(1), keys(2));
    let client = client
        .with("general", "private_key", &client_private)
        .with("peer office", "public_key", &server_public)
        .with("peer office", "remotehost", &outside_address(Side::Server, 1, Family::V4).to_string())
        .with("peer office", "remoteport", "5081");
    let server =
        server.with("general", "private_key", &server_private).with("peer router", "public_key", &client_public);
    (client, server)
}

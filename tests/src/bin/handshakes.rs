// SPDX-License-Identifier: BSD-2-Clause
//! Prints what protocol 2 costs: handshakes a second of one core's time, memory for a peer, bytes for a packet, and packets
//! lost to new keys.

use std::error::Error;
use std::time::Duration as Span;

use mlvpn_core::memory::two::{DATA_OVERHEAD, MAX_INITIATION, RESPONSE};
use mlvpn_core::state::handshake::{Credentials, Identity, Initiator, Responder};
use mlvpn_core::state::identity::{Ephemeral, SharedSecret};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::words::ids::SessionIndex;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::{Who, World};
use nix::time::{ClockId, clock_gettime};

const HANDSHAKES: u32 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (server, both) = handshakes()?;
    println!("| figure | value |");
    println!("|---|---|");
    println!("| handshakes a second, the server's part (CPU time of one core) | {server} |");
    println!("| handshakes a second, both parts | {both} |");
    println!("| bytes of memory for a peer of 8 links, window 256 | {} |", size_of::<Peer<8, 256>>());
    println!("| bytes a packet grows by | {DATA_OVERHEAD} |");
    let (lost, of, renewals) = renewals();
    println!("| packets lost to {renewals} renewals of the keys, of {of} | {lost} |");
    Ok(())
}

/// CPU time this process has used.
fn used() -> Result<Span, nix::Error> {
    Ok(Span::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?))
}

/// Handshakes a second: the responder's part alone, and both.
fn handshakes() -> Result<(u64, u64), Box<dyn Error>> {
    let (own, server, secret) = (keys::pair(1), keys::pair(keys::SERVER), SharedSecret::none());
    let responder = Responder::new(Identity::Keys(server.clone()));
    let index = SessionIndex::new(1).ok_or("an index")?;
    let started = used()?;
    let mut serving = Span::ZERO;
    for number in 0..HANDSHAKES {
        let ephemeral = |salt| Ephemeral::from_random(keys::seed(u64::from(number) * 2 + salt).into());
        let credentials = Credentials::Keys { own: &own, peer: server.public_key(), secret: &secret };
        let (mut out, mut response) = ([0; MAX_INITIATION], [0; RESPONSE]);
        let (mut initiator, len) = Initiator::new(credentials, index, keys::PLAIN, ephemeral(0), &mut out)
            .map_err(|error| format!("{error:?}"))?;
        let before = used()?;
        let knock = responder.inspect(&out[..len]).map_err(|error| format!("{error:?}"))?;
        let claim = responder.read(&knock, ephemeral(1)).map_err(|error| format!("{error:?}"))?;
        claim.answer(&secret, index, keys::PLAIN, &mut response).map_err(|error| format!("{error:?}"))?;
        serving += used()? - before;
        initiator.finish(&response).map_err(|error| format!("{error:?}"))?;
    }
    let per_second =
        |span: Span| u64::from(HANDSHAKES) * 1_000_000 / u64::try_from(span.as_micros().max(1)).unwrap_or(1);
    Ok((per_second(serving), per_second(used()? - started)))
}

/// Packets lost, packets sent, and renewals of the keys, in five minutes of virtual time.
fn renewals() -> (u64, u64, u64) {
    let mut world: World = World::up(1, 2);
    world.records = false;
    let packets = 300_000;
    for number in 0..packets {
        world.send(Who::Client(0), &inner::ipv4(1_000, number));
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(1));
    let delivered = world.server.ends[0].delivered.len() as u64;
    (packets - delivered, packets, world.server.answers - 1)
}

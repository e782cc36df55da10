// SPDX-License-Identifier: BSD-2-Clause
//! A bare-metal program around the engine: no std, no allocator, no operating system. `cross/heap-free.sh` links it.
#![no_std]
#![no_main]

#[cfg(feature = "planted")]
extern crate alloc;

use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::panic::PanicInfo;

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::memory::two::{DATA_OVERHEAD, DataHeader, MAX_INITIATION, RESPONSE, Refusal, data_nonce};
use mlvpn_core::state::cookie::{CookieGuard, CookieJar};
use mlvpn_core::state::handshake::{Credentials, HandshakeError, Identity, Initiator, Offer, Responder};
use mlvpn_core::state::identity::{Ephemeral, KeyPair, PublicKey, SecretKey, SharedSecret};
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::{Arrival, Config, Tunnel};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::{LinkId, Medium, SessionIndex};
use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;
use mlvpn_uci::package::{Entry, Package, Section};
use mlvpn_uci::policy::{ClassRule, LinkPolicy};
use mlvpn_uci::{document, options};
use zeroize::Zeroizing;

/// The program's entry, named as the linker expects it.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    exercise_engine();
    black_box(exercise_handshakes().is_ok());
    black_box(exercise_uci(black_box("config link wan\n option weight 5\n")));
    #[cfg(feature = "planted")]
    black_box(alloc::vec![black_box(0_u8); 64]);
    loop {
        core::hint::spin_loop();
    }
}

/// Counts what is written to it.
struct Length(usize);

impl core::fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

/// Reads a configuration of OpenWrt and writes its list of options.
fn exercise_uci(text: &str) -> Option<()> {
    let (mut sections, mut entries) = ([Section::default(); 4], [Entry::default(); 8]);
    let package = Package::read(text, &mut sections, &mut entries).ok()?;
    black_box((LinkPolicy::read(&package, 0), ClassRule::read(&package, 0).ok()?));
    black_box(options::nearest_uci(options::SectionKind::Link, black_box("wieght")));
    let mut length = Length(0);
    document::json(&mut length).ok()?;
    black_box(length.0);
    Some(())
}

/// Calls the engine's public interface. What is not called here is not linked, hence not proved: `black_box` keeps the
/// optimiser from removing what is.
fn exercise_engine() {
    let now = black_box(Instant::from_micros(1_500));
    let id = LinkId::new(black_box(0));
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), black_box(5080));
    let config = Config {
        role: black_box(Role::Server),
        medium: black_box(Medium::Ip),
        key: ClassicKey::from_password(black_box(b"password")),
        cleartext_data: black_box(false),
        mtu: black_box(1428),
        reorder: black_box(true),
    };
    let mut pool = Pool::<16>::new();
    let mut tunnel = Tunnel::<2, 8>::new(config.clone(), black_box([7; 32]));
    tunnel.configure(config);
    tunnel.set_mtu(black_box(1400));
    tunnel.set_link(id, black_box(LinkSettings::default()), now);
    tunnel.open_link(id, black_box(Some(from)), now);
    let mut datagram = [0; MAX_DATAGRAM];
    for _ in 0..black_box(2) {
        if let Some(slot) = pool.take() {
            let packet = pool.packet_mut(&slot).map(|packet| packet.copy_from(black_box(&[0x45; 40])));
            black_box(packet);
            tunnel.send(&mut pool, slot, now);
        }
        if let Some(slot) = pool.take() {
            tunnel.receive(&mut pool, slot, Arrival { link: id, from, ecn: Ecn::NotEct, at: now });
        }
        while let Some(slot) = tunnel.poll_deliver() {
            pool.put(slot);
        }
        black_box(tunnel.poll_transmit(&mut pool, now, &mut datagram));
        black_box(tunnel.poll_event());
        black_box(tunnel.poll_timeout());
        tunnel.handle_timeout(now);
    }
    tunnel.set_blocked(id, black_box(true));
    tunnel.disconnect_link(id);
    tunnel.close_link(id);
    tunnel.clear(&mut pool);
    tunnel.remove_link(id);
    black_box((tunnel.has_room(), tunnel.drops().total(), tunnel.reordering(), tunnel.link(id).is_some()));
}

/// Calls protocol 2's handshake at both ends, in both patterns.
fn exercise_handshakes() -> Result<(), HandshakeError> {
    let random = || Zeroizing::new(black_box([7; 32]));
    let own = KeyPair::new(SecretKey::from_random(random()));
    let secret = SharedSecret::from_text(black_box("text")).unwrap_or(SharedSecret::from_random(random()));
    let peer = PublicKey::from_text(own.public_key().to_text().as_str()).unwrap_or(*own.public_key());
    shake_hands(Credentials::Secret(&secret), Identity::Secret(secret.clone()))?;
    shake_hands(Credentials::Keys { own: &own, peer: &peer, secret: &secret }, Identity::Keys(own.clone()))
}

fn shake_hands(credentials: Credentials<'_>, identity: Identity) -> Result<(), HandshakeError> {
    let ephemeral = || Ephemeral::from_random(Zeroizing::new(black_box([8; 32])));
    let offer = black_box(Offer { aes_in_hardware: true, max_links: 2 });
    let index = SessionIndex::from_bytes(black_box([1, 2, 3]));
    let (from, now) = (SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5080), black_box(Instant::ORIGIN));
    let mut out = [0; MAX_INITIATION];
    let (mut initiator, len) = Initiator::new(credentials, index, offer, ephemeral(), &mut out)?;
    let message = out.get_mut(..len).unwrap_or_default();
    let responder = Responder::new(identity);
    let guard = CookieGuard::new(Zeroizing::new(black_box([9; 32])));
    let mut jar = CookieJar::default();
    let cookie = guard.challenge(&responder.inspect(message)?, from, black_box([1; 24]), now);
    jar.put(initiator.read_cookie(&cookie)?, now);
    jar.stamp(message, now);
    let knock = responder.inspect(message)?;
    black_box(guard.admits(&knock, from, now));
    let mut response = [0; RESPONSE];
    let theirs = responder.read(&knock, ephemeral())?.answer(&SharedSecret::none(), index, offer, &mut response)?;
    let ours = initiator.finish(&response)?;
    let mut packet = black_box([0xc0; DATA_OVERHEAD]);
    black_box(DataHeader::parse(&packet).map(|header| header.emit()).is_ok());
    black_box(ours.send.seal_in_place(&data_nonce(1, 2), b"", &mut packet));
    black_box(theirs.receive.open(&data_nonce(1, 2), b"", &mut packet).is_ok());
    black_box(Refusal::parse(&packet).is_ok());
    Ok(())
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

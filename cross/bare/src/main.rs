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
use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel::{Arrival, Config, Tunnel};
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::limits::MAX_DATAGRAM;
use mlvpn_core::words::time::Instant;

/// The program's entry, named as the linker expects it.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    exercise_engine();
    #[cfg(feature = "planted")]
    black_box(alloc::vec![black_box(0_u8); 64]);
    loop {
        core::hint::spin_loop();
    }
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
            tunnel.send(&mut pool, slot);
        }
        if let Some(slot) = pool.take() {
            tunnel.receive(&mut pool, slot, Arrival { link: id, from, at: now });
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

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What the engine costs in memory. A router's has 64 KiB for everything but packets.

use mlvpn_core::memory::packet::Packet;
use mlvpn_core::memory::pool::Pool;
use mlvpn_core::tunnel::Tunnel;

#[test]
fn the_engine_fits_the_routers_budget() {
    let sizes = [
        ("Packet", size_of::<Packet>(), 1_664),
        ("Tunnel<1, 8>", size_of::<Tunnel<1, 8>>(), 3 << 10),
        ("Tunnel<2, 256>", size_of::<Tunnel<2, 256>>(), 10 << 10),
        ("Tunnel<4, 1024>", size_of::<Tunnel<4, 1024>>(), 28 << 10),
        ("Tunnel<16, 4096>", size_of::<Tunnel<16, 4096>>(), 104 << 10),
        ("Pool<1024> but its packets", size_of::<Pool<1024>>() - 1_024 * size_of::<Packet>(), 2_052),
    ];
    for (name, size, limit) in sizes {
        println!("{name}: {size} of {limit} bytes");
        assert!(size <= limit, "{name} has grown to {size} bytes, over its {limit}");
    }
    assert!(size_of::<Tunnel<4, 1024>>() + size_of::<Pool<1024>>() - 1_024 * size_of::<Packet>() < 64 << 10);
}

// SPDX-License-Identifier: BSD-2-Clause
//! What the engine costs in memory. A router's, of two links and 256 packets, has 64 KiB for everything but packets.
//!
//! A packet of the window costs 24 bytes in the entrance queue and 26 in the reorder buffer, and with protocol 2 2 bytes
//! for each of the 7 orders and 40 among those on their way: 104, beside the 1,664 of the packet itself. What does not
//! grow with the window: 3 KiB of queue groups, 512 bytes of replay window for each order and for each link of each of
//! the five sessions there may be, 1 KiB for the rules of classes, 200 bytes of each link for its rate, and 100 to 300
//! for what it is used for.

use mlvpn_core::memory::packet::Packet;
use mlvpn_core::memory::pool::Pool;
use mlvpn_core::tunnel::Tunnel;
use mlvpn_core::tunnel::peer::Peer;

#[test]
fn the_engine_fits_the_routers_budget() {
    let sizes = [
        ("Packet", size_of::<Packet>(), 1_664),
        ("Tunnel<1, 8>", size_of::<Tunnel<1, 8>>(), 6 << 10),
        ("Tunnel<2, 256>", size_of::<Tunnel<2, 256>>(), 20 << 10),
        ("Tunnel<4, 1024>", size_of::<Tunnel<4, 1024>>(), 61 << 10),
        ("Tunnel<16, 4096>", size_of::<Tunnel<16, 4096>>(), 231 << 10),
        // A router's; a server's for each client; a client's of many links; the largest.
        ("Peer<2, 256>", size_of::<Peer<2, 256>>(), 53 << 10),
        ("Peer<8, 256>", size_of::<Peer<8, 256>>(), 80 << 10),
        ("Peer<4, 1024>", size_of::<Peer<4, 1024>>(), 140 << 10),
        ("Peer<32, 1024>", size_of::<Peer<32, 1024>>(), 266 << 10),
        ("Pool<1024> but its packets", size_of::<Pool<1024>>() - 1_024 * size_of::<Packet>(), 2_052),
    ];
    for (name, size, limit) in sizes {
        println!("{name}: {size} of {limit} bytes");
    }
    for (name, size, limit) in sizes {
        assert!(size <= limit, "{name} has grown to {size} bytes, over its {limit}");
    }
    assert!(size_of::<Peer<2, 256>>() + size_of::<Pool<512>>() - 512 * size_of::<Packet>() < 64 << 10);
}

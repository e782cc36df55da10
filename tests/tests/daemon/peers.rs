// SPDX-License-Identifier: BSD-2-Clause
//! The peers of a server share its device: each has its networks, and is told of by its name.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use mlvpn_tests::configuration::Family;
use mlvpn_tests::configuration::protocol2::{keys, with_keys};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::wait;
use nix::sys::signal::Signal;

use crate::start_both;

#[test]
fn what_is_for_no_peer_or_from_an_address_of_another_is_dropped_and_counted() {
    let Some(network) = Network::wired(1) else { return };
    let (client, server) = with_keys(1);
    let server = server
        .with("peer router", "allowed_ips", "10.42.0.1/32")
        .with("peer other", "public_key", &keys(5).1)
        .with("peer other", "allowed_ips", "10.42.0.3/32");
    let mut both = start_both(&network, &(client, server));
    both.0.expect_calls(&["tuntap_up"]);
    both.1.expect_calls(&["rtun_up router.0", "tuntap_up"]);
    let to = tunnel_address(Side::Server, Family::V4);
    let listener = network.server.run(|| UdpSocket::bind((to, 0))).expect("a namespace").expect("the address is there");
    let port = listener.local_addr().expect("a bound socket").port();
    listener.set_read_timeout(Some(Duration::from_millis(500))).expect("some time");
    // The client speaks for another peer, then for itself.
    network.ip(Side::Client, "address add 10.42.0.3/32 dev mlvpn0");
    let speak = |from: IpAddr| {
        let socket = network.client.run(|| UdpSocket::bind((from, 0))).expect("a namespace").expect("its address");
        for _ in 0..7 {
            socket.send_to(b"hello", (to, port)).expect("a route");
        }
    };
    speak("10.42.0.3".parse().expect("an address"));
    assert!(listener.recv_from(&mut [0; 16]).is_err(), "a packet from another peer's address came through");
    let own = tunnel_address(Side::Client, Family::V4);
    let mut heard = None;
    assert!(wait::becomes(|| {
        speak(own);
        heard = listener.recv_from(&mut [0; 16]).ok().map(|(_, from)| from.ip());
        heard.is_some()
    }));
    assert_eq!(heard, Some(own));
    // The server's machine speaks to an address that is routed to the device and belongs to nobody.
    network.ip(Side::Server, "route add 10.43.0.0/16 dev mlvpn0");
    let socket = network.server.run(|| UdpSocket::bind("0.0.0.0:0")).expect("a namespace").expect("a socket");
    for _ in 0..9 {
        socket.send_to(b"hello", "10.43.1.1:9").expect("a route");
    }
    std::thread::sleep(Duration::from_millis(300));
    both.1.signal(Signal::SIGTERM);
    assert!(both.1.expect_end().success());
    let log = both.1.log();
    let told = log.lines().find(|line| line.contains("packets dropped: ")).unwrap_or_default();
    // The kernels' own packets, as of IPv6's router discovery, are for no peer, too.
    let count = |reason: &str| {
        let (_, rest) = told.split_once(&format!("{reason} "))?;
        rest.split(',').next()?.trim().parse::<u64>().ok()
    };
    assert!(count("not_allowed").is_some_and(|count| count >= 7), "{log}");
    assert!(count("no_peer").is_some_and(|count| count >= 9), "{log}");
}

#[test]
fn an_end_is_told_to_the_other_at_once_and_to_the_status_command() {
    let Some(network) = Network::wired(2) else { return };
    let texts = with_keys(2);
    let (client, mut server) = start_both(&network, &texts);
    client.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    server.expect_calls(&["rtun_up router.0", "rtun_up router.1", "tuntap_up"]);
    server.signal(Signal::SIGTERM);
    assert!(server.expect_end().success());
    server.expect_calls(&["rtun_down router.0", "rtun_down router.1", "tuntap_down"]);
    client.expect_log(&[
        "office: ended the session",
        "l1: down, the peer disconnected",
        "l2: down, the peer disconnected",
    ]);
    client.expect_calls(&["rtun_down l1", "rtun_down l2", "tuntap_down"]);
    let server = Daemon::start(&network.server, &texts.1);
    client.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    server.expect_calls(&["rtun_up router.0", "rtun_up router.1", "tuntap_up"]);
    drop(client);
    server.expect_log(&["router: ended the session", "router.0: down, the peer disconnected"]);
    server.expect_calls(&["rtun_down router.0", "rtun_down router.1", "tuntap_down"]);
}

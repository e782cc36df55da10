// SPDX-License-Identifier: BSD-2-Clause
//! One server, one port: a client of protocol 2 and one of the classic protocol.

use std::net::{IpAddr, UdpSocket};

use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::configuration::{Configuration, Family, PASSWORD};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, outside_address, tunnel_address};
use mlvpn_tests::stream::Stream;
use nix::sys::signal::Signal;

/// The classic client's address in the tunnel.
const OLD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 42, 0, 3));

/// The client of protocol 2, the server of both, and the classic client, which is the network's neighbour.
fn configurations() -> (Configuration, Configuration, Configuration) {
    let (client, server) = with_keys(1);
    let server = server
        .without("l1", "bindhost")
        .with("peer router", "allowed_ips", "10.42.0.1/32")
        .with("peer old", "password", PASSWORD)
        .with("peer old", "allowed_ips", &format!("{OLD}/32"));
    let old = Configuration::new(Side::Client, 1, Family::V4)
        .with("general", "ip4", &format!("{OLD}/24"))
        .with("l1", "bindhost", "10.9.99.1")
        .with("l1", "remotehost", "10.9.99.2");
    (client, server, old)
}

#[test]
fn a_classic_client_and_one_of_protocol_2_share_a_server_s_port_and_both_carry_data_at_once() {
    let Some(network) = Network::wired(1) else { return };
    let neighbour = network.neighbour();
    let (client, server, old) = configurations();
    let daemon = Daemon::start(&network.server, &server);
    let client = Daemon::start(&network.client, &client);
    let old = Daemon::start(&neighbour, &old);
    daemon.expect_calls(&["rtun_up router.0", "rtun_up old.0", "tuntap_up"]);
    client.expect_calls(&["rtun_up l1", "tuntap_up"]);
    old.expect_calls(&["rtun_up l1", "tuntap_up"]);
    daemon.expect_title("mlvpn: test @router @old");
    let server_address = tunnel_address(Side::Server, Family::V4);
    let streams = [
        Stream::open(&network.client, &network.server, server_address),
        Stream::open(&neighbour, &network.server, server_address),
        Stream::open(&network.server, &network.client, tunnel_address(Side::Client, Family::V4)),
        Stream::open(&network.server, &neighbour, OLD),
    ];
    streams.iter().for_each(Stream::await_progress);
    streams.iter().for_each(Stream::await_progress);
    for stream in streams {
        assert!(stream.finish() > 0);
    }
    // Without its section the classic client is a stranger; the other carries on.
    daemon.reload(&server.clone().without_section("peer old"));
    daemon.expect_calls(&["rtun_down old.0"]);
    old.expect_calls(&["rtun_down l1", "tuntap_down"]);
    let stream = Stream::open(&network.client, &network.server, server_address);
    stream.await_progress();
    assert!(stream.finish() > 0);
    assert_eq!(daemon.count_calls("tuntap_down"), 0, "the other peer is up");
    // And with it again it is back.
    daemon.reload(&server);
    daemon.expect_calls(&["rtun_up old.0"]);
    old.expect_calls(&["rtun_up l1", "tuntap_up"]);
    let stream = Stream::open(&neighbour, &network.server, server_address);
    stream.await_progress();
    assert!(stream.finish() > 0);
}

#[test]
fn a_classic_datagram_to_a_server_without_such_a_peer_is_dropped_and_counted() {
    let Some(network) = Network::wired(1) else { return };
    let (_, server, _) = configurations();
    let mut daemon = Daemon::start(&network.server, &server.without_section("peer old"));
    daemon.expect_log(&["socket at"]);
    let to = (outside_address(Side::Server, 1, Family::V4), 5081);
    // A header of each type, of one length, and what its first byte is.
    let send = || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for kind in 0..5_u8 {
            let mut datagram = [0; 28 + 18];
            (datagram[1], datagram[2]) = (18, 1 | kind << 4);
            socket.send_to(&datagram, to).expect("the server's port");
        }
        socket.set_read_timeout(Some(std::time::Duration::from_secs(1))).expect("a second");
        socket.recv(&mut [0; 100]).is_err()
    };
    assert!(network.client.run(send).expect("the namespace"), "nobody is answered");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.expect_end().success());
    daemon.expect_log(&["packets dropped: unknown 5"]);
}

// SPDX-License-Identifier: BSD-2-Clause
//! Packets that do not fit, Ethernet frames, and IPv6 outside and inside.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::wait;

use crate::{await_up, configurations, start_both};

/// 1500 on the links less 20 of IP, 8 of UDP, 28 of the tunnel's header and 16 of its tag.
const MTU: usize = 1428;

fn with_ipv6((client, server): (Configuration, Configuration)) -> (Configuration, Configuration) {
    (client.with("general", "ip6", "fd42::1/64"), server.with("general", "ip6", "fd42::2/64"))
}

/// Both ways, over each family.
fn check_streams(network: &Network, families: &[Family]) {
    for &family in families {
        let up = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, family));
        let down = Stream::open(&network.server, &network.client, tunnel_address(Side::Client, family));
        up.await_progress();
        down.await_progress();
        up.finish();
        down.finish();
    }
}

/// The path MTU the client's kernel keeps for an address.
fn path_mtu(network: &Network, to: IpAddr) -> Option<usize> {
    let route = network.ip(Side::Client, &format!("route get {to}"));
    let mut words = route.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1)?.parse().ok()
}

fn device_mtu(network: &Network) -> Option<usize> {
    let shown = network.ip(Side::Client, "link show dev mlvpn0");
    let mut words = shown.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1)?.parse().ok()
}

#[test]
fn packets_too_big_for_the_tunnel_are_answered_and_smaller_ones_follow() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let both = start_both(&network, &with_ipv6(configurations(2)));
    await_up(&both, 2);
    assert_eq!(device_mtu(&network), Some(MTU));
    // As if an administrator had raised it, or a router had sent it: the kernel hands over what does not fit.
    network.ip(Side::Client, "link set dev mlvpn0 mtu 1500");
    for (family, headers) in [(Family::V4, 20 + 8), (Family::V6, 40 + 8)] {
        let to = tunnel_address(Side::Server, family);
        let receiver = network.server.run(|| UdpSocket::bind((to, 0))).expect("a namespace").expect("an address");
        receiver.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
        let port = receiver.local_addr().expect("bound").port();
        let from = tunnel_address(Side::Client, family);
        let sender = network.client.run(|| UdpSocket::bind((from, 0))).expect("a namespace").expect("an address");
        sender.connect(SocketAddr::new(to, port)).expect("a route");
        let payload: Vec<u8> = (0..1480 - headers).map(|byte: usize| (byte % 251) as u8).collect();
        assert_eq!(path_mtu(&network, to), None, "nothing is known of the path");
        sender.send(&payload).expect("the device takes 1480 bytes");
        assert!(wait::becomes(|| path_mtu(&network, to) == Some(MTU)), "{family:?}: no answer\n{}", both.0);
        // Once the kernel knows, it cuts datagrams itself, and they arrive whole.
        let mut buffer = [0; 2048];
        let arrived = wait::becomes(|| {
            // An earlier ICMP answer may stand as an error on the socket once.
            let sent = sender.send(&payload);
            sent.is_ok() && receiver.recv(&mut buffer).is_ok_and(|len| buffer[..len] == payload[..])
        });
        assert!(arrived, "{family:?}: cut datagrams do not arrive\n{}", both.0);
    }
    check_streams(&network, &[Family::V4, Family::V6]);
}

/// Both devices claim more than the tunnel takes, so TCP sends too much until it is told.
#[test]
fn tcp_fits_the_tunnel_from_its_first_segment_over_ip_and_over_ethernet() {
    for kind in ["tun", "tap"] {
        let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
        let (client, server) = with_ipv6(configurations(2));
        let both = [client, server].map(|side| side.with("general", "tuntap", kind));
        let both = start_both(&network, &both.into());
        await_up(&both, 2);
        for side in [Side::Client, Side::Server] {
            network.ip(side, "link set dev mlvpn0 mtu 1500");
        }
        check_streams(&network, &[Family::V4, Family::V6]);
        for family in [Family::V4, Family::V6] {
            // The segment size was lowered on the way, so that nobody had to be told of a packet too big.
            let told = path_mtu(&network, tunnel_address(Side::Server, family));
            assert_eq!(told, None, "{kind} {family:?}\n{}", both.0);
        }
    }
}

#[test]
fn the_mtu_is_computed_from_the_smallest_link_and_follows_links_that_come() {
    let Some(network) = Network::wired(2) else { return };
    let both = start_both(&network, &configurations(1));
    await_up(&both, 1);
    assert_eq!(device_mtu(&network), Some(MTU));
    network.ip(Side::Client, "link set dev link2 mtu 1400");
    let (client, server) = configurations(2);
    both.1.reload(&server);
    both.0.reload(&client);
    both.0.expect_calls(&["rtun_up l2"]);
    assert!(wait::becomes(|| device_mtu(&network) == Some(MTU - 100)), "{:?}\n{}", device_mtu(&network), both.0);
    check_streams(&network, &[Family::V4]);
    let last = both.0.calls().pop().expect("calls");
    assert_eq!(last.variable("MTU"), Some("1328"), "{last:?}");
}

#[test]
fn ethernet_frames_are_carried_with_arp_and_both_families() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = with_ipv6(configurations(2));
    let both = [client, server].map(|side| side.with("general", "tuntap", "tap"));
    let both = start_both(&network, &both.into());
    await_up(&both, 2);
    assert!(network.ip(Side::Client, "link show dev mlvpn0").contains("link/ether"));
    check_streams(&network, &[Family::V4, Family::V6]);
    let neighbours = network.ip(Side::Client, "neighbour show dev mlvpn0");
    assert!(neighbours.contains("10.42.0.2 lladdr"), "{neighbours}");
}

#[test]
fn links_over_ipv6_carry_both_families() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let of = |side| Configuration::new(side, 2, Family::V6);
    let both = start_both(&network, &with_ipv6((of(Side::Client), of(Side::Server))));
    await_up(&both, 2);
    both.0.expect_log(&["l1: peer at [fd09:1::2]:5081"]);
    assert_eq!(device_mtu(&network), Some(MTU - 20), "IPv6's header is 20 bytes longer");
    check_streams(&network, &[Family::V4, Family::V6]);
}

#[test]
fn cleartext_data_is_carried_with_the_room_the_tag_leaves() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations(2);
    let both = [client, server].map(|side| side.with("general", "cleartext_data", "1"));
    let both: (Daemon, Daemon) = start_both(&network, &both.into());
    await_up(&both, 2);
    assert_eq!(device_mtu(&network), Some(MTU + 16));
    check_streams(&network, &[Family::V4]);
}

/// 1432 is what MLVPN 2.3.5 takes when nothing is said, so files say it: 4 bytes more than a link takes in one piece.
#[test]
fn an_mtu_above_the_links_is_carried_in_fragments() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations(2);
    let both = [client, server].map(|side| side.with("general", "mtu", "1432"));
    let both: (Daemon, Daemon) = start_both(&network, &both.into());
    await_up(&both, 2);
    assert_eq!(device_mtu(&network), Some(1432));
    check_streams(&network, &[Family::V4]);
}

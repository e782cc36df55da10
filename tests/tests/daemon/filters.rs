// SPDX-License-Identifier: BSD-2-Clause
//! `[filters]` of the configuration, at the links' interfaces.

use std::net::UdpSocket;
use std::time::Duration;

use mlvpn_tests::configuration::{Configuration, Family, protocol2};
use mlvpn_tests::network::{Network, Side, tunnel_address};

use crate::{configurations, start_both};

/// Datagrams of each kind, and their length in bytes.
const COUNT: u64 = 100;
const LEN: usize = 700;

/// Bytes the client has sent over a link.
fn sent(network: &Network, link: usize) -> u64 {
    let told = network.ip(Side::Client, &format!("-stats -oneline link show link{link}"));
    let after = told.split_once("TX:").expect("ip tells what was sent").1;
    let figures = after.split('\\').nth(1).expect("a line of figures");
    figures.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}

fn filtered_datagrams_leave_by_their_link((client, server): (Configuration, Configuration)) {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let client = client.with("filters", "l2", "udp dst port 9000 or 9001");
    let both = start_both(&network, &(client, server));
    both.0.expect_title("mlvpn: test @l1 @l2");
    both.0.expect_calls(&["tuntap_up"]);
    let own = tunnel_address(Side::Client, Family::V4);
    let socket = network.client.run(|| UdpSocket::bind((own, 0))).expect("a namespace").expect("the address is there");
    let before = [1, 2].map(|link| sent(&network, link));
    for _ in 0..COUNT {
        let to = (tunnel_address(Side::Server, Family::V4), 9001);
        socket.send_to(&[0; LEN], to).expect("the tunnel's device takes it");
        std::thread::sleep(Duration::from_millis(1));
    }
    let all = COUNT * LEN as u64;
    assert!(mlvpn_tests::wait::becomes(|| sent(&network, 2) >= before[1] + all), "{}", both.0);
    let elsewhere = sent(&network, 1) - before[0];
    assert!(elsewhere < all / 10, "{elsewhere} bytes left by the other link\n{}", both.0);
}

#[test]
fn filtered_datagrams_leave_by_their_link_over_the_classic_protocol() {
    filtered_datagrams_leave_by_their_link(configurations(2));
}

#[test]
fn filtered_datagrams_leave_by_their_link_over_protocol_2() {
    filtered_datagrams_leave_by_their_link(protocol2::with_keys(2));
}

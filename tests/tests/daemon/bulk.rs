// SPDX-License-Identifier: BSD-2-Clause
//! Transfers as fast as the machine can: that they arrive whole, and how few system calls they take.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpn::lab::namespace::Namespace;
use mlvpn::lab::tcp::{fill_pattern, first_difference};
use mlvpn_tests::bench::wire::Work;
use mlvpn_tests::configuration::protocol2::with_keys;
use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, tunnel_address};

use crate::{configurations, start_both};

/// Enough for some ten thousand packets, which leave the handshakes' share small.
const BYTES: u64 = 24 << 20;

/// Writes of a program that copies a file.
const CHUNK: usize = 64 << 10;

/// A transfer that stands still for this long never moves again.
const SILENCE_LIMIT: StdDuration = StdDuration::from_secs(60);

/// System calls a packet may take.
const MOST_CALLS: f64 = 0.15;

/// Calls that a second may take besides with protocol 2, which paces its links: below full speed the kernel hands over
/// smaller super-segments, and a link sends 2,000 times a second what its pace allows; acknowledgements come as often.
/// Each time there are a wait, a timer, a receive, a send and a write, and two links.
const PACED_CALLS_PER_SECOND: f64 = 2_000.0 * 5.0 * 2.0;

/// What links are said to carry where nothing is to wait for a pace, in bytes per second: 10 Gbit/s.
const FAST_LINK: &str = "1250000000";

/// Sends [`BYTES`] of a known pattern through the tunnel, and sees that each arrives as it was.
fn transfer(from: &Namespace, to: &Namespace, address: IpAddr) {
    let listener = to.run(|| TcpListener::bind((address, 0))).expect("a namespace").expect("the address is there");
    let port = listener.local_addr().expect("a bound socket").port();
    let connect = || TcpStream::connect_timeout(&(address, port).into(), SILENCE_LIMIT);
    let mut outgoing = from.run(connect).expect("a namespace").expect("a connection through the tunnel");
    let (mut incoming, _) = listener.accept().expect("the connection just made");
    let sending = thread::spawn(move || {
        outgoing.set_write_timeout(Some(SILENCE_LIMIT))?;
        let mut chunk = vec![0; CHUNK];
        for position in (0..BYTES).step_by(CHUNK) {
            fill_pattern(&mut chunk, position);
            outgoing.write_all(&chunk)?;
        }
        outgoing.shutdown(Shutdown::Write)
    });
    incoming.set_read_timeout(Some(SILENCE_LIMIT)).expect("a socket");
    let (mut chunk, mut position) = (vec![0; CHUNK], 0);
    loop {
        let len = incoming.read(&mut chunk).expect("the connection stands");
        if len == 0 {
            break;
        }
        assert_eq!(first_difference(&chunk[..len], position), None, "after {position} bytes");
        position += len as u64;
    }
    assert_eq!(position, BYTES);
    sending.join().expect("no panic").expect("all was sent");
}

fn check(network: &Network, both: (Daemon, Daemon), families: &[Family], calls_per_second: f64) {
    let begun = clock::now();
    for &family in families {
        transfer(&network.client, &network.server, tunnel_address(Side::Server, family));
        transfer(&network.server, &network.client, tunnel_address(Side::Client, family));
    }
    let paced = clock::now().since(begun).micros() as f64 / 1e6 * calls_per_second;
    for daemon in [both.0, both.1] {
        let work = Work::of_ended(daemon).expect("it says what it did");
        let (Work { packets, calls }, per_packet) = (work, work.calls_per_packet());
        println!("{packets} packets, {calls} system calls: {per_packet:.3} each; {paced:.0} for its pace");
        assert!(packets > 2 * BYTES / 1500, "{packets} packets");
        let most = packets as f64 * MOST_CALLS + paced;
        assert!((calls as f64) < most, "{calls} system calls for {packets} packets and {paced:.0} for their pace");
    }
}

fn with_ipv6((client, server): (Configuration, Configuration)) -> (Configuration, Configuration) {
    (client.with("general", "ip6", "fd42::1/64"), server.with("general", "ip6", "fd42::2/64"))
}

#[test]
fn bulk_by_protocol_2_arrives_whole_with_few_system_calls() {
    let Some(network) = Network::wired(2) else { return };
    let both = start_both(&network, &with_keys(2));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    check(&network, both, &[Family::V4], PACED_CALLS_PER_SECOND);
}

#[test]
fn bulk_by_protocol_2_over_fast_links_takes_as_few_system_calls_as_the_classic_protocol() {
    let Some(network) = Network::wired(2) else { return };
    let (mut client, server) = with_keys(2);
    for (link, option) in ["l1", "l2"].into_iter().flat_map(|link| ["upload", "download"].map(|way| (link, way))) {
        client = client.with(link, &format!("bandwidth_{option}"), FAST_LINK);
    }
    let both = start_both(&network, &(client, server));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    check(&network, both, &[Family::V4], 0.0);
}

#[test]
fn bulk_by_the_classic_protocol_arrives_whole_with_few_system_calls() {
    let Some(network) = Network::wired(1) else { return };
    let both = start_both(&network, &with_ipv6(configurations(1)));
    crate::await_up(&both, 1);
    check(&network, both, &[Family::V4, Family::V6], 0.0);
}

#[test]
fn bulk_arrives_whole_packet_by_packet_where_super_segments_are_turned_off() {
    let Some(network) = Network::wired(1) else { return };
    let (client, server) = configurations(1);
    let both = start_both(&network, &(client.with("general", "offload", "0"), server.with("general", "offload", "0")));
    crate::await_up(&both, 1);
    transfer(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    for daemon in [both.0, both.1] {
        let work = Work::of_ended(daemon).expect("it says what it did");
        // One call of the device for each, and few of the socket.
        assert!(work.calls_per_packet() > 0.9, "{work:?}");
    }
}

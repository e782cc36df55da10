// SPDX-License-Identifier: BSD-2-Clause
//! SIGHUP: what changed is followed, what did not stays up.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mlvpn_tests::configuration::{Configuration, Family, protocol2};
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, outside_address, tunnel_address};
use mlvpn_tests::stream::Stream;
use nix::sys::signal::Signal;

use crate::{await_up, configurations, start_both};

/// So long that no link goes down for anything but a reload.
const PATIENT: &str = "40";

fn patient(links: usize) -> (Configuration, Configuration) {
    let (client, server) = configurations(links);
    (client.with("general", "timeout", PATIENT), server.with("general", "timeout", PATIENT))
}

fn stream(network: &Network) -> Stream {
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    stream
}

/// Has the server, then the client, follow their configurations.
fn reload(both: &(Daemon, Daemon), (client, server): &(Configuration, Configuration)) {
    for (daemon, configuration) in [(&both.1, server), (&both.0, client)] {
        daemon.reload(configuration);
        daemon.expect_log(&["reload: done"]);
    }
}

fn assert_never_down(both: &(Daemon, Daemon), link: &str) {
    for daemon in [&both.0, &both.1] {
        assert_eq!(daemon.count_calls(&format!("rtun_down {link}")), 0, "{daemon}");
        assert_eq!(daemon.count_calls(&format!("rtun_up {link}")), 1, "{daemon}");
        assert_eq!(daemon.count_calls("tuntap_down"), 0, "{daemon}");
    }
}

/// Sees what the script was told of routes, at each of its calls.
fn assert_routes(daemon: &Daemon, expected: &[&str]) {
    let calls = daemon.calls();
    let routes: Vec<_> = calls.iter().map(|call| call.variable("IP4_ROUTES").unwrap_or_default()).collect();
    assert_eq!(routes, expected, "{daemon}");
}

/// The same client for the other protocol.
fn of_protocol2(client: &Configuration) -> Configuration {
    const SECRET: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";
    let client = client.clone().without("general", "password").with("general", "protocol", "2");
    let client = client.with("peer hub", "secret", SECRET).with("peer hub", "remotehost", "10.9.1.2");
    client.with("peer hub", "remoteport", "5081")
}

#[test]
fn links_are_added_removed_re_rated_and_moved_while_another_carries_on() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms", "unlimited/1ms"]) else { return };
    let (mut client, mut server) = patient(2);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 2);
    let stream = stream(&network);
    // Added.
    (client, server) = (client.with_link(Side::Client, 3, Family::V4), server.with_link(Side::Server, 3, Family::V4));
    reload(&both, &(client.clone(), server.clone()));
    both.0.expect_calls(&["rtun_up l3"]);
    both.1.expect_calls(&["rtun_up l3"]);
    both.0.expect_title("mlvpn: test @l1 @l2 @l3");
    stream.await_progress();
    // Removed: the server hears of it from the client before it is told itself.
    client = client.without_section("l2");
    both.0.reload(&client);
    both.0.expect_calls(&["rtun_down l2"]);
    both.1.expect_log(&["l2: down, the peer disconnected"]);
    server = server.without_section("l2");
    reload(&both, &(client.clone(), server.clone()));
    both.0.expect_title("mlvpn: test @l1 @l3");
    both.1.expect_title("mlvpn: test @l1 @l3");
    stream.await_progress();
    // Re-rated.
    client = client.with("l1", "bandwidth_upload", "2000000").with("l3", "bandwidth_upload", "1000000");
    reload(&both, &(client.clone(), server.clone()));
    stream.await_progress();
    for daemon in [&both.0, &both.1] {
        assert_eq!(daemon.count_calls("rtun_down l3"), 0, "{daemon}");
    }
    // Moved to another port of the server's.
    (client, server) = (client.with("l3", "remoteport", "6083"), server.with("l3", "bindport", "6083"));
    reload(&both, &(client, server));
    for daemon in [&both.0, &both.1] {
        daemon.expect_calls(&["rtun_down l3"]);
        daemon.expect_calls(&["rtun_up l3"]);
    }
    both.0.expect_log(&["l3: peer at 10.9.3.2:6083"]);
    stream.await_progress();
    stream.finish();
    assert_never_down(&both, "l1");
}

#[test]
fn a_new_password_on_both_sides_takes_no_link_down() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = patient(2);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 2);
    let stream = stream(&network);
    let renew = |side: Configuration| side.with("general", "password", "another horse, another staple 99");
    reload(&both, &(renew(client), renew(server)));
    stream.await_progress();
    stream.finish();
    assert_never_down(&both, "l1");
    assert_never_down(&both, "l2");
}

#[test]
fn a_broken_file_changes_nothing_and_vain_changes_are_reported() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = patient(2);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 2);
    let stream = stream(&network);
    let other = client.clone().without_section("l2").with("general", "ip4_routes", "203.0.113.0/24");
    both.0.reload(&other.clone().with("l1", "remoteport", "no port"));
    both.0.expect_log(&["remoteport", "the configuration has errors; nothing was changed"]);
    both.0.reload_as(&other, b"", 0o640);
    both.0.expect_log(&["others than its owner can reach", "the configuration has errors; nothing was changed"]);
    both.0.reload_as(&of_protocol2(&other), b"", 0o600);
    both.0.expect_log(&["another protocol takes a restart; nothing was changed"]);
    both.0.expect_title("mlvpn: test @l1 @l2");
    stream.await_progress();
    assert_never_down(&both, "l2");
    // Back after the other end left it: what the script is told then is what it was told at first.
    both.1.reload(&server.clone().without_section("l2"));
    both.0.expect_calls(&["rtun_down l2"]);
    assert_routes(&both.0, &["", "", "", ""]);
    both.1.reload(&server);
    both.0.expect_calls(&["rtun_up l2"]);
    assert_routes(&both.0, &["", "", "", "", ""]);
    let vain = client.with("general", "interface_name", "other0").with("general", "tuntap", "tap");
    both.0.reload(&vain);
    both.0.expect_log(&["interface_name: the change takes effect after a restart", "tuntap: the change takes effect"]);
    both.0.expect_log(&["reload: done"]);
    stream.await_progress();
    stream.finish();
    assert!(network.ip(Side::Client, "-brief link show").contains("mlvpn0"));
    assert_never_down(&both, "l1");
}

#[test]
fn a_comment_that_is_not_utf_8_keeps_no_file_from_being_read_again() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = patient(1);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 1);
    both.1.reload(&server.with_link(Side::Server, 2, Family::V4));
    both.1.expect_log(&["reload: done"]);
    let client = client.with("general", "ip4_routes", "203.0.113.0/24").with_link(Side::Client, 2, Family::V4);
    both.0.reload_as(&client, b"# le caf\xe9 du coin\n", 0o600);
    both.0.expect_log(&["reload: done"]);
    both.0.expect_calls(&["rtun_up l2"]);
    assert_routes(&both.0, &["", "", "203.0.113.0/24"]);
    assert_never_down(&both, "l1");
}

#[test]
fn the_script_is_told_of_addresses_as_the_newest_file_has_them() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = patient(1);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 1);
    let client = client.with("general", "ip4_routes", "203.0.113.0/24").with_link(Side::Client, 2, Family::V4);
    reload(&both, &(client, server.with_link(Side::Server, 2, Family::V4)));
    both.0.expect_calls(&["rtun_up l2"]);
    assert_routes(&both.0, &["", "", "203.0.113.0/24"]);
}

#[test]
fn many_reloads_in_a_row_disturb_nothing() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = patient(2);
    let both = start_both(&network, &(client.clone(), server));
    await_up(&both, 2);
    let stream = stream(&network);
    for round in 0..30 {
        let client = client.clone().with("l2", "bandwidth_upload", &(1_000_000 + round).to_string());
        both.0.reload(&client);
        both.1.signal(Signal::SIGHUP);
    }
    // Those that came together may have been followed as one; after the last there is one more of our own.
    both.0.expect_log(&["reload: done"]);
    reload(&both, &(client, patient(2).1));
    stream.await_progress();
    stream.finish();
    assert_never_down(&both, "l1");
    assert_never_down(&both, "l2");
}

#[test]
fn sealing_and_reordering_are_switched_under_a_connection() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations(2);
    let both = start_both(&network, &(client.clone(), server.clone()));
    await_up(&both, 2);
    let stream = stream(&network);
    let clear =
        |side: Configuration| side.with("general", "cleartext_data", "1").with("general", "reorder_buffer_size", "0");
    reload(&both, &(clear(client.clone()), clear(server.clone())));
    stream.await_progress();
    // The tag's room is free now, and needed again.
    reload(&both, &(client, server));
    stream.await_progress();
    stream.finish();
    for daemon in [&both.0, &both.1] {
        let log = daemon.log();
        let computed: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("] mtu ")).map(|(_, mtu)| mtu).collect();
        assert_eq!(computed, ["1444", "1428"], "{daemon}");
    }
}

#[test]
fn client_and_server_change_places() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let both = start_both(&network, &configurations(2));
    await_up(&both, 2);
    // What was the client now waits on port 7000 and the link's number, where the other asks.
    let (mut waiting, mut asking) = configurations(0);
    (waiting, asking) = (waiting.with("general", "mode", "server"), asking.with("general", "mode", "client"));
    for link in 1..=2 {
        let (name, port) = (&format!("l{link}"), &(7000 + link).to_string());
        let host = |side| outside_address(side, link, Family::V4).to_string();
        waiting = waiting.with(name, "bindhost", &host(Side::Client)).with(name, "bindport", port);
        asking = asking.with(name, "bindhost", &host(Side::Server));
        asking = asking.with(name, "remotehost", &host(Side::Client)).with(name, "remoteport", port);
    }
    both.0.reload(&waiting);
    both.0.expect_log(&["reload: done"]);
    both.1.expect_calls(&["rtun_down l1", "rtun_down l2", "tuntap_down"]);
    both.1.reload(&asking);
    both.0.expect_calls(&["rtun_down l1", "rtun_down l2", "tuntap_down"]);
    await_up(&both, 2);
    let back = Stream::open(&network.server, &network.client, tunnel_address(Side::Client, Family::V4));
    back.await_progress();
    back.finish();
    stream(&network).finish();
}

/// Numbered datagrams through the tunnel, one every millisecond, until told to stop.
struct Numbers {
    is_over: Arc<AtomicBool>,
    sending: JoinHandle<u32>,
    receiving: JoinHandle<BTreeSet<u32>>,
}

impl Numbers {
    fn start(network: &Network) -> Self {
        let bind = |side| move || UdpSocket::bind((tunnel_address(side, Family::V4), 0));
        let receiver = network.server.run(bind(Side::Server)).expect("a namespace").expect("the address is there");
        let sender = network.client.run(bind(Side::Client)).expect("a namespace").expect("the address is there");
        sender.connect(receiver.local_addr().expect("a bound socket")).expect("an address");
        receiver.set_read_timeout(Some(Duration::from_secs(2))).expect("a time limit");
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, last) = (Arc::clone(&is_over), Arc::clone(&is_over));
        let sending = thread::spawn(move || {
            let mut number = 0_u32;
            while !over.load(Ordering::Relaxed) {
                sender.send(&number.to_be_bytes().repeat(100)).expect("the tunnel's device takes it");
                number += 1;
                thread::sleep(Duration::from_millis(1));
            }
            number
        });
        let receiving = thread::spawn(move || {
            let (mut numbers, mut bytes) = (BTreeSet::new(), [0; 512]);
            loop {
                match receiver.recv(&mut bytes) {
                    Ok(_) => drop(numbers.insert(bytes.first_chunk().map_or(0, |chunk| u32::from_be_bytes(*chunk)))),
                    Err(_) if last.load(Ordering::Relaxed) => return numbers,
                    Err(_) => {}
                }
            }
        });
        Self { is_over, sending, receiving }
    }

    /// How many were sent, and which of them are missing.
    fn finish(self) -> (u32, Vec<u32>) {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.sending.join().expect("the sender ends");
        let arrived = self.receiving.join().expect("the receiver ends");
        (sent, (0..sent).filter(|number| !arrived.contains(number)).collect())
    }
}

fn reload_under_load(configurations: (Configuration, Configuration), third: (Configuration, Configuration)) {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations;
    let both = start_both(&network, &(client.clone(), server.clone()));
    both.0.expect_calls(&["tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    both.0.expect_title("mlvpn: test @l1 @l2");
    let numbers = Numbers::start(&network);
    for round in 0..3 {
        reload(&both, &third);
        both.0.expect_title("mlvpn: test @l1 @l2 @l3");
        let rated = third.0.clone().with("l2", "bandwidth_upload", &(1_000_000 + round).to_string());
        reload(&both, &(rated, third.1.clone()));
        // Who sends leaves the link first: what is under way to an end that has closed it is lost with it.
        for (daemon, configuration) in [(&both.0, &client), (&both.1, &server)] {
            daemon.reload(configuration);
            daemon.expect_log(&["reload: done"]);
        }
        both.0.expect_title("mlvpn: test @l1 @l2");
    }
    let (sent, missing) = numbers.finish();
    println!("{sent} datagrams during 9 reloads of each end, {} lost", missing.len());
    assert!(sent > 100, "{sent}");
    assert_eq!(missing, [0; 0], "of {sent}\n{}\n{}", both.0, both.1);
}

#[test]
fn a_reload_under_load_loses_no_packet_on_the_other_links() {
    let with_third = |side, own: Configuration| own.with_link(side, 3, Family::V4);
    let (client, server) = patient(2);
    let third = (with_third(Side::Client, client.clone()), with_third(Side::Server, server.clone()));
    reload_under_load((client, server), third);
}

#[test]
fn a_reload_under_load_loses_no_packet_of_protocol_2() {
    let (client, server) = protocol2::with_keys(2);
    reload_under_load((client, server), protocol2::with_keys(3));
}

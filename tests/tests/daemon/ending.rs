// SPDX-License-Identifier: BSD-2-Clause
//! How daemons end, and that the peer hears of it.

use mlvpn_tests::configuration::Family;
use mlvpn_tests::daemon::Daemon;
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::stream::Stream;
use nix::sys::signal::{Signal, kill};

use crate::{await_up, configurations, start_both};

/// Two daemons whose links would take an hour to time out, so that only a DISCONNECT takes them down.
fn start(network: &Network) -> (Daemon, Daemon) {
    let (client, server) = configurations(2);
    let both = [client, server].map(|side| side.with("general", "timeout", "3600"));
    let both = start_both(network, &both.into());
    await_up(&both, 2);
    both
}

const ALL_DOWN: [&str; 3] = ["rtun_down l1", "rtun_down l2", "tuntap_down"];

fn assert_peer_left(peer: &Daemon) {
    peer.expect_log(&["l1: down, the peer disconnected", "l2: down, the peer disconnected"]);
    peer.expect_calls(&ALL_DOWN);
    peer.expect_title("mlvpn: test !l1 !l2");
}

#[test]
fn int_term_and_quit_end_a_client_with_a_goodbye_and_the_server_takes_it_back() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        both.0.signal(signal);
        assert!(both.0.expect_end().success(), "{signal}: {}", both.0);
        assert_peer_left(&both.1);
        // Its last calls, each once, the tunnel's after the links'.
        both.0.expect_calls(&ALL_DOWN);
        assert_eq!(both.0.calls().len(), 6, "{}", both.0);
        assert_eq!(both.0.calls().last().expect("calls").arguments, "mlvpn0 tuntap_down");
        both.0 = Daemon::start(&network.client, &configurations(2).0.with("general", "timeout", "3600"));
        await_up(&both, 2);
    }
}

#[test]
fn a_server_that_ends_says_goodbye_and_its_client_finds_the_next_one() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    both.1.signal(Signal::SIGTERM);
    assert!(both.1.expect_end().success(), "{}", both.1);
    assert_peer_left(&both.0);
    both.1 = Daemon::start(&network.server, &configurations(2).1);
    await_up(&both, 2);
}

#[test]
fn the_monitor_ends_with_its_worker() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    kill(both.0.worker(), Signal::SIGKILL).expect("the worker runs");
    let status = both.0.expect_end();
    assert_eq!(status.code(), Some(128 + Signal::SIGKILL as i32), "{}", both.0);
}

#[test]
fn the_worker_ends_with_its_monitor_and_says_goodbye() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    both.0.signal(Signal::SIGKILL);
    both.0.expect_end();
    assert_peer_left(&both.1);
}

#[test]
fn a_daemon_whose_device_is_taken_away_fails_and_says_goodbye() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    network.ip(Side::Client, "link delete mlvpn0");
    assert!(!both.0.expect_end().success(), "{}", both.0);
    both.0.expect_log(&["mlvpn: device mlvpn0 was deleted by another program; start mlvpn again"]);
    assert_peer_left(&both.1);
}

/// As after a power cut: no goodbye, and everything a new start begins with (numbers from 0, a new port).
#[test]
fn a_client_that_died_and_starts_anew_is_taken_back_at_once() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    carry(&network);
    kill(both.0.worker(), Signal::SIGKILL).expect("the worker runs");
    both.0.expect_end();
    both.0 = Daemon::start(&network.client, &configurations(2).0.with("general", "timeout", "3600"));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    carry(&network);
    // The server's links never timed out, so it has nothing to tell.
    assert_eq!(both.1.calls().len(), 3, "{}", both.1);
}

#[test]
fn a_server_that_died_and_starts_anew_is_found_long_before_the_timeout() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let mut both = start(&network);
    carry(&network);
    kill(both.1.worker(), Signal::SIGKILL).expect("the worker runs");
    both.1.expect_end();
    both.1 = Daemon::start(&network.server, &configurations(2).1);
    both.1.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.0.expect_title("mlvpn: test @l1 @l2");
    carry(&network);
    // The client's links never timed out, so it has nothing to tell.
    assert_eq!(both.0.calls().len(), 3, "{}", both.0);
}

/// Data both ways, enough for every number to be far from 0.
fn carry(network: &Network) {
    let address = |side| tunnel_address(side, Family::V4);
    let up = Stream::open(&network.client, &network.server, address(Side::Server));
    let down = Stream::open(&network.server, &network.client, address(Side::Client));
    for stream in [up, down] {
        stream.await_progress();
        stream.finish();
    }
}

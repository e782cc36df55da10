// SPDX-License-Identifier: BSD-2-Clause
//! Carrying packets, telling about it, and outages of one link.

use std::fs;

use mlvpn::lab::iperf::{IperfError, IperfRun, run};
use mlvpn_tests::configuration::Family;
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::program::UNPRIVILEGED_USER;
use mlvpn_tests::stream::Stream;
use nix::unistd::User;

use crate::{await_up, configurations, start_both};

#[test]
fn two_daemons_carry_data_both_ways_and_tell_the_status_command_everything() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations(2);
    let client = client
        .with("general", "ip6", "fd42::1/64")
        .with("general", "ip4_gateway", "10.42.0.2")
        .with("general", "ip6_gateway", "fd42::2")
        .with("general", "ip4_routes", "192.0.2.0/24 198.51.100.0/24")
        .with("general", "ip6_routes", "2001:db8::/32");
    let both = start_both(&network, &(client, server));
    await_up(&both, 2);
    let environment = "IP4=10.42.0.1/24 IP6=fd42::1/64 IP4_GATEWAY=10.42.0.2 IP6_GATEWAY=fd42::2 \
        IP4_ROUTES=192.0.2.0/24_198.51.100.0/24 IP6_ROUTES=2001:db8::/32 DEVICE=mlvpn0 MTU=1428";
    check_calls(&both.0, environment);
    check_calls(
        &both.1,
        "IP4=10.42.0.2/24 IP6= IP4_GATEWAY= IP6_GATEWAY= IP4_ROUTES= IP6_ROUTES= DEVICE=mlvpn0 MTU=1428",
    );
    let address = |side| tunnel_address(side, Family::V4);
    let up = Stream::open(&network.client, &network.server, address(Side::Server));
    let down = Stream::open(&network.server, &network.client, address(Side::Client));
    up.await_progress();
    down.await_progress();
    assert!(up.finish() > 0 && down.finish() > 0);
    for daemon in [&both.0, &both.1] {
        daemon.expect_title("mlvpn: test @l1 @l2");
        check_rights(daemon);
    }
}

/// The first link up, the tunnel up, the second link up, each with the whole environment. A space inside a value is
/// written `_` in `environment`.
fn check_calls(daemon: &mlvpn_tests::daemon::Daemon, environment: &str) {
    let calls = daemon.calls();
    let arguments: Vec<&str> = calls.iter().map(|call| call.arguments.as_str()).collect();
    let (first, second) = if arguments.first() == Some(&"mlvpn0 rtun_up l1") { ("l1", "l2") } else { ("l2", "l1") };
    let expected = [&format!("mlvpn0 rtun_up {first}"), "mlvpn0 tuntap_up", &format!("mlvpn0 rtun_up {second}")];
    assert_eq!(arguments, expected);
    assert_eq!(calls.iter().map(|call| call.count).collect::<Vec<_>>(), [3, 2, 3], "numbers of arguments");
    for call in calls {
        let told: Vec<String> = call.environment.iter().map(|variable| variable.replace(' ', "_")).collect();
        assert_eq!(told.join(" "), environment);
    }
}

/// The worker is the unprivileged user and has, and can get, no right of root's, no file, and few system calls.
fn check_rights(daemon: &mlvpn_tests::daemon::Daemon) {
    let user = User::from_name(UNPRIVILEGED_USER).expect("a user database").expect("the user");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.worker())).expect("it runs");
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    let ids = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t");
    assert_eq!(line("Uid:"), ids(user.uid.as_raw()));
    assert_eq!(line("Gid:"), ids(user.gid.as_raw()));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        assert_eq!(line("Seccomp:"), "2");
    }
    let root = format!("/proc/{}/root", daemon.worker());
    assert_eq!(fs::read_dir(&root).expect("root may look").count(), 0, "its root directory is empty");
    let name = fs::read_link(&root).expect("root may look");
    assert!(name.to_string_lossy().ends_with(" (deleted)"), "{} can be filled", name.display());
}

#[test]
fn a_connection_survives_the_silent_outage_of_one_link_and_its_return() {
    let Some(network) = Network::emulated(&["unlimited/2ms", "unlimited/1ms"]) else { return };
    let both = start_both(&network, &configurations(2));
    await_up(&both, 2);
    let streams = [
        Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4)),
        Stream::open(&network.server, &network.client, tunnel_address(Side::Client, Family::V4)),
    ];
    streams.iter().for_each(Stream::await_progress);
    network.set_link(1, false);
    for daemon in [&both.0, &both.1] {
        daemon.expect_calls(&["rtun_down l1"]);
        daemon.expect_title("mlvpn: test !l1 @l2");
    }
    streams.iter().for_each(Stream::await_progress);
    network.set_link(1, true);
    for daemon in [&both.0, &both.1] {
        daemon.expect_calls(&["rtun_up l1"]);
        daemon.expect_title("mlvpn: test @l1 @l2");
    }
    for stream in streams {
        stream.await_progress();
        stream.finish();
    }
    for daemon in [&both.0, &both.1] {
        assert_eq!(daemon.count_calls("rtun_down l2"), 0, "{daemon}");
        assert_eq!(daemon.count_calls("tuntap_down"), 0, "{daemon}");
    }
}

#[test]
fn a_connection_survives_an_interface_taken_down_and_up() {
    let Some(network) = Network::wired(2) else { return };
    let both = start_both(&network, &configurations(2));
    await_up(&both, 2);
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    network.ip(Side::Client, "link set dev link2 down");
    both.0.expect_calls(&["rtun_down l2"]);
    stream.await_progress();
    network.ip(Side::Client, "link set dev link2 up");
    both.0.expect_calls(&["rtun_up l2"]);
    both.0.expect_title("mlvpn: test @l1 @l2");
    stream.await_progress();
    stream.finish();
    assert_eq!(both.0.count_calls("tuntap_down"), 0, "{}", both.0);
}

#[test]
fn an_iperf3_flow_survives_one_link_down_and_up() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "100mbit/2ms"]) else { return };
    let (client, server) = configurations(2);
    let both = [client, server].map(|side| side.with("general", "timeout", "2"));
    let both = start_both(&network, &both.into());
    await_up(&both, 2);
    let plan = IperfRun {
        server: &network.server,
        client: &network.client,
        address: tunnel_address(Side::Server, Family::V4),
        port: 5201,
        seconds: 8,
        omit_seconds: 0,
        flows: 1,
        congestion: None,
        is_reversed: false,
    };
    let outcome = std::thread::scope(|scope| {
        let flow = scope.spawn(|| run(&plan));
        network.set_link(2, false);
        both.0.expect_calls(&["rtun_down l2"]);
        network.set_link(2, true);
        both.0.expect_calls(&["rtun_up l2"]);
        flow.join().expect("no panic")
    });
    match outcome {
        Ok(result) => assert!(result.bytes > 0, "{result:?}"),
        Err(error @ IperfError::Missing) => eprintln!("skipped: {error}"),
        Err(error) => panic!("{error}\n{}{}", both.0, both.1),
    }
}

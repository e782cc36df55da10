// SPDX-License-Identifier: BSD-2-Clause
//! What the tunnel is to the machines at its ends, without a status command: addresses, networks behind it, the way to the
//! internet, translation; and that nothing of it is left behind.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration as StdDuration;

use mlvpn::lab::namespace::Namespace;
use mlvpn_tests::configuration::{Configuration, Family};
use mlvpn_tests::daemon::{Daemon, Program};
use mlvpn_tests::network::{Network, Side, outside_address, tunnel_address};
use mlvpn_tests::stream::Stream;
use mlvpn_tests::wait;
use nix::sys::signal::{Signal, kill};

/// Where the server is to the client: behind a gateway, so that only a default route leads there.
const SERVER: &str = "198.51.100.1";
/// A machine on the internet, and the server's address there.
const INTERNET: Ipv4Addr = Ipv4Addr::new(10, 9, 99, 1);
const EXIT: Ipv4Addr = Ipv4Addr::new(10, 9, 99, 2);
/// A connection within one machine's namespaces takes less, or does not come about.
const PATIENCE: StdDuration = StdDuration::from_secs(5);

/// A client whose one link leads to the internet by way of a router, the server behind that, and a machine on the internet.
struct World {
    network: Network,
    internet: Namespace,
}

impl World {
    fn new() -> Option<Self> {
        let network = Network::wired(1)?;
        let internet = network.neighbour();
        for (side, line) in [
            (Side::Server, format!("address add {SERVER}/32 dev lo")),
            (Side::Client, format!("route add default via {}", outside_address(Side::Server, 1, Family::V4))),
        ] {
            network.ip(side, &line);
        }
        let forward = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        network.server.run(forward).expect("a namespace").expect("a machine may forward");
        // The client reaches it without the tunnel, too.
        run(&internet, "ip", "route add 10.9.0.0/16 via 10.9.99.2");
        Some(Self { network, internet })
    }

    fn client(&self, options: &[(&str, &str)]) -> Daemon {
        let client = Configuration::new(Side::Client, 1, Family::V4).with("l1", "remotehost", SERVER);
        start(&self.network.client, client, options)
    }

    fn server(&self, options: &[(&str, &str)]) -> Daemon {
        let server = Configuration::new(Side::Server, 1, Family::V4).with("l1", "bindhost", SERVER);
        start(&self.network.server, server, options)
    }

    /// All that the client's kernel knows of ways and translations.
    fn ways(&self, side: Side) -> String {
        let machine = self.network.at(side);
        let ways = ["rule", "-6 rule", "route show table all", "address show up", "-6 route show table all"];
        let told = ways.map(|line| run(machine, "ip", line)).concat();
        // What the kernel is not done with on an interface that is new: link-local addresses, and when they expire.
        let is_settled = |line: &&str| ["fe80:", "ff00:", "valid_lft"].iter().all(|word| !line.contains(word));
        let told = told.lines().filter(is_settled).collect::<Vec<_>>().join("\n");
        told + &run(machine, "nft", "list ruleset")
    }

    /// Who the machine on the internet takes the client for; an error where the client gets no connection.
    fn seen_as(&self) -> io::Result<IpAddr> {
        let listener = self.internet.run(|| TcpListener::bind((INTERNET, 0))).expect("a namespace")?;
        let address = listener.local_addr()?;
        connect(&self.network.client, address)?;
        Ok(listener.accept()?.1.ip())
    }
}

fn connect(from: &Namespace, to: SocketAddr) -> io::Result<TcpStream> {
    from.run(|| TcpStream::connect_timeout(&to, PATIENCE)).expect("a namespace")
}

/// Starts our daemon without a status command.
fn start(machine: &Namespace, configuration: Configuration, options: &[(&str, &str)]) -> Daemon {
    let with = |all: Configuration, (name, value): &(&str, &str)| all.with("general", name, value);
    let text = options.iter().fold(configuration, with).text();
    Daemon::start_with_file(machine, &Program::ours(), ("mlvpn.conf", &text))
}

fn run(machine: &Namespace, program: &str, line: &str) -> String {
    let mut command: Command = machine.command(program).expect("descriptors");
    let output = command.args(line.split_whitespace()).output().expect("it is installed");
    assert!(output.status.success(), "{program} {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether this machine has nft; says so when not.
fn has_nft() -> bool {
    let has = Command::new("nft").arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: nft is not installed (Debian package nftables)");
    }
    has
}

fn await_up(daemon: &Daemon) {
    daemon.expect_title("mlvpn: test @l1");
}

/// What a daemon has left over: nothing.
fn assert_clean(world: &World, before: &[String; 2]) {
    for (side, before) in [Side::Client, Side::Server].into_iter().zip(before) {
        assert!(wait::becomes(|| world.ways(side) == *before), "{side:?}\n{before}\nbecame\n{}", world.ways(side));
    }
}

#[test]
fn the_tunnel_is_the_way_to_the_internet_but_for_its_own_packets_and_back_through_forwarded_ports() {
    let Some(world) = World::new().filter(|_| has_nft()) else { return };
    let before = [Side::Client, Side::Server].map(|side| world.ways(side));
    let plain = outside_address(Side::Client, 1, Family::V4);
    assert_eq!(world.seen_as().expect("a way without the tunnel"), plain);
    let forward = format!("tcp/8080:{}:80", tunnel_address(Side::Client, Family::V4));
    let mut server =
        world.server(&[("nat", "yes"), ("port_forwards", &forward), ("remote_networks", "192.168.77.0/24")]);
    let mut client = world.client(&[("default_gateway", "yes"), ("remote_networks", "192.168.78.0/24")]);
    [&client, &server].into_iter().for_each(await_up);
    assert!(wait::becomes(|| world.seen_as().is_ok_and(|seen| seen == IpAddr::from(EXIT))), "{:?}", world.seen_as());
    for (side, to) in [(Side::Client, "203.0.113.9"), (Side::Client, "192.168.78.9"), (Side::Server, "192.168.77.9")] {
        let way = world.network.ip(side, &format!("route get {to}"));
        assert!(way.contains("dev mlvpn0"), "{way}");
    }
    // The LAN's own network, and the way to the router, stay as they were.
    assert!(world.network.ip(Side::Client, "route get 10.9.1.77").contains("dev link1"));
    // A service of the client's, at the server's address.
    let service = world.network.client.run(|| TcpListener::bind("0.0.0.0:80")).expect("a namespace").expect("port 80");
    let mut outside = connect(&world.internet, (EXIT, 8080).into()).expect("a connection to the forwarded port");
    let (mut inside, _) = service.accept().expect("the connection just made");
    outside.write_all(b"hello").and_then(|()| outside.shutdown(std::net::Shutdown::Write)).expect("it is sent");
    let mut heard = String::new();
    inside.read_to_string(&mut heard).expect("it arrives");
    assert_eq!(heard, "hello");
    for daemon in [&mut client, &mut server] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.expect_end().success(), "{daemon}");
    }
    assert_eq!(world.seen_as().expect("a way without the tunnel"), plain);
    assert_clean(&world, &before);
}

#[test]
fn with_a_kill_switch_nothing_gets_out_while_the_tunnel_is_down_or_its_daemon_was_killed() {
    let Some(world) = World::new().filter(|_| has_nft()) else { return };
    let before = [Side::Client, Side::Server].map(|side| world.ways(side));
    let mut server = world.server(&[("nat", "yes")]);
    let mut client = world.client(&[("kill_switch", "yes")]);
    await_up(&client);
    let through_tunnel = || wait::becomes(|| world.seen_as().is_ok_and(|seen| seen == IpAddr::from(EXIT)));
    assert!(through_tunnel(), "{:?}\n{client}", world.seen_as());
    server.signal(Signal::SIGTERM);
    assert!(server.expect_end().success(), "{server}");
    client.expect_title("mlvpn: test !l1");
    assert!(wait::becomes(|| world.seen_as().is_err()), "the plain way is open");
    // What is near stays reachable.
    assert!(world.network.ip(Side::Client, "route get 10.9.1.2").contains("dev link1"));
    server = world.server(&[("nat", "yes")]);
    await_up(&client);
    assert!(through_tunnel(), "{:?}\n{client}", world.seen_as());
    kill(client.worker(), Signal::SIGKILL).expect("it runs");
    assert!(!client.expect_end().success());
    world.seen_as().expect_err("the plain way is open after a crash");
    client = world.client(&[("kill_switch", "yes")]);
    await_up(&client);
    assert!(through_tunnel(), "{:?}\n{client}", world.seen_as());
    for daemon in [&mut client, &mut server] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.expect_end().success(), "{daemon}");
    }
    assert_clean(&world, &before);
}

#[test]
fn a_daemon_that_was_killed_leaves_nothing_behind_once_it_is_back() {
    let Some(world) = World::new().filter(|_| has_nft()) else { return };
    let before = [Side::Client, Side::Server].map(|side| world.ways(side));
    let wide = [("nat", "yes"), ("remote_networks", "192.168.77.0/24, 10.77.0.0/16, fd77::/64")];
    let mut server = world.server(&wide);
    let mut client = world.client(&[("default_gateway", "yes")]);
    [&client, &server].into_iter().for_each(await_up);
    let up = world.ways(Side::Server);
    // First the monitor, then the worker; each time the next start finds the machine as a first start would.
    server.signal(Signal::SIGKILL);
    server.expect_end();
    server = world.server(&wide);
    await_up(&server);
    let without_numbers = |text: &str| text.lines().filter(|line| !line.contains("mlvpn0:")).count();
    assert_eq!(without_numbers(&world.ways(Side::Server)), without_numbers(&up), "{}", world.ways(Side::Server));
    kill(server.worker(), Signal::SIGKILL).expect("it runs");
    server.expect_end();
    kill(client.worker(), Signal::SIGKILL).expect("it runs");
    client.expect_end();
    // The next ones want less.
    server = world.server(&[]);
    client = world.client(&[]);
    [&client, &server].into_iter().for_each(await_up);
    for side in [Side::Client, Side::Server] {
        let ways = world.ways(side);
        assert!(!ways.contains("10.77.0.0") && !ways.contains("masquerade") && !ways.contains("suppress"), "{ways}");
    }
    for daemon in [&mut client, &mut server] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.expect_end().success(), "{daemon}");
    }
    assert_clean(&world, &before);
}

#[test]
fn an_established_connection_survives_the_restart_of_either_end() {
    let Some(world) = World::new() else { return };
    let mut server = world.server(&[]);
    let mut client = world.client(&[]);
    [&client, &server].into_iter().for_each(await_up);
    let machines = (&world.network.client, &world.network.server);
    let stream = Stream::open(machines.0, machines.1, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    kill(client.worker(), Signal::SIGKILL).expect("it runs");
    client.expect_end();
    client = world.client(&[]);
    await_up(&client);
    stream.await_progress();
    server.signal(Signal::SIGTERM);
    assert!(server.expect_end().success(), "{server}");
    server = world.server(&[]);
    [&client, &server].into_iter().for_each(await_up);
    stream.await_progress();
    assert!(stream.finish() > 0);
}

#[test]
fn two_tunnels_of_one_machine_keep_out_of_each_others_way() {
    let Some(world) = World::new().filter(|_| has_nft()) else { return };
    let before = [Side::Client, Side::Server].map(|side| world.ways(side));
    let named = |configuration: Configuration, name: &str, end: &str| {
        let port = if name == "mlvpn0" { "5081" } else { "5099" };
        configuration.with("general", "interface_name", name).with("l1", end, port)
    };
    let pair = |name: &str, number: u8, network: &str| {
        let server = Configuration::new(Side::Server, 1, Family::V4).with("l1", "bindhost", SERVER);
        let client = Configuration::new(Side::Client, 1, Family::V4).with("l1", "remotehost", SERVER);
        let server = named(server, name, "bindport").with("general", "ip4", &format!("10.{number}.0.2/24"));
        let client = named(client, name, "remoteport").with("general", "ip4", &format!("10.{number}.0.1/24"));
        let server = start(&world.network.server, server, &[]);
        (start(&world.network.client, client, &[("remote_networks", network)]), server)
    };
    let mut first = pair("mlvpn0", 61, "192.168.0.0/16");
    // The second's network lies in the first's, and in it the server itself.
    let mut second = pair("mlvpn1", 62, "192.168.5.0/24, 198.51.100.0/24");
    for daemon in [&first.0, &first.1, &second.0, &second.1] {
        await_up(daemon);
    }
    for (to, device) in [("192.168.4.1", "mlvpn0"), ("192.168.5.1", "mlvpn1"), (SERVER, "mlvpn1")] {
        let way = world.network.ip(Side::Client, &format!("route get {to}"));
        assert!(way.contains(&format!("dev {device}")), "{way}");
    }
    let machines = (&world.network.client, &world.network.server);
    for number in [61, 62] {
        let stream = Stream::open(machines.0, machines.1, IpAddr::from([10, number, 0, 2]));
        stream.await_progress();
        assert!(stream.finish() > 0);
    }
    for daemon in [&mut first.0, &mut first.1] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.expect_end().success(), "{daemon}");
    }
    assert!(world.network.ip(Side::Client, "route get 192.168.5.1").contains("dev mlvpn1"), "the other's stays");
    for daemon in [&mut second.0, &mut second.1] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.expect_end().success(), "{daemon}");
    }
    assert_clean(&world, &before);
}

// SPDX-License-Identifier: BSD-2-Clause
//! The control socket and HTTP of a running daemon: MLVPN 2.3.5's answers, and clients that mean no good.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::lab::namespace::Namespace;
use mlvpn::lab::ping::Pinger;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::configuration::{Configuration, Family, PASSWORD};
use mlvpn_tests::daemon::{Daemon, PrivateFolder};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::program::{self, UNPRIVILEGED_USER};
use mlvpn_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::User;
use serde_json::Value;

use crate::{await_up, configurations, start_both};

/// 2.3.5's usual port.
const PORT: u16 = 1040;

/// What 2.3.5 answered.
const RECORDED_STATUS: &str = include_str!("../../vectors/mlvpn-2.3.5/http-status.txt");
const RECORDED_METRICS: &str = include_str!("../../vectors/mlvpn-2.3.5/http-metrics.txt");

/// Longer than any answer takes, so that a test that fails does so with an error.
const PATIENCE: StdDuration = StdDuration::from_secs(20);

fn with_http(side: Configuration) -> Configuration {
    side.with("general", "control_bind_host", "127.0.0.1").with("general", "control_bind_port", &PORT.to_string())
}

fn connect(namespace: &Namespace) -> TcpStream {
    let stream = namespace.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))).expect("a namespace");
    let stream = stream.expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// The whole answer to these bytes.
fn ask(namespace: &Namespace, request: &str) -> String {
    let mut stream = connect(namespace);
    stream.write_all(request.as_bytes()).expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer of text, and then the end");
    answer
}

fn get(namespace: &Namespace, path: &str) -> String {
    ask(namespace, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"))
}

/// Lines of an answer's head, and its body.
fn parts(answer: &str) -> (Vec<&str>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.split("\r\n").collect(), body)
}

fn json(answer: &str) -> Value {
    serde_json::from_str(parts(answer).1).expect("JSON")
}

/// The answer at the UNIX socket, up to its end.
fn ask_line(path: &Path, line: &str, end: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(line.as_bytes()).expect("the line is taken");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(end.as_bytes()) {
        match stream.read(&mut chunk).expect("an answer") {
            0 => break,
            len => answer.extend_from_slice(&chunk[..len]),
        }
    }
    String::from_utf8(answer).expect("text")
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().expect("an object").keys().collect()
}

/// Names and labels of metrics, `NAME{..}`.
fn names(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

#[test]
fn http_answers_as_2_3_5_with_true_values() {
    let Some(network) = Network::wired(2) else { return };
    let (client, server) = configurations(2);
    let both = start_both(&network, &(with_http(client.with("l1", "bandwidth_upload", "1250000")), server));
    await_up(&both, 2);
    let answers = [
        get(&network.client, "/status"),
        get(&network.client, "/metrics"),
        ask(&network.client, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"),
    ];
    check_head(&answers[0]);
    check_status(&json(&answers[0]), &both.0);
    check_links(&json(&answers[0])["tunnels"]);
    check_metrics(&answers[1]);
    assert!(answers[2].contains("Content-type: application/openmetrics-text; version=1.0.0"), "{}", answers[2]);
    assert!(answers[2].ends_with("\n# EOF\n"), "{}", answers[2]);
    assert!(answers.iter().all(|answer| !answer.contains(PASSWORD)));
}

fn check_head(answer: &str) {
    let recorded: Vec<&str> = RECORDED_STATUS.split("\r\n").take_while(|line| !line.is_empty()).collect();
    assert_eq!(parts(answer).0[..recorded.len()], recorded, "{answer}");
}

/// Whether it is a time of the last minutes, in seconds since 1970.
fn is_recent(time: &Value) -> bool {
    let now = mlvpn::clock::wall_seconds().unsigned_abs();
    time.as_u64().is_some_and(|time| time <= now + 1 && time + 600 > now)
}

fn check_status(status: &Value, daemon: &Daemon) {
    let recorded = json(RECORDED_STATUS);
    assert_eq!(keys(status), keys(&recorded));
    assert_eq!(keys(&status["tuntap"]), keys(&recorded["tuntap"]));
    assert_eq!((&status["name"], &status["tuntap"]["name"]), (&"mlvpn".into(), &"mlvpn0".into()));
    assert_eq!(status["pid"].as_i64(), Some(daemon.monitor().as_raw().into()));
    assert!(status["uptime"].as_u64() < Some(600), "seconds since the start: {status}");
    assert!(is_recent(&status["last_reload"]), "{status}");
}

fn check_links(links: &Value) {
    let recorded = json(RECORDED_STATUS);
    let links = links.as_array().expect("links");
    assert_eq!(links.len(), 2);
    for (link, name) in links.iter().zip(["l1", "l2"]) {
        assert_eq!(keys(link), keys(&recorded["tunnels"][0]));
        let words = [&link["name"], &link["status"], &link["mode"]];
        assert_eq!(words, [&Value::from(name), &"connected".into(), &"client".into()]);
        let (packets, bytes) = (link["sentpackets"].as_u64(), link["sentbytes"].as_u64());
        assert!(packets > Some(0) && bytes > packets && link["recvbytes"].as_u64() > Some(0), "{link}");
        assert!(is_recent(&link["last_packet"]) && link["timeout"] == 5, "{link}");
    }
    assert_eq!((&links[0]["bandwidth"], &links[1]["bandwidth"]), (&1_250_000.into(), &0.into()));
    assert_eq!((&links[0]["destaddr"], &links[0]["destport"]), (&"10.9.1.2".into(), &"5081".into()));
    assert_eq!(links[0]["bindaddr"], "10.9.1.1");
}

fn check_metrics(answer: &str) {
    let (head, body) = parts(answer);
    assert!(head.contains(&"Content-type: text/plain; version=0.0.4; charset=utf-8"), "{head:?}");
    let told = names(body);
    for name in names(parts(RECORDED_METRICS).1) {
        assert!(told.contains(name), "{name}\n{body}");
    }
    assert!(body.contains("\nconnected{tunnel=\"l1\"} 1\n"), "{body}");
    assert!(body.contains("\nmlvpn_link_rate_bytes_per_second{device=\"mlvpn0\",link=\"l1\"} 1250000\n"), "{body}");
}

#[test]
fn the_unix_socket_answers_lines_as_2_3_5_and_is_for_its_group_alone() {
    let Some(network) = Network::wired(1) else { return };
    let folder = PrivateFolder::new();
    let path = folder.path().join("control");
    let (client, server) = configurations(1);
    let client = client.with("general", "control_unix_path", &path.to_string_lossy());
    let mut both = start_both(&network, &(client, server));
    await_up(&both, 1);
    let facts = fs::metadata(&path).expect("the socket is there");
    let group = User::from_name(UNPRIVILEGED_USER).expect("users").expect("the user").gid;
    assert!(facts.file_type().is_socket());
    assert_eq!((facts.permissions().mode() & 0o777, facts.uid(), facts.gid()), (0o660, 0, group.as_raw()));

    let status: Value = serde_json::from_str(&ask_line(&path, "status\r\n", "]}\n")).expect("JSON");
    assert_eq!(keys(&status), keys(&json(RECORDED_STATUS)));
    let metrics = ask_line(&path, "METRICS\n", "timeout{tunnel=\"l1\"} 5\n");
    let recorded = parts(RECORDED_METRICS).1;
    let of_l1 = |text: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        names.filter(|name| !name.contains("l2")).collect()
    };
    assert_eq!(of_l1(&metrics), of_l1(recorded));
    let two: String = ask_line(&path, "status\nquit\n", "bye.");
    assert!(two.ends_with("]}\nbye."), "{two}");
    assert_eq!(ask_line(&path, "sideways\n", "\n"), "{\"error\": \"unknown command\"}\n");
    assert!(ask_line(&path, "GET /status HTTP/1.0\r\n\r\n", "]}\n").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(ask_line(&path, &"x".repeat(20_000), "\n").contains("too long"));

    both.0.signal(Signal::SIGTERM);
    assert!(both.0.expect_end().success());
    assert!(!path.exists(), "it is removed when the daemon ends");
}

#[test]
fn a_socket_left_by_a_crash_is_replaced_and_one_in_use_is_refused() {
    let Some(network) = Network::wired(1) else { return };
    let folder = PrivateFolder::new();
    let path = folder.path().join("control");
    let (client, _) = configurations(1);
    let client = client.with("general", "control_unix_path", &path.to_string_lossy());
    let mut first = Daemon::start(&network.client, &client);
    assert!(wait::becomes(|| path.exists()), "{first}");
    // Of another device, so that nothing else is in its way.
    let other = client.clone().with("general", "interface_name", "other0");
    let file = folder.write("mlvpn.conf", other.text(), 0o600);
    let mut second = network.client.command(program::mlvpn()).expect("descriptors");
    let second =
        second.args(["--debug", "--user", UNPRIVILEGED_USER, "--config"]).arg(file).output().expect("it starts");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr);
    for word in ["another daemon answers at", &path.to_string_lossy(), "control_unix_path"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("created tun interface"), "it touches nothing before: {said}");
    assert!(path.exists(), "the first one's socket is left alone");
    // Its socket outlives the two processes.
    kill(first.monitor(), Signal::SIGKILL).expect("it runs");
    first.expect_end();
    assert!(path.exists());
    let third = Daemon::start(&network.client, &client);
    assert!(wait::becomes(|| UnixStream::connect(&path).is_ok()), "{third}");
}

#[test]
fn hostile_clients_do_not_hurt_the_tunnel() {
    let Some(network) = Network::emulated(&["unlimited/1ms", "unlimited/1ms"]) else { return };
    let (client, server) = configurations(2);
    let both = start_both(&network, &(with_http(client), server));
    await_up(&both, 2);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", both.0.worker())).map_or(0, Iterator::count);
    let before = descriptors();
    let ping = Pinger::start(&network.client, tunnel_v4(Side::Server), Duration::from_millis(5)).expect("ping");
    let machine = &network.client;
    // More than the daemon has seats for, and all of them silent or slow.
    let mut idle: Vec<TcpStream> = (0..60).map(|_| connect(machine)).collect();
    for stream in idle.iter_mut().take(30) {
        // The seat may be somebody else's by now.
        drop(stream.write_all(b"GET /sta"));
    }
    for request in [
        "\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\n\n".to_owned(),
        "GET /status HTTP/9.9\r\n\r\n".to_owned(),
        "POST /status HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "GET /../../etc/shadow HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(50_000)),
    ] {
        let mut stream = connect(machine);
        // It may be cut off in the middle, which is an answer, too.
        drop(stream.write_all(request.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        assert!(descriptors() <= before + 16, "no more than there are seats");
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..100).for_each(|_| assert!(get(machine, "/metrics").starts_with("HTTP/1.1 200 OK"))));
        }
    });
    assert_eq!(json(&get(machine, "/status"))["tunnels"][0]["status"], "connected");
    let pings = ping.stop().expect("ping");
    let lost = pings.iter().filter(|ping| ping.round_trip.is_none()).count();
    assert_eq!(lost, 0, "of {}\n{}", pings.len(), both.0);
    // Whoever says nothing is shown out.
    assert!(wait::becomes(|| descriptors() <= before), "{} and {before} before", descriptors());
    for daemon in [&both.0, &both.1] {
        assert_eq!(daemon.count_calls("rtun_down l1"), 0, "{daemon}");
    }
    drop(idle);
}

fn tunnel_v4(side: Side) -> Ipv4Addr {
    match tunnel_address(side, Family::V4) {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!("asked for IPv4"),
    }
}

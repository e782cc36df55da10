// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpn show`, `link`, `set`, `peer` and `reload` against a running daemon.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mlvpn_tests::configuration::protocol2::{keys, secret, with_keys};
use mlvpn_tests::configuration::{Family, PASSWORD};
use mlvpn_tests::daemon::{Daemon, PrivateFolder};
use mlvpn_tests::network::{Network, Side, tunnel_address};
use mlvpn_tests::program;
use mlvpn_tests::stream::Stream;
use mlvpn_tests::wait;
use nix::unistd::{User, geteuid};
use serde_json::Value;

use crate::{await_up, configurations, start_both};

/// Where a daemon listens whose configuration says nothing of it.
fn usual_socket(daemon: &Daemon) -> PathBuf {
    daemon.folder().join("mlvpn0.sock")
}

/// Runs `mlvpn` with these arguments, the last of them the daemon's socket.
fn mlvpn(daemon: &Daemon, line: &str) -> Output {
    let mut command = Command::new(program::mlvpn());
    command.args(line.split_whitespace()).arg("--socket").arg(usual_socket(daemon));
    command.stdin(Stdio::null()).output().expect("the program starts")
}

#[track_caller]
fn done(daemon: &Daemon, line: &str) -> String {
    let output = mlvpn(daemon, line);
    assert!(output.status.success(), "{line}: {output:?}\n{daemon}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn refused(daemon: &Daemon, line: &str, word: &str) {
    let output = mlvpn(daemon, line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(word), "{line}: {output:?}");
}

fn status(daemon: &Daemon) -> Value {
    let value: Value = serde_json::from_str(&done(daemon, "show --json")).expect("JSON");
    value["tunnels"][0].clone()
}

#[track_caller]
fn expect_status(daemon: &Daemon, what: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = wait::becomes(|| {
        last = status(daemon);
        what(&last)
    });
    assert!(found, "{last:#}\n{daemon}");
    last
}

#[test]
fn a_link_is_taken_out_re_rated_and_put_back_by_command_under_traffic() {
    let Some(network) = Network::emulated(&["100mbit/2ms", "unlimited/1ms"]) else { return };
    let both = start_both(&network, &configurations(2));
    await_up(&both, 2);
    let client = &both.0;
    let table = done(client, "show");
    for word in ["mlvpn0: up, all of 2 links are connected", "classic protocol", "LINK", "l1", "l2", "10.9.1.2:5081"] {
        assert!(table.contains(word), "{word}\n{table}");
    }
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    done(client, "link l2 down");
    client.expect_calls(&["rtun_down l2"]);
    both.1.expect_log(&["l2: down, the peer disconnected"]);
    assert_eq!(status(client)["links"][1]["state"], "disabled");
    stream.await_progress();
    done(client, "link l2 backup rate 1mbit timeout 7s loss 30 latency 400ms");
    client.expect_calls(&["rtun_up l2"]);
    let told = expect_status(client, |status| status["links"][1]["state"] == "up");
    let link = &told["links"][1];
    assert_eq!((&link["backup"], &link["rate_bytes_per_sec"]), (&true.into(), &125_000.into()));
    assert_eq!((&link["timeout_ms"], &link["loss_tolerance_percent"]), (&7_000.into(), &30.into()));
    assert_eq!(link["latency_tolerance_ms"], 400);
    // What was told one link stays when all are told otherwise, and when the file is read again.
    done(client, "set timeout 9s");
    done(client, "reload");
    client.expect_log(&["reload: done"]);
    let told = status(client);
    let timeouts = [&told["links"][0]["timeout_ms"], &told["links"][1]["timeout_ms"]];
    assert_eq!(timeouts, [&Value::from(9_000), &Value::from(7_000)]);
    done(client, "link l2 up");
    assert_eq!(status(client)["links"][1]["backup"], false);
    stream.await_progress();
    stream.finish();
    assert_eq!(client.count_calls("rtun_down l1"), 0, "{client}");
    refused(client, "link l3 down", "there is no link \"l3\"; there are l1, l2");
    refused(client, "peer remove x", "only a server of protocol 2");
    for text in [done(client, "show --json"), client.log()] {
        assert!(!text.contains(PASSWORD));
    }
}

#[test]
fn what_a_link_is_used_for_is_changed_by_command_and_counted() {
    let Some(network) = Network::emulated(&["20mbit/2ms", "20mbit/2ms"]) else { return };
    let both = start_both(&network, &with_keys(2));
    both.0.expect_calls(&["rtun_up l1", "rtun_up l2", "tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
    let client = &both.0;
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    let words = "tier 2 weight 30 metered yes download 8mbit quota_day_soft 100MB quota_day_hard 2TB";
    done(client, &format!("link l2 {words}"));
    let told = expect_status(client, |status| status["links"][1]["policy"]["tier"] == 2);
    let policy = &told["links"][1]["policy"];
    assert_eq!((&policy["weight"], &policy["metered"]), (&30.into(), &true.into()));
    assert_eq!(policy["quota"]["day_hard_bytes"], 2_000_000_000_000_u64);
    // What was told stays when the file is read again, and what is told later is put on top.
    done(client, "reload");
    client.expect_log(&["reload: done"]);
    done(client, "link l2 weight 0 quota_day_soft none quota_day_hard 1MB tier 1");
    let told = expect_status(client, |status| status["links"][1]["policy"]["stop"] == "hard");
    let policy = &told["links"][1]["policy"];
    assert!(policy["weight"].is_null() && policy["quota"]["day_soft_bytes"].is_null(), "{policy:#}");
    assert!(policy["quota"]["day_bytes"].as_u64() >= Some(1_000_000), "{policy:#}");
    client.expect_log(&["l2: its quota is used up"]);
    assert!(done(client, "show").contains("used up: no data"));
    stream.await_progress();
    stream.finish();
    refused(client, "link l2 tier 10", "1 to 9");
    refused(client, "link l2 quota_day_soft 2GB quota_day_hard 1GB", "make it the smaller one");
    refused(client, "set tier 2", "mlvpn link NAME tier");
    refused(&both.1, "link l1 tier 2", "set on the client");
}

#[test]
fn watching_tells_anew_what_changes() {
    let Some(network) = Network::wired(1) else { return };
    let both = start_both(&network, &configurations(1));
    await_up(&both, 1);
    let mut command = Command::new(program::mlvpn());
    command.args(["show", "--json", "--watch", "--socket"]).arg(usual_socket(&both.0));
    let mut watch = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["tunnels"][0]["links"][0]["state"], "up");
    done(&both.0, "link l1 down");
    let is_told = (0..10).any(|_| next()["tunnels"][0]["links"][0]["state"] == "disabled");
    watch.kill().expect("our own child");
    watch.wait().expect("our own child");
    assert!(is_told, "{}", both.0);
}

#[test]
fn a_peer_is_admitted_to_a_server_and_removed_by_command() {
    let Some(network) = Network::wired(1) else { return };
    let (client, server) = with_keys(1);
    let server = server.with("peer router", "allowed_ips", "10.42.0.1/32");
    // The client's key is the file's; until the command it is another one's.
    let (private, public) = keys(7);
    let stranger = client.with("general", "private_key", &private);
    let folder = PrivateFolder::new();
    let shared = folder.write("secret", secret(5), 0o600);
    let stranger = stranger.with("peer office", "secret", &secret(5));
    let both = start_both(&network, &(stranger, server));
    expect_status(&both.1, |status| status["peers"]["total"] == 1);
    let add = format!("peer add guest --public-key {public} --secret-file {}", shared.display());
    refused(&both.1, &format!("{add} --allowed-ips 10.42.0.0/24"), "overlaps a network of router");
    refused(&both.1, &format!("{add} --allowed-ips nonsense"), "no network");
    done(&both.1, "peer remove router");
    let said = done(&both.1, &format!("{add} --allowed-ips 10.42.0.1/32,192.168.77.0/24"));
    let section = format!("[peer guest]\npublic_key = \"{public}\"\n");
    for word in ["until the daemon ends", &section, "192.168.77.0/24 is not routed into the tunnel", "remote_networks"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let told = expect_status(&both.1, |status| status["peers"]["peers"][0]["up"] == true);
    assert_eq!((&told["peers"]["total"], &told["peers"]["peers"][0]["name"]), (&1.into(), &"guest".into()));
    await_tunnel(&both);
    let stream = Stream::open(&network.client, &network.server, tunnel_address(Side::Server, Family::V4));
    stream.await_progress();
    // The file does not know the one and knows the other: the commands count.
    done(&both.1, "reload");
    both.1.expect_log(&["reload: done"]);
    stream.await_progress();
    stream.finish();
    let table = done(&both.1, "peer show");
    assert!(table.contains("guest") && table.contains("10.42.0.1/32") && !table.contains("router"), "{table}");
    refused(&both.1, "peer show router", "no peer \"router\"");
    done(&both.1, "peer remove guest");
    both.0.expect_calls(&["tuntap_down"]);
    refused(&both.1, "peer remove guest", "no such peer");
    for text in [both.1.log(), said, done(&both.1, "show --json")] {
        assert!(!text.contains(&secret(5)) && !text.contains(&keys(2).0));
    }
}

fn await_tunnel(both: &(Daemon, Daemon)) {
    both.0.expect_calls(&["tuntap_up"]);
    both.1.expect_calls(&["tuntap_up"]);
}

#[test]
fn who_asks_nobody_or_may_not_ask_is_told_what_to_do() {
    let folder = PrivateFolder::new();
    let show = |folder: &std::path::Path, line: &str| {
        let mut command = Command::new(program::mlvpn());
        command.args(line.split_whitespace()).env("RUNTIME_DIRECTORY", folder).output().expect("the program starts")
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let nobody = show(folder.path(), "show");
    assert_eq!(nobody.status.code(), Some(1));
    for word in [&folder.path().to_string_lossy(), "start mlvpn", "--socket PATH"] {
        assert!(said(&nobody).contains(word), "{word}: {nobody:?}");
    }
    let Some(network) = Network::wired(1) else { return };
    let (client, _) = configurations(1);
    let daemon = Daemon::start(&network.client, &client);
    assert!(wait::becomes(|| usual_socket(&daemon).exists()), "{daemon}");
    // By the folder, by the tunnel's name, and by the configuration.
    for line in ["show", "list", "show --tunnel mlvpn0"] {
        let output = show(daemon.folder(), line);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("mlvpn0"), "{output:?}");
    }
    let config = daemon.folder().join("mlvpn.conf");
    assert!(show(daemon.folder(), &format!("-c {} show", config.display())).status.success());
    assert!(said(&show(daemon.folder(), "show --tunnel mlvpn9")).contains("no tunnel mlvpn9 runs"));
    if !geteuid().is_root() {
        return;
    }
    // The folder is root's alone in a test; the socket is looked at through a descriptor of it.
    let stranger = User::from_name("daemon").expect("users").expect("Debian has it");
    std::fs::set_permissions(daemon.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("ours");
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={}", stranger.uid), &format!("--regid={}", stranger.gid), "--clear-groups"]);
    command.arg(program::mlvpn()).args(["show", "--socket"]).arg(usual_socket(&daemon));
    let output = command.output().expect("setpriv is part of util-linux");
    if said(&output).contains("setpriv: failed to execute") {
        eprintln!("skipped the rest: another user cannot run the program from where it was built");
        return;
    }
    assert!(said(&output).contains("not permitted to connect") && said(&output).contains("nogroup"), "{output:?}");
}

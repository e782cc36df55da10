// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf from text to types: what each oddity is answered with, and that nothing makes the reader fall over.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlvpn::config::options::{self, Absent, SectionKind, Takes};
use mlvpn::config::{self, Config, DeviceKind, MAX_PEERS, MAX_REPORTS, Mode, Network, Protocol, Report, Severity};
use mlvpn_core::state::identity::PublicKey;

const PASSWORD: &str = "q3Zt8uW1xYk5rPz9vNc2";

/// A client that nothing is to be said about, on 6 lines.
const CLIENT: &str = "[general]\nmode = \"client\"\npassword = \"q3Zt8uW1xYk5rPz9vNc2\"\n\
    [dsl1]\nremotehost = \"vpn.example.org\"\nremoteport = 5080\n";

/// A server that nothing is to be said about, on 5 lines.
const SERVER: &str = "[general]\nmode = \"server\"\npassword = \"q3Zt8uW1xYk5rPz9vNc2\"\n\
    [dsl1]\nbindport = 5080\n";

fn said(reports: &[Report]) -> Vec<String> {
    reports.iter().map(|report| format!("{}: {report}", report.severity)).collect()
}

fn accept(text: &str) -> (Config, Vec<String>) {
    match Config::parse("f", text) {
        Ok((config, reports)) => (config, said(&reports)),
        Err(reports) => panic!("{text}\n{:#?}", said(&reports)),
    }
}

fn refuse(text: &str) -> Vec<String> {
    match Config::parse("f", text) {
        Ok((_, reports)) => panic!("accepted: {text}\n{:#?}", said(&reports)),
        Err(reports) => said(&reports),
    }
}

#[test]
fn a_file_that_is_no_text_is_one_error_at_its_first_nul() {
    let text = format!("[general]\n\u{7f}ELF\0\n{}", "\u{1} = \0\n[\n".repeat(500));
    let reports = Config::parse("mlvpn", &text).expect_err("no configuration");
    let said: Vec<_> = reports.iter().map(ToString::to_string).collect();
    let expected = "mlvpn:2: this is no text file: the line has a NUL byte; \
        check that this is the file you meant; if it is, remove the NUL";
    assert_eq!(said, [expected]);
    assert!(reports[0].severity == Severity::Error);
}

#[test]
fn a_plain_client_and_server_are_read_without_a_word() {
    let (config, reports) = accept(CLIENT);
    assert_eq!(reports, [""; 0]);
    assert_eq!((config.general.mode, config.general.password.expose()), (Mode::Client, PASSWORD.as_bytes()));
    let link = &config.links[0];
    assert_eq!(
        (link.name.as_str(), link.remotehost.as_deref(), link.remoteport),
        ("dsl1", Some("vpn.example.org"), Some(5080))
    );
    let (config, reports) = accept(SERVER);
    assert_eq!(reports, [""; 0]);
    assert_eq!((config.general.mode, config.links[0].bindport), (Mode::Server, Some(5080)));
}

#[test]
fn what_is_absent_has_the_defaults_of_2_3_5() {
    let (config, _) = accept(CLIENT);
    let (general, link) = (&config.general, &config.links[0]);
    assert_eq!(general.interface_name.as_str(), "mlvpn0");
    assert_eq!(general.tuntap, DeviceKind::Tun);
    assert!(general.offload, "unless told otherwise");
    assert_eq!((general.timeout_secs, general.loss_tolerance_percent, general.latency_tolerance_ms), (60, 100, 1000));
    assert_eq!((general.reorder_buffer_size, general.cleartext_data, general.mtu), (0, false, None));
    assert_eq!((link.timeout_secs, link.loss_tolerance_percent, link.latency_tolerance_ms), (60, 100, 1000));
    assert_eq!((link.bandwidth_upload, link.fallback_only, link.bindport), (0, false, None));
}

#[test]
fn a_link_inherits_limits_from_general_and_may_have_its_own() {
    let text = CLIENT.replace("mode", "timeout = 30\nloss_tolerance = 20\nlatency_tolerence = 400\nmode");
    let (config, reports) =
        accept(&format!("{text}[dsl2]\nremotehost=h\nremoteport=1\ntimeout=5\nloss_tolerence=50\n"));
    assert_eq!(reports, [""; 0]);
    let limits = |i: usize| (config.links[i].timeout_secs, config.links[i].loss_tolerance_percent);
    assert_eq!((limits(0), limits(1)), ((30, 20), (5, 50)));
    assert_eq!(config.links[1].latency_tolerance_ms, 400);
}

#[test]
fn a_full_client_configuration_reads_as_meant() {
    let text = r#"
# everything a router might say
[general]
statuscommand = "/etc/mlvpn/updown.sh"
mode = "client"
interface_name = "bond0"
tuntap = "tap"
timeout = 30
password = "q3Zt8uW1xYk5rPz9vNc2"   # the same over there
cleartext_data = 0
control_unix_path = "/run/mlvpn.sock"
control_bind_host = "127.0.0.1"
control_bind_port = "1040"
reorder_buffer_size = 64
loss_tolerence = 10
latency_tolerence = 500
ip4 = "10.42.43.1/30"
ip6 = "fd00::1/64"
ip4_gateway = "10.42.43.2"
ip6_gateway = "fd00::2"
ip4_routes = "10.0.0.0/8 192.168.1.0/24"
ip6_routes = fd01::/48 fd02::/48
mtu = 1390

[filters]
dsl1 = udp port 5060
lte = "ip proto \icmp and ip[8] < 5"

[dsl1]
bindhost = "192.168.1.2"
bindport = 5080
bindinterface = "eth1"
remotehost = "vpn.example.org"
remoteport = 5080
bandwidth_upload = 61440
timeout = 25

[lte]
bindif = wwan0
remotehost = "2001:db8::1"
remoteport = 5081
fallback_only = 1
loss_tolerance = 30
"#;
    let (config, reports) = accept(text);
    assert_eq!(reports, [""; 0]);
    let general = &config.general;
    assert_eq!(general.statuscommand.as_deref(), Some(Path::new("/etc/mlvpn/updown.sh")));
    assert_eq!((general.interface_name.as_str(), general.tuntap), ("bond0", DeviceKind::Tap));
    assert_eq!((general.control_bind_host.as_deref(), general.control_bind_port), (Some("127.0.0.1"), Some(1040)));
    assert_eq!(general.ip4.unwrap().to_string(), "10.42.43.1/30");
    assert_eq!(general.ip6_gateway.unwrap().to_string(), "fd00::2");
    let routes: Vec<_> = general.ip4_routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["10.0.0.0/8", "192.168.1.0/24"]);
    assert_eq!((general.ip6_routes.len(), general.mtu, general.reorder_buffer_size), (2, Some(1390), 64));
    let (dsl, lte) = (&config.links[0], &config.links[1]);
    assert_eq!(dsl.bindinterface.as_ref().unwrap().as_str(), "eth1");
    assert_eq!((dsl.bandwidth_upload, dsl.timeout_secs, dsl.loss_tolerance_percent), (61_440, 25, 10));
    assert_eq!((lte.fallback_only, lte.loss_tolerance_percent, lte.bindport), (true, 30, None));
    let filters: Vec<_> = config.filters.iter().map(|f| (f.link.as_str(), f.expression.as_str(), f.line)).collect();
    assert_eq!(filters, [("dsl1", "udp port 5060", 26), ("lte", "ip proto \\icmp and ip[8] < 5", 27)]);
}

#[test]
fn a_server_with_two_links_and_no_addresses_of_its_own_reads_as_meant() {
    let text = "[general]\nmode = server\npassword = q3Zt8uW1xYk5rPz9vNc2\nreorder_buffer = yes\n\
        [a]\nbindhost = 0.0.0.0\nbindport = 5080\n[b]\nbindhost = ::\nbindport = 5081";
    let (config, reports) = accept(text);
    assert_eq!(reports, [""; 0]);
    assert_eq!(config.general.reorder_buffer_size, 64);
    assert_eq!(config.links[1].bindport, Some(5081), "the last line counts though no newline ends it");
}

/// A line of `[general]`, and what is said of it when it stands on line 4.
const RUNS_WITH: [(&str, &str); 22] = [
    (
        "reorder_buffer = 70000",
        "[general] reorder_buffer: 70000 is out of range and taken as 65536 packets; give a value from 0 to 65536",
    ),
    ("timout = 3", "[general] timout: unknown option; did you mean \"timeout\"?"),
    ("remotehost = h", "[general] remotehost: unknown option; it belongs in the section of a link"),
    ("favourite_colour = blue", "[general] favourite_colour: unknown option; remove the line, or start it with '#'"),
    (
        "mode = server",
        "[general] mode: given more than once; the value on line 2 counts; remove the lines that do not count",
    ),
    ("timeout = 1", "[general] timeout: 1 is out of range and taken as 2 seconds; give a value from 2 to 2147483647"),
    (
        "timeout = 30s",
        "[general] timeout: text after the number is ignored; 30 is used; write a whole number without unit or sign",
    ),
    (
        "timeout = soon",
        "[general] timeout: not a number; the line is ignored; write a whole number without unit or sign",
    ),
    (
        "timeout = 3 0",
        "[general] timeout: the value has spaces outside quotes; \
         they are taken out; write it without spaces, or in double quotes if they are part of it",
    ),
    (
        "loss_tolerence = 101",
        "[general] loss_tolerence: 101 is out of range and taken as 100 percent; give a value from 0 to 100",
    ),
    ("cleartext_data = yes", "[general] cleartext_data: not a number; the line is ignored; write 0 or 1"),
    (
        "cleartext_data = 1",
        "[general] cleartext_data: data is neither encrypted nor authenticated: whoever sees a link can read \
         and forge it; set it to 0 on both sides unless all traffic is protected otherwise",
    ),
    ("tuntap = TUN", "[general] tuntap: neither \"tun\" nor \"tap\"; read as \"tap\"; write one of the two"),
    (
        "mtu = 1444",
        "[general] mtu: 1444 makes datagrams of up to 1516 bytes, which fragment on links that carry 1500; \
         remove the line to have it computed, or give at most 1428",
    ),
    ("mtu = 9000", "[general] mtu: 9000 is out of range and taken as 1500 bytes; give a value from 576 to 1500"),
    (
        "ip4 = 10.0.0.1",
        "[general] ip4: no prefix length; \
         /32 is used; write ADDRESS/PREFIX if the other end is to be in the same network",
    ),
    (
        "ip4 = 10.0.0/24",
        "[general] ip4: not an IPv4 address with its prefix length; the line is ignored; write ADDRESS/PREFIX",
    ),
    ("ip4_gateway = 10.0.0.2/30", "[general] ip4_gateway: the prefix length is ignored; write the address alone"),
    (
        "ip4_routes = 10.0.0.1/8",
        "[general] ip4_routes: network 1 has bits set beyond its prefix length, which Linux refuses; write 10.0.0.0/8",
    ),
    (
        "ip6_routes = fd00::/8 x/y",
        "[general] ip6_routes: network 2 is not one and is ignored; \
         write networks as ADDRESS/PREFIX, separated by spaces",
    ),
    (
        "interface_name = a-name-of-17-long",
        "[general] interface_name: longer than 15 characters; the rest is cut off; give at most 15 characters",
    ),
    (
        "statuscommand = updown.sh",
        "[general] statuscommand: not an absolute path; it depends on where mlvpn is started; begin it with '/'",
    ),
];

#[test]
fn what_2_3_5_runs_with_is_a_warning_that_names_line_option_and_remedy() {
    let weak = "set the output of `head -c 24 /dev/urandom | base64` on both sides";
    for (line, expected) in RUNS_WITH {
        let (_, reports) = accept(&CLIENT.replace("[dsl1]", &format!("{line}\n[dsl1]")));
        assert!(reports.contains(&format!("warning: f:4: {expected}")), "{line}: {reports:#?}");
    }
    let (_, reports) = accept(&CLIENT.replace(PASSWORD, "pleasechangeme!"));
    assert_eq!(
        reports,
        [format!(
            "warning: f:3: [general] password: the password is or contains a word every attacker tries first; {weak}"
        )]
    );
    let (_, reports) = accept(&CLIENT.replace(PASSWORD, "tr0ub4dor&3"));
    assert_eq!(
        reports,
        [format!(
            "warning: f:3: [general] password: the password is short or regular enough to be found by trying; {weak}"
        )]
    );
}

#[test]
fn oddities_of_links_are_warnings() {
    let cases = [
        ("bindfib = 1", "f:7: [dsl1] bindfib: has no effect on Linux; use bindinterface, or remove the line"),
        ("password = x", "f:7: [dsl1] password: unknown option; it belongs in [general]"),
        ("fallback_only = 2", "f:7: [dsl1] fallback_only: neither 0 nor 1; 1 is used; write 0 or 1"),
        ("[dsl2]", "f:7: [dsl2] the section is empty and is ignored; set the link's options below it, or remove it"),
        (
            "bindport = 5\n[dsl2]\nremotehost = h\nremoteport = 1\nbindport = 5",
            "f:11: [dsl2] bindport: bound to the same address and port as [dsl1]; \
             give each link its own bindport, bindhost or bindinterface",
        ),
        (
            "[filters_office]\ndsl1 = icmp",
            "f:7: [filters_office] every section whose name begins with \"filters\" holds filters; write [filters], or give \
             the link another name",
        ),
        (
            "[-x]\nremotehost = h\nremoteport = 1",
            "f:7: [-x] the link's name may confuse the status script that gets it as an argument; \
             use letters, digits, '-', '_' and '.', and begin with a letter or digit",
        ),
    ];
    for (lines, expected) in cases {
        let (_, reports) = accept(&format!("{CLIENT}{lines}\n"));
        assert_eq!(reports, [format!("warning: {expected}")]);
    }
    let (_, reports) = accept(&CLIENT[..CLIENT.find("[dsl1]").unwrap()]);
    assert_eq!(reports, ["warning: f: no link; add a section for each internet link, like [dsl1]"]);
}

#[test]
fn two_links_of_one_address_are_said_to_take_one_way() {
    let second = "[dsl2]\nremotehost = vpn.example.org\nremoteport = 5081\nbindhost = 192.0.2.1\n";
    let client = CLIENT.replace("remoteport = 5080", "remoteport = 5080\nbindhost = 192.0.2.1");
    let (_, reports) = accept(&format!("{client}{second}"));
    let expected = "warning: f:11: [dsl2] bindhost: 192.0.2.1 is the address of [dsl1], too: both take the same way; give \
                    each link the address of its own line, or its bindinterface";
    assert_eq!(reports, [expected]);
    let apart = second.replace("bindhost", "bindinterface = eth1\nbindhost");
    assert_eq!(accept(&format!("{client}{apart}")).1, [""; 0]);
    let any = format!("{client}{second}").replace("192.0.2.1", "0.0.0.0");
    assert_eq!(accept(&any).1, [""; 0], "the system chooses");
}

#[test]
fn what_2_3_5_stops_at_and_what_is_unsafe_is_an_error() {
    let bindport = "add the UDP port the server waits on, as bindport = 5080";
    let cases = [
        (
            CLIENT.replace("mode = \"client\"", ""),
            "f:1: [general] mode: not given; add mode = \"client\" or mode = \"server\"",
        ),
        (
            CLIENT.replace("password", "#"),
            "f:1: [general] password: not given; add password = \"...\", the same on both sides",
        ),
        (CLIENT.replace("remotehost", "#"), "f:4: [dsl1] remotehost: not given; add the server's name or address"),
        (
            CLIENT.replace("remoteport", "#"),
            "f:4: [dsl1] remoteport: not given; add the server's UDP port, its bindport for this link",
        ),
        (SERVER.replace("bindport = 5080", "bindhost = ::"), &format!("f:4: [dsl1] bindport: not given; {bindport}")),
        (
            CLIENT.replace("[general]", "[generel]"),
            "f: no [general] section; begin the file with [general], and set mode and password there",
        ),
        (
            CLIENT.replace("mode", "timeout = -1\nmode"),
            "f:2: [general] timeout: a negative number; write a whole number without unit or sign",
        ),
        (
            CLIENT.replace("mode", "timeout = 99999999999\nmode"),
            "f:2: [general] timeout: the number is too large; give at most 4294967295",
        ),
        (CLIENT.replace("5080", "http"), "f:6: [dsl1] remoteport: not a port; give a number from 1 to 65535"),
        (CLIENT.replace("5080", "65536"), "f:6: [dsl1] remoteport: not a port; give a number from 1 to 65535"),
        (
            CLIENT.replace("vpn.example.org", "a;b"),
            "f:5: [dsl1] remotehost: not a host name or address; \
             give a name, an IPv4 or an IPv6 address, without a port",
        ),
        (
            CLIENT.replace("mode", "interface_name = a/b\nmode"),
            "f:2: [general] interface_name: not the name of a network interface; \
             give 1 to 15 letters or digits, without spaces, '/', ':' or '%'",
        ),
        (
            format!("{CLIENT}[]\nremotehost = h\nremoteport = 1"),
            "f:7: [] the link has no name; write one between the brackets, like [dsl1]",
        ),
        (
            format!("{CLIENT}[filters]\ndsl2 = icmp"),
            "f:8: [filters] dsl2: the filter is for a link that does not exist; the links are dsl1",
        ),
        (
            format!("{CLIENT}[filter]\ndsl1 = \"udp port 5060\""),
            "f:7: [filter] its options are names of links, so that it seems to hold filters; call it [filters]",
        ),
        (format!("{CLIENT}[dsl2\n"), "f:7: [dsl1] the section's closing ']' is missing; write it as [NAME]"),
    ];
    for (text, expected) in cases {
        let reports = refuse(&text);
        assert!(reports.contains(&format!("error: {expected}")), "{text}\n{reports:#?}");
    }
}

/// Alice's private key of RFC 7748, section 6.1, and its public key.
const OWN: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const OWN_PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
/// Bob's public key there.
const THEIRS: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const SECRET: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";

/// A client of protocol 2 that nothing is to be said about, on 10 lines.
const CLIENT_2: &str = "[general]\nmode = client\nprotocol = 2\nprivate_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n\
    [dsl1]\nbindinterface = eth1\n\
    [peer home]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nremotehost = vpn.example.org\nremoteport = 5080\n";

/// A server of protocol 2 with two peers that nothing is to be said about, on 12 lines.
const SERVER_2: &str = "[general]\nmode = server\nprotocol = 2\nprivate_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n\
    [wan]\nbindport = 5080\n\
    [peer alice]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nallowed_ips = 10.42.43.2/32, fd00::2/128\n\
    [peer bob]\nsecret = \"q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\"\nallowed_ips = 10.42.43.3 192.168.7.0/24\n";

#[test]
fn a_client_and_a_server_of_protocol_2_are_read_without_a_word() {
    let (config, reports) = accept(CLIENT_2);
    assert_eq!(reports, [""; 0]);
    let general = &config.general;
    assert_eq!((general.protocol, general.password.expose(), general.cleartext_data), (Protocol::Two, &[][..], false));
    let own = general.private_key.as_ref().expect("given").pair();
    assert_eq!(own.public_key().to_text().as_str(), OWN_PUBLIC);
    assert_eq!((config.links[0].remotehost.as_deref(), config.links[0].remoteport), (None, None));
    let peer = config.peer("home").expect("it is there");
    assert_eq!(peer.public_key.expect("given").to_text().as_str(), THEIRS);
    assert_eq!((peer.remotehost.as_deref(), peer.remoteport), (Some("vpn.example.org"), Some(5080)));
    assert_eq!((peer.secret.as_ref(), peer.allowed.len()), (None, 0));
    let (config, reports) = accept(SERVER_2);
    assert_eq!(reports, [""; 0]);
    let peers: Vec<_> = config.peers.iter().map(|peer| (peer.name.as_str(), peer.allowed.clone())).collect();
    let network = |address: &str, prefix_len| Network { address: address.parse().unwrap(), prefix_len };
    let (alice, bob) =
        ([network("10.42.43.2", 32), network("fd00::2", 128)], [network("10.42.43.3", 32), network("192.168.7.0", 24)]);
    assert_eq!(peers, [("alice", alice.to_vec()), ("bob", bob.to_vec())]);
    assert_eq!(config.peers[1].secret.as_ref().expect("given").to_text().as_str(), SECRET);
    assert!(config.links.len() == 1 && config.peer("wan").is_none());
}

#[test]
fn protocol_2_restores_order_unless_told_otherwise() {
    assert_eq!(accept(CLIENT_2).0.general.reorder_buffer_size, 64);
    for (line, size) in [("reorder_buffer_size = 0", 0), ("reorder_buffer = no", 0), ("reorder_buffer_size = 9", 9)] {
        let (config, _) = accept(&CLIENT_2.replace("mode", &format!("{line}\nmode")));
        assert_eq!(config.general.reorder_buffer_size, size, "{line}");
    }
}

#[test]
fn a_secret_alone_makes_a_tunnel_and_several_servers_are_tried_in_their_order() {
    let text = CLIENT_2
        .replace(&format!("private_key = {OWN}"), "")
        .replace(&format!("public_key = {THEIRS}"), &format!("secret = {SECRET}"));
    let second = format!("[peer 2nd one]\nsecret = {SECRET}\nremotehost = 192.0.2.1\nremoteport = 1\n");
    let (config, reports) = accept(&format!("{text}{second}"));
    assert_eq!(reports, [""; 0]);
    assert!(config.general.private_key.is_none());
    let names: Vec<_> = config.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["home", "2nd one"]);
}

#[test]
fn one_server_may_be_known_at_two_addresses() {
    let second = format!("[peer spare]\npublic_key = {THEIRS}\nremotehost = 192.0.2.1\nremoteport = 5080\n");
    assert_eq!(accept(&format!("{CLIENT_2}{second}")).1, [""; 0]);
    let reports = refuse(&format!("{CLIENT_2}{}", second.replace("192.0.2.1", "vpn.example.org")));
    let expected =
        "error: f:12: [peer spare] public_key: the key of [peer home]; give each peer its own key, or make it one peer";
    assert_eq!(reports, [expected]);
}

#[test]
fn what_one_protocol_does_not_use_of_the_other_is_said() {
    let unused = format!("password = {PASSWORD}\ncleartext_data = 1\nprotocol");
    let (config, reports) = accept(&CLIENT_2.replace("protocol", &unused));
    assert_eq!(
        reports,
        [
            "warning: f:3: [general] password: not used with protocol 2; \
             remove the line; peers are known by their public_key or secret, and a server knows one peer of the classic \
             protocol by a password in its [peer NAME]",
            "warning: f:4: [general] cleartext_data: not used with protocol 2; remove the line; all data is sealed",
        ]
    );
    assert!(!config.general.cleartext_data && config.general.password.expose().is_empty());

    let peer = format!("[peer x]\npublic_key = {THEIRS}\n");
    let classic = CLIENT.replace("[dsl1]", &format!("protocol = classic\nprivate_key = {OWN}\n[dsl1]"));
    let (config, reports) = accept(&format!("{classic}{peer}"));
    assert_eq!(
        reports,
        [
            "warning: f:5: [general] private_key: not used with protocol classic; set protocol = 2, or remove the line",
            "warning: f:9: [peer x] the peer is ignored with protocol classic; set protocol = 2, or remove the section",
        ]
    );
    assert_eq!((config.general.protocol, config.peers.len(), config.links.len()), (Protocol::Classic, 0, 1));
    assert!(config.general.private_key.is_none());

    let said = "error: f:1: [general] protocol: not given; \
                add protocol = 2 for keys and peers, or protocol = classic for a password";
    for text in [format!("{CLIENT}{peer}"), CLIENT.replace("[dsl1]", &format!("private_key = {OWN}\n[dsl1]"))] {
        assert!(refuse(&text).contains(&said.to_owned()), "{text}");
    }
}

#[test]
fn a_server_of_protocol_2_knows_one_peer_of_the_classic_protocol_by_its_password() {
    let old = |name: &str, network: &str| format!("[peer {name}]\npassword = {PASSWORD}\nallowed_ips = {network}\n");
    let (config, reports) = accept(&format!("{SERVER_2}{}", old("old", "10.42.44.0/24")));
    assert_eq!(reports, [""; 0]);
    let peer = config.peer("old").expect("it is there");
    assert_eq!(peer.password.as_ref().map(|password| password.expose()), Some(PASSWORD.as_bytes()));
    assert!(peer.public_key.is_none() && peer.secret.is_none());
    assert!(!format!("{config:?}").contains(PASSWORD));
    // Alone it needs no networks.
    let (head, _) = SERVER_2.split_at(SERVER_2.find("[peer").unwrap());
    let head = head.replace(&format!("private_key = {OWN}\n"), "");
    assert_eq!(accept(&format!("{head}[peer old]\npassword = {PASSWORD}\n")).1, [""; 0]);
    let twice = format!("{SERVER_2}{}{}", old("old", "10.42.44.0/24"), old("older", "10.42.45.0/24"));
    let cases = [
        (
            twice,
            "f:17: [peer older] password: given, as for [peer old]; \
             give one peer a password at most: nothing in a classic datagram tells whose it is",
        ),
        (
            format!("{SERVER_2}password = {PASSWORD}\n"),
            "f:13: [peer bob] password: a peer of protocol 2 has no password besides its key or secret; \
             remove the password, or make it two peers",
        ),
        (
            format!("{SERVER_2}{}", old("old", "10.42.43.0/24")),
            "f:15: [peer old] allowed_ips: 10.42.43.0/24 overlaps 10.42.43.2/32 of [peer alice]; \
             give each network to one peer",
        ),
        (
            format!("{SERVER_2}[peer old]\npassword = {PASSWORD}\n"),
            "f:13: [peer old] allowed_ips: not given; add the networks of this peer, as allowed_ips = 10.42.43.2/32; \
             a server with several peers needs them",
        ),
        (
            CLIENT_2.replace(&format!("public_key = {THEIRS}"), &format!("password = {PASSWORD}")),
            "f:8: [peer home] password: a client does not fall back to the classic protocol; \
             remove the line, or set protocol = classic and the password in [general]",
        ),
    ];
    for (text, expected) in cases {
        let reports = refuse(&text);
        assert!(reports.contains(&format!("error: {expected}")), "{text}{reports:#?}");
    }
}

#[test]
fn a_password_in_a_link_that_is_called_like_a_peer_makes_it_no_peer() {
    let text = format!("{CLIENT}[peer x]\nremotehost = h\nremoteport = 1\npassword = {PASSWORD}\n");
    let (config, _) = accept(&text);
    assert_eq!((config.links.len(), config.peers.len()), (2, 0));
}

#[test]
fn a_classic_link_may_be_called_like_a_peer_as_it_may_in_2_3_5() {
    for name in ["peer", "peer a"] {
        let (config, _) = accept(&CLIENT.replace("dsl1", name));
        assert_eq!((config.links[0].name.as_str(), config.peers.len()), (name, 0));
    }
}

#[test]
fn what_is_wrong_with_a_client_of_protocol_2_is_told_with_the_remedy() {
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let one = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let keygen = "give the output of `mlvpn keygen`";
    let pubkey = "give the output of `mlvpn pubkey` for the other end's private key";
    let gensecret = "set the output of `mlvpn gensecret` on both sides";
    let with_secret = |secret: &str| ("remotehost", format!("secret = {secret}\nremotehost"));
    let replaced = |(from, to): (&str, String)| CLIENT_2.replace(from, &to);
    let cases = [
        (replaced((OWN, "hunter2!".into())), format!("f:4: [general] private_key: not base64; {keygen}")),
        (replaced((OWN, OWN[1..].into())), format!("f:4: [general] private_key: 43 characters long, and a key has 44; {keygen}")),
        (replaced((OWN, OWN.replace("o=", "p="))), format!("f:4: [general] private_key: not 32 bytes in base64; {keygen}")),
        (replaced((OWN, zero.into())), format!("f:4: [general] private_key: all zeros, which everyone knows; {keygen}")),
        (replaced((THEIRS, zero.into())), format!("f:8: [peer home] public_key: all zeros, which everyone knows; {pubkey}")),
        (replaced((THEIRS, one.into())), format!("f:8: [peer home] public_key: not a usable key: everyone can work out what is agreed with it; {pubkey}")),
        (replaced((THEIRS, OWN_PUBLIC.into())), format!("f:8: [peer home] public_key: the public key of this end; {pubkey}")),
        (replaced((THEIRS, OWN.into())), format!("f:8: [peer home] public_key: the private key of this end; {pubkey}")),
        (replaced(with_secret("correct horse")), format!("f:9: [peer home] secret: 12 characters long, and a key has 44; {gensecret}")),
        (replaced(with_secret("pass-word")), format!("f:9: [peer home] secret: not base64; {gensecret}")),
        (replaced(with_secret(zero)), format!("f:9: [peer home] secret: all zeros, which everyone knows; {gensecret}")),
        (replaced(with_secret(THEIRS)), format!("f:9: [peer home] secret: a public key, which everyone may know; {gensecret}")),
        (replaced(with_secret(OWN_PUBLIC)), format!("f:9: [peer home] secret: a public key, which everyone may know; {gensecret}")),
        (replaced(with_secret(OWN)), format!("f:9: [peer home] secret: the private key of this end, which nobody else may know; {gensecret}")),
        (replaced(("private_key", "#".into())), "f:1: [general] private_key: not given; add the output of `mlvpn keygen`, since [peer home] has a public_key".into()),
        (replaced(("public_key", "#".into())), "f:7: [peer home] public_key: not given; add the output of `mlvpn pubkey` for the other end's private key".into()),
        (
            CLIENT_2.replace("private_key", "#").replace("public_key", "#"),
            "f:7: [peer home] public_key: not given; add the other end's key and this end's private_key in [general] \
             (run: mlvpn keygen), or one secret on both sides (run: mlvpn gensecret)".into(),
        ),
        (replaced(("remotehost", "#".into())), "f:7: [peer home] remotehost: not given; add the server's name or address".into()),
        (replaced(("remoteport", "#".into())), "f:7: [peer home] remoteport: not given; add the server's UDP port, the bindport of its link".into()),
        (
            CLIENT_2[..CLIENT_2.find("[peer").unwrap()].to_owned(),
            "f:1: [general] no peer; add a section for the server, like [peer home], with public_key, remotehost and remoteport".into(),
        ),
        (replaced(("protocol = 2", "protocol = 3".into())), "f:3: [general] protocol: neither \"classic\" nor \"2\"; write one of the two".into()),
        (replaced(("[peer home]", "[peer]".into())), "f:7: [peer] the peer has no name; write one behind the word, like [peer home]".into()),
        (replaced(("home", "x".repeat(65))), format!("f:7: [peer {}...] the peer's name is longer than 64 bytes; shorten it", "x".repeat(59))),
        (replaced(("home", "z\u{fc}rich".into())), "f:7: [peer z\u{fc}rich] the peer's name has a character that is not printable ASCII; use letters and digits".into()),
        (format!("{CLIENT_2}{}", CLIENT_2[CLIENT_2.find("[peer").unwrap()..].replace("peer home", "peer  home")), "f:11: [peer  home] there is a peer of this name on line 7; rename one".into()),
    ];
    for (text, expected) in cases {
        let reports = refuse(&text);
        assert!(reports.contains(&format!("error: {expected}")), "{text}\nexpected {expected}\n{reports:#?}");
    }
}

#[test]
fn what_is_wrong_with_a_server_of_protocol_2_is_told_with_the_remedy() {
    let replaced = |from: &str, to: &str| SERVER_2.replace(from, to);
    let many: Vec<_> = (1..=17).map(|i| format!("10.9.{i}.0/24")).collect();
    let cases = [
        (
            replaced("bindport", "#"),
            "f:5: [wan] bindport: not given; add the UDP port the server waits on, as bindport = 5080",
        ),
        (
            replaced("10.42.43.3", "10.42.43.0/24"),
            "f:12: [peer bob] allowed_ips: 10.42.43.0/24 overlaps 10.42.43.2/32 of [peer alice]; give each network to one peer",
        ),
        (
            replaced("10.42.43.3", "10.42.43.2"),
            "f:12: [peer bob] allowed_ips: 10.42.43.2/32 overlaps 10.42.43.2/32 of [peer alice]; give each network to one peer",
        ),
        (
            replaced("192.168.7.0/24", "::/0"),
            "f:12: [peer bob] allowed_ips: ::/0 overlaps fd00::2/128 of [peer alice]; give each network to one peer",
        ),
        (
            replaced("192.168.7.0/24", "x/y"),
            "f:12: [peer bob] allowed_ips: network 2 is not one; write networks as ADDRESS/PREFIX, separated by commas or spaces",
        ),
        (
            replaced("192.168.7.0/24", &many.join(",")),
            "f:12: [peer bob] allowed_ips: more than 16 networks; join neighbouring networks to larger ones, or make it two peers",
        ),
        (
            replaced("allowed_ips = 10.42.43.3", "#"),
            "f:10: [peer bob] allowed_ips: not given; add the networks of this peer, as allowed_ips = 10.42.43.2/32; a server with several peers needs them",
        ),
        (
            replaced("10.42.43.3 192.168.7.0/24", ","),
            "f:10: [peer bob] allowed_ips: not given; write networks as ADDRESS/PREFIX, or remove the line",
        ),
        (
            replaced(&format!("secret = \"{SECRET}\""), &format!("public_key = {THEIRS}")),
            "f:11: [peer bob] public_key: the key of [peer alice]; give each peer its own key, or make it one peer",
        ),
        (
            replaced(&format!("public_key = {THEIRS}"), "secret = AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="),
            "f:10: [peer bob] public_key: not given, as for [peer alice]; one peer at most can go without; \
             give the output of `mlvpn pubkey` for the other end's private key",
        ),
    ];
    for (text, expected) in cases {
        let reports = refuse(&text);
        assert!(reports.contains(&format!("error: {expected}")), "{text}\nexpected {expected}\n{reports:#?}");
    }
}

#[test]
fn oddities_of_peers_are_warnings() {
    let network = "bits set beyond its prefix length, which are ignored; write 192.168.0.0/16";
    let cases = [
        (SERVER_2.replace("192.168.7.0/24", "192.168.7.0/16"), format!("f:12: [peer bob] allowed_ips: network 2 has {network}")),
        (SERVER_2.replace("192.168.7.0/24", "10.42.43.3/32"), "f:12: [peer bob] allowed_ips: network 2 was given before; remove one of the two".to_owned()),
        (format!("{SERVER_2}remoteport = 1\n"), "f:13: [peer bob] remoteport: not used by a server, which waits for its peers wherever they are; remove the line".to_owned()),
        (format!("{SERVER_2}allowedips = 10.1.1.1\n"), "f:13: [peer bob] allowedips: unknown option; did you mean \"allowed_ips\"?".to_owned()),
        (format!("{SERVER_2}bindport = 1\n"), "f:13: [peer bob] bindport: unknown option; it belongs in the section of a link".to_owned()),
        (format!("{CLIENT_2}[dsl2]\nsecret = {SECRET}=\n"), "f:12: [dsl2] secret: unknown option; it belongs in the section of a peer".to_owned()),
        (SERVER_2[..SERVER_2.find("[peer").unwrap()].to_owned(), "f:1: [general] no peer; nobody can connect; add a section for each client, like [peer home], with its public_key and allowed_ips".to_owned()),
        (
            CLIENT_2.replace(&format!("public_key = {THEIRS}"), &format!("secret = {SECRET}")),
            "f:4: [general] private_key: not used, since no peer has a public_key; \
             give each peer its public_key, or remove the line if the secret alone is meant".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        let (_, reports) = accept(&text);
        assert_eq!(reports, [format!("warning: {expected}")], "{text}");
    }
    let (config, _) = accept(&SERVER_2.replace("192.168.7.0/24", "192.168.7.0/16"));
    assert_eq!(config.peers[1].allowed[1].address.to_string(), "192.168.0.0", "the bits beyond the prefix are gone");
}

#[test]
fn an_mtu_of_1500_is_no_worry_of_protocol_2_which_finds_the_paths_out() {
    assert_eq!(accept(&CLIENT_2.replace("mode", "mtu = 1500\nmode")).1, [""; 0]);
}

#[test]
fn no_report_and_no_debug_output_shows_a_key_that_is_secret() {
    let (config, reports) = accept(&SERVER_2.replace("protocol", "password = hunter2\nprotocol"));
    let shown = format!("{config:?}{reports:?}");
    assert!(!shown.contains(&OWN[..8]) && !shown.contains(&SECRET[..8]) && !shown.contains("hunter2"), "{shown}");
    for key in [OWN, SECRET] {
        for broken in [&key[1..], &key[..43], &key.replace('=', "!"), &format!("{key}{key}")] {
            let reports = refuse(&SERVER_2.replace(key, broken)).concat();
            assert!(!reports.contains(&key[1..9]), "{reports}");
        }
    }
}

#[test]
fn a_link_of_a_client_of_protocol_2_needs_to_say_nothing() {
    let (config, reports) = accept(&CLIENT_2.replace("bindinterface = eth1", ""));
    assert_eq!(reports, [""; 0]);
    assert_eq!(config.links.len(), 1);
}

#[test]
fn thousands_of_peers_fit_a_file_and_one_more_than_the_limit_is_refused() {
    let (head, _) = SERVER_2.split_at(SERVER_2.find("[peer").unwrap());
    let peer = |i: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&(i as u64).to_le_bytes());
        let key = PublicKey::from_bytes(bytes).to_text();
        let (key, a, b) = (key.as_str(), i / 256, i % 256);
        format!(
            "[peer site-{i}]\npublic_key = {key}\nsecret = {SECRET}\nallowed_ips = 10.{a}.{b}.0/24, fd00:{a}:{b}::/48\n"
        )
    };
    let mut text = head.to_owned() + &(0..MAX_PEERS).map(peer).collect::<String>();
    assert!(text.len() < config::MAX_FILE_BYTES as usize, "{} bytes", text.len());
    let (config, reports) = accept(&text);
    assert_eq!((config.peers.len(), reports), (MAX_PEERS, vec![]));
    text += &peer(MAX_PEERS);
    let line = 7 + 4 * MAX_PEERS;
    assert_eq!(
        refuse(&text),
        [format!("error: f:{line}: [peer site-{MAX_PEERS}] more than {MAX_PEERS} peers; remove peers")]
    );
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_lines() {
    let reports = refuse("[general]\ntimout = 1\n[a]\nremoteport = x\n[filters]\nb = icmp\n");
    let lines: Vec<_> = reports.iter().map(|report| report.split(' ').nth(1).unwrap()).collect();
    assert_eq!(lines, ["f:1:", "f:1:", "f:2:", "f:4:", "f:6:"]);
}

#[test]
fn too_many_links_are_refused() {
    let links: String = (0..33).map(|i| format!("[l{i}]\nremotehost = h\nremoteport = 1\n")).collect();
    let reports = refuse(&format!("[general]\nmode = client\npassword = {PASSWORD}\n{links}"));
    assert_eq!(reports, ["error: f:100: [l32] more than 32 links; remove links"]);
}

#[test]
fn a_filter_that_is_not_understood_is_named_with_its_column_and_left_out() {
    for (line, report) in [
        ("dsl1 = \"udp port 5060 or vlan 3\"", "column 26: \"vlan\" is not supported"),
        ("dsl1 = udp portt 5060", "column 12: \"portt\" is not understood here"),
        ("  dsl1 =   \"host\" vpn.example.net", "column 19: \"vpn.example.net\" is no address"),
        ("dsl1 = \"udp and\"", "column 16: the expression ends in the middle"),
    ] {
        let (config, reports) = accept(&format!("{CLIENT}[filters]\ndsl1 = icmp\n{line}\n"));
        assert_eq!(config.filters.len(), 1, "{line}");
        let expected = format!("warning: f:9: [filters] dsl1: {report}; packets are not filtered by this; ");
        assert!(reports.len() == 1 && reports[0].starts_with(&expected), "{line}: {reports:?}, not {expected}");
    }
}

#[test]
fn more_filters_than_2_3_5_has_room_for_are_ignored() {
    let (config, reports) = accept(&format!("{CLIENT}[filters]\n{}", "dsl1 = icmp\n".repeat(300)));
    assert_eq!(config.filters.len(), 255);
    assert_eq!(reports.len(), 1);
    assert!(reports[0].starts_with("warning: f:263: [filters] dsl1: more than 255 filters; "), "{reports:?}");
}

#[test]
fn the_password_is_the_one_2_3_5_derives_its_key_from() {
    let cases = [
        ("\"a b\"", "a b"),
        ("a b", "ab"),
        ("\" a b \"", "a b"),
        ("\"a#b=c\"", "a#b=c"),
        ("a#b", "a"),
        ("a\tb", "a\tb"),
        ("\ta", "\ta"),
        ("a\"b c\"d", "ab cd"),
    ];
    for (written, read) in cases {
        let (config, _) = accept(&CLIENT.replace(&format!("\"{PASSWORD}\""), written));
        assert_eq!(config.general.password.expose(), read.as_bytes(), "{written}");
    }
}

#[test]
fn no_report_and_no_debug_output_shows_the_password() {
    for line in [
        "password = hunter2",
        "password hunter2",
        "password = hunter2 = x",
        "password = hunter2#",
        "password = hunter2\u{e9}",
    ] {
        let text = format!("[general]\nmode = client\n{line}\npassword = hunter2\n[a]\nremotehost = h\n");
        assert!(!refuse(&text).concat().contains("hunter2"), "{line}");
        let (config, reports) = accept(&format!("{text}remoteport = 1"));
        assert!(!format!("{config:?}{reports:?}").contains("hunter2"), "{line}");
    }
}

#[test]
fn the_first_value_wins_and_an_alias_yields_to_the_name() {
    let (config, _) =
        accept(&CLIENT.replace("mode", "timeout = 5\ntimeout = 6\nloss_tolerance = 1\nloss_tolerence = 2\nmode"));
    assert_eq!((config.general.timeout_secs, config.general.loss_tolerance_percent), (5, 2));
    let (config, _) = accept(&CLIENT.replace("mode", "reorder_buffer = yes\nreorder_buffer_size = 8\nmode"));
    assert_eq!(config.general.reorder_buffer_size, 8);
}

#[test]
fn every_default_in_the_table_is_what_an_absent_option_reads_as() {
    let text = |line: &str| CLIENT.replace("mode", &format!("{line}\nmode"));
    for spec in options::conf().filter(|spec| spec.section == SectionKind::General) {
        let line = match spec.default {
            Absent::Text(value) => format!("{} = {value}", spec.name),
            Absent::Number(value) => format!("{} = {value}", spec.name),
            _ => continue,
        };
        assert_eq!(accept(&text(&line)).0, accept(CLIENT).0, "{line}");
        assert!(matches!(spec.takes, Takes::Reload | Takes::Restart));
    }
}

/// A file of this process's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &[u8], mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("mlvpn-config-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("the temporary directory takes files");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("the file is ours");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file left behind in the temporary directory is no failure of the test.
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it() {
    for mode in [0o644, 0o640, 0o601, 0o620] {
        let file = Scratch::new(&format!("{mode:o}"), CLIENT.as_bytes(), mode);
        let reports = config::load(&file.0).expect_err("others can reach it");
        let name = file.0.display();
        let expected =
            format!("error: {name}: others than its owner can reach the file (mode {mode:04o}); run: chmod 600 {name}");
        assert_eq!(said(&reports), [expected]);
    }
    let file = Scratch::new("600", CLIENT.as_bytes(), 0o600);
    assert_eq!(config::load(&file.0).expect("only its owner can reach it").0, accept(CLIENT).0);
}

#[test]
fn what_is_no_file_or_too_large_is_refused() {
    let reports = config::load(Path::new("/nonexistent/mlvpn.conf")).expect_err("there is none");
    assert!(reports[0].message.starts_with("cannot be read: "), "{reports:?}");
    let reports = config::load(&std::env::temp_dir()).expect_err("a directory");
    assert_eq!(reports[0].message, "not a regular file");
    let file = Scratch::new("large", &vec![b'#'; 1024 * 1024 + 1], 0o600);
    assert_eq!(config::load(&file.0).expect_err("too large")[0].message, "larger than 1048576 bytes");
}

#[test]
fn a_comment_in_latin_1_does_no_harm() {
    let file = Scratch::new("latin1", &[b"# param\xe8tres\n", CLIENT.as_bytes()].concat(), 0o600);
    assert_eq!(said(&config::load(&file.0).expect("only a comment").1), [""; 0]);
}

#[test]
fn check_sums_up_in_one_line_and_says_whether_mlvpn_would_run() {
    let cases = [
        ("fine", CLIENT.to_owned(), true, "fine: client, 1 link, 0 filters; 0 errors, 0 warnings", 0),
        (
            "warn",
            CLIENT.replace("mode", "mtu = 1500\nmode"),
            true,
            "fine: client, 1 link, 0 filters; 0 errors, 1 warning",
            1,
        ),
        ("two", SERVER_2.to_owned(), true, "fine: server, 1 link, 2 peers, 0 filters; 0 errors, 0 warnings", 0),
        ("bad", CLIENT.replace("remotehost", "#"), false, "not usable; 1 error, 0 warnings", 1),
    ];
    for (name, text, runs, sum, lines) in cases {
        let file = Scratch::new(name, text.as_bytes(), 0o600);
        let (mut findings, mut summary) = (Vec::new(), Vec::new());
        assert_eq!(config::check(&file.0, &mut findings, &mut summary).expect("memory takes text"), runs);
        assert_eq!(String::from_utf8(summary).unwrap(), format!("{}: {sum}\n", file.0.display()));
        let findings = String::from_utf8(findings).unwrap();
        assert_eq!(findings.lines().count(), lines, "{findings}");
    }
}

/// Replays every file of the fuzzing corpus. `fine-*` must be accepted without an error, `refused-*` must not be; all
/// of them must be read without a panic and reported on lines they have.
#[test]
fn the_corpus_is_read_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/config");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let path = entry.expect("the folder is readable").path();
        let bytes = fs::read(&path).expect("the file is readable");
        let text = String::from_utf8_lossy(&bytes);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let loaded = Config::parse(&name, &text);
        let (Ok((_, reports)) | Err(reports)) = &loaded;
        let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
        assert!(reports.iter().all(|report| report.line.is_none_or(|line| (1..=lines).contains(&line))), "{name}");
        assert!(reports.len() <= 2 * MAX_REPORTS + 1, "{name}");
        assert_eq!(loaded.is_err(), reports.iter().any(|report| report.severity == Severity::Error), "{name}");
        if name.starts_with("fine-") {
            assert!(loaded.is_ok(), "{name}: {:#?}", said(reports));
        } else if name.starts_with("refused-") {
            assert!(loaded.is_err(), "{name}: {:#?}", said(reports));
        }
        replayed += 1;
    }
    assert!(replayed >= 10, "only {replayed} files in {}", folder.display());
}

/// What a user may want of a link, in the words of mlvpn.conf.
const POLICY: &str = "[lte]\ntier = 2\nweight = 20\nmetered = 1\nfallback_only = 1\nbandwidth_download = 5000000\n\
    quota_day_soft = 500MB\nquota_day_hard = 1GB\nquota_month_hard = \"20 GB\"\nquota_month_start = 14\n";

#[test]
fn what_links_and_classes_are_used_for_reads_as_meant() {
    let classes = "[class voip]\nproto = udp\nport = 5060, 10000-20000\ndscp = EF AF41\nduplicate = 1\ninteractive = 1\n\
        [class backup]\nport = 873\nlink = lte\n";
    let (config, reports) = accept(&format!("{CLIENT_2}{POLICY}{classes}"));
    assert_eq!(reports, [""; 0]);
    let lte = config.link("lte").expect("it is there");
    assert_eq!((lte.tier, lte.weight, lte.metered, lte.fallback_only), (2, Some(20), true, true));
    assert_eq!((lte.bandwidth_download, lte.month_start), (5_000_000, 14));
    assert_eq!((lte.day.soft, lte.day.hard), (Some(500_000_000), Some(1_000_000_000)));
    assert_eq!((lte.month.soft, lte.month.hard), (None, Some(20_000_000_000)));
    let [voip, backup] = &config.classes[..] else { panic!("{:?}", config.classes) };
    assert_eq!((voip.name.as_str(), voip.rule.protocols.as_slice()), ("voip", &[17][..]));
    assert_eq!(voip.rule.ports.as_slice(), [(5060, 5060), (10_000, 20_000)]);
    assert_eq!(voip.rule.dscps.as_slice(), [46, 34]);
    assert!(voip.rule.duplicate && voip.rule.interactive && voip.rule.link.is_none());
    assert_eq!(backup.rule.link.as_deref(), Some("lte"));
}

#[test]
fn what_is_wrong_with_links_and_classes_is_said_with_line_and_remedy() {
    let lines = CLIENT_2.lines().count();
    for (text, expected) in [
        (
            "[class a]\nport = 99999\nlink = dsl",
            format!("error: f:{}: [class a] port: value 1 is not one this option can have", lines + 2),
        ),
        (
            "[class a]\nport = 1\nlink = nowhere",
            format!("error: f:{}: [class a] link: there is no link called nowhere", lines + 3),
        ),
        ("[lte]\nquota_day_hard = 5", format!("error: f:{}: [lte] quota_day_hard: not an amount of data", lines + 2)),
    ] {
        let said = refuse(&format!("{CLIENT_2}{text}\n"));
        assert!(said.iter().any(|report| report.starts_with(&expected)), "{expected}\n{said:#?}");
    }
    for (text, expected) in [
        ("[class a]\nlink = lte\n[lte]", format!("warning: f:{}: [class a] every packet belongs to it", lines + 1)),
        (
            "[class a]\nport = 1",
            format!("warning: f:{}: [class a] says nothing of what to do with its packets", lines + 1),
        ),
        (
            "[lte]\nquota_day_soft = 2GB\nquota_day_hard = 1GB",
            format!("warning: f:{}: [lte] quota_day_soft: larger than the hard", lines + 2),
        ),
    ] {
        let (_, said) = accept(&format!("{CLIENT_2}{text}\n"));
        assert!(said.iter().any(|report| report.starts_with(&expected)), "{expected}\n{said:#?}");
    }
    let said = refuse(&format!("{SERVER_2}[class a]\nport = 1\nlink = a\n"));
    assert!(said.iter().any(|report| report.contains("a server's links are its clients'")), "{said:#?}");
    let (_, said) = accept(&format!("{CLIENT}tier = 2\n"));
    assert!(said.iter().any(|report| report.contains("tier: not used with protocol classic")), "{said:#?}");
}

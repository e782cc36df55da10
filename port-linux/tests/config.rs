// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf from text to types: what each oddity is answered with, and that nothing makes the reader fall over.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlvpn::config::options::{Absent, OPTIONS, SectionKind, Takes};
use mlvpn::config::{self, Config, DeviceKind, MAX_REPORTS, Mode, Report, Severity};

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
        "[general] mtu: 1444 makes datagrams of 1516 bytes, which fragment on links that carry 1500; \
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
        (format!("{CLIENT}[dsl2\n"), "f:7: [dsl1] the section's closing ']' is missing; write it as [NAME]"),
    ];
    for (text, expected) in cases {
        let reports = refuse(&text);
        assert!(reports.contains(&format!("error: {expected}")), "{text}\n{reports:#?}");
    }
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_lines() {
    let reports = refuse("[general]\ntimout = 1\n[a]\nremoteport = x\n[filters]\nb = icmp\n");
    let lines: Vec<_> = reports.iter().map(|report| report.split(' ').nth(1).unwrap()).collect();
    assert_eq!(lines, ["f:1:", "f:1:", "f:2:", "f:4:", "f:6:"]);
}

#[test]
fn too_many_links_are_refused() {
    let links: String = (0..65).map(|i| format!("[l{i}]\nremotehost = h\nremoteport = 1\n")).collect();
    let reports = refuse(&format!("[general]\nmode = client\npassword = {PASSWORD}\n{links}"));
    assert_eq!(reports, ["error: f:196: [l64] more than 64 links; remove links"]);
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
    for spec in OPTIONS.iter().filter(|spec| spec.section == SectionKind::General) {
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

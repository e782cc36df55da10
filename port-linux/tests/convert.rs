// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf as UCI and back: the same tunnel, and a word about everything else.

use std::path::Path;

use mlvpn::config::convert::convert;
use mlvpn::config::uci::{self, Sources};
use mlvpn::config::{Config, Report};
use proptest::prelude::*;
use zeroize::Zeroizing;

const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

fn no_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    Err(format!("{} is not there", path.display()))
}

fn sources() -> Sources<'static> {
    Sources { network: "", openmptcprouter: "", secret: &no_secret }
}

fn said(reports: &[Report]) -> Vec<String> {
    reports.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn converted(text: &str) -> (String, Vec<String>) {
    match convert("f", text, None, &sources()) {
        Ok(converted) => (converted.text.to_string(), said(&converted.notes)),
        Err(reports) => panic!("{text}\nis not converted: {:#?}", said(&reports)),
    }
}

/// MLVPN 2.3.5's example, with what one sets in it.
const CLASSIC: &str = r#"# Our tunnel
[general]
statuscommand = "/etc/mlvpn/updown.sh"
mode = "client"   # we call
password = "it's #1 q3Zt8uW1xYk5rPz9vNc2"
tuntap = "tun"
timeout = 30
reorder_buffer = yes
loss_tolerence = 10
ip4_routes = "10.0.0.0/8 192.168.1.0/24"
control_unix_path = "/run/mlvpn.sock"

# DSL
[dsl-1]
bindinterface = "eth1"
remotehost = "vpn.example.org"
remoteport = 5080
bandwidth_upload = 61440
[lte]
remotehost = "2001:db8::1"
remoteport = 5081
bandwidth_upload = 625000
fallback_only = 1
timout = 3
[filters]
lte = "udp port 5060"
"#;

#[test]
fn a_file_of_2_3_5_becomes_ucis_with_its_comments_and_a_word_about_what_is_lost() {
    let (uci, notes) = converted(CLASSIC);
    let expected = "# Our tunnel
config tunnel 'tunnel'
\toption enabled '1'
\toption protocol 'classic'
# statuscommand = \"/etc/mlvpn/updown.sh\"
\toption mode 'client' # we call
\toption password 'it'\\''s #1 q3Zt8uW1xYk5rPz9vNc2'
\toption tuntap 'tun'
\toption timeout '30'
\toption reorder_buffer_size '64'
\toption loss_tolerance '10'
\tlist ip4_routes '10.0.0.0/8'
\tlist ip4_routes '192.168.1.0/24'
# control_unix_path = \"/run/mlvpn.sock\"

# DSL
config link 'dsl_1'
\toption device 'eth1'
\toption server 'vpn.example.org:5080'
\toption rate_up '491520bit'
config link 'lte'
\toption server '[2001:db8::1]:5081'
\toption rate_up '5mbit'
\toption backup '1'
# timout = 3
# [filters]
# lte = \"udp port 5060\"
";
    assert_eq!(uci, expected);
    assert_eq!(
        notes,
        [
            "f:3: [general] statuscommand: OpenWrt's file has no such option; put scripts into /etc/hotplug.d/mlvpn",
            "f:11: [general] control_unix_path: OpenWrt's file has no such option; ask ubus: ubus call mlvpn status",
            "f:14: [dsl-1] called dsl_1 there, where names have letters, digits and '_' only; use that name with ubus \
             and in /etc/config/mlvpn",
            "f:19: [lte] is bound to no interface; there it will be to the one /etc/config/network calls lte; set the \
             option interface to that link's interface",
            "f:24: [lte] timout: unknown option; did you mean \"timeout\"?",
            "f:25: [filters] OpenWrt's file has no filters; write a config class for each: they match protocols, ports \
             and DSCPs",
        ]
    );
}

#[test]
fn ucis_file_becomes_one_of_mlvpn_with_its_comments_and_a_word_about_what_is_lost() {
    let uci = format!(
        "# Home\nconfig tunnel 'home'\n\toption enabled '1'\n\toption server 'vpn.example.net:5080' # the office\n\
         \toption public_key '{PUBLIC}'\n\toption private_key '{PRIVATE}'\n\tlist ip4_routes '10.0.0.0/8'\n\
         \tlist ip4_routes 'default'\n\n# Fast\nconfig link 'wan'\n\toption rate_up '10mbit'\n\toption interface 'wan'\n\
         config link 'lte'\n\toption device 'wwan0'\n\toption backup 'yes'\n\toption timeout '2min'\n\
         \toption quota_month_hard '20GB'\nconfig link 'old'\n\toption enabled '0'\n"
    );
    let (conf, notes) = converted(&uci);
    let (config, reports) = Config::parse("g", &conf).unwrap_or_else(|reports| panic!("{conf}: {reports:?}"));
    assert_eq!(said(&reports), [""; 0]);
    let (tunnels, _) = uci::parse("f", &uci, &sources()).expect("a tunnel");
    assert_eq!(tunnels[0].config, config);
    for comment in ["# Home\n[general]", "# the office", "# Fast\n[wan]"] {
        assert!(conf.contains(comment), "{comment} is not in\n{conf}");
    }
    let is_said = |what: &str| notes.iter().any(|note| note.contains(what));
    assert!(is_said("f:19: [link old]") && is_said("set bindinterface to that interface's device"), "{notes:#?}");
    let is_kept_or_said = conf.contains("quota_month_hard") || is_said("f:18: [link lte] quota_month_hard");
    assert!(is_kept_or_said, "{notes:#?}");
}

#[test]
fn what_netifd_and_the_firewall_do_on_openwrt_is_left_out_with_what_to_write_there() {
    let roles = [
        ("setup = yes", "netifd"),
        ("remote_networks = 10.1.0.0/16", "list ip4_routes"),
        ("default_gateway = yes", "ip4_routes default"),
        ("kill_switch = yes", "/etc/config/firewall"),
        ("nat = yes", "masq"),
        ("port_forwards = tcp/80:10.42.42.2", "config redirect"),
        ("routing_table = 77", "ip4table"),
    ];
    let lines: String = roles.iter().map(|(line, _)| format!("{line}\n")).collect();
    let (text, notes) = converted(&CLASSIC.replace("timeout = 30\n", &lines));
    for (line, advice) in roles {
        let option = line.split(' ').next().unwrap();
        assert!(
            notes.iter().any(|note| note.contains(&format!("] {option}: ")) && note.contains(advice)),
            "{notes:#?}"
        );
        assert!(!text.contains(&format!("option {option}")), "{text}");
    }
}

#[test]
fn what_cannot_be_said_is_refused_and_not_written_wrong() {
    let uci = "config tunnel 'a'\n\toption enabled 1\n\toption protocol classic\n\toption password 'say \"friend\"'\n\
               \toption server 'a.example:1'\nconfig link 'wan'\n";
    let refused = convert("f", uci, None, &sources()).expect_err("a quote");
    assert!(said(&refused)[0].contains("the other form"), "{refused:?}");
    let two = format!("{uci}\nconfig tunnel 'b'\n");
    let refused = convert("f", &two, None, &sources()).expect_err("two tunnels");
    assert_eq!(said(&refused), ["f: several tunnels, and mlvpn.conf holds one; say which by --tunnel: a, b"]);
    let refused = convert("f", "[general]\nmode = client\n", None, &sources()).expect_err("no password");
    assert!(said(&refused).iter().any(|said| said.contains("password: not given")), "{refused:?}");
}

fn link() -> impl Strategy<Value = String> {
    let value = |name: &'static str, values: &'static [&'static str]| {
        prop_oneof![
            Just(String::new()),
            prop::sample::select(values).prop_map(move |value| format!("{name} = {value}\n"))
        ]
    };
    (
        prop::sample::select(&["a.example", "192.0.2.7", "2001:db8::7"][..]),
        1_u16..,
        value("bandwidth_upload", &["0", "61440", "1250000", "125000001", "10k"]),
        value("timeout", &["1", "5", "\"90\"", "2 0"]),
        value("fallback_only", &["0", "1", "7"]),
        value("loss_tolerance", &["5", "150"]),
        value("latency_tolerence", &["0", "300"]),
        value("bindinterface", &["eth0", "\"wwan 0\"", "a-name-that-is-far-too-long"]),
        value("bindhost", &["192.0.2.1", "\"::\""]),
        value("nonsense", &["1 # and a comment"]),
    )
        .prop_map(|(host, port, a, b, c, d, e, f, g, h)| {
            let f = if f.contains("wwan 0") { String::new() } else { f };
            format!("remotehost = {host}\nremoteport = {port}\n{a}{b}{c}# here\n{d}{e}{f}{g}{h}")
        })
}

fn conf() -> impl Strategy<Value = String> {
    let general = prop::sample::select(
        &[
            "reorder_buffer = yes\n",
            "reorder_buffer_size = 128\nreorder_buffer = no\n",
            "ip4 = 10.1.2.3/24\nip4_gateway = 10.1.2.1\nmtu = 1400\n",
            "ip6 = \"fd00::1/64\"\nip6_routes = \"fd01::/48 default\"\n",
            "cleartext_data = 1\ninterface_name = \"vpn0\"\ntuntap = tap\n",
            "timeout = 10\nloss_tolerence = 20\nlatency_tolerance = 200\ntimeout = 99\n",
            "",
        ][..],
    );
    let names = prop::sample::subsequence(&["dsl", "dsl-1", "dsl_1", "lte.2", "general_", "tunnel"][..], 1..5);
    (general.clone(), general, names, prop::collection::vec(link(), 5)).prop_map(|(one, other, names, links)| {
        let mut text = format!("[general]\nmode = client\npassword = \"s'e#c\\\\ret 9vNc2\"\n{one}{other}");
        for (name, link) in names.iter().zip(links) {
            text.push_str(&format!("\n# {name}\n[{name}]\n{link}"));
        }
        text
    })
}

proptest! {
    #[test]
    fn there_and_back_is_the_same_tunnel(text in conf()) {
        prop_assume!(Config::parse("f", &text).is_ok());
        let (uci, _) = converted(&text);
        let (conf, _) = converted(&uci);
        let (mut config, _) = Config::parse("f", &text).unwrap();
        let (mut again, _) = Config::parse("g", &conf).unwrap();
        for config in [&mut config, &mut again] {
            config.links.iter_mut().for_each(|link| link.name.clear());
        }
        prop_assert_eq!(config, again, "{}", uci);
        prop_assert_eq!(conf.matches("9vNc2").count(), 1, "a secret is in a comment: {}", conf);
        // From there on the names fit, and nothing changes any more.
        let (uci_again, _) = converted(&conf);
        let (conf_again, _) = converted(&uci_again);
        prop_assert_eq!(conf_again, conf);
    }
}

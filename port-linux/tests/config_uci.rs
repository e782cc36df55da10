// SPDX-License-Identifier: BSD-2-Clause
//! /etc/config/mlvpn: what it becomes, and what is said about it.

use std::path::Path;

use mlvpn::config::uci::{self, Sources, Tunnel};
use mlvpn::config::{Config, Mode, Protocol, Report};
use mlvpn_uci::options::{OPTIONS, SectionKind};
use zeroize::Zeroizing;

const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const SECRET: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";

fn no_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    Err(format!("{} is not there", path.display()))
}

fn sources() -> Sources<'static> {
    Sources { network: "", openmptcprouter: "", secret: &no_secret }
}

fn texts(reports: &[Report]) -> Vec<String> {
    reports.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn accept_with(text: &str, sources: &Sources<'_>) -> (Vec<Tunnel>, Vec<String>) {
    match uci::parse("mlvpn", text, sources) {
        Ok((tunnels, reports)) => (tunnels, texts(&reports)),
        Err(reports) => panic!("refused: {:#?}", texts(&reports)),
    }
}

#[track_caller]
fn accept(text: &str) -> (Vec<Tunnel>, Vec<String>) {
    accept_with(text, &sources())
}

#[track_caller]
fn refuse(text: &str) -> Vec<String> {
    texts(&uci::parse("mlvpn", text, &sources()).expect_err("it should be refused"))
}

/// The shortest useful file: four options.
fn shortest() -> String {
    format!(
        "config tunnel 'tunnel'\n\toption enabled '1'\n\toption server 'vpn.example.net:5080'\n\toption secret '{SECRET}'\n\
         \toption ip4 '10.42.42.2/24'\n\nconfig link 'wan'\n\nconfig link 'wwan'\n"
    )
}

#[test]
fn the_shortest_useful_file_has_four_options_and_means_what_mlvpn_conf_means() {
    let (tunnels, reports) = accept(&shortest());
    assert_eq!(reports, [""; 0]);
    let conf = format!(
        "[general]\nmode = client\nprotocol = 2\nip4 = 10.42.42.2/24\n[peer server]\nremotehost = vpn.example.net\n\
         remoteport = 5080\nsecret = {SECRET}\n[wan]\n[wwan]\n"
    );
    let (expected, _) = Config::parse("mlvpn.conf", &conf).expect("a configuration");
    let [tunnel] = &*tunnels else { panic!("{} tunnels", tunnels.len()) };
    assert_eq!((tunnel.name.as_str(), &tunnel.config), ("tunnel", &expected));
    let links: Vec<_> = tunnel.links.iter().map(|link| (link.name.as_str(), link.interface.as_deref())).collect();
    assert_eq!(links, [("wan", Some("wan")), ("wwan", Some("wwan"))]);
}

#[test]
fn every_option_that_acts_arrives_where_mlvpn_conf_has_it() {
    let uci = format!(
        "config tunnel home\n option enabled yes\n option private_key '{PRIVATE}'\n option device vpn0\n option tuntap tap\n\
         option timeout 2min\n option reorder_buffer_size 128\n option loss_tolerance 20\n option latency_tolerance 1.5s\n\
         option ip6 fd00::2/64\n option ip4_gateway 10.0.0.1\n option ip6_gateway fd00::1\n list ip4_routes 10.1.0.0/16\n\
         list ip4_routes 10.2.0.0/16\n list ip6_routes default\n option mtu 1400\n\
         config link dsl\n option device pppoe-wan\n option rate_up 10mbit\n option bindhost 192.0.2.7\n option bindport 6000\n\
         option timeout 5\n option loss_tolerance 5\n option latency_tolerance 100ms\n option server '[2001:db8::1]:7000'\n\
         config link lte\n option interface wwan\n option backup 1\n\
         config peer office\n option server 192.0.2.1:5080\n option public_key '{PUBLIC}'\n option secret '{SECRET}'\n\
         list allowed_ips 10.0.0.0/8\n list allowed_ips fd00::/8\n\
         config peer spare\n option server 192.0.2.2:5080\n option public_key '{PUBLIC}'\n"
    );
    let conf = format!(
        "[general]\nmode = client\nprotocol = 2\nprivate_key = {PRIVATE}\ninterface_name = vpn0\ntuntap = tap\ntimeout = 120\n\
         reorder_buffer_size = 128\nloss_tolerence = 20\nlatency_tolerence = 1500\nip6 = fd00::2/64\nip4_gateway = 10.0.0.1\n\
         ip6_gateway = fd00::1\nip4_routes = 10.1.0.0/16 10.2.0.0/16\nip6_routes = default\nmtu = 1400\n\
         [dsl]\nbindinterface = pppoe-wan\nbandwidth_upload = 1250000\nbindhost = 192.0.2.7\nbindport = 6000\ntimeout = 5\n\
         loss_tolerence = 5\nlatency_tolerence = 100\nremotehost = 2001:db8::1\nremoteport = 7000\n\
         [lte]\nfallback_only = 1\n\
         [peer office]\nremotehost = 192.0.2.1\nremoteport = 5080\npublic_key = {PUBLIC}\nsecret = {SECRET}\n\
         allowed_ips = 10.0.0.0/8, fd00::/8\n[peer spare]\nremotehost = 192.0.2.2\nremoteport = 5080\npublic_key = {PUBLIC}\n"
    );
    let (tunnels, _) = accept(&uci);
    assert_eq!(tunnels[0].config, Config::parse("mlvpn.conf", &conf).expect("a configuration").0);
    assert_eq!(tunnels[0].links[0].interface, None, "it names the device itself");
    assert_eq!(tunnels[0].links[1].interface.as_deref(), Some("wwan"));
    assert_eq!(tunnels[0].links[0].policy.rate_up, 1_250_000);
}

#[test]
fn a_server_waits_on_its_port_for_the_peers_in_their_sections() {
    let text = format!(
        "config tunnel t\n option enabled 1\n option mode server\n option private_key '{PRIVATE}'\n option port 6000\n\
         config peer a\n option public_key '{PUBLIC}'\n list allowed_ips 10.42.42.2/32\n\
         config peer b\n option secret '{SECRET}'\n list allowed_ips 10.42.42.3/32\n"
    );
    let (tunnels, reports) = accept(&text);
    assert_eq!(reports, [""; 0]);
    let config = &tunnels[0].config;
    assert_eq!((config.general.mode, config.peers.len()), (Mode::Server, 2));
    assert_eq!(config.links.iter().map(|link| link.bindport).collect::<Vec<_>>(), [Some(6000)]);
}

const GENERAL: &str = "config mlvpn 'general'\n\toption enable '1'\n\toption password 'q3Zt8uW1xYk5rPz9vNc2'\n\toption timeout '30'\n\
    \toption mode 'client'\n\toption host '192.0.2.1'\n\toption firstport '65201'\n\toption interface_name 'mlvpn0'\n\
    \toption reorder_buffer_size '512'\n\toption loss_tolerance '50'\n\toption latency_tolerance '300'\n";
const NETWORK: &str = "config interface 'loopback'\n\toption ipaddr '127.0.0.1'\n\nconfig interface 'lan'\n\toption multipath 'off'\n\
    \nconfig interface 'wan1'\n\toption proto 'static'\n\toption ipaddr '192.168.1.2'\n\toption multipath 'master'\n\
    \nconfig interface 'wan2'\n\toption proto 'dhcp'\n\toption multipath 'on'\n\nconfig interface 'wan3'\n";

#[test]
fn a_file_of_openmptcprouter_keeps_working() {
    let all = Sources {
        network: NETWORK,
        openmptcprouter: "config interface 'wan3'\n\toption multipath 'backup'\n",
        secret: &no_secret,
    };
    let (tunnels, reports) = accept_with(GENERAL, &all);
    assert_eq!(reports, [""; 0]);
    let [tunnel] = &*tunnels else { panic!("{} tunnels", tunnels.len()) };
    let general = &tunnel.config.general;
    assert_eq!((general.protocol, general.mode, general.timeout_secs), (Protocol::Classic, Mode::Client, 30));
    assert_eq!((general.reorder_buffer_size, general.loss_tolerance_percent), (512, 50));
    assert_eq!((general.latency_tolerance_ms, general.interface_name.as_str()), (300, "mlvpn0"));
    let ports: Vec<_> =
        tunnel.config.links.iter().map(|link| (link.name.as_str(), link.bindport, link.remoteport)).collect();
    let expected = [("wan1", 65_202), ("wan2", 65_203), ("wan3", 65_204)];
    assert_eq!(ports, expected.map(|(name, port)| (name, Some(port), Some(port))));
    assert_eq!(tunnel.config.links[0].bindhost.as_deref(), Some("192.168.1.2"));
    assert_eq!(tunnel.links.iter().map(|link| link.takes_address).collect::<Vec<_>>(), [false, true, true]);
    assert!(tunnel.config.links.iter().all(|link| link.remotehost.as_deref() == Some("192.0.2.1")));
    // What its defaults are, and that an absent option means them.
    let short = "config mlvpn 'general'\n\toption enable '1'\n\toption password 'q3Zt8uW1xYk5rPz9vNc2'\n\toption host '192.0.2.1'\n";
    let (defaults, _) = accept_with(short, &all);
    assert_eq!(defaults[0].config, tunnel.config);
    // Sections of other names count, too, and what is not enabled does not.
    let second = GENERAL.replace("'general'", "'second'").replace("mlvpn0", "mlvpn1").replace("65201", "65301");
    assert_eq!(accept_with(&format!("{GENERAL}\n{second}"), &all).0.len(), 2);
    let (off, reports) = accept_with(&GENERAL.replace("enable '1'", "enable '0'"), &all);
    assert!(off.is_empty());
    assert_eq!(reports, ["mlvpn: no tunnel is enabled; set enable to 1 in mlvpn general"]);
}

#[test]
fn a_tunnel_of_openmptcprouter_that_cannot_work_says_why() {
    let network = Sources { network: NETWORK, ..sources() };
    let say = |text: &str, sources: &Sources<'_>| texts(&uci::parse("mlvpn", text, sources).expect_err("refused"));
    assert_eq!(
        say(GENERAL, &sources()),
        ["mlvpn:1: [mlvpn general] no link: no interface of the network has multipath; \
          run: uci set network.wan.multipath=on; uci commit network"]
    );
    assert_eq!(
        say(&GENERAL.replace("65201", "65534"), &network),
        ["mlvpn:7: [mlvpn general] firstport: the links have the ports behind this one, and there are not so many; \
          give at most 65533"]
    );
    assert_eq!(
        say("config mlvpn general\n option enable 1\n", &network),
        [
            "mlvpn:1: [mlvpn general] password: not given; add it, the same on both sides",
            "mlvpn:1: [mlvpn general] host: not given; add the server's name or address",
        ]
    );
    let broken = Sources { network: "config interface 'wan\n", ..sources() };
    assert_eq!(
        say(GENERAL, &broken),
        ["/etc/config/network:1: a ' is never closed; close the quote at the end of the value"]
    );
}

#[test]
fn an_error_names_file_line_section_and_option_and_says_what_to_do() {
    let with = |line: &str| shortest().replace("config link 'wan'\n", &format!("config link 'wan'\n\t{line}\n"));
    for (text, expected) in [
        (
            with("option rate_up '10'"),
            "mlvpn:8: [link wan] rate_up: not a value this option can have; give a rate with its unit, like 10mbit or 800kbit",
        ),
        (
            with("option tier 0"),
            "mlvpn:8: [link wan] tier: not a value this option can have; give a whole number from 1 to 9",
        ),
        (with("option tunnel other"), "mlvpn:8: [link wan] tunnel: there is no such tunnel; the tunnels are tunnel"),
        (
            shortest().replace(SECRET, "q83v"),
            "mlvpn:4: [tunnel tunnel] secret: not a value this option can have; give the output of `mlvpn gensecret`",
        ),
        (
            shortest().replace("\toption server 'vpn.example.net:5080'\n", ""),
            "mlvpn:1: [tunnel tunnel] server: not given; add where it is, as HOST:PORT",
        ),
        (
            shortest().replace("option secret", "option public_key"),
            "mlvpn:1: [tunnel tunnel] private_key: not given; add this end's key (run: mlvpn keygen), or private_key_file",
        ),
        (
            shortest().replace("option secret", "option protocol classic\n option comment"),
            "mlvpn:1: [tunnel tunnel] password: not given; add it, the same on both sides, or password_file",
        ),
        (
            format!("{}config class c\n option link dsl\n option proto udp\n", shortest()),
            "mlvpn:11: [class c] link: there is no link called dsl; the links are wan, wwan",
        ),
        (
            format!("{}config link\n", shortest()),
            "mlvpn:10: [@link[2]] the link has no name; name it after its interface, like config link 'wan'",
        ),
        (
            format!("{}config link 'general'\n", shortest()),
            "mlvpn:10: [link general] a link cannot be called so; give it another name, and name its interface by the option \
             interface",
        ),
        (
            format!("{}config tunnel 'b'\n", shortest()),
            "mlvpn:7: [link wan] tunnel: it could belong to several tunnels; set it to one of tunnel, b",
        ),
        (
            "option a 1\n".to_owned(),
            "mlvpn:1: an option stands above the first section; move it below a line like config tunnel 'home'",
        ),
        (
            "config tunnel 'a\n\n".to_owned(),
            "mlvpn:2: a ' is never closed; it begins on line 1; close the quote at the end of the value",
        ),
    ] {
        let said = refuse(&text);
        assert!(said.iter().any(|report| report == expected), "{expected}\n{said:#?}");
    }
}

#[test]
fn what_is_said_in_vain_is_warned_about() {
    let with = |line: &str| shortest().replace("config link 'wan'\n", &format!("config link 'wan'\n\t{line}\n"));
    for (text, expected) in [
        (with("option wieght 5"), "mlvpn:8: [link wan] wieght: unknown option; did you mean weight?"),
        (with("option remotehost a"), "mlvpn:8: [link wan] remotehost: unknown option; remove the line"),
        (
            with("option bandwidth_upload 5"),
            "mlvpn:8: [link wan] bandwidth_upload: unknown option; here it is called rate_up",
        ),
        (
            with("option password a"),
            "mlvpn:8: [link wan] password: unknown option; it belongs into a section of type tunnel",
        ),
        (
            with("option timeout 5\n option timeout 6"),
            "mlvpn:9: [link wan] timeout: given on line 8, too; this value counts; remove the lines that do not count",
        ),
        (
            with("option backup 1\n option fallback_only 0"),
            "mlvpn:9: [link wan] fallback_only: given more than once; the value on line 8 counts; \
             remove the lines that do not count",
        ),
        (
            with("option quota_day_soft 2GB\n option quota_day_hard 1GB"),
            "mlvpn:8: [link wan] quota_day_soft: larger than the hard quota, so it has no effect; make it the smaller one",
        ),
        (
            format!("{}config lnik 'x'\n", shortest()),
            "mlvpn:10: sections of type lnik are unknown; it is ignored; did you mean config link?",
        ),
        (
            shortest().replace("config link 'wan'\n", "").replace("config link 'wwan'\n", ""),
            "mlvpn:1: [tunnel tunnel] no link: the tunnel has one, by whatever way the routing table says; \
             add a section for each, like config link 'wan'",
        ),
        (
            shortest().replace("option ip4", "option port 7\n option ip4"),
            "mlvpn:5: [tunnel tunnel] port: not used by a client, whose links have their bindport; remove the line",
        ),
        (
            shortest()
                .replace("option ip4", "option protocol classic\n option password q3Zt8uW1xYk5rPz9vNc2\n option ip4"),
            "mlvpn:4: [tunnel tunnel] secret: not used with protocol classic; remove the line",
        ),
        (
            shortest().replace("option ip4", "option mode server\n option ip4"),
            "mlvpn:3: [tunnel tunnel] server: not used by a server, which waits for its peers wherever they are; remove the line",
        ),
        (String::new(), "mlvpn: no tunnel; run: uci set mlvpn.tunnel=tunnel; uci commit mlvpn"),
    ] {
        let (_, said) = accept(&text);
        assert!(said.iter().any(|report| report == expected), "{expected}\n{said:#?}");
    }
}

#[test]
fn a_report_of_the_shared_reader_is_said_in_ucis_words() {
    let text = shortest().replace("option ip4", "option mtu 1000\n option ip6 fd00::2/64\n option ip4");
    assert_eq!(
        accept(&text).1,
        ["mlvpn:5: [tunnel tunnel] mtu: 1000 is less than IPv6 needs; give at least 1280, or remove ip6"]
    );
    let text = shortest()
        .replace("config link 'wan'\n", "config link 'wan'\n option bindport 7\n")
        .replace("config link 'wwan'\n", "config link 'wwan'\n option bindport 7\n");
    let (_, said) = accept(&text);
    assert!(
        said[0].starts_with("mlvpn:11: [link wwan] bindport: bound to the same address and port as [wan]"),
        "{said:?}"
    );
}

#[test]
fn a_secret_may_be_in_a_file_and_is_never_shown() {
    let in_file = |path: &Path| match path.to_str() {
        Some("/etc/mlvpn/secret") => Ok(Zeroizing::new(format!("{SECRET}\n"))),
        Some("/etc/mlvpn/bad") => Ok(Zeroizing::new("hunter2hunter2".to_owned())),
        _ => Err("no such file".to_owned()),
    };
    let from = |path: &str| {
        let text = shortest().replace(&format!("option secret '{SECRET}'"), &format!("option secret_file {path}"));
        uci::parse("mlvpn", &text, &Sources { secret: &in_file, ..sources() })
    };
    let (inline, _) = accept(&shortest());
    assert_eq!(from("/etc/mlvpn/secret").expect("it is read").0[0].config, inline[0].config);
    let refused = |path: &str| texts(&from(path).expect_err("refused"));
    assert_eq!(
        refused("/etc/mlvpn/bad"),
        [
            "mlvpn:4: [tunnel tunnel] secret_file: the file holds something else; write into it the output of `mlvpn gensecret`"
        ]
    );
    assert_eq!(
        refused("/gone"),
        [
            "mlvpn:4: [tunnel tunnel] secret_file: cannot be read: no such file; check the path and who may read the file"
        ]
    );
    // Every fault a secret can have, and what is said about the rest of the file, shows none of it.
    let odd = "config tunnel t\n option enabled 1\n option private_key hunter2hunter2\n option secret hunter2hunter2\n \
        list password hunter2hunter2\n list password hunter2hunter2x\n option secrt hunter2hunter2\n";
    assert!(!refuse(odd).concat().contains("hunter2"), "{:?}", refuse(odd));
    assert!(!format!("{inline:?}").contains(SECRET));
}

#[test]
fn a_secrets_file_is_read_when_it_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("mlvpn-uci-{}-secret", std::process::id()));
    std::fs::write(&path, format!("{SECRET}\n")).expect("it can be written");
    let read_with = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        mlvpn::config::read_secret(&path, &mlvpn::config::open_file)
    };
    let (shared, own) = (read_with(0o644), read_with(0o600));
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(own.expect("it is read").trim_end(), SECRET);
    let why = shared.expect_err("others can read it");
    assert!(why.starts_with("others than its owner can reach the file") && why.contains("chmod 600"), "{why}");
    assert!(mlvpn::config::read_secret(&path, &mlvpn::config::open_file).is_err());
}

#[test]
fn a_password_may_hold_whatever_quotes_mlvpn_conf_would_take_out() {
    let text = "config tunnel t\n option enabled 1\n option protocol classic\n option server h:1\n \
        option password 'a\"b = #c  d Zt8uW1xYk5'\n config link wan\n";
    assert_eq!(accept(text).0[0].config.general.password.expose(), b"a\"b = #c  d Zt8uW1xYk5");
}

#[test]
fn several_tunnels_have_their_own_links_and_classes() {
    let other = shortest().replace("'tunnel'", "'b'").replace("config link 'wan'\n\nconfig link 'wwan'\n", "");
    let first = shortest()
        .replace("config link 'wan'\n", "config link 'wan'\n option tunnel tunnel\n")
        .replace("config link 'wwan'\n", "config link 'wwan'\n option tunnel b\n");
    let class = "config class voip\n option tunnel b\n list dscp EF\n option link wwan\n";
    let (tunnels, _) = accept(&format!("{first}\n{other}\n{class}"));
    let links = |tunnel: &Tunnel| tunnel.config.links.iter().map(|link| link.name.clone()).collect::<Vec<_>>();
    assert_eq!(tunnels.iter().map(links).collect::<Vec<_>>(), [["wan"], ["wwan"]]);
    assert_eq!(tunnels[1].config.classes[0].rule.dscps.as_slice(), [46]);
    assert!(tunnels[0].config.classes.is_empty());
}

#[test]
fn every_option_of_the_list_is_checked_by_its_kind() {
    for (spec, uci) in OPTIONS.iter().filter_map(|spec| spec.in_uci.as_ref().map(|uci| (spec, uci))) {
        let network = Sources { network: NETWORK, ..sources() };
        let text = match spec.section {
            SectionKind::OpenMptcProuter => format!("{GENERAL}\toption {} '\u{7f}'\n", uci.name),
            SectionKind::General => format!("{}config tunnel tunnel\n option {} '\u{7f}'\n", shortest(), uci.name),
            section => format!("{}config {} x\n option {} '\u{7f}'\n", shortest(), section.uci_type(), uci.name),
        };
        let said = texts(&uci::parse("mlvpn", &text, &network).expect_err("it is no value"));
        let named = format!(" {}: not a value this option can have; give ", uci.name);
        assert!(said.iter().any(|report| report.contains(&named)), "{}: {said:?}", uci.name);
    }
}

#[test]
fn links_and_classes_mean_what_they_mean_in_mlvpn_conf() {
    let text = format!(
        "{}config link 'lte'\n\toption tier 2\n\toption weight 20\n\toption metered 1\n\toption quota_month_hard '20 GB'\n\
         \toption rate_down 40mbit\nconfig class voip\n\tlist proto udp\n\tlist port 5060\n\toption link lte\n",
        shortest()
    );
    let (tunnels, reports) = accept(&text);
    assert_eq!(reports, [""; 0]);
    let config = &tunnels[0].config;
    let lte = config.link("lte").expect("it is there");
    assert_eq!((lte.tier, lte.weight, lte.metered), (2, Some(20), true));
    assert_eq!((lte.month.hard, lte.bandwidth_download), (Some(20_000_000_000), 5_000_000));
    assert_eq!(config.classes[0].rule.link.as_deref(), Some("lte"));
    assert_eq!(tunnels[0].links[2].policy.tier, 2);
}

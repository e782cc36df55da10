// SPDX-License-Identifier: BSD-2-Clause
//! Properties of the configuration reader. A failing case prints its smallest input and the seed that found it.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use mlvpn::config::{
    Cidr, Config, DeviceKind, Filter, General, InterfaceName, Link, MAX_REPORTS, Mode, Network, Peer, PrivateKey,
    Protocol, Roles, Secret, Severity,
};
use mlvpn::script::LinkName;
use mlvpn_core::state::identity::{SecretKey, SharedSecret};
use mlvpn_core::words::policy::Limits;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use zeroize::Zeroizing;

/// Pieces with blanks in them.
const SPACED: [&str; 5] = [" ", "\n", "[peer a]", "[peer b]", "protocol = 2\n"];

/// Pieces of configuration files: soups of them reach further into the reader than random letters.
fn piece() -> impl Strategy<Value = String> {
    let words = "[general] [filters] [dsl1] [ ] [ ] = \" # \n \r\n \t \0 \u{e9} \u{feff} mode client server password \
        timeout 30 -1 99999999999 yes remotehost remoteport bindport 5080 ip4 10.0.0.1/24 ip4_routes ::/0 mtu 1444 \
        interface_name statuscommand / tuntap tap dsl1 reorder_buffer bindfib [peer protocol classic 2 \
        private_key public_key secret allowed_ips 10.0.0.0/8, \
        dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo= hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    let words: Vec<String> = words.split(' ').map(str::to_owned).chain(SPACED.map(str::to_owned)).collect();
    prop_oneof![6 => prop::sample::select(words), 1 => any::<String>(), 1 => "[ -~]{0,8}", 3 => Just("\n".to_owned())]
}

fn soup() -> impl Strategy<Value = String> {
    vec(piece(), 0..80).prop_map(|pieces| pieces.concat())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9.-]{0,30}",
        any::<Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<Ipv6Addr>().prop_map(|address| address.to_string()),
    ]
}

fn interface() -> impl Strategy<Value = InterfaceName> {
    "[a-z][a-z0-9._-]{0,14}".prop_map(|name| name.parse().expect("the pattern makes valid names"))
}

fn cidr4() -> impl Strategy<Value = Cidr<Ipv4Addr>> {
    (any::<Ipv4Addr>(), 0u8..=32).prop_map(|(address, prefix_len)| Cidr { address, prefix_len })
}

fn cidr6() -> impl Strategy<Value = Cidr<Ipv6Addr>> {
    (any::<Ipv6Addr>(), 0u8..=128).prop_map(|(address, prefix_len)| Cidr { address, prefix_len })
}

fn general() -> impl Strategy<Value = General> {
    // Any printable text but the quote itself, with no space at its ends.
    let password = "[!#-~]([ !#-~]{0,40}[!#-~])?";
    let names = (password, of("/[a-z/. ]{0,20}[a-z]"), interface(), of("/[a-z/]{1,20}"), of(host()), of(1u16..));
    let words = (any::<[bool; 4]>(), 2u32..1000, 0u32..=65_536, 0u8..=100, 0u32..10_000, of(576u16..=1500));
    let addresses = (of(cidr4()), of(cidr6()), of(any::<Ipv4Addr>()), of(any::<Ipv6Addr>()));
    let routes = (vec(cidr4(), 0..5), vec(cidr6(), 0..5));
    (names, words, addresses, routes).prop_map(|(names, words, addresses, routes)| General {
        mode: if words.0[0] { Mode::Client } else { Mode::Server },
        protocol: Protocol::Classic,
        private_key: None,
        password: Secret::new(Zeroizing::new(names.0)),
        statuscommand: names.1.map(Into::into),
        interface_name: names.2,
        tuntap: if words.0[1] { DeviceKind::Tun } else { DeviceKind::Tap },
        offload: words.0[3],
        control_unix_path: names.3.map(Into::into),
        control_bind_host: names.4,
        control_bind_port: names.5,
        cleartext_data: words.0[2],
        timeout_secs: words.1,
        reorder_buffer_size: words.2,
        loss_tolerance_percent: words.3,
        latency_tolerance_ms: words.4,
        ip4: addresses.0,
        ip6: addresses.1,
        ip4_gateway: addresses.2,
        ip6_gateway: addresses.3,
        ip4_routes: routes.0,
        ip6_routes: routes.1,
        mtu: words.5,
        quota_file: None,
        roles: Roles::default(),
    })
}

fn link(number: usize) -> impl Strategy<Value = Link> {
    let path = (of(host()), 1u16.., of(interface()), host(), 1u16..);
    let limits = (any::<u32>(), 2u32..1000, 0u8..=100, 0u32..10_000, any::<bool>());
    (path, limits).prop_map(move |(path, limits)| Link {
        name: format!("link-{number}"),
        bindhost: path.0,
        bindport: Some(path.1),
        bindinterface: path.2,
        takes_address: false,
        remotehost: Some(path.3),
        remoteport: Some(path.4),
        bandwidth_upload: limits.0,
        timeout_secs: limits.1,
        loss_tolerance_percent: limits.2,
        latency_tolerance_ms: limits.3,
        fallback_only: limits.4,
        bandwidth_download: 0,
        weight: None,
        tier: 1,
        metered: false,
        day: Limits::default(),
        month: Limits::default(),
        month_start: 1,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let expressions = [
        "icmp",
        "tcp[13] & 2 == 2",
        "udp port 5060 or 5061",
        "!tcp && len>=60",
        "ip[8]<5 and ip[1] & 0xfc = 184",
        "host 10.0.0.1 and not (port 80 or 443)",
    ];
    ("link-[01]", proptest::sample::select(expressions.to_vec())).prop_map(|(link, expression)| Filter {
        link,
        expression: expression.to_owned(),
        steps: mlvpn::filter::compile(expression).expect("an expression"),
        line: 0,
    })
}

fn classic_config() -> impl Strategy<Value = Config> {
    (general(), link(0), link(1), vec(filter(), 0..6)).prop_map(|(general, first, second, filters)| Config {
        general,
        links: vec![first, second],
        peers: Vec::new(),
        classes: Vec::new(),
        filters,
    })
}

/// What a peer is made of. Which of it the peer has follows from who it is a peer of.
#[derive(Clone, Debug)]
struct Parts {
    name: String,
    key: [u8; 32],
    secret: Option<[u8; 32]>,
    host: String,
    port: u16,
    networks: Vec<(bool, u8)>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let networks = vec((any::<bool>(), 0u8..=16), 1..8);
    ("[!$-Z^-~]([ !$-Z^-~]{0,20}[!$-Z^-~])?", any::<[u8; 32]>(), of(any::<[u8; 32]>()), host(), 1u16.., networks)
        .prop_map(|(name, key, secret, host, port, networks)| Parts { name, key, secret, host, port, networks })
}

/// The networks of the peer at `place`: each in a /16 of IPv4 or a /32 of IPv6 that is its own.
fn networks(place: usize, lengths: &[(bool, u8)]) -> Vec<Network> {
    let place = u8::try_from(place).expect("few peers");
    let network = |(number, &(is_v4, length)): (u8, &(bool, u8))| match is_v4 {
        true => Network { address: Ipv4Addr::new(10 + number, place, 0, 0).into(), prefix_len: 16 + length },
        false => {
            let address = Ipv6Addr::new(0xfd00 + u16::from(number), place.into(), 0, 0, 0, 0, 0, 0);
            Network { address: address.into(), prefix_len: 32 + length }
        }
    };
    (0..).zip(lengths).map(network).collect()
}

fn peer_of(mode: Mode, place: usize, parts: Parts) -> Peer {
    let from_client = mode == Mode::Client;
    // Different for each peer and never zero, also when a failing case is made smaller.
    let random = |mut bytes: [u8; 32]| {
        bytes[1] = u8::try_from(place + 1).expect("few peers");
        Zeroizing::new(bytes)
    };
    Peer {
        // A number in front makes it unique.
        name: format!("{place}{}", parts.name),
        // The last peer is known by a secret alone if it has one.
        public_key: (place != 2 || parts.secret.is_none())
            .then(|| SecretKey::from_random(random(parts.key)).public_key()),
        secret: parts.secret.map(|secret| SharedSecret::from_random(random(secret))),
        password: None,
        remotehost: from_client.then_some(parts.host),
        remoteport: from_client.then_some(parts.port),
        allowed: networks(place, &parts.networks),
    }
}

fn config_of_two() -> impl Strategy<Value = Config> {
    (classic_config(), any::<[u8; 32]>(), vec(parts(), 1..=3)).prop_map(|(mut config, key, peers)| {
        let mode = config.general.mode;
        config.general.protocol = Protocol::Two;
        config.general.private_key = Some(PrivateKey::new(SecretKey::from_random(Zeroizing::new(key))));
        config.general.password = Secret::new(Zeroizing::default());
        config.general.cleartext_data = false;
        config.peers = peers.into_iter().enumerate().map(|(place, parts)| peer_of(mode, place, parts)).collect();
        config
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    prop_oneof![classic_config(), config_of_two()]
}

/// Writes options, one a line, each value in quotes.
struct Page(String);

impl Page {
    fn section(&mut self, name: &str) {
        writeln!(self.0, "[{name}]").expect("a String takes text");
    }

    fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{name} = \"{value}\"").expect("a String takes text");
    }

    fn set_if(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn set_list<T: std::fmt::Display>(&mut self, name: &str, values: &[T]) {
        if !values.is_empty() {
            self.set(name, values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        }
    }
}

fn render(config: &Config) -> String {
    let mut page = Page(String::new());
    render_general(&mut page, &config.general);
    for link in &config.links {
        render_link(&mut page, link);
    }
    for peer in &config.peers {
        render_peer(&mut page, peer);
    }
    page.section("filters");
    for filter in &config.filters {
        page.set(&filter.link, &filter.expression);
    }
    page.0
}

fn render_general(page: &mut Page, general: &General) {
    page.section("general");
    page.set("mode", general.mode.name());
    page.set("protocol", general.protocol.name());
    page.set_if(
        "private_key",
        general.private_key.as_ref().map(|key| key.pair().secret_key().to_text().as_str().to_owned()),
    );
    if general.protocol == Protocol::Classic {
        page.set("password", std::str::from_utf8(general.password.expose()).expect("made from text"));
        page.set("cleartext_data", u8::from(general.cleartext_data));
    }
    page.set_if("statuscommand", general.statuscommand.as_ref().map(|path| path.display()));
    page.set("interface_name", general.interface_name);
    page.set("tuntap", general.tuntap.to_string());
    page.set("offload", u8::from(general.offload));
    page.set_if("control_unix_path", general.control_unix_path.as_ref().map(|path| path.display()));
    page.set_if("control_bind_host", general.control_bind_host.as_ref());
    page.set_if("control_bind_port", general.control_bind_port);
    page.set("timeout", general.timeout_secs);
    page.set("reorder_buffer_size", general.reorder_buffer_size);
    page.set("loss_tolerence", general.loss_tolerance_percent);
    page.set("latency_tolerance", general.latency_tolerance_ms);
    page.set_if("ip4", general.ip4);
    page.set_if("ip6", general.ip6);
    page.set_if("ip4_gateway", general.ip4_gateway);
    page.set_if("ip6_gateway", general.ip6_gateway);
    page.set_list("ip4_routes", &general.ip4_routes);
    page.set_list("ip6_routes", &general.ip6_routes);
    page.set_if("mtu", general.mtu);
}

fn render_link(page: &mut Page, link: &Link) {
    page.section(&link.name);
    page.set_if("bindhost", link.bindhost.as_ref());
    page.set_if("bindport", link.bindport);
    page.set_if("bindinterface", link.bindinterface.as_ref());
    page.set_if("remotehost", link.remotehost.as_ref());
    page.set_if("remoteport", link.remoteport);
    page.set("bandwidth_upload", link.bandwidth_upload);
    page.set("timeout", link.timeout_secs);
    page.set("loss_tolerance", link.loss_tolerance_percent);
    page.set("latency_tolerence", link.latency_tolerance_ms);
    page.set("fallback_only", u8::from(link.fallback_only));
}

fn render_peer(page: &mut Page, peer: &Peer) {
    page.section(&format!("peer {}", peer.name));
    page.set_if("public_key", peer.public_key.map(|key| key.to_text().as_str().to_owned()));
    page.set_if("secret", peer.secret.as_ref().map(|secret| secret.to_text().as_str().to_owned()));
    page.set_if("remotehost", peer.remotehost.as_ref());
    page.set_if("remoteport", peer.remoteport);
    let written = |network: &Network| format!("{}/{}", network.address, network.prefix_len);
    page.set_list("allowed_ips", &peer.allowed.iter().map(written).collect::<Vec<_>>());
}

/// Names in and around the bounds of what may be one.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["-{0,2}[a-z0-9]{1,20}", "[ -~]{0,70}", "x{60,70}", "\\PC{0,24}", any::<String>()]
}

/// A configuration of each protocol with a link and a peer of these names.
fn named(link: &str, peer: &str) -> [String; 2] {
    let two = "[general]\nmode = server\nprotocol = 2\nprivate_key = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n";
    let key = "public_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nallowed_ips = 10.0.0.1\n";
    [
        format!("[general]\nmode = server\npassword = q3Zt8uW1xYk5rPz9vNc2\n[{link}]\nbindport = 1\n"),
        format!("{two}[{link}]\nbindport = 1\n[peer {peer}]\n{key}"),
    ]
}

/// Names of `config` that the status command could not be told; on a server of protocol 2 the links are its peers'.
fn untellable(config: &Config) -> Vec<String> {
    let peers = config.peers.iter().flat_map(|peer| [0, 255].map(|number| format!("{}.{number}", peer.name)));
    let names = config.links.iter().map(|link| link.name.clone()).chain(peers);
    names.filter(|name| LinkName::new(name).is_none()).collect()
}

#[test]
fn names_at_the_bounds_are_accepted_and_reach_the_status_command() {
    for name in ["-n", "--", "a b", "~", &"x".repeat(64)] {
        for text in named(name, name) {
            let (config, _) = Config::parse("f", &text).unwrap_or_else(|reports| panic!("{text}\n{reports:#?}"));
            assert_eq!(config.links[0].name, name);
            assert!(config.peers.iter().all(|peer| peer.name == name));
            assert_eq!(untellable(&config), [""; 0]);
        }
    }
}

/// The seed of a failing case is printed and kept beside this file.
fn with_seeds_kept() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(with_seeds_kept())]

    #[test]
    fn no_text_makes_the_reader_panic_or_report_a_line_that_is_not_there(text in soup()) {
        let loaded = Config::parse("f", &text);
        let (Ok((_, reports)) | Err(reports)) = &loaded;
        let lines = text.split('\n').count();
        prop_assert!(reports.len() <= 2 * MAX_REPORTS + 1);
        for report in reports {
            prop_assert!(report.line.is_none_or(|line| (1..=lines).contains(&(line as usize))), "{report}");
            prop_assert!(!report.to_string().contains('\n'));
        }
        prop_assert_eq!(loaded.is_err(), reports.iter().any(|report| report.severity == Severity::Error));
    }

    #[test]
    fn a_configuration_written_out_reads_back_as_itself(config in any_config()) {
        let text = render(&config);
        match Config::parse("f", &text) {
            Ok((read, _)) => {
                prop_assert!(config.changes(&read).is_empty());
                prop_assert_eq!(read, config);
            }
            Err(reports) => prop_assert!(false, "{text}\n{reports:#?}"),
        }
    }

    #[test]
    fn every_name_that_is_accepted_reaches_the_status_command(link in name(), peer in name()) {
        for text in named(&link, &peer) {
            if let Ok((config, _)) = Config::parse("f", &text) {
                prop_assert_eq!(untellable(&config), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn lines_put_before_a_file_move_its_reports_by_their_number(text in soup(), before in vec("(#[ -~]{0,9}|)", 0..9)) {
        let lines = u32::try_from(before.len()).expect("below 9");
        // A byte order mark counts at the beginning only.
        let text = text.trim_start_matches('\u{feff}');
        let moved = before.iter().map(|line| format!("{line}\n")).collect::<String>() + text;
        let reports = |text: &str| match Config::parse("f", text) {
            Ok((_, reports)) | Err(reports) => reports,
        };
        let said = |report: &mlvpn::config::Report| (report.severity, report.option.clone(), report.section.clone());
        let (original, moved) = (reports(text), reports(&moved));
        prop_assert_eq!(original.len(), moved.len());
        for (one, other) in original.iter().zip(&moved) {
            prop_assert_eq!(said(one), said(other));
            prop_assert_eq!(one.line.map(|line| line + lines), other.line);
        }
    }

    #[test]
    fn an_unknown_option_is_reported_where_it_stands(config in any_config(), at in any::<prop::sample::Index>()) {
        let text = render(&config);
        let mut lines: Vec<&str> = text.lines().take_while(|line| *line != "[filters]").collect();
        // Behind the first line, which opens [general].
        let at = at.index(lines.len() - 1) + 1;
        lines.insert(at, "flavour = vanilla");
        let (Ok((_, reports)) | Err(reports)) = Config::parse("f", &lines.join("\n"));
        let found = reports.iter().find(|report| report.option.as_deref() == Some("flavour"));
        prop_assert_eq!(found.and_then(|report| report.line), u32::try_from(at + 1).ok());
    }
}

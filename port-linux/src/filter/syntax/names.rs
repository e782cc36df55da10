// SPDX-License-Identifier: BSD-2-Clause
//! Names of protocols, ports, marks and header fields.

use super::super::program::Tree;
use super::super::terms::{self, Family, protocol as number};

/// What stands first in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `ip` and `ip6`.
    Version(Family),
    /// One above it, with the versions it is meant of.
    Above(u8, Family),
}

impl Protocol {
    /// The name as a term of its own.
    pub(super) fn tree(self) -> Tree {
        match self {
            Self::Version(family) => terms::version(family),
            Self::Above(number, family) => terms::protocol_is(family, number),
        }
    }
}

/// What may stand first in a term, as libpcap understands it.
pub(super) fn protocol(word: &str) -> Option<Protocol> {
    Some(match word {
        "ip" => Protocol::Version(Family::V4),
        "ip6" => Protocol::Version(Family::V6),
        "tcp" => Protocol::Above(number::TCP, Family::Any),
        "udp" => Protocol::Above(number::UDP, Family::Any),
        "sctp" => Protocol::Above(number::SCTP, Family::Any),
        "esp" => Protocol::Above(number::ESP, Family::Any),
        "ah" => Protocol::Above(number::AH, Family::Any),
        "pim" => Protocol::Above(number::PIM, Family::Any),
        "icmp" => Protocol::Above(number::ICMP, Family::V4),
        "igmp" => Protocol::Above(number::IGMP, Family::V4),
        "igrp" => Protocol::Above(number::IGRP, Family::V4),
        "vrrp" => Protocol::Above(number::VRRP, Family::V4),
        "icmp6" => Protocol::Above(number::ICMP6, Family::V6),
        _ => return None,
    })
}

/// The number of a protocol behind `proto`.
pub(super) fn protocol_number(word: &str) -> Option<u8> {
    match (protocol(word), word) {
        (Some(Protocol::Above(number, _)), _) => Some(number),
        (_, "gre") => Some(number::GRE),
        (_, "ipv6-icmp") => Some(number::ICMP6),
        _ => None,
    }
}

/// The protocols whose ports are meant; none when the word has none.
pub(super) fn transports(protocol: Option<Protocol>) -> Option<&'static [u8]> {
    match protocol {
        None => Some(&[number::SCTP, number::TCP, number::UDP]),
        Some(Protocol::Above(number::TCP, _)) => Some(&[number::TCP]),
        Some(Protocol::Above(number::UDP, _)) => Some(&[number::UDP]),
        Some(Protocol::Above(number::SCTP, _)) => Some(&[number::SCTP]),
        Some(_) => None,
    }
}

/// The protocol whose bytes behind an IPv4 header are meant by `NAME[..]`.
pub(super) fn payload(word: &str) -> Option<u8> {
    match protocol(word)? {
        Protocol::Above(number, family) if family != Family::V6 => Some(number),
        _ => None,
    }
}

/// Ports people name (IANA). Which transports /etc/services lists for a name differs from machine to machine, so a name is
/// its number, of each of them.
const SERVICES: [(&str, u16); 27] = [
    ("bgp", 179),
    ("domain", 53),
    ("ftp", 21),
    ("ftp-data", 20),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("ntp", 123),
    ("openvpn", 1194),
    ("pop3", 110),
    ("pop3s", 995),
    ("rsync", 873),
    ("rtsp", 554),
    ("sip", 5060),
    ("sip-tls", 5061),
    ("smtp", 25),
    ("snmp", 161),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
    ("syslog", 514),
    ("telnet", 23),
    ("tftp", 69),
];

/// A port by its name.
pub(super) fn service(word: &str) -> Option<u16> {
    SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port)
}

/// A DSCP by its name (RFC 2474, 2597, 3246, 5865, 8622).
pub(super) fn dscp(word: &str) -> Option<u8> {
    let word = word.to_ascii_lowercase();
    let digits = |from: &str| -> Option<Vec<u8>> {
        from.chars().map(|c| c.to_digit(10).and_then(|digit| u8::try_from(digit).ok())).collect()
    };
    if let Some(&[class @ 0..=7]) = word.strip_prefix("cs").and_then(digits).as_deref() {
        return Some(class << 3);
    }
    if let Some(&[class @ 1..=4, drop @ 1..=3]) = word.strip_prefix("af").and_then(digits).as_deref() {
        return Some(class << 3 | drop << 1);
    }
    match word.as_str() {
        "be" => Some(0),
        "le" => Some(1),
        "va" => Some(44),
        "ef" => Some(46),
        _ => None,
    }
}

/// Places in headers and values there, as pcap-filter(7) names them.
const CONSTANTS: [(&str, u32); 38] = [
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
];

/// A constant by its name.
pub(super) fn constant(word: &str) -> Option<u32> {
    CONSTANTS.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// Whether pcap-filter(7) has the word, and we have not.
pub(super) fn is_unsupported(word: &str) -> bool {
    const WORDS: [&str; 34] = [
        "ether",
        "link",
        "fddi",
        "tr",
        "wlan",
        "arp",
        "rarp",
        "decnet",
        "atalk",
        "aarp",
        "iso",
        "stp",
        "ipx",
        "netbeui",
        "vlan",
        "mpls",
        "pppoed",
        "pppoes",
        "geneve",
        "llc",
        "gateway",
        "broadcast",
        "multicast",
        "protochain",
        "inbound",
        "outbound",
        "ifname",
        "on",
        "rnr",
        "rulenum",
        "type",
        "subtype",
        "dir",
        "carp",
    ];
    WORDS.contains(&word)
}

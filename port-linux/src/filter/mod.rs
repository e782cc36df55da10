// SPDX-License-Identifier: BSD-2-Clause
//! Filters: expressions of pcap-filter(7) as MLVPN 2.3.5 takes them, compiled for the engine.
//!
//! Compiled are the parts of the language that mean something for the IP packets of a tunnel: hosts, networks, ports and
//! ranges of them, protocols, lengths, and numbers read from headers and compared with constants; besides, our own
//! `dscp` and `tos`. What a program decides is what libpcap's for raw IP packets does, and is held against tcpdump's
//! verdicts by a test. Names of hosts are not looked up, since the answer would change while the tunnel runs.

#[cfg(feature = "full")]
mod program;
#[cfg(feature = "full")]
mod syntax;
#[cfg(feature = "full")]
mod terms;
#[cfg(feature = "full")]
mod token;

use std::fmt;

use mlvpn_core::stages::filter::Step;

/// Steps one expression may have. A packet that matches no filter costs at most this many comparisons for each of them;
/// an expression that names thirty hosts has two hundred.
pub const MAX_STEPS: usize = 1024;

/// Why an expression was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Before which character of the expression it lies, counted from 0.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { at, message: message.into(), advice: advice.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.advice)
    }
}

/// A router's program has none of this, a thirtieth of its flash: UCI's form has no filters, but classes.
///
/// # Errors
/// Always.
#[cfg(not(feature = "full"))]
pub fn compile(_: &str) -> Result<Vec<Step>, Fault> {
    Err(Fault::new(0, "this program, made for routers, has no filters", "run `mlvpn`, or use classes"))
}

/// Compiles an expression into at most [`MAX_STEPS`] steps, none for the empty one, which every packet matches.
///
/// # Errors
/// The expression is not understood, or too long.
#[cfg(feature = "full")]
pub fn compile(expression: &str) -> Result<Vec<Step>, Fault> {
    let tokens = token::read(expression)?;
    match syntax::parse(&tokens, expression.chars().count())? {
        None => Ok(Vec::new()),
        Some(tree) => program::compile(&tree),
    }
}

#[cfg(all(test, feature = "full"))]
mod tests {
    use mlvpn_core::stages::filter::matches;

    use super::*;

    /// An IPv4 datagram of UDP from 192.0.2.1:1000 to 198.51.100.7:5060, marked EF.
    fn datagram() -> Vec<u8> {
        let mut packet = vec![0x45, 46 << 2, 0, 40, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        packet.extend([3, 0xe8, 0x13, 0xc4, 0, 20, 0, 0]);
        packet.resize(40, 0);
        packet
    }

    #[track_caller]
    fn verdict(expression: &str) -> bool {
        matches(&compile(expression).unwrap_or_else(|fault| panic!("{expression}: {fault:?}")), &datagram())
    }

    #[test]
    fn what_people_write_is_understood() {
        for yes in [
            "udp port 5060",
            "portrange 5060-5070",
            "src host 192.0.2.1 and dst net 198.51.100.0/24",
            "192.0.2.1",
            "ip proto \\udp and ip[8] > 5",
            "(port 80 or 443) or udp",
            "not tcp and ! icmp && less 40",
            "dscp ef",
            "tos 0xb8",
            "(ip[1] & 0xfc) >> 2 == 46",
            "src or dst port sip",
            "greater 40 and len <= 40 and 40 = len",
            "",
        ] {
            assert!(verdict(yes), "{yes}");
        }
        for no in ["tcp", "ip6", "src port 5060", "port (80 or 443)", "net 10", "dscp 0", "udp[4:2] != 20", "less 39"] {
            assert!(!verdict(no), "{no}");
        }
    }

    #[test]
    fn and_and_or_bind_alike_and_from_the_left_as_in_pcap() {
        assert!(!verdict("udp or tcp and icmp"), "(udp or tcp) and icmp");
        assert!(verdict("icmp and tcp or udp"));
    }

    #[test]
    fn what_is_not_understood_is_said_with_its_place() {
        for (expression, at, message) in [
            ("udp prot 5060", 4, "\"prot\" is not understood here"),
            ("port 80 or vlan 3", 11, "\"vlan\" is not supported"),
            ("port 70000", 5, "there is no port 70000"),
            ("host vpn.example.net", 5, "\"vpn.example.net\" is no address"),
            ("tcp or 80", 7, "it is not said what 80 is"),
            ("(udp", 4, "the expression ends in the middle"),
            ("udp)", 3, "\")\" is not understood here"),
            ("net 10.0.0.1/8", 4, "10.0.0.1 has bits beyond its network of 8 bits"),
            ("ip[0] = ip[1]", 8, "two numbers of the packet cannot be compared"),
            ("tcp[2] * 2 > 4", 7, "\"*\" cannot be applied to a number of the packet"),
            ("ip[0:3] = 1", 5, "a number has 1, 2 or 4 bytes"),
            ("ip host 2001:db8::1", 8, "an address of the other kind than \"ip\""),
            ("port 80 @", 8, "'@' is not understood"),
        ] {
            let fault = compile(expression).expect_err(expression);
            assert_eq!((fault.at, fault.message.as_str()), (at, message), "{expression}");
            assert!(!fault.advice.is_empty());
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let long = vec!["host 192.0.2.1"; 600].join(" or ");
        assert_eq!(compile(&long).unwrap_err().message, "the expression takes more than 1024 steps");
        let deep = format!("{}udp{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(compile(&deep).unwrap_err().message, "more than 64 parentheses in one another");
        assert!(compile(&format!("{}udp", "not ".repeat(100_000))).is_ok());
    }
}

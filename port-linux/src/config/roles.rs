// SPDX-License-Identifier: BSD-2-Clause
//! What the tunnel is to the machine it ends on: which networks are behind it, whether it is the way to the internet, and
//! what is translated.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::Network;
use super::values::SectionReader;

/// More forwarded ports than one machine behind a tunnel offers services; each may be a range.
pub const MAX_FORWARDS: usize = 64;

/// `[general]`'s options about the machine's own addresses, routes and firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Whether the daemon itself sets up the device; absent: where there is no status command that does.
    pub setup: Option<bool>,
    /// Networks behind the other end.
    pub remote_networks: Vec<Network>,
    /// The tunnel is the way to everything that is not nearer.
    pub default_gateway: bool,
    /// What would go through the tunnel goes no other way while that is down.
    pub kill_switch: bool,
    /// What is forwarded from the tunnel (server) or into it (client) takes this machine's address.
    pub nat: bool,
    /// Ports of this machine that lead to machines behind the tunnel.
    pub port_forwards: Vec<Forward>,
    /// The number of the routing table, and of the mark on the tunnel's own packets.
    pub routing_table: Option<u32>,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Ports of this machine that lead elsewhere: `tcp/8080:10.42.42.2:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Of which protocol.
    pub transport: Transport,
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
    /// Where to.
    pub to: IpAddr,
    /// To which port there; absent: the same.
    pub to_port: Option<u16>,
}

impl Roles {
    /// Whether anything but the device itself is asked for.
    #[must_use]
    pub fn has_any(&self) -> bool {
        let Self { setup: _, remote_networks, default_gateway, kill_switch, nat, port_forwards, routing_table: _ } =
            self;
        *default_gateway || *kill_switch || *nat || !remote_networks.is_empty() || !port_forwards.is_empty()
    }
}

impl Forward {
    /// Reads one as it stands in the file.
    fn parse(text: &str) -> Option<Self> {
        let (transport, rest) = text.split_once('/')?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        };
        let (ports, target) = rest.split_once(':')?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (port(first)?, port(last)?);
        let (to, to_port) = match target.strip_prefix('[') {
            Some(v6) => {
                let (address, behind) = v6.split_once(']')?;
                let address = address.parse::<Ipv6Addr>().ok()?.into();
                (address, if behind.is_empty() { None } else { Some(port(behind.strip_prefix(':')?)?) })
            }
            None => match target.split_once(':') {
                Some((address, to_port)) => (address.parse().ok()?, Some(port(to_port)?)),
                None => (target.parse().ok()?, None),
            },
        };
        // Several ports cannot lead to one.
        (first <= last && (first == last || to_port.is_none())).then_some(Self { transport, first, last, to, to_port })
    }
}

/// Digits only: `parse` would take a sign.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    Some(text).filter(|_| is_number)?.parse().ok().filter(|port| *port != 0)
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl SectionReader<'_> {
    pub(crate) fn roles(&mut self) -> Roles {
        Roles {
            setup: self.yes_no("setup"),
            remote_networks: self.networks("remote_networks"),
            default_gateway: self.yes_no("default_gateway").unwrap_or(false),
            kill_switch: self.yes_no("kill_switch").unwrap_or(false),
            nat: self.yes_no("nat").unwrap_or(false),
            port_forwards: self.forwards("port_forwards"),
            routing_table: self.number_if_given("routing_table").filter(|number| *number != 0),
        }
    }

    /// A flag that MLVPN 2.3.5 had not: a word that is neither is an error.
    fn yes_no(&mut self, name: &str) -> Option<bool> {
        let (word, entry) = self.word(name)?;
        match word.trim_matches('\t') {
            "1" | "yes" => Some(true),
            "0" | "no" => Some(false),
            _ => {
                self.fail(entry, "neither yes nor no", "write yes or no");
                None
            }
        }
    }

    fn forwards(&mut self, name: &str) -> Vec<Forward> {
        let Some((_, entry)) = self.find(name) else { return Vec::new() };
        let text = entry.text();
        let mut forwards = Vec::new();
        for (word, number) in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).zip(1u32..) {
            match Forward::parse(word) {
                Some(_) if forwards.len() == MAX_FORWARDS => {
                    self.fail(entry, format!("more than {MAX_FORWARDS} forwards"), "join ports to ranges");
                    break;
                }
                Some(forward) => forwards.push(forward),
                None => {
                    let advice = "write tcp/8080:10.42.42.2:80 or udp/5000-5010:10.42.42.2, IPv6 addresses in brackets";
                    self.fail(entry, format!("forward {number} is not one"), advice);
                }
            }
        }
        forwards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn roles(options: &str) -> Result<Roles, String> {
        let text = format!(
            "[general]\nmode = client\npassword = \"a long enough password\"\n{options}\n\
             [l1]\nremotehost = 192.0.2.1\nremoteport = 5080\n"
        );
        match Config::parse("mlvpn.conf", &text) {
            Ok((config, _)) => Ok(config.general.roles),
            Err(reports) => Err(reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn a_file_that_says_nothing_asks_for_nothing() {
        assert_eq!(roles(""), Ok(Roles::default()));
        assert!(!Roles::default().has_any());
    }

    #[test]
    fn every_role_is_read() {
        let read = roles(
            "setup = yes\nremote_networks = 10.1.0.0/16, fd00:1::/48\ndefault_gateway = yes\nkill_switch = 1\nnat = no\n\
             port_forwards = \"tcp/8080:10.42.42.2:80, udp/5000-5010:[fd42::2]\"\nrouting_table = 77",
        )
        .expect("a configuration");
        let web = Forward {
            transport: Transport::Tcp,
            first: 8080,
            last: 8080,
            to: [10, 42, 42, 2].into(),
            to_port: Some(80),
        };
        let calls = Forward {
            transport: Transport::Udp,
            first: 5000,
            last: 5010,
            to: "fd42::2".parse().expect("an address"),
            to_port: None,
        };
        assert_eq!((read.setup, read.default_gateway, read.kill_switch, read.nat), (Some(true), true, true, false));
        assert_eq!((read.remote_networks.len(), read.routing_table), (2, Some(77)));
        assert_eq!(read.port_forwards, [web, calls]);
        assert!(read.has_any());
    }

    #[test]
    fn what_is_none_is_an_error_with_line_and_remedy() {
        for (option, remedy) in [
            ("nat = perhaps", "write yes or no"),
            ("remote_networks = somewhere", "ADDRESS/PREFIX"),
            ("port_forwards = tcp/80", "tcp/8080:10.42.42.2:80"),
            ("port_forwards = tcp/80-90:10.0.0.1:80", "tcp/8080"),
            ("port_forwards = tcp/0:10.0.0.1", "tcp/8080"),
            ("port_forwards = sctp/80:10.0.0.1", "tcp/8080"),
            ("port_forwards = \"tcp/80:fd42::2:80\"", "in brackets"),
        ] {
            let told = roles(option).expect_err(option);
            assert!(told.contains("mlvpn.conf:4") && told.contains(remedy), "{told}");
        }
    }
}

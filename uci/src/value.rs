// SPDX-License-Identifier: BSD-2-Clause
//! One value of UCI by its kind, and what each kind takes, in words.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use mlvpn_core::state::identity::{PublicKey, SecretKey, SharedSecret};

use crate::options::{SectionName, TimeUnit, ValueKind};

/// A DNS name has at most 253 characters, and MLVPN 2.3.5 keeps 255.
const MAX_HOST_BYTES: usize = 255;
/// The kernel's `IFNAMSIZ` less the closing zero byte.
const MAX_INTERFACE_BYTES: usize = 15;
/// The longest value but for paths, keys and passwords that is worth reading: a host name and a port.
pub const MAX_VALUE_BYTES: usize = MAX_HOST_BYTES + ":65535".len();

/// A value that is what its option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Yes or no.
    Flag(bool),
    /// A number, a port, a DSCP or an IP protocol; a duration in its option's unit.
    Number(u32),
    /// A rate in bytes per second, or a volume in bytes.
    Bytes(u64),
    /// Where a server is; an IPv6 address without its brackets.
    Endpoint {
        /// Name or address.
        host: &'a str,
        /// UDP port, not 0.
        port: u16,
    },
    /// Ports, both included.
    Ports {
        /// The lowest.
        first: u16,
        /// The highest, not below the lowest.
        last: u16,
    },
    /// A text that was checked: a name, an address, a path.
    Text(&'a str),
    /// A text that was checked and must not be shown.
    Secret,
}

/// Reads `text` as a value of `kind`; `None` when it is none. The work is linear, and a key costs a scalar
/// multiplication.
#[must_use]
pub fn read(kind: ValueKind, text: &str) -> Option<Value<'_>> {
    let checked = |is_fine: bool| is_fine.then_some(Value::Text(text));
    match kind {
        ValueKind::Flag => flag(text).map(Value::Flag),
        ValueKind::Mode => checked(matches!(text, "client" | "server")),
        ValueKind::Protocol => checked(matches!(text, "classic" | "2")),
        ValueKind::Device => checked(matches!(text, "tun" | "tap")),
        // A line feed in a password was not meant, and no file of MLVPN could hold it.
        ValueKind::Password => (!text.is_empty() && !text.contains(char::is_control)).then_some(Value::Secret),
        ValueKind::PrivateKey => SecretKey::from_text(text).ok().map(|_| Value::Secret),
        ValueKind::SharedSecret => SharedSecret::from_text(text).ok().map(|_| Value::Secret),
        ValueKind::PublicKey => checked(PublicKey::from_text(text).is_ok()),
        ValueKind::Path => checked(text.starts_with('/') && !text.contains(char::is_control)),
        ValueKind::Interface => checked(is_interface(text)),
        ValueKind::Host => host(text).map(Value::Text),
        ValueKind::Port => port(text).map(|port| Value::Number(port.into())),
        ValueKind::Address4 | ValueKind::Address6 => checked(is_network(text, kind == ValueKind::Address4, true)),
        ValueKind::Gateway4 => checked(text.parse::<Ipv4Addr>().is_ok()),
        ValueKind::Gateway6 => checked(text.parse::<Ipv6Addr>().is_ok()),
        ValueKind::Routes4 => checked(networks(text).all(|word| word == "default" || is_network(word, true, false))),
        ValueKind::Routes6 => checked(networks(text).all(|word| word == "default" || is_network(word, false, false))),
        ValueKind::Networks => {
            checked(networks(text).all(|word| is_network(word, true, false) || is_network(word, false, false)))
        }
        // Not in UCI, where the firewall has its own.
        ValueKind::Forwards => None,
        ValueKind::Number { min, max } => number(text).filter(|n| (min..=max).contains(n)).map(Value::Number),
        ValueKind::Switch { .. } => None,
        ValueKind::Duration { unit, min, max } => {
            duration(text, unit).filter(|time| (min..=max).contains(time)).map(Value::Number)
        }
        ValueKind::Rate => rate(text).map(Value::Bytes),
        ValueKind::Volume => volume(text).map(Value::Bytes),
        ValueKind::Endpoint => endpoint(text),
        ValueKind::Network | ValueKind::Section(_) => checked(is_section(text)),
        ValueKind::IpProtocol => ip_protocol(text).map(|protocol| Value::Number(protocol.into())),
        ValueKind::Ports => ports(text),
        ValueKind::Dscp => dscp(text).map(|dscp| Value::Number(dscp.into())),
    }
}

/// The words OpenWrt's `config_get_bool` knows, and those of LuCI.
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "on" | "true" | "yes" | "enabled" => Some(true),
        "0" | "off" | "false" | "no" | "disabled" => Some(false),
        _ => None,
    }
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn port(text: &str) -> Option<u16> {
    number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn ports(text: &str) -> Option<Value<'static>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(Value::Ports { first, last })
}

fn host(text: &str) -> Option<&str> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    // `%` for the zone of a link-local address, `_` for names people do use.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_' | b'%');
    (!bare.is_empty() && bare.len() <= MAX_HOST_BYTES && bare.bytes().all(allowed)).then_some(bare)
}

fn endpoint(text: &str) -> Option<Value<'_>> {
    let (place, port_text) = text.rsplit_once(':')?;
    let in_brackets = place.starts_with('[') && place.ends_with(']');
    // Without brackets nobody can tell an IPv6 address's last group from a port.
    let host = host(place).filter(|bare| in_brackets || !bare.contains(':'))?;
    Some(Value::Endpoint { host, port: port(port_text)? })
}

/// What the kernel takes for a device, but for patterns.
fn is_interface(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    (1..=MAX_INTERFACE_BYTES).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

fn is_section(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn networks(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t']).filter(|word| !word.is_empty())
}

fn is_network(text: &str, v4: bool, needs_prefix: bool) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let bits = if v4 { 32 } else { 128 };
    let is_address = if v4 { address.parse::<Ipv4Addr>().is_ok() } else { address.parse::<Ipv6Addr>().is_ok() };
    is_address && prefix.map_or(!needs_prefix, |prefix| number(prefix).is_some_and(|len| len <= bits))
}

fn duration(text: &str, unit: TimeUnit) -> Option<u32> {
    const MS: u64 = 1;
    const SECOND: u64 = 1000;
    let (number, word) = quantity(text)?;
    let own = if unit == TimeUnit::Seconds { SECOND } else { MS };
    let scale = match word {
        "" => own,
        "ms" => MS,
        "s" => SECOND,
        "m" | "min" => SECOND.saturating_mul(60),
        "h" => SECOND.saturating_mul(3600),
        _ => return None,
    };
    let ms = number.times(scale)?;
    // Part of a unit was not meant to be dropped.
    (ms.checked_rem(own)? == 0).then(|| u32::try_from(ms.checked_div(own)?).ok()).flatten()
}

/// Bytes per second; people count bits.
fn rate(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    let mut lower = heapless::String::<8>::new();
    lower.push_str(unit).ok()?;
    lower.make_ascii_lowercase();
    let bits = match lower.as_str() {
        "bit" | "bit/s" | "bps" => number.times(1)?,
        "kbit" | "kbit/s" | "kbps" => number.times(1_000)?,
        "mbit" | "mbit/s" | "mbps" => number.times(1_000_000)?,
        "gbit" | "gbit/s" | "gbps" => number.times(1_000_000_000)?,
        "" if number.is_zero() => 0,
        _ => return None,
    };
    // mlvpn.conf has 32 bits for it: 34 Gbit/s.
    bits.checked_div(8).filter(|bytes| *bytes <= u32::MAX.into())
}

/// Bytes; providers count thousands, not 1024s.
fn volume(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text)?;
    match unit {
        "MB" | "M" | "mb" => number.times(1_000_000),
        "GB" | "G" | "gb" => number.times(1_000_000_000),
        "TB" | "T" | "tb" => number.times(1_000_000_000_000),
        _ => None,
    }
    .filter(|bytes| *bytes > 0)
}

/// A number with up to three digits behind a point, in thousandths.
#[derive(Clone, Copy)]
struct Thousandths(u64);

impl Thousandths {
    /// In units of which `scale` are one, if nothing is left over below a thousandth of those.
    fn times(self, scale: u64) -> Option<u64> {
        let scaled = self.0.checked_mul(scale)?;
        (scaled.checked_rem(1000)? == 0).then(|| scaled.checked_div(1000)).flatten()
    }

    const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A number, and the unit behind it and any spaces.
fn quantity(text: &str) -> Option<(Thousandths, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 3 {
        return None;
    }
    let scale = match part.len() {
        1 => 100,
        2 => 10,
        _ => 1,
    };
    let thousandths = u64::from(number(part)?).checked_mul(scale)?;
    let sum = u64::from(number(whole)?).checked_mul(1000)?.checked_add(thousandths)?;
    Some((Thousandths(sum), unit.trim_start_matches(' ')))
}

/// IP protocols (IANA's registry) that people sort by.
const IP_PROTOCOLS: [(&str, u8); 8] =
    [("icmp", 1), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("ah", 51), ("icmpv6", 58), ("sctp", 132)];

fn ip_protocol(text: &str) -> Option<u8> {
    let named = IP_PROTOCOLS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, protocol)| *protocol);
    named.or_else(|| number(text).and_then(|protocol| u8::try_from(protocol).ok()))
}

/// DSCPs by name: RFC 3246 (EF), RFC 5865 (VA), RFC 8622 (LE); class selectors and assured forwarding are computed.
const DSCPS: [(&str, u8); 3] = [("EF", 46), ("VA", 44), ("LE", 1)];

fn dscp(text: &str) -> Option<u8> {
    let named = DSCPS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, dscp)| *dscp);
    named.or_else(|| class_dscp(text)).or_else(|| number(text).and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 64))
}

/// `CSn` (RFC 2474) is 8n; `AFcd` (RFC 2597) is 8c + 2d.
fn class_dscp(text: &str) -> Option<u8> {
    let digit =
        |byte: &u8, lowest: u8, highest: u8| byte.checked_sub(b'0').filter(|digit| (lowest..=highest).contains(digit));
    match text.as_bytes() {
        [b'C' | b'c', b'S' | b's', n] => digit(n, 0, 7)?.checked_mul(8),
        [b'A' | b'a', b'F' | b'f', class, drop] => {
            digit(class, 1, 4)?.checked_mul(8)?.checked_add(digit(drop, 1, 3)?.checked_mul(2)?)
        }
        _ => None,
    }
}

/// Displays what an option of this kind takes in UCI, for reports, the table and the settings page.
#[derive(Clone, Copy, Debug)]
pub struct Expected(pub ValueKind);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ValueKind::Number { min, max } if max == u32::MAX => return write!(f, "a whole number from {min}"),
            ValueKind::Number { min, max } => return write!(f, "a whole number from {min} to {max}"),
            ValueKind::Duration { unit: TimeUnit::Seconds, min, .. } => {
                return write!(f, "a time of at least {min} s, like 30s or 2min");
            }
            ValueKind::Duration { unit: TimeUnit::Milliseconds, .. } => "a time, like 300ms",
            ValueKind::Switch { stands_for, .. } => return write!(f, "yes or no, or a value of {stands_for}"),
            ValueKind::Mode => "client or server",
            ValueKind::Protocol => "2 or classic",
            ValueKind::Device => "tun or tap",
            ValueKind::Password => "a password",
            ValueKind::PrivateKey => "the output of `mlvpn keygen`",
            ValueKind::PublicKey => "the output of `mlvpn pubkey`",
            ValueKind::SharedSecret => "the output of `mlvpn gensecret`",
            ValueKind::Path => "a path that begins with '/'",
            ValueKind::Interface => "the name of a device, at most 15 letters or digits",
            ValueKind::Host => "a host name, an IPv4 or an IPv6 address",
            ValueKind::Port => "a port from 1 to 65535",
            ValueKind::Address4 => "an IPv4 address as ADDRESS/PREFIX, like 10.42.42.2/24",
            ValueKind::Address6 => "an IPv6 address as ADDRESS/PREFIX, like fd00::2/64",
            ValueKind::Gateway4 => "an IPv4 address",
            ValueKind::Gateway6 => "an IPv6 address",
            ValueKind::Routes4 => "IPv4 networks as ADDRESS/PREFIX, or default",
            ValueKind::Routes6 => "IPv6 networks as ADDRESS/PREFIX, or default",
            ValueKind::Networks => "networks as ADDRESS/PREFIX",
            ValueKind::Forwards => "ports and where they lead, like tcp/8080:10.42.42.2:80",
            ValueKind::Flag => "0 or 1",
            ValueKind::Rate => "a rate with its unit, like 10mbit or 800kbit",
            ValueKind::Volume => "an amount of data with its unit, like 500MB or 20GB",
            ValueKind::Endpoint => "HOST:PORT, like vpn.example.net:5080 or [2001:db8::1]:5080",
            ValueKind::Network => "the name of an interface in /etc/config/network, like wan",
            ValueKind::Section(SectionName::Tunnel) => "the name of a tunnel's section",
            ValueKind::Section(SectionName::Link) => "the name of a link's section",
            ValueKind::IpProtocol => "tcp, udp, icmp, icmpv6, esp, gre, ah, sctp, or a number up to 255",
            ValueKind::Ports => "a port, or a range like 10000-20000",
            ValueKind::Dscp => "EF, VA, LE, CS0 to CS7, AF11 to AF43, or a number up to 63",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_volumes_need_a_unit_and_count_in_thousands() {
        for (text, bytes) in [
            ("10mbit", Some(1_250_000)),
            ("7.5 Mbit/s", Some(937_500)),
            ("800kbit", Some(100_000)),
            ("1Gbps", Some(125_000_000)),
            ("0", Some(0)),
            ("34gbit", Some(4_250_000_000)),
            ("35gbit", None),
            ("10", None),
            ("10 parsec", None),
            ("-1mbit", None),
            ("1.mbit", None),
            ("", None),
        ] {
            assert_eq!(read(ValueKind::Rate, text), bytes.map(Value::Bytes), "{text}");
        }
        for (text, bytes) in [
            ("500MB", Some(500_000_000)),
            ("1.5 GB", Some(1_500_000_000)),
            ("0GB", None),
            ("5", None),
            ("9999999999TB", None),
        ] {
            assert_eq!(read(ValueKind::Volume, text), bytes.map(Value::Bytes), "{text}");
        }
    }

    #[test]
    fn a_duration_has_its_options_unit_unless_it_says_another() {
        let seconds = ValueKind::Duration { unit: TimeUnit::Seconds, min: 2, max: 100_000 };
        let ms = ValueKind::Duration { unit: TimeUnit::Milliseconds, min: 0, max: 100_000 };
        for (kind, text, expected) in [
            (seconds, "30", Some(30)),
            (seconds, "2min", Some(120)),
            (seconds, "3000ms", Some(3)),
            (seconds, "2500ms", None),
            (seconds, "1s", None),
            (seconds, "30 days", None),
            (ms, "300", Some(300)),
            (ms, "1.5s", Some(1500)),
            (ms, "2h", None),
        ] {
            assert_eq!(read(kind, text), expected.map(Value::Number), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port_and_ipv6_stands_in_brackets() {
        let at = |host, port| Some(Value::Endpoint { host, port });
        for (text, expected) in [
            ("vpn.example.net:5080", at("vpn.example.net", 5080)),
            ("192.0.2.1:1", at("192.0.2.1", 1)),
            ("[2001:db8::1]:5080", at("2001:db8::1", 5080)),
            ("[fe80::1%eth0]:5080", at("fe80::1%eth0", 5080)),
            ("2001:db8::1:5080", None),
            ("vpn.example.net", None),
            ("vpn.example.net:0", None),
            ("vpn.example.net:65536", None),
            (":5080", None),
            ("a b:5080", None),
        ] {
            assert_eq!(read(ValueKind::Endpoint, text), expected, "{text}");
        }
    }

    #[test]
    fn packets_are_named_by_protocol_port_and_dscp() {
        for (kind, text, expected) in [
            (ValueKind::IpProtocol, "UDP", Some(17)),
            (ValueKind::IpProtocol, "255", Some(255)),
            (ValueKind::IpProtocol, "256", None),
            (ValueKind::Dscp, "ef", Some(46)),
            (ValueKind::Dscp, "CS5", Some(40)),
            (ValueKind::Dscp, "AF41", Some(34)),
            (ValueKind::Dscp, "AF44", None),
            (ValueKind::Dscp, "63", Some(63)),
            (ValueKind::Dscp, "64", None),
        ] {
            assert_eq!(read(kind, text), expected.map(Value::Number), "{text}");
        }
        assert_eq!(read(ValueKind::Ports, "80"), Some(Value::Ports { first: 80, last: 80 }));
        assert_eq!(read(ValueKind::Ports, "10-20"), Some(Value::Ports { first: 10, last: 20 }));
        for bad in ["20-10", "0-5", "1-", "-1", "1-2-3"] {
            assert_eq!(read(ValueKind::Ports, bad), None, "{bad}");
        }
    }

    #[test]
    fn flags_are_the_words_of_openwrts_scripts() {
        for (text, expected) in
            [("1", Some(true)), ("on", Some(true)), ("disabled", Some(false)), ("2", None), ("", None)]
        {
            assert_eq!(read(ValueKind::Flag, text), expected.map(Value::Flag), "{text}");
        }
    }

    #[test]
    fn secrets_are_checked_and_not_handed_around() {
        assert_eq!(read(ValueKind::SharedSecret, "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k="), Some(Value::Secret));
        assert_eq!(read(ValueKind::SharedSecret, "q83v"), None);
        assert_eq!(read(ValueKind::Password, "it's \"fine\" = # so"), Some(Value::Secret));
        assert_eq!(read(ValueKind::Password, "two\nlines"), None);
    }
}

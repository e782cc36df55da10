// SPDX-License-Identifier: BSD-2-Clause
//! Every option, once: the readers of mlvpn.conf and of OpenWrt's /etc/config/mlvpn, their reports, the settings page
//! and the documentation all come from [`OPTIONS`].
//!
//! In mlvpn.conf names, defaults and the split between options read at start only and options read again on SIGHUP are
//! those of MLVPN 2.3.5, "tolerence" included; the aliases are what people write. An option of both files has one row,
//! which says what UCI has different.

mod table;

pub use table::OPTIONS;

/// Which kind of section an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// The tunnel as a whole: `[general]`, `config tunnel 'NAME'`.
    General,
    /// One link, called NAME: `[NAME]`, `config link 'NAME'`.
    Link,
    /// One peer of protocol 2, called NAME: `[peer NAME]`, `config peer 'NAME'`.
    Peer,
    /// Packets that are treated alike, with protocol 2: `[class NAME]`, `config class 'NAME'`.
    Class,
    /// OpenMPTCProuter's form of a tunnel: `config mlvpn 'general'`. Not in mlvpn.conf.
    OpenMptcProuter,
}

impl SectionKind {
    /// Every kind of mlvpn.conf.
    pub const ALL: [Self; 4] = [Self::General, Self::Link, Self::Peer, Self::Class];

    /// Every kind of UCI.
    pub const UCI: [Self; 5] = [Self::General, Self::Link, Self::Peer, Self::Class, Self::OpenMptcProuter];

    /// Where options of this kind stand in mlvpn.conf, in words.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::General => "in [general]",
            Self::Link => "in the section of a link",
            Self::Peer => "in the section of a peer",
            Self::Class => "in the section of a class",
            Self::OpenMptcProuter => "in /etc/config/mlvpn",
        }
    }

    /// The type of such a section in UCI.
    #[must_use]
    pub const fn uci_type(self) -> &'static str {
        match self {
            Self::General => "tunnel",
            Self::Link => "link",
            Self::Peer => "peer",
            Self::Class => "class",
            Self::OpenMptcProuter => "mlvpn",
        }
    }
}

/// The unit of a duration that is written without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `client` or `server`.
    Mode,
    /// `classic` or `2`.
    Protocol,
    /// `tun` or `tap`.
    Device,
    /// The classic protocol's shared secret, any text.
    Password,
    /// 32 bytes in base64, of which the public key follows.
    PrivateKey,
    /// 32 bytes in base64, for everyone to know.
    PublicKey,
    /// 32 bytes in base64 that both ends know.
    SharedSecret,
    /// An absolute path.
    Path,
    /// The name of a network interface, at most 15 bytes.
    Interface,
    /// A host name or an address.
    Host,
    /// A UDP or TCP port.
    Port,
    /// An IPv4 address with its prefix length.
    Address4,
    /// An IPv6 address with its prefix length.
    Address6,
    /// An IPv4 address.
    Gateway4,
    /// An IPv6 address.
    Gateway6,
    /// IPv4 networks, separated by spaces.
    Routes4,
    /// IPv6 networks, separated by spaces.
    Routes6,
    /// Networks of either kind, separated by commas or spaces.
    Networks,
    /// Ports that lead to another machine, separated by commas or spaces: `tcp/8080:10.42.42.2:80`.
    Forwards,
    /// 0 or 1; in UCI also the words that OpenWrt's scripts take for them.
    Flag,
    /// A whole number; in mlvpn.conf one outside the range is brought to its nearer end, with a warning.
    Number {
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
    /// A word for another option: `yes` is the given number, `no` is 0, and a number is itself.
    Switch {
        /// The option it stands for.
        stands_for: &'static str,
        /// What `yes` means.
        yes: u32,
    },
    /// A time with its unit, `s`, `ms`, `min` or `h`. UCI only, as are rates, endpoints and networks.
    Duration {
        /// Which unit a number without one has, and in which the limits are.
        unit: TimeUnit,
        /// Shortest.
        min: u32,
        /// Longest.
        max: u32,
    },
    /// A rate with its unit: `bit`, `kbit`, `mbit` or `gbit`, per second.
    Rate,
    /// An amount of data with its unit: `MB`, `GB` or `TB`.
    Volume,
    /// A host name or an address, and a UDP port: `HOST:PORT`.
    Endpoint,
    /// The name of an interface in /etc/config/network.
    Network,
    /// The name of a section of this type.
    Section(SectionName),
    /// An IP protocol by name or number.
    IpProtocol,
    /// A port, or two with `-` between them.
    Ports,
    /// A DSCP by name or number.
    Dscp,
}

/// Types of sections that options name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionName {
    /// A `config tunnel`.
    Tunnel,
    /// A `config link`.
    Link,
}

impl ValueKind {
    /// True where spaces are part of the value. Everywhere else MLVPN 2.3.5 takes unquoted spaces out, and so do we.
    #[must_use]
    pub const fn keeps_spaces(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::Routes4
                | Self::Routes6
                | Self::Networks
                | Self::Forwards
                | Self::IpProtocol
                | Self::Ports
                | Self::Dscp
        )
    }

    /// True where the value is base64, which may end in `=` without quotes: no file of MLVPN 2.3.5 has such options.
    #[must_use]
    pub const fn is_key(self) -> bool {
        matches!(self, Self::PrivateKey | Self::PublicKey | Self::SharedSecret)
    }

    /// True where the value must not be shown.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Password | Self::PrivateKey | Self::SharedSecret)
    }
}

/// What holds when an option is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The option must be given.
    Required,
    /// The option must be given in this case: a protocol, a mode, or both.
    RequiredIn(&'static str),
    /// Nothing: the feature is off.
    Unset,
    /// This text.
    Text(&'static str),
    /// This number.
    Number(u32),
    /// The value the tunnel has for the option of the same name.
    General,
    /// mlvpn works it out, as described.
    Computed(&'static str),
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// On SIGHUP, or when OpenWrt reloads the service.
    Reload,
    /// When mlvpn is started again.
    Restart,
}

/// How UCI has an option.
#[derive(Clone, Copy, Debug)]
pub struct InUci {
    /// Its name there.
    pub name: &'static str,
    /// Other names it is known by there.
    pub aliases: &'static [&'static str],
    /// What it may be set to.
    pub kind: ValueKind,
    /// What holds when it is absent.
    pub default: Absent,
    /// Whether it is a list.
    pub is_list: bool,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The section it is valid in.
    pub section: SectionKind,
    /// Its name in mlvpn.conf; for an option of UCI alone, its name there.
    pub name: &'static str,
    /// Other names it is known by in mlvpn.conf.
    pub aliases: &'static [&'static str],
    /// What it may be set to.
    pub kind: ValueKind,
    /// What holds when it is absent.
    pub default: Absent,
    /// The unit of its value in mlvpn.conf, or nothing.
    pub unit: &'static str,
    /// When a change takes effect.
    pub takes: Takes,
    /// One line for people.
    pub help: &'static str,
    /// The version that had it first.
    pub since: &'static str,
    /// Whether mlvpn.conf has it.
    pub in_conf: bool,
    /// How UCI has it, if it has.
    pub in_uci: Option<InUci>,
}

/// MLVPN's manual calls 64 packets a good start; that is what `reorder_buffer = yes` means.
pub const REORDER_YES: u32 = 64;

impl OptionSpec {
    /// True when `name` is what mlvpn.conf calls this option, or one of its aliases there.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.in_conf && (self.name == name || self.aliases.contains(&name))
    }

    /// How UCI has it, when `name` is its name there or one of its aliases.
    #[must_use]
    pub fn uci_called(&self, name: &str) -> Option<&InUci> {
        self.in_uci.as_ref().filter(|uci| uci.name == name || uci.aliases.contains(&name))
    }
}

/// The options of mlvpn.conf.
pub fn conf() -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(|spec| spec.in_conf)
}

/// The option that `name` means in a section of this kind of mlvpn.conf.
#[must_use]
pub fn find(section: SectionKind, name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| spec.section == section && spec.is_called(name))
}

/// The option that `name` means in a section of this kind of UCI.
#[must_use]
pub fn find_uci(section: SectionKind, name: &str) -> Option<(&'static OptionSpec, &'static InUci)> {
    let in_section = OPTIONS.iter().filter(|spec| spec.section == section);
    in_section.filter_map(|spec| spec.uci_called(name).map(|uci| (spec, uci))).next()
}

/// True when an option of this name, in any kind of section of mlvpn.conf, holds a key.
#[must_use]
pub fn holds_key(name: &str) -> bool {
    OPTIONS.iter().any(|spec| spec.kind.is_key() && spec.is_called(name))
}

/// The known name closest to `name` in a section of this kind of mlvpn.conf, if one is close enough to be what was meant.
#[must_use]
pub fn nearest(section: SectionKind, name: &str) -> Option<&'static str> {
    let known = conf().filter(|spec| spec.section == section);
    closest(name, known.flat_map(|spec| core::iter::once(&spec.name).chain(spec.aliases)).copied())
}

/// The same for UCI.
#[must_use]
pub fn nearest_uci(section: SectionKind, name: &str) -> Option<&'static str> {
    let known = OPTIONS.iter().filter(|spec| spec.section == section).filter_map(|spec| spec.in_uci.as_ref());
    closest(name, known.flat_map(|uci| core::iter::once(&uci.name).chain(uci.aliases)).copied())
}

/// The one of `known` closest to `name`, if it is close enough to be what was meant.
pub fn closest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // A third of the letters wrong is a typing error; more is another word.
    let (distance, nearest) = known.map(|known| (edit_distance(name, known), known)).min()?;
    (distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Longer names are not typing errors, and the distance costs the product of the lengths.
const MAX_COMPARED_BYTES: usize = 64;

/// How many bytes must be put in, left out or replaced to make one name of the other (Levenshtein); upper case does not
/// count in `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > MAX_COMPARED_BYTES || b.len() > MAX_COMPARED_BYTES {
        return usize::MAX;
    }
    // Distances from what was read of `a` to what precedes each byte of `b`, and in `left` to nothing.
    let mut row = [0_usize; MAX_COMPARED_BYTES];
    for (place, to) in (1..).zip(row.iter_mut()) {
        *to = place;
    }
    let mut left = 0_usize;
    for from in a.bytes().map(|byte| byte.to_ascii_lowercase()) {
        let mut diagonal = left;
        left = left.saturating_add(1);
        let mut before = left;
        for (cell, to) in row.iter_mut().zip(b.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(from != to));
            diagonal = *cell;
            *cell = replaced.min(diagonal.saturating_add(1)).min(before.saturating_add(1));
            before = *cell;
        }
    }
    b.len().checked_sub(1).and_then(|last| row.get(last)).copied().unwrap_or(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Absent::{Number as Is, Text};
    use SectionKind::{General, Link, Peer};
    use std::vec::Vec;

    #[test]
    fn a_name_means_one_option() {
        for spec in OPTIONS {
            let alike = || OPTIONS.iter().filter(|other| other.section == spec.section);
            for name in
                conf().filter(|own| own.name == spec.name).flat_map(|own| std::iter::once(&own.name).chain(own.aliases))
            {
                assert!(alike().filter(|other| other.is_called(name)).count() <= 1, "{name}");
            }
            for name in spec.in_uci.iter().flat_map(|uci| std::iter::once(&uci.name).chain(uci.aliases)) {
                assert_eq!(alike().filter(|other| other.uci_called(name).is_some()).count(), 1, "{name}");
            }
            assert!(!spec.help.is_empty() && spec.help.len() <= 120, "{}", spec.name);
            assert!(spec.in_conf || spec.in_uci.is_some(), "{} is in no file", spec.name);
            assert!(SectionKind::ALL.contains(&spec.section) || !spec.in_conf, "{}", spec.name);
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_option() {
        for (spec, uci) in OPTIONS.iter().filter_map(|spec| spec.in_uci.as_ref().map(|uci| (spec, uci))) {
            match uci.default {
                Text(text) => assert!(crate::value::read(uci.kind, text).is_some(), "{}", spec.name),
                Is(number) => {
                    assert!(crate::value::read(uci.kind, &std::format!("{number}")).is_some(), "{}", spec.name);
                }
                Absent::Required | Absent::RequiredIn(_) | Absent::Unset | Absent::General | Absent::Computed(_) => {}
            }
        }
    }

    #[test]
    fn every_option_of_mlvpn_2_3_5_is_known_with_its_default() {
        let general = "statuscommand interface_name tuntap control_unix_path control_bind_host control_bind_port mode \
            password cleartext_data timeout reorder_buffer_size loss_tolerence latency_tolerence ip4 ip6 ip4_gateway \
            ip6_gateway ip4_routes ip6_routes mtu";
        let link = "bindhost bindport bindfib remotehost remoteport bandwidth_upload timeout loss_tolerence \
            latency_tolerence fallback_only";
        for (kind, names) in [(General, general), (Link, link)] {
            for name in names.split_whitespace() {
                assert_eq!(find(kind, name).map(|spec| spec.name), Some(name));
            }
        }
        let default = |name| find(General, name).unwrap().default;
        assert_eq!(default("interface_name"), Text("mlvpn0"));
        assert_eq!(default("timeout"), Is(60));
        assert_eq!(default("reorder_buffer_size"), Is(0));
        assert_eq!(default("loss_tolerence"), Is(100));
        assert_eq!(default("latency_tolerence"), Is(1000));
    }

    #[test]
    fn what_is_read_at_start_only_is_that_of_2_3_5_and_what_the_protocol_or_a_mark_hangs_on() {
        let start_only: Vec<_> = conf().filter(|spec| spec.takes == Takes::Restart).map(|spec| spec.name).collect();
        let expected = "protocol private_key statuscommand interface_name tuntap offload control_unix_path control_bind_host \
            control_bind_port quota_file setup routing_table";
        assert_eq!(start_only, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn an_alias_finds_its_option() {
        assert_eq!(find(General, "loss_tolerance").unwrap().name, "loss_tolerence");
        assert_eq!(find(Link, "latency_tolerance").unwrap().name, "latency_tolerence");
        assert_eq!(find(Link, "bindif").unwrap().name, "bindinterface");
        assert!(find(Link, "password").is_none());
    }

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let cases = [
            (General, "timout", Some("timeout")),
            (General, "Timeout", Some("timeout")),
            (General, "reorder_bufer_size", Some("reorder_buffer_size")),
            (General, "loss_tolerancy", Some("loss_tolerance")),
            (Link, "remote_host", Some("remotehost")),
            (Link, "bandwith_upload", Some("bandwidth_upload")),
            (Link, "favourite_colour", None),
            (General, "x", None),
            (General, "privatekey", Some("private_key")),
            (Peer, "allowedips", Some("allowed_ips")),
        ];
        for (kind, name, expected) in cases {
            assert_eq!(nearest(kind, name), expected, "{name}");
        }
        assert_eq!(nearest(General, &"t".repeat(100_000)), None);
    }

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("timeout", "timeout"), 0);
    }
}

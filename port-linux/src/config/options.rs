// SPDX-License-Identifier: BSD-2-Clause
//! Every option of mlvpn.conf, once: the reader of values, the reports and the documentation all come from [`OPTIONS`].
//!
//! Names, defaults and the split between options read at start only and options read again on SIGHUP are those of
//! MLVPN 2.3.5, "tolerence" included; the aliases are what people write.

/// Which kind of section an option belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// `[general]`: the tunnel as a whole.
    General,
    /// `[NAME]`: one link, called NAME.
    Link,
    /// `[peer NAME]`: one peer of protocol 2, called NAME.
    Peer,
}

impl SectionKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::General, Self::Link, Self::Peer];

    /// Where options of this kind stand, in words.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::General => "in [general]",
            Self::Link => "in the section of a link",
            Self::Peer => "in the section of a peer",
        }
    }
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
    /// 0 or 1.
    Flag,
    /// A whole number; one outside the range is brought to its nearer end, with a warning.
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
}

impl ValueKind {
    /// True where spaces are part of the value. Everywhere else MLVPN 2.3.5 takes unquoted spaces out, and so do we.
    #[must_use]
    pub const fn keeps_spaces(self) -> bool {
        matches!(self, Self::Path | Self::Routes4 | Self::Routes6 | Self::Networks)
    }

    /// True where the value is base64, which may end in `=` without quotes: no file of MLVPN 2.3.5 has such options.
    #[must_use]
    pub const fn is_key(self) -> bool {
        matches!(self, Self::PrivateKey | Self::PublicKey | Self::SharedSecret)
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
    /// The value `[general]` has for the option of the same name.
    General,
    /// mlvpn works it out, as described.
    Computed(&'static str),
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// On SIGHUP.
    Reload,
    /// When mlvpn is started again.
    Restart,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The section it is valid in.
    pub section: SectionKind,
    /// Its name in the file.
    pub name: &'static str,
    /// Other names it is known by.
    pub aliases: &'static [&'static str],
    /// What it may be set to.
    pub kind: ValueKind,
    /// What holds when it is absent.
    pub default: Absent,
    /// The unit of its value, or nothing.
    pub unit: &'static str,
    /// When a change takes effect.
    pub takes: Takes,
    /// One line for people.
    pub help: &'static str,
}

/// MLVPN's manual calls 64 packets a good start; that is what `reorder_buffer = yes` means.
pub(crate) const REORDER_YES: u32 = 64;
/// `atoi` on every machine MLVPN runs on ends here; no count of seconds or bytes per second we know is larger.
const ATOI_MAX: u32 = i32::MAX.unsigned_abs();

use Absent::{Computed, General as Inherited, Number as Is, Required, RequiredIn, Text, Unset};
use SectionKind::{General, Link, Peer};
use ValueKind as V;

/// The table.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    option(General, "mode", V::Mode, Required, "Who calls whom: a client connects to the server, a server waits"),
    option(General, "protocol", V::Protocol, Text("classic"), "2 between two ends of this program; classic: MLVPN 2.3's")
        .start_only(),
    option(General, "private_key", V::PrivateKey, Unset, "This end's key, from `mlvpn keygen` (protocol 2)").start_only(),
    option(General, "password", V::Password, RequiredIn("classic"), "Shared secret; the same on both sides (classic)"),
    option(General, "statuscommand", V::Path, Unset, "Script run when device or link goes up or down").start_only(),
    option(General, "interface_name", V::Interface, Text("mlvpn0"), "Name of the tunnel's device").start_only(),
    option(General, "tuntap", V::Device, Text("tun"), "tun carries IP packets, tap Ethernet frames").start_only(),
    option(General, "control_unix_path", V::Path, Unset, "UNIX socket of the status interface").start_only(),
    option(General, "control_bind_host", V::Host, Unset, "Address the HTTP status interface listens on").start_only(),
    option(General, "control_bind_port", V::Port, Unset, "Port the HTTP status interface listens on").start_only(),
    option(General, "cleartext_data", V::Flag, Is(0), "1: carry data unencrypted; the same on both sides (classic)"),
    option(General, "timeout", V::Number { min: 2, max: ATOI_MAX }, Is(60), "A link silent for this long is down")
        .unit("seconds"),
    option(General, "reorder_buffer_size", V::Number { min: 0, max: 65_536 }, Is(0),
        "Packets held back to restore their order; 0: deliver as they come; with protocol 2 absent means 64").unit("packets"),
    option(General, "reorder_buffer", V::Switch { stands_for: "reorder_buffer_size", yes: REORDER_YES }, Unset,
        "yes: reorder_buffer_size = 64; no: reorder_buffer_size = 0"),
    option(General, "loss_tolerence", V::Number { min: 0, max: 100 }, Is(100),
        "A link losing this much is left out while a better one is up; 100: never").unit("percent")
        .aliases(&["loss_tolerance"]),
    option(General, "latency_tolerence", V::Number { min: 0, max: ATOI_MAX }, Is(1000),
        "A link with a longer round trip is left out while a better one is up").unit("milliseconds")
        .aliases(&["latency_tolerance"]),
    option(General, "ip4", V::Address4, Unset, "IPv4 address of this end, as ADDRESS/PREFIX"),
    option(General, "ip6", V::Address6, Unset, "IPv6 address of this end, as ADDRESS/PREFIX"),
    option(General, "ip4_gateway", V::Gateway4, Unset, "IPv4 address of the other end"),
    option(General, "ip6_gateway", V::Gateway6, Unset, "IPv6 address of the other end"),
    option(General, "ip4_routes", V::Routes4, Unset, "IPv4 networks reached through the tunnel"),
    option(General, "ip6_routes", V::Routes6, Unset, "IPv6 networks reached through the tunnel"),
    option(General, "mtu", V::Number { min: 576, max: 1500 },
        Computed("the largest packet that fits the links unfragmented"), "Largest packet the device takes")
        .unit("bytes"),

    option(Link, "bindhost", V::Host, Unset, "Local address the link sends from; absent: the system chooses"),
    option(Link, "bindport", V::Port, RequiredIn("server"), "Local UDP port"),
    option(Link, "bindinterface", V::Interface, Unset,
        "Interface the link is bound to whatever the routing table says (SO_BINDTODEVICE; not in MLVPN 2.3.5)")
        .aliases(&["bindif", "interface"]),
    option(Link, "bindfib", V::Number { min: 0, max: ATOI_MAX }, Is(0), "Routing table on BSD; has no effect on Linux"),
    option(Link, "remotehost", V::Host, RequiredIn("classic client"),
        "Name or address of the server; with protocol 2 used instead of the peer's"),
    option(Link, "remoteport", V::Port, RequiredIn("classic client"),
        "UDP port of the server; with protocol 2 used instead of the peer's"),
    option(Link, "bandwidth_upload", V::Number { min: 0, max: u32::MAX }, Is(0),
        "What the link can send; sets its share of the traffic; 0: not known").unit("bytes per second"),
    option(Link, "timeout", V::Number { min: 2, max: ATOI_MAX }, Inherited, "Silent for this long, the link is down")
        .unit("seconds"),
    option(Link, "loss_tolerence", V::Number { min: 0, max: 100 }, Inherited,
        "Losing this much, the link is left out while a better one is up; 100: never").unit("percent")
        .aliases(&["loss_tolerance"]),
    option(Link, "latency_tolerence", V::Number { min: 0, max: ATOI_MAX }, Inherited,
        "With a longer round trip the link is left out while a better one is up").unit("milliseconds")
        .aliases(&["latency_tolerance"]),
    option(Link, "fallback_only", V::Flag, Is(0), "1: used only while every other link is down"),

    option(Peer, "public_key", V::PublicKey, Unset, "The peer's key, from `mlvpn pubkey` there"),
    option(Peer, "secret", V::SharedSecret, Unset,
        "From `mlvpn gensecret`, the same on both sides: besides the keys, or instead of them"),
    option(Peer, "password", V::Password, Unset,
        "Of the one peer of a server that still speaks the classic protocol: its password, instead of keys"),
    option(Peer, "remotehost", V::Host, RequiredIn("client"),
        "Name or address of the server; of several peers the first that answers is used"),
    option(Peer, "remoteport", V::Port, RequiredIn("client"), "UDP port of the server"),
    option(Peer, "allowed_ips", V::Networks, RequiredIn("server with several peers"),
        "Networks the peer may send from and that are routed to it"),
];

const fn option(
    section: SectionKind,
    name: &'static str,
    kind: ValueKind,
    default: Absent,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { section, name, aliases: &[], kind, default, unit: "", takes: Takes::Reload, help }
}

impl OptionSpec {
    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    const fn start_only(mut self) -> Self {
        self.takes = Takes::Restart;
        self
    }

    /// True when `name` is this option's name or one of its aliases.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// The option that `name` means in a section of this kind.
#[must_use]
pub fn find(section: SectionKind, name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|spec| spec.section == section && spec.is_called(name))
}

/// True when an option of this name, in any kind of section, holds a key.
#[must_use]
pub fn holds_key(name: &str) -> bool {
    OPTIONS.iter().any(|spec| spec.kind.is_key() && spec.is_called(name))
}

/// The known name closest to `name` in a section of this kind, if one is close enough to be what was meant.
#[must_use]
pub fn nearest(section: SectionKind, name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let known = OPTIONS.iter().filter(|spec| spec.section == section);
    let spelled = known.flat_map(|spec| std::iter::once(&spec.name).chain(spec.aliases));
    // A third of the letters wrong is a typing error; more is another word.
    let (distance, nearest) = spelled.map(|known| (edit_distance(&name, known), *known)).min()?;
    (distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Longer names are not typing errors, and the distance costs the product of the lengths.
const MAX_COMPARED_BYTES: usize = 64;

/// How many bytes must be put in, left out or replaced to make one name of the other (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > MAX_COMPARED_BYTES {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_option() {
        for spec in OPTIONS {
            for name in std::iter::once(&spec.name).chain(spec.aliases) {
                let meant = OPTIONS.iter().filter(|other| other.section == spec.section && other.is_called(name));
                assert_eq!(meant.count(), 1, "{name}");
            }
            assert!(!spec.help.is_empty() && spec.help.len() <= 120, "{}", spec.name);
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
    fn what_is_read_at_start_only_is_that_of_2_3_5_and_what_the_protocol_hangs_on() {
        let start_only: Vec<_> =
            OPTIONS.iter().filter(|spec| spec.takes == Takes::Restart).map(|spec| spec.name).collect();
        let expected = "protocol private_key statuscommand interface_name tuntap control_unix_path control_bind_host control_bind_port";
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

// SPDX-License-Identifier: BSD-2-Clause
//! The commands for a running daemon, and `bench`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::{flag, value, with_value};
use crate::console::{Action, BenchOptions, Live, Place, link_command, link_words, tunnel_change, tunnel_words};
use crate::daemon::{self, NewPeer};

/// A figure of less is chance.
const MIN_BENCH_MILLIS: i64 = 50;
/// Ten seconds for each of some dozen figures is more than anyone waits.
const MAX_BENCH_MILLIS: i64 = 10_000;
const USUAL_BENCH_MILLIS: u32 = 500;

pub(super) fn commands() -> Vec<Command> {
    let words = |known: Vec<&'static str>, help: &'static str| {
        let word = Arg::new("WORD").num_args(1..).required(true).allow_hyphen_values(false);
        word.value_parser(Words(known)).hide_possible_values(true).help(help)
    };
    let name = |help: &'static str| Arg::new("NAME").required(true).help(help);
    vec![
        Command::new("show")
            .about("Show the tunnels that run here, their links and their peers")
            .args([flag("json").help("For programs"), flag("watch").help("Show them anew every second")])
            .args(places()),
        Command::new("list").about("List the tunnels that run here").args(places()),
        Command::new("link")
            .about("Use a link of a running tunnel otherwise, until it is told again or leaves the configuration")
            .arg(name("The link's section in the configuration"))
            .arg(words(
                link_words().collect(),
                "up (as configured), down or backup (only while no other is); rate 10mbit, timeout 10s, loss 20 (percent), \
                 latency 300ms; on a client of protocol 2 also download 40mbit, tier 2, weight 30 (0: none in particular), \
                 metered yes, quota_day_soft, quota_day_hard, quota_month_soft or quota_month_hard 20GB (or none)",
            ))
            .args(places()),
        Command::new("set")
            .about("Change a tolerance of every link of a running tunnel, until it ends")
            .arg(words(tunnel_words().collect(), "timeout 10s, loss 20 (percent), latency 300ms"))
            .args(places()),
        peer_command(name),
        Command::new("reload").about("Have a running tunnel read its configuration again").args(places()),
        bench_command(),
        Command::new("version").about("Print the version"),
    ]
}

/// Words of which some are known, for the completions, and others are values.
#[derive(Clone)]
struct Words(Vec<&'static str>);

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|word| PossibleValue::new(*word))))
    }
}

fn peer_command(name: impl Fn(&'static str) -> Arg) -> Command {
    Command::new("peer")
        .about("Show the peers of a running tunnel; admit one to a server or part with it, until the server ends")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            Command::new("show")
                .about("Show the peers, or one")
                .arg(name("What the configuration calls it").required(false))
                .arg(flag("json").help("For programs"))
                .args(places()),
            Command::new("add")
                .about(
                    "Admit a peer to a server of protocol 2 until that ends, and print the section of the configuration \
                     that keeps it. Networks outside of ip4, ip6 and remote_networks are named: the daemon routes only \
                     what its configuration says. A peer without a public key stands in the file",
                )
                .arg(name("What to call it"))
                .args([
                    with_value("public-key", "KEY", value_parser!(String))
                        .required(true)
                        .help("Its key, from `mlvpn pubkey` there"),
                    with_value("secret-file", "FILE", value_parser!(PathBuf))
                        .help("File of mode 0600 with the secret both know besides the keys"),
                    with_value("allowed-ips", "NETWORKS", value_parser!(String))
                        .help("Networks it may send from and that are sent to it, separated by commas"),
                ])
                .args(places()),
            Command::new("remove")
                .about("Part with a peer of a server of protocol 2")
                .arg(name("What the configuration calls it"))
                .args(places()),
        ])
}

fn bench_command() -> Command {
    let millis = value_parser!(u32).range(MIN_BENCH_MILLIS..=MAX_BENCH_MILLIS);
    Command::new("bench").about("Measure what this machine can seal, open and carry").args([
        with_value("millis", "N", millis.into()).help("How long each figure takes, 50 to 10000 [default: 500]"),
        flag("json").help("For programs"),
    ])
}

/// Which of several daemons.
fn places() -> [Arg; 2] {
    [
        with_value("tunnel", "NAME", value_parser!(String)).help("The tunnel with this device, like mlvpn0"),
        with_value("socket", "PATH", value_parser!(PathBuf))
            .help("The tunnel that listens there, its control_unix_path"),
    ]
}

/// What a subcommand of these asks for; `config` is the configuration's file, if one was named. None when it is not one of
/// these.
pub(super) fn read(command: &str, matches: &ArgMatches, config: Option<PathBuf>) -> Option<Result<Live, String>> {
    let action = match command {
        "show" => Ok(Action::Show { json: matches.get_flag("json"), watch: matches.get_flag("watch") }),
        "list" => Ok(Action::List),
        "link" => {
            let name: String = value(matches, "NAME").unwrap_or_default();
            link_command(&name, &words(matches)).map(|command| Action::Change(daemon::Command::Link(command)))
        }
        "set" => tunnel_change(&words(matches)).map(|change| Action::Change(daemon::Command::Set(change))),
        "reload" => Ok(Action::Change(daemon::Command::Reload {})),
        "peer" => {
            let (command, matches) = matches.subcommand()?;
            return Some(Ok(Live { place: place(matches, config), action: peer_action(command, matches) }));
        }
        _ => return None,
    };
    Some(action.map(|action| Live { place: place(matches, config), action }).map_err(|why| why.to_string()))
}

fn peer_action(command: &str, matches: &ArgMatches) -> Action {
    let name: Option<String> = value(matches, "NAME");
    match command {
        "add" => {
            let networks: String = value(matches, "allowed-ips").unwrap_or_default();
            let networks = networks.split([',', ' ']).filter(|word| !word.is_empty());
            Action::AddPeer {
                peer: NewPeer {
                    name: name.unwrap_or_default(),
                    public_key: value(matches, "public-key").unwrap_or_default(),
                    secret: None,
                    allowed_ips: networks.map(str::to_owned).collect(),
                },
                secret_file: value(matches, "secret-file"),
            }
        }
        "remove" => Action::Change(daemon::Command::RemovePeer { name: name.unwrap_or_default() }),
        _ => Action::ShowPeers { name, json: matches.get_flag("json") },
    }
}

fn place(matches: &ArgMatches, config: Option<PathBuf>) -> Place {
    Place { socket: value(matches, "socket"), tunnel: value(matches, "tunnel"), config, folder: None }
}

fn words(matches: &ArgMatches) -> Vec<String> {
    matches.get_many("WORD").into_iter().flatten().cloned().collect()
}

pub(super) fn bench(matches: &ArgMatches) -> BenchOptions {
    let millis = value(matches, "millis").unwrap_or(USUAL_BENCH_MILLIS);
    BenchOptions { millis, json: matches.get_flag("json") }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The command line: that of MLVPN 2.3.5, and subcommands. Manual page and completions are made of it, too.

mod live;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::console::{BenchOptions, Live};
use crate::daemon::RunOptions;
use crate::keys::KeyCommand;

/// Where the configuration is when nobody says.
const DEFAULT_CONFIG: &str = "mlvpn.conf";
/// Whom root becomes when nobody says.
const DEFAULT_USER: &str = "mlvpn";
/// In less TCP does not find its speed on any link, and the figures mean nothing.
const MIN_DEMO_SECONDS: i64 = 5;
/// An hour of demonstration is more than anyone watches.
const MAX_DEMO_SECONDS: i64 = 3600;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run the tunnel.
    Run(RunOptions),
    /// Say what is wrong with a configuration.
    Check {
        /// The configuration's file.
        path: PathBuf,
    },
    /// Say a configuration in the other form, on standard output.
    Convert {
        /// The configuration's file, mlvpn.conf or OpenWrt's.
        path: PathBuf,
        /// `--tunnel`: which of several.
        tunnel: Option<String>,
    },
    /// Show a tunnel at work.
    Demo(DemoOptions),
    /// Make a key or derive one, on standard output.
    Keys(KeyCommand),
    /// Ask a running daemon.
    Live(Live),
    /// Measure what this machine can do.
    Bench(BenchOptions),
    /// Print this to standard output and exit with 0: the help or the version.
    Print(String),
}

/// How to show a tunnel at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// `--kernel`: real devices and kernel TCP in network namespaces.
    pub kernel: bool,
    /// `--links`: the emulated links as written, like `40mbit/10ms,10mbit/40ms/1%`.
    pub links: Option<String>,
    /// `--seconds`: how long, 5 to 3600.
    pub seconds: Option<u32>,
    /// `--json`: figures for programs.
    pub json: bool,
    /// `--svg`: where to draw throughput over time.
    pub svg: Option<PathBuf>,
}

/// A command line that means nothing. Displayed as what is wrong and the usage, for standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// What the process exits with, as MLVPN 2.3.5 does.
    pub const EXIT_CODE: u8 = 2;
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads a command line, the program's name first.
///
/// # Errors
/// When it has an option, an argument or a value that is none.
pub fn parse<I, T>(args: I) -> Result<Invocation, UsageError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut command = command();
    match command.try_get_matches_from_mut(args) {
        Ok(matches) => {
            invocation(&matches).map_err(|why| UsageError(format!("error: {why}\n\n{}\n", command.render_usage())))
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Invocation::Print(error.to_string()))
        }
        Err(error) => {
            let mut text = error.to_string();
            if !text.contains("Usage:") {
                text = format!("{}\n\n{}\n", text.trim_end(), command.render_usage());
            }
            Err(UsageError(text))
        }
    }
}

fn invocation(matches: &ArgMatches) -> Result<Invocation, String> {
    let given = matches.subcommand().and_then(|(name, of)| live::read(name, of, value(matches, "config")));
    if let Some(live) = given {
        return live.map(Invocation::Live);
    }
    Ok(match matches.subcommand() {
        Some(("bench", matches)) => Invocation::Bench(live::bench(matches)),
        Some(("version", _)) => Invocation::Print(version()),
        Some(("check", matches)) => Invocation::Check { path: value(matches, "FILE").unwrap_or_default() },
        Some(("convert", matches)) => {
            Invocation::Convert { path: value(matches, "FILE").unwrap_or_default(), tunnel: value(matches, "tunnel") }
        }
        Some(("demo", matches)) => Invocation::Demo(DemoOptions {
            kernel: matches.get_flag("kernel"),
            links: value(matches, "links"),
            seconds: value(matches, "seconds"),
            json: matches.get_flag("json"),
            svg: value(matches, "svg"),
        }),
        Some(("keygen", _)) => Invocation::Keys(KeyCommand::Keygen),
        Some(("pubkey", _)) => Invocation::Keys(KeyCommand::Pubkey),
        Some(("gensecret", _)) => Invocation::Keys(KeyCommand::Gensecret),
        _ if matches.get_flag("version") => Invocation::Print(version()),
        _ => Invocation::Run(run_options(matches)),
    })
}

fn run_options(matches: &ArgMatches) -> RunOptions {
    let debug_tokens: Vec<String> = matches.get_many("debug-token").into_iter().flatten().cloned().collect();
    RunOptions {
        config: value(matches, "config").unwrap_or_else(|| DEFAULT_CONFIG.into()),
        debug: matches.get_flag("debug") || !debug_tokens.is_empty(),
        debug_tokens,
        natural_title: matches.get_flag("natural-title"),
        name: value(matches, "name"),
        user: value(matches, "user").unwrap_or_else(|| DEFAULT_USER.to_owned()),
        verbosity: i32::from(matches.get_count("verbose")) - i32::from(matches.get_count("quiet")),
        run_as_root: matches.get_flag("yes-run-as-root"),
    }
}

fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_one(name).cloned()
}

fn version() -> String {
    format!("mlvpn version {}.\n", env!("CARGO_PKG_VERSION"))
}

/// The definition itself, for whoever makes a manual page or completions of it.
#[must_use]
pub fn command() -> Command {
    Command::new("mlvpn")
        .about("Bonds several internet links into one sealed tunnel")
        .after_help("SIGHUP reads the configuration again; INT, QUIT and TERM end the tunnel.")
        // As getopt_long has it: long options may be cut short, and the last of a kind counts.
        .infer_long_args(true)
        .args_override_self(true)
        .disable_help_subcommand(true)
        .args_conflicts_with_subcommands(false)
        .args(run_args())
        .subcommand(check_command())
        .subcommand(convert_command())
        .subcommand(demo_command())
        .subcommands(key_commands())
        .subcommands(live::commands())
}

fn run_args() -> [Arg; 10] {
    [
        with_value("config", "PATH", value_parser!(PathBuf))
            .short('c')
            .help("Configuration file, mode 0600 [default: mlvpn.conf]"),
        flag("debug").help("Log to standard error instead of syslog"),
        Arg::new("debug-token")
            .short('D')
            .value_name("TOKEN")
            .action(ArgAction::Append)
            .help("Log only what TOKEN says, to standard error; may be repeated"),
        flag("natural-title").help("Leave the process title alone"),
        with_value("name", "NAME", value_parser!(String)).short('n').help("Put NAME in the process title"),
        with_value("user", "USER", value_parser!(String))
            .short('u')
            .help("Become USER when started as root [default: mlvpn]"),
        flag("verbose").short('v').action(ArgAction::Count).help("Say more; may be repeated"),
        flag("quiet").short('q').action(ArgAction::Count).help("Say less; may be repeated"),
        flag("version").short('V').help("Print the version"),
        flag("yes-run-as-root").help("Stay root (not advised)"),
    ]
}

fn check_command() -> Command {
    let file = Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help("Configuration file");
    Command::new("check").about("Say what is wrong with a configuration, without running it").arg(file)
}

fn convert_command() -> Command {
    let file =
        Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help("mlvpn.conf, or OpenWrt's file");
    let tunnel = with_value("tunnel", "NAME", value_parser!(String)).help("Which of several tunnels of OpenWrt's file");
    Command::new("convert")
        .about("Print mlvpn.conf as OpenWrt's /etc/config/mlvpn, or that as mlvpn.conf")
        .args([file, tunnel])
}

fn demo_command() -> Command {
    let seconds = value_parser!(u32).range(MIN_DEMO_SECONDS..=MAX_DEMO_SECONDS);
    Command::new("demo").about("Show a tunnel over emulated links at work").args_override_self(true).args([
        flag("kernel").help("Use real devices and kernel TCP in network namespaces"),
        with_value("links", "SPEC", value_parser!(String))
            .help("Rate, delay and loss of each link, as 40mbit/10ms,10mbit/40ms/1%"),
        with_value("seconds", "N", seconds.into()).help("How long to run, 5 to 3600 [default: 26]"),
        flag("json").help("Print the figures as JSON"),
        with_value("svg", "FILE", value_parser!(PathBuf)).help("Draw throughput over time to FILE"),
    ])
}

fn key_commands() -> [Command; 3] {
    [
        Command::new("keygen").about("Print a new private key, for private_key in the configuration"),
        Command::new("pubkey").about("Read a private key and print its public key, for the other end's public_key"),
        Command::new("gensecret").about("Print a new secret, for secret in the configurations of both ends"),
    ]
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn with_value(name: &'static str, placeholder: &'static str, parser: clap::builder::ValueParser) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).value_parser(parser)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Action;
    use crate::daemon;

    fn read(line: &str) -> Result<Invocation, UsageError> {
        parse(std::iter::once("mlvpn").chain(line.split_whitespace()))
    }

    fn run(line: &str) -> RunOptions {
        match read(line) {
            Ok(Invocation::Run(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn defaults() -> RunOptions {
        RunOptions {
            config: "mlvpn.conf".into(),
            debug: false,
            debug_tokens: Vec::new(),
            natural_title: false,
            name: None,
            user: "mlvpn".to_owned(),
            verbosity: 0,
            run_as_root: false,
        }
    }

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn without_options_the_defaults_are_those_of_2_3_5() {
        assert_eq!(run(""), defaults());
    }

    #[test]
    fn every_option_of_2_3_5_is_read() {
        let all = "--config /etc/mlvpn/a.conf --debug -D rtt -Dconfig --natural-title --name a --user nobody --verbose \
            -vv --quiet --yes-run-as-root";
        let expected = RunOptions {
            config: "/etc/mlvpn/a.conf".into(),
            debug: true,
            debug_tokens: vec!["rtt".to_owned(), "config".to_owned()],
            natural_title: true,
            name: Some("a".to_owned()),
            user: "nobody".to_owned(),
            verbosity: 2,
            run_as_root: true,
        };
        assert_eq!(run(all), expected);
        assert_eq!(run("-c x -n y -u z -q"), {
            let (config, name, user) = ("x".into(), Some("y".to_owned()), "z".to_owned());
            RunOptions { config, name, user, verbosity: -1, ..defaults() }
        });
    }

    #[test]
    fn long_options_may_be_cut_short_and_the_last_counts() {
        assert_eq!(run("--conf a --config=b -cc").config, PathBuf::from("c"));
    }

    #[test]
    fn a_debug_token_turns_debugging_on() {
        assert!(run("-D rtt").debug);
    }

    #[test]
    fn version_and_help_are_printed() {
        let version = Invocation::Print(format!("mlvpn version {}.\n", env!("CARGO_PKG_VERSION")));
        for line in ["-V", "--version", "-V -c x", "-vV"] {
            assert_eq!(read(line).unwrap(), version, "{line}");
        }
        for line in ["-h", "--help"] {
            let Ok(Invocation::Print(help)) = read(line) else { panic!("{line}") };
            for word in ["--config", "--yes-run-as-root", "check", "demo", "keygen", "pubkey", "gensecret"] {
                assert!(help.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn subcommands_are_read() {
        assert_eq!(read("check a.conf").unwrap(), Invocation::Check { path: "a.conf".into() });
        assert_eq!(read("-v check a.conf").unwrap(), Invocation::Check { path: "a.conf".into() });
        for (line, command) in
            [("keygen", KeyCommand::Keygen), ("pubkey", KeyCommand::Pubkey), ("gensecret", KeyCommand::Gensecret)]
        {
            assert_eq!(read(line).unwrap(), Invocation::Keys(command));
        }
        let demo = DemoOptions { kernel: false, links: None, seconds: None, json: false, svg: None };
        assert_eq!(read("demo").unwrap(), Invocation::Demo(demo));
        let demo = DemoOptions {
            kernel: true,
            links: Some("40mbit/10ms,10mbit/40ms/1%".to_owned()),
            seconds: Some(8),
            json: true,
            svg: Some("a.svg".into()),
        };
        let line = "demo --kernel --links 40mbit/10ms,10mbit/40ms/1% --seconds 8 --json --svg a.svg";
        assert_eq!(read(line).unwrap(), Invocation::Demo(demo));
    }

    #[test]
    fn commands_for_a_running_daemon_are_read() {
        let Ok(Invocation::Live(live)) = read("-c a.conf show --json --tunnel mlvpn1") else { panic!() };
        assert_eq!(live.action, Action::Show { json: true, watch: false });
        assert_eq!((live.place.tunnel.as_deref(), live.place.config), (Some("mlvpn1"), Some("a.conf".into())));
        let Ok(Invocation::Live(live)) = read("link dsl backup rate 10mbit --socket /s") else { panic!() };
        assert_eq!(live.place.socket, Some("/s".into()));
        let Action::Change(daemon::Command::Link(link)) = live.action else { panic!() };
        assert_eq!((link.name.as_str(), link.rate), ("dsl", Some(1_250_000)));
        let Ok(Invocation::Live(live)) = read("peer add home --public-key k --allowed-ips 10.0.0.0/24,fd00::/64")
        else {
            panic!()
        };
        let Action::AddPeer { peer, secret_file: None } = live.action else { panic!() };
        assert_eq!((peer.name.as_str(), peer.allowed_ips.len()), ("home", 2));
        for line in
            ["peer show", "peer show home --json", "peer remove home", "set timeout 5s loss 20", "list", "reload"]
        {
            assert!(matches!(read(line), Ok(Invocation::Live(_))), "{line}");
        }
        assert_eq!(read("bench --millis 100").unwrap(), Invocation::Bench(BenchOptions { millis: 100, json: false }));
        assert_eq!(read("version").unwrap(), read("--version").unwrap());
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for (line, message) in [
            ("link dsl", "WORD"),
            ("link dsl sideways", "\"sideways\" is not one of up, down, backup"),
            ("set rate 10mbit", "mlvpn link NAME rate"),
            ("peer", "subcommand"),
            ("peer add home", "--public-key"),
            ("--nonsense", "unexpected argument '--nonsense'"),
            ("-z", "unexpected argument '-z'"),
            ("-c", "a value is required"),
            ("nonsense", "nonsense"),
            ("check", "FILE"),
            ("keygen x", "unexpected argument 'x'"),
            ("demo --seconds 0", "0 is not in 5..=3600"),
            ("demo --seconds 4", "4 is not in 5..=3600"),
            ("demo --seconds x", "invalid value 'x'"),
            ("demo --config x", "unexpected argument '--config'"),
        ] {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(message), "{line}: {error}");
            assert!(error.contains("Usage: mlvpn"), "{line}: {error}");
        }
    }
}

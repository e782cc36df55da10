// SPDX-License-Identifier: BSD-2-Clause
//! The command line: `mlvpn`'s, without the demo. `/usr/sbin/mlvpn` on OpenWrt is this program, so that what scripts say to
//! MLVPN 2.3.5 is understood here, too.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use mlvpn::daemon::RunOptions;
use mlvpn::keys::KeyCommand;

use crate::bus::SOCKET;

/// Where the configuration is when nobody says.
const DEFAULT_CONFIG: &str = "/etc/config/mlvpn";

/// Whom root becomes when nobody says.
const DEFAULT_USER: &str = "mlvpn";

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run the tunnel.
    Run(RunOptions, Router),
    /// Say what is wrong with a configuration.
    Check(PathBuf, Router),
    /// Make a key or derive one, on standard output.
    Keys(KeyCommand),
    /// Print this to standard output and exit with 0.
    Print(String),
}

/// What only a router is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Where ubusd listens.
    pub socket: PathBuf,
    /// The tunnel to run; the only one when absent.
    pub tunnel: Option<String>,
}

/// A command line that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// What the process exits with, as MLVPN 2.3.5 does.
    pub const EXIT_CODE: u8 = 2;
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mlvpnd: {}; for help: mlvpnd --help", self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

const HELP: &str = "\
Bonds several internet links into one sealed tunnel, with the object mlvpn on ubus

Usage: mlvpnd [OPTIONS]
       mlvpnd check FILE    Say what is wrong with a configuration, without running it
       mlvpnd keygen        Print a new private key
       mlvpnd pubkey        Read a private key and print its public key
       mlvpnd gensecret     Print a new secret for both ends

Options:
  -c, --config PATH         Configuration file, mode 0600: UCI's, or mlvpn.conf's when it is called
                            so [default: /etc/config/mlvpn]
      --tunnel NAME         Run this one of several tunnels of the configuration
      --ubus-socket PATH    Where ubusd listens [default: /var/run/ubus/ubus.sock]
      --debug               Log to standard error instead of syslog
  -D TOKEN                  Log only what TOKEN says, to standard error; may be repeated
      --natural-title       Leave the process title alone
  -n, --name NAME           Put NAME in the process title
  -u, --user USER           Become USER when started as root [default: mlvpn]
  -v, --verbose             Say more; may be repeated
  -q, --quiet               Say less; may be repeated
      --yes-run-as-root     Stay root (not advised)
  -V, --version             Print the version
  -h, --help                Print this

SIGHUP reads the configuration again; INT, QUIT and TERM end the tunnel.
";

/// Reads a command line, the program's name first.
///
/// # Errors
/// When it has an option, an argument or a value that is none.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let mut options = defaults();
    let mut router = Router { socket: SOCKET.into(), tunnel: None };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('c') | Long("config") => options.config = parser.value()?.into(),
            Long("ubus-socket") => router.socket = parser.value()?.into(),
            Long("tunnel") => router.tunnel = Some(parser.value()?.string()?),
            Long("debug") => options.debug = true,
            Short('D') => {
                options.debug = true;
                options.debug_tokens.push(parser.value()?.string()?);
            }
            Long("natural-title") => options.natural_title = true,
            Short('n') | Long("name") => options.name = Some(parser.value()?.string()?),
            Short('u') | Long("user") => options.user = parser.value()?.string()?,
            Short('v') | Long("verbose") => options.verbosity = options.verbosity.saturating_add(1),
            Short('q') | Long("quiet") => options.verbosity = options.verbosity.saturating_sub(1),
            Long("yes-run-as-root") => options.run_as_root = true,
            Short('V') | Long("version") => return Ok(Invocation::Print(version())),
            Short('h') | Long("help") => return Ok(Invocation::Print(HELP.to_owned())),
            Value(command) => return subcommand(&command.string()?, router, &mut parser),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Invocation::Run(options, router))
}

fn subcommand(command: &str, router: Router, parser: &mut lexopt::Parser) -> Result<Invocation, UsageError> {
    let invocation = match command {
        "check" => {
            let path = parser.value().map_err(|_| UsageError("check what? give a file".into()))?;
            Invocation::Check(path.into(), router)
        }
        "keygen" => Invocation::Keys(KeyCommand::Keygen),
        "pubkey" => Invocation::Keys(KeyCommand::Pubkey),
        "gensecret" => Invocation::Keys(KeyCommand::Gensecret),
        _ => return Err(UsageError(format!("there is no command \"{command}\""))),
    };
    match parser.next()? {
        None => Ok(invocation),
        Some(more) => Err(more.unexpected().into()),
    }
}

fn defaults() -> RunOptions {
    RunOptions {
        config: DEFAULT_CONFIG.into(),
        debug: false,
        debug_tokens: Vec::new(),
        natural_title: false,
        name: None,
        user: DEFAULT_USER.to_owned(),
        verbosity: 0,
        run_as_root: false,
    }
}

fn version() -> String {
    format!("mlvpn version {}.\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(socket: &str, tunnel: Option<&str>) -> Router {
        Router { socket: socket.into(), tunnel: tunnel.map(str::to_owned) }
    }

    fn read(line: &str) -> Result<Invocation, UsageError> {
        parse(std::iter::once("mlvpnd").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn without_options_openwrts_places_are_used() {
        assert_eq!(read(""), Ok(Invocation::Run(defaults(), router(SOCKET, None))));
    }

    #[test]
    fn every_option_is_read() {
        let line = "--config /a -D rtt -Dnet --natural-title --name n --user u -vvq --yes-run-as-root --ubus-socket=/s --tunnel t";
        let expected = RunOptions {
            config: "/a".into(),
            debug: true,
            debug_tokens: vec!["rtt".to_owned(), "net".to_owned()],
            natural_title: true,
            name: Some("n".to_owned()),
            user: "u".to_owned(),
            verbosity: 1,
            run_as_root: true,
        };
        assert_eq!(read(line), Ok(Invocation::Run(expected, router("/s", Some("t")))));
        let Ok(Invocation::Run(options, _)) = read("-c x -nz --verbose --quiet --quiet --debug") else { panic!() };
        assert_eq!(
            (options.config, options.name, options.verbosity, options.debug),
            ("x".into(), Some("z".into()), -1, true)
        );
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(read("check a.conf"), Ok(Invocation::Check("a.conf".into(), router(SOCKET, None))));
        assert_eq!(read("keygen"), Ok(Invocation::Keys(KeyCommand::Keygen)));
        assert_eq!(read("pubkey"), Ok(Invocation::Keys(KeyCommand::Pubkey)));
        assert_eq!(read("gensecret"), Ok(Invocation::Keys(KeyCommand::Gensecret)));
        let version = format!("mlvpn version {}.\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(read("--version"), Ok(Invocation::Print(version)));
        let Ok(Invocation::Print(help)) = read("-h") else { panic!() };
        assert!(help.contains(DEFAULT_CONFIG) && help.contains(SOCKET));
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for (line, message) in [
            ("--nonsense", "--nonsense"),
            ("-z", "-z"),
            ("-c", "missing argument"),
            ("nonsense", "no command \"nonsense\""),
            ("check", "give a file"),
            ("keygen more", "more"),
            ("--debug=yes", "yes"),
        ] {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(message) && error.contains("--help"), "{line}: {error}");
        }
    }
}

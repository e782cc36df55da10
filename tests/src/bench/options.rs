// SPDX-License-Identifier: BSD-2-Clause
//! The command line of `bondbench`.

use std::path::PathBuf;
use std::str::FromStr;

use super::plan::{Heading, Mix};
use super::scenario::{SCENARIOS, Scenario, named};
use super::system::System;

/// What to write when asked, or when something is wrong.
pub const USAGE: &str = "\
bondbench: kernel TCP over bonded links, emulated between network namespaces. Needs root.

  --scenario A,B        only these scenarios (--list names them); all but 'ceiling' unless said
  --systems A,B         only these: links (each alone, the reference), proto2, proto2-rates, classic, classic-rates,
                        mlvpn235, glorytun, mqvpn, mqvpn-minrtt, mptcp; all that are found unless said
  --flows A,B           cubic1, cubic8, bbr1; all unless said
  --direction A,B       down, up; both unless said
  --seconds N           seconds that count, 1 to 600; 20 unless said
  --skip-first N        seconds of load before them, 0 to 600; 5 unless said
  --repeats N           how often each is measured, interleaved; 3 unless said
  --out DIR             write runs.jsonl as it goes, and table.md and chart.svg
  --list                name the scenarios and systems, and what is missing here
  --help                this

MLVPN 2.3.5 is named by MLVPN_PEER or found on PATH as mlvpn; glorytun and mqvpn are found on PATH.
";

/// What was asked for.
#[derive(Debug)]
pub enum Request {
    /// To measure.
    Measure(Options),
    /// To name what there is.
    List,
    /// To be told how to ask.
    Help,
}

/// What to measure.
#[derive(Debug)]
pub struct Options {
    /// Over which links.
    pub scenarios: Vec<&'static Scenario>,
    /// With which systems; `None` for all that are found.
    pub systems: Option<Vec<System>>,
    /// Whether each link alone is measured, too.
    pub has_references: bool,
    /// Which flows.
    pub mixes: Vec<Mix>,
    /// Where to.
    pub headings: Vec<Heading>,
    /// Seconds that count.
    pub seconds: u32,
    /// Seconds of load before them.
    pub skip_seconds: u32,
    /// How often.
    pub repeats: u32,
    /// Where to write.
    pub out: Option<PathBuf>,
}

/// More would make the numbers of pings run into each other.
const MOST_SECONDS: u32 = 600;

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: SCENARIOS.iter().collect(),
            systems: None,
            has_references: true,
            mixes: Mix::ALL.to_vec(),
            headings: Heading::ALL.to_vec(),
            seconds: 20,
            skip_seconds: 5,
            repeats: 3,
            out: None,
        }
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// What is wrong with which, for people.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--list" => return Ok(Request::List),
            option => {
                let (option, value) = match option.split_once('=') {
                    Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                    None => (option.to_owned(), arguments.next()),
                };
                options.set(&option, value)?;
            }
        }
    }
    let short = options.scenarios.iter().find(|scenario| options.seconds < scenario.least_seconds());
    match short {
        Some(scenario) => {
            let (name, least) = (scenario.name, scenario.least_seconds());
            Err(format!("--seconds {}: scenario {name} needs at least {least}", options.seconds))
        }
        None => Ok(Request::Measure(options)),
    }
}

impl Options {
    fn set(&mut self, option: &str, value: Option<String>) -> Result<(), String> {
        const KNOWN: [&str; 8] =
            ["--scenario", "--systems", "--flows", "--direction", "--seconds", "--skip-first", "--repeats", "--out"];
        if !KNOWN.contains(&option) {
            return Err(format!("{option}: no such option; there are {}, --list and --help", KNOWN.join(", ")));
        }
        let value = value.ok_or_else(|| format!("{option} needs a value"))?;
        let wrong = |what: &str, expected: &str| format!("{option}: '{what}' is not {expected}");
        match option {
            "--scenario" => {
                self.scenarios = list(&value, named).map_err(|what| wrong(what, "a scenario; see --list"))?
            }
            "--systems" => self.set_systems(&value).map_err(|what| wrong(&what, "a system; see --list"))?,
            "--flows" => self.mixes = read_all(&value).map_err(|what| wrong(what, "cubic1, cubic8 or bbr1"))?,
            "--direction" => self.headings = read_all(&value).map_err(|what| wrong(what, "down or up"))?,
            "--seconds" => self.seconds = number(&value, 1).ok_or_else(|| wrong(&value, "a number from 1 to 600"))?,
            "--skip-first" => {
                self.skip_seconds = number(&value, 0).ok_or_else(|| wrong(&value, "a number from 0 to 600"))?;
            }
            "--repeats" => self.repeats = number(&value, 1).ok_or_else(|| wrong(&value, "a number from 1 to 600"))?,
            _ => self.out = Some(value.into()),
        }
        Ok(())
    }

    fn set_systems(&mut self, value: &str) -> Result<(), String> {
        self.has_references = value.split(',').any(|name| name == "links");
        let rest: Vec<&str> = value.split(',').filter(|name| *name != "links").collect();
        let bond = |name: &&str| name.parse().ok().filter(|system| !matches!(system, System::Link(_)));
        let systems: Result<Vec<System>, String> =
            rest.iter().map(|name| bond(name).ok_or_else(|| (*name).to_owned())).collect();
        self.systems = Some(systems?);
        Ok(())
    }
}

fn read_all<T: FromStr>(value: &str) -> Result<Vec<T>, &str> {
    list(value, |name| name.parse().ok())
}

/// The items of a list with commas, or the first that is none.
fn list<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, &str> {
    value.split(',').map(|name| read(name).ok_or(name)).collect()
}

fn number(value: &str, least: u32) -> Option<u32> {
    value.parse().ok().filter(|number| (least..=MOST_SECONDS).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(line: &str) -> Result<Options, String> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Request::Measure(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let options = measure("").expect("fine");
        assert_eq!(options.scenarios.len(), SCENARIOS.len());
        assert!(options.systems.is_none() && options.has_references);
        assert_eq!((options.mixes.len(), options.headings.len(), options.repeats), (3, 2, 3));
    }

    #[test]
    fn filters_take_lists_and_equals_signs() {
        let line = "--scenario equal,geo --systems=links,proto2,mptcp --flows cubic1 --direction up --seconds 3 \
            --skip-first=0 --repeats 1 --out somewhere";
        let options = measure(line).expect("fine");
        let names: Vec<_> = options.scenarios.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, ["equal", "geo"]);
        assert_eq!(options.systems, Some(vec![System::Protocol2, System::Mptcp]));
        assert!(options.has_references);
        assert_eq!((options.mixes, options.headings), (vec![Mix::Cubic1], vec![Heading::Up]));
        assert_eq!((options.seconds, options.skip_seconds, options.repeats), (3, 0, 1));
        assert_eq!(options.out, Some("somewhere".into()));
        assert!(!measure("--systems proto2").expect("fine").has_references);
    }

    #[test]
    fn a_mistake_is_named_with_its_option() {
        let wrong = |line| measure(line).expect_err("a mistake");
        assert_eq!(wrong("--scenario equal,nowhere"), "--scenario: 'nowhere' is not a scenario; see --list");
        assert_eq!(wrong("--systems proto9"), "--systems: 'proto9' is not a system; see --list");
        assert_eq!(wrong("--systems link1"), "--systems: 'link1' is not a system; see --list");
        assert_eq!(wrong("--flows reno1"), "--flows: 'reno1' is not cubic1, cubic8 or bbr1");
        assert_eq!(wrong("--seconds 0"), "--seconds: '0' is not a number from 1 to 600");
        assert_eq!(wrong("--out"), "--out needs a value");
        assert!(wrong("--speed 9").starts_with("--speed: no such option; there are --scenario"));
        assert_eq!(wrong("--seconds 11 --scenario step"), "--seconds 11: scenario step needs at least 12");
    }
}

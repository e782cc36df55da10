// SPDX-License-Identifier: BSD-2-Clause
//! What stands behind `mlvpn link NAME` and `mlvpn set`: words, as `down` or `rate 10mbit`.

use std::fmt;

use mlvpn_core::words::policy::{MAX_TIER, MAX_WEIGHT};
use mlvpn_uci::options::{TimeUnit, ValueKind};
use mlvpn_uci::value::{self, Value};

use crate::daemon::{LinkAction, LinkCommand, PolicyChange, TunnelChange};

/// The words that take a value, with what it is: of every link, and of one link alone. The latter are mlvpn.conf's.
const OF_EVERY_LINK: [(&str, ValueKind); 3] = [
    ("timeout", ValueKind::Duration { unit: TimeUnit::Seconds, min: 2, max: i32::MAX.unsigned_abs() }),
    ("loss", ValueKind::Number { min: 0, max: 100 }),
    ("latency", ValueKind::Duration { unit: TimeUnit::Milliseconds, min: 0, max: i32::MAX.unsigned_abs() }),
];
const OF_A_LINK: [(&str, ValueKind); 9] = [
    ("rate", ValueKind::Rate),
    ("download", ValueKind::Rate),
    ("tier", ValueKind::Number { min: 1, max: MAX_TIER as u32 }),
    ("weight", ValueKind::Number { min: 0, max: MAX_WEIGHT as u32 }),
    ("metered", ValueKind::Flag),
    ("quota_day_soft", ValueKind::Volume),
    ("quota_day_hard", ValueKind::Volume),
    ("quota_month_soft", ValueKind::Volume),
    ("quota_month_hard", ValueKind::Volume),
];

/// What takes a quota away.
const NO_QUOTA: &str = "none";

/// The words behind `mlvpn link NAME`.
pub fn link_words() -> impl Iterator<Item = &'static str> {
    let actions = LinkAction::ALL.into_iter().map(|(word, _)| word);
    actions.chain(OF_A_LINK.into_iter().chain(OF_EVERY_LINK).map(|(word, _)| word))
}

/// The words behind `mlvpn set`.
pub fn tunnel_words() -> impl Iterator<Item = &'static str> {
    OF_EVERY_LINK.into_iter().map(|(word, _)| word)
}

/// Words that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError(String);

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WordError {}

/// What to do with a link.
///
/// # Errors
/// When a word is none, or its value is missing or wrong.
pub fn link_command(name: &str, words: &[String]) -> Result<LinkCommand, WordError> {
    let mut command = LinkCommand { name: name.to_owned(), ..LinkCommand::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(action) = LinkAction::of(word) {
            command.action = Some(action);
            continue;
        }
        let number = number(word, words.next(), &[&OF_A_LINK[..], &OF_EVERY_LINK].concat(), "up, down, backup, ")?;
        if word == "rate" {
            command.rate = u32::try_from(number).ok();
        } else if !put_tolerance(&mut command.tolerances, word, number) {
            put_policy(&mut command.policy, word, number);
        }
    }
    Ok(command)
}

/// What to change of every link.
///
/// # Errors
/// As [`link_command`].
pub fn tunnel_change(words: &[String]) -> Result<TunnelChange, WordError> {
    let mut change = TunnelChange::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if OF_A_LINK.iter().any(|(name, _)| name == word) {
            let here = listed(&OF_EVERY_LINK);
            return Err(WordError(format!("each link has its own {word}: mlvpn link NAME {word} ...; here: {here}")));
        }
        let number = number(word, words.next(), &OF_EVERY_LINK, "")?;
        put_tolerance(&mut change, word, number);
    }
    Ok(change)
}

/// Whether the word is a tolerance, which it has become.
fn put_tolerance(change: &mut TunnelChange, word: &str, number: u64) -> bool {
    match word {
        "timeout" => change.timeout_secs = u32::try_from(number).ok(),
        "loss" => change.loss_tolerance_percent = u8::try_from(number).ok(),
        "latency" => change.latency_tolerance_ms = u32::try_from(number).ok(),
        _ => return false,
    }
    true
}

fn put_policy(change: &mut PolicyChange, word: &str, number: u64) {
    match word {
        "download" => change.download = u32::try_from(number).ok(),
        "tier" => change.tier = u8::try_from(number).ok(),
        "weight" => change.weight = u8::try_from(number).ok(),
        "metered" => change.metered = Some(number != 0),
        "quota_day_soft" => change.quota_day_soft = Some(number),
        "quota_day_hard" => change.quota_day_hard = Some(number),
        "quota_month_soft" => change.quota_month_soft = Some(number),
        _ => change.quota_month_hard = Some(number),
    }
}

fn listed(known: &[(&str, ValueKind)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.split_last().map_or_else(String::new, |(last, rest)| format!("{} or {last}", rest.join(", ")))
}

/// The value behind a word that takes one; `besides` are the words that take none.
fn number(word: &str, value: Option<&String>, known: &[(&str, ValueKind)], besides: &str) -> Result<u64, WordError> {
    let Some((_, kind)) = known.iter().copied().find(|(name, _)| *name == word) else {
        return Err(WordError(format!("\"{word}\" is not one of {besides}{}", listed(known))));
    };
    let or_none = if kind == ValueKind::Volume { ", or none" } else { "" };
    let expected = format!("{}{or_none}", value::Expected(kind));
    let Some(value) = value else { return Err(WordError(format!("{word}: say {expected}"))) };
    let read = match value::read(kind, value) {
        Some(Value::Number(number)) => Some(number.into()),
        Some(Value::Bytes(bytes)) => Some(bytes),
        Some(Value::Flag(flag)) => Some(flag.into()),
        _ if kind == ValueKind::Volume && value == NO_QUOTA => Some(0),
        _ => None,
    };
    read.ok_or_else(|| WordError(format!("{word}: \"{value}\" is not {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_are_read_with_their_units() {
        let command = link_command("dsl", &words("backup rate 10mbit timeout 10s loss 20 latency 300ms")).unwrap();
        let expected = LinkCommand {
            name: "dsl".to_owned(),
            action: Some(LinkAction::Backup),
            rate: Some(1_250_000),
            tolerances: TunnelChange {
                timeout_secs: Some(10),
                loss_tolerance_percent: Some(20),
                latency_tolerance_ms: Some(300),
            },
            policy: PolicyChange::default(),
        };
        assert_eq!(command, expected);
        let change = tunnel_change(&words("timeout 2min")).unwrap();
        assert_eq!(change, TunnelChange { timeout_secs: Some(120), ..TunnelChange::default() });
    }

    #[test]
    fn what_a_link_is_used_for_is_read_in_the_words_of_the_file() {
        let line = "tier 2 weight 30 metered yes download 40mbit quota_day_soft 500MB quota_day_hard 1GB \
                    quota_month_soft none quota_month_hard 20GB";
        let expected = PolicyChange {
            tier: Some(2),
            weight: Some(30),
            metered: Some(true),
            download: Some(5_000_000),
            quota_day_soft: Some(500_000_000),
            quota_day_hard: Some(1_000_000_000),
            quota_month_soft: Some(0),
            quota_month_hard: Some(20_000_000_000),
        };
        assert_eq!(link_command("lte", &words(line)).unwrap().policy, expected);
        let options = mlvpn_uci::options::OPTIONS.iter().map(|option| option.name).collect::<Vec<_>>();
        for (word, _) in OF_A_LINK.iter().filter(|(word, _)| !matches!(*word, "rate" | "download")) {
            assert!(options.contains(word), "{word}");
        }
    }

    #[test]
    fn wrong_words_are_told_with_the_right_ones() {
        for (text, says) in [
            ("sideways", "up, down, backup, rate"),
            ("sideways", "loss or latency"),
            ("tier 0", "1 to 9"),
            ("weight 101", "0 to 100"),
            ("metered perhaps", "0 or 1"),
            ("quota_day_soft 500", "with its unit, like 500MB or 20GB, or none"),
            ("rate", "rate: say a rate with its unit"),
            ("rate fast", "\"fast\" is not a rate"),
            ("rate 100gbit", "\"100gbit\" is not"),
            ("timeout 1s", "at least 2 s"),
            ("loss 101", "0 to 100"),
        ] {
            let error = link_command("dsl", &words(text)).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        for (word, _) in OF_A_LINK {
            let error = tunnel_change(&words(&format!("{word} 1"))).unwrap_err().to_string();
            assert!(error.contains(&format!("mlvpn link NAME {word}")), "{error}");
        }
        assert!(tunnel_change(&words("down")).is_err());
    }
}

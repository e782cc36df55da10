// SPDX-License-Identifier: BSD-2-Clause
//! What stands behind `mlvpn link NAME` and `mlvpn set`: words, as `down` or `rate 10mbit`.

use std::fmt;

use mlvpn_uci::options::{TimeUnit, ValueKind};
use mlvpn_uci::value::{self, Value};

use crate::daemon::{LinkAction, LinkCommand, TunnelChange};

/// The words that take a value, with what it is.
const VALUES: [(&str, ValueKind); 4] = [
    ("rate", ValueKind::Rate),
    ("timeout", ValueKind::Duration { unit: TimeUnit::Seconds, min: 2, max: i32::MAX.unsigned_abs() }),
    ("loss", ValueKind::Number { min: 0, max: 100 }),
    ("latency", ValueKind::Duration { unit: TimeUnit::Milliseconds, min: 0, max: i32::MAX.unsigned_abs() }),
];

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
        let number = number(word, words.next(), "up, down, backup, rate, timeout, loss or latency")?;
        match word.as_str() {
            "rate" => command.rate = Some(number),
            "timeout" => command.timeout_secs = Some(number),
            "loss" => command.loss_tolerance_percent = u8::try_from(number).ok(),
            _ => command.latency_tolerance_ms = Some(number),
        }
    }
    Ok(command)
}

/// What to change of every link.
///
/// # Errors
/// As [`link_command`].
pub fn tunnel_change(words: &[String]) -> Result<TunnelChange, WordError> {
    let known = "timeout, loss or latency";
    let mut change = TunnelChange::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "rate" {
            return Err(WordError(format!("each link has a rate of its own: mlvpn link NAME rate ...; here: {known}")));
        }
        let number = number(word, words.next(), known)?;
        match word.as_str() {
            "timeout" => change.timeout_secs = Some(number),
            "loss" => change.loss_tolerance_percent = u8::try_from(number).ok(),
            _ => change.latency_tolerance_ms = Some(number),
        }
    }
    Ok(change)
}

fn number(word: &str, value: Option<&String>, known: &str) -> Result<u32, WordError> {
    let Some((_, kind)) = VALUES.into_iter().find(|(name, _)| *name == word) else {
        return Err(WordError(format!("\"{word}\" is not one of {known}")));
    };
    let expected = value::Expected(kind);
    let Some(value) = value else { return Err(WordError(format!("{word}: say {expected}"))) };
    let read = match value::read(kind, value) {
        Some(Value::Number(number)) => Some(number),
        Some(Value::Bytes(bytes)) => u32::try_from(bytes).ok(),
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
            timeout_secs: Some(10),
            loss_tolerance_percent: Some(20),
            latency_tolerance_ms: Some(300),
        };
        assert_eq!(command, expected);
        let change = tunnel_change(&words("timeout 2min")).unwrap();
        assert_eq!(change, TunnelChange { timeout_secs: Some(120), ..TunnelChange::default() });
    }

    #[test]
    fn wrong_words_are_told_with_the_right_ones() {
        for (text, says) in [
            ("sideways", "up, down, backup, rate"),
            ("rate", "rate: say a rate with its unit"),
            ("rate fast", "\"fast\" is not a rate"),
            ("rate 100gbit", "\"100gbit\" is not"),
            ("timeout 1s", "at least 2 s"),
            ("loss 101", "0 to 100"),
        ] {
            let error = link_command("dsl", &words(text)).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(tunnel_change(&words("rate 1mbit")).unwrap_err().to_string().contains("mlvpn link NAME rate"));
        assert!(tunnel_change(&words("down")).is_err());
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Reads a section's values by the table of options: what each may be, what holds in its absence, what is said when
//! it is neither.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use mlvpn_uci::policy::MAX_MATCHES;
use mlvpn_uci::value::{self, Expected, Value};
use zeroize::Zeroizing;

use super::addresses::{Routable, parse_cidr};
use super::ini::{Entry, Section};
use super::options::{self, Absent, OPTIONS, OptionSpec, SectionKind, ValueKind};
use super::report::{Report, Reports, Severity};
use super::secret::Secret;
use super::types::{Cidr, Mode};
use crate::device::DeviceKind;
use crate::interface::{InterfaceName, MAX_INTERFACE_NAME_BYTES};

/// A DNS name has at most 253 characters, and 2.3.5 keeps 255.
const MAX_HOST_BYTES: usize = 255;

const WHOLE_NUMBER: &str = "write a whole number without unit or sign";

/// One section while it is being read.
pub(crate) struct SectionReader<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) section: &'a Section,
    pub(crate) kind: SectionKind,
    pub(crate) reports: &'a mut Reports,
}

/// An option that is present: what the table says of it, and where it stands.
pub(crate) type Found<'a> = (&'static OptionSpec, &'a Entry);

impl<'a> SectionReader<'a> {
    /// Reports what the section says in vain: unknown options and repeated ones.
    pub(crate) fn report_unread(&mut self) {
        let mut seen: Vec<(&'static str, u32)> = Vec::new();
        for entry in &self.section.entries {
            let Some(spec) = options::find(self.kind, &entry.key) else {
                let advice = self.advice_for_unknown(&entry.key);
                self.say(Severity::Warning, entry, "unknown option".to_owned(), advice);
                continue;
            };
            if let Some((_, line)) = seen.iter().find(|(name, _)| *name == spec.name) {
                let used = self.find(spec.name).map_or(*line, |(_, used)| used.line);
                let message = format!("given more than once; the value on line {used} counts");
                self.say(Severity::Warning, entry, message, "remove the lines that do not count".to_owned());
            } else {
                seen.push((spec.name, entry.line));
            }
        }
    }

    fn advice_for_unknown(&self, key: &str) -> String {
        let elsewhere = SectionKind::ALL.into_iter().find(|kind| options::find(*kind, key).is_some());
        if let Some(kind) = elsewhere {
            return format!("it belongs {}", kind.place());
        }
        match options::nearest(self.kind, key) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => "remove the line, or start it with '#'".to_owned(),
        }
    }

    /// The entry that counts for an option: the first by its own name, else the first by an alias.
    pub(crate) fn find(&self, name: &str) -> Option<Found<'a>> {
        let spec = spec(self.kind, name);
        let own = self.section.entries.iter().find(|entry| entry.key == spec.name);
        let alias = || self.section.entries.iter().find(|entry| spec.is_called(&entry.key));
        own.or_else(alias).map(|entry| (spec, entry))
    }

    pub(crate) fn say(&mut self, severity: Severity, entry: &Entry, message: String, advice: String) {
        let report = match severity {
            Severity::Error => Report::error(self.file, message, advice),
            Severity::Warning => Report::warning(self.file, message, advice),
        };
        self.reports.push(report.at(entry.line).in_section(&self.section.name).about(&entry.key));
    }

    pub(crate) fn warn(&mut self, entry: &Entry, message: impl Into<String>, advice: impl Into<String>) {
        self.say(Severity::Warning, entry, message.into(), advice.into());
    }

    pub(crate) fn fail(&mut self, entry: &Entry, message: impl Into<String>, advice: impl Into<String>) {
        self.say(Severity::Error, entry, message.into(), advice.into());
    }

    /// Says that an option that must be there is not.
    pub(crate) fn missing(&mut self, name: &str, advice: &str) {
        let report = Report::error(self.file, "not given", advice).at(self.section.line);
        self.reports.push(report.in_section(&self.section.name).about(name));
    }

    /// The value where spaces do not count, as 2.3.5 reads it.
    pub(crate) fn word(&mut self, name: &str) -> Option<(Zeroizing<String>, &'a Entry)> {
        let (spec, entry) = self.find(name)?;
        debug_assert!(!spec.kind.keeps_spaces(), "{name} keeps its spaces");
        let joined = entry.joined();
        if joined.trim_matches('\t') != entry.text().as_str() {
            let message = "the value has spaces outside quotes; they are taken out";
            self.warn(entry, message, "write it without spaces, or in double quotes if they are part of it");
        }
        Some((joined, entry))
    }

    fn trimmed(&mut self, name: &str) -> Option<(String, &'a Entry)> {
        let (word, entry) = self.word(name)?;
        Some((word.trim_matches('\t').to_owned(), entry))
    }

    pub(crate) fn mode(&mut self) -> Option<Mode> {
        let (word, entry) = self.trimmed("mode")?;
        Some(match word.as_str() {
            "server" => Mode::Server,
            "client" => Mode::Client,
            _ => {
                self.warn(entry, "neither \"client\" nor \"server\"; read as \"client\"", "write one of the two");
                Mode::Client
            }
        })
    }

    pub(crate) fn device(&mut self) -> DeviceKind {
        let Some((word, entry)) = self.trimmed("tuntap") else { return DeviceKind::Tun };
        match word.as_str() {
            "tun" => DeviceKind::Tun,
            "tap" => DeviceKind::Tap,
            _ => {
                self.warn(entry, "neither \"tun\" nor \"tap\"; read as \"tap\"", "write one of the two");
                DeviceKind::Tap
            }
        }
    }

    pub(crate) fn password(&mut self) -> Option<Secret> {
        let (word, entry) = self.word("password")?;
        if word.contains('\t') {
            self.warn(entry, "the password has a tab in it", "remove the tab on both sides if it is not meant");
        }
        let secret = Secret::new(word);
        if let Some(weakness) = secret.weakness() {
            let advice = "set the output of `head -c 24 /dev/urandom | base64` on both sides";
            self.warn(entry, format!("the password {weakness}"), advice);
        }
        Some(secret)
    }

    /// A number by the table; an absent or unreadable one is the table's default, or `inherited` if it has none.
    pub(crate) fn number(&mut self, name: &str, inherited: u32) -> u32 {
        self.number_if_given(name).unwrap_or(match spec(self.kind, name).default {
            Absent::Number(number) => number,
            _ => inherited,
        })
    }

    /// A number by the table, if given. Where mlvpn works the number out itself, 0 asks for that.
    pub(crate) fn number_if_given(&mut self, name: &str) -> Option<u32> {
        let spec = spec(self.kind, name);
        let ValueKind::Number { min, max } = spec.kind else { return None };
        let (number, entry) = match self.trimmed(name) {
            Some((word, entry)) => (self.leading_number(&word, entry, WHOLE_NUMBER)?, entry),
            None => self.switch(name)?,
        };
        if number == 0 && matches!(spec.default, Absent::Computed(_)) {
            return None;
        }
        let capped = number.clamp(min, max);
        if capped != number {
            let unit = if spec.unit.is_empty() { String::new() } else { format!(" {}", spec.unit) };
            let advice = format!("give a value from {min} to {max}");
            self.warn(entry, format!("{number} is out of range and taken as {capped}{unit}"), advice);
        }
        Some(capped)
    }

    /// What another option that stands for this one says.
    fn switch(&mut self, name: &str) -> Option<(u32, &'a Entry)> {
        let stands_for = |spec: &&OptionSpec| match spec.kind {
            ValueKind::Switch { stands_for, .. } => spec.section == self.kind && stands_for == name,
            _ => false,
        };
        let switch = OPTIONS.iter().find(stands_for)?;
        let ValueKind::Switch { yes, .. } = switch.kind else { return None };
        let (word, entry) = self.trimmed(switch.name)?;
        let number = match word.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" => yes,
            "no" | "false" | "off" => 0,
            _ => self.leading_number(&word, entry, "write yes or no")?,
        };
        Some((number, entry))
    }

    /// As `atoi` reads: blanks, a sign, digits, and whatever follows does not count.
    fn leading_number(&mut self, word: &str, entry: &Entry, advice: &str) -> Option<u32> {
        let unsigned = word.trim_start().strip_prefix('+').unwrap_or(word.trim_start());
        let negative = unsigned.starts_with('-');
        let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
        let (digits, rest) = unsigned.split_at(end);
        if negative {
            self.fail(entry, "a negative number", advice);
            return None;
        }
        if digits.is_empty() {
            self.warn(entry, "not a number; the line is ignored", advice);
            return None;
        }
        let Ok(number) = digits.parse() else {
            self.fail(entry, "the number is too large", format!("give at most {}", u32::MAX));
            return None;
        };
        if !rest.trim_end().is_empty() {
            self.warn(entry, format!("text after the number is ignored; {number} is used"), advice);
        }
        Some(number)
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// The same for one that is `absent` when it is not given.
    pub(crate) fn flag_or(&mut self, name: &str, absent: bool) -> bool {
        let Some((word, entry)) = self.trimmed(name) else { return absent };
        let number = self.leading_number(&word, entry, "write 0 or 1");
        if number.is_some_and(|number| number > 1) {
            self.warn(entry, "neither 0 nor 1; 1 is used", "write 0 or 1");
        }
        number.map_or(absent, |number| number != 0)
    }

    /// An amount of data in bytes.
    pub(crate) fn volume(&mut self, name: &str) -> Option<u64> {
        let kind = spec(self.kind, name).kind;
        let (word, entry) = self.trimmed(name)?;
        match value::read(kind, &word) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => {
                self.fail(entry, "not an amount of data", format!("give {}", Expected(kind)));
                None
            }
        }
    }

    /// Each word of a list, separated by commas or spaces; one that is no value of its option is an error.
    pub(crate) fn list(&mut self, name: &str, mut take: impl FnMut(Value<'_>) -> bool) {
        let kind = spec(self.kind, name).kind;
        let Some((_, entry)) = self.find(name) else { return };
        let text = entry.text();
        let mut fits = true;
        for (word, number) in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).zip(1u32..) {
            match value::read(kind, word) {
                Some(value) => fits &= take(value),
                None => {
                    let message = format!("value {number} is not one this option can have");
                    self.fail(entry, message, format!("give {}", Expected(kind)));
                }
            }
        }
        if !fits {
            let advice = "join neighbouring ports to ranges, or make it two classes";
            self.fail(entry, format!("more than {MAX_MATCHES} values"), advice);
        }
    }

    /// A port; 0 reads as absent.
    pub(crate) fn port(&mut self, name: &str) -> Option<u16> {
        let (word, entry) = self.trimmed(name)?;
        let digits = word.trim();
        let port = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
        let Some(port) = port else {
            self.fail(entry, "not a port", "give a number from 1 to 65535");
            return None;
        };
        Some(port).filter(|port| *port != 0)
    }

    pub(crate) fn host(&mut self, name: &str) -> Option<String> {
        let (word, entry) = self.trimmed(name)?;
        // `%` for the zone of a link-local address, `_` for names people do use.
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_' | b'%');
        let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&word);
        if bare.is_empty() || bare.len() > MAX_HOST_BYTES || !bare.bytes().all(valid) {
            self.fail(entry, "not a host name or address", "give a name, an IPv4 or an IPv6 address, without a port");
            return None;
        }
        Some(bare.to_owned())
    }

    pub(crate) fn interface(&mut self, name: &str) -> Option<InterfaceName> {
        let spec = spec(self.kind, name);
        let Some((mut word, entry)) = self.trimmed(name) else {
            let Absent::Text(text) = spec.default else { return None };
            return text.parse().ok();
        };
        if word.is_ascii() && word.len() > MAX_INTERFACE_NAME_BYTES {
            word.truncate(MAX_INTERFACE_NAME_BYTES);
            self.warn(entry, "longer than 15 characters; the rest is cut off", "give at most 15 characters");
        }
        // The kernel fills in a pattern only for a device it creates, and only such an option has a default.
        let interface =
            word.parse().ok().filter(|name: &InterfaceName| spec.default != Absent::Unset || !name.is_pattern());
        if interface.is_none() {
            let advice = "give 1 to 15 letters or digits, without spaces, '/', ':' or '%'";
            self.fail(entry, "not the name of a network interface", advice);
        }
        interface
    }

    pub(crate) fn path(&mut self, name: &str) -> Option<PathBuf> {
        let (_, entry) = self.find(name)?;
        let path = PathBuf::from(entry.text().as_str());
        if !path.is_absolute() {
            self.warn(entry, "not an absolute path; it depends on where mlvpn is started", "begin it with '/'");
        }
        Some(path)
    }

    pub(crate) fn address4(&mut self, name: &str) -> Option<Cidr<Ipv4Addr>> {
        let (word, entry) = self.trimmed(name)?;
        self.address(&word, entry, 32)
    }

    pub(crate) fn address6(&mut self, name: &str) -> Option<Cidr<Ipv6Addr>> {
        let (word, entry) = self.trimmed(name)?;
        self.address(&word, entry, 128)
    }

    fn address<A: FromStr>(&mut self, word: &str, entry: &Entry, bits: u8) -> Option<Cidr<A>> {
        let Some((cidr, prefix_given)) = parse_cidr(word, bits) else {
            let version = if bits == 32 { "IPv4" } else { "IPv6" };
            let message = format!("not an {version} address with its prefix length; the line is ignored");
            self.warn(entry, message, "write ADDRESS/PREFIX");
            return None;
        };
        if !prefix_given {
            let advice = "write ADDRESS/PREFIX if the other end is to be in the same network";
            self.warn(entry, format!("no prefix length; /{bits} is used"), advice);
        }
        Some(cidr)
    }

    pub(crate) fn gateway<A: FromStr>(&mut self, name: &str, bits: u8) -> Option<A> {
        let (word, entry) = self.trimmed(name)?;
        let Some((cidr, prefix_given)) = parse_cidr(&word, bits) else {
            let version = if bits == 32 { "IPv4" } else { "IPv6" };
            self.warn(entry, format!("not an {version} address; the line is ignored"), "write the other end's address");
            return None;
        };
        if prefix_given {
            self.warn(entry, "the prefix length is ignored", "write the address alone");
        }
        Some(cidr.address)
    }

    pub(crate) fn routes<A: Routable>(&mut self, name: &str) -> Vec<Cidr<A>> {
        let Some((_, entry)) = self.find(name) else { return Vec::new() };
        let text = entry.text();
        let mut routes = Vec::new();
        for (word, number) in text.split_whitespace().zip(1u32..) {
            let cidr = match word {
                "default" => Some(A::everything()),
                _ => parse_cidr(word, A::ADDRESS_BITS).map(|(cidr, _)| cidr),
            };
            let Some(cidr) = cidr else {
                let advice = "write networks as ADDRESS/PREFIX, separated by spaces";
                self.warn(entry, format!("network {number} is not one and is ignored"), advice);
                continue;
            };
            let network = A::network(cidr);
            if network != cidr {
                let message = format!("network {number} has bits set beyond its prefix length, which Linux refuses");
                self.warn(entry, message, format!("write {network}"));
            }
            routes.push(cidr);
        }
        routes
    }
}

/// The table's line for an option that the code names.
fn spec(kind: SectionKind, name: &str) -> &'static OptionSpec {
    options::find(kind, name).expect("the code reads options of the table only")
}

// SPDX-License-Identifier: BSD-2-Clause
//! What the daemon says, to stderr or the system log, by level and topic.
//!
//! Levels and topics are MLVPN 2.3.5's: warnings and errors always, information from verbosity 2 (the default), the
//! details of topics chosen with `-D` at verbosity 2, all details above. Arguments are formatted only for lines that
//! are written. A secret cannot get here: the types that hold keys and passwords implement neither `Display` nor
//! `Debug` with their contents, and this file has no other way in.

mod syslog;

use crate::{clock, diagnostics, sys};
use mlvpn_core::words::time::{Duration, Instant};
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, RwLock};
use syslog::Syslog;

/// MLVPN 2.3.5's verbosity without `-v` or `-q`: information, no details.
pub const DEFAULT_VERBOSITY: u8 = 2;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The daemon cannot go on, or cannot do what it was asked.
    Error,
    /// Something is wrong, and the daemon goes on.
    Warn,
    /// Something worth knowing happened.
    Info,
    /// A detail for finding faults.
    Debug,
}

macro_rules! topics {
    ($($variant:ident $word:literal $meaning:literal),+ $(,)?) => {
        /// What a line is about: the words `-D` takes, as MLVPN 2.3.5 has them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Topic { $(#[doc = $meaning] $variant),+ }

        impl Topic {
            /// Every topic.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word `-D` takes.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

topics! {
    Config "config" "The configuration file.",
    Control "control" "The control socket.",
    Dns "dns" "Names and addresses of peers.",
    Filters "filters" "Filters that choose a link by packet.",
    Net "net" "Sockets and datagrams.",
    Privsep "privsep" "The monitor, the worker and scripts.",
    Protocol "protocol" "Handshakes, keepalives, state of links.",
    Reorder "reorder" "Putting packets back in order.",
    Rtt "rtt" "Round-trip times and loss.",
    Systemd "systemd" "The service manager.",
    Tuntap "tuntap" "The tunnel's device.",
    Wrr "wrr" "Sharing packets among links.",
}

/// No topic of this name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|topic| topic.word() == text).ok_or(UnknownTopic)
    }
}

impl fmt::Display for UnknownTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such topic; -D takes one of")?;
        Topic::ALL.iter().try_for_each(|topic| write!(f, " {}", topic.word()))
    }
}

impl std::error::Error for UnknownTopic {}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error, with date and level.
    Stderr,
    /// The system log, under the name given to [`init`].
    Syslog,
}

/// Which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// [`DEFAULT_VERBOSITY`], one more per `-v`, one fewer per `-q`.
    pub verbosity: u8,
    /// Bit n set: the details of `Topic::ALL[n]` are wanted.
    topics: u16,
}

impl Filter {
    /// The lines of `verbosity`, and the details of `topics`.
    #[must_use]
    pub fn new(verbosity: u8, topics: &[Topic]) -> Self {
        Self { verbosity, topics: topics.iter().fold(0, |bits, topic| bits | topic.bit()) }
    }

    /// Whether a line is written.
    #[must_use]
    pub const fn accepts(&self, level: Level, topic: Topic) -> bool {
        match level {
            Level::Error | Level::Warn => true,
            Level::Info => self.verbosity >= 2,
            Level::Debug => self.verbosity > 2 || (self.verbosity == 2 && self.topics & topic.bit() != 0),
        }
    }
}

impl Topic {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Until [`init`], everything of the default verbosity goes to stderr.
static LOG: RwLock<(Target, Filter)> =
    RwLock::new((Target::Stderr, Filter { verbosity: DEFAULT_VERBOSITY, topics: 0 }));

/// The system log, once it was chosen.
static SYSLOG: Mutex<Option<Syslog>> = Mutex::new(None);

/// Chooses where lines go and which are written; `name` marks them in the system log. May be called again.
pub fn init(target: Target, filter: Filter, name: &str) {
    if target == Target::Syslog {
        *SYSLOG.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Syslog::open(Path::new(syslog::PATH), &printable(name)));
    }
    *LOG.write().unwrap_or_else(PoisonError::into_inner) = (target, filter);
}

/// Writes one line, if it is wanted; the `log_*` macros read better. A log that cannot be written is not worth dying
/// for: its errors are the one thing that has nowhere to be reported.
pub fn write(level: Level, topic: Topic, line: fmt::Arguments<'_>) {
    let (target, filter) = *LOG.read().unwrap_or_else(PoisonError::into_inner);
    if !filter.accepts(level, topic) {
        return;
    }
    let text = printable(&line.to_string());
    match target {
        Target::Stderr => {
            diagnostics::say_lines(&stderr_line(level, topic, &text, std::io::stderr().is_terminal()));
        }
        Target::Syslog => {
            if let Some(syslog) = &mut *SYSLOG.lock().unwrap_or_else(PoisonError::into_inner) {
                syslog.write(level.priority(), &text);
            }
        }
    }
}

/// One line in MLVPN 2.3.5's form: `2026-01-31T23:59:59[INFO/net] text`.
fn stderr_line(level: Level, topic: Topic, text: &str, is_terminal: bool) -> String {
    let (start, end) = if is_terminal { (level.colour(), "\x1b[0m") } else { ("", "") };
    let [year, month, day, hour, minute, second] = sys::local_time(clock::wall_seconds()).unwrap_or_default();
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    format!("{date} {start}[{}/{}]{end} {text}\n", level.word(), topic.word())
}

/// The text on one line: control characters, which could forge lines or drive a terminal, become `?`.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => " ERR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => " DBG",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warn => "\x1b[1;33m",
            Self::Info => "\x1b[1;34m",
            Self::Debug => "\x1b[1;30m",
        }
    }

    const fn priority(self) -> libc::c_int {
        match self {
            Self::Error => libc::LOG_ERR,
            Self::Warn => libc::LOG_WARNING,
            Self::Info => libc::LOG_INFO,
            Self::Debug => libc::LOG_DEBUG,
        }
    }
}

/// Logs an error: `log_error!(Topic::Tuntap, "cannot ..: {why}")`.
#[macro_export]
macro_rules! log_error {
    ($topic:expr, $($line:tt)+) => { $crate::log::write($crate::log::Level::Error, $topic, format_args!($($line)+)) };
}

/// Logs a warning.
#[macro_export]
macro_rules! log_warn {
    ($topic:expr, $($line:tt)+) => { $crate::log::write($crate::log::Level::Warn, $topic, format_args!($($line)+)) };
}

/// Logs information.
#[macro_export]
macro_rules! log_info {
    ($topic:expr, $($line:tt)+) => { $crate::log::write($crate::log::Level::Info, $topic, format_args!($($line)+)) };
}

/// Logs a detail.
#[macro_export]
macro_rules! log_debug {
    ($topic:expr, $($line:tt)+) => { $crate::log::write($crate::log::Level::Debug, $topic, format_args!($($line)+)) };
}

/// Holds back a line that every packet could cause: one per interval, with the number left out since the last.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    interval: Duration,
    /// When the next line may be written; `None` until the first was.
    free_at: Option<Instant>,
    held_back: u64,
}

impl RateLimit {
    /// At most one line per `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, free_at: None, held_back: 0 }
    }

    /// Asks at `now` to write a line: `Some(n)` to write it, n having been held back since the last; `None` to hold
    /// it back.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.free_at.is_some_and(|free_at| now < free_at) {
            self.held_back = self.held_back.saturating_add(1);
            return None;
        }
        self.free_at = Some(now + self.interval);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_and_topics_choose_lines_as_mlvpn_does() {
        let default = Filter::new(DEFAULT_VERBOSITY, &[]);
        assert!(default.accepts(Level::Info, Topic::Net) && !default.accepts(Level::Debug, Topic::Net));
        let chosen = Filter::new(2, &[Topic::Rtt, Topic::Wrr]);
        assert!(chosen.accepts(Level::Debug, Topic::Wrr) && !chosen.accepts(Level::Debug, Topic::Net));
        let quiet = Filter::new(1, &[Topic::Rtt]);
        assert!(quiet.accepts(Level::Warn, Topic::Rtt) && !quiet.accepts(Level::Info, Topic::Rtt));
        assert!(!quiet.accepts(Level::Debug, Topic::Rtt));
        assert!(Filter::new(3, &[]).accepts(Level::Debug, Topic::Net));
    }

    #[test]
    fn every_topic_is_found_by_its_word_and_others_are_answered_with_the_list() {
        for topic in Topic::ALL {
            assert_eq!(topic.word().parse(), Ok(*topic));
        }
        let unknown = "protocl".parse::<Topic>().expect_err("no topic").to_string();
        assert!(unknown.contains(" protocol") && unknown.contains(" wrr"), "{unknown}");
    }

    #[test]
    fn a_line_cannot_forge_another() {
        assert_eq!(printable("a\nb\x1b[31m"), "a?b?[31m");
        let line = stderr_line(Level::Warn, Topic::Net, "text", false);
        assert!(line.ends_with(" [WARN/net] text\n") && line.as_bytes()[10] == b'T', "{line:?}");
    }

    #[test]
    fn repeated_lines_are_counted_instead_of_written() {
        let mut limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::from_micros(7);
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!((limit.admit(start), limit.admit(start + Duration::from_secs(9))), (None, None));
        assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(2));
        assert_eq!(limit.admit(start + Duration::from_secs(20)), Some(0));
    }
}

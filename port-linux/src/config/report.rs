// SPDX-License-Identifier: BSD-2-Clause
//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

/// More reports of one severity than this help nobody; the limit also bounds the memory a hostile or mistaken file can
/// claim. Each severity has its own, so that warnings do not hide an error.
pub const MAX_REPORTS: usize = 200;
/// A name quoted from the file is cut to this many characters.
const MAX_QUOTED_CHARS: usize = 64;

/// Whether mlvpn can run with what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// mlvpn runs; something in the file does not do what it seems to say.
    Warning,
    /// mlvpn refuses the file.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One finding. It never holds the text of a password, nor of a line that might contain one.
///
/// Displayed as `mlvpn.conf:12: [general] timout: unknown option; did you mean "timeout"?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether mlvpn can go on.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, counted from 1; absent when the finding is about the whole file.
    pub line: Option<u32>,
    /// The section's name.
    pub section: Option<String>,
    /// The option's name as written in the file.
    pub option: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Report {
    /// A finding that stops mlvpn.
    pub fn error(file: &Arc<str>, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Error, file, message.into(), advice.into())
    }

    /// A finding that mlvpn can live with.
    pub fn warning(file: &Arc<str>, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Warning, file, message.into(), advice.into())
    }

    fn new(severity: Severity, file: &Arc<str>, message: String, advice: String) -> Self {
        Self { severity, file: Arc::clone(file), line: None, section: None, option: None, message, advice }
    }

    /// The same finding, at a line counted from 1.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// The same finding, in a section.
    #[must_use]
    pub fn in_section(mut self, section: &str) -> Self {
        self.section = Some(quotable(section));
        self
    }

    /// The same finding, about an option.
    #[must_use]
    pub fn about(mut self, option: &str) -> Self {
        self.option = Some(quotable(option));
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(section) = &self.section {
            write!(f, "[{section}] ")?;
        }
        if let Some(option) = &self.option {
            write!(f, "{option}: ")?;
        }
        write!(f, "{}; {}", self.message, self.advice)
    }
}

/// Text from the file made fit for a terminal and a log: control characters escaped, length bounded.
pub(crate) fn quotable(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(MAX_QUOTED_CHARS)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        quoted.push_str("...");
    }
    quoted
}

/// The findings of one reading, at most [`MAX_REPORTS`] of each severity and one that says how many more there were.
#[derive(Debug)]
pub(crate) struct Reports {
    kept: Vec<Report>,
    /// How many are kept: warnings, errors.
    counts: [usize; 2],
    left_out: usize,
}

impl Reports {
    pub(crate) const fn new() -> Self {
        Self { kept: Vec::new(), counts: [0; 2], left_out: 0 }
    }

    pub(crate) fn push(&mut self, report: Report) {
        let alike = &mut self.counts[usize::from(report.severity == Severity::Error)];
        if *alike < MAX_REPORTS {
            *alike += 1;
            self.kept.push(report);
        } else {
            self.left_out += 1;
        }
    }

    /// True when mlvpn must not run with this file.
    pub(crate) const fn has_errors(&self) -> bool {
        // Errors are left out only when others are kept.
        self.counts[1] > 0
    }

    /// The findings in the order of their lines; those about the whole file first.
    pub(crate) fn into_sorted(mut self, file: &Arc<str>) -> Vec<Report> {
        self.kept.sort_by_key(|report| report.line);
        if self.left_out > 0 {
            let message = format!("{} more problems are not shown", self.left_out);
            let advice = "correct those above, or check that this is the file you meant";
            self.kept.push(Report::warning(file, message, advice));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<str> {
        Arc::from("mlvpn.conf")
    }

    #[test]
    fn a_report_reads_file_line_section_option_message_advice() {
        let report = Report::warning(&file(), "unknown option", "did you mean \"timeout\"?")
            .at(12)
            .in_section("general")
            .about("timout");
        assert_eq!(report.to_string(), "mlvpn.conf:12: [general] timout: unknown option; did you mean \"timeout\"?");
    }

    #[test]
    fn a_report_about_the_whole_file_names_no_line() {
        let report = Report::error(&file(), "no [general] section", "add one");
        assert_eq!(report.to_string(), "mlvpn.conf: no [general] section; add one");
    }

    #[test]
    fn names_from_the_file_cannot_drive_a_terminal_nor_fill_a_log() {
        assert_eq!(quotable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(quotable(&"x".repeat(1000)).len(), MAX_QUOTED_CHARS + 3);
    }

    #[test]
    fn an_error_after_any_number_of_warnings_is_shown_and_stops_mlvpn() {
        let mut reports = Reports::new();
        for line in 1..=u32::try_from(MAX_REPORTS).unwrap() + 1 {
            reports.push(Report::warning(&file(), "odd", "look").at(line));
        }
        assert!(!reports.has_errors());
        reports.push(Report::error(&file(), "wrong", "correct it"));
        assert!(reports.has_errors());
        let sorted = reports.into_sorted(&file());
        assert_eq!(sorted.len(), MAX_REPORTS + 2);
        assert_eq!(sorted[0].message, "wrong");
        assert_eq!(sorted.last().unwrap().message, "1 more problems are not shown");
    }
}

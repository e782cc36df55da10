// SPDX-License-Identifier: BSD-2-Clause
//! mlvpn.conf as text: sections, and entries with their lines.
//!
//! The grammar is what MLVPN 2.3.5 accepts, read as its manual means it:
//!
//! - `#` outside quotes starts a comment; carriage returns do not count;
//! - `[NAME]` opens a section, opened again it goes on;
//! - `KEY = VALUE`; quotes protect `#`, `=` and spaces, and are not part of the value. The options that hold keys,
//!   which 2.3.5 does not know, take `=` without quotes, too: base64 ends in it.
//!
//! MLVPN drops without a word what it cannot read. Each such line is reported here.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::options;
use super::report::{Report, Reports};
use super::types::MAX_PEERS;

/// 2.3.5 keeps at most 8192 bytes of routes, its longest value; twice that is nobody's configuration.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// `[general]`, `[filters]`, more links than one tunnel can have, and every peer of a large server.
pub const MAX_SECTIONS: usize = 256 + MAX_PEERS;
/// Every option of every section, and every filter 2.3.5 has room for, fit with room to spare.
pub const MAX_ENTRIES: usize = 8192 + 6 * MAX_PEERS;

/// The sections of a file in the order they first appear.
#[derive(Debug)]
pub struct Document {
    /// The sections; no two have the same name.
    pub sections: Vec<Section>,
}

impl Document {
    /// The section of this name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// One section, all its parts taken together.
#[derive(Debug)]
pub struct Section {
    /// The name between the brackets, without surrounding spaces.
    pub name: String,
    /// The line it first appears on, counted from 1.
    pub line: u32,
    /// Its entries in the order of the file; none has an empty key or value.
    pub entries: Vec<Entry>,
}

/// Sections named so hold filters instead of options; 2.3.5 compares these seven letters only.
const FILTERS: &str = "filters";

impl Section {
    /// True when the entries are filters: link names and expressions.
    #[must_use]
    pub fn holds_filters(&self) -> bool {
        self.name.starts_with(FILTERS)
    }
}

/// One `KEY = VALUE`.
pub struct Entry {
    /// The key, without quotes and unquoted spaces.
    pub key: String,
    /// Counted from 1.
    pub line: u32,
    /// Where the key begins, in characters counted from 1.
    pub column: u32,
    /// The column where `raw` begins.
    raw_column: u32,
    /// What follows the `=`, quotes included; it may be the password, so it is wiped and never printed.
    raw: Zeroizing<String>,
    /// Whether `raw` is the value as it is: from a file whose quotes another reader has taken out.
    literal: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key", &self.key).field("line", &self.line).finish_non_exhaustive()
    }
}

impl Entry {
    /// An entry whose value stands as it is, quotes and spaces included.
    pub(crate) fn literal(key: &str, line: u32, value: Zeroizing<String>) -> Self {
        Self { key: key.to_owned(), line, column: 1, raw_column: 1, raw: value, literal: true }
    }

    /// The value as the manual means it: without the quotes and without spaces around it.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        if self.literal {
            return self.raw.clone();
        }
        let unquoted = Zeroizing::new(self.raw.replace('"', ""));
        Zeroizing::new(unquoted.trim_matches(BLANK).to_owned())
    }

    /// Where in its line a character of [`Entry::text`] stands, in characters counted from 1.
    #[must_use]
    pub fn column_of(&self, place: usize) -> u32 {
        let characters = self.raw.chars().zip(self.raw_column..);
        let counted = characters.filter(|(c, _)| self.literal || *c != '"');
        let mut counted = counted.skip_while(|(c, _)| !self.literal && BLANK.contains(c)).map(|(_, at)| at);
        // Behind the last character that is where the next would stand.
        let mut next = self.raw_column;
        for _ in 0..place {
            next = counted.next().map_or(next, |at| at.saturating_add(1));
        }
        let len = self.text().chars().count();
        counted.next().filter(|_| place < len).unwrap_or(next)
    }

    /// The value as 2.3.5 reads it: every space outside quotes is gone too. A tab is a character like any other.
    #[must_use]
    pub fn joined(&self) -> Zeroizing<String> {
        if self.literal { self.raw.clone() } else { join(&self.raw) }
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// What is wrong with a file that is no text: no text has a NUL byte, and every line of such a file would be reported.
pub(crate) fn not_text(file: &Arc<str>, text: &str) -> Option<Report> {
    let (before, _) = text.split_once('\0')?;
    let line = u32::try_from(before.split('\n').count()).unwrap_or(u32::MAX);
    let message = "this is no text file: the line has a NUL byte";
    Some(Report::error(file, message, "check that this is the file you meant; if it is, remove the NUL").at(line))
}

/// Reads a whole file. The work is linear in its length.
pub(crate) fn parse(file: &Arc<str>, text: &str, reports: &mut Reports) -> Document {
    let document = Document { sections: Vec::new() };
    let mut parser = Parser { file, reports, document, places: HashMap::new(), current: None, entries: 0 };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, number) in text.split('\n').zip(1u32..) {
        if parser.line(line, number) == Flow::Stop {
            break;
        }
    }
    parser.document
}

#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
}

struct Parser<'a> {
    file: &'a Arc<str>,
    reports: &'a mut Reports,
    document: Document,
    /// Where in the document the section of a name is.
    places: HashMap<String, usize>,
    /// Index of the section that is open.
    current: Option<usize>,
    entries: usize,
}

impl Parser<'_> {
    fn line(&mut self, line: &str, number: u32) -> Flow {
        if line.len() > MAX_LINE_BYTES {
            let message = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            self.say(number, Report::error(self.file, message, "shorten it"));
            return Flow::Go;
        }
        let line = Zeroizing::new(line.replace('\r', ""));
        let marks = Marks::of(&line);
        let body = &line[..marks.end];
        let trimmed = body.trim_matches(BLANK);
        if trimmed.is_empty() {
            return Flow::Go;
        }
        match marks.equals {
            _ if trimmed.starts_with('[') => self.header(trimmed, number),
            Some(equals) => self.entry(body, equals, &marks, number),
            None => self.without_equals(trimmed, number),
        }
    }

    fn say(&mut self, line: u32, report: Report) {
        let report = report.at(line);
        let section = self.current.map(|index| &self.document.sections[index]);
        self.reports.push(match section {
            Some(section) => report.in_section(&section.name),
            None => report,
        });
    }

    fn warn(&mut self, line: u32, message: &str, advice: &str) {
        self.say(line, Report::warning(self.file, message, advice));
    }

    fn header(&mut self, trimmed: &str, number: u32) -> Flow {
        // Going on after these would file the entries that follow under the wrong section.
        let Some((before, after)) = trimmed[1..].split_once(']') else {
            let report = Report::error(self.file, "the section's closing ']' is missing", "write it as [NAME]");
            self.say(number, report);
            return Flow::Go;
        };
        if before.contains('[') {
            let report = Report::error(self.file, "a '[' inside a section's name", "write it as [NAME]");
            self.say(number, report);
            return Flow::Go;
        }
        let flow = self.open(before.trim_matches(BLANK), number);
        if !after.trim_matches(BLANK).is_empty() {
            self.warn(number, "text after the section's ']' is ignored", "move it to a line of its own");
        }
        flow
    }

    fn without_equals(&mut self, trimmed: &str, number: u32) -> Flow {
        // 2.3.5 takes any line with [..] in it as a section.
        let bracketed = trimmed.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        if let Some((name, _)) = bracketed.filter(|(name, _)| !name.contains('[')) {
            let flow = self.open(name.trim_matches(BLANK), number);
            self.warn(number, "text before the section's '[' is ignored", "remove it, or start the line with '#'");
            return flow;
        }
        self.warn(number, "the line has no '=' and is ignored", "write OPTION = VALUE, or start the line with '#'");
        Flow::Go
    }

    fn open(&mut self, name: &str, number: u32) -> Flow {
        if let Some(&index) = self.places.get(name) {
            self.current = Some(index);
            let section = &self.document.sections[index];
            if !section.holds_filters() {
                let message = format!("the section was opened before, on line {}", section.line);
                let advice = "for an option given twice the first value counts; join the two parts, or give the second \
                              another name if it is another link";
                self.say(number, Report::warning(self.file, message, advice));
            }
            return Flow::Go;
        }
        if self.document.sections.len() >= MAX_SECTIONS {
            let message = format!("more than {MAX_SECTIONS} sections; the rest of the file is not read");
            self.reports.push(Report::error(self.file, message, "remove some").at(number));
            return Flow::Stop;
        }
        self.current = Some(self.document.sections.len());
        self.places.insert(name.to_owned(), self.document.sections.len());
        self.document.sections.push(Section { name: name.to_owned(), line: number, entries: Vec::new() });
        Flow::Go
    }

    fn entry(&mut self, body: &str, equals: usize, marks: &Marks, number: u32) -> Flow {
        let (before, raw) = (&body[..equals], &body[equals + 1..]);
        let raw_column =
            u32::try_from(body[..equals].chars().count()).map_or(u32::MAX, |before| before.saturating_add(2));
        let key = join(before).trim_matches(BLANK).to_owned();
        if !body.is_ascii() {
            self.warn(number, "a character is not ASCII; the line is ignored", "use ASCII characters only");
            return Flow::Go;
        }
        if key.is_empty() {
            self.warn(number, "no option before '='; the line is ignored", "write OPTION = VALUE");
            return Flow::Go;
        }
        let Some(index) = self.current else {
            let advice = "move it below a line like [general]";
            let report = Report::warning(self.file, "not in a section; the line is ignored", advice).about(&key);
            self.say(number, report);
            return Flow::Go;
        };
        let takes_equals = self.document.sections[index].holds_filters() || options::holds_key(&key);
        if let Some(report) = marks.fault(self.file, raw, takes_equals) {
            self.say(number, report.about(&key));
        }
        let entry = Entry {
            key,
            line: number,
            column: column(before),
            raw_column,
            raw: Zeroizing::new(raw.to_owned()),
            literal: false,
        };
        if entry.text().is_empty() || (marks.second_equals && !takes_equals) {
            return Flow::Go;
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let message = format!("more than {MAX_ENTRIES} options; the rest of the file is not read");
            self.say(number, Report::error(self.file, message, "remove some"));
            return Flow::Stop;
        }
        self.document.sections[index].entries.push(entry);
        Flow::Go
    }
}

/// The column of the first character that is no blank.
fn column(before: &str) -> u32 {
    let blanks = before.chars().take_while(|c| BLANK.contains(c)).count();
    u32::try_from(blanks + 1).unwrap_or(u32::MAX)
}

/// Takes out quotes, and spaces outside quotes, and spaces at both ends.
fn join(raw: &str) -> Zeroizing<String> {
    let mut quoted = false;
    // Reserved in full: a String that grows leaves copies of a password behind.
    let mut joined = Zeroizing::new(String::with_capacity(raw.len()));
    for c in raw.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted || joined.is_empty() => {}
            _ => joined.push(c),
        }
    }
    let end = joined.trim_end_matches(' ').len();
    joined.truncate(end);
    joined
}

/// The comment of a line, with its `#`.
pub(crate) fn comment(line: &str) -> Option<&str> {
    line.get(Marks::of(line).end..).filter(|comment| !comment.is_empty())
}

/// Where a line's meaning changes.
struct Marks {
    /// Where the comment begins, or the line's length.
    end: usize,
    /// The first `=` outside quotes.
    equals: Option<usize>,
    second_equals: bool,
    /// A quote is still open at the end.
    open_quote: bool,
    /// The comment begins right after a letter of the value.
    glued_comment: bool,
}

impl Marks {
    fn of(line: &str) -> Self {
        let mut marks =
            Self { end: line.len(), equals: None, second_equals: false, open_quote: false, glued_comment: false };
        let mut previous = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' => marks.open_quote = !marks.open_quote,
                '#' if !marks.open_quote => {
                    marks.end = at;
                    marks.glued_comment = ![' ', '\t', '"', '='].contains(&previous);
                    break;
                }
                '=' if !marks.open_quote && marks.equals.is_some() => marks.second_equals = true,
                '=' if !marks.open_quote => marks.equals = Some(at),
                _ => {}
            }
            previous = c;
        }
        marks
    }

    /// What is odd about a value: at most one finding, the gravest.
    fn fault(&self, file: &Arc<str>, raw: &str, takes_equals: bool) -> Option<Report> {
        let (message, advice) = if self.second_equals && !takes_equals {
            ("a second '=' outside quotes; the line is ignored", "put the value in double quotes")
        } else if raw.chars().all(|c| c == '"' || BLANK.contains(&c)) {
            ("no value; the line is ignored", "give a value, or remove the line")
        } else if self.open_quote {
            ("a double quote is not closed", "add the closing quote at the value's end")
        } else if self.glued_comment {
            ("the value ends at '#'", "put the value in double quotes if '#' is part of it, else a space before '#'")
        } else {
            return None;
        };
        Some(Report::warning(file, message, advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section, key, value, line.
    type Row = (String, String, String, u32);

    fn read(text: &str) -> (Vec<Row>, Vec<String>) {
        let file: Arc<str> = Arc::from("f");
        let mut reports = Reports::new();
        let document = parse(&file, text, &mut reports);
        let mut rows = Vec::new();
        for section in &document.sections {
            for entry in &section.entries {
                rows.push((section.name.clone(), entry.key.clone(), entry.text().to_string(), entry.line));
            }
        }
        (rows, reports.into_sorted(&file).iter().map(ToString::to_string).collect())
    }

    fn row(section: &str, key: &str, value: &str, line: u32) -> Row {
        (section.to_owned(), key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn a_line_means_what_the_manual_says() {
        let cases = [
            ("k = v", "v"),
            ("k=v", "v"),
            ("  k  =  v  ", "v"),
            ("\tk\t=\tv\t", "v"),
            ("k = \"v\"", "v"),
            ("k = \" v \"", "v"),
            ("\"k\" = v", "v"),
            ("k = v # comment", "v"),
            ("k = \"a # b\" # comment", "a # b"),
            ("k = \"a = b\"", "a = b"),
            ("k = 10.0.0.0/8 192.168.0.0/16", "10.0.0.0/8 192.168.0.0/16"),
            ("k = \"a\" \"b\"", "a b"),
            ("k = v\r", "v"),
            ("k = ip[8] < 5", "ip[8] < 5"),
        ];
        for (line, value) in cases {
            for end in ["", "\n", "\r\n"] {
                let (rows, reports) = read(&format!("[s]\n{line}{end}"));
                assert_eq!(rows, [row("s", "k", value, 2)], "{line:?}");
                assert_eq!(reports, [""; 0], "{line:?}");
            }
        }
    }

    #[test]
    fn what_2_3_5_drops_without_a_word_is_reported_with_its_line() {
        let cases = [
            ("word", "f:2: [s] the line has no '=' and is ignored; write OPTION = VALUE, or start the line with '#'"),
            ("= v", "f:2: [s] no option before '='; the line is ignored; write OPTION = VALUE"),
            ("k =", "f:2: [s] k: no value; the line is ignored; give a value, or remove the line"),
            ("k = \"\"", "f:2: [s] k: no value; the line is ignored; give a value, or remove the line"),
            ("k = a=b", "f:2: [s] k: a second '=' outside quotes; the line is ignored; put the value in double quotes"),
            ("k = \u{e9}", "f:2: [s] a character is not ASCII; the line is ignored; use ASCII characters only"),
        ];
        for (line, report) in cases {
            let (rows, reports) = read(&format!("[s]\n{line}\n"));
            assert_eq!(rows, []);
            assert_eq!(reports, [report]);
        }
        let (rows, reports) = read("k = v\n[s]\n");
        assert_eq!(rows, []);
        assert_eq!(reports, ["f:1: k: not in a section; the line is ignored; move it below a line like [general]"]);
    }

    #[test]
    fn what_is_kept_but_odd_is_reported() {
        let cases = [
            ("k = \"v", "v", "f:2: [s] k: a double quote is not closed; add the closing quote at the value's end"),
            (
                "k = v#w",
                "v",
                "f:2: [s] k: the value ends at '#'; \
                 put the value in double quotes if '#' is part of it, else a space before '#'",
            ),
        ];
        for (line, value, report) in cases {
            let (rows, reports) = read(&format!("[s]\n{line}\n"));
            assert_eq!(rows, [row("s", "k", value, 2)]);
            assert_eq!(reports, [report]);
        }
    }

    #[test]
    fn sections_are_found_where_2_3_5_finds_them() {
        for header in ["[s]", "  [s]  ", "[ s ]", "[s] # comment", "\u{feff}[s]", "[s]\r"] {
            let (rows, reports) = read(&format!("{header}\nk = v"));
            assert_eq!((rows, reports), (vec![row("s", "k", "v", 2)], vec![]), "{header:?}");
        }
        for (header, message) in [
            ("[s] x", "f:1: [s] text after the section's ']' is ignored; move it to a line of its own"),
            ("x [s]", "f:1: [s] text before the section's '[' is ignored; remove it, or start the line with '#'"),
        ] {
            let (rows, reports) = read(&format!("{header}\nk = v"));
            assert_eq!((rows, reports), (vec![row("s", "k", "v", 2)], vec![message.to_owned()]));
        }
    }

    #[test]
    fn a_broken_header_is_an_error_because_what_follows_would_land_elsewhere() {
        for (header, message) in [
            ("[s", "f:1: the section's closing ']' is missing; write it as [NAME]"),
            ("[[s]", "f:1: a '[' inside a section's name; write it as [NAME]"),
        ] {
            let file: Arc<str> = Arc::from("f");
            let mut reports = Reports::new();
            parse(&file, header, &mut reports);
            assert!(reports.has_errors());
            assert_eq!(reports.into_sorted(&file)[0].to_string(), message);
        }
    }

    #[test]
    fn a_section_opened_again_goes_on() {
        let (rows, reports) = read("[a]\nk = 1\n[b]\nk = 2\n[a]\nl = 3\n");
        assert_eq!(rows, [row("a", "k", "1", 2), row("a", "l", "3", 6), row("b", "k", "2", 4)]);
        assert_eq!(reports.len(), 1);
        assert!(reports[0].starts_with("f:5: [a] the section was opened before, on line 1; "), "{}", reports[0]);
    }

    #[test]
    fn a_filter_may_hold_equals_signs_and_brackets() {
        let (rows, reports) = read("[filters]\ndsl = tcp[13] & 2 == 2\n");
        assert_eq!((rows, reports), (vec![row("filters", "dsl", "tcp[13] & 2 == 2", 2)], vec![]));
    }

    #[test]
    fn a_key_may_end_in_equals_signs_without_quotes() {
        for line in ["secret = ab+/c==", "secret=\"ab+/c==\"", "secret = ab+/c== # comment"] {
            let (rows, reports) = read(&format!("[peer a]\n{line}\n"));
            assert_eq!((rows, reports), (vec![row("peer a", "secret", "ab+/c==", 2)], vec![]), "{line}");
        }
    }

    #[test]
    fn the_joined_value_is_the_one_2_3_5_reads() {
        let cases = [
            ("a b", "ab"),
            ("\"a  b\"", "a  b"),
            ("\" a \"", "a"),
            ("\"a\" \"b\"", "ab"),
            ("a \" b", "a b"),
            ("\ta", "\ta"),
        ];
        for (raw, joined) in cases {
            assert_eq!(join(raw).as_str(), joined, "{raw:?}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let long = format!("[s]\nk = {}\nl = v", "x".repeat(MAX_LINE_BYTES));
        let (rows, reports) = read(&long);
        assert_eq!(rows, [row("s", "l", "v", 3)]);
        assert_eq!(reports, ["f:2: [s] the line is longer than 16384 bytes; shorten it"]);
        let many: String = (0..=MAX_SECTIONS).map(|i| format!("[{i}]\n")).collect();
        let line = MAX_SECTIONS + 1;
        let said =
            format!("f:{line}: more than {MAX_SECTIONS} sections; the rest of the file is not read; remove some");
        assert_eq!(read(&many).1, [said]);
        let entries = format!("[s]\n{}", "k = v\n".repeat(MAX_ENTRIES + 1));
        let (rows, reports) = read(&entries);
        assert_eq!(rows.len(), MAX_ENTRIES);
        let line = MAX_ENTRIES + 2;
        let said = "options; the rest of the file is not read; remove some";
        assert_eq!(reports, [format!("f:{line}: [s] more than {MAX_ENTRIES} {said}")]);
    }

    #[test]
    fn an_entry_knows_its_column_and_hides_its_value() {
        let file: Arc<str> = Arc::from("f");
        let document = parse(&file, "[s]\n   password = hunter2", &mut Reports::new());
        let entry = &document.sections[0].entries[0];
        assert_eq!((entry.line, entry.column), (2, 4));
        assert!(!format!("{document:?}").contains("hunter2"));
    }
}

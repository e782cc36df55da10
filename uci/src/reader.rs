// SPDX-License-Identifier: BSD-2-Clause
//! UCI's text to statements, as libuci (openwrt/uci, November 2025) reads it.
//!
//! What it takes for granted and nobody documents is kept:
//!
//! - `c`, `o`, `l` and `p` stand for `config`, `option`, `list` and `package`;
//! - a keyword ends at a space or a tab only, a word at any white space, `;` or `#`;
//! - a quoted word may go on over lines, a backslash joins lines;
//! - behind a quoted word `;` begins the next statement, behind a plain one it ends the line;
//! - behind an empty third word the line goes on with the next statement.
//!
//! It differs in two points. A NUL byte, with which libuci loses the rest of the line and more, is an error. And the last
//! line counts even if no line feed ends it, where libuci names the line before.

use core::fmt;

use crate::word::Word;

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `package NAME`, which has no effect in a file of OpenWrt.
    Package(Word<'a>),
    /// `config TYPE [NAME]`: what follows belongs to this section. The name is empty for an anonymous one.
    Config {
        /// The section's type.
        kind: Word<'a>,
        /// Its name, of letters, digits and `_`.
        name: Word<'a>,
    },
    /// `option NAME [VALUE]`.
    Option {
        /// The option's name, of letters, digits and `_`.
        name: Word<'a>,
        /// Its value, maybe empty.
        value: Word<'a>,
    },
    /// `list NAME [VALUE]`.
    List {
        /// The list's name, of letters, digits and `_`.
        name: Word<'a>,
        /// One value, maybe empty.
        value: Word<'a>,
    },
}

/// One statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The line its keyword is on, counted from 1.
    pub line: u32,
    /// What it says.
    pub command: Command<'a>,
}

/// What the text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one of the four keywords.
    InvalidCommand,
    /// A keyword at the very end of the file.
    NoArguments,
    /// A name is missing.
    InsufficientArguments,
    /// Text behind the value.
    TooManyArguments,
    /// A name has a character other than letters, digits and `_`.
    InvalidName,
    /// A section's type has a space or a character that is not ASCII.
    InvalidType,
    /// A quote that nothing closes.
    Unterminated(char),
    /// An option above the first section.
    OutsideSection,
    /// A section of a name that one of another type has.
    OtherType,
    /// A byte that no text has.
    Nul,
    /// More sections or options than there is room for.
    NoRoom,
}

impl Reason {
    /// What is wrong, in words.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::InvalidCommand => "the line begins with none of config, option, list and package",
            Self::NoArguments | Self::InsufficientArguments => "a name is missing",
            Self::TooManyArguments => "there is text behind the value",
            Self::InvalidName => "the name has a character that is neither a letter, a digit nor '_'",
            Self::InvalidType => "the section's type has a space or a character that is not ASCII",
            Self::Unterminated('"') => "a \" is never closed",
            Self::Unterminated(_) => "a ' is never closed",
            Self::OutsideSection => "an option stands above the first section",
            Self::OtherType => "another section of this name has another type",
            Self::Nul => "the line has a NUL byte",
            Self::NoRoom => "there are more sections or options than are read",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InvalidCommand => "write option NAME 'VALUE', or begin the line with '#'",
            Self::NoArguments | Self::InsufficientArguments => "write config TYPE 'NAME' or option NAME 'VALUE'",
            Self::TooManyArguments => "put the value in quotes",
            Self::InvalidName => "use letters, digits and '_'",
            Self::InvalidType => "use letters, digits, '-' and '_'",
            Self::Unterminated(_) => "close the quote at the end of the value",
            Self::OutsideSection => "move it below a line like config tunnel 'home'",
            Self::OtherType => "give one of the two another name",
            Self::Nul => "check that this is the file you meant; if it is, remove the NUL",
            Self::NoRoom => "check that this is the file you meant; if it is, remove what is not used",
        }
    }
}

/// Where reading ended, and why. Like libuci, the reader does not go on behind an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub reason: Reason,
    /// The line that was read when it showed, counted from 1; for an open quote that is the last one of the file.
    pub line: u32,
    /// The line on which the statement begins, counted from 1.
    pub begun: u32,
    /// The byte of the line (of all the lines, if they are joined) at which it showed, counted from 0.
    pub byte: usize,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, byte {}: {}; {}", self.line, self.byte, self.reason.message(), self.reason.advice())
    }
}

impl core::error::Error for Error {}

/// The statements of a text, up to the first error. Work is linear in its length.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    /// Where the reader is.
    pos: usize,
    /// Where what it sees ends: behind the lines fetched, or before a comment.
    end: usize,
    /// The end of the lines fetched.
    fetched: usize,
    /// Where the first of the joined lines begins.
    start: usize,
    /// Bytes between `start` and `pos` that joining lines took out.
    removed: usize,
    /// Lines fetched.
    line: u32,
    /// The line of the current statement.
    begun: u32,
    /// Whether statements may follow on the lines fetched.
    inside_line: bool,
    has_section: bool,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of a text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            end: 0,
            fetched: 0,
            start: 0,
            removed: 0,
            line: 0,
            begun: 0,
            inside_line: false,
            has_section: false,
            failed: false,
        }
    }

    pub(crate) fn error(&self, reason: Reason) -> Error {
        let byte = self.pos.saturating_sub(self.start).saturating_sub(self.removed);
        Error { reason, line: self.line, begun: self.begun, byte }
    }

    fn statement(&mut self) -> Result<Option<Statement<'a>>, Error> {
        loop {
            if !self.inside_line {
                (self.start, self.removed, self.pos) = (self.fetched, 0, self.fetched);
                if !self.fetch()? {
                    return Ok(None);
                }
                self.skip_white();
                self.inside_line = true;
            }
            self.begun = self.line;
            if let Some(command) = self.command()? {
                return Ok(Some(Statement { line: self.begun, command }));
            }
            self.inside_line = false;
        }
    }

    /// Joins the next line to what was read; false at the end of the text. What stands between is no part of it.
    fn fetch(&mut self) -> Result<bool, Error> {
        self.removed = self.removed.saturating_add(self.fetched.saturating_sub(self.pos));
        self.pos = self.fetched;
        self.end = self.fetched;
        let rest = self.text.get(self.fetched..).unwrap_or_default();
        let Some(line) = rest.split_inclusive('\n').next() else { return Ok(false) };
        self.line = self.line.saturating_add(1);
        self.fetched = self.fetched.saturating_add(line.len());
        self.end = self.fetched;
        if line.contains('\0') {
            self.begun = self.line;
            return Err(self.error(Reason::Nul));
        }
        Ok(true)
    }

    /// The byte at the reader's place; none at the end of what it sees.
    fn current(&self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.pos).copied();
        byte.filter(|_| self.pos < self.end)
    }

    fn step(&mut self) {
        self.pos = self.pos.saturating_add(1);
    }

    fn at_white(&self) -> bool {
        // As isspace() in the C locale, which counts the vertical tab (0x0b), too.
        self.current().is_some_and(|byte| byte.is_ascii_whitespace() || byte == 0x0b)
    }

    fn skip_white(&mut self) {
        while self.at_white() {
            self.step();
        }
    }

    /// The next statement of the line, if there is one.
    fn command(&mut self) -> Result<Option<Command<'a>>, Error> {
        const BLANK: [char; 2] = [' ', '\t'];
        let rest = self.text.get(self.pos..self.end).unwrap_or_default();
        let visible = rest.trim_start_matches(BLANK);
        let keyword = visible.split(BLANK).next().unwrap_or_default();
        if keyword.is_empty() || keyword.starts_with('#') {
            return Ok(None);
        }
        match keyword {
            "p" | "package" | "c" | "config" => {}
            "o" | "option" | "l" | "list" if self.has_section => {}
            "o" | "option" | "l" | "list" => return Err(self.error(Reason::OutsideSection)),
            _ => return Err(self.error(Reason::InvalidCommand)),
        }
        let blanks = rest.len().saturating_sub(visible.len());
        let behind = self.pos.saturating_add(blanks).saturating_add(keyword.len());
        if behind >= self.end {
            return Err(self.error(Reason::NoArguments));
        }
        self.pos = behind.saturating_add(1);
        let command = match keyword.as_bytes().first() {
            Some(b'p') => Command::Package(self.name(true)?),
            Some(b'c') => self.config()?,
            Some(b'o') => Command::Option { name: self.name(false)?, value: self.argument()? },
            _ => Command::List { name: self.name(false)?, value: self.argument()? },
        };
        if !self.argument()?.is_empty() {
            return Err(self.error(Reason::TooManyArguments));
        }
        self.has_section |= matches!(command, Command::Config { .. });
        Ok(Some(command))
    }

    fn config(&mut self) -> Result<Command<'a>, Error> {
        let kind = self.argument()?;
        if kind.is_empty() {
            return Err(self.error(Reason::InsufficientArguments));
        }
        if !kind.chars().all(|c| c.is_ascii_graphic()) {
            return Err(self.error(Reason::InvalidType));
        }
        let name = self.argument()?;
        if !name.chars().all(is_name) {
            return Err(self.error(Reason::InvalidName));
        }
        Ok(Command::Config { kind, name })
    }

    /// A name that must be there.
    fn name(&mut self, of_package: bool) -> Result<Word<'a>, Error> {
        let name = self.argument()?;
        if name.is_empty() {
            return Err(self.error(Reason::InsufficientArguments));
        }
        if !name.chars().all(|c| is_name(c) || (of_package && c == '-')) {
            return Err(self.error(Reason::InvalidName));
        }
        Ok(name)
    }

    /// The next word of the line, empty at its end.
    fn argument(&mut self) -> Result<Word<'a>, Error> {
        self.skip_white();
        if self.current() == Some(b';') {
            self.step();
            return Ok(Word::default());
        }
        self.word()
    }

    fn word(&mut self) -> Result<Word<'a>, Error> {
        let start = self.pos;
        // Nothing but the characters it means: no quote, no backslash.
        let mut plain = true;
        loop {
            match self.current() {
                Some(quote @ (b'\'' | b'"')) => {
                    plain = false;
                    self.quoted(quote)?;
                }
                Some(b'\\') => {
                    plain = false;
                    self.escape()?;
                }
                Some(b'#') => self.end = self.pos,
                Some(b';') => {
                    // libuci ends a plain word where the `;` stands, and so loses sight of what is behind it.
                    if plain {
                        self.end = self.pos;
                    }
                    return Ok(self.from(start));
                }
                Some(_) => self.step(),
                None => {}
            }
            if self.current().is_none() || self.at_white() {
                break;
            }
        }
        let word = self.from(start);
        if self.current().is_some() {
            self.step();
        }
        Ok(word)
    }

    fn from(&self, start: usize) -> Word<'a> {
        Word::new(self.text.get(start..self.pos).unwrap_or_default())
    }

    fn quoted(&mut self, quote: u8) -> Result<(), Error> {
        self.step();
        loop {
            match self.current() {
                Some(byte) if byte == quote => {
                    self.step();
                    return Ok(());
                }
                Some(b'\\') if quote == b'"' => self.escape()?,
                Some(_) => self.step(),
                None => {
                    if !self.fetch()? {
                        return Err(self.error(Reason::Unterminated(char::from(quote))));
                    }
                }
            }
        }
    }

    /// A backslash and the character behind it; at the end of a line, the next line instead.
    fn escape(&mut self) -> Result<(), Error> {
        self.step();
        let rest = self.text.get(self.pos..self.end).unwrap_or_default();
        if matches!(rest, "" | "\n" | "\r\n") {
            self.fetch()?;
        } else {
            // Behind a character of several bytes: no other byte of it means anything.
            self.pos = self.pos.saturating_add(rest.chars().next().map_or(1, char::len_utf8));
        }
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Statement<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let statement = self.statement();
        self.failed = !matches!(statement, Ok(Some(_)));
        statement.transpose()
    }
}

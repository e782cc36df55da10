// SPDX-License-Identifier: BSD-2-Clause
//! A word of UCI's text.

use core::fmt;

/// A word as it stands in the text, quotes, escapes and joined lines still in it.
///
/// It means its [`pieces`](Word::pieces), one after the other; two words are equal when they mean the same. Nothing is
/// copied, so a secret stays where it was read. It prints as what it means: print no word that may be a secret.
#[derive(Clone, Copy, Default)]
pub struct Word<'a> {
    raw: &'a str,
}

impl<'a> Word<'a> {
    pub(crate) const fn new(raw: &'a str) -> Self {
        Self { raw }
    }

    /// What the word means, in parts that stand in the text as they are. Work: one step per quote or escape.
    #[must_use]
    pub const fn pieces(self) -> Pieces<'a> {
        Pieces { rest: self.raw, quote: None }
    }

    /// The characters the word means.
    pub fn chars(self) -> impl Iterator<Item = char> + 'a {
        self.pieces().flat_map(str::chars)
    }

    /// True for a word without characters, be it absent or `''`.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.pieces().next().is_none()
    }

    /// The bytes the word means.
    #[must_use]
    pub fn len(self) -> usize {
        self.pieces().map(str::len).fold(0, usize::saturating_add)
    }

    /// True when the word means `text`.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        self.chars().eq(text.chars())
    }

    /// The word copied to a place of its own; `None` when it has no room there.
    #[must_use]
    pub fn copied<const N: usize>(self) -> Option<heapless::String<N>> {
        let mut copy = heapless::String::new();
        for piece in self.pieces() {
            copy.push_str(piece).ok()?;
        }
        Some(copy)
    }
}

impl PartialEq for Word<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Word<'_> {}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(piece))
    }
}

/// It may be a secret.
impl fmt::Debug for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({} bytes)", self.len())
    }
}

/// What a word means, part by part; no part is empty.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a str,
    quote: Option<char>,
}

impl<'a> Pieces<'a> {
    /// Steps behind the first `len` bytes, which it returns.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// What a backslash, the first character, stands for: the character behind it, or nothing at the end of a line.
    fn escaped(&mut self) -> &'a str {
        self.take(1);
        let line_end = ["\n", "\r\n"].into_iter().find(|end| self.rest.starts_with(end));
        match line_end {
            Some(end) => {
                self.take(end.len());
                ""
            }
            None => self.take(self.rest.chars().next().map_or(0, char::len_utf8)),
        }
    }

    fn step(&mut self, first: char) -> &'a str {
        match (self.quote, first) {
            (None, '\'' | '"') => self.quote = Some(first),
            (Some(quote), _) if quote == first => self.quote = None,
            (None | Some('"'), '\\') => return self.escaped(),
            _ => {
                let ends = |c: char| match self.quote {
                    None => matches!(c, '\'' | '"' | '\\'),
                    Some('"') => matches!(c, '"' | '\\'),
                    Some(quote) => c == quote,
                };
                return self.take(self.rest.find(ends).unwrap_or(self.rest.len()));
            }
        }
        self.take(1);
        ""
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let first = self.rest.chars().next()?;
            let piece = self.step(first);
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn quotes_and_escapes_are_no_part_of_what_a_word_means() {
        for (raw, meant) in [
            ("abc", "abc"),
            ("'a b'\"c\"d", "a bcd"),
            (r"'it'\''s'", "it's"),
            (r"'a\nb'", r"a\nb"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("a\\\nb\\\r\nc", "abc"),
            (r"\ ", " "),
            (r"\ä☂", "ä☂"),
            ("\\", ""),
            ("''", ""),
        ] {
            let word = Word::new(raw);
            assert_eq!(word.to_string(), meant, "{raw}");
            assert_eq!((word.len(), word.is_empty(), word.is(meant)), (meant.len(), meant.is_empty(), true), "{raw}");
        }
        assert_eq!(Word::new("'a'b"), Word::new("\"ab\""));
        assert_ne!(Word::new("ab"), Word::new("abc"));
    }

    #[test]
    fn a_word_is_copied_whole_or_not_at_all() {
        assert_eq!(Word::new("'ab'c").copied::<3>().as_deref(), Some("abc"));
        assert_eq!(Word::new("'ab'cd").copied::<3>(), None);
    }

    #[test]
    fn a_word_does_not_show_a_secret_when_debugged() {
        assert_eq!(std::format!("{:?}", Word::new("'hunter2'")), "Word(7 bytes)");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Reads Rust source as tokens and lists the paths it names, so that comments and strings never count.

use std::str::FromStr;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// A path as written, `use` groups expanded, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Line of the first segment, counted from 1.
    pub(crate) line: usize,
    /// The inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
    /// The segments; a glob is `*`. A lone identifier counts only in a `use`.
    pub(crate) segments: Vec<String>,
    /// Whether a `use` or `extern crate` names it.
    pub(crate) imported: bool,
    /// Whether it stands in an item marked `#[cfg(test)]`.
    pub(crate) tested: bool,
}

/// Where in a file a token stands.
#[derive(Debug, Default, Clone)]
struct Place {
    inside: Vec<String>,
    tested: bool,
}

/// What a file names.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every path, in order of appearance.
    pub(crate) paths: Vec<Named>,
    /// Every identifier and keyword, with its line.
    pub(crate) words: Vec<(usize, String)>,
    /// The lines of floating-point literals.
    pub(crate) floats: Vec<usize>,
}

impl Source {
    /// Reads a whole file.
    ///
    /// # Panics
    /// When `text` is not made of Rust tokens.
    pub(crate) fn read(text: &str) -> Self {
        let tokens = TokenStream::from_str(text).expect("the file consists of Rust tokens");
        let mut source = Self::default();
        source.scan(tokens, &Place::default());
        source
    }

    fn scan(&mut self, tokens: TokenStream, place: &Place) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut here = place.clone();
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at] {
                TokenTree::Group(group) => {
                    here.tested |= is_test_marker(group);
                    if !is_visibility(&tokens, at) {
                        self.scan(group.stream(), &here);
                    }
                    1
                }
                TokenTree::Ident(word) => self.scan_word(word, &tokens[at..], &here),
                TokenTree::Literal(literal) => {
                    // `pair.0.1` lexes as a float behind a dot.
                    if is_float(&literal.to_string()) && !ends_in_dot(&tokens[..at]) {
                        self.floats.push(literal.span().start().line);
                    }
                    1
                }
                TokenTree::Punct(_) => 1,
            };
            if ends_item(&tokens[at - 1]) {
                here.tested = place.tested;
            }
        }
    }

    /// Reads what `word`, the first of `tokens`, begins; returns how many tokens that took.
    fn scan_word(&mut self, word: &Ident, tokens: &[TokenTree], place: &Place) -> usize {
        self.words.push((word.span().start().line, word.to_string()));
        match (word.to_string().as_str(), tokens.get(1), tokens.get(2)) {
            ("mod", Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) => {
                let inside = place.inside.iter().cloned().chain([name.to_string()]).collect();
                self.scan(body.stream(), &Place { inside, tested: place.tested });
                3
            }
            ("use", ..) => {
                let end = tokens.iter().position(|token| is_punct(token, ';')).unwrap_or(tokens.len());
                self.scan_use(&tokens[1..end], &[], place);
                end
            }
            ("extern", Some(TokenTree::Ident(krate)), Some(TokenTree::Ident(name))) if krate == "crate" => {
                self.import(name, vec![name.to_string()], place);
                3
            }
            _ => self.scan_path(word, tokens, place),
        }
    }

    /// A path in an expression or a type; a lone identifier is none.
    fn scan_path(&mut self, first: &Ident, tokens: &[TokenTree], place: &Place) -> usize {
        let mut segments = vec![first.to_string()];
        let mut taken = 1;
        while let Some(TokenTree::Ident(next)) = after_colons(&tokens[taken..]) {
            self.words.push((next.span().start().line, next.to_string()));
            segments.push(next.to_string());
            taken += 3;
        }
        if segments.len() > 1 {
            let line = first.span().start().line;
            self.paths.push(Named {
                line,
                inside: place.inside.clone(),
                segments,
                imported: false,
                tested: place.tested,
            });
        }
        taken
    }

    /// One `use` tree behind `prefix`: a path, a group of trees, a glob or a renaming.
    fn scan_use(&mut self, tokens: &[TokenTree], prefix: &[String], place: &Place) {
        let mut path = prefix.to_vec();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "as" => return self.import_at(&tokens[at - 1], path, place),
                TokenTree::Ident(word) => {
                    self.words.push((word.span().start().line, word.to_string()));
                    // `{self}` at the end of a path is the path itself.
                    if path.is_empty() || word != "self" {
                        path.push(word.to_string());
                    }
                }
                TokenTree::Group(group) => {
                    let members: Vec<TokenTree> = group.stream().into_iter().collect();
                    for member in members.split(|token| is_punct(token, ',')).filter(|member| !member.is_empty()) {
                        self.scan_use(member, &path, place);
                    }
                    return;
                }
                TokenTree::Punct(mark) if mark.as_char() == '*' => path.push("*".into()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if let Some(last) = tokens.last() {
            self.import_at(last, path, place);
        }
    }

    fn import(&mut self, name: &Ident, segments: Vec<String>, place: &Place) {
        self.import_at(&TokenTree::Ident(name.clone()), segments, place);
    }

    fn import_at(&mut self, token: &TokenTree, segments: Vec<String>, place: &Place) {
        let line = token.span().start().line;
        self.paths.push(Named { line, inside: place.inside.clone(), segments, imported: true, tested: place.tested });
    }
}

/// Whether the group at `at` is the `(crate)` of `pub(crate)`, which names a scope and imports nothing.
fn is_visibility(tokens: &[TokenTree], at: usize) -> bool {
    let TokenTree::Group(group) = &tokens[at] else { return false };
    let after_pub = at > 0 && matches!(&tokens[at - 1], TokenTree::Ident(word) if word == "pub");
    let scope = group.stream().into_iter().next();
    after_pub
        && group.delimiter() == Delimiter::Parenthesis
        && matches!(scope, Some(TokenTree::Ident(word)) if ["crate", "super", "self", "in"].contains(&word.to_string().as_str()))
}

/// Whether `group` is the `[cfg(test)]` of an attribute.
fn is_test_marker(group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

fn ends_item(token: &TokenTree) -> bool {
    is_punct(token, ';') || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn ends_in_dot(before: &[TokenTree]) -> bool {
    before.last().is_some_and(|token| is_punct(token, '.'))
}

/// The token behind a leading `::`.
fn after_colons(tokens: &[TokenTree]) -> Option<&TokenTree> {
    match tokens {
        [first, second, third, ..] if is_punct(first, ':') && is_punct(second, ':') => Some(third),
        _ => None,
    }
}

fn is_float(literal: &str) -> bool {
    let is_number = literal.starts_with(|first: char| first.is_ascii_digit());
    let has_radix = ["0x", "0o", "0b"].iter().any(|radix| literal.starts_with(radix));
    let exponent = literal.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').starts_with(['e', 'E']);
    is_number
        && !has_radix
        && (literal.contains('.') || exponent || literal.ends_with("f32") || literal.ends_with("f64"))
}

#[test]
fn comments_and_strings_name_nothing() {
    let source = Source::read("/// crate::a::b\n// std::x\nconst TEXT: &str = \"crate::stages::seal unsafe 1.0\";");
    assert!(source.paths.is_empty(), "{:?}", source.paths);
    assert!(source.floats.is_empty());
    assert!(!source.words.iter().any(|(_, word)| word == "unsafe"));
}

#[test]
fn use_groups_globs_and_renamings_expand_to_whole_paths() {
    let source = Source::read("use crate::{a::{self, b as c}, d::*};\nfn f() { super::e::<u8>() }");
    let paths: Vec<String> = source.paths.iter().map(|named| named.segments.join("::")).collect();
    assert_eq!(paths, ["crate::a", "crate::a::b", "crate::d::*", "super::e"]);
    assert_eq!(source.paths.iter().map(|named| named.line).collect::<Vec<_>>(), [1, 1, 1, 2]);
}

#[test]
fn floats_are_told_from_integers_and_from_fields_of_tuples() {
    let source = Source::read("f(1.5, 2e3, 7f64, 0x1e5, 10, 0xf32, pair.0.1, 0..9)");
    assert_eq!(source.floats, [1, 1, 1]);
}

#[test]
fn only_the_item_behind_the_marker_is_a_test() {
    let source =
        Source::read("#[cfg(test)] mod tests { fn f() { a::b() } } fn g() { c::d() } #[cfg(test)] use e::f; use g::h;");
    assert_eq!(source.paths.iter().map(|named| named.tested).collect::<Vec<_>>(), [true, false, true, false]);
}

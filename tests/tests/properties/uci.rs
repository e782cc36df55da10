// SPDX-License-Identifier: BSD-2-Clause
//! What a naive writer writes in UCI's grammar, in any of its ways of quoting, is read back.

use mlvpn_tests::fuzz::quoted;
use mlvpn_uci::package::{Entry, Package, Section, room_for};
use proptest::prelude::*;

/// One option of the model: its name, whether it is a list, and its values.
type ModelOption = (String, bool, Vec<String>);
/// One section of the model: its type, its name, and its options.
type ModelSection = (String, String, Vec<ModelOption>);

/// How the writer writes a word.
#[derive(Clone, Copy, Debug)]
enum Quoting {
    Single,
    Double,
    /// A backslash before every character.
    Escaped,
    /// A quote of each kind and none in turn.
    Mixed,
}

fn written(word: &str, quoting: Quoting) -> String {
    let double = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
    // A backslash takes a line feed away instead of protecting it.
    let escaped = |c: char| if c == '\n' || c == '\r' { quoted(&c.to_string()) } else { format!("\\{c}") };
    match quoting {
        Quoting::Single => quoted(word),
        Quoting::Double => double(word),
        Quoting::Escaped if word.is_empty() => "''".to_owned(),
        Quoting::Escaped => word.chars().map(escaped).collect(),
        Quoting::Mixed => {
            let part = |(index, c): (usize, char)| match index % 3 {
                0 => quoted(&c.to_string()),
                1 => double(&c.to_string()),
                _ => escaped(c),
            };
            format!("''{}", word.chars().enumerate().map(part).collect::<String>())
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9_]{1,8}"
}

/// Everything the grammar has a meaning for, and some it has none for.
fn values() -> impl Strategy<Value = String> {
    "[ \t\n\r'\"\\\\#;a-c0-9\u{1}\u{e9}\u{2602}]{1,12}"
}

fn options() -> impl Strategy<Value = ModelOption> {
    (names(), any::<bool>(), proptest::collection::vec(values(), 1..4)).prop_map(|(name, is_list, mut values)| {
        values.truncate(if is_list { values.len() } else { 1 });
        (name, is_list, values)
    })
}

fn sections() -> impl Strategy<Value = Vec<ModelSection>> {
    let name = prop_oneof![3 => names(), 1 => Just(String::new())];
    let section = ("[a-z-]{1,8}", name, proptest::collection::vec(options(), 0..5));
    proptest::collection::vec(section, 0..5).prop_map(|mut sections| {
        // What is set twice is merged; the model stays naive by saying nothing twice.
        let mut taken: Vec<String> = Vec::new();
        sections.retain(|(_, name, _)| {
            let is_new = name.is_empty() || !taken.contains(name);
            taken.push(name.clone());
            is_new
        });
        for (_, _, options) in &mut sections {
            let mut taken: Vec<String> = Vec::new();
            options.retain(|(name, ..)| {
                let is_new = !taken.contains(name);
                taken.push(name.clone());
                is_new
            });
        }
        sections
    })
}

/// What stands between words and between lines.
#[derive(Clone, Debug)]
struct Layout {
    quotings: Vec<Quoting>,
    blank: &'static str,
    line_end: &'static str,
}

fn layouts() -> impl Strategy<Value = Layout> {
    let quoting = prop::sample::select(vec![Quoting::Single, Quoting::Double, Quoting::Escaped, Quoting::Mixed]);
    let quotings = proptest::collection::vec(quoting, 1..6);
    let blank = prop::sample::select(vec![" ", "\t", "  \t", " \u{b}"]);
    let line_end = prop::sample::select(vec!["\n", "\r\n", " # why\n", "\n\n# a line\n", "  \n"]);
    (quotings, blank, line_end).prop_map(|(quotings, blank, line_end)| Layout { quotings, blank, line_end })
}

/// The naive writer.
fn write(sections: &[ModelSection], layout: &Layout) -> String {
    let mut text = String::new();
    let mut quotings = layout.quotings.iter().copied().cycle();
    let mut line = |keyword: &str, words: &[&str]| {
        // A keyword ends at a space or tab.
        text += &format!(" {keyword} ");
        for word in words {
            text += layout.blank;
            text += &written(word, quotings.next().expect("it cycles"));
        }
        text += layout.line_end;
    };
    for (kind, name, options) in sections {
        line("config", &[kind, name]);
        for (option, is_list, values) in options {
            for value in values {
                line(if *is_list { "list" } else { "option" }, &[option, value]);
            }
        }
    }
    text
}

fn read(text: &str) -> Vec<ModelSection> {
    let (sections, entries) = room_for(text);
    let mut room = (vec![Section::default(); sections], vec![Entry::default(); entries]);
    let package = Package::read(text, &mut room.0, &mut room.1).expect("it was written by the grammar");
    let section = |(index, section): (usize, &Section<'_>)| {
        let mut options: Vec<ModelOption> = Vec::new();
        for entry in package.entries_of(index) {
            let (name, value) = (entry.name.to_string(), entry.value.to_string());
            match options.last_mut().filter(|last| last.0 == name) {
                Some(last) => last.2.push(value),
                None => options.push((name, entry.in_list, vec![value])),
            }
        }
        (section.kind.to_string(), section.name.to_string(), options)
    };
    package.sections().iter().enumerate().map(section).collect()
}

#[test]
fn what_is_written_in_any_way_of_quoting_is_read_back() {
    let check = |(sections, layout): (Vec<ModelSection>, Layout)| {
        prop_assert_eq!(read(&write(&sections, &layout)), sections);
        Ok(())
    };
    super::runner(3_000).run(&(sections(), layouts()), check).unwrap();
}

#[test]
fn cutting_a_file_anywhere_ends_in_a_package_or_an_error_on_its_last_line() {
    let check = |(sections, layout, at): (Vec<ModelSection>, Layout, prop::sample::Index)| {
        let text = write(&sections, &layout);
        let cut = (0..=at.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let text = &text[..cut];
        let (sections, entries) = room_for(text);
        let mut room = (vec![Section::default(); sections], vec![Entry::default(); entries]);
        if let Err(error) = Package::read(text, &mut room.0, &mut room.1) {
            prop_assert_eq!(error.line as usize, text.split_inclusive('\n').count());
        }
        Ok(())
    };
    super::runner(3_000).run(&(sections(), layouts(), any::<prop::sample::Index>()), check).unwrap();
}

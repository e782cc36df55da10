// SPDX-License-Identifier: BSD-2-Clause
//! The reader against the real `uci`: recorded verdicts on tricky files, of openwrt/uci of November 2025.

use std::fmt::Write;

use mlvpn_uci::package::{Entry, Package, Section, room_for};
use mlvpn_uci::reader::Reason;
use mlvpn_uci::word::Word;

const VERDICTS: &str = include_str!("../../tests/vectors/uci/verdicts.json");

/// A value as the shell and `uci` quote it.
fn quoted(value: Word<'_>) -> String {
    format!("'{}'", value.to_string().replace('\'', r"'\''"))
}

/// The options of a section, each with all its values.
fn options<'p, 'a>(package: &'p Package<'_, 'a>, section: usize) -> Vec<(Word<'a>, Vec<&'p Entry<'a>>)> {
    let mut options: Vec<(Word<'a>, Vec<&Entry<'a>>)> = Vec::new();
    for entry in package.entries_of(section) {
        match options.iter_mut().find(|(name, _)| *name == entry.name) {
            Some((_, values)) => values.push(entry),
            None => options.push((entry.name, vec![entry])),
        }
    }
    options
}

/// What `uci show mlvpn` prints.
fn show(package: &Package<'_, '_>) -> String {
    let mut text = String::new();
    for (index, section) in package.sections().iter().enumerate() {
        let before = package.sections()[..index].iter().filter(|other| other.kind == section.kind).count();
        let name = match section.name.is_empty() {
            true => format!("mlvpn.@{}[{before}]", section.kind),
            false => format!("mlvpn.{}", section.name),
        };
        writeln!(text, "{name}={}", section.kind).unwrap();
        for (option, values) in options(package, index) {
            let values: Vec<_> = values.iter().map(|entry| quoted(entry.value)).collect();
            writeln!(text, "{name}.{option}={}", values.join(" ")).unwrap();
        }
    }
    text
}

/// What `uci export mlvpn` prints.
fn export(package: &Package<'_, '_>) -> String {
    let mut text = String::from("package mlvpn\n");
    for (index, section) in package.sections().iter().enumerate() {
        let name = if section.name.is_empty() { String::new() } else { format!(" {}", quoted(section.name)) };
        writeln!(text, "\nconfig {}{name}", section.kind).unwrap();
        for entry in options(package, index).into_iter().flat_map(|(_, values)| values) {
            let keyword = if entry.in_list { "list" } else { "option" };
            writeln!(text, "\t{keyword} {} {}", entry.name, quoted(entry.value)).unwrap();
        }
    }
    text.push('\n');
    text
}

/// What libuci calls the reason.
fn in_its_words(reason: Reason) -> String {
    match reason {
        Reason::InvalidCommand => "invalid command".into(),
        Reason::NoArguments => "option without name".into(),
        Reason::InsufficientArguments => "insufficient arguments".into(),
        Reason::TooManyArguments => "too many arguments".into(),
        Reason::InvalidName => "invalid character in name field".into(),
        Reason::InvalidType => "invalid character in type field".into(),
        Reason::Unterminated(quote) => format!("EOF with unterminated {quote}"),
        Reason::OutsideSection => "option/list command found before the first section".into(),
        Reason::OtherType => "section of different type overwrites prior section with same name".into(),
        Reason::Nul | Reason::NoRoom => "none: libuci does not refuse this".into(),
    }
}

#[test]
fn every_recorded_verdict_is_ours() {
    let recorded: serde_json::Value = serde_json::from_str(VERDICTS).expect("the vectors are JSON");
    let cases = recorded["cases"].as_array().expect("a list of cases");
    assert_eq!(cases.len(), 53);
    for case in cases {
        let said = |key: &str| case[key].as_str().expect("a string");
        let text = said("input");
        let (sections, entries) = room_for(text);
        let mut room = (vec![Section::default(); sections], vec![Entry::default(); entries]);
        match Package::read(text, &mut room.0, &mut room.1) {
            Ok(package) => {
                assert_eq!(case["exit"], 0, "{}", said("name"));
                assert_eq!(show(&package), said("show"), "{}", said("name"));
                assert_eq!(export(&package), said("export"), "{}", said("name"));
            }
            Err(error) => {
                assert_eq!(case["exit"], 1, "{}: {error}", said("name"));
                let (reason, line, byte) = (in_its_words(error.reason), error.line, error.byte);
                let message = format!("uci: Parse error ({reason}) at line {line}, byte {byte}\n");
                assert_eq!(message, said("error"), "{}", said("name"));
            }
        }
    }
}

/// Runs the reader on what real `uci` was seen to do with such text while this reader was written.
#[test]
fn the_corners_of_the_grammar_read_as_libuci_reads_them() {
    let read = |text: &str| {
        let (sections, entries) = room_for(text);
        let mut room = (vec![Section::default(); sections], vec![Entry::default(); entries]);
        Package::read(text, &mut room.0, &mut room.1).map(|package| show(&package)).map_err(|error| error.reason)
    };
    let one = Ok("mlvpn.h=t\nmlvpn.h.p='1'\n".to_owned());
    // Behind a quoted word a semicolon begins a statement; behind a plain one it ends the line.
    assert_eq!(read("config t 'h'; option p 1\n"), one);
    assert_eq!(read("config t h; option p 1\n"), Ok("mlvpn.h=t\n".to_owned()));
    assert_eq!(read("config t 'h'\n option p '1';\n"), Err(Reason::InvalidCommand));
    // Letters stand for keywords, and an empty word lets the line go on.
    assert_eq!(read("p x\nc t h\n o p 1\n"), one);
    assert_eq!(read("config t h '' option p 1\n"), one);
    // A joined line ends the word where it begins with white space.
    assert_eq!(read("config t h\n option p\\\n 1\n"), one);
    assert_eq!(read("config t h\n option p 1\n option p ''\n"), one);
    assert_eq!(read("config t h\n list p ''\n"), Ok("mlvpn.h=t\nmlvpn.h.p=''\n".to_owned()));
    assert_eq!(read("config"), Err(Reason::NoArguments));
    assert_eq!(read("config t h\n option \n"), Err(Reason::InsufficientArguments));
    assert_eq!(read("config 't t' h\n"), Err(Reason::InvalidType));
    assert_eq!(read("config t h\n option p \0\n"), Err(Reason::Nul));
}

// SPDX-License-Identifier: BSD-2-Clause
//! The sections of a file of UCI, merged as libuci merges them.
//!
//! A section opened again by its name goes on; an option set again takes the new value in the old place, be it a list or
//! not; `list` behind `option` makes a list of both. An option without a value, or with an empty one, changes nothing.

use core::num::NonZeroU32;

use crate::reader::{Command, Error, Reader, Reason, Statement};
use crate::word::Word;

/// A section.
#[derive(Clone, Copy, Debug, Default)]
pub struct Section<'a> {
    /// Its type.
    pub kind: Word<'a>,
    /// Its name; empty for an anonymous section, which UCI calls `@TYPE[N]`.
    pub name: Word<'a>,
    /// The line it begins on, counted from 1.
    pub line: u32,
}

/// A value of an option, or one of the values of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    /// Which section of the package it belongs to, counted from 0.
    pub section: usize,
    /// The option's name.
    pub name: Word<'a>,
    /// The value; not empty, but in a list.
    pub value: Word<'a>,
    /// The line it stands on, counted from 1.
    pub line: u32,
    /// Whether it is one of a list's.
    pub in_list: bool,
    /// The line of an earlier value that this one takes the place of.
    pub replaces: Option<NonZeroU32>,
}

/// A file's sections, in the room the caller brought.
#[derive(Debug)]
pub struct Package<'s, 'a> {
    sections: &'s mut [Section<'a>],
    entries: &'s mut [Entry<'a>],
    /// How many of each are in use.
    section_count: usize,
    entry_count: usize,
}

/// Sections and entries that reading `text` takes room for at most, up to its first error.
#[must_use]
pub fn room_for(text: &str) -> (usize, usize) {
    let mut room = (0_usize, 0_usize);
    for statement in Reader::new(text).map_while(Result::ok) {
        match statement.command {
            Command::Package(_) => {}
            Command::Config { .. } => room.0 = room.0.saturating_add(1),
            Command::Option { .. } | Command::List { .. } => room.1 = room.1.saturating_add(1),
        }
    }
    room
}

impl<'s, 'a> Package<'s, 'a> {
    /// Reads a whole file. The work is linear in the text and, for each statement, in the room.
    ///
    /// # Errors
    /// What libuci refuses the file for; too little room.
    pub fn read(text: &'a str, sections: &'s mut [Section<'a>], entries: &'s mut [Entry<'a>]) -> Result<Self, Error> {
        let mut package = Self { sections, entries, section_count: 0, entry_count: 0 };
        let mut reader = Reader::new(text);
        let mut current = 0;
        while let Some(statement) = reader.next() {
            package.take(statement?, &mut current).map_err(|reason| reader.error(reason))?;
        }
        Ok(package)
    }

    /// The sections in the order of the file.
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        self.sections.get(..self.section_count).unwrap_or_default()
    }

    /// The entries of all sections, those of one section in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'a>] {
        self.entries.get(..self.entry_count).unwrap_or_default()
    }

    /// The entries of the section of this index.
    pub fn entries_of(&self, section: usize) -> impl Iterator<Item = &Entry<'a>> {
        self.entries().iter().filter(move |entry| entry.section == section)
    }

    fn take(&mut self, statement: Statement<'a>, current: &mut usize) -> Result<(), Reason> {
        let line = statement.line;
        match statement.command {
            Command::Package(_) => {}
            Command::Config { kind, name } => *current = self.open(Section { kind, name, line })?,
            Command::Option { name, value } => {
                let entry = Entry { section: *current, name, value, line, in_list: false, replaces: None };
                if !value.is_empty() {
                    self.set(entry)?;
                }
            }
            Command::List { name, value } => {
                for earlier in self.same(*current, name) {
                    earlier.in_list = true;
                }
                self.push(Entry { section: *current, name, value, line, in_list: true, replaces: None })?;
            }
        }
        Ok(())
    }

    fn open(&mut self, section: Section<'a>) -> Result<usize, Reason> {
        let known = self.sections().iter().position(|known| !section.name.is_empty() && known.name == section.name);
        if let Some(index) = known {
            let same_type = self.sections().get(index).is_some_and(|known| known.kind == section.kind);
            return if same_type { Ok(index) } else { Err(Reason::OtherType) };
        }
        let index = self.section_count;
        *self.sections.get_mut(index).ok_or(Reason::NoRoom)? = section;
        self.section_count = index.saturating_add(1);
        Ok(index)
    }

    fn set(&mut self, mut entry: Entry<'a>) -> Result<(), Reason> {
        let mut places = self.same(entry.section, entry.name);
        let Some(first) = places.next() else {
            drop(places);
            return self.push(entry);
        };
        let was_list = first.in_list;
        entry.replaces = NonZeroU32::new(first.line);
        *first = entry;
        drop(places);
        if was_list {
            self.forget_rest_of_list(entry);
        }
        Ok(())
    }

    /// Takes out what is left of the list that `entry` has replaced.
    fn forget_rest_of_list(&mut self, entry: Entry<'a>) {
        let used = self.entries.get_mut(..self.entry_count).unwrap_or_default();
        let mut kept = 0_usize;
        for index in 0..used.len() {
            let keeps = used
                .get(index)
                .is_some_and(|old| !(old.in_list && old.section == entry.section && old.name == entry.name));
            if keeps {
                used.swap(kept, index);
                kept = kept.saturating_add(1);
            }
        }
        self.entry_count = kept;
    }

    fn same(&mut self, section: usize, name: Word<'a>) -> impl Iterator<Item = &mut Entry<'a>> {
        let used = self.entries.get_mut(..self.entry_count).unwrap_or_default();
        used.iter_mut().filter(move |entry| entry.section == section && entry.name == name)
    }

    fn push(&mut self, entry: Entry<'a>) -> Result<(), Reason> {
        *self.entries.get_mut(self.entry_count).ok_or(Reason::NoRoom)? = entry;
        self.entry_count = self.entry_count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: [Section<'_>; 2] = [Section { kind: Word::new(""), name: Word::new(""), line: 0 }; 2];

    #[test]
    fn what_has_no_room_is_refused_where_it_stands() {
        let text = "config t a\n option p 1\n option q 2\n";
        assert_eq!(room_for(text), (1, 2));
        let error = Package::read(text, &mut SECTIONS.clone(), &mut [Entry::default()]).expect_err("one is too many");
        assert_eq!((error.reason, error.line), (Reason::NoRoom, 3));
        assert_eq!(Package::read(text, &mut [], &mut []).expect_err("no room").reason, Reason::NoRoom);
    }

    #[test]
    fn a_replaced_value_is_remembered_by_its_line() {
        let text = "config t a\n list p 1\n list p 2\n option q 3\n option p 4\n option q ''\n";
        let (mut sections, mut entries) = (SECTIONS, [Entry::default(); 5]);
        let package = Package::read(text, &mut sections, &mut entries).expect("a package");
        let [p, q] = package.entries() else { panic!("two entries: {:?}", package.entries()) };
        assert!(p.value.is("4") && p.replaces == NonZeroU32::new(2) && !p.in_list);
        assert!(q.value.is("3") && q.replaces.is_none());
    }
}

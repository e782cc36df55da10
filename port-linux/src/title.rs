// SPDX-License-Identifier: BSD-2-Clause
//! The process's title, as `ps` shows it: `mlvpn: NAME !down @up ~lossy`, as MLVPN 2.3.5 writes it.
//!
//! `ps` reads the memory the kernel put the arguments and the environment in. Rust has copied neither, but reads the
//! environment only through pointers the kernel set up before, so the title keeps to the arguments' own bytes. They are
//! overwritten through `/proc/self/mem`, an ordinary file; the kernel checks the address, so a wrong one is an error
//! and not a crash. The arguments must have been read before: afterwards `std::env::args` gives the title.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

/// The longest title; more room than this is left unused.
const MAX_TITLE: usize = 1024;

/// A link's state in the title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TitleMark {
    /// `!`: down.
    Down,
    /// `@`: up.
    Up,
    /// `~`: up, losing too much.
    Lossy,
}

/// The right to write the process's title.
#[derive(Debug)]
pub struct ProcessTitle {
    memory: File,
    /// Where the arguments start in this process's memory.
    start: u64,
    /// Bytes the arguments take, closing zero bytes included.
    room: usize,
}

impl ProcessTitle {
    /// Finds the arguments' memory. To be called after a fork (the memory is the calling process's) and before
    /// privileges are dropped (the kernel closes `/proc/self/mem` to a process that changed its user); the arguments
    /// must have been read before.
    ///
    /// # Errors
    /// No `/proc`, or one that hides the addresses. The title is decoration: go on without.
    pub fn open() -> io::Result<Self> {
        let (start, end) = argument_range(&std::fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat shows no arguments"))?;
        let room = usize::try_from(end.saturating_sub(start)).unwrap_or(0).min(MAX_TITLE);
        let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
        Ok(Self { memory, start, room })
    }

    /// Shows `title`, cut to the room the command line leaves.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set(&self, title: &str) -> io::Result<()> {
        self.memory.write_all_at(&fitted(title, self.room), self.start)
    }
}

/// The title of a worker: `mlvpn: NAME`, then each link's mark and name.
#[must_use]
pub fn worker_title<'a>(name: &str, links: impl IntoIterator<Item = (TitleMark, &'a str)>) -> String {
    let mut title = format!("mlvpn: {name}");
    for (mark, link) in links {
        let mark = match mark {
            TitleMark::Down => '!',
            TitleMark::Up => '@',
            TitleMark::Lossy => '~',
        };
        let written: fmt::Result = write!(title, " {mark}{link}");
        debug_assert!(written.is_ok(), "a String takes every text");
    }
    title
}

/// The title of a monitor: `mlvpn: NAME [priv]`.
#[must_use]
pub fn monitor_title(name: &str) -> String {
    format!("mlvpn: {name} [priv]")
}

/// `title` in exactly `room` bytes: cut at a letter's boundary, control characters replaced, zero bytes behind. The
/// last byte stays zero, which tells `ps` that the arguments end there.
fn fitted(title: &str, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room);
    for letter in title.chars().map(|letter| if letter.is_control() { '?' } else { letter }) {
        if bytes.len() + letter.len_utf8() >= room {
            break;
        }
        bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
    }
    bytes.resize(room, 0);
    bytes
}

/// `arg_start` and `arg_end`, fields 48 and 49 of proc_pid_stat(5). The second field, the program's name, stands in
/// parentheses and may hold anything, so counting starts behind the last one.
fn argument_range(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(48 - 3);
    let start: u64 = fields.next()?.parse().ok()?;
    let end: u64 = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_show_each_link_with_its_mark() {
        let links = [(TitleMark::Down, "adsl"), (TitleMark::Up, "lte"), (TitleMark::Lossy, "sat")];
        assert_eq!(worker_title("home", links), "mlvpn: home !adsl @lte ~sat");
        assert_eq!(monitor_title("home"), "mlvpn: home [priv]");
    }

    #[test]
    fn a_title_is_cut_at_a_letter_and_always_ends_in_zero() {
        assert_eq!(fitted("abc", 6), b"abc\0\0\0");
        assert_eq!(fitted("abcdef", 4), b"abc\0");
        assert_eq!(fitted("ab\u{e4}", 4), b"ab\0\0");
        assert_eq!(fitted("a\nb", 4), b"a?b\0");
        assert_eq!(fitted("abc", 0), b"");
    }

    #[test]
    fn the_argument_range_is_found_behind_any_program_name() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) S (b) S {}", fields.join(" "));
        assert_eq!(argument_range(&stat), Some((48, 49)));
        assert_eq!(argument_range("7 (a) S 1 2 3"), None);
        assert_eq!(argument_range(""), None);
    }

    #[test]
    fn the_kernel_shows_the_title() {
        let before = std::fs::read("/proc/self/cmdline").expect("cmdline");
        let title = ProcessTitle::open().expect("open");
        title.set("mlvpn: x").expect("set");
        let shown = std::fs::read("/proc/self/cmdline").expect("cmdline");
        title.memory.write_all_at(&before[..title.room], title.start).expect("put back");
        assert!(shown.starts_with(b"mlvpn: x\0"), "{:?}", String::from_utf8_lossy(&shown));
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What people are told on standard error. Where it cannot be written (a full disk, a closed pipe) there is nobody to
//! tell and nowhere to complain, so that is no reason to end, and changes no exit code. The macros of the standard
//! library panic instead, and are not used.

use std::fmt;
use std::io::{self, Write};

/// Writes `line` and its end to standard error.
pub fn say(line: fmt::Arguments<'_>) {
    say_lines(&format!("{line}\n"));
}

/// Writes `text`, which ends its lines itself, to standard error.
pub fn say_lines(text: &str) {
    // In one piece, so that the lines of several processes stay whole.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// Standard error for those who take a writer: one that never fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Diagnostics;

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

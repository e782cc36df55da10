// SPDX-License-Identifier: BSD-2-Clause
//! The drawing's file: there before the run, and gone again when the run comes to nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::run::Halt;

/// A file that is to get a drawing. What it held before stays until then.
#[derive(Debug)]
pub(super) struct Drawing {
    path: PathBuf,
    file: File,
    /// Whether it is only there for a drawing that has not come.
    is_vain: bool,
}

impl Drawing {
    /// Opens the file for writing, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Halt> {
        let new = OpenOptions::new().write(true).create_new(true).open(path);
        let (opened, is_vain) = match new {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (OpenOptions::new().write(true).create(true).truncate(false).open(path), false)
            }
            new => (new, true),
        };
        let file = opened.map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file, is_vain })
    }

    /// Writes the drawing in place of what the file held.
    pub(super) fn finish(mut self, drawing: &str) -> Result<(), Halt> {
        self.write(drawing).map_err(|error| cannot_write(&self.path, &error))?;
        self.is_vain = false;
        Ok(())
    }

    fn write(&mut self, drawing: &str) -> io::Result<()> {
        // Pipes and terminals have no length to cut.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(drawing.as_bytes())
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        if self.is_vain {
            // There is nobody left to tell, and an empty file does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Halt {
    Halt::Failed(format!("cannot write the drawing to {}: {error}", path.display()))
}

// SPDX-License-Identifier: BSD-2-Clause
//! The files a configuration is read from, opened by the monitor for a worker who may not.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::open_file;
use crate::sys::MAX_DESCRIPTORS;

/// Files beside the configuration that are handed over: a message carries no more.
const MAX_BESIDE: usize = MAX_DESCRIPTORS - 1;

/// Their paths, each behind a zero byte: 252 of 64 bytes. A socket takes five times as much at once.
pub(super) const MAX_PATHS: usize = 16_384;

/// The configuration, and the files that it names or needs.
#[derive(Debug)]
pub struct Opened {
    /// The configuration, at its start.
    pub config: File,
    /// The others, by the paths they were asked for.
    beside: Vec<(PathBuf, File)>,
}

impl Opened {
    /// A file that the configuration names: the one that was handed over, at its start, and else what this process may
    /// open itself.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        match self.beside.iter().find(|(handed, _)| handed == path) {
            Some((_, file)) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(file)
            }
            None => open_file(path),
        }
    }

    /// What came with the message: `paths` as [`Recorder::paths`] has them.
    pub(super) fn received(config: File, paths: &[u8], mut files: impl Iterator<Item = File>) -> Option<Self> {
        let paths = paths.split(|&byte| byte == 0).skip(1);
        let beside: Option<Vec<_>> =
            paths.map(|path| Some((PathBuf::from(OsStr::from_bytes(path)), files.next()?))).collect();
        Some(Self { config, beside: beside? }).filter(|_| files.next().is_none())
    }
}

/// Opens what a configuration names while it is read, and remembers it.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    opened: RefCell<Vec<(PathBuf, File)>>,
}

impl Recorder {
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let file = open_file(path)?;
        let mut opened = self.opened.borrow_mut();
        // What is no file has no position that could be gone back to, and is refused by whoever reads it.
        if file.metadata()?.is_file() && opened.iter().all(|(known, _)| known != path) {
            opened.push((path.to_owned(), file.try_clone()?));
        }
        Ok(file)
    }

    /// Whether all that was opened fits a message.
    pub(super) fn fits(&self) -> bool {
        let opened = self.opened.borrow();
        opened.len() <= MAX_BESIDE && self.paths().len() <= MAX_PATHS
    }

    /// The paths, each behind a zero byte, which no path has.
    pub(super) fn paths(&self) -> Vec<u8> {
        let opened = self.opened.borrow();
        opened.iter().flat_map(|(path, _)| [&[0], path.as_os_str().as_bytes()].concat()).collect()
    }

    /// The descriptors in the same order.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.opened.borrow().iter().map(|(_, file)| file.as_raw_fd()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn file(name: &str, text: &str) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("mlvpn-files-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        (path.clone(), File::open(path).unwrap())
    }

    #[test]
    fn what_the_monitor_read_is_what_the_worker_reads_however_often() {
        let (path, _) = file("secret", "a secret");
        let recorder = Recorder::default();
        let mut text = String::new();
        recorder.open(&path).unwrap().read_to_string(&mut text).unwrap();
        recorder.open(&path).unwrap();
        assert!(recorder.open(Path::new("/nonexistent")).is_err());
        assert_eq!(recorder.descriptors().len(), 1);
        let handed = recorder.opened.borrow().iter().map(|(_, file)| file.try_clone().unwrap()).collect::<Vec<_>>();
        let config = File::open("/dev/null").unwrap();
        let opened = Opened::received(config, &recorder.paths(), handed.into_iter()).unwrap();
        // Its name is gone, so that only what was handed over can be it.
        std::fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            opened.open(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "a secret");
        }
        assert!(opened.open(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_message_whose_paths_and_files_do_not_match_is_none() {
        let null = || File::open("/dev/null").unwrap();
        assert!(Opened::received(null(), b"\0/a\0/b", [null()].into_iter()).is_none());
        assert!(Opened::received(null(), b"\0/a", [null(), null()].into_iter()).is_none());
        assert!(Opened::received(null(), b"", std::iter::empty()).is_some());
    }
}

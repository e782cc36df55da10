// SPDX-License-Identifier: BSD-2-Clause
//! The configuration's file: who may read it, how large it may be, and `mlvpn check`.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::report::{Report, Severity};
use super::{Config, Loaded, Protocol};

/// A configuration of 64 links and 255 filters takes a tenth of this.
pub const MAX_FILE_BYTES: u32 = 1024 * 1024;

/// Reads a configuration, if only its owner may.
///
/// # Errors
/// What keeps mlvpn from running with the file, and the warnings besides.
pub fn load(path: &Path) -> Loaded {
    open(path).map_err(|report| vec![*report]).and_then(|file| load_from(&file, &path.to_string_lossy()))
}

/// Opens a configuration for [`load_from`] or another reader.
///
/// # Errors
/// Why it cannot be opened.
pub fn open(path: &Path) -> Result<File, Box<Report>> {
    open_file(path).map_err(|error| Box::new(unreadable(&Arc::from(path.to_string_lossy().as_ref()), &error)))
}

/// How a file is opened that a configuration names or needs: [`open_file`], or a way that hands over what a process with
/// more rights opened.
pub type OpenFile<'a> = &'a dyn Fn(&Path) -> io::Result<File>;

/// Opens a file for reading; a FIFO without waiting for a writer.
///
/// # Errors
/// The kernel's refusal.
pub fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// The same for a file that is already open, as when a privileged process opened it; `name` is for the reports.
///
/// # Errors
/// As [`load`].
pub fn load_from(file: &File, name: &str) -> Loaded {
    let text = read_text(file, name).map_err(|report| vec![*report])?;
    Config::parse(name, &text)
}

/// What is wrong with who may read the file: it holds the password or keys, so nobody but its owner may.
#[must_use]
pub fn refused_permissions(name: &str, metadata: &Metadata) -> Option<Report> {
    /// All rights of the group and of others.
    const GROUP_OTHER: u32 = 0o077;
    let mode = metadata.permissions().mode();
    (mode & GROUP_OTHER != 0).then(|| {
        let message = format!("others than its owner can reach the file (mode {:04o})", mode & 0o7777);
        Report::error(&Arc::from(name), message, format!("run: chmod 600 {name}"))
    })
}

/// Reads a file that holds one secret, if only its owner may: what a secret's option of UCI may name instead of it.
///
/// # Errors
/// Why it cannot be read, and what to do.
pub fn read_secret(path: &Path, open: OpenFile<'_>) -> Result<Zeroizing<String>, String> {
    let name = path.to_string_lossy();
    let opened = open(path).map_err(|error| Box::new(unreadable(&Arc::from(name.as_ref()), &error)));
    let text = opened.and_then(|file| read_text(&file, &name));
    text.map_err(|report| format!("{}; {}", report.message, report.advice))
}

/// The text of a configuration that only its owner can reach, for this and other readers.
///
/// # Errors
/// Why it is not read.
pub fn read_text(file: &File, name: &str) -> Result<Zeroizing<String>, Box<Report>> {
    let shared: Arc<str> = Arc::from(name);
    // The open file is asked, not the path: what is checked is what is read.
    let metadata = file.metadata().map_err(|error| Box::new(unreadable(&shared, &error)))?;
    if !metadata.is_file() {
        return Err(Report::error(&shared, "not a regular file", "give the path of the configuration file").into());
    }
    if let Some(report) = refused_permissions(name, &metadata) {
        return Err(report.into());
    }
    if metadata.len() > u64::from(MAX_FILE_BYTES) {
        return Err(too_large(&shared).into());
    }
    let capacity = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    let limit = u64::from(MAX_FILE_BYTES) + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| Box::new(unreadable(&shared, &error)))?;
    // The file may have grown since it was asked.
    if bytes.len() as u64 == limit {
        return Err(too_large(&shared).into());
    }
    // What is not UTF-8 becomes a character that is not ASCII, and is reported where it matters.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

fn unreadable(name: &Arc<str>, error: &io::Error) -> Report {
    Report::error(name, format!("cannot be read: {error}"), "check the path and that mlvpn's user may read it")
}

fn too_large(name: &Arc<str>) -> Report {
    let message = format!("larger than {MAX_FILE_BYTES} bytes");
    Report::error(name, message, "check that this is the file you meant")
}

/// `mlvpn check FILE`: every finding to `findings`, one line that sums up to `summary`.
///
/// True when mlvpn would run with the file, warnings or not.
///
/// # Errors
/// When one of the two cannot be written to.
pub fn check(path: &Path, findings: &mut dyn Write, summary: &mut dyn Write) -> io::Result<bool> {
    check_loaded(path, &load(path), findings, summary)
}

/// The same for what another reader made of the file.
///
/// # Errors
/// As [`check`].
pub fn check_loaded(
    path: &Path,
    loaded: &Loaded,
    findings: &mut dyn Write,
    summary: &mut dyn Write,
) -> io::Result<bool> {
    let reports = match loaded {
        Ok((_, reports)) | Err(reports) => reports,
    };
    for report in reports {
        writeln!(findings, "{}: {report}", report.severity)?;
    }
    let count = |severity| reports.iter().filter(|report| report.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let counts = format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"));
    match loaded {
        Ok((config, _)) => {
            let (mode, links) = (config.general.mode.name(), plural(config.links.len(), "link"));
            let peers = match config.general.protocol {
                Protocol::Classic => String::new(),
                Protocol::Two => format!("{}, ", plural(config.peers.len(), "peer")),
            };
            let filters = plural(config.filters.len(), "filter");
            writeln!(summary, "{}: fine: {mode}, {links}, {peers}{filters}; {counts}", path.display())?;
        }
        Err(_) => writeln!(summary, "{}: not usable; {counts}", path.display())?,
    }
    Ok(loaded.is_ok())
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

// SPDX-License-Identifier: BSD-2-Clause
//! The system log: one datagram for each line, as RFC 3164 has it and every daemon that reads /dev/log takes it. The C
//! library's function for it brings its `printf` and its names of days, 20 KB of a router's flash.

use crate::{clock, sys};
use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the system's logger listens.
pub(super) const PATH: &str = "/dev/log";

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The logger, under a name.
#[derive(Debug)]
pub(super) struct Syslog {
    name: String,
    path: PathBuf,
    /// None while nobody listens.
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Connects at once, for later this process may have no right to.
    pub(super) fn open(path: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), socket: connect(path).ok() }
    }

    /// Writes a line, if anybody takes it. A logger that was started again listens anew.
    pub(super) fn write(&mut self, level: libc::c_int, text: &str) {
        let (name, id, time) = (&self.name, std::process::id(), Time);
        let line = format!("<{}>{time} {name}[{id}]: {text}", libc::LOG_DAEMON | level);
        if self.socket.as_ref().is_some_and(|socket| socket.send(line.as_bytes()).is_ok()) {
            return;
        }
        self.socket = connect(&self.path).ok();
        if let Some(socket) = &self.socket {
            drop(socket.send(line.as_bytes()));
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// Now, as in `Jan 31 23:59:59`.
struct Time;

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, month, day, hour, minute, second] = sys::local_time(clock::wall_seconds()).unwrap_or_default();
        let month = usize::try_from(month.saturating_sub(1)).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
        write!(f, "{month} {day:>2} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(logger: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let len = logger.recv(&mut bytes).expect("a line");
        String::from_utf8(bytes[..len].to_vec()).expect("text")
    }

    #[test]
    fn a_line_has_its_priority_time_name_and_process_and_finds_a_logger_that_was_started_again() {
        let path = std::env::temp_dir().join(format!("mlvpn-log-{}", std::process::id()));
        let logger = UnixDatagram::bind(&path).expect("a logger");
        let mut syslog = Syslog::open(&path, "office");
        syslog.write(libc::LOG_WARNING, "link \"dsl\" is down");
        let line = next(&logger);
        // A daemon's (3) warning (4), and a time of 15 letters, which loggers cut off by their number.
        let (priority, rest) = (line.get(..4), line.get(4 + 15..));
        let expected = format!(" office[{}]: link \"dsl\" is down", std::process::id());
        assert_eq!((priority, rest), (Some("<28>"), Some(expected.as_str())), "{line}");
        assert!(MONTHS.iter().any(|month| line[4..].starts_with(month)), "{line}");
        drop(logger);
        std::fs::remove_file(&path).expect("its socket");
        syslog.write(libc::LOG_ERR, "nobody hears this");
        let logger = UnixDatagram::bind(&path).expect("a logger");
        syslog.write(libc::LOG_ERR, "but this");
        std::fs::remove_file(&path).expect("its socket");
        assert!(next(&logger).ends_with(": but this"));
    }
}

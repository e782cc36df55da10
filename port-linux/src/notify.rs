// SPDX-License-Identifier: BSD-2-Clause
//! What systemd is told of the service: that it is ready, reloads, lives and ends (sd_notify(3)). A datagram each, to the
//! socket the environment names; without one, as under other supervisors, nothing is said.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use mlvpn_core::words::time::{Duration, Instant};

use crate::log::Topic;
use crate::{clock, log_warn};

/// Where to send, as systemd says.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Within how many microseconds it wants to hear that the service lives (`WatchdogSec=`).
const WATCHDOG: &str = "WATCHDOG_USEC";

/// The line to systemd. It is connected when opened, so that it works from an empty root and without rights.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// How often to say that the service lives, and when next.
    watchdog: Option<(Duration, Instant)>,
}

impl Notifier {
    /// The line that the environment names, connected; `now` is when the watchdog begins.
    #[must_use]
    pub fn from_environment(now: Instant) -> Self {
        let socket = std::env::var_os(SOCKET).and_then(|name| {
            let socket = connect(name.as_bytes());
            socket
                .inspect_err(|why| log_warn!(Topic::Privsep, "{SOCKET} does not answer, and is told nothing: {why}"))
                .ok()
        });
        let micros: Option<u64> = std::env::var(WATCHDOG).ok().and_then(|micros| micros.parse().ok());
        // Twice as often as asked for, as sd_watchdog_enabled(3) has it.
        let every = micros.filter(|_| socket.is_some()).map(|micros| Duration::from_micros((micros / 2).max(1)));
        Self { socket, watchdog: every.map(|every| (every, now)) }
    }

    /// The links are open: what waits for the service may go on. Also said when a reload is done.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is read again.
    pub fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_micros()));
    }

    /// The service says goodbye.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={text}"));
    }

    /// When to say next that the service lives.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.map(|(_, at)| at)
    }

    /// Says that the service lives, when that is due. Only the loop that carries packets calls it: when that stands still,
    /// the service does.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((every, at)) = &mut self.watchdog
            && now >= *at
        {
            *at = now + *every;
            self.say("WATCHDOG=1");
        }
    }

    /// A supervisor that is busy misses a word and gets the next.
    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes());
        }
    }
}

/// A path, or behind `@` a name without a file.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(name: &[u8], every: Option<Duration>) -> Notifier {
        let now = Instant::from_micros(1_000_000);
        Notifier { socket: Some(connect(name).unwrap()), watchdog: every.map(|every| (every, now)) }
    }

    #[test]
    fn words_arrive_at_a_name_without_a_file_and_the_watchdog_is_fed_in_time() {
        let name = format!("mlvpn-notify-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        systemd.set_nonblocking(true).unwrap();
        let mut notifier = notifier(format!("@{name}").as_bytes(), Some(Duration::from_secs(5)));
        let heard = || {
            let mut bytes = [0; 200];
            systemd.recv(&mut bytes).ok().map(|len| String::from_utf8_lossy(&bytes[..len]).into_owned())
        };
        notifier.ready();
        assert_eq!(heard().as_deref(), Some("READY=1"));
        for (second, is_fed) in [(1, true), (2, false), (5, false), (6, true), (7, false), (100, true)] {
            notifier.handle_timeout(Instant::from_micros(second * 1_000_000));
            assert_eq!(heard().is_some(), is_fed, "second {second}");
        }
        assert_eq!(notifier.deadline(), Some(Instant::from_micros(105_000_000)));
        notifier.reloading();
        let reloading = heard().unwrap();
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_supervisor_that_reads_nothing_does_not_hold_the_service_up() {
        let name = format!("mlvpn-deaf-{}", std::process::id());
        let _deaf = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = notifier(format!("@{name}").as_bytes(), None);
        (0..10_000).for_each(|_| notifier.status("up"));
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_error() {
        assert!(connect(b"/nonexistent/notify").is_err());
    }
}

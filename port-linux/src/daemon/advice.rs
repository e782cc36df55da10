// SPDX-License-Identifier: BSD-2-Clause
//! What to look at when a tunnel does not come up. Each end only sees that nobody answers, so it says what that may come
//! from, and what it can tell apart.

use mlvpn_core::words::drops::DropReason;
use mlvpn_core::words::time::{Duration, Instant};

use super::engine::Engine;
use super::links::LinkPort;
use super::worker::Worker;
use crate::config::{Mode, Protocol};
use crate::log::Topic;
use crate::{clock, log_warn};

/// A tunnel without a link for this long wants looking at: a server that has just restarted is back by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// It is said again this often: who looks at the log later finds it near its end.
const REPEAT: Duration = Duration::from_secs(600);

/// 2024-01-01: no clock that is right shows less to this program.
const OLDEST_DATE: i64 = 1_704_067_200;

/// When the next advice is due, and what the last one knew.
#[derive(Debug, Default)]
pub(super) struct Advice {
    at: Option<Instant>,
    /// Datagrams that did not open, or handshakes that were refused, up to then.
    refused: u64,
}

impl Advice {
    /// When [`Worker::advise`] has something to say.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.at
    }
}

impl Worker {
    /// Says what may be wrong, when the tunnel has been down for long enough.
    pub(super) fn advise(&mut self, now: Instant) {
        if self.facts.up_since.is_some() {
            self.advice.at = None;
            return;
        }
        let due = *self.advice.at.get_or_insert(now + PATIENCE);
        if now < due {
            return;
        }
        self.advice.at = Some(now + REPEAT);
        let drops = self.engine.drops();
        let refused = [DropReason::Unauthentic, DropReason::Handshake].map(|reason| drops.of(reason)).iter().sum();
        let newly = u64::saturating_sub(refused, std::mem::replace(&mut self.advice.refused, refused));
        if newly > 0 {
            log_warn!(Topic::Protocol, "{newly} datagrams came that do not fit: {}", self.secret_advice());
        } else {
            self.advise_about_silence();
        }
    }

    fn secret_advice(&self) -> &'static str {
        match (self.config.general.protocol, self.config.general.mode) {
            (Protocol::Classic, _) => {
                "the passwords of the two ends differ, or one of them speaks protocol 2; write the same [general] \
                 password on both"
            }
            (Protocol::Two, Mode::Client) => {
                "the server does not know this end's key, or answers with another than the peer's public_key; compare \
                 them with `mlvpn pubkey`, and secret if there is one"
            }
            (Protocol::Two, Mode::Server) => {
                "no peer has the key or secret of who calls; compare public_key with `mlvpn pubkey` there, and secret if \
                 there is one"
            }
        }
    }

    /// Nothing came on any link.
    fn advise_about_silence(&self) {
        let ports = || self.links.iter().flatten().filter(|port| port.socket().is_some());
        match self.config.general.mode {
            Mode::Client => {
                for port in ports() {
                    let Some(remote) = port.remote() else { continue };
                    log_warn!(
                        Topic::Protocol,
                        "{}: no answer from {remote}; is the other end running with mode = \"server\" and bindport = {}, \
                         and does UDP get there?",
                        port.config.name,
                        remote.port()
                    );
                }
            }
            Mode::Server => {
                let port_of = |port: &LinkPort| port.config.bindport.unwrap_or_default();
                let names: Vec<_> =
                    ports().map(|port| format!("{} (port {})", port.config.name, port_of(port))).collect();
                let names = names.join(", ");
                // A server of protocol 2 has peers that come and go.
                if !names.is_empty() && matches!(self.engine, Engine::Classic(_)) {
                    log_warn!(
                        Topic::Protocol,
                        "nobody called on {names}; is the other end running with mode = \"client\" and these as \
                         remoteport, and does UDP get here?"
                    );
                }
            }
        }
    }
}

/// What to say of a wall clock that cannot be right.
pub(super) fn about_clock(wall_seconds: i64) -> Option<&'static str> {
    (wall_seconds < OLDEST_DATE).then_some(
        "the clock shows a year long past; the tunnel does not mind, but dates in the log and days of quotas are wrong: set \
         it, or let NTP set it through the tunnel",
    )
}

/// Says so at start.
pub(super) fn look_at_clock() {
    if let Some(sentence) = about_clock(clock::wall_seconds()) {
        log_warn!(Topic::Config, "{sentence}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_1970_is_named_and_one_that_may_be_right_is_not() {
        assert!(about_clock(0).is_some_and(|sentence| sentence.contains("the clock shows a year long past")));
        assert!(about_clock(86_400 * 365).is_some());
        assert_eq!(about_clock(OLDEST_DATE), None);
    }
}

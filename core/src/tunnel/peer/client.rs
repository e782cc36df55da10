// SPDX-License-Identifier: BSD-2-Clause
//! The client's side of handshakes: when to begin one, and over which link to ask.

use crate::memory::two::MAX_INITIATION;
use crate::state::cookie::CookieJar;
use crate::state::handshake::{HandshakeError, Initiator, Offer};
use crate::state::identity::Ephemeral;
use crate::words::ids::SessionIndex;
use crate::words::time::{Duration, Instant};

use super::config::ClientCredentials;

/// A question is repeated after this, over the next link. WireGuard waits five seconds; here another link may work.
const REPEAT: Duration = Duration::from_millis(500);

/// After this many repetitions a new handshake begins, with new ephemeral keys: ten seconds, five times what the longest
/// paths there are (two satellite hops) take.
const REPETITIONS: u8 = 20;

/// What a client knows about asking.
#[derive(Debug)]
pub(super) struct Asking {
    credentials: ClientCredentials,
    jar: CookieJar,
    pending: Option<Pending>,
    /// When to ask next; None while there is nothing to ask.
    ask_at: Option<Instant>,
    /// Over which link to ask next, by count.
    turn: usize,
}

struct Pending {
    initiator: Initiator,
    message: [u8; MAX_INITIATION],
    len: usize,
    asked: u8,
}

impl core::fmt::Debug for Pending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pending(..)")
    }
}

impl Asking {
    pub(super) fn new(credentials: ClientCredentials) -> Self {
        Self { credentials, jar: CookieJar::default(), pending: None, ask_at: None, turn: 0 }
    }

    /// A session is wanted, from now on until there is one.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.ask_at.is_none() {
            self.ask_at = Some(now);
        }
    }

    /// When to ask.
    pub(super) const fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// The handshake that is under way.
    pub(super) fn initiator(&mut self) -> Option<&mut Initiator> {
        Some(&mut self.pending.as_mut()?.initiator)
    }

    /// There is a session.
    pub(super) fn done(&mut self) {
        self.pending = None;
        self.ask_at = None;
    }

    /// A cookie came: ask again at once with it.
    pub(super) fn take_cookie(&mut self, datagram: &[u8], now: Instant) -> Result<(), HandshakeError> {
        let pending = self.pending.as_ref().ok_or(HandshakeError::NotAwaited)?;
        let cookie = pending.initiator.read_cookie(datagram)?;
        let had_one = self.jar.is_full(now);
        self.jar.put(cookie, now);
        if !had_one {
            self.ask_at = Some(now);
            // The cookie is for the address that was asked from: the same link again.
            self.turn = self.turn.wrapping_sub(1);
        }
        Ok(())
    }

    /// Whether a handshake must begin before the next question.
    pub(super) fn needs_initiator(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.asked >= REPETITIONS)
    }

    /// Begins a handshake under `index`.
    pub(super) fn start(
        &mut self,
        index: SessionIndex,
        offer: Offer,
        ephemeral: Ephemeral,
    ) -> Result<(), HandshakeError> {
        let mut message = [0; MAX_INITIATION];
        let (initiator, len) = Initiator::new(self.credentials.borrow(), index, offer, ephemeral, &mut message)?;
        self.pending = Some(Pending { initiator, message, len, asked: 0 });
        Ok(())
    }

    /// Writes the question to `out`; returns its length and the count that chooses the link.
    pub(super) fn question(&mut self, now: Instant, out: &mut [u8]) -> Option<(usize, usize)> {
        let pending = self.pending.as_mut()?;
        self.ask_at = Some(now + REPEAT);
        pending.asked = pending.asked.saturating_add(1);
        let message = pending.message.get_mut(..pending.len)?;
        self.jar.stamp(message, now);
        out.get_mut(..message.len())?.copy_from_slice(message);
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        Some((message.len(), turn))
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The client's side of handshakes: when to begin one, and over which link to ask.

use crate::memory::two::MAX_INITIATION;
use crate::state::cookie::CookieJar;
use crate::state::handshake::{HandshakeError, Initiator, Offer};
use crate::state::identity::Ephemeral;
use crate::state::path::Place;
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
    /// The place that was asked last, and whether with a cookie.
    last: Option<(Place, bool)>,
    /// The place for which the jar's cookie was made: a cookie is good for one source address.
    jar_place: Option<Place>,
    /// Ask the same place again.
    again: bool,
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
        Self {
            credentials,
            jar: CookieJar::default(),
            pending: None,
            ask_at: None,
            turn: 0,
            last: None,
            jar_place: None,
            again: false,
        }
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

    /// A cookie came: ask the same place again with it, at once unless that was done with a cookie already.
    pub(super) fn take_cookie(&mut self, datagram: &[u8], now: Instant) -> Result<(), HandshakeError> {
        let pending = self.pending.as_ref().ok_or(HandshakeError::NotAwaited)?;
        let cookie = pending.initiator.read_cookie(datagram)?;
        self.jar.put(cookie, now);
        if let Some((place, had_cookie)) = self.last {
            self.jar_place = Some(place);
            if !had_cookie {
                self.ask_at = Some(now);
                self.again = true;
            }
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

    /// Writes the question to `out`; returns its length, and which of `places` is asked.
    pub(super) fn question(&mut self, places: &[Place], now: Instant, out: &mut [u8]) -> Option<(usize, Place)> {
        let place = self.choose(places)?;
        let pending = self.pending.as_mut()?;
        self.ask_at = Some(now + REPEAT);
        pending.asked = pending.asked.saturating_add(1);
        let message = pending.message.get_mut(..pending.len)?;
        let has_cookie = self.jar_place == Some(place) && self.jar.is_full(now);
        if has_cookie {
            self.jar.stamp(message, now);
        } else {
            CookieJar::default().stamp(message, now);
        }
        self.last = Some((place, has_cookie));
        out.get_mut(..message.len())?.copy_from_slice(message);
        Some((message.len(), place))
    }

    fn choose(&mut self, places: &[Place]) -> Option<Place> {
        let last = self.last.map(|(place, _)| place).filter(|place| places.contains(place));
        if let Some(place) = last.filter(|_| core::mem::take(&mut self.again)) {
            return Some(place);
        }
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        places.get(turn.checked_rem(places.len())?).copied()
    }
}

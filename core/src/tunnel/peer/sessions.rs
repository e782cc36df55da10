// SPDX-License-Identifier: BSD-2-Clause
//! Sessions: handshake messages become keys, and new keys take the place of the old.

use core::net::SocketAddr;

use crate::memory::control::Control;
use crate::memory::two::{MessageKind, RESPONSE, Refusal};
use crate::state::handshake::{Claim, Established, HandshakeError};
use crate::state::identity::SharedSecret;
use crate::state::path::Place;
use crate::state::session::Session;
use crate::tunnel::{Arrival, Transmit};
use crate::words::ecn::Ecn;
use crate::words::event::Trouble;
use crate::words::ids::SessionIndex;
use crate::words::time::{Duration, Instant};

use super::client::Asking;
use super::{Peer, UNPROVED, Unproved};

/// Old keys open stragglers for this long after the peer used the new ones; a packet may have been on its way over the
/// slowest link.
const STRAGGLERS: Duration = Duration::from_secs(3);

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Answers a claim of this engine's peer, whose initiation came to `arrival`'s socket: writes the response to `out`.
    /// `secret` is the one shared with this peer besides the keys. The session counts as live only once the peer has
    /// used it, so that a replayed initiation displaces nothing. An initiation that comes again, because its client
    /// repeats it or somebody else does, gets the same answer again, which costs nothing.
    ///
    /// A claim that awaits its proof yields its place only to one whose sender showed a cookie. So whoever replays
    /// recordings, be it with the client's own address for a source, costs the client one round trip, for the cookie.
    ///
    /// # Errors
    /// Why the claim could not be answered. After [`HandshakeError::Contended`] the port has its gateway
    /// [`challenge`](crate::tunnel::gateway::Gateway::challenge) the sender.
    pub fn answer(
        &mut self,
        claim: Claim,
        secret: &SharedSecret,
        arrival: Arrival,
        out: &mut [u8],
    ) -> Result<Transmit, HandshakeError> {
        let response = match self.unproved.iter().flatten().find(|unproved| unproved.mac1 == claim.mac1) {
            Some(unproved) => unproved.response,
            None => self.answer_anew(claim, secret, arrival)?,
        };
        if let Some(room) = out.get_mut(..RESPONSE) {
            room.copy_from_slice(&response);
        }
        Ok(Transmit { link: arrival.link, to: arrival.from, len: RESPONSE, ecn: Ecn::NotEct })
    }

    fn answer_anew(
        &mut self,
        claim: Claim,
        secret: &SharedSecret,
        arrival: Arrival,
    ) -> Result<[u8; RESPONSE], HandshakeError> {
        let place = self.place_of_claim(arrival.from);
        let is_free = self.unproved.get(place).is_some_and(Option::is_none);
        if !is_free && !claim.showed_cookie {
            return Err(HandshakeError::Contended);
        }
        let (index, mac1) = (self.next_index(), claim.mac1);
        let mut response = [0; RESPONSE];
        let session = Session::new(claim.answer(secret, index, self.config.offer, &mut response)?);
        if let Some(place) = self.unproved.get_mut(place) {
            *place = Some(Unproved { session, mac1, response });
        }
        Ok(response)
    }

    /// Which place of `unproved` a claim from `from` is to take.
    fn place_of_claim(&mut self, from: SocketAddr) -> usize {
        let mut paths = self.members.iter().flatten().filter_map(|member| member.path.place());
        if paths.any(|place| place.address == from) {
            return 0;
        }
        let free = (1..UNPROVED).find(|place| self.unproved.get(*place).is_some_and(Option::is_none));
        self.next_unproved = free.unwrap_or(if self.next_unproved == 1 { 2 } else { 1 });
        self.next_unproved
    }

    fn install(&mut self, session: Session<LINKS>, now: Instant) {
        if let Some(old) = self.current.replace(session) {
            self.previous = Some((old, now + STRAGGLERS));
        }
        self.lost_since = None;
        let most = self.max_links();
        for (number, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            if number < most {
                member.path.new_session(now);
            } else {
                member.path.drop_out(now);
                self.trouble = Some(Trouble("the other end takes fewer links; the last ones are not used"));
            }
        }
    }

    /// Links of the current session: numbers below this. Both ends say in the handshake how many they take.
    pub(super) fn max_links(&self) -> usize {
        let own = usize::from(self.config.offer.max_links).min(LINKS);
        self.current.as_ref().map_or(own, |session| own.min(session.peer_links()))
    }

    /// The peer ended `session`: nothing of it opens any more, and a client asks for another. One that began meanwhile,
    /// because the peer is back already, goes on.
    pub(super) fn end_session(&mut self, session: SessionIndex, from: Place, now: Instant) {
        self.previous.take_if(|(old, _)| old.own_index() == session);
        if self.current.take_if(|current| current.own_index() == session).is_none() {
            return;
        }
        self.has_ended = true;
        for member in self.members.iter_mut().flatten() {
            member.path.handle(&Control::Leave, from, now);
        }
        if let Some(asking) = &mut self.asking {
            asking.begin(now);
        }
    }

    fn finish(&mut self, datagram: &[u8], now: Instant) -> Result<(), HandshakeError> {
        let asking = self.asking.as_mut().ok_or(HandshakeError::NotAwaited)?;
        let established: Established = asking.initiator().ok_or(HandshakeError::NotAwaited)?.finish(datagram)?;
        asking.done();
        self.install(Session::new(established), now);
        Ok(())
    }

    /// The peer used an unproved session: it holds the keys, and they are the keys from now on.
    pub(super) fn promote(&mut self, place: usize, now: Instant) {
        if let Some(unproved) = self.unproved.get_mut(place).and_then(Option::take) {
            self.install(unproved.session, now);
        }
    }

    pub(super) fn handshake_message(
        &mut self,
        kind: MessageKind,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), HandshakeError> {
        match kind {
            MessageKind::Response => self.finish(datagram, now),
            MessageKind::Cookie => self.asking.as_mut().ok_or(HandshakeError::NotAwaited)?.take_cookie(datagram, now),
            MessageKind::Refusal => {
                let refusal = Refusal::parse(datagram)?;
                let awaited = self.asking.as_mut().and_then(Asking::initiator).map(|initiator| initiator.index());
                if awaited != Some(refusal.receiver) {
                    return Err(HandshakeError::NotAwaited);
                }
                self.trouble = Some(Trouble("the server refused: it lacks this version, pattern or feature"));
                Ok(())
            }
            MessageKind::Initiation | MessageKind::Data => Err(HandshakeError::NotAwaited),
        }
    }
    pub(super) fn next_index(&mut self) -> SessionIndex {
        // Of 256 names a few are taken at most.
        while {
            self.generation = self.generation.wrapping_add(1);
            self.sessions().any(|taken| taken == self.index_of(self.generation))
        } {}
        self.index_of(self.generation)
    }

    const fn index_of(&self, generation: u8) -> SessionIndex {
        let [high, low] = self.number.to_be_bytes();
        SessionIndex::from_bytes([high, low, generation])
    }
}

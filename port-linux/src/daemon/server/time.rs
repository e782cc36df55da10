// SPDX-License-Identifier: BSD-2-Clause
//! A server's timers, and what it tells of its peers.

use mlvpn_core::words::event::Event;
use mlvpn_core::words::time::Instant;

use super::super::engine::Source;
use super::super::peer_engine::PeerEngine;
use super::Server;

impl Server {
    pub(in crate::daemon) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(in crate::daemon) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, place)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, place));
            if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
                member.deadline = None;
                member.engine.handle_timeout(now);
                self.touch(place);
            }
        }
    }

    /// The next event. When there is none, the peers that were ready have been served, and their timers are set anew.
    pub(in crate::daemon) fn poll_event(&mut self) -> Option<(Source, Event)> {
        while let Some((place, event)) = self.first(PeerEngine::poll_event) {
            match event {
                Event::TunnelUp | Event::TunnelDown => {
                    if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
                        member.is_up = event == Event::TunnelUp;
                    }
                }
                _ => return Some((Source::Peer(place), event)),
            }
        }
        while let Some(place) = self.ready.pop_front() {
            self.rearm(place);
        }
        let up = self.members.iter().flatten().any(|member| member.is_up);
        if std::mem::replace(&mut self.told_up, up) == up {
            return None;
        }
        Some((Source::Tunnel, if up { Event::TunnelUp } else { Event::TunnelDown }))
    }

    fn rearm(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) else { return };
        member.is_ready = false;
        let deadline = member.engine.deadline();
        if deadline != member.deadline {
            if let Some(old) = std::mem::replace(&mut member.deadline, deadline) {
                self.timers.remove(&(old, place));
            }
            if let Some(at) = deadline {
                self.timers.insert((at, place));
            }
        }
    }
}

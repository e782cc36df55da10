// SPDX-License-Identifier: BSD-2-Clause
//! Events as differences between what the port was told and what is: no queue that could overflow, and a link that
//! went down and up between two polls is told of both.

use core::net::SocketAddr;

use crate::state::link::{Link, Phase};
use crate::state::path::Path;
use crate::words::event::{DownCause, Event, Health};
use crate::words::ids::LinkId;

/// What the port was told of a link last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    up: bool,
    disconnects: u64,
    health: Health,
    remote: Option<SocketAddr>,
}

impl Told {
    /// The next thing to tell of the link, which counts as told from now on.
    pub(super) fn update(&mut self, id: LinkId, link: Facts) -> Option<Event> {
        if self.disconnects != link.disconnects {
            self.disconnects = link.disconnects;
            if core::mem::take(&mut self.up) {
                return Some(Event::LinkDown(id, link.down_cause));
            }
        }
        if link.phase != Phase::Up {
            return None;
        }
        if self.remote != link.remote
            && let Some(remote) = link.remote
        {
            self.remote = Some(remote);
            return Some(Event::PeerMoved(id, remote));
        }
        if !self.up {
            self.up = true;
            self.health = Health::Good;
            return Some(Event::LinkUp(id));
        }
        if self.health != link.health {
            self.health = link.health;
            return Some(Event::LinkHealth(id, self.health));
        }
        None
    }
}

/// What is told of a link of either protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    phase: Phase,
    health: Health,
    disconnects: u64,
    down_cause: DownCause,
    remote: Option<SocketAddr>,
}

impl From<&Link> for Facts {
    fn from(link: &Link) -> Self {
        Self {
            phase: link.phase(),
            health: link.health(),
            disconnects: link.disconnects(),
            down_cause: link.down_cause(),
            remote: link.remote(),
        }
    }
}

impl From<&Path> for Facts {
    fn from(path: &Path) -> Self {
        Self {
            phase: path.phase(),
            health: path.health(),
            disconnects: path.disconnects(),
            down_cause: path.down_cause(),
            remote: path.place().map(|place| place.address),
        }
    }
}

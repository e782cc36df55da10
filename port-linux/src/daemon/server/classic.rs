// SPDX-License-Identifier: BSD-2-Clause
//! The one peer of a server that speaks the classic protocol. The server's sockets are its links, as in MLVPN 2.3; peers
//! of protocol 2 number links of their own, whatever sockets these reach.

use mlvpn_core::state::link::LinkSettings;
use mlvpn_core::tunnel;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::network::Network;
use mlvpn_core::words::time::Instant;

use super::super::peer_engine::{ClassicPeer, PeerEngine};
use super::Server;

impl Server {
    pub(in crate::daemon) fn set_link(&mut self, id: LinkId, settings: LinkSettings, now: Instant) {
        if self.sockets.len() <= id.index() {
            self.sockets.resize(id.index() + 1, None);
        }
        if let Some(place) = self.sockets.get_mut(id.index()) {
            *place = Some((settings, place.is_some_and(|(_, is_open)| is_open)));
        }
        self.with_classic(|tunnel| {
            tunnel.set_link(id, settings, now);
        });
    }

    pub(in crate::daemon) fn open_link(&mut self, id: LinkId, now: Instant) {
        self.note_socket(id, true);
        self.with_classic(|tunnel| tunnel.open_link(id, None, now));
    }

    pub(in crate::daemon) fn close_link(&mut self, id: LinkId) {
        self.note_socket(id, false);
        self.with_classic(|tunnel| tunnel.close_link(id));
    }

    pub(in crate::daemon) fn remove_link(&mut self, id: LinkId) {
        if let Some(place) = self.sockets.get_mut(id.index()) {
            *place = None;
        }
        self.with_classic(|tunnel| tunnel.remove_link(id));
    }

    pub(in crate::daemon) fn leave_link(&mut self, id: LinkId) {
        self.with_classic(|tunnel| tunnel.disconnect_link(id));
    }

    /// Changes the largest inner packet of the peer that speaks the classic protocol, in bytes.
    pub(in crate::daemon) fn set_classic_mtu(&mut self, mtu: u16) {
        self.with_classic(|tunnel| tunnel.set_mtu(mtu));
    }

    /// An engine for the peer that speaks the classic protocol, with the links there are.
    pub(super) fn classic_engine(
        &self,
        config: tunnel::Config,
        networks: &[Network],
        seed: [u8; 32],
        now: Instant,
    ) -> Box<ClassicPeer> {
        let mut engine = Box::new(ClassicPeer::new(config, seed));
        engine.allow(networks);
        for (index, socket) in self.sockets.iter().enumerate() {
            let Some((settings, is_open)) = socket else { continue };
            engine.set_link(LinkId::new(index), *settings, now);
            if *is_open {
                engine.open_link(LinkId::new(index), None, now);
            }
        }
        engine
    }

    fn note_socket(&mut self, id: LinkId, open: bool) {
        if let Some(Some((_, is_open))) = self.sockets.get_mut(id.index()) {
            *is_open = open;
        }
    }

    fn with_classic(&mut self, act: impl FnOnce(&mut ClassicPeer)) {
        let Some(place) = self.classic else { return };
        let member = self.members.get_mut(place).and_then(Option::as_mut);
        if let Some(PeerEngine::Classic(tunnel)) = member.map(|member| &mut member.engine) {
            act(tunnel);
            self.touch(place);
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Nonces of a link, both ways: the sender's flow and counter, and the flows a receiver has known.
//!
//! The classic protocol has one static key, and MLVPN 2.3 marks each run of a process by a random flow number. A
//! recorded packet of an earlier run is authentic for ever, so freshness is judged per flow: a packet is fresh when its
//! counter is beyond what was seen of its flow, and a flow not known begins with an authentication. The peer that is
//! really there wins back its link with its next packet, because its counters move on while a recording's do not, as
//! long as its flow is remembered: of more than eight others that were replayed, the shortest are forgotten first.

use crate::memory::classic::{Header, Kind};
use crate::state::replay::{ReplayWindow, Seen};
use crate::words::drops::DropReason;
use crate::words::ids::FlowId;
use crate::words::limits::REPLAY_WORDS;

/// A flow is left for a fresh one after this many packets: at a million packets a second, in nine years; a nonce would
/// repeat after 2^64.
const COUNTER_LIMIT: u64 = 1 << 48;

/// Flows remembered besides the current one.
const REMEMBERED: usize = 8;

/// The next nonce of a sender. Each is given once.
#[derive(Debug)]
pub struct NonceCounter {
    flow: FlowId,
    next: u64,
}

impl NonceCounter {
    /// Starts at 0 in a flow, which must be random and not used before under the same key.
    #[must_use]
    pub const fn new(flow: FlowId) -> Self {
        Self { flow, next: 0 }
    }

    /// The next flow and counter; None when the flow is spent and a fresh one is due.
    pub fn take(&mut self) -> Option<(FlowId, u64)> {
        if self.next >= COUNTER_LIMIT {
            return None;
        }
        let counter = self.next;
        self.next = counter.saturating_add(1);
        Some((self.flow, counter))
    }
}

/// Which packets of a peer were seen.
#[derive(Debug, Default)]
pub struct PeerFlows {
    current: Option<FlowId>,
    window: ReplayWindow<REPLAY_WORDS>,
    /// Flows left, each with the highest counter seen of it.
    left: heapless::Vec<(FlowId, u64), REMEMBERED>,
}

/// A packet that is fresh, but not yet marked as seen.
#[derive(Debug)]
#[must_use = "an accepted packet must be marked, or it can be replayed"]
pub struct Fresh {
    flow: FlowId,
    counter: u64,
}

/// Whether a packet continues the flow before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The first flow of the peer.
    First,
    /// The flow of the packet before.
    Same,
    /// Another: the peer, or one of its links, has started anew.
    Another,
}

impl PeerFlows {
    /// Judges an authentic packet; changes nothing. Work: at most eight comparisons.
    pub fn judge(&self, header: &Header) -> Result<Fresh, DropReason> {
        let fresh = Fresh { flow: header.flow, counter: header.counter };
        if self.current == Some(header.flow) {
            return match self.window.check(header.counter) {
                Seen::Never => Ok(fresh),
                Seen::Before | Seen::Unknown => Err(DropReason::Replayed),
            };
        }
        if let Some((_, highest)) = self.left.iter().find(|(flow, _)| *flow == header.flow) {
            return if header.counter > *highest { Ok(fresh) } else { Err(DropReason::Replayed) };
        }
        if matches!(header.kind, Kind::Auth | Kind::AuthOk) { Ok(fresh) } else { Err(DropReason::StaleFlow) }
    }

    /// Remembers a fresh packet as seen.
    #[expect(clippy::needless_pass_by_value, reason = "the right to mark is spent")]
    pub fn mark(&mut self, fresh: Fresh) -> Flow {
        let flow = match self.current {
            None => Flow::First,
            Some(current) if current == fresh.flow => Flow::Same,
            Some(_) => Flow::Another,
        };
        if flow != Flow::Same {
            self.switch(fresh.flow);
        }
        self.window.mark(fresh.counter);
        flow
    }

    fn switch(&mut self, flow: FlowId) {
        // Numbers of the flow up to its highest stay seen when it comes back: `judge` let only a higher one through,
        // and the window behind that one is closed by marking it.
        let highest = self.left.iter().find(|(left, _)| *left == flow).map(|(_, highest)| *highest);
        if let (Some(current), Some(highest)) = (self.current, self.window.highest()) {
            self.remember(current, highest, flow);
        }
        self.current = Some(flow);
        self.window.clear();
        if let Some(highest) = highest {
            self.window.close_up_to(highest);
        }
    }

    /// Adds `flow`, forgetting `returning`, or, when there is no room, the flow of which least was seen: a
    /// recording replayed to push the living peer out has to outdo the length of its flow.
    fn remember(&mut self, flow: FlowId, highest: u64, returning: FlowId) {
        self.left.retain(|(left, _)| *left != returning && *left != flow);
        if self.left.is_full()
            && let Some((least, _)) = self.left.iter().enumerate().min_by_key(|(_, (_, highest))| *highest)
        {
            self.left.swap_remove(least);
        }
        // There is room now.
        let _ = self.left.push((flow, highest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::ids::Order;

    fn header(kind: Kind, flow: u32, counter: u64) -> Header {
        Header {
            body_len: 16,
            kind,
            ordered: true,
            timestamp: None,
            timestamp_reply: None,
            flow: FlowId(flow),
            counter,
            order: Order(0),
        }
    }

    fn accept(flows: &mut PeerFlows, kind: Kind, flow: u32, counter: u64) -> Result<Flow, DropReason> {
        flows.judge(&header(kind, flow, counter)).map(|fresh| flows.mark(fresh))
    }

    #[test]
    fn a_nonce_is_given_once_and_a_spent_flow_gives_none() {
        let mut nonces = NonceCounter::new(FlowId(9));
        assert_eq!(nonces.take(), Some((FlowId(9), 0)));
        assert_eq!(nonces.take(), Some((FlowId(9), 1)));
        nonces.next = COUNTER_LIMIT - 1;
        assert!(nonces.take().is_some());
        assert_eq!(nonces.take(), None);
    }

    #[test]
    fn an_unknown_flow_begins_with_an_authentication() {
        let mut flows = PeerFlows::default();
        assert_eq!(accept(&mut flows, Kind::Data, 1, 0), Err(DropReason::StaleFlow));
        assert_eq!(accept(&mut flows, Kind::Auth, 1, 0), Ok(Flow::First));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 1), Ok(Flow::Same));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 1), Err(DropReason::Replayed));
    }

    #[test]
    fn a_recording_of_an_earlier_run_cannot_keep_the_link_from_the_living_peer() {
        let mut flows = PeerFlows::default();
        assert_eq!(accept(&mut flows, Kind::Auth, 1, 0), Ok(Flow::First));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 5), Ok(Flow::Same));
        // A recorded authentication of a run this process never saw.
        assert_eq!(accept(&mut flows, Kind::Auth, 2, 0), Ok(Flow::Another));
        // The living peer's next packet, of any kind, is fresh; its earlier ones stay seen.
        assert_eq!(accept(&mut flows, Kind::Data, 1, 5), Err(DropReason::Replayed));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 3), Err(DropReason::Replayed));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 6), Ok(Flow::Another));
        assert_eq!(accept(&mut flows, Kind::Data, 1, 4), Err(DropReason::Replayed));
        assert_eq!(accept(&mut flows, Kind::Auth, 2, 0), Err(DropReason::Replayed));
    }

    #[test]
    fn recordings_of_many_short_runs_do_not_push_the_living_peer_out() {
        let mut flows = PeerFlows::default();
        assert!(accept(&mut flows, Kind::Auth, 0, 0).is_ok());
        assert!(accept(&mut flows, Kind::Data, 0, 100).is_ok());
        for flow in 1..=2 * REMEMBERED as u32 {
            assert!(accept(&mut flows, Kind::Auth, flow, 0).is_ok());
        }
        assert_eq!(accept(&mut flows, Kind::Data, 0, 101), Ok(Flow::Another));
    }
}

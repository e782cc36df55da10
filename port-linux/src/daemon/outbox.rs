// SPDX-License-Identifier: BSD-2-Clause
//! The datagrams of one round: collected from the engine, then sent link by link, so that each link's leave together.

use std::net::SocketAddr;

use mlvpn_core::tunnel::Transmit;
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::limits::{MAX_DATAGRAM, MAX_LINKS};

use crate::socket::outgoing::Outgoing;

/// Datagrams of a round: what the kernel cuts from one run at most. Beyond that larger batches save nothing, and what is
/// sealed should leave while it is in the processor's cache: 64 of 1,500 bytes are 96 KB.
pub(super) const ROUND: usize = 64;

/// A round's datagrams.
pub(super) struct Outbox {
    bytes: Box<[u8]>,
    /// Where the next one goes. There is room for [`ROUND`] of the longest.
    used: usize,
    records: heapless::Vec<Record, ROUND>,
    /// Bit n: there is something for link n.
    links: u32,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    link: usize,
    begin: usize,
    len: usize,
    to: SocketAddr,
    ecn: Ecn,
}

const _: () = assert!(MAX_LINKS <= u32::BITS as usize);

/// What a link sends of a round.
pub(super) type Batch<'a> = heapless::Vec<Outgoing<'a>, ROUND>;

impl Outbox {
    pub(super) fn new() -> Self {
        let bytes = vec![0; ROUND * MAX_DATAGRAM].into_boxed_slice();
        Self { bytes, used: 0, records: heapless::Vec::new(), links: 0 }
    }

    /// Where to write the next datagram; none when the round is full.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        if self.records.is_full() {
            return None;
        }
        self.bytes.get_mut(self.used..self.used.saturating_add(MAX_DATAGRAM))
    }

    /// Takes in what was written to the room.
    pub(super) fn push(&mut self, transmit: Transmit) {
        let Transmit { link, to, len, ecn } = transmit;
        let record = Record { link: link.index(), begin: self.used, len: len.min(MAX_DATAGRAM), to, ecn };
        if let Some(bit) = u32::try_from(record.link).ok().and_then(|link| 1_u32.checked_shl(link))
            && self.records.push(record).is_ok()
        {
            self.links |= bit;
            self.used = self.used.saturating_add(record.len);
        }
    }

    /// The lowest link for which there is something.
    pub(super) fn first_link(&self) -> Option<usize> {
        (self.links != 0).then(|| self.links.trailing_zeros() as usize)
    }

    /// What there is for a link, in order.
    pub(super) fn batch(&self, link: usize) -> Batch<'_> {
        let of_link = self.records.iter().filter(|record| record.link == link);
        of_link
            .map(|&Record { begin, len, to, ecn, .. }| {
                let bytes = self.bytes.get(begin..begin.saturating_add(len)).unwrap_or_default();
                Outgoing { bytes, to, ecn }
            })
            .collect()
    }

    /// Notes that a link's datagrams were dealt with.
    pub(super) fn done(&mut self, link: usize) {
        self.links &= !u32::try_from(link).ok().and_then(|link| 1_u32.checked_shl(link)).unwrap_or(0);
        if self.links == 0 {
            self.records.clear();
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlvpn_core::words::ids::LinkId;

    fn put(outbox: &mut Outbox, link: usize, datagram: &[u8]) -> bool {
        let Some(room) = outbox.room() else { return false };
        room[..datagram.len()].copy_from_slice(datagram);
        let to = "192.0.2.1:5080".parse().expect("an address");
        outbox.push(Transmit { link: LinkId::new(link), to, len: datagram.len(), ecn: Ecn::Ect0 });
        true
    }

    #[test]
    fn each_link_gets_its_datagrams_in_order_and_the_round_begins_anew() {
        let mut outbox = Outbox::new();
        for _ in 0..3 {
            for (link, datagram) in [(31, &b"a"[..]), (0, b"bc"), (31, b""), (0, b"d")] {
                assert!(put(&mut outbox, link, datagram));
            }
            for (link, expected) in [(0, [&b"bc"[..], b"d"]), (31, [b"a", b""])] {
                assert_eq!(outbox.first_link(), Some(link));
                let batch: Vec<_> = outbox.batch(link).iter().map(|outgoing| outgoing.bytes.to_vec()).collect();
                assert_eq!(batch, expected);
                outbox.done(link);
            }
            assert_eq!(outbox.first_link(), None);
        }
    }

    #[test]
    fn a_full_round_takes_no_more() {
        let mut outbox = Outbox::new();
        for number in 0..ROUND {
            assert!(put(&mut outbox, number % 2, &[number as u8; MAX_DATAGRAM]));
        }
        assert!(!put(&mut outbox, 0, b"x"));
        assert_eq!(outbox.batch(1)[31].bytes, [63; MAX_DATAGRAM]);
    }
}

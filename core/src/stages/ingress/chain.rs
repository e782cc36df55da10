// SPDX-License-Identifier: BSD-2-Clause
//! Where packets wait: chains through one array, so that any group may have all of it.

use crate::memory::pool::Slot;
use crate::words::class::{Class, Kind};
use crate::words::ecn::Ecn;
use crate::words::ids::LinkId;
use crate::words::time::{Duration, Instant};

/// Time in an entry counts 16 microseconds, 2^4: fine enough beside targets of tens of milliseconds, and 32 bits of it
/// last for 19 hours, after which a packet would seem young again.
const TICK_LOG2: u32 = 4;

/// A packet that waits: its slot and its class, packed.
#[derive(Debug)]
struct Entry {
    flow: u32,
    since: u32,
    source_port: u16,
    destination_port: u16,
    len: u16,
    /// The entry behind this one in its chain, if there is one: a chain knows its length.
    next: u16,
    slot: Option<Slot>,
    protocol: u8,
    link: u8,
    /// DSCP and congestion codepoint as in the header.
    traffic_class: u8,
    marks: u8,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// What an entry's `marks` hold beside the kind in the lowest two bits.
mod mark {
    pub(super) const KIND: u8 = 0b11;
    pub(super) const ORDERED: u8 = 0b100;
    pub(super) const HAS_PORTS: u8 = 0b1000;
    pub(super) const URGENT: u8 = 0b1_0000;
    pub(super) const HAS_PROTOCOL: u8 = 0b10_0000;
    pub(super) const HAS_LINK: u8 = 0b100_0000;
}

impl Entry {
    const FREE: Self = Self {
        flow: 0,
        since: 0,
        source_port: 0,
        destination_port: 0,
        len: 0,
        next: 0,
        slot: None,
        protocol: 0,
        link: 0,
        traffic_class: 0,
        marks: 0,
    };

    fn new(slot: Slot, class: &Class, now: Instant) -> Self {
        let (source_port, destination_port) = class.ports.unwrap_or_default();
        let ordered = if class.ordered { mark::ORDERED } else { 0 };
        let has_ports = if class.ports.is_some() { mark::HAS_PORTS } else { 0 };
        let urgent = if class.is_urgent { mark::URGENT } else { 0 };
        let has_protocol = if class.protocol.is_some() { mark::HAS_PROTOCOL } else { 0 };
        let link = class.link.and_then(|link| u8::try_from(link.index()).ok());
        let has_link = if link.is_some() { mark::HAS_LINK } else { 0 };
        Self {
            flow: class.flow,
            since: ticks(now),
            source_port,
            destination_port,
            len: class.len,
            next: 0,
            slot: Some(slot),
            protocol: class.protocol.unwrap_or_default(),
            link: link.unwrap_or_default(),
            traffic_class: class.dscp << 2 | class.ecn.bits(),
            marks: class.kind as u8 | ordered | has_ports | urgent | has_protocol | has_link,
        }
    }

    fn class(&self) -> Class {
        let ports = (self.source_port, self.destination_port);
        Class {
            flow: self.flow,
            ports: (self.marks & mark::HAS_PORTS != 0).then_some(ports),
            len: self.len,
            protocol: (self.marks & mark::HAS_PROTOCOL != 0).then_some(self.protocol),
            dscp: self.traffic_class >> 2,
            ecn: Ecn::from_traffic_class(self.traffic_class),
            kind: kind(self.marks & mark::KIND),
            ordered: self.marks & mark::ORDERED != 0,
            is_urgent: self.marks & mark::URGENT != 0,
            link: (self.marks & mark::HAS_LINK != 0).then_some(LinkId::new(self.link.into())),
        }
    }
}

const fn kind(number: u8) -> Kind {
    match number {
        1 => Kind::BareAck,
        2 => Kind::Opening,
        3 => Kind::Closing,
        _ => Kind::Other,
    }
}

/// The lowest 32 bits of the time in ticks.
const fn ticks(at: Instant) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "wraps, as differences of it do")]
    let ticks = (at.micros() >> TICK_LOG2) as u32;
    ticks
}

/// A chain's ends. They mean something while `len` is not 0; then `len` entries are linked from `head` to `tail`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    head: u16,
    tail: u16,
    pub(super) len: u16,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: 0, tail: 0, len: 0 };
}

/// `CAPACITY` entries, each in one chain: of its group, of those that were dropped, or of those that are free.
#[derive(Debug)]
pub(super) struct Entries<const CAPACITY: usize> {
    entries: [Entry; CAPACITY],
    free: Chain,
    /// Entries used at least once: those from here on are free, too, and in no chain.
    used: u16,
}

impl<const CAPACITY: usize> Entries<CAPACITY> {
    pub(super) const fn new() -> Self {
        const { assert!(CAPACITY >= 2 && CAPACITY < u16::MAX as usize, "an entry is named by 16 bits") };
        Self { entries: [const { Entry::FREE }; CAPACITY], free: Chain::EMPTY, used: 0 }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.free.len == 0 && self.used as usize >= CAPACITY
    }

    /// Puts a packet at the end of `chain`; hands the slot back when no entry is free.
    pub(super) fn append(&mut self, chain: &mut Chain, slot: Slot, class: &Class, now: Instant) -> Result<(), Slot> {
        let Some(at) = self.take_free() else { return Err(slot) };
        let Some(entry) = self.entries.get_mut(usize::from(at)) else { return Err(slot) };
        *entry = Entry::new(slot, class, now);
        self.link(chain, at);
        Ok(())
    }

    /// The class of the packet at the head, and how long it has waited.
    pub(super) fn head(&self, chain: &Chain, now: Instant) -> Option<(Class, Duration)> {
        let entry = self.entries.get(usize::from(chain.head)).filter(|_| chain.len != 0)?;
        let waited = u64::from(ticks(now).wrapping_sub(entry.since)) << TICK_LOG2;
        Some((entry.class(), Duration::from_micros(waited)))
    }

    /// Takes the packet at the head.
    pub(super) fn pop(&mut self, chain: &mut Chain) -> Option<Slot> {
        let at = self.unlink(chain)?;
        let slot = self.entries.get_mut(usize::from(at))?.slot.take();
        let mut free = self.free;
        self.link(&mut free, at);
        self.free = free;
        slot
    }

    /// Moves the packet at the head of `from` to the end of `to`.
    pub(super) fn move_head(&mut self, from: &mut Chain, to: &mut Chain) {
        if let Some(at) = self.unlink(from) {
            self.link(to, at);
        }
    }

    fn take_free(&mut self) -> Option<u16> {
        let mut free = self.free;
        let at = self.unlink(&mut free);
        self.free = free;
        at.or_else(|| {
            let fresh = self.used;
            self.used = fresh.checked_add(1).filter(|_| usize::from(fresh) < CAPACITY)?;
            Some(fresh)
        })
    }

    fn unlink(&self, chain: &mut Chain) -> Option<u16> {
        let left = chain.len.checked_sub(1)?;
        let at = chain.head;
        chain.head = self.entries.get(usize::from(at))?.next;
        chain.len = left;
        Some(at)
    }

    fn link(&mut self, chain: &mut Chain, at: u16) {
        if chain.len == 0 {
            chain.head = at;
        } else if let Some(tail) = self.entries.get_mut(usize::from(chain.tail)) {
            tail.next = at;
        }
        chain.tail = at;
        chain.len = chain.len.saturating_add(1);
    }
}

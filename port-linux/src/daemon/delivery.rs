// SPDX-License-Identifier: BSD-2-Clause
//! What comes out of the tunnel, on its way to the device: packets of one flow that follow each other are joined to one
//! write. Nothing is held back: what is open at the end of a turn is written.

use std::io::{self, IoSlice};

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::words::drops::{DropReason, Drops};

use super::engine::Engine;
use crate::device::{Offload, TunDevice, WriteError};
use crate::log::Topic;
use crate::log_debug;
use crate::offload::join::{Headers, MOST_PACKETS, Run, Segment, are_between_the_same};

/// Flows whose packets may come mixed and still be joined: the kernel's own GRO holds eight packets a bucket.
const FLOWS: usize = 8;

/// A super-segment in the making.
struct Open {
    run: Run,
    first: Segment,
    /// Its packets; at least one, in order.
    slots: heapless::Vec<Slot, MOST_PACKETS>,
}

impl Open {
    fn first_packet<'a, const SLOTS: usize>(&self, pool: &'a Pool<SLOTS>) -> &'a [u8] {
        self.slots.first().and_then(|slot| pool.packet(slot)).map_or(&[], |packet| packet.as_bytes())
    }
}

/// The way to the device.
pub(super) struct Delivery {
    /// What the device can do.
    offload: Option<Offload>,
    is_joining: bool,
    /// In the order they were begun. No two are of one flow.
    open: heapless::Vec<Open, FLOWS>,
    /// Packets handed over so far.
    packets: u64,
    /// Those of them that the kernel did not take.
    drops: Drops,
}

impl Delivery {
    pub(super) fn new(offload: Option<Offload>) -> Self {
        Self { offload, is_joining: offload.is_some(), open: heapless::Vec::new(), packets: 0, drops: Drops::new() }
    }

    /// Packets handed over so far.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that the kernel did not take.
    pub(super) const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Takes what the engine has for the device.
    pub(super) fn take_from<const SLOTS: usize>(
        &mut self,
        engine: &mut Engine,
        pool: &mut Pool<SLOTS>,
        device: &TunDevice,
    ) -> io::Result<()> {
        while let Some(slot) = engine.poll_deliver() {
            self.push(pool, slot, device)?;
        }
        Ok(())
    }

    /// Takes a packet for the device. Packets of one flow stay in order.
    pub(super) fn push<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        device: &TunDevice,
    ) -> io::Result<()> {
        self.packets = self.packets.wrapping_add(1);
        let packet = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        let with_udp = self.offload.is_some_and(|offload| offload.udp);
        let Some(segment) = self.is_joining.then(|| Segment::read(packet, with_udp)).flatten() else {
            return self.write_alone(pool, slot, device);
        };
        let of_flow = |open: &Open| open.run.is_of_flow(open.first_packet(pool), packet, &segment);
        if let Some(at) = self.open.iter().position(of_flow) {
            if let Some(open) = self.open.get_mut(at) {
                let first = open.slots.first().and_then(|slot| pool.packet(slot)).map_or(&[][..], |p| p.as_bytes());
                if open.run.join(first, packet, &segment) {
                    // A run takes no more packets than there are places.
                    let _ = open.slots.push(slot);
                    return if open.run.is_closed() { self.write_run(pool, at, device) } else { Ok(()) };
                }
            }
            self.write_run(pool, at, device)?;
        }
        if self.open.is_full() {
            self.write_run(pool, 0, device)?;
        }
        let mut slots = heapless::Vec::new();
        let _ = slots.push(slot);
        let run = Run::new(segment);
        let _ = self.open.push(Open { run, first: segment, slots });
        if run.is_closed() { self.write_run(pool, self.open.len().saturating_sub(1), device) } else { Ok(()) }
    }

    /// Writes what is open.
    pub(super) fn flush<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, device: &TunDevice) -> io::Result<()> {
        while !self.open.is_empty() {
            self.write_run(pool, 0, device)?;
        }
        Ok(())
    }

    /// Writes a packet that is not joined, after those between the same hosts that came before it.
    fn write_alone<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        device: &TunDevice,
    ) -> io::Result<()> {
        loop {
            let packet = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
            let earlier = |open: &Open| are_between_the_same(open.first_packet(pool), packet);
            let Some(at) = self.open.iter().position(earlier) else { break };
            self.write_run(pool, at, device)?;
        }
        self.write_plain(pool, slot, device)
    }

    fn write_plain<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        device: &TunDevice,
    ) -> io::Result<()> {
        let packet = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
        let written = match self.offload {
            None => device.write(packet),
            Some(_) => device.write_parts(&[IoSlice::new(Headers::plain().as_bytes()), IoSlice::new(packet)]),
        };
        pool.put(slot);
        self.settle(written, 1)?;
        Ok(())
    }

    fn write_run<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        at: usize,
        device: &TunDevice,
    ) -> io::Result<()> {
        if at >= self.open.len() {
            return Ok(());
        }
        let open = self.open.remove(at);
        let headers = open.run.headers(open.first_packet(pool)).unwrap_or(Headers::plain());
        let mut parts: heapless::Vec<IoSlice<'_>, { MOST_PACKETS + 1 }> = heapless::Vec::new();
        let _ = parts.push(IoSlice::new(headers.as_bytes()));
        for packet in open.slots.iter().filter_map(|slot| pool.packet(slot)) {
            let _ = parts.push(IoSlice::new(open.first.payload(packet.as_bytes())));
        }
        let written = device.write_parts(&parts);
        drop(parts);
        // One that was joined is tried again as it came, and counted then.
        let is_joined = open.slots.len() > 1;
        let was_taken = match written {
            Err(WriteError::Malformed) if is_joined => Ok(false),
            written => self.settle(written, open.slots.len()),
        };
        let is_refused = matches!(was_taken, Ok(false)) && is_joined;
        if is_refused {
            // A kernel that does not take what is joined gets it as it came, from now on.
            self.is_joining = false;
        }
        for slot in open.slots {
            if is_refused {
                self.write_plain(pool, slot, device)?;
            } else {
                pool.put(slot);
            }
        }
        was_taken.map(drop)
    }

    /// Whether the kernel took `packets` for packets; an error when the device is gone. What it dropped is counted.
    fn settle(&mut self, written: Result<(), WriteError>, packets: usize) -> io::Result<bool> {
        let reason = match written {
            Ok(()) => return Ok(true),
            // What finds no room is dropped, as on any interface.
            Err(WriteError::Full | WriteError::Down) => DropReason::QueueFull,
            Err(WriteError::Malformed) => {
                log_debug!(Topic::Tuntap, "the kernel refused a packet of the peer's");
                DropReason::Malformed
            }
            Err(WriteError::Gone(why)) => return Err(why),
        };
        (0..packets).for_each(|_| self.drops.count(reason));
        Ok(reason != DropReason::Malformed)
    }
}

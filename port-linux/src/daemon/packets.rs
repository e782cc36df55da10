// SPDX-License-Identifier: BSD-2-Clause
//! The way of packets through the worker: device to engine to sockets, and back.

use std::io;

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::tunnel::Arrival;
use mlvpn_core::words::drops::{DropReason, Drops};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::PACKET_CAPACITY;
use mlvpn_core::words::time::Instant;

use super::engine::Engine;
use super::links::{Failure, LinkPort, Sent};
use super::worker::{Worker, link_token};
use crate::device::TunDevice;
use crate::log::Topic;
use crate::offload::cut::Cutter;
use crate::reactor::{Interest, Readiness, Token};
use crate::socket::incoming::Letter;
use crate::status::WorkStatus;
use crate::{clock, log_debug, log_warn};

/// Packets taken from the device before the sockets get their turn.
const READS_PER_TURN: usize = 64;

/// Packets.
impl Worker {
    /// Takes in what the device has, before the engine is asked what becomes of it; says how many packets.
    pub(super) fn read_device(&mut self, now: Instant) -> io::Result<usize> {
        let mut packets: usize = 0;
        // What was read is cut to its end.
        while packets < READS_PER_TURN || self.is_cutting() {
            if !self.engine.has_room() {
                break;
            }
            let Some(slot) = self.pool.take() else { break };
            let (device, cutter) = (&self.device, &mut self.cutter);
            let mut is_empty = true;
            if let Some(packet) = self.pool.packet_mut(&slot) {
                packet.fill(|buffer| {
                    let len = read_packet(device, cutter.as_mut(), buffer)?;
                    is_empty = len.is_none();
                    Ok::<_, io::Error>(len.unwrap_or(0))
                })?;
            }
            if is_empty {
                self.pool.put(slot);
                break;
            }
            packets = packets.saturating_add(1);
            self.send_from_device(slot, now);
        }
        self.packets_out = self.packets_out.wrapping_add(packets as u64);
        Ok(packets)
    }

    /// Takes in what is left of the device's last read, for which there was no room before: nothing would wake the worker
    /// for it. Work: at most the packets of one read.
    pub(super) fn finish_cutting(&mut self, now: Instant) -> io::Result<()> {
        while self.is_cutting() && self.read_device(now)? > 0 {
            self.pump(now)?;
        }
        Ok(())
    }

    /// Whether packets of the device's last read are still to be taken in.
    fn is_cutting(&self) -> bool {
        self.cutter.as_ref().is_some_and(|cutter| !cutter.is_empty())
    }

    pub(super) fn serve_socket(&mut self, index: usize, readiness: Readiness) -> io::Result<()> {
        if readiness.is_writable {
            self.flush(index)?;
        }
        let now = clock::now();
        let Some(socket) = self.links.get(index).and_then(Option::as_ref).and_then(LinkPort::socket) else {
            return Ok(());
        };
        // What waits beyond this comes with the next turn, as epoll tells what is still there.
        if let Err(why) = socket.receive(&mut self.inbox) {
            self.close_link(index, Failure::Unreachable, &why, now);
            return Ok(());
        }
        for letter in self.inbox.letters() {
            if let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) {
                letter.datagrams().for_each(|datagram| port.meter.count_received(datagram.len()));
            }
            take_letter((&mut self.engine, &mut self.pool), letter, LinkId::new(index), now, &mut self.drops);
            // A letter is at most 64 packets; the engine has room for a few hundred that are ready.
            self.delivery.take_from(&mut self.engine, &mut self.pool, &self.device)?;
        }
        // What another socket brings in the same turn happens after this. A server's events are those of its peers, who
        // are done with when these have been told.
        if !matches!(self.engine, Engine::Server(_)) {
            self.tell_events(now);
        }
        Ok(())
    }

    /// Does everything the engine wants done.
    pub(super) fn pump(&mut self, now: Instant) -> io::Result<()> {
        self.delivery.take_from(&mut self.engine, &mut self.pool, &self.device)?;
        self.delivery.flush(&mut self.pool, &self.device)?;
        loop {
            let Some(room) = self.outbox.room() else {
                self.send_round(now)?;
                continue;
            };
            match self.engine.poll_transmit(&mut self.pool, now, room) {
                Some(transmit) => self.outbox.push(transmit),
                None => break,
            }
        }
        self.send_round(now)?;
        self.tell_events(now);
        self.set_reading_device(self.engine.has_room())
    }

    fn tell_events(&mut self, now: Instant) {
        while let Some((source, event)) = self.engine.poll_event() {
            self.report(source, event, now);
        }
    }

    /// Sends what was collected.
    fn send_round(&mut self, now: Instant) -> io::Result<()> {
        while let Some(link) = self.outbox.first_link() {
            let port = self.links.get_mut(link).and_then(Option::as_mut);
            let sent = port.map_or(Sent::Yes, |port| port.send(&self.outbox.batch(link)));
            self.outbox.done(link);
            self.after_sending(link, sent, now)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, index: usize) -> io::Result<()> {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let sent = port.flush();
        if let Some(socket) = port.socket()
            && !matches!(sent, Sent::Full)
        {
            self.reactor.modify(socket, link_token(index), Interest::Read)?;
            self.engine.set_blocked(LinkId::new(index), false);
        }
        self.after_sending(index, sent, clock::now())
    }

    fn after_sending(&mut self, index: usize, sent: Sent, now: Instant) -> io::Result<()> {
        match sent {
            Sent::Yes => {}
            Sent::Full => {
                if let Some(socket) = self.links.get(index).and_then(Option::as_ref).and_then(LinkPort::socket) {
                    self.reactor.modify(socket, link_token(index), Interest::Both)?;
                }
                self.engine.set_blocked(LinkId::new(index), true);
            }
            Sent::TooLong(path_mtu) => {
                if let Some(held_back) = self.too_long.admit(now) {
                    let name = self.link_name(index);
                    let path = path_mtu.map_or_else(String::new, |mtu| format!(", {mtu} bytes"));
                    log_warn!(
                        Topic::Net,
                        "{name}: a datagram exceeds the path's MTU{path} ({held_back} more not logged); \
                         lower [general] mtu, or leave it out so that it is computed"
                    );
                }
                self.refresh_mtu();
            }
            Sent::Broken(why) => self.close_link(index, Failure::Unreachable, &why, now),
        }
        Ok(())
    }

    fn set_reading_device(&mut self, read: bool) -> io::Result<()> {
        if read == self.is_reading_device {
            return Ok(());
        }
        self.is_reading_device = read;
        if read {
            self.reactor.register(&self.device, Token::Device, Interest::Read)
        } else {
            self.reactor.deregister(&self.device)
        }
    }
}

/// Hands the datagrams of a letter to the engine, each in a packet of its own. Those for which the pool has none are
/// counted in `drops`.
fn take_letter<const SLOTS: usize>(
    (engine, pool): (&mut Engine, &mut Pool<SLOTS>),
    letter: Letter<'_>,
    link: LinkId,
    at: Instant,
    drops: &mut Drops,
) {
    for datagram in letter.datagrams() {
        match place(pool, datagram) {
            Ok(slot) => engine.receive(pool, slot, Arrival { link, from: letter.from, ecn: letter.ecn, at }),
            Err(reason) => drops.count(reason),
        }
    }
}

/// A packet of the pool that holds the datagram.
fn place<const SLOTS: usize>(pool: &mut Pool<SLOTS>, datagram: &[u8]) -> Result<Slot, DropReason> {
    let slot = pool.take().ok_or(DropReason::QueueFull)?;
    // What is too long for a packet is none of ours, and is dropped and counted for its broken seal.
    let datagram = datagram.get(..PACKET_CAPACITY).unwrap_or(datagram);
    if pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(datagram)) {
        Ok(slot)
    } else {
        pool.put(slot);
        Err(DropReason::Malformed)
    }
}

/// Reads the next packet; `None` when none waits.
fn read_packet(device: &TunDevice, cutter: Option<&mut Cutter>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let Some(cutter) = cutter else { return device.read(buffer) };
    if let Some(len) = cutter.next(buffer) {
        return Ok(Some(len));
    }
    let Some(read) = device.read(cutter.room())? else { return Ok(None) };
    if !cutter.take(read) {
        log_debug!(Topic::Tuntap, "{} handed over {read} bytes that are no packet", device.name());
    }
    // Nothing of what cannot be cut, which is an empty packet to the engine and dropped there.
    Ok(Some(cutter.next(buffer).unwrap_or(0)))
}

/// What the worker has done.
impl Worker {
    /// Packets dropped by the engine, and on the way to and from it: where the pool was empty, or the device took none.
    pub(super) fn drops(&self) -> Drops {
        let mut drops = self.engine.drops();
        drops.add(&self.drops);
        drops.add(self.delivery.drops());
        drops
    }

    pub(super) fn work(&self) -> WorkStatus {
        let sockets = self.links.iter().flatten().map(LinkPort::calls).sum::<u64>();
        WorkStatus {
            packets_out: self.packets_out,
            packets_in: self.delivery.packets(),
            system_calls: sockets.wrapping_add(self.device.calls()).wrapping_add(self.reactor.calls()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_without_a_packet_to_hold_it_has_a_reason_to_be_counted_under() {
        let mut pool = Pool::<1>::new();
        let slot = place(&mut pool, &[7; PACKET_CAPACITY + 1]).expect("one is free, and what is too long is cut");
        assert_eq!(pool.packet(&slot).map(|packet| packet.len()), Some(PACKET_CAPACITY));
        assert!(matches!(place(&mut pool, b"another"), Err(DropReason::QueueFull)));
        pool.put(slot);
        assert!(place(&mut pool, b"another").is_ok());
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The worker: one thread, one loop, the engine in the middle.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::tunnel::Arrival;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::PACKET_CAPACITY;
use mlvpn_core::words::time::{Duration, Instant};

use super::delivery::Delivery;
use super::engine::{Engine, WINDOW};
use super::failover::Failover;
use super::links::{Failure, LinkPort, Sent};
use super::outbox::Outbox;
use super::reload::Source;
use super::resolver::Resolver;
use super::service::{InterfaceState, LinkChange, Occasion, Service};
use super::settings;
use crate::config::Config;
use crate::device::TunDevice;
use crate::interface::InterfaceName;
use crate::log::{RateLimit, Topic};
use crate::netlink::Netlink;
use crate::offload::cut::Cutter;
use crate::privilege::{Monitor, Request};
use crate::reactor::{Batch, Event, Interest, Reactor, Readiness, Signal, Token};
use crate::socket::incoming::{Inbox, Letter};
use crate::status::{Happening, Meter, Ticks};
use crate::title::ProcessTitle;
use crate::{clock, log_debug, log_info, log_warn};

/// Packets there are, at 1,664 bytes each: those held for order, of a server's peers together, those that wait for a
/// link, and those in hand. Memory is used only as far as packets are.
pub(super) const POOL_SLOTS: usize = 4 * WINDOW;

/// Packets taken from the device or one socket before the others get their turn.
const READS_PER_TURN: usize = 64;

/// The worker does not wake sooner than this after it went to sleep but for packets: a quarter of what a link that was
/// polled late catches up with (`BURST` of `mlvpn_core::state::departures`), so that a paced link leaves in small batches
/// at most 4,000 times a second, at its rate all the same.
const LEAST_WAIT: Duration = Duration::from_micros(250);

/// All packet memory, in `.bss`: it costs only what is used.
static POOL: Mutex<Pool<POOL_SLOTS>> = Mutex::new(Pool::new());

/// Everything the worker holds.
pub(super) struct Worker {
    pub(super) config: Config,
    pub(super) source: Source,
    pub(super) engine: Engine,
    pub(super) pool: MutexGuard<'static, Pool<POOL_SLOTS>>,
    /// Indexed as the engine's links; a place is empty after its link left the configuration.
    pub(super) links: Vec<Option<LinkPort>>,
    pub(super) reactor: Reactor,
    pub(super) device: TunDevice,
    /// The device is not read while the engine has no room.
    is_reading_device: bool,
    pub(super) netlink: Netlink,
    pub(super) monitor: Monitor,
    pub(super) resolver: Option<Resolver>,
    pub(super) questions: u64,
    pub(super) title: Option<(ProcessTitle, String)>,
    /// What the device handed over joined; none where it hands over packets.
    cutter: Option<Cutter>,
    delivery: Delivery,
    outbox: Outbox,
    inbox: Inbox,
    too_long: RateLimit,
    pub(super) trouble: RateLimit,
    pub(super) failover: Failover,
    /// How many engines there were: a client's engines are numbered.
    pub(super) engines: u16,
    /// The device's MTU, in bytes.
    pub(super) mtu: u16,
    is_ending: bool,
    /// Packets taken from the device so far.
    packets_in: u64,
    pub(super) service: Option<Box<dyn Service>>,
    /// What the service has not been told yet.
    pub(super) happenings: VecDeque<Happening>,
    /// How links are used otherwise than configured.
    pub(super) changes: HashMap<String, LinkChange>,
    /// Interfaces the service told of.
    pub(super) interfaces: HashMap<InterfaceName, InterfaceState>,
    /// What links carried that left the engine and may come back.
    pub(super) left: HashMap<String, Meter>,
    /// When the links' meters are read; only where somebody asks for that.
    ticks: Option<Ticks>,
    pub(super) facts: Facts,
}

/// What the worker remembers for its status alone.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) started: Instant,
    /// Since when a link is up.
    pub(super) up_since: Option<Instant>,
    /// What was wrong with the last handshake.
    pub(super) trouble: Option<&'static str>,
    /// How often each peer got new keys, by its place.
    pub(super) renewals: HashMap<usize, u64>,
}

impl Worker {
    /// Opens the device and everything else that needs rights. Links open in [`Worker::run`].
    pub(super) fn start(config: Config, source: Source, monitor: Monitor) -> Result<Self, Box<dyn std::error::Error>> {
        let mtu = config.general.mtu.unwrap_or_else(|| config.usual_inner_mtu());
        let general = &config.general;
        let device = TunDevice::create_offloading(general.interface_name.as_str(), general.tuntap, u32::from(mtu))?;
        log_info!(Topic::Tuntap, "created {} interface {}", device.kind(), device.name());
        monitor.ask(&Request::NameDevice(device.name()))?;
        let reactor = Reactor::new()?;
        let netlink = Netlink::open()?;
        reactor.register(&device, Token::Device, Interest::Read)?;
        reactor.register(&netlink, Token::Netlink, Interest::Read)?;
        reactor.register(&monitor, Token::Monitor, Interest::Read)?;
        Ok(Self {
            engine: settings::engine(&config, mtu, 0, 0)?,
            pool: POOL.lock().unwrap_or_else(PoisonError::into_inner),
            links: Vec::new(),
            reactor,
            cutter: device.offload().map(|_| Cutter::new()),
            delivery: Delivery::new(device.offload()),
            device,
            is_reading_device: true,
            netlink,
            monitor,
            resolver: None,
            questions: 0,
            title: None,
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            too_long: RateLimit::new(Duration::from_secs(10)),
            trouble: RateLimit::new(Duration::from_secs(10)),
            failover: Failover::default(),
            engines: 0,
            mtu,
            is_ending: false,
            packets_in: 0,
            service: None,
            happenings: VecDeque::new(),
            changes: HashMap::new(),
            interfaces: HashMap::new(),
            left: HashMap::new(),
            ticks: None,
            facts: Facts { started: clock::now(), up_since: None, trouble: None, renewals: HashMap::new() },
            source,
            config,
        })
    }

    /// Carries packets until told to end, or until it cannot go on; says goodbye either way, so that the peer need not
    /// wait for its timeout.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let now = clock::now();
        if self.service.is_some() {
            self.ticks = Some(Ticks::new(now));
            self.serve(Occasion::Start);
        }
        for link in self.config.links.clone() {
            self.add_link(link, now);
        }
        self.show_title();
        let carried = self.carry();
        let ended = carried.and(self.say_goodbye());
        self.tell_service();
        self.serve(Occasion::End);
        ended
    }

    fn carry(&mut self) -> io::Result<()> {
        let mut batch = Batch::new();
        let mut now = clock::now();
        while !self.is_ending {
            let soonest = now + LEAST_WAIT;
            self.reactor.arm(self.deadline().map(|at| at.max(soonest)))?;
            self.reactor.wait(&mut batch)?;
            now = clock::now();
            for event in batch.events() {
                self.handle(event, now)?;
            }
            if self.is_cutting() {
                // There was no room for all of it.
                self.read_device(now)?;
            }
            self.engine.handle_timeout(now);
            self.open_due_links(now);
            self.pump(now)?;
            self.watch_servers(now)?;
            self.tell_service();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let retries = self.links.iter().flatten().filter_map(LinkPort::retry_at);
        let service = self.service.as_ref().and_then(|service| service.deadline());
        let ticks = self.ticks.as_ref().map(Ticks::deadline);
        retries.chain(self.engine.deadline()).chain(self.failover.deadline()).chain(service).chain(ticks).min()
    }

    fn handle(&mut self, event: Event, now: Instant) -> io::Result<()> {
        match event {
            Event::Timer | Event::Signal(Signal::Child) => {}
            Event::Signal(Signal::Quit) => self.is_ending = true,
            Event::Signal(Signal::Reload) => self.monitor.ask(&Request::OpenConfig)?,
            Event::Ready { token: Token::Device, .. } => self.read_device(now)?,
            Event::Ready { token: Token::Link(index), readiness } => {
                self.serve_socket(usize::from(index), readiness, now)?
            }
            Event::Ready { token: Token::Netlink, .. } => self.read_netlink()?,
            Event::Ready { token: Token::Monitor, .. } => self.read_monitor()?,
            Event::Ready { token: Token::Resolver, .. } => self.read_resolver(),
            Event::Ready { token: Token::Service, readiness } => self.serve(Occasion::Ready(readiness)),
            Event::Ready { .. } => {}
        }
        Ok(())
    }
}

/// The service.
impl Worker {
    /// Tells the service what happened and what is due, and reads the meters when it is time.
    fn tell_service(&mut self) {
        let now = clock::now();
        if let Some(elapsed) = self.ticks.as_mut().and_then(|ticks| ticks.take(now)) {
            self.links.iter_mut().flatten().for_each(|port| port.meter.sample(elapsed));
        }
        while let Some(happening) = self.happenings.pop_front() {
            self.serve(Occasion::Happened(happening));
        }
        if self.service.as_ref().and_then(|service| service.deadline()).is_some_and(|at| at <= now) {
            self.serve(Occasion::Due);
        }
    }

    fn serve(&mut self, occasion: Occasion) {
        // It is taken out meanwhile, since it may do anything with the worker but call itself.
        if let Some(mut service) = self.service.take() {
            service.serve(occasion, self);
            self.service = Some(service);
        }
    }
}

/// Packets.
impl Worker {
    /// Takes in what the device has, before the engine is asked what becomes of it.
    fn read_device(&mut self, now: Instant) -> io::Result<()> {
        let mut packets: usize = 0;
        // What was read is cut to its end.
        while packets < READS_PER_TURN || self.is_cutting() {
            if !self.engine.has_room() {
                break;
            }
            let Some(slot) = self.pool.take() else { break };
            let Some(packet) = self.pool.packet_mut(&slot) else { break };
            let (device, cutter) = (&self.device, &mut self.cutter);
            let mut is_empty = true;
            packet.fill(|buffer| {
                let len = read_packet(device, cutter.as_mut(), buffer)?;
                is_empty = len.is_none();
                Ok::<_, io::Error>(len.unwrap_or(0))
            })?;
            if is_empty {
                self.pool.put(slot);
                break;
            }
            packets = packets.saturating_add(1);
            self.engine.send(&mut self.pool, slot, now);
        }
        self.packets_in = self.packets_in.wrapping_add(packets as u64);
        Ok(())
    }

    /// Whether packets of the device's last read are still to be taken in.
    fn is_cutting(&self) -> bool {
        self.cutter.as_ref().is_some_and(|cutter| !cutter.is_empty())
    }

    fn serve_socket(&mut self, index: usize, readiness: Readiness, now: Instant) -> io::Result<()> {
        if readiness.is_writable {
            self.flush(index)?;
        }
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
                port.meter.count_received(letter.len());
            }
            take_letter(&mut self.engine, &mut self.pool, letter, LinkId::new(index), now);
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

/// Hands the datagrams of a letter to the engine, each in a packet of its own.
fn take_letter<const SLOTS: usize>(
    engine: &mut Engine,
    pool: &mut Pool<SLOTS>,
    letter: Letter<'_>,
    link: LinkId,
    at: Instant,
) {
    for datagram in letter.datagrams() {
        let Some(slot) = pool.take() else { return };
        // What is too long for a packet is none of ours, and is dropped and counted for its broken seal.
        let datagram = datagram.get(..PACKET_CAPACITY).unwrap_or(datagram);
        if pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(datagram)) {
            engine.receive(pool, slot, Arrival { link, from: letter.from, ecn: letter.ecn, at });
        } else {
            pool.put(slot);
        }
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

/// What the worker has done, for the log.
impl Worker {
    /// Packets from the device and to it, and system calls made to carry them.
    pub(super) fn work(&self) -> (u64, u64, u64) {
        let sockets = self.links.iter().flatten().map(LinkPort::calls).sum::<u64>();
        let calls = sockets.wrapping_add(self.device.calls()).wrapping_add(self.reactor.calls());
        (self.packets_in, self.delivery.packets(), calls)
    }
}

pub(super) fn link_token(index: usize) -> Token {
    Token::Link(u16::try_from(index).unwrap_or(u16::MAX))
}

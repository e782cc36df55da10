// SPDX-License-Identifier: BSD-2-Clause
//! The worker: one thread, one loop, the engine in the middle.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::state::link::Phase;
use mlvpn_core::tunnel::{Arrival, Transmit, Tunnel};
use mlvpn_core::words::event::{Event as Happening, Health, Trouble};
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::limits::{EGRESS_SLOTS, MAX_DATAGRAM, MAX_LINKS};
use mlvpn_core::words::time::{Duration, Instant};

use super::links::{LinkPort, Sent};
use super::resolver::{self, Addresses, Resolver};
use super::settings;
use crate::config::Config;
use crate::device::{TunDevice, WriteError};
use crate::log::{RateLimit, Topic};
use crate::netlink::{Change, Netlink};
use crate::privilege::{Monitor, Notice, Request};
use crate::reactor::{Batch, Event, Interest, Reactor, Readiness, Signal, Token};
use crate::script::{LinkName, ScriptEvent};
use crate::socket::outgoing_mtu;
use crate::title::{self, ProcessTitle, TitleMark};
use crate::{clock, log_debug, log_info, log_warn};

/// Packets the reorder buffer can hold: 1,024 of 1,428 bytes are 200 ms at 60 Mbit/s.
const WINDOW: usize = 1024;

/// Packets there are: those held for order, those that wait for a link, and those in hand.
const POOL_SLOTS: usize = WINDOW + EGRESS_SLOTS + 64;

/// Packets taken from the device or one socket before the others get their turn.
const READS_PER_TURN: usize = 64;

/// How long the worker waits for its goodbyes to leave full sockets.
const FAREWELL: Duration = Duration::from_millis(200);

/// All packet memory, in `.bss`: it costs only what is used.
static POOL: Mutex<Pool<POOL_SLOTS>> = Mutex::new(Pool::new());

type Engine = Tunnel<MAX_LINKS, WINDOW>;

/// Everything the worker holds.
pub(super) struct Worker {
    pub(super) config: Config,
    pub(super) engine: Box<Engine>,
    pool: MutexGuard<'static, Pool<POOL_SLOTS>>,
    /// Indexed as the engine's links; a place is empty after its link left the configuration.
    pub(super) links: Vec<Option<LinkPort>>,
    reactor: Reactor,
    device: TunDevice,
    /// The device is not read while the engine has no room.
    is_reading_device: bool,
    netlink: Netlink,
    monitor: Monitor,
    resolver: Option<Resolver>,
    questions: u64,
    title: Option<(ProcessTitle, String)>,
    out: Box<[u8; MAX_DATAGRAM]>,
    too_long: RateLimit,
    is_ending: bool,
}

impl Worker {
    /// Opens the device and everything else that needs rights. Links open in [`Worker::run`].
    pub(super) fn start(
        config: Config,
        monitor: Monitor,
        title: Option<(ProcessTitle, String)>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mtu = config.general.mtu.unwrap_or_else(|| starting_mtu(&config));
        let general = &config.general;
        let device = TunDevice::create(general.interface_name.as_str(), general.tuntap, u32::from(mtu))?;
        log_info!(Topic::Tuntap, "created {} interface {}", device.kind(), device.name());
        monitor.ask(&Request::NameDevice(device.name()))?;
        let reactor = Reactor::new()?;
        let netlink = Netlink::open()?;
        reactor.register(&device, Token::Device, Interest::Read)?;
        reactor.register(&netlink, Token::Netlink, Interest::Read)?;
        reactor.register(&monitor, Token::Monitor, Interest::Read)?;
        Ok(Self {
            engine: new_engine(&config, mtu)?,
            pool: POOL.lock().unwrap_or_else(PoisonError::into_inner),
            links: Vec::new(),
            reactor,
            device,
            is_reading_device: true,
            netlink,
            monitor,
            resolver: None,
            questions: 0,
            title,
            out: Box::new([0; MAX_DATAGRAM]),
            too_long: RateLimit::new(Duration::from_secs(10)),
            is_ending: false,
            config,
        })
    }

    /// Carries packets until told to end, or until it cannot go on; says goodbye either way, so that the peer need not
    /// wait for its timeout.
    pub(super) fn run(&mut self) -> io::Result<()> {
        for link in self.config.links.clone() {
            self.add_link(link, clock::now());
        }
        self.show_title();
        let carried = self.carry();
        carried.and(self.say_goodbye())
    }

    fn carry(&mut self) -> io::Result<()> {
        let mut batch = Batch::new();
        while !self.is_ending {
            self.reactor.arm(self.deadline())?;
            self.reactor.wait(&mut batch)?;
            for event in batch.events() {
                self.handle(event)?;
            }
            let now = clock::now();
            self.engine.handle_timeout(now);
            self.open_due_links(now);
            self.pump(now)?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let retries = self.links.iter().flatten().filter_map(LinkPort::retry_at);
        retries.chain(self.engine.poll_timeout().map(|deadline| deadline.at)).min()
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Timer | Event::Signal(Signal::Child) => {}
            Event::Signal(Signal::Quit) => self.is_ending = true,
            Event::Signal(Signal::Reload) => self.monitor.ask(&Request::OpenConfig)?,
            Event::Ready { token: Token::Device, .. } => self.read_device()?,
            Event::Ready { token: Token::Link(index), readiness } => {
                self.serve_socket(usize::from(index), readiness)?
            }
            Event::Ready { token: Token::Netlink, .. } => self.read_netlink()?,
            Event::Ready { token: Token::Monitor, .. } => self.read_monitor()?,
            Event::Ready { token: Token::Resolver, .. } => self.read_resolver(),
            Event::Ready { .. } => {}
        }
        Ok(())
    }
}

/// Packets.
impl Worker {
    fn read_device(&mut self) -> io::Result<()> {
        let now = clock::now();
        for _ in 0..READS_PER_TURN {
            if !self.engine.has_room() {
                break;
            }
            let Some(slot) = self.pool.take() else { break };
            let device = &self.device;
            let mut is_empty = true;
            if let Some(packet) = self.pool.packet_mut(&slot) {
                packet.fill(|buffer| {
                    device.read(buffer).map(|len| {
                        is_empty = len.is_none();
                        len.unwrap_or(0)
                    })
                })?;
            }
            if is_empty {
                self.pool.put(slot);
                break;
            }
            self.engine.send(&mut self.pool, slot);
            self.pump(now)?;
        }
        Ok(())
    }

    fn serve_socket(&mut self, index: usize, readiness: Readiness) -> io::Result<()> {
        if readiness.is_writable {
            self.flush(index)?;
        }
        let now = clock::now();
        for _ in 0..READS_PER_TURN {
            let Some(slot) = self.pool.take() else { break };
            let Some(socket) = self.links.get(index).and_then(Option::as_ref).and_then(LinkPort::socket) else {
                self.pool.put(slot);
                break;
            };
            let mut from = None;
            let received = self.pool.packet_mut(&slot).map_or(Ok(0), |packet| {
                packet.fill(|buffer| {
                    socket.recv_from(buffer).map(|received| {
                        from = received.map(|(_, from)| from);
                        received.map_or(0, |(len, _)| len)
                    })
                })
            });
            match (received, from) {
                (Ok(_), Some(from)) => {
                    self.engine.receive(&mut self.pool, slot, Arrival { link: LinkId::new(index), from, at: now });
                    self.pump(now)?;
                }
                (Ok(_), None) => {
                    self.pool.put(slot);
                    break;
                }
                (Err(why), _) => {
                    self.pool.put(slot);
                    self.close_link(index, &why, now);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Does everything the engine wants done.
    pub(super) fn pump(&mut self, now: Instant) -> io::Result<()> {
        while let Some(slot) = self.engine.poll_deliver() {
            let written = self.pool.packet(&slot).map_or(Ok(()), |packet| self.device.write(packet.as_bytes()));
            self.pool.put(slot);
            match written {
                Ok(()) | Err(WriteError::Full | WriteError::Down) => {}
                Err(WriteError::Malformed) => log_debug!(Topic::Tuntap, "the kernel refused a packet of the peer's"),
                Err(WriteError::Gone(why)) => return Err(why),
            }
        }
        while let Some(transmit) = self.engine.poll_transmit(&mut self.pool, now, &mut *self.out) {
            self.send(transmit, now)?;
        }
        while let Some(event) = self.engine.poll_event() {
            self.report(event, now);
        }
        self.set_reading_device(self.engine.has_room())
    }

    fn send(&mut self, transmit: Transmit, now: Instant) -> io::Result<()> {
        let index = transmit.link.index();
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let sent = port.send(self.out.get(..transmit.len).unwrap_or_default(), transmit.to);
        self.after_sending(index, sent, now)
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
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
            Sent::Broken(why) => self.close_link(index, &why, now),
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

/// Links.
impl Worker {
    /// Adds a link of the configuration, to be opened at once.
    pub(super) fn add_link(&mut self, config: crate::config::Link, now: Instant) {
        let index = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if index >= MAX_LINKS || u16::try_from(index).is_err() {
            log_warn!(Topic::Config, "[{}] is one link too many; {MAX_LINKS} are possible", config.name);
            return;
        }
        self.engine.set_link(LinkId::new(index), settings::link(&config), now);
        let port = Some(LinkPort::new(config));
        match self.links.get_mut(index) {
            Some(place) => *place = port,
            None => self.links.push(port),
        }
        self.open_link(index, now);
    }

    fn open_due_links(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            if self.links.get(index).and_then(Option::as_ref).is_some_and(|port| port.is_due(now)) {
                self.open_link(index, now);
            }
        }
    }

    /// Opens a link whose addresses are written as such, and has the others' names resolved.
    pub(super) fn open_link(&mut self, index: usize, now: Instant) {
        let serial = self.questions.wrapping_add(1);
        self.questions = serial;
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let question = port.question(index, serial);
        if let Some(addresses) = resolver::literal(&question) {
            return self.open_at(index, addresses, now);
        }
        port.wait_for_answer(serial);
        match self.resolver() {
            Ok(resolver) => resolver.ask(question),
            Err(why) => log_warn!(Topic::Dns, "cannot start the resolver: {why}"),
        }
    }

    fn open_at(&mut self, index: usize, addresses: Addresses, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let opened = port.open(addresses).map(|socket| {
            let local = socket.local_addr().map_or_else(|_| "?".to_owned(), |local| local.to_string());
            (self.reactor.register(socket, link_token(index), Interest::Read), local)
        });
        match opened {
            Ok((Ok(()), local)) => {
                log_info!(Topic::Net, "{}: socket at {local}", port.config.name);
                let remote = port.remote();
                self.engine.open_link(LinkId::new(index), remote, now);
                self.engine.handle_timeout(now);
                self.refresh_mtu();
            }
            Ok((Err(why), _)) => self.close_link(index, &why, now),
            Err(why) => {
                let retry = port.failed(now).since(now);
                let name = &port.config.name;
                if why.is_temporary() {
                    log_info!(Topic::Net, "{name}: {why}; trying again in {} s", retry.millis() / 1_000);
                } else {
                    log_warn!(Topic::Net, "{name}: {why}; trying again in {} s", retry.millis() / 1_000);
                }
            }
        }
    }

    /// Closes a link whose socket is of no use, to be opened again later.
    fn close_link(&mut self, index: usize, why: &dyn std::fmt::Display, now: Instant) {
        let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let retry = port.failed(now).since(now);
        log_info!(Topic::Net, "{}: {why}; opening it again in {} s", port.config.name, retry.millis() / 1_000);
        self.shut_link(index);
    }

    /// Closes a link's socket and tells the engine.
    pub(super) fn shut_link(&mut self, index: usize) {
        if let Some(socket) = self.links.get_mut(index).and_then(Option::as_mut).and_then(LinkPort::close)
            && let Err(why) = self.reactor.deregister(&socket)
        {
            log_debug!(Topic::Net, "{}: {why}", self.link_name(index));
        }
        self.engine.close_link(LinkId::new(index));
    }

    fn resolver(&mut self) -> io::Result<&Resolver> {
        if self.resolver.is_none() {
            let resolver = Resolver::start()?;
            self.reactor.register(&resolver, Token::Resolver, Interest::Read)?;
            self.resolver = Some(resolver);
        }
        self.resolver.as_ref().ok_or_else(|| io::Error::other("no resolver"))
    }

    fn read_resolver(&mut self) {
        let now = clock::now();
        while let Some(answer) = self.resolver.as_ref().and_then(Resolver::poll) {
            let Some(port) = self.links.get_mut(answer.link).and_then(Option::as_mut) else { continue };
            if !port.takes_answer(answer.serial) {
                continue;
            }
            match answer.found {
                Ok(addresses) => self.open_at(answer.link, addresses, now),
                Err(why) => {
                    let retry = port.failed(now).since(now);
                    log_warn!(Topic::Dns, "{}: {why}; asking again in {} s", port.config.name, retry.millis() / 1_000);
                }
            }
        }
    }

    fn read_netlink(&mut self) -> io::Result<()> {
        let now = clock::now();
        let mut changes = Vec::new();
        self.netlink.drain(|change| changes.push(change))?;
        for change in changes {
            self.follow(change, now);
        }
        Ok(())
    }

    fn follow(&mut self, change: Change, now: Instant) {
        for index in 0..self.links.len() {
            let Some(port) = self.links.get_mut(index).and_then(Option::as_mut) else { continue };
            if port.is_broken_by(&change) {
                self.close_link(index, &"its interface went down or its address left", now);
                continue;
            }
            match change {
                Change::LinkUp(_) | Change::AddressAdded(..) | Change::RouteChanged | Change::Overrun => {
                    port.hurry(now)
                }
                Change::LinkDown(_) | Change::AddressRemoved(..) => {}
            }
        }
        if matches!(change, Change::LinkUp(_) | Change::Overrun) {
            self.refresh_mtu();
        }
    }

    /// Computes the MTU from the open links and tells the engine and the device, unless the user fixed it.
    pub(super) fn refresh_mtu(&mut self) {
        let open = self.links.iter().flatten().filter_map(|port| Some((port.socket()?.address(), port.remote())));
        let computed = open.map(|(address, remote)| {
            let path = outgoing_mtu(address, remote).ok().flatten().unwrap_or(settings::USUAL_PATH_MTU);
            settings::mtu(&self.config, path, address.family)
        });
        let Some(mtu) = self.config.general.mtu.or(computed.min()) else { return };
        if mtu == self.engine.mtu() {
            return;
        }
        log_info!(Topic::Tuntap, "mtu {mtu}");
        self.engine.set_mtu(mtu);
        if let Err(why) = self.monitor.ask(&Request::SetMtu(u32::from(mtu))) {
            log_warn!(Topic::Tuntap, "cannot set the mtu of {}: {why}", self.device.name());
        }
    }

    /// Starts over with an engine for the configuration as it is now; every link must have been removed.
    pub(super) fn replace_engine(&mut self, mtu: u16) -> io::Result<()> {
        self.engine.clear(&mut self.pool);
        self.engine = new_engine(&self.config, mtu)?;
        Ok(())
    }

    pub(super) fn link_name(&self, index: usize) -> &str {
        self.links.get(index).and_then(Option::as_ref).map_or("?", |port| &port.config.name)
    }
}

/// What is told.
impl Worker {
    fn report(&mut self, event: Happening, now: Instant) {
        match event {
            Happening::LinkUp(id) => {
                if let Some(port) = self.links.get_mut(id.index()).and_then(Option::as_mut) {
                    port.succeeded();
                }
                log_info!(Topic::Protocol, "{}: up", self.link_name(id.index()));
                self.run_script(ScriptEvent::LinkUp, Some(id));
            }
            Happening::LinkDown(id, cause) => {
                log_warn!(Topic::Protocol, "{}: down, {}", self.link_name(id.index()), cause.describe());
                self.run_script(ScriptEvent::LinkDown, Some(id));
            }
            Happening::LinkHealth(id, health) => self.report_health(id, health, now),
            Happening::PeerMoved(id, address) => {
                log_info!(Topic::Protocol, "{}: peer at {address}", self.link_name(id.index()));
            }
            Happening::TunnelUp => self.run_script(ScriptEvent::TunnelUp, None),
            Happening::TunnelDown => self.run_script(ScriptEvent::TunnelDown, None),
            Happening::NewSession => log_info!(Topic::Protocol, "new keys"),
            Happening::MtuChanged(mtu) => log_info!(Topic::Protocol, "the largest inner packet has {mtu} bytes now"),
            Happening::HandshakeTrouble(Trouble(why)) => log_warn!(Topic::Protocol, "handshake: {why}"),
        }
        self.show_title();
    }

    fn report_health(&self, id: LinkId, health: Health, now: Instant) {
        let name = self.link_name(id.index());
        let Some(link) = self.engine.link(id) else { return };
        match health {
            Health::Good => log_info!(Topic::Rtt, "{name}: within its tolerances again"),
            Health::Lossy => log_warn!(Topic::Rtt, "{name}: lossy, {} % of 64 packets", link.loss_percent()),
            Health::Slow => {
                let rtt = link.rtt().smoothed().unwrap_or_default().millis();
                log_warn!(Topic::Rtt, "{name}: slow, round trip {rtt} ms");
            }
            Health::Silent => {
                log_warn!(Topic::Rtt, "{name}: silent for {} ms", now.since(link.last_heard()).millis());
            }
        }
    }

    fn run_script(&self, event: ScriptEvent, link: Option<LinkId>) {
        let link = link.and_then(|id| LinkName::new(self.link_name(id.index())));
        let request = Request::RunScript { event, link, mtu: u32::from(self.engine.mtu()) };
        if let Err(why) = self.monitor.ask(&request) {
            log_warn!(Topic::Privsep, "cannot have the status command run: {why}");
        }
    }

    pub(super) fn show_title(&self) {
        let Some((title, name)) = &self.title else { return };
        let marks = self.links.iter().enumerate().filter_map(|(index, port)| {
            let link = self.engine.link(LinkId::new(index))?;
            let mark = match (link.phase(), link.health()) {
                (Phase::Up, Health::Good) => TitleMark::Up,
                (Phase::Up, _) => TitleMark::Lossy,
                (Phase::Closed | Phase::Waiting, _) => TitleMark::Down,
            };
            Some((mark, port.as_ref()?.config.name.as_str()))
        });
        if let Err(why) = title.set(&title::worker_title(name, marks)) {
            log_debug!(Topic::Privsep, "process title: {why}");
        }
    }

    fn read_monitor(&mut self) -> io::Result<()> {
        while let Some(notice) = self.monitor.poll_notice()? {
            match notice {
                Notice::Config(file) => self.reload(&file, clock::now()),
                Notice::NoConfig(why) => log_warn!(Topic::Config, "reload: cannot open the configuration: {why}"),
                Notice::Gone => return Err(io::Error::other("the privileged process died")),
            }
        }
        Ok(())
    }

    /// DISCONNECT on every link that is up, then the link events for the status command.
    fn say_goodbye(&mut self) -> io::Result<()> {
        log_info!(Topic::Protocol, "ending: saying goodbye to the peer");
        let now = clock::now();
        for index in 0..self.links.len() {
            self.engine.disconnect_link(LinkId::new(index));
        }
        self.pump(now)?;
        let mut batch = Batch::new();
        while self.links.iter().flatten().any(LinkPort::has_unsent) && clock::now().since(now) < FAREWELL {
            self.reactor.arm(Some(now + FAREWELL))?;
            self.reactor.wait(&mut batch)?;
            for index in 0..self.links.len() {
                self.flush(index)?;
            }
        }
        for index in 0..self.links.len() {
            self.shut_link(index);
        }
        while let Some(event) = self.engine.poll_event() {
            self.report(event, now);
        }
        Ok(())
    }
}

/// An engine with a seed of its own.
fn new_engine(config: &Config, mtu: u16) -> io::Result<Box<Engine>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(Box::new(Tunnel::new(settings::tunnel(config, mtu), seed)))
}

/// The MTU before any link is open: as if all paths were Ethernet, over IPv6 where a link says so.
fn starting_mtu(config: &Config) -> u16 {
    let mentions_ipv6 = |host: &Option<String>| host.as_ref().is_some_and(|host| host.contains(':'));
    let ipv6 = config.links.iter().any(|link| mentions_ipv6(&link.remotehost) || mentions_ipv6(&link.bindhost));
    let family = if ipv6 { crate::socket::Family::V6 } else { crate::socket::Family::V4 };
    settings::mtu(config, settings::USUAL_PATH_MTU, family)
}

fn link_token(index: usize) -> Token {
    Token::Link(u16::try_from(index).unwrap_or(u16::MAX))
}

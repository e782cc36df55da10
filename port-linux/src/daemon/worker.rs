// SPDX-License-Identifier: BSD-2-Clause
//! The worker: one thread, one loop, the engine in the middle.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mlvpn_core::memory::pool::Pool;
use mlvpn_core::words::drops::Drops;
use mlvpn_core::words::time::{Duration, Instant};

use super::advice::Advice;
use super::delivery::Delivery;
use super::engine::{Engine, WINDOW};
use super::failover::Failover;
use super::filters::Filters;
use super::links::LinkPort;
use super::live::Live;
use super::outbox::Outbox;
use super::quota::Quotas;
use super::reload::Source;
use super::service::{InterfaceState, LinkChange, Occasion, Service};
use super::settings;
use crate::clock;
use crate::config::Config;
use crate::device::TunDevice;
use crate::interface::InterfaceName;
use crate::log::RateLimit;
use crate::netlink::Netlink;
use crate::notify::Notifier;
use crate::offload::cut::Cutter;
use crate::privilege::{Monitor, Request};
use crate::reactor::{Batch, Event, Interest, Reactor, Signal, Token};
use crate::socket::incoming::Inbox;
use crate::status::{Happening, Meter, Ticks};
use crate::title::ProcessTitle;

/// Packets there are, at 1,664 bytes each: those held for order, of a server's peers together, those that wait for a
/// link, and those in hand. Memory is used only as far as packets are. A 32-bit router has 64 MB in all, so that its
/// program takes 3 MB at most: a window for order, and three quarters of one besides, which at 100 ms are 24 MB/s.
pub(super) const POOL_SLOTS: usize =
    if cfg!(all(not(feature = "full"), target_pointer_width = "32")) { WINDOW + 3 * WINDOW / 4 } else { 4 * WINDOW };

/// The worker does not wake sooner than this after it went to sleep but for packets: half of what a link that was polled
/// late catches up with (`BURST` of `mlvpn_core::state::departures`), so that a paced link leaves in small batches at most
/// 2,000 times a second, at its rate all the same. Linux sizes TCP's own batches for a whole millisecond.
const LEAST_WAIT: Duration = Duration::from_micros(500);

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
    pub(super) is_reading_device: bool,
    pub(super) netlink: Netlink,
    pub(super) monitor: Monitor,
    /// What the monitor was asked last.
    pub(super) serial: u64,
    pub(super) title: Option<(ProcessTitle, String)>,
    /// What the device handed over joined; none where it hands over packets.
    pub(super) cutter: Option<Cutter>,
    pub(super) delivery: Delivery,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) too_long: RateLimit,
    pub(super) trouble: RateLimit,
    pub(super) failover: Failover,
    pub(super) quotas: Quotas,
    pub(super) filters: Filters,
    pub(super) notifier: Notifier,
    pub(super) advice: Advice,
    /// How many engines there were: a client's engines are numbered.
    pub(super) engines: u16,
    /// The device's MTU, in bytes.
    pub(super) mtu: u16,
    is_ending: bool,
    /// Packets taken from the device so far.
    pub(super) packets_out: u64,
    /// Datagrams that no engine saw.
    pub(super) drops: Drops,
    pub(super) service: Option<Box<dyn Service>>,
    /// What the service has not been told yet.
    pub(super) happenings: VecDeque<Happening>,
    /// How links are used otherwise than configured.
    pub(super) changes: HashMap<String, LinkChange>,
    /// What commands changed that the configuration does not know of.
    pub(super) live: Live,
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
    /// When the configuration in use was read.
    pub(super) configured: Instant,
    /// Since when a link is up.
    pub(super) up_since: Option<Instant>,
    /// What was wrong with the last handshake.
    pub(super) trouble: Option<&'static str>,
    /// How often each peer got new keys, by its place.
    pub(super) renewals: HashMap<usize, u64>,
}

impl Worker {
    /// Opens what needs to be found by a path or takes rights. Links open in [`Worker::run`].
    pub(super) fn start(config: Config, source: Source, monitor: Monitor, device: TunDevice) -> io::Result<Self> {
        let now = clock::now();
        let mtu = config.general.mtu.unwrap_or_else(|| config.usual_inner_mtu());
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
            serial: 0,
            title: None,
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            too_long: RateLimit::new(Duration::from_secs(10)),
            trouble: RateLimit::new(Duration::from_secs(10)),
            failover: Failover::default(),
            quotas: Quotas::open(config.general.quota_file.as_deref())?,
            filters: Filters::default(),
            notifier: Notifier::from_environment(clock::now()),
            advice: Advice::default(),
            engines: 0,
            mtu,
            is_ending: false,
            packets_out: 0,
            drops: Drops::new(),
            service: None,
            happenings: VecDeque::new(),
            changes: HashMap::new(),
            live: Live::default(),
            interfaces: HashMap::new(),
            left: HashMap::new(),
            ticks: None,
            facts: Facts { started: now, configured: now, up_since: None, trouble: None, renewals: HashMap::new() },
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
        self.follow_rules();
        self.filters = Filters::new(&self.config, |name| self.place_of(name));
        self.check_quotas();
        self.show_title();
        self.notifier.ready();
        // So that a deadline is there, also where nothing else ever happens.
        self.advise(now);
        let carried = self.carry();
        self.notifier.stopping();
        let ended = carried.and(self.say_goodbye());
        self.save_usage();
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
            for event in batch.events() {
                self.handle(event)?;
            }
            now = clock::now();
            self.notifier.handle_timeout(now);
            self.engine.handle_timeout(now);
            self.follow_quotas(now);
            self.renew_names(now);
            self.open_due_links(now);
            self.pump(now)?;
            self.finish_cutting(now)?;
            self.watch_servers(now)?;
            self.advise(now);
            self.tell_service();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let ports = || self.links.iter().flatten();
        let retries = ports().filter_map(LinkPort::retry_at).chain(ports().filter_map(LinkPort::renew_at));
        let service = self.service.as_ref().and_then(|service| service.deadline());
        let ticks = self.ticks.as_ref().map(Ticks::deadline);
        let others = service.into_iter().chain(ticks).chain(self.quota_deadline());
        let own = self.notifier.deadline().into_iter().chain(self.advice.deadline());
        retries.chain(self.engine.deadline()).chain(self.failover.deadline()).chain(others).chain(own).min()
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Timer | Event::Signal(Signal::Child) => {}
            Event::Signal(Signal::Quit) => self.is_ending = true,
            Event::Signal(Signal::Reload) => self.monitor.ask(&Request::OpenConfig)?,
            Event::Ready { token: Token::Device, .. } => self.read_device(clock::now()).map(drop)?,
            Event::Ready { token: Token::Link(index), readiness } => {
                self.serve_socket(usize::from(index), readiness)?
            }
            Event::Ready { token: Token::Netlink, .. } => self.read_netlink()?,
            Event::Ready { token: Token::Monitor, .. } => self.read_monitor()?,
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

pub(super) fn link_token(index: usize) -> Token {
    Token::Link(u16::try_from(index).unwrap_or(u16::MAX))
}

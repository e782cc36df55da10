// SPDX-License-Identifier: BSD-2-Clause
//! The monitor's loop: it grants what the configuration allows, and nothing else.

use super::allowance::Allowance;
use super::channel::Monitor;
use super::confine::die_with_parent;
use super::files::Recorder;
use super::grants::{self, Purpose};
use super::protocol::{self, Answer, LinkOrder, MAX_ANSWER, MAX_MESSAGE, Refused, Request, Run, reason};
use super::resolver::{Addresses, Resolver};
use super::{MonitorPlan, Orders};
use crate::config::open_file;
use crate::device::TunDevice;
use crate::interface::{self, InterfaceName};
use crate::log::{RateLimit, Topic};
use crate::reactor::{self, Batch, Event, Interest, Reactor, Token};
use crate::roles::Keeper;
use crate::script::{ScriptEvent, ScriptRun, ScriptRunner};
use crate::{clock, log_info, log_warn, sys};
use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::fs::File;
use std::io::{self, IoSlice, Seek};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Requests served per turn, so that a wild worker cannot keep the monitor from its signals.
const REQUESTS_PER_TURN: usize = 16;

/// How long scripts may go on after the worker ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// Which process [`split`] returned in.
pub enum Split {
    /// The worker, with its line to the monitor and the device.
    Worker(Monitor, TunDevice),
    /// The monitor, after the worker ended: exit with this status.
    Ended(u8),
}

/// Splits the process into monitor and worker. Returns in the worker at once, and in the monitor when the worker has
/// ended. Call it while one thread runs and before anything but the device is opened; signals stay blocked for a
/// [`Reactor`] from here on. Only the worker keeps the device open: it is gone when that ends, however it ends.
///
/// # Errors
/// The kernel's refusal; as only one process exists then, it may report that and end.
pub fn split(plan: MonitorPlan, device: TunDevice) -> io::Result<Split> {
    reactor::block_signals()?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, workers) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let parent = getpid();
    match sys::fork()? {
        sys::Forked::Child => {
            drop(ours);
            die_with_parent(parent)?;
            Ok(Split::Worker(Monitor { channel: workers }, device))
        }
        sys::Forked::Parent(worker) => {
            drop(workers);
            let name = device.name();
            drop(device);
            Service::new(plan, name, ours, worker)?.run().map(Split::Ended)
        }
    }
}

/// The monitor at work.
struct Service {
    plan: MonitorPlan,
    orders: Orders,
    channel: OwnedFd,
    worker: Pid,
    reactor: Reactor,
    scripts: Option<ScriptRunner>,
    /// The worker's device.
    device: InterfaceName,
    /// Addresses, routes and translation, where the configuration asked for any at the start.
    keeper: Option<Keeper>,
    resolver: Option<Resolver<Purpose>>,
    /// What the worker may still ask for.
    allowance: Allowance,
    wild: RateLimit,
    /// An MTU that was set while the status command ran, which may have been told an older one and set that after it.
    mtu_to_repeat: Option<u32>,
    /// The worker's exit status, and when to stop waiting for scripts, once it ended.
    ended: Option<(u8, Instant)>,
}

impl Service {
    fn new(mut plan: MonitorPlan, device: InterfaceName, channel: OwnedFd, worker: Pid) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        reactor.register(&channel, Token::Monitor, Interest::Read)?;
        let scripts = plan.script.take().map(ScriptRunner::new);
        let mut orders = std::mem::take(&mut plan.orders);
        let keeper = orders.plan.is_active().then(|| Keeper::start(device, orders.plan.clone()));
        orders.links.mark = keeper.as_ref().map(Keeper::mark);
        Ok(Self {
            plan,
            orders,
            channel,
            worker,
            reactor,
            scripts,
            device,
            keeper,
            resolver: None,
            allowance: Allowance::full(clock::now()),
            wild: RateLimit::new(Duration::from_secs(10)),
            mtu_to_repeat: None,
            ended: None,
        })
    }

    /// Serves the worker until it has ended and its last scripts are done; its exit status.
    fn run(mut self) -> io::Result<u8> {
        let mut batch = Batch::new();
        // It may have ended before there was anyone to hear of it.
        self.take_end()?;
        loop {
            let now = clock::now();
            if let Some(scripts) = &mut self.scripts {
                scripts.poll(now);
            }
            if self.is_script_idle()
                && self.ended.is_none()
                && let Some(mtu) = self.mtu_to_repeat.take()
            {
                self.set_mtu(mtu);
            }
            if let Some((status, until)) = self.ended
                && (now >= until || self.is_script_idle())
            {
                if let Some(scripts) = &mut self.scripts {
                    scripts.abandon();
                }
                if let Some(keeper) = &mut self.keeper {
                    keeper.end(status != 0);
                }
                return Ok(status);
            }
            let script_deadline = self.scripts.as_ref().and_then(ScriptRunner::deadline);
            let farewell = self.ended.map(|(_, until)| until);
            let refill = self.follow_allowance(now)?;
            self.reactor.arm(script_deadline.into_iter().chain(farewell).chain(refill).min())?;
            self.reactor.wait(&mut batch)?;
            for event in batch.events() {
                self.handle(event)?;
            }
        }
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Ready { token: Token::Monitor, .. } => self.serve(REQUESTS_PER_TURN),
            Event::Ready { token: Token::Resolver, .. } => {
                self.read_resolver();
                Ok(())
            }
            Event::Ready { .. } | Event::Timer => Ok(()),
            Event::Signal(reactor::Signal::Child) => self.take_end(),
            Event::Signal(reactor::Signal::Reload) => self.forward(Number::SIGHUP),
            Event::Signal(reactor::Signal::Quit) => self.forward(Number::SIGTERM),
        }
    }

    /// Passes a signal on to the worker; after its end, a wish to quit ends the wait for scripts.
    fn forward(&mut self, signal: Number) -> io::Result<()> {
        match &mut self.ended {
            Some((_, until)) if signal == Number::SIGTERM => *until = Instant::ORIGIN,
            Some(_) => {}
            None => kill(self.worker, signal)?,
        }
        Ok(())
    }

    /// Takes the worker's end, if it came, and what it still asked for.
    fn take_end(&mut self) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        let status = match waitpid(self.worker, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, status) => u8::try_from(status & 0xff).unwrap_or(1),
            WaitStatus::Signaled(_, signal, _) => {
                let why = if signal == Number::SIGSYS {
                    ": it made a system call that starts programs or the like"
                } else {
                    ""
                };
                log_warn!(Topic::Privsep, "the worker was killed by {signal}{why}");
                // As shells report it.
                u8::try_from(signal as i32 & 0x7f).unwrap_or(0).saturating_add(128)
            }
            _ => return Ok(()),
        };
        self.ended = Some((status, clock::now() + FAREWELL));
        // Its last words: a socket holds hundreds of messages at most.
        self.serve(usize::MAX)
    }

    /// Serves up to `most` waiting requests, as far as the allowance goes while the worker lives.
    fn serve(&mut self, most: usize) -> io::Result<()> {
        let mut bytes = [0; MAX_MESSAGE];
        for _ in 0..most {
            if self.ended.is_none() && !self.allowance.has_one(clock::now()) {
                return Ok(());
            }
            let len = match recv(self.channel.as_raw_fd(), &mut bytes, MsgFlags::MSG_TRUNC) {
                Ok(0) | Err(Errno::ECONNRESET) => {
                    self.reactor.deregister(&self.channel).or_else(already_done)?;
                    self.allowance.is_waiting = false;
                    return Ok(());
                }
                Ok(len) => len,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            self.allowance.take();
            match bytes.get(..len).and_then(protocol::read) {
                Some(request) => self.grant(request),
                None => return self.stop_wild_worker(),
            }
        }
        Ok(())
    }

    /// Stops listening to a worker that asked too much, and listens again when it may ask; says when that is.
    fn follow_allowance(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        let until = self.allowance.empty_until(now);
        match (until, self.allowance.is_waiting) {
            (Some(_), false) if self.ended.is_none() => {
                self.reactor.deregister(&self.channel).or_else(already_done)?;
                self.allowance.is_waiting = true;
                if let Some(before) = self.wild.admit(now) {
                    log_warn!(Topic::Privsep, "the worker asks too much and has to wait ({before} times before)");
                }
            }
            (None, true) => {
                self.reactor.register(&self.channel, Token::Monitor, Interest::Read)?;
                self.allowance.is_waiting = false;
            }
            _ => {}
        }
        Ok(until)
    }

    fn grant(&mut self, request: Request) {
        match request {
            Request::SetMtu(mtu) => {
                self.mtu_to_repeat = (!self.is_script_idle()).then_some(mtu.bytes());
                self.set_mtu(mtu.bytes());
            }
            Request::OpenConfig => self.send_config(),
            Request::RunScript(run) => self.run_script(run),
            Request::OpenLink(order) => self.open_link(&order),
            Request::FindServer { serial } => self.resolve(self.orders.links.first_server(serial)),
        }
    }

    fn open_link(&mut self, order: &LinkOrder) {
        match self.orders.links.question(order) {
            Ok(question) => self.resolve(question),
            Err(why) => {
                log_warn!(Topic::Privsep, "the worker asked for a link {}: {why}", order.link.as_str());
                let outcome = Err(Refused::Local(why.to_owned()));
                self.answer(&Answer::Link { serial: order.serial, outcome }, &[]);
            }
        }
    }

    fn resolve(&mut self, question: super::resolver::Question<Purpose>) {
        let reactor = &self.reactor;
        let register = |resolver: &Resolver<_>| reactor.register(resolver, Token::Resolver, Interest::Read);
        match grants::ask(&mut self.resolver, question, register) {
            Ok(None) => {}
            Ok(Some((purpose, addresses))) => self.tell_found(purpose, Ok(addresses)),
            Err((purpose, why)) => self.tell_found(purpose, Err(why)),
        }
    }

    fn read_resolver(&mut self) {
        while let Some(found) = self.resolver.as_ref().and_then(Resolver::poll) {
            self.tell_found(found.purpose, found.addresses);
        }
    }

    /// Does what names were resolved for, and tells the worker.
    fn tell_found(&self, purpose: Purpose, addresses: Result<Addresses, String>) {
        let (serial, address) = match purpose {
            Purpose::Server { serial } => {
                return self.answer(&Answer::Server { serial, found: grants::server_of(addresses) }, &[]);
            }
            Purpose::Link { serial, address } => (serial, address),
        };
        let found = addresses.map_err(|why| Refused::Name(reason(&why)));
        match found.and_then(|addresses| self.orders.links.open(address, addresses)) {
            Ok(opened) => self.answer(&Answer::Link { serial, outcome: Ok(opened.ends) }, &opened.descriptors()),
            Err(refused) => self.answer(&Answer::Link { serial, outcome: Err(refused) }, &[]),
        }
    }

    fn is_script_idle(&self) -> bool {
        self.scripts.as_ref().is_none_or(ScriptRunner::is_idle)
    }

    fn set_mtu(&self, mtu: u32) {
        let device = &self.device;
        match interface::set_mtu(device, mtu) {
            Ok(()) => log_info!(Topic::Tuntap, "{device} mtu set to {mtu}"),
            Err(why) => log_warn!(Topic::Tuntap, "{device} mtu not set to {mtu}: {why}"),
        }
    }

    fn run_script(&mut self, run: Run) {
        let (event, link, mtu) = run.into_parts();
        // Of a worker that has ended the device is gone, and with it its routes; the rest is taken back soon.
        if self.ended.is_none()
            && let (Some(keeper), ScriptEvent::TunnelUp | ScriptEvent::TunnelDown) = (&mut self.keeper, event)
        {
            keeper.set_up(event == ScriptEvent::TunnelUp);
        }
        let Some(scripts) = &mut self.scripts else { return };
        let environment = self.orders.environment.clone();
        if let Err(run) = scripts.enqueue(ScriptRun { device: self.device, event, link, mtu, environment }) {
            log_warn!(Topic::Privsep, "{} not run: too many runs wait", run.event.word());
        }
    }

    fn send_config(&mut self) {
        match self.open_config() {
            Ok((config, beside)) => {
                let descriptors = [vec![config.as_raw_fd()], beside.descriptors()].concat();
                self.answer(&Answer::Config { paths: beside.paths() }, &descriptors);
            }
            Err(why) => {
                log_warn!(Topic::Config, "{}: {why}", self.plan.config_path.display());
                self.answer(&Answer::NoConfig(why.raw_os_error().unwrap_or(libc::EIO)), &[]);
            }
        }
    }

    /// A worker that does not take its answers asks again, or is stuck: nobody waits for it.
    fn answer(&self, answer: &Answer, descriptors: &[RawFd]) {
        let mut buffer = vec![0; MAX_ANSWER];
        let Some(message) = protocol::write(answer, &mut buffer) else {
            return log_warn!(Topic::Privsep, "an answer to the worker is too long");
        };
        let control = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &control };
        let channel = self.channel.as_raw_fd();
        if let Err(why) = sendmsg::<()>(channel, &[IoSlice::new(message)], control, MsgFlags::MSG_NOSIGNAL, None) {
            log_warn!(Topic::Privsep, "the worker takes no answer: {why}");
        }
    }

    /// Opens the configuration this process was started with, and with it what it names, and reads its own orders out of
    /// it.
    fn open_config(&mut self) -> io::Result<(File, Recorder)> {
        let mut file = open_file(&self.plan.config_path)?;
        let mut beside = Recorder::default();
        if let Some(orders) = (self.plan.read_orders)(&file, &|path| beside.open(path)) {
            self.follow(orders);
        }
        if !beside.fits() {
            log_warn!(Topic::Config, "reload: the configuration names more files than can be opened without a restart");
            beside = Recorder::default();
        }
        // The worker gets the same open file, read position included. What is no file has none, and is for the worker to
        // refuse.
        if file.metadata()?.is_file() {
            file.rewind()?;
        }
        Ok((file, beside))
    }

    fn follow(&mut self, orders: Orders) {
        match &mut self.keeper {
            Some(keeper) => keeper.follow(orders.plan.clone()),
            // The links' sockets have no mark: their packets would take the tunnel's routes.
            None if orders.plan.is_active() => {
                log_warn!(Topic::Config, "addresses, routes and translation by mlvpn itself take a restart");
            }
            None => {}
        }
        let mark = self.orders.links.mark;
        self.orders = orders;
        self.orders.links.mark = mark;
    }

    /// A worker that sends what no worker sends is broken or taken over.
    fn stop_wild_worker(&mut self) -> io::Result<()> {
        log_warn!(Topic::Privsep, "the worker sent nonsense and is stopped");
        self.reactor.deregister(&self.channel).or_else(already_done)?;
        self.allowance.is_waiting = false;
        if self.ended.is_none() {
            kill(self.worker, Number::SIGKILL)?;
        }
        Ok(())
    }
}

/// The channel may have been deregistered at an earlier report of the same end.
fn already_done(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The one place a process waits: file descriptors (epoll), one deadline (timerfd) and signals (signalfd).
//!
//! Everything is level-triggered: what was not finished is reported again. Nothing is allocated after [`Reactor::new`].
//!
//! ```no_run
//! # use mlvpn::reactor::{Batch, Event, Reactor};
//! # fn run(deadline: Option<mlvpn_core::words::time::Instant>) -> std::io::Result<()> {
//! let mut reactor = Reactor::new()?;
//! let mut batch = Batch::new();
//! loop {
//!     reactor.arm(deadline)?;
//!     reactor.wait(&mut batch)?;
//!     for event in batch.events() {
//!         match event {
//!             Event::Ready { token, readiness } => drop((token, readiness.is_readable)),
//!             Event::Timer => {}
//!             Event::Signal(signal) => drop(signal),
//!         }
//!     }
//! }
//! # }
//! ```

use crate::clock;
use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::AsFd;

/// Events taken from the kernel per wait; what is more comes with the next.
const READY_PER_WAIT: usize = 32;

/// Signals taken per wait. A standard signal waits at most twice (once for the process, once for the thread), and five
/// are watched.
const SIGNALS_PER_WAIT: usize = 10;

/// Which of the daemon's file descriptors an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// The tunnel's device.
    Device,
    /// The socket of the link with this number.
    Link(u16),
    /// Changes of the machine's network.
    Netlink,
    /// The channel between monitor and worker.
    Monitor,
    /// Answers of the resolver.
    Resolver,
    /// What another program added to the daemon.
    Service,
    /// The timer; only the reactor registers it.
    Timer,
    /// The signals; only the reactor registers them.
    Signals,
}

/// What to be told about a file descriptor. Errors and hang-ups are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It can be read.
    Read,
    /// It can be written.
    Write,
    /// Either.
    Both,
}

/// What a file descriptor is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read, or an error that a read takes.
    pub is_readable: bool,
    /// There is room to write.
    pub is_writable: bool,
    /// The other side is gone, or an error is pending.
    pub is_broken: bool,
}

/// A signal the daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGHUP`: read the configuration anew.
    Reload,
    /// `SIGINT`, `SIGQUIT` or `SIGTERM`: say goodbye and end.
    Quit,
    /// `SIGCHLD`: a child process ended.
    Child,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A registered file descriptor is ready.
    Ready {
        /// The name it was registered under.
        token: Token,
        /// What it is ready for.
        readiness: Readiness,
    },
    /// The deadline that was set has passed. The timer is to be set anew.
    Timer,
    /// A signal came.
    Signal(Signal),
}

/// What one [`Reactor::wait`] found, in memory used again by the next.
#[derive(Debug)]
pub struct Batch {
    raw: [EpollEvent; READY_PER_WAIT],
    events: [Event; READY_PER_WAIT + SIGNALS_PER_WAIT],
    /// How many of `events` are of the last wait; never more than there are.
    len: usize,
}

/// Waits for file descriptors, one deadline and signals.
#[derive(Debug)]
pub struct Reactor {
    epoll: Epoll,
    signals: SignalFd,
    timer: TimerFd,
    /// Whether the timer runs on [`clock`]'s own clock and takes its instants as they are.
    timer_is_absolute: bool,
    /// What the timer is set to; `None` when it has gone off.
    deadline: Option<Instant>,
    calls: u64,
}

/// Holds back the signals a [`Reactor`] reports, so that none is lost between a fork and the reactor's start.
///
/// # Errors
/// The kernel's refusal.
pub fn block_signals() -> io::Result<()> {
    Ok(watched_signals().thread_block()?)
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        let raw = [EpollEvent::empty(); READY_PER_WAIT];
        Self { raw, events: [Event::Timer; READY_PER_WAIT + SIGNALS_PER_WAIT], len: 0 }
    }

    /// The events of the last wait. Copies: the reactor may be used while walking through them.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().take(self.len).copied()
    }

    fn extend(&mut self, event: Option<Event>) {
        event.into_iter().for_each(|event| self.push(event));
    }

    fn push(&mut self, event: Event) {
        if let Some(slot) = self.events.get_mut(self.len) {
            *slot = event;
            self.len = self.len.saturating_add(1);
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Reactor {
    /// A reactor that reports `SIGHUP`, `SIGINT`, `SIGQUIT`, `SIGTERM` and `SIGCHLD`, which are blocked from now on in
    /// the calling thread.
    ///
    /// The timer runs on `CLOCK_BOOTTIME` as [`clock::now`] does. Kernels before 3.15 have no such timer; there
    /// `CLOCK_MONOTONIC` is used with waits from now, and a machine that slept is late by at most the wait it slept in.
    ///
    /// # Errors
    /// The kernel's refusal, normally for want of file descriptors.
    pub fn new() -> io::Result<Self> {
        block_signals()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&watched_signals(), flags)?;
        let (timer, timer_is_absolute) = open_timer()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let reactor = Self { epoll, signals, timer, timer_is_absolute, deadline: None, calls: 0 };
        reactor.register_timer(&reactor.timer)?;
        reactor.register(&reactor.signals, Token::Signals, Interest::Read)?;
        Ok(reactor)
    }

    /// Reports `fd` under `token` from now on, until it is closed or [`Reactor::deregister`]ed.
    ///
    /// # Errors
    /// The kernel's refusal: `EEXIST` when it is registered already.
    pub fn register(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest.flags(), token.encode()))?)
    }

    /// Changes what is told about a registered `fd`.
    ///
    /// # Errors
    /// The kernel's refusal: `ENOENT` when it is not registered.
    pub fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(interest.flags(), token.encode()))?)
    }

    /// Stops reporting `fd`.
    ///
    /// # Errors
    /// The kernel's refusal: `ENOENT` when it is not registered.
    pub fn deregister(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Sets the one deadline: [`Event::Timer`] is told once [`clock::now`] reaches it, at once when it has passed. A
    /// deadline later than the one that is set, or none, costs no system call: the timer goes off for the one that was
    /// set, once, and the caller, with nothing to do yet, sets the one it has then.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn arm(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let Some(at) = deadline.filter(|at| self.deadline.is_none_or(|set| *at < set)) else { return Ok(()) };
        self.count_call();
        self.set_timer(at)?;
        self.deadline = Some(at);
        Ok(())
    }

    /// System calls made to wait and to set the timer.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    const fn count_call(&mut self) {
        self.calls = self.calls.wrapping_add(1);
    }

    /// Waits until something happens and puts it into `batch`. A wait that was interrupted gives an empty batch.
    ///
    /// # Errors
    /// The kernel's refusal; there is no way on.
    pub fn wait(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.len = 0;
        self.count_call();
        let found = match self.epoll.wait(&mut batch.raw, EpollTimeout::NONE) {
            Ok(found) => found,
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        for index in 0..found {
            let Some(raw) = batch.raw.get(index).copied() else { break };
            match Token::decode(raw.data()) {
                // Told once each time it goes off, so that it need not be read.
                Some(Token::Timer) => {
                    let was_set = self.deadline.take();
                    batch.extend(was_set.map(|_| Event::Timer));
                }
                Some(Token::Signals) => self.take_signals(batch)?,
                Some(token) => batch.push(Event::Ready { token, readiness: Readiness::of(raw.events()) }),
                None => {}
            }
        }
        Ok(())
    }

    fn register_timer(&self, timer: &TimerFd) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(timer, EpollEvent::new(flags, Token::Timer.encode()))?)
    }

    fn set_timer(&self, at: Instant) -> io::Result<()> {
        // A zero time would disarm the timer; the first microsecond is as long ago.
        let earliest = Instant::from_micros(1);
        let (micros, flags) = if self.timer_is_absolute {
            (at.max(earliest).micros(), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
        } else {
            (at.since(clock::now()).max(Duration::from_micros(1)).micros(), TimerSetTimeFlags::empty())
        };
        let time = TimeSpec::microseconds(i64::try_from(micros).unwrap_or(LATEST_MICROS).min(LATEST_MICROS));
        Ok(self.timer.set(Expiration::OneShot(time), flags)?)
    }

    fn take_signals(&self, batch: &mut Batch) -> io::Result<()> {
        for _ in 0..SIGNALS_PER_WAIT {
            match self.signals.read_signal() {
                Ok(Some(info)) => {
                    if let Some(signal) = i32::try_from(info.ssi_signo).ok().and_then(Signal::of) {
                        batch.push(Event::Signal(signal));
                    }
                }
                Ok(None) | Err(Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// The latest time the timer is set to: all a 32-bit `time_t` holds, 68 years after boot.
const LATEST_MICROS: i64 = (i32::MAX as i64) * 1_000_000;

fn watched_signals() -> SigSet {
    [Number::SIGHUP, Number::SIGINT, Number::SIGQUIT, Number::SIGTERM, Number::SIGCHLD].into_iter().collect()
}

fn open_timer() -> io::Result<(TimerFd, bool)> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    match TimerFd::new(ClockId::CLOCK_BOOTTIME, flags) {
        Ok(timer) => Ok((timer, true)),
        Err(Errno::EINVAL) => Ok((TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, false)),
        Err(errno) => Err(errno.into()),
    }
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
        }
    }
}

impl Readiness {
    fn of(flags: EpollFlags) -> Self {
        let broken = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        Self {
            // A read is what takes a pending error off a socket, so an error makes it "readable".
            is_readable: flags.intersects(EpollFlags::EPOLLIN | broken),
            is_writable: flags.contains(EpollFlags::EPOLLOUT),
            is_broken: flags.intersects(broken),
        }
    }
}

impl Signal {
    fn of(number: i32) -> Option<Self> {
        match Number::try_from(number).ok()? {
            Number::SIGHUP => Some(Self::Reload),
            Number::SIGINT | Number::SIGQUIT | Number::SIGTERM => Some(Self::Quit),
            Number::SIGCHLD => Some(Self::Child),
            _ => None,
        }
    }
}

impl Token {
    /// The token as the 64 bits epoll carries: the kind above the number.
    fn encode(self) -> u64 {
        let (kind, number): (u64, u16) = match self {
            Self::Device => (0, 0),
            Self::Link(number) => (1, number),
            Self::Netlink => (2, 0),
            Self::Monitor => (3, 0),
            Self::Resolver => (4, 0),
            Self::Timer => (5, 0),
            Self::Signals => (6, 0),
            Self::Service => (7, 0),
        };
        kind << 16 | u64::from(number)
    }

    fn decode(bits: u64) -> Option<Self> {
        let number = u16::try_from(bits & 0xffff).ok()?;
        Some(match bits >> 16 {
            0 => Self::Device,
            1 => Self::Link(number),
            2 => Self::Netlink,
            3 => Self::Monitor,
            4 => Self::Resolver,
            5 => Self::Timer,
            6 => Self::Signals,
            7 => Self::Service,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn wait(reactor: &mut Reactor) -> Vec<Event> {
        let mut batch = Batch::new();
        reactor.wait(&mut batch).expect("wait");
        batch.events().collect()
    }

    #[test]
    fn every_token_comes_back_as_it_went_in() {
        let plain = [Token::Device, Token::Netlink, Token::Monitor, Token::Resolver, Token::Service];
        let own = [Token::Timer, Token::Signals];
        let numbered = [0, 1, u16::MAX].into_iter().map(Token::Link);
        for token in plain.into_iter().chain(own).chain(numbered) {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }

    #[test]
    fn a_readable_descriptor_is_reported_until_it_is_read_or_let_go() {
        let mut reactor = Reactor::new().expect("reactor");
        let (mut far, near) = UnixStream::pair().expect("pair");
        reactor.register(&near, Token::Link(3), Interest::Read).expect("register");
        far.write_all(b"x").expect("write");
        for _ in 0..2 {
            let events = wait(&mut reactor);
            let [Event::Ready { token: Token::Link(3), readiness }] = events[..] else { panic!("{events:?}") };
            assert!(readiness.is_readable && !readiness.is_writable && !readiness.is_broken);
        }
        reactor.modify(&near, Token::Link(3), Interest::Both).expect("modify");
        let events = wait(&mut reactor);
        assert!(
            matches!(events[..], [Event::Ready { readiness: Readiness { is_writable: true, .. }, .. }]),
            "{events:?}"
        );
        reactor.deregister(&near).expect("deregister");
        reactor.arm(Some(Instant::ORIGIN)).expect("arm");
        assert_eq!(wait(&mut reactor), [Event::Timer]);
    }

    #[test]
    fn a_deadline_is_told_once_and_never_early() {
        let mut reactor = Reactor::new().expect("reactor");
        let deadline = clock::now() + Duration::from_millis(20);
        reactor.arm(Some(Instant::from_micros(u64::MAX))).expect("arm far away");
        reactor.arm(Some(deadline)).expect("arm");
        assert_eq!(wait(&mut reactor), [Event::Timer]);
        assert!(clock::now() >= deadline);
        // Armed at the same instant again it fires again: the first firing disarmed it.
        reactor.arm(Some(deadline)).expect("arm");
        assert_eq!(wait(&mut reactor), [Event::Timer]);
    }

    #[test]
    fn a_timer_without_boot_time_is_armed_by_the_time_left() {
        let mut reactor = Reactor::new().expect("reactor");
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).expect("timer");
        reactor.register_timer(&timer).expect("register");
        (reactor.timer, reactor.timer_is_absolute) = (timer, false);
        let deadline = clock::now() + Duration::from_millis(20);
        reactor.arm(Some(deadline)).expect("arm");
        assert_eq!(wait(&mut reactor), [Event::Timer]);
    }

    #[test]
    fn signals_arrive_as_events() {
        let mut reactor = Reactor::new().expect("reactor");
        for (number, signal) in [
            (Number::SIGHUP, Signal::Reload),
            (Number::SIGTERM, Signal::Quit),
            (Number::SIGINT, Signal::Quit),
            (Number::SIGCHLD, Signal::Child),
        ] {
            pthread_kill(pthread_self(), number).expect("kill");
            // Other tests' children may end in between and report to this thread, too.
            let events = loop {
                let events = wait(&mut reactor);
                if events.contains(&Event::Signal(signal)) {
                    break events;
                }
            };
            assert!(events.iter().all(|event| matches!(event, Event::Signal(_))), "{events:?}");
        }
    }
}

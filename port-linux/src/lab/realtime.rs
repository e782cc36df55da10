// SPDX-License-Identifier: BSD-2-Clause
//! The real-time driver: emulated links between network namespaces.
//!
//! A link is two TUN devices, one in each namespace, joined by the emulator. To the programs and the kernel inside it
//! is an interface like any other. One thread serves all links: it sleeps until a packet comes or one is due, with a
//! timer that is exact to some ten microseconds.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, gettid, read, write};

use super::iperf::thread_time;
use super::link::{Change, Counters, Direction, LinkModel};
use super::namespace::{LabError, Namespace, Prefixed};
use super::spec::LinkSpec;
use crate::clock;

/// One end of a link: the TUN device to make.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where to make it.
    pub namespace: &'a Namespace,
    /// Its name; at most 15 bytes.
    pub interface: &'a str,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, IPv4, IPv6 or both.
    pub addresses: &'a [Prefixed],
}

/// A link of an emulation, by the order they were joined in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(usize);

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the user's end.
    Up,
    /// Towards the user's end.
    Down,
}

impl Way {
    const fn index(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

/// What passed one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayCounters {
    /// The model's own.
    pub model: Counters,
    /// Packets that left the model and that the receiving device refused (it was set down, or ran out of memory).
    pub refused: u64,
}

/// Links being put together; [`start`](Self::start) sets them running.
#[derive(Debug, Default)]
pub struct Emulation {
    links: Vec<Plan>,
}

#[derive(Debug)]
struct Plan {
    devices: [OwnedFd; 2],
    directions: [Direction; 2],
    seed: u64,
}

impl Emulation {
    /// No links yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the devices of a link between the `user` end (which gets the down rate) and the `far` end.
    ///
    /// # Errors
    /// [`LabError`] when a device cannot be made or configured.
    pub fn join(&mut self, user: &End<'_>, far: &End<'_>, spec: &LinkSpec, seed: u64) -> Result<LinkId, LabError> {
        self.join_directions(user, far, [spec.upward(seed), spec.downward(seed)], seed)
    }

    /// As [`join`](Self::join), with each direction described in full: up first, then down.
    ///
    /// # Errors
    /// [`LabError`] when a device cannot be made or configured.
    pub fn join_directions(
        &mut self,
        user: &End<'_>,
        far: &End<'_>,
        directions: [Direction; 2],
        seed: u64,
    ) -> Result<LinkId, LabError> {
        let make = |end: &End<'_>| end.namespace.add_tun(end.interface, end.mtu, end.addresses);
        self.links.push(Plan { devices: [make(user)?, make(far)?], directions, seed });
        Ok(LinkId(self.links.len() - 1))
    }

    /// Starts the emulator's thread; the links' schedules count from now.
    ///
    /// # Errors
    /// [`LabError::Failed`] when descriptors or threads have run out.
    pub fn start(self) -> Result<Running, LabError> {
        let failed = LabError::of("start the link emulator", "raise ulimit -n and -u");
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags).map_err(|errno| failed(io::Error::from(errno)))?;
        let now = clock::now();
        let (devices, ways) = self.links.into_iter().map(|plan| set_up(plan, now)).unzip();
        let state = State { ways, is_stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake, thread: OnceLock::new() });
        let emulator = Emulator { shared: Arc::clone(&shared), devices, buffer: vec![0; 1 << 16] };
        let thread = thread::Builder::new().name("links".to_owned()).spawn(|| emulator.run()).map_err(failed)?;
        Ok(Running { shared, thread: Some(thread), started: now })
    }
}

fn set_up(plan: Plan, now: Instant) -> ([OwnedFd; 2], [OneWay; 2]) {
    let [up, down] = plan.directions;
    let one_way = |direction, seed| OneWay { model: LinkModel::new(direction, seed, now), refused: 0 };
    let seed = plan.seed.wrapping_mul(2);
    (plan.devices, [one_way(up, seed), one_way(down, seed.wrapping_add(1))])
}

/// Running links and the means to change them. Dropping it stops them and takes their devices away.
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Errno>>>,
    started: Instant,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Running {
    /// Changes one direction of a link now.
    ///
    /// # Errors
    /// [`LabError::Failed`] when the emulator cannot be told.
    ///
    /// # Panics
    /// When `link` comes from another emulation.
    pub fn change(&self, link: LinkId, way: Way, change: Change) -> Result<(), LabError> {
        self.shared.lock().ways[link.0][way.index()].model.change(change, clock::now());
        self.shared.notify().map_err(LabError::of("tell the link emulator", ""))
    }

    /// Takes both directions of a link up or down now.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn set_up(&self, link: LinkId, up: bool) -> Result<(), LabError> {
        self.change(link, Way::Up, Change::Up(up))?;
        self.change(link, Way::Down, Change::Up(up))
    }

    /// Sets the rate of one direction of a link in bits per second now.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn set_rate(&self, link: LinkId, way: Way, bits_per_second: u64) -> Result<(), LabError> {
        self.change(link, way, Change::Rate(bits_per_second))
    }

    /// What passed one direction of a link so far.
    ///
    /// # Panics
    /// When `link` comes from another emulation.
    #[must_use]
    pub fn counters(&self, link: LinkId, way: Way) -> WayCounters {
        let state = self.shared.lock();
        let one_way = &state.ways[link.0][way.index()];
        WayCounters { model: *one_way.model.counters(), refused: one_way.refused }
    }

    /// When the links were set running: what their schedules and traces count from.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Processor time the emulator's thread has used so far. What it takes of a core bounds the rates that can be
    /// emulated; zero before it has run.
    ///
    /// # Errors
    /// When the kernel keeps no such statistics.
    pub fn processor_time(&self) -> io::Result<Duration> {
        self.shared.thread.get().map_or(Ok(Duration::ZERO), |&thread| thread_time(thread))
    }

    /// Stops the links and takes their devices away.
    ///
    /// # Errors
    /// [`LabError::Failed`] when the emulator had stopped by itself before, for the reason given.
    pub fn stop(mut self) -> Result<(), LabError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), LabError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.lock().is_stopping = true;
        self.shared.notify().map_err(LabError::of("stop the link emulator", ""))?;
        let outcome = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.map_err(LabError::of("run the link emulator", ""))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A destructor has no one to tell; `stop` reports what goes wrong here.
        let _outcome = self.halt();
    }
}

struct Shared {
    state: Mutex<State>,
    wake: EventFd,
    /// The emulator's, set by itself.
    thread: OnceLock<Pid>,
}

struct State {
    /// By link, then up and down.
    ways: Vec<[OneWay; 2]>,
    is_stopping: bool,
}

struct OneWay {
    model: LinkModel<Vec<u8>>,
    refused: u64,
}

impl Shared {
    /// A panic elsewhere leaves counters and queues whole, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) -> Result<(), Errno> {
        self.wake.write(1).map(drop)
    }
}

/// Packets taken from one device before the others get their turn.
const READ_BURST: usize = 64;

struct Emulator {
    shared: Arc<Shared>,
    /// By link: the user's, then the far end.
    devices: Vec<[OwnedFd; 2]>,
    buffer: Vec<u8>,
}

impl Emulator {
    fn run(mut self) -> Result<(), Errno> {
        self.shared.thread.get_or_init(gettid);
        // The kernel rounds sleeps up by 50 us unless told otherwise.
        nix::sys::prctl::set_timerslack(1)?;
        loop {
            let wait_until = {
                let shared = Arc::clone(&self.shared);
                let mut state = shared.lock();
                if state.is_stopping {
                    return Ok(());
                }
                self.serve(&mut state)?
            };
            self.sleep(wait_until)?;
        }
    }

    /// Takes what was sent, delivers what is due, and says when the next packet will be.
    fn serve(&mut self, state: &mut State) -> Result<Option<Instant>, Errno> {
        let mut wait_until: Option<Instant> = None;
        for ([user, far], [up, down]) in self.devices.iter().zip(&mut state.ways) {
            for (from, to, way) in [(user, far, up), (far, user, down)] {
                take_packets(from, &mut way.model, &mut self.buffer)?;
                deliver_due(to, way)?;
                wait_until = [wait_until, way.model.next_event()].into_iter().flatten().min();
            }
        }
        Ok(wait_until)
    }

    fn sleep(&self, until: Option<Instant>) -> Result<(), Errno> {
        let devices = self.devices.iter().flatten().map(AsFd::as_fd);
        let descriptors = devices.chain([self.shared.wake.as_fd()]);
        let mut polled: Vec<PollFd<'_>> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = until.map(|until| {
            let wait = until.since(clock::now());
            TimeSpec::from_duration(std::time::Duration::from_micros(wait.micros()))
        });
        match ppoll(&mut polled, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        match self.shared.wake.read() {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

fn take_packets(device: &OwnedFd, model: &mut LinkModel<Vec<u8>>, buffer: &mut [u8]) -> Result<(), Errno> {
    for _ in 0..READ_BURST {
        let len = match read(device, buffer) {
            Ok(len) => len,
            // EIO: someone inside set the device down.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EIO) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let len_bytes = u32::try_from(len).unwrap_or(u32::MAX);
        // A refused packet is lost, as on any link; the model has counted it.
        drop(model.offer(buffer[..len].to_vec(), len_bytes, clock::now()));
    }
    Ok(())
}

fn deliver_due(device: &OwnedFd, way: &mut OneWay) -> Result<(), Errno> {
    let now = clock::now();
    while let Some(packet) = way.model.poll(now) {
        match write(device, &packet) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EIO | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINVAL) => {
                way.refused += 1;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

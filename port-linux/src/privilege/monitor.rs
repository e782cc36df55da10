// SPDX-License-Identifier: BSD-2-Clause
//! The two ends of the channel: the monitor's loop, and the worker's side of it.

use super::files::{MAX_PATHS, Opened, Recorder};
use super::protocol::{MAX_MESSAGE, Request};
use super::{MonitorPlan, die_with_parent};
use crate::config::open_file;
use crate::interface::{self, InterfaceName};
use crate::log::Topic;
use crate::reactor::{self, Batch, Event, Interest, Reactor, Token};
use crate::script::{LinkName, ScriptEnvironment, ScriptEvent, ScriptRun, ScriptRunner};
use crate::{clock, log_info, log_warn, sys};
use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::fs::File;
use std::io::{self, IoSlice, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Requests served per turn, so that a wild worker cannot keep the monitor from its signals.
const REQUESTS_PER_TURN: usize = 16;

/// How long scripts may go on after the worker ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// Which process [`split`] returned in.
pub enum Split {
    /// The worker, with its line to the monitor.
    Worker(Monitor),
    /// The monitor, after the worker ended: exit with this status.
    Ended(u8),
}

/// The worker's line to its monitor. All calls return at once; register it with the reactor and call
/// [`Monitor::poll_notice`] when it is readable.
#[derive(Debug)]
pub struct Monitor {
    channel: OwnedFd,
}

/// What the monitor answers.
#[derive(Debug)]
pub enum Notice {
    /// The configuration, and the files it names.
    Config(Opened),
    /// The configuration could not be opened, for this reason.
    NoConfig(io::Error),
    /// The monitor is gone; so is, in a moment, the worker.
    Gone,
}

/// First bytes of answers: the configuration comes with the message, with the files it names and their paths; or the reason
/// why not (4 bytes, big-endian).
const CONFIG: u8 = b'C';
const NO_CONFIG: u8 = b'E';

/// Splits the process into monitor and worker. Returns in the worker at once, and in the monitor when the worker has
/// ended. Call it while one thread runs and before anything is opened; signals stay blocked for a
/// [`Reactor`] from here on.
///
/// # Errors
/// The kernel's refusal; as only one process exists then, it may report that and end.
pub fn split(plan: MonitorPlan) -> io::Result<Split> {
    reactor::block_signals()?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, workers) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let parent = getpid();
    match sys::fork()? {
        sys::Forked::Child => {
            drop(ours);
            die_with_parent(parent)?;
            Ok(Split::Worker(Monitor { channel: workers }))
        }
        sys::Forked::Parent(worker) => {
            drop(workers);
            Service::new(plan, ours, worker)?.run().map(Split::Ended)
        }
    }
}

impl Monitor {
    /// Asks the monitor for something. [`Request::OpenConfig`] is answered with a [`Notice`]; of the others failures
    /// are in the log.
    ///
    /// # Errors
    /// `InvalidInput`, and nothing is sent, for a request that would have the monitor stop this worker; `WouldBlock`
    /// when the monitor lags behind by hundreds of requests; `BrokenPipe` when it is gone.
    pub fn ask(&self, request: &Request) -> io::Result<()> {
        let message = request.encode();
        if Request::decode(&message).is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the monitor takes no {request:?}")));
        }
        send(self.channel.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL).map(drop).map_err(io::Error::from)
    }

    /// Has the status command run: [`Monitor::ask`] with [`Request::RunScript`]. `mtu` in bytes.
    ///
    /// # Errors
    /// As [`Monitor::ask`]: a link event needs a link, and no other event may have one.
    pub fn run_script(&self, event: ScriptEvent, link: Option<&LinkName>, mtu: u32) -> io::Result<()> {
        self.ask(&Request::RunScript { event, link: link.cloned(), mtu })
    }

    /// The monitor's next answer; `None` when none waits.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn poll_notice(&self) -> io::Result<Option<Notice>> {
        let mut bytes = vec![0; 1 + MAX_PATHS];
        let (len, files) = match sys::receive_with_descriptors(&self.channel, &mut bytes) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Some(Notice::Gone)),
            Err(error) => return Err(error),
        };
        let mut files = files.into_iter().map(File::from);
        Ok(Some(match (bytes.get(..len).unwrap_or_default(), files.next()) {
            ([], _) => Notice::Gone,
            ([CONFIG, paths @ ..], Some(config)) => match Opened::received(config, paths, files) {
                Some(opened) => Notice::Config(opened),
                None => return Err(io::ErrorKind::InvalidData.into()),
            },
            ([NO_CONFIG, a, b, c, d], _) => {
                Notice::NoConfig(io::Error::from_raw_os_error(i32::from_be_bytes([*a, *b, *c, *d])))
            }
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData)),
        }))
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The monitor at work.
struct Service {
    plan: MonitorPlan,
    environment: ScriptEnvironment,
    channel: OwnedFd,
    worker: Pid,
    reactor: Reactor,
    scripts: Option<ScriptRunner>,
    /// The worker's device, once it was named.
    device: Option<InterfaceName>,
    /// An MTU that was set while the status command ran, which may have been told an older one and set that after it.
    mtu_to_repeat: Option<u32>,
    /// The worker's exit status, and when to stop waiting for scripts, once it ended.
    ended: Option<(u8, Instant)>,
}

impl Service {
    fn new(mut plan: MonitorPlan, channel: OwnedFd, worker: Pid) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        reactor.register(&channel, Token::Monitor, Interest::Read)?;
        let scripts = plan.script.take().map(ScriptRunner::new);
        let environment = std::mem::take(&mut plan.environment);
        Ok(Self {
            plan,
            environment,
            channel,
            worker,
            reactor,
            scripts,
            device: None,
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
                return Ok(status);
            }
            let script_deadline = self.scripts.as_ref().and_then(ScriptRunner::deadline);
            let farewell = self.ended.map(|(_, until)| until);
            self.reactor.arm(script_deadline.into_iter().chain(farewell).min())?;
            self.reactor.wait(&mut batch)?;
            for event in batch.events() {
                self.handle(event)?;
            }
        }
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Ready { token: Token::Monitor, .. } => self.serve(REQUESTS_PER_TURN),
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
                log_warn!(Topic::Privsep, "the worker was killed by {signal}");
                // As shells report it.
                u8::try_from(signal as i32 & 0x7f).unwrap_or(0).saturating_add(128)
            }
            _ => return Ok(()),
        };
        self.ended = Some((status, clock::now() + FAREWELL));
        // Its last words: a socket holds hundreds of messages at most.
        self.serve(usize::MAX)
    }

    /// Serves up to `most` waiting requests.
    fn serve(&mut self, most: usize) -> io::Result<()> {
        let mut bytes = [0; MAX_MESSAGE];
        for _ in 0..most {
            let len = match recv(self.channel.as_raw_fd(), &mut bytes, MsgFlags::MSG_TRUNC) {
                Ok(0) | Err(Errno::ECONNRESET) => {
                    self.reactor.deregister(&self.channel).or_else(already_done)?;
                    return Ok(());
                }
                Ok(len) => len,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            match bytes.get(..len).and_then(Request::decode) {
                Some(request) => self.grant(request),
                None => return self.stop_wild_worker(),
            }
        }
        Ok(())
    }

    fn grant(&mut self, request: Request) {
        match request {
            Request::NameDevice(name) if self.device.is_none() => self.device = Some(name),
            Request::NameDevice(name) => log_warn!(Topic::Privsep, "the worker named a second device, {name}: ignored"),
            Request::SetMtu(mtu) => {
                self.mtu_to_repeat = (!self.is_script_idle()).then_some(mtu);
                self.set_mtu(mtu);
            }
            Request::OpenConfig => self.send_config(),
            Request::RunScript { event, link, mtu } => self.run_script(event, link, mtu),
        }
    }

    fn is_script_idle(&self) -> bool {
        self.scripts.as_ref().is_none_or(ScriptRunner::is_idle)
    }

    fn set_mtu(&self, mtu: u32) {
        let Some(device) = &self.device else {
            return log_warn!(Topic::Privsep, "mtu {mtu} not set: no device was named");
        };
        match interface::set_mtu(device, mtu) {
            Ok(()) => log_info!(Topic::Tuntap, "{device} mtu set to {mtu}"),
            Err(why) => log_warn!(Topic::Tuntap, "{device} mtu not set to {mtu}: {why}"),
        }
    }

    fn run_script(&mut self, event: ScriptEvent, link: Option<LinkName>, mtu: u32) {
        let Some(scripts) = &mut self.scripts else { return };
        let Some(device) = self.device else {
            return log_warn!(Topic::Privsep, "{} not run: no device was named", event.word());
        };
        let environment = self.environment.clone();
        if let Err(run) = scripts.enqueue(ScriptRun { device, event, link, mtu, environment }) {
            log_warn!(Topic::Privsep, "{} not run: too many runs wait", run.event.word());
        }
    }

    fn send_config(&mut self) {
        let sent = match self.open_config() {
            Ok((config, beside)) => {
                let descriptors = [vec![config.as_raw_fd()], beside.descriptors()].concat();
                self.answer(&[vec![CONFIG], beside.paths()].concat(), &[ControlMessage::ScmRights(&descriptors)])
            }
            Err(why) => {
                log_warn!(Topic::Config, "{}: {why}", self.plan.config_path.display());
                let [a, b, c, d] = why.raw_os_error().unwrap_or(libc::EIO).to_be_bytes();
                self.answer(&[NO_CONFIG, a, b, c, d], &[])
            }
        };
        if let Err(why) = sent {
            log_warn!(Topic::Privsep, "the worker takes no answer: {why}");
        }
    }

    fn answer(&self, bytes: &[u8], control: &[ControlMessage<'_>]) -> io::Result<()> {
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.channel.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
        Ok(())
    }

    /// Opens the configuration this process was started with, and with it what it names, and reads the scripts'
    /// environment out of it.
    fn open_config(&mut self) -> io::Result<(File, Recorder)> {
        let mut file = open_file(&self.plan.config_path)?;
        let mut beside = Recorder::default();
        if let Some(environment) = (self.plan.read_environment)(&file, &|path| beside.open(path)) {
            self.environment = environment;
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

    /// A worker that sends what no worker sends is broken or taken over.
    fn stop_wild_worker(&mut self) -> io::Result<()> {
        log_warn!(Topic::Privsep, "the worker sent nonsense and is stopped");
        self.reactor.deregister(&self.channel).or_else(already_done)?;
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

// SPDX-License-Identifier: BSD-2-Clause
//! The wall clock's pace, and the signals that end the demo.

use std::io;
use std::os::fd::AsFd;

use mlvpn_core::words::time::{Duration, Instant};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::plan::Manner;
use super::run::{Halt, Pace};
use crate::clock;

/// Emulated time passes in steps of this at most, so that a slow machine still shows and answers something.
const LONGEST_STEP: Duration = Duration::from_millis(20);

/// Time as it passes. While it exists the signals that would end the process end its waits instead.
pub(super) struct WallClock {
    signals: SignalFd,
    last: Instant,
    longest_step: Option<Duration>,
}

impl WallClock {
    /// Catches `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGQUIT` from now on.
    pub(super) fn start(manner: Manner) -> io::Result<Self> {
        let ending: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
        ending.thread_block()?;
        let signals = SignalFd::with_flags(&ending, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let longest_step = match manner {
            Manner::Emulated => Some(LONGEST_STEP),
            Manner::Kernel => None,
        };
        Ok(Self { signals, last: clock::now(), longest_step })
    }

    /// Waits until `until` or a signal.
    fn sleep(&self, until: Instant) -> io::Result<()> {
        let wait = until.since(clock::now()).micros().div_ceil(1_000);
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Pace for WallClock {
    fn pass(&mut self, span: Duration) -> Result<Duration, Halt> {
        let failed = |error: io::Error| Halt::Failed(format!("cannot wait: {error}"));
        loop {
            self.sleep(self.last + span).map_err(failed)?;
            if let Some(signal) = self.signals.read_signal().map_err(|errno| failed(errno.into()))? {
                return Err(Halt::Interrupted(i32::try_from(signal.ssi_signo).unwrap_or_default()));
            }
            let passed = clock::now().since(self.last);
            if passed >= span {
                let step = self.longest_step.map_or(passed, |longest| passed.min(longest));
                self.last += step;
                return Ok(step);
            }
        }
    }
}

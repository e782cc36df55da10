// SPDX-License-Identifier: BSD-2-Clause
//! A transfer without end by the kernel's own TCP, to be watched and stopped at will.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration as StdDuration;

use portable_atomic::AtomicU64;

use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};

use super::namespace::{LabError, Namespace};
use super::tcp::{fill_pattern, first_difference};

/// No connection within this time is a failure.
const CONNECT_LIMIT: StdDuration = StdDuration::from_secs(5);
/// Bytes written and read at a time.
const CHUNK: usize = 1 << 16;
/// The position of a corrupt byte while there is none.
const NONE: u64 = u64::MAX;

/// Who sends to whom, and how.
#[derive(Clone, Debug)]
pub struct Course {
    /// The sender's namespace.
    pub sender: Arc<Namespace>,
    /// The receiver's namespace.
    pub receiver: Arc<Namespace>,
    /// The receiver's address.
    pub address: IpAddr,
    /// The sender's congestion control, as the kernel names it: `cubic`.
    pub congestion: &'static str,
}

/// One connection that sends the pattern of [`super::tcp`] until it is stopped. Dropping it stops it.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    received: AtomicU64,
    corrupt: AtomicU64,
    is_over: AtomicBool,
    /// To be shut down when it is over.
    sockets: Mutex<Vec<TcpStream>>,
    failure: Mutex<Option<io::Error>>,
}

impl Stream {
    /// Begins to connect, and to send when connected; what goes wrong there is [`failure`](Self::failure)'s to tell.
    ///
    /// # Errors
    /// [`LabError`] when no thread can be had.
    pub fn start(course: Course) -> Result<Self, LabError> {
        let shared = Arc::new(Shared {
            received: AtomicU64::new(0),
            corrupt: AtomicU64::new(NONE),
            is_over: AtomicBool::new(false),
            sockets: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
        });
        let theirs = Arc::clone(&shared);
        let work = move || {
            if let Err(error) = theirs.carry(&course) {
                *theirs.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let thread = thread::Builder::new().name("transfer".to_owned()).spawn(work);
        Ok(Self { shared, thread: Some(thread.map_err(LabError::of("start a transfer", "raise ulimit -u"))?) })
    }

    /// Payload bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// The first byte that was not what was sent.
    #[must_use]
    pub fn corrupt(&self) -> Option<u64> {
        Some(self.shared.corrupt.load(Ordering::Relaxed)).filter(|&at| at != NONE)
    }

    /// Why the transfer ended by itself, told once.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A connection that is gone already is as good as shut down.
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Shared {
    fn carry(&self, course: &Course) -> io::Result<()> {
        let listener = course.receiver.run(|| TcpListener::bind((course.address, 0))).map_err(io::Error::other)??;
        let to = listener.local_addr()?;
        let connect = || TcpStream::connect_timeout(&to, CONNECT_LIMIT);
        let outgoing = course.sender.run(connect).map_err(io::Error::other)??;
        setsockopt(&outgoing, TcpCongestion, &OsString::from(course.congestion))?;
        let (incoming, _) = listener.accept()?;
        {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.extend([outgoing.try_clone()?, incoming.try_clone()?]);
            if self.is_over.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
        thread::scope(|scope| {
            let sending = scope.spawn(|| self.send(outgoing));
            let received = self.receive(incoming);
            let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Being shut down is how it ends.
            if self.is_over.load(Ordering::SeqCst) { Ok(()) } else { received.and(sent) }
        })
    }

    fn send(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut position = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            fill_pattern(&mut chunk, position);
            stream.write_all(&chunk)?;
            position += CHUNK as u64;
        }
        Ok(())
    }

    fn receive(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut position = 0;
        loop {
            let len = stream.read(&mut chunk)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(at) = first_difference(&chunk[..len], position) {
                self.corrupt.fetch_min(position + at as u64, Ordering::Relaxed);
            }
            position += len as u64;
            self.received.store(position, Ordering::Relaxed);
        }
    }
}

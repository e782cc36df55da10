// SPDX-License-Identifier: BSD-2-Clause
//! A TCP connection of the kernel's that carries a known pattern until it is told to end, while a test does things to
//! the tunnel below it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration as StdDuration;

use portable_atomic::AtomicU64;

use mlvpn::lab::namespace::Namespace;
use mlvpn::lab::tcp::{fill_pattern, first_difference};

use crate::wait;

/// A chunk each pause is 8 MB/s at most: traffic enough, and the machine stays free for the rest.
const CHUNK: usize = 16 << 10;
const PAUSE: StdDuration = StdDuration::from_millis(2);
/// Longer than TCP's own pauses between retries after an outage of some seconds.
const SILENCE_LIMIT: StdDuration = StdDuration::from_secs(60);

/// A connection at work.
#[derive(Debug)]
pub struct Stream {
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    sending: JoinHandle<io::Result<u64>>,
    receiving: JoinHandle<io::Result<u64>>,
}

impl Stream {
    /// Connects from one machine to `address` on another and starts sending.
    ///
    /// # Panics
    /// When no connection comes about.
    #[must_use]
    pub fn open(from: &Namespace, to: &Namespace, address: IpAddr) -> Self {
        let listener = to.run(|| TcpListener::bind((address, 0))).expect("a namespace").expect("the address is there");
        let port = listener.local_addr().expect("a bound socket").port();
        let connect = || TcpStream::connect_timeout(&(address, port).into(), SILENCE_LIMIT);
        let outgoing = from.run(connect).expect("a namespace").expect("a connection through the tunnel");
        let (incoming, _) = listener.accept().expect("the connection just made");
        let (received, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&received), Arc::clone(&is_over));
        Self {
            received,
            is_over,
            sending: thread::spawn(move || send(outgoing, &over)),
            receiving: thread::spawn(move || receive(incoming, &count)),
        }
    }

    /// Waits until more has arrived.
    ///
    /// # Panics
    /// When nothing does.
    pub fn await_progress(&self) {
        let before = self.received.load(Ordering::Relaxed);
        let enough = before + 20 * CHUNK as u64;
        let moved = wait::becomes(|| self.received.load(Ordering::Relaxed) >= enough || self.receiving.is_finished());
        assert!(moved && !self.receiving.is_finished(), "the connection stands still or broke after {before} bytes");
    }

    /// Ends the connection; all that was sent must have arrived as it was. The bytes.
    ///
    /// # Panics
    /// When the connection was reset, or a byte is missing or wrong.
    pub fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.sending.join().expect("no panic").expect("the connection stood until all was sent");
        let received = self.receiving.join().expect("no panic").expect("the connection stood, its bytes intact");
        assert_eq!(sent, received, "bytes sent and received");
        received
    }
}

fn send(mut stream: TcpStream, is_over: &AtomicBool) -> io::Result<u64> {
    stream.set_write_timeout(Some(SILENCE_LIMIT))?;
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    while !is_over.load(Ordering::Relaxed) {
        fill_pattern(&mut chunk, position);
        stream.write_all(&chunk)?;
        position += CHUNK as u64;
        thread::sleep(PAUSE);
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(position)
}

fn receive(mut stream: TcpStream, received: &AtomicU64) -> io::Result<u64> {
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(position);
        }
        if let Some(at) = first_difference(&chunk[..len], position) {
            return Err(io::Error::other(format!("byte {} is not what was sent", position + at as u64)));
        }
        position += len as u64;
        received.store(position, Ordering::Relaxed);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! Traffic by the kernel's own TCP and UDP between two namespaces, with plain sockets and no other program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration as StdDuration;

use portable_atomic::AtomicU64;

use mlvpn_core::words::time::{Duration, Instant};

use super::namespace::{LabError, Namespace};
use super::tcp::{fill_pattern, first_difference};
use crate::clock;

/// A socket silent for so long ends the test with an error instead of hanging it.
const SILENCE_LIMIT: StdDuration = StdDuration::from_secs(30);
/// Bytes written and read at a time.
const CHUNK: usize = 1 << 16;

/// Where the receiver of a test is, and where the sender.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The sender's namespace.
    pub sender: &'a Namespace,
    /// The receiver's namespace.
    pub receiver: &'a Namespace,
    /// The receiver's address.
    pub address: IpAddr,
}

/// A transfer that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Payload bytes received.
    pub bytes: u64,
    /// From the first byte sent to the last received.
    pub elapsed: Duration,
    /// The first byte that was not what was sent.
    pub corrupt: Option<u64>,
}

impl Transfer {
    /// Payload bits per second.
    #[must_use]
    pub fn bits_per_second(&self) -> u64 {
        let micros = u128::from(self.elapsed.micros().max(1));
        u64::try_from(u128::from(self.bytes) * 8_000_000 / micros).unwrap_or(u64::MAX)
    }
}

/// Sends `bytes` over one connection of the kernel's TCP in the pattern of [`super::tcp`]; `received` counts along for
/// whoever watches.
///
/// # Errors
/// [`LabError::Failed`] when no connection comes about or it is silent for half a minute.
pub fn transfer(pair: Pair<'_>, bytes: u64, received: &AtomicU64) -> Result<Transfer, LabError> {
    let failed = LabError::of("transfer data by the kernel's TCP", "permit sockets to this user");
    let listener = pair.receiver.run(|| TcpListener::bind((pair.address, 0)))?.map_err(&failed)?;
    let to = listener.local_addr().map_err(&failed)?;
    let outgoing = pair.sender.run(|| TcpStream::connect_timeout(&to, SILENCE_LIMIT))?.map_err(&failed)?;
    let (incoming, _) = listener.accept().map_err(&failed)?;
    let start = clock::now();
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(outgoing, bytes));
        let outcome = receive(incoming, received, start);
        sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome
    })
    .map_err(&failed)
}

/// Round-trip times of `count` small UDP datagrams, `interval` apart, echoed by the receiver; a lost one is `None`.
///
/// # Errors
/// [`LabError::Failed`] when a socket fails.
pub fn round_trips(pair: Pair<'_>, count: u32, interval: StdDuration) -> Result<Vec<Option<Duration>>, LabError> {
    let failed = LabError::of("measure round trips", "permit sockets to this user");
    let echo = pair.receiver.run(|| UdpSocket::bind((pair.address, 0)))?.map_err(&failed)?;
    let to = echo.local_addr().map_err(&failed)?;
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let probe = pair.sender.run(|| UdpSocket::bind(any))?.map_err(&failed)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let echoing = scope.spawn(|| answer(&echo, &is_over));
        let outcome = probe_all(&probe, to, count, interval);
        is_over.store(true, Ordering::Relaxed);
        echoing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome
    })
    .map_err(&failed)
}

fn send(mut stream: TcpStream, bytes: u64) -> io::Result<()> {
    stream.set_write_timeout(Some(SILENCE_LIMIT))?;
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    while position < bytes {
        let len = CHUNK.min(usize::try_from(bytes - position).unwrap_or(CHUNK));
        fill_pattern(&mut chunk[..len], position);
        stream.write_all(&chunk[..len])?;
        position += len as u64;
    }
    Ok(())
}

fn receive(mut stream: TcpStream, received: &AtomicU64, start: Instant) -> io::Result<Transfer> {
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    let mut chunk = vec![0; CHUNK];
    let mut transfer = Transfer { bytes: 0, elapsed: Duration::ZERO, corrupt: None };
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(transfer);
        }
        let difference = first_difference(&chunk[..len], transfer.bytes);
        transfer.corrupt = transfer.corrupt.or(difference.map(|at| transfer.bytes + at as u64));
        transfer.bytes += len as u64;
        transfer.elapsed = clock::now().since(start);
        received.fetch_add(len as u64, Ordering::Relaxed);
    }
}

fn answer(socket: &UdpSocket, is_over: &AtomicBool) -> io::Result<()> {
    socket.set_read_timeout(Some(StdDuration::from_millis(50)))?;
    let mut datagram = [0; 64];
    while !is_over.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((len, from)) => drop(socket.send_to(&datagram[..len], from)?),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn probe_all(
    socket: &UdpSocket,
    to: SocketAddr,
    count: u32,
    interval: StdDuration,
) -> io::Result<Vec<Option<Duration>>> {
    socket.set_read_timeout(Some(StdDuration::from_secs(2)))?;
    let mut round_trips = Vec::new();
    for number in 0..count {
        let sent = clock::now();
        socket.send_to(&number.to_be_bytes(), to)?;
        round_trips.push(await_echo(socket, number)?.map(|arrived| arrived.since(sent)));
        thread::sleep(interval);
    }
    Ok(round_trips)
}

/// When the echo of `number` came; late echoes of earlier ones are passed over.
fn await_echo(socket: &UdpSocket, number: u32) -> io::Result<Option<Instant>> {
    let mut datagram = [0; 64];
    loop {
        match socket.recv(&mut datagram) {
            Ok(len) if datagram[..len] == number.to_be_bytes() => return Ok(Some(clock::now())),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

// SPDX-License-Identifier: BSD-2-Clause
//! Echo requests at a fixed rate, as `ping -i` sends them: the kernel at the other end answers, so that a busy machine
//! delays one process only.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration as StdDuration;

use mlvpn_core::words::time::{Duration, Instant};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::namespace::{LabError, Namespace};
use crate::clock;

/// Types of ICMP messages (RFC 792).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Payload bytes of a request: those of ping(8).
const PAYLOAD: usize = 56;
const HEADER: usize = 8;
/// An answer later than this after the end counts as lost; more than the deepest queue of any link here.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// When it was sent.
    pub sent: Instant,
    /// How long its answer took; `None` when none came.
    pub round_trip: Option<Duration>,
}

/// Requests being sent in the background.
#[derive(Debug)]
pub struct Pinger {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Ping>>>,
}

impl Pinger {
    /// Sends a request to `to` every `interval` from now on.
    ///
    /// # Errors
    /// [`LabError`] when the machine permits no raw socket, or there is no way to the address.
    pub fn start(from: &Namespace, to: Ipv4Addr, interval: Duration) -> Result<Self, LabError> {
        let failed = LabError::of("ping", "run as root, which may open raw sockets");
        let socket = from.run(|| open(to))?.map_err(&failed)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let session = Session { socket, interval, pings: Vec::new(), buffer: vec![0; 2_048] };
        let thread = thread::Builder::new().name("ping".to_owned()).spawn(move || session.run(&over));
        Ok(Self { is_over, thread: thread.map_err(failed)? })
    }

    /// Stops sending, waits for the answers still on their way, and returns every request in order.
    ///
    /// # Errors
    /// [`LabError::Failed`] when the socket failed meanwhile.
    pub fn stop(self) -> Result<Vec<Ping>, LabError> {
        self.is_over.store(true, Ordering::Relaxed);
        let outcome = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.map_err(LabError::of("ping", ""))
    }
}

/// A raw ICMP socket; std's type offers all it needs once it is connected.
fn open(to: Ipv4Addr) -> io::Result<UdpSocket> {
    let made = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
    let socket = UdpSocket::from(made);
    socket.connect((to, 0))?;
    Ok(socket)
}

struct Session {
    socket: UdpSocket,
    interval: Duration,
    pings: Vec<Ping>,
    buffer: Vec<u8>,
}

impl Session {
    fn run(mut self, is_over: &AtomicBool) -> io::Result<Vec<Ping>> {
        let mut due = clock::now();
        while !is_over.load(Ordering::Relaxed) {
            if clock::now() >= due {
                self.send();
                due = (due + self.interval).max(clock::now());
            }
            self.await_reply(due)?;
        }
        let deadline = clock::now() + PATIENCE;
        while clock::now() < deadline && self.pings.iter().any(|ping| ping.round_trip.is_none()) {
            self.await_reply(deadline)?;
        }
        Ok(self.pings)
    }

    /// A request the kernel would not take is lost, as on any way.
    fn send(&mut self) {
        let packet = request(number(self.pings.len()));
        self.pings.push(Ping { sent: clock::now(), round_trip: None });
        let _lost_or_sent = self.socket.send(&packet);
    }

    fn await_reply(&mut self, until: Instant) -> io::Result<()> {
        // A timeout of zero would mean none.
        let wait = until.since(clock::now()).micros().max(1_000);
        self.socket.set_read_timeout(Some(StdDuration::from_micros(wait)))?;
        let len = match self.socket.recv(&mut self.buffer) {
            Ok(len) => len,
            // Unreachable or refused: said by an ICMP error on the way, and a loss like others.
            Err(_) => return Ok(()),
        };
        let now = clock::now();
        let Some(answered) = self.buffer.get(..len).and_then(reply) else { return Ok(()) };
        if let Some(ping) = newest(&mut self.pings, answered) {
            ping.round_trip.get_or_insert(now.since(ping.sent));
        }
        Ok(())
    }
}

/// The number a request carries: its index, as far as 16 bits go.
fn number(index: usize) -> u16 {
    u16::try_from(index & 0xffff).unwrap_or(0)
}

/// The latest request with that number.
fn newest(pings: &mut [Ping], wanted: u16) -> Option<&mut Ping> {
    let last = pings.len().checked_sub(1)?;
    let back = usize::from(number(last).wrapping_sub(wanted));
    pings.get_mut(last.checked_sub(back)?)
}

/// Identifies our requests among those of other processes in the namespace.
fn identifier() -> u16 {
    u16::try_from(std::process::id() & 0xffff).unwrap_or(0)
}

fn request(number: u16) -> [u8; HEADER + PAYLOAD] {
    let mut packet = [0; HEADER + PAYLOAD];
    packet[0] = ECHO_REQUEST;
    packet[4..6].copy_from_slice(&identifier().to_be_bytes());
    packet[6..8].copy_from_slice(&number.to_be_bytes());
    let checksum = checksum(&packet);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The number of the request that a received IPv4 packet answers.
fn reply(packet: &[u8]) -> Option<u16> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header..)?;
    let field = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let is_ours = *message.first()? == ECHO_REPLY && field(4)? == identifier();
    if is_ours { field(6) } else { None }
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, _) = bytes.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_all_ones_and_its_answer_names_it() {
        let packet = request(0x1234);
        assert_eq!(checksum(&packet), 0);
        let mut answer = vec![0x45; 20];
        answer.extend_from_slice(&packet);
        assert_eq!(reply(&answer), None, "a request is no answer");
        answer[20] = ECHO_REPLY;
        assert_eq!(reply(&answer), Some(0x1234));
        for len in 0..27 {
            assert_eq!(reply(&answer[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn an_answer_belongs_to_the_latest_request_of_its_number() {
        let ping = |at| Ping { sent: Instant::from_micros(at), round_trip: None };
        let mut pings: Vec<Ping> = (0..65_540).map(ping).collect();
        assert_eq!(newest(&mut pings, 3).map(|ping| ping.sent.micros()), Some(65_539));
        assert_eq!(newest(&mut pings, 65_535).map(|ping| ping.sent.micros()), Some(65_535));
        assert_eq!(newest(&mut pings[..2], 9), None);
    }

    #[test]
    fn the_loopback_answers_every_request() {
        let Ok(namespace) = Namespace::new() else { return eprintln!("skipped: no right to make a network namespace") };
        let pinger = Pinger::start(&namespace, Ipv4Addr::LOCALHOST, Duration::from_millis(5)).expect("a raw socket");
        thread::sleep(StdDuration::from_millis(60));
        let pings = pinger.stop().expect("the socket stands");
        assert!(!pings.is_empty() && pings.iter().all(|ping| ping.round_trip.is_some()), "{pings:?}");
    }
}

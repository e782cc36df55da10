// SPDX-License-Identifier: BSD-2-Clause
//! Load for a while: flows of the kernel's TCP or Multipath TCP between two namespaces, as many as a link takes, and how
//! steadily their bytes come.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn_core::words::time::{Duration, Instant};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::namespace::{LabError, Namespace};
use super::sys;
use crate::clock;

/// Seconds until a connection that does not come about is given up: time for a few lost SYNs on a satellite link.
const CONNECT_SECONDS: i32 = 30;
/// A blocked read or write looks at the clock so often.
const LOOK: StdDuration = StdDuration::from_millis(50);
/// Bytes written and read at a time.
const CHUNK: usize = 1 << 16;

/// What carries the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// Multipath TCP (RFC 8684), over the endpoints the namespaces have been given.
    Mptcp,
}

/// Flows to be opened; the client connects to the server, whichever sends.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The client's namespace.
    pub client: &'a Namespace,
    /// The server's namespace.
    pub server: &'a Namespace,
    /// The server's address.
    pub address: IpAddr,
    /// What carries them.
    pub transport: Transport,
    /// The sender's congestion control, as the kernel names it; never the system's default, which differs.
    pub congestion: &'a str,
    /// How many.
    pub flows: usize,
    /// Whether the server sends.
    pub is_downward: bool,
}

/// The time that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Instant,
    /// Its end, when the flows stop.
    pub until: Instant,
}

/// What the receiver of one flow saw within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Payload bytes, in order.
    pub bytes: u64,
    /// The longest time in which TCP had no next byte for its reader.
    pub longest_stall: Duration,
    /// Whether the connection broke: reset, or given up by TCP, at either end.
    pub is_broken: bool,
}

/// Connected flows, not yet sending.
#[derive(Debug)]
pub struct Opened {
    /// Sender and receiver of each.
    flows: Vec<(TcpStream, TcpStream)>,
    /// Further subflows of Multipath TCP join through it, as long as it listens.
    listener: TcpListener,
}

impl Load<'_> {
    /// Connects every flow.
    ///
    /// # Errors
    /// [`LabError`] when a connection does not come about, or the kernel lacks the transport or congestion control.
    pub fn open(&self) -> Result<Opened, LabError> {
        let failed = LabError::of("connect a flow", "permit sockets, and the congestion control, to this user");
        let listener = self.server.run(|| self.listen())?.map_err(&failed)?;
        let address = listener.local_addr().map_err(&failed)?;
        let connected = self.client.run(|| (0..self.flows).map(|_| self.connect(address)).collect());
        let connected: io::Result<Vec<TcpStream>> = connected?;
        let mut flows = Vec::new();
        for client in connected.map_err(&failed)? {
            // Connections are accepted in the order they were made, and it would not matter.
            let (server, _) = listener.accept().map_err(&failed)?;
            flows.push(if self.is_downward { (server, client) } else { (client, server) });
        }
        Ok(Opened { flows, listener })
    }

    fn socket(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let made = match self.transport {
            Transport::Tcp => socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?,
            Transport::Mptcp => sys::mptcp_socket(family)?,
        };
        setsockopt(&made, sockopt::TcpCongestion, &OsString::from(self.congestion))?;
        Ok(made)
    }

    /// A listener whose connections inherit the congestion control.
    fn listen(&self) -> io::Result<TcpListener> {
        let address = SocketAddr::new(self.address, 0);
        let socket = self.socket(address)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        listen(&socket, Backlog::new(128)?)?;
        Ok(socket.into())
    }

    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(to)?;
        // On Linux the limit of sending is that of connecting, too (socket(7)).
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(CONNECT_SECONDS.into(), 0))?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(socket.into())
    }
}

impl Opened {
    /// Sends as much as goes until the window's end, and waits for it; one entry per flow.
    #[must_use]
    pub fn run(self, window: Window) -> Vec<Flow> {
        let flows = thread::scope(|scope| {
            let start = |(sender, receiver)| {
                let sending = scope.spawn(move || send(sender, window.until));
                (sending, scope.spawn(move || receive(receiver, window)))
            };
            let started: Vec<_> = self.flows.into_iter().map(start).collect();
            let ended = started.into_iter().map(|(sending, receiving)| {
                let stood = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let seen = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                Flow { is_broken: seen.is_broken || !stood, ..seen }
            });
            ended.collect()
        });
        drop(self.listener);
        flows
    }
}

/// Whether the connection stood to the end.
fn send(mut stream: TcpStream, until: Instant) -> bool {
    let chunk = vec![0; CHUNK];
    if stream.set_write_timeout(Some(LOOK)).is_err() {
        return false;
    }
    while clock::now() < until {
        match stream.write(&chunk) {
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            // The receiver may have closed a moment ago because its time was up.
            Err(_) => return clock::now() >= until,
        }
    }
    true
}

fn receive(mut stream: TcpStream, window: Window) -> Flow {
    let mut chunk = vec![0; CHUNK];
    let mut arrivals = Arrivals::new(window);
    let mut is_broken = stream.set_read_timeout(Some(LOOK)).is_err();
    while !is_broken {
        let outcome = stream.read(&mut chunk);
        let now = clock::now();
        if now >= window.until {
            break;
        }
        match outcome {
            // The sender closes no earlier than the window does.
            Ok(0) => is_broken = true,
            Ok(len) => arrivals.add(len as u64, now),
            Err(error) => is_broken = !is_pause(&error),
        }
    }
    Flow { is_broken, ..arrivals.finish() }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Counts arrivals within a window. Times do not run backwards.
struct Arrivals {
    window: Window,
    bytes: u64,
    /// The last arrival, or the window's beginning.
    last: Instant,
    longest: Duration,
}

impl Arrivals {
    const fn new(window: Window) -> Self {
        Self { window, bytes: 0, last: window.from, longest: Duration::ZERO }
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        if now >= self.window.from && now < self.window.until {
            self.longest = self.longest.max(now.since(self.last));
            self.last = now;
            self.bytes += bytes;
        }
    }

    fn finish(self) -> Flow {
        let silent = self.window.until.since(self.last);
        Flow { bytes: self.bytes, longest_stall: self.longest.max(silent), is_broken: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: Instant::from_micros(1_000), until: Instant::from_micros(9_000) };

    fn seen(arrivals: &[(u64, u64)]) -> Flow {
        let mut counted = Arrivals::new(WINDOW);
        for &(at, bytes) in arrivals {
            counted.add(bytes, Instant::from_micros(at));
        }
        counted.finish()
    }

    #[test]
    fn only_what_comes_within_the_window_counts() {
        let flow = seen(&[(500, 7), (1_000, 10), (5_000, 20), (8_999, 40), (9_000, 80)]);
        assert_eq!((flow.bytes, flow.longest_stall), (70, Duration::from_micros(4_000)));
    }

    #[test]
    fn silence_at_either_edge_is_a_stall_too() {
        assert_eq!(seen(&[]).longest_stall, Duration::from_micros(8_000));
        assert_eq!(seen(&[(900, 1), (7_000, 1), (8_500, 1)]).longest_stall, Duration::from_micros(6_000));
        assert_eq!(seen(&[(1_500, 1), (2_000, 1)]).longest_stall, Duration::from_micros(7_000));
    }

    #[test]
    fn flows_over_the_loopback_deliver_and_an_unknown_congestion_control_is_refused() {
        // Loopback in a namespace of its own, where the machine permits one.
        let Ok(namespace) = Namespace::new() else { return eprintln!("skipped: no right to make a network namespace") };
        let load = Load {
            client: &namespace,
            server: &namespace,
            address: IpAddr::from([127, 0, 0, 1]),
            transport: Transport::Tcp,
            congestion: "cubic",
            flows: 2,
            is_downward: true,
        };
        let from = clock::now();
        let window = Window { from, until: from + Duration::from_millis(200) };
        let flows = load.open().expect("loopback").run(window);
        assert_eq!(flows.len(), 2);
        assert!(flows.iter().all(|flow| flow.bytes > 0 && !flow.is_broken), "{flows:?}");
        assert!(Load { congestion: "no-such-control", ..load }.open().is_err());
    }
}

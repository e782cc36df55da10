// SPDX-License-Identifier: BSD-2-Clause
//! TCP without a kernel: smoltcp stacks that make and take IP packets, to drive traffic through links and tunnels.
//!
//! A [`TcpHost`] sends or receives a number of flows. What is sent is a running pattern of the position in the flow,
//! so the receiver can tell that every byte arrived, once and in its place. Time is an argument: the same host works in
//! virtual and in real time.

use std::collections::VecDeque;
use std::net::IpAddr;

use mlvpn_core::words::time::{Duration, Instant};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::virtual_time::Endpoint;

/// Which congestion control the senders use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC, as most of the internet (RFC 9438).
    #[default]
    Cubic,
    /// NewReno (RFC 6582).
    Reno,
    /// None: the receiver's window is the only limit.
    Unchecked,
}

/// What both ends of a test must agree on, and the address that tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// This host's address.
    pub local: IpAddr,
    /// The other host's address, of the same family.
    pub peer: IpAddr,
    /// Flow number `i` uses port `first_port + i` at the receiver.
    pub first_port: u16,
    /// Number of parallel flows.
    pub flows: u16,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// Send and receive buffer of each flow in bytes; with window scaling, so it bounds bandwidth times delay.
    pub buffer_bytes: usize,
    /// The senders' congestion control.
    pub congestion: Congestion,
    /// Decides the first sequence numbers.
    pub seed: u64,
}

impl TcpConfig {
    /// One CUBIC flow with 4 MiB of buffer (100 Mbit/s over 300 ms) in packets of 1500 bytes.
    #[must_use]
    pub const fn new(local: IpAddr, peer: IpAddr) -> Self {
        Self {
            local,
            peer,
            first_port: 5201,
            flows: 1,
            mtu: 1500,
            buffer_bytes: 4 << 20,
            congestion: Congestion::Cubic,
            seed: 0,
        }
    }
}

/// What has happened to a host's flows so far, all flows together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Flows that have been established.
    pub established: u16,
    /// Flows that were established and have ended.
    pub ended: u16,
    /// Payload bytes handed to the stack (sender) or received in order (receiver).
    pub bytes: u64,
    /// The first byte that was not what was sent: its flow and its position there.
    pub corrupt: Option<(u16, u64)>,
    /// The longest time a receiver was without new data between two arrivals, over all flows.
    pub longest_gap: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Sends this many bytes per flow, or without end.
    Send(Option<u64>),
    Receive,
}

#[derive(Debug)]
struct Flow {
    handle: SocketHandle,
    position: u64,
    is_established: bool,
    is_ended: bool,
}

/// One host with one IP stack: the sender (who also connects) or the receiver of some flows.
///
/// 1. [`receive`](Self::receive) each IP packet that arrives;
/// 2. [`poll`](Self::poll) after that, and when [`next_deadline`](Self::next_deadline) has come;
/// 3. take [`poll_packet`](Self::poll_packet)'s packets to the network.
pub struct TcpHost {
    config: TcpConfig,
    role: Role,
    interface: Interface,
    device: QueueDevice,
    sockets: SocketSet<'static>,
    flows: Vec<Flow>,
    deadline: Option<Instant>,
    progress: Progress,
    last_arrival: Option<Instant>,
}

impl std::fmt::Debug for TcpHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpHost")
            .field("config", &self.config)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl TcpHost {
    /// A host that connects at its first [`poll`](Self::poll) and sends `bytes` per flow, then closes; without end when
    /// `None`.
    #[must_use]
    pub fn sender(config: TcpConfig, bytes: Option<u64>, now: Instant) -> Self {
        Self::new(config, Role::Send(bytes), now)
    }

    /// A host that listens, takes everything and checks it.
    #[must_use]
    pub fn receiver(config: TcpConfig, now: Instant) -> Self {
        Self::new(config, Role::Receive, now)
    }

    /// Takes an IP packet from the network; it is worked on at the next [`poll`](Self::poll).
    pub fn receive(&mut self, packet: Vec<u8>) {
        self.device.incoming.push_back(packet);
    }

    /// Runs the stack: arrivals, timers, reading and writing. Work grows with the packets waiting and the bytes moved.
    pub fn poll(&mut self, now: Instant) {
        self.interface.poll(stack_time(now), &mut self.device, &mut self.sockets);
        self.serve_flows(now);
        // What was just written, and windows just opened, go out at once.
        self.interface.poll(stack_time(now), &mut self.device, &mut self.sockets);
        self.deadline = self.interface.poll_at(stack_time(now), &self.sockets).map(core_time);
    }

    /// The next IP packet for the network.
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.device.outgoing.pop_front()
    }

    /// When to [`poll`](Self::poll) next if no packet arrives before; never while packets for the network pile up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.device.is_full() { None } else { self.deadline }
    }

    /// What has happened so far.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether all flows were established and have ended, every byte in its place.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.progress.ended == self.config.flows && self.progress.corrupt.is_none()
    }

    fn new(config: TcpConfig, role: Role, now: Instant) -> Self {
        let mut device = QueueDevice { mtu: config.mtu, incoming: VecDeque::new(), outgoing: VecDeque::new() };
        let mut settings = Config::new(HardwareAddress::Ip);
        settings.random_seed = config.seed;
        let mut interface = Interface::new(settings, &mut device, stack_time(now));
        interface.update_ip_addrs(|addresses| {
            // A prefix of no bits puts every peer on the link, so that no route is needed.
            addresses.push(IpCidr::new(config.local.into(), 0)).expect("a fresh interface has room for one address");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut flows = Vec::new();
        for index in 0..config.flows {
            let mut socket = new_socket(&config);
            let port = config.first_port.wrapping_add(index);
            match role {
                Role::Send(_) => {
                    let local_port = FIRST_LOCAL_PORT.wrapping_add(index);
                    let peer: smoltcp::wire::IpAddress = config.peer.into();
                    socket.connect(interface.context(), (peer, port), local_port).expect("a fresh socket connects");
                }
                Role::Receive => socket.listen(port).expect("a fresh socket listens on a port above zero"),
            }
            let handle = sockets.add(socket);
            flows.push(Flow { handle, position: 0, is_established: false, is_ended: false });
        }
        let progress = Progress::default();
        let deadline = Some(now);
        Self { config, role, interface, device, sockets, flows, deadline, progress, last_arrival: None }
    }

    fn serve_flows(&mut self, now: Instant) {
        for (index, flow) in (0_u16..).zip(&mut self.flows) {
            let socket = self.sockets.get_mut::<Socket<'_>>(flow.handle);
            let before = flow.position;
            match self.role {
                Role::Send(limit) => send(socket, flow, limit),
                Role::Receive => {
                    let corrupt = receive(socket, flow);
                    self.progress.corrupt = self.progress.corrupt.or(corrupt.map(|at| (index, at)));
                }
            }
            self.progress.bytes += flow.position - before;
            if flow.position > before {
                let gap = self.last_arrival.map_or(Duration::ZERO, |last| now.since(last));
                self.progress.longest_gap = self.progress.longest_gap.max(gap);
                self.last_arrival = Some(now);
            }
            note_state(socket, flow, &mut self.progress);
        }
    }
}

impl Endpoint for TcpHost {
    fn on_datagram(&mut self, _port: usize, datagram: Vec<u8>, now: Instant) {
        self.receive(datagram);
        self.poll(now);
    }

    fn on_timer(&mut self, now: Instant) {
        self.poll(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }

    fn poll_transmit(&mut self, _now: Instant) -> Option<(usize, Vec<u8>)> {
        self.poll_packet().map(|packet| (0, packet))
    }
}

/// First of the dynamic ports (RFC 6335).
const FIRST_LOCAL_PORT: u16 = 49_152;

fn new_socket(config: &TcpConfig) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; config.buffer_bytes]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_congestion_control(match config.congestion {
        Congestion::Cubic => CongestionControl::Cubic,
        Congestion::Reno => CongestionControl::Reno,
        Congestion::Unchecked => CongestionControl::None,
    });
    socket
}

fn send(socket: &mut Socket<'_>, flow: &mut Flow, limit: Option<u64>) {
    while socket.can_send() {
        let left = limit.map_or(u64::MAX, |limit| limit - flow.position);
        if left == 0 {
            return socket.close();
        }
        let written = socket.send(|room| {
            let len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            fill_pattern(&mut room[..len], flow.position);
            (len, len)
        });
        match written {
            Ok(len) if len > 0 => flow.position += len as u64,
            _ => return,
        }
    }
}

/// Reads everything there; the position of the first wrong byte.
fn receive(socket: &mut Socket<'_>, flow: &mut Flow) -> Option<u64> {
    let mut corrupt = None;
    while socket.can_recv() {
        let checked = socket.recv(|data| (data.len(), (data.len(), first_difference(data, flow.position))));
        let Ok((len, difference)) = checked else { break };
        corrupt = corrupt.or(difference.map(|at| flow.position + at as u64));
        flow.position += len as u64;
    }
    if flow.is_established && !socket.may_recv() && socket.is_active() {
        socket.close();
    }
    corrupt
}

fn note_state(socket: &Socket<'_>, flow: &mut Flow, progress: &mut Progress) {
    let is_through = !socket.is_listening() && (socket.may_send() || socket.may_recv());
    if is_through && !flow.is_established {
        flow.is_established = true;
        progress.established += 1;
    }
    if flow.is_established && !flow.is_ended && !socket.may_send() && !socket.may_recv() {
        flow.is_ended = true;
        progress.ended += 1;
    }
}

/// Writes the pattern that belongs at `position` and after: each 8 bytes are a hash of their place, so that no shift,
/// repetition or gap goes unnoticed.
pub fn fill_pattern(bytes: &mut [u8], position: u64) {
    for (byte, place) in bytes.iter_mut().zip(position..) {
        *byte = pattern_at(place);
    }
}

/// Where `bytes` first differ from the pattern that belongs at `position`.
#[must_use]
pub fn first_difference(bytes: &[u8], position: u64) -> Option<usize> {
    bytes.iter().zip(position..).position(|(&byte, place)| byte != pattern_at(place))
}

/// Fibonacci hashing (Knuth, vol. 3, 6.4) of the eight-byte word, one byte of it.
const fn pattern_at(place: u64) -> u8 {
    let word = (place >> 3).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_be_bytes()[(place & 7) as usize]
}

fn stack_time(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX))
}

fn core_time(at: StackInstant) -> Instant {
    Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
}

/// Packets for the network that may pile up before the stack stops sending, like a kernel's `txqueuelen`; answers to
/// arriving packets are always taken.
const MAX_OUTGOING: usize = 128;

/// A network device that is two queues.
#[derive(Debug)]
struct QueueDevice {
    mtu: usize,
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl QueueDevice {
    fn is_full(&self) -> bool {
        self.outgoing.len() >= MAX_OUTGOING
    }
}

struct Arrived(Vec<u8>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Departing<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for QueueDevice {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _now: StackInstant) -> Option<(Arrived, Departing<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Arrived(packet), Departing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _now: StackInstant) -> Option<Departing<'_>> {
        if self.is_full() { None } else { Some(Departing(&mut self.outgoing)) }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::virtual_time::{Port, World};

    const ALICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn transfer(spec: &str, bytes: u64, flows: u16) -> (TcpHost, TcpHost) {
        let config = TcpConfig { flows, ..TcpConfig::new(ALICE, BOB) };
        let back = TcpConfig { flows, ..TcpConfig::new(BOB, ALICE) };
        let mut world = World::new(Instant::ORIGIN);
        let sender = world.add(TcpHost::sender(config, Some(bytes), world.now()));
        let receiver = world.add(TcpHost::receiver(back, world.now()));
        let spec = spec.parse().expect("a link");
        world.connect(Port { endpoint: receiver, number: 0 }, Port { endpoint: sender, number: 0 }, &spec, 1);
        world.run_for(Duration::from_secs(60)).expect("time passes");
        let mut hosts = world.into_endpoints().into_iter();
        (hosts.next().expect("the sender"), hosts.next().expect("the receiver"))
    }

    #[test]
    fn every_byte_arrives_in_its_place_in_spite_of_loss_and_reordering() {
        let (sender, receiver) = transfer("20mbit/10ms/1%/reorder=1%:3ms/dup=1%", 300_000, 3);
        assert_eq!(receiver.progress().bytes, 900_000);
        assert_eq!(receiver.progress().corrupt, None);
        assert!(receiver.is_finished() && sender.is_finished(), "{receiver:?} {sender:?}");
    }

    #[test]
    fn a_byte_out_of_place_is_found() {
        let mut bytes = [0; 100];
        fill_pattern(&mut bytes, 12_345);
        assert_eq!(first_difference(&bytes, 12_345), None);
        assert!(first_difference(&bytes, 12_353).is_some_and(|at| at < 8), "a shift by one word");
        bytes[77] ^= 1;
        assert_eq!(first_difference(&bytes, 12_345), Some(77));
    }

    #[test]
    fn a_full_device_stops_the_stack_until_it_is_drained() {
        let config = TcpConfig { congestion: Congestion::Unchecked, ..TcpConfig::new(ALICE, BOB) };
        let mut sender = TcpHost::sender(config, None, Instant::ORIGIN);
        let mut receiver = TcpHost::receiver(TcpConfig::new(BOB, ALICE), Instant::ORIGIN);
        for micros in 0..10 {
            let now = Instant::from_micros(micros * 20_000);
            sender.poll(now);
            if sender.device.is_full() {
                break;
            }
            while let Some(packet) = sender.poll_packet() {
                receiver.receive(packet);
            }
            receiver.poll(now);
            while let Some(packet) = receiver.poll_packet() {
                sender.receive(packet);
            }
        }
        assert!(sender.device.is_full() && sender.next_deadline().is_none());
        assert!(sender.poll_packet().is_some() && sender.next_deadline().is_some());
    }
}

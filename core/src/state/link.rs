// SPDX-License-Identifier: BSD-2-Clause
//! One link of a classic tunnel: its peer's address, its life, and what is measured on it.
//!
//! A link is *closed* (no socket), *waiting* (for its peer to authenticate) or *up*. A client asks once a second until
//! it is answered; a server answers whoever asks with the key. Time moves a link only through [`Link::handle_timeout`].

use core::net::SocketAddr;

use crate::memory::classic::{Header, Kind, wire_timestamp};
use crate::state::estimate::{LossWindow, RoundTrip};
use crate::state::flows::{Flow, NonceCounter, PeerFlows};
use crate::words::drops::DropReason;
use crate::words::event::{DownCause, Health};
use crate::words::ids::{FlowId, Order};
use crate::words::policy::LinkPolicy;
use crate::words::time::{Duration, Instant};

/// A client asks this often (MLVPN 2.3: its one-second timer).
const AUTH_INTERVAL: Duration = Duration::from_secs(1);

/// A link that is up says so this often, and answers its peer's saying so no more often (MLVPN 2.3: one second).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// When nothing was heard for longer than [`KEEPALIVE_INTERVAL`], a link asks this often.
const EAGER_INTERVAL: Duration = Duration::from_millis(250);

/// Nothing heard for this long, plus two round trips, and a link is taken for dead: MLVPN 2.3 answers keepalives at
/// most once a second, so one that lives is silent for two seconds at the most.
const SILENCE: Duration = Duration::from_secs(2);

/// A timestamp held longer than this is not sent back (MLVPN 2.3: one second).
const ECHO_HOLD: Duration = Duration::from_secs(1);

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks its peer to bring links up; knows the peer's address.
    Client,
    /// Answers; learns the peer's address.
    Server,
}

/// What a user may set about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// What the link can send, in bytes per second; 0 when unknown.
    pub rate_bytes_per_sec: u64,
    /// The link is down when nothing authentic was heard for this long. At least two seconds.
    pub timeout: Duration,
    /// At this much loss, in percent, the link leaves the aggregate; above 100 it never does.
    pub loss_tolerance: u8,
    /// At this smoothed round-trip time the link leaves the aggregate.
    pub latency_tolerance: Duration,
    /// Use the link only when no other is in the aggregate.
    pub fallback_only: bool,
    /// What else it is to be used for; only protocol 2 follows it.
    pub policy: LinkPolicy,
}

impl Default for LinkSettings {
    /// MLVPN 2.3's defaults: 60 s timeout, any loss, 1 s of latency.
    fn default() -> Self {
        Self {
            rate_bytes_per_sec: 0,
            timeout: Duration::from_secs(60),
            loss_tolerance: 100,
            latency_tolerance: Duration::from_millis(1_000),
            fallback_only: false,
            policy: LinkPolicy::default(),
        }
    }
}

impl LinkSettings {
    /// How good a link with these tolerances is.
    #[must_use]
    pub fn judge(&self, is_silent: bool, loss: &LossWindow, rtt: &RoundTrip) -> Health {
        if is_silent {
            Health::Silent
        } else if loss.percent() >= self.loss_tolerance {
            Health::Lossy
        } else if rtt.smoothed().is_some_and(|rtt| rtt >= self.latency_tolerance) {
            Health::Slow
        } else {
            Health::Good
        }
    }
}

/// Where a link is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No socket.
    Closed,
    /// A socket, but no authenticated peer, or nobody who answers over this link.
    Waiting,
    /// Carries data.
    Up,
}

/// Packets and bytes (of whole UDP payloads) both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams handed out for sending.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Authentic datagrams received, and cleartext ones from the peer's address.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// What a deadline of a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTimer {
    /// When to ask the server again.
    Authenticate,
    /// When to say that the link is alive.
    KeepAlive,
    /// When to take the link for dead, though it has not timed out.
    Silence,
    /// When to take the link down.
    Timeout,
}

/// One link. See the module's description.
#[derive(Debug)]
pub struct Link {
    role: Role,
    settings: LinkSettings,
    phase: Phase,
    health: Health,
    /// Where to send; a server learns it, a client is given it and follows its peer.
    remote: Option<SocketAddr>,
    nonces: NonceCounter,
    peer_flows: PeerFlows,
    /// The peer's last timestamp, not yet sent back, and when it came.
    echo: Option<(u16, Instant)>,
    rtt: RoundTrip,
    loss: LossWindow,
    /// Packets that are to be sent as soon as the port asks.
    due: Due,
    /// When something authentic and fresh was last heard.
    last_heard: Instant,
    /// When to ask or to say that the link is alive next.
    next_frame: Instant,
    /// When a keepalive of the peer was last answered.
    last_answer: Instant,
    traffic: Traffic,
    disconnects: u64,
    down_cause: DownCause,
}

/// Frames of the link itself that wait to be sent.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    /// AUTH of a client, AUTH_OK of a server.
    greeting: bool,
    keepalive: bool,
    disconnect: bool,
}

impl Link {
    /// A closed link. `flow` must be random and never used before under the same key.
    #[must_use]
    pub fn new(role: Role, settings: LinkSettings, flow: FlowId) -> Self {
        Self {
            role,
            settings,
            phase: Phase::Closed,
            health: Health::Good,
            remote: None,
            nonces: NonceCounter::new(flow),
            peer_flows: PeerFlows::default(),
            echo: None,
            rtt: RoundTrip::default(),
            loss: LossWindow::new(),
            due: Due::default(),
            last_heard: Instant::ORIGIN,
            next_frame: Instant::ORIGIN,
            last_answer: Instant::ORIGIN,
            traffic: Traffic::default(),
            disconnects: 0,
            down_cause: DownCause::Closed,
        }
    }

    /// The link has a socket now. `remote` is where a client's server is; a server may pass none.
    pub fn open(&mut self, remote: Option<SocketAddr>, now: Instant) {
        self.remote = remote;
        self.wait(now);
    }

    /// The link's socket is gone.
    pub fn close(&mut self) {
        self.leave_up(DownCause::Closed);
        self.phase = Phase::Closed;
        self.due = Due::default();
    }

    /// Changes what a user may set; a link that is up stays up.
    pub fn configure(&mut self, settings: LinkSettings, now: Instant) {
        self.settings = settings;
        self.judge_health(now);
    }

    /// Says goodbye to the peer, if there is one, with the next frame.
    pub fn disconnect(&mut self) {
        self.due = Due { disconnect: self.phase == Phase::Up, ..Due::default() };
    }

    /// The kind of the link's own frame that is to be sent now, if any.
    pub fn take_frame(&mut self) -> Option<Kind> {
        self.remote?;
        if core::mem::take(&mut self.due.greeting) {
            return Some(match self.role {
                Role::Client => Kind::Auth,
                Role::Server => Kind::AuthOk,
            });
        }
        if core::mem::take(&mut self.due.disconnect) {
            return Some(Kind::Disconnect);
        }
        core::mem::take(&mut self.due.keepalive).then_some(Kind::KeepAlive)
    }

    /// Writes the header of the next packet of this link, of `kind`; its length is set when it is sealed. Takes a nonce
    /// and the peer's timestamp, so each call makes another packet. None when the flow is spent: see
    /// [`Link::renew_flow`].
    pub fn stamp(&mut self, kind: Kind, order: Option<Order>, now: Instant) -> Option<Header> {
        let (flow, counter) = self.nonces.take()?;
        let held = self.echo.take().filter(|(_, at)| now.since(*at) < ECHO_HOLD);
        Some(Header {
            body_len: 0,
            kind,
            // MLVPN 2.3 sets the bit on everything but what a filter pinned to a link.
            ordered: kind != Kind::Data || order.is_some(),
            timestamp: Some(wire_timestamp(now.micros() / 1_000)),
            timestamp_reply: held
                .map(|(timestamp, at)| wire_timestamp(u64::from(timestamp).saturating_add(now.since(at).millis()))),
            flow,
            counter,
            order: order.unwrap_or_default(),
        })
    }

    /// Continues in another flow, random as the first, after a greeting that introduces it to the peer.
    pub fn renew_flow(&mut self, flow: FlowId) {
        self.nonces = NonceCounter::new(flow);
        self.due.greeting = true;
    }

    /// Counts a datagram handed out for sending.
    pub fn count_sent(&mut self, bytes: usize) {
        self.traffic.sent_packets = self.traffic.sent_packets.saturating_add(1);
        self.traffic.sent_bytes = self.traffic.sent_bytes.saturating_add(bytes as u64);
    }

    /// Takes note of a sealed packet that opened.
    ///
    /// Only here do the replay window, the peer's address and the link's liveness change, and only for fresh packets.
    pub fn hear(&mut self, heard: Heard<'_>) -> Result<Flow, DropReason> {
        if self.phase == Phase::Closed {
            return Err(DropReason::LinkNotUp);
        }
        let fresh = self.peer_flows.judge(heard.header)?;
        let flow = self.peer_flows.mark(fresh);
        if flow != Flow::Same {
            self.loss = LossWindow::new();
        }
        self.remote = Some(heard.from);
        self.last_heard = heard.at;
        self.measure(&heard);
        self.judge_health(heard.at);
        Ok(flow)
    }

    /// Takes note of cleartext data, which anyone may forge: it counts only when it comes from the peer's address to a
    /// link that is up, and then only for measurement.
    pub fn overhear(&mut self, heard: Heard<'_>) -> Result<(), DropReason> {
        if self.phase != Phase::Up {
            return Err(DropReason::LinkNotUp);
        }
        if self.remote != Some(heard.from) {
            return Err(DropReason::WrongAddress);
        }
        self.measure(&heard);
        Ok(())
    }

    /// Acts on a packet of the link's own that [`Link::hear`] accepted.
    pub fn handle_frame(&mut self, kind: Kind, now: Instant) {
        match kind {
            Kind::Auth if self.role == Role::Server => {
                self.due.greeting = true;
                self.come_up(now);
            }
            Kind::Auth | Kind::AuthOk if self.role == Role::Client => self.come_up(now),
            Kind::KeepAlive if self.phase == Phase::Up && now.since(self.last_answer) >= KEEPALIVE_INTERVAL => {
                self.last_answer = now;
                self.say_alive(now);
            }
            Kind::Disconnect if self.phase == Phase::Up => {
                self.leave_up(DownCause::PeerLeft);
                self.wait(now);
            }
            Kind::Auth | Kind::AuthOk | Kind::KeepAlive | Kind::Data | Kind::Disconnect => {}
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Closed => {}
            Phase::Waiting => {
                if self.role == Role::Client && now >= self.next_frame {
                    self.due.greeting = true;
                    self.next_frame = now + AUTH_INTERVAL;
                }
            }
            Phase::Up if now.since(self.last_heard) >= self.settings.timeout => {
                self.leave_up(DownCause::Timeout);
                self.wait(now);
            }
            Phase::Up => {
                if now >= self.next_frame {
                    self.say_alive(now);
                    // A server that was restarted knows nothing of this link: asking anew brings it back long before
                    // the timeout would.
                    self.due.greeting |= self.role == Role::Client && self.health == Health::Silent;
                }
                self.judge_health(now);
            }
        }
    }

    /// When [`Link::handle_timeout`] has something to do next, and what.
    #[must_use]
    pub fn deadline(&self) -> Option<(Instant, LinkTimer)> {
        match (self.phase, self.role) {
            (Phase::Closed, _) | (Phase::Waiting, Role::Server) => None,
            (Phase::Waiting, Role::Client) => Some((self.next_frame, LinkTimer::Authenticate)),
            (Phase::Up, _) => {
                let mut first = (self.last_heard + self.settings.timeout, LinkTimer::Timeout);
                if self.health != Health::Silent {
                    first = earlier(first, (self.last_heard + self.silence(), LinkTimer::Silence));
                }
                Some(earlier(first, (self.next_frame, LinkTimer::KeepAlive)))
            }
        }
    }

    fn wait(&mut self, now: Instant) {
        self.phase = Phase::Waiting;
        self.due = Due::default();
        self.next_frame = now;
    }

    fn come_up(&mut self, now: Instant) {
        if self.phase == Phase::Up {
            return;
        }
        self.phase = Phase::Up;
        self.health = Health::Good;
        self.last_heard = now;
        self.last_answer = now;
        self.next_frame = now + KEEPALIVE_INTERVAL;
    }

    fn leave_up(&mut self, cause: DownCause) {
        if self.phase == Phase::Up {
            self.down_cause = cause;
            self.disconnects = self.disconnects.saturating_add(1);
            self.rtt = RoundTrip::default();
            self.echo = None;
        }
    }

    fn say_alive(&mut self, now: Instant) {
        self.due.keepalive = true;
        let silent = now.since(self.last_heard) > KEEPALIVE_INTERVAL;
        self.next_frame = now + if silent { EAGER_INTERVAL } else { KEEPALIVE_INTERVAL };
    }

    fn measure(&mut self, heard: &Heard<'_>) {
        self.traffic.received_packets = self.traffic.received_packets.saturating_add(1);
        self.traffic.received_bytes = self.traffic.received_bytes.saturating_add(heard.bytes as u64);
        self.loss.arrival(heard.header.counter);
        if let Some(timestamp) = heard.header.timestamp {
            self.echo = Some((timestamp, heard.at));
        }
        if let Some(reply) = heard.header.timestamp_reply {
            let trip = wire_timestamp(heard.at.micros() / 1_000).wrapping_sub(reply);
            self.rtt.sample(Duration::from_millis(u64::from(trip)));
        }
    }

    fn silence(&self) -> Duration {
        SILENCE + self.rtt.smoothed().unwrap_or(Duration::ZERO) * 2
    }

    fn judge_health(&mut self, now: Instant) {
        let is_silent = now.since(self.last_heard) >= self.silence();
        self.health = self.settings.judge(is_silent, &self.loss, &self.rtt);
    }
}

/// What is read off a link.
impl Link {
    /// Where the link is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How good it is; only of meaning while it is up.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// What the user set.
    #[must_use]
    pub const fn settings(&self) -> &LinkSettings {
        &self.settings
    }

    /// The peer's address, when known.
    #[must_use]
    pub const fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Round-trip time.
    #[must_use]
    pub const fn rtt(&self) -> &RoundTrip {
        &self.rtt
    }

    /// Loss of the peer's last 64 packets, in percent.
    #[must_use]
    pub fn loss_percent(&self) -> u8 {
        self.loss.percent()
    }

    /// Packets and bytes.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How often the link went down.
    #[must_use]
    pub const fn disconnects(&self) -> u64 {
        self.disconnects
    }

    /// Why it went down last.
    #[must_use]
    pub const fn down_cause(&self) -> DownCause {
        self.down_cause
    }

    /// When something authentic was last heard.
    #[must_use]
    pub const fn last_heard(&self) -> Instant {
        self.last_heard
    }
}

/// A packet that arrived on a link.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Bytes of the whole datagram.
    pub bytes: usize,
    /// Where it came from.
    pub from: SocketAddr,
    /// When.
    pub at: Instant,
}

fn earlier(a: (Instant, LinkTimer), b: (Instant, LinkTimer)) -> (Instant, LinkTimer) {
    if b.0 < a.0 { b } else { a }
}

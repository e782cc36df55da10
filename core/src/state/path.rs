// SPDX-License-Identifier: BSD-2-Clause
//! One link of a protocol-2 session: where its peer is, whether that is proved, whether it lives, and what it carries.
//!
//! A path is *closed* (no socket), *waiting* (probed, but nobody has answered yet) or *up*. It is up once its peer answered a probe
//! or a challenge, so that bulk traffic only ever goes to an address that asked for it (RFC 9000, 8.2). While it is up it
//! is probed often under traffic and seldom when idle; unanswered probes make it silent within a second under traffic.

use core::net::SocketAddr;

use crate::memory::control::Control;
use crate::state::estimate::{LossWindow, RoundTrip};
use crate::state::link::{LinkSettings, Phase, Role, Traffic};
use crate::state::mtu::MtuSearch;
use crate::words::event::{DownCause, Health};
use crate::words::time::{Duration, Instant};

/// A path nobody has answered on is probed this often, four times.
const YOUNG_INTERVAL: Duration = Duration::from_millis(250);

/// Then this often.
const PROBING_INTERVAL: Duration = Duration::from_secs(2);

/// Probes at [`YOUNG_INTERVAL`].
const YOUNG_PROBES: u8 = 4;

/// A path that carried data lately is probed this often, for its round trip and its life.
const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// What "lately" is.
const BUSY_SPAN: Duration = Duration::from_secs(2);

/// An idle path is probed this often, by the client, so that address translators keep its place (RFC 4787 demands two
/// minutes of them; many give thirty seconds).
const IDLE_INTERVAL: Duration = Duration::from_secs(25);

/// An unanswered probe is repeated after a round trip and four deviations (RFC 6298), but not sooner than this.
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// A peer that is heard while it answers nothing is asked this often: answers of the last [`PROBES_KEPT`] count, so they
/// may take four seconds.
const HEARD_INTERVAL: Duration = Duration::from_millis(500);

/// A path is silent after this many probes in a row without a sign of life.
const SILENT_AFTER: u8 = 3;

/// A path over which the peer is heard, but that answers none of so many probes in a row, carries one way only.
const ONE_WAY_AFTER: u8 = 10;

/// Probes of which a late answer still counts: a queue that grows suddenly makes every answer late.
const PROBES_KEPT: usize = 8;

/// A server asks a path that is not up only for so long after it heard its client there. Asking is the client's part.
const ASKING_SPAN: Duration = Duration::from_secs(10);

/// A new address whose challenges all went unanswered is challenged anew after this, if the peer still speaks from it.
const CHALLENGE_AGAIN: Duration = Duration::from_secs(2);

/// Answers that wait to be sent; more than one of a kind is of no use to who asked.
const ANSWERS: usize = 4;

/// Challenges sent to one new address.
const CHALLENGES: u8 = 4;

/// An end of a path: the local socket's number, and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the port's sockets.
    pub socket: u8,
    /// The peer's address as that socket sees it.
    pub address: SocketAddr,
}

/// What a path wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The frame.
    pub frame: Control,
    /// Where to.
    pub to: Place,
    /// The UDP payload's length the datagram is to be padded to; 0 for none.
    pub pad_to: u16,
}

/// A new address of the peer that has not proved itself.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: Place,
    token: u64,
    tries: u8,
    /// When the last challenge left.
    asked_at: Instant,
    /// When to challenge again.
    again_at: Instant,
}

/// One path. See the module's description.
#[derive(Debug)]
pub struct Path {
    role: Role,
    settings: LinkSettings,
    phase: Phase,
    health: Health,
    /// Where to send. A client is told; a server has it only once it is proved.
    place: Option<Place>,
    candidate: Option<Candidate>,
    rtt: RoundTrip,
    loss: LossWindow,
    /// The highest counter heard, so that only newer packets move the peer.
    newest: Option<u64>,
    mtu: MtuSearch,
    /// The last probes that were not answered, by number: when each left.
    probes: [Option<(u16, Instant)>; PROBES_KEPT],
    next_id: u16,
    /// Probes in a row without an answer.
    unanswered: u8,
    /// Probes in a row without a sign of life. Never more than `unanswered`.
    unheard: u8,
    /// When to probe next.
    probe_at: Instant,
    /// When the last probe left.
    probed_at: Instant,
    last_heard: Instant,
    /// When data last went either way.
    last_data: Instant,
    answers: heapless::Deque<(Control, Place), ANSWERS>,
    leaving: bool,
    traffic: Traffic,
    disconnects: u64,
    down_cause: DownCause,
}

/// A packet of the session that arrived over the path and opened.
#[derive(Clone, Copy, Debug)]
pub struct Sign {
    /// Its counter on this link.
    pub counter: u64,
    /// Bytes of the whole datagram.
    pub bytes: usize,
    /// Where it came from.
    pub from: Place,
    /// Random, for a challenge that it may cause.
    pub token: u64,
    /// When.
    pub at: Instant,
    /// Whether it belongs to the session whose counters count now, and not to the one before.
    pub is_current: bool,
}

impl Path {
    /// A closed path.
    #[must_use]
    pub fn new(role: Role, settings: LinkSettings) -> Self {
        Self {
            role,
            settings,
            phase: Phase::Closed,
            health: Health::Good,
            place: None,
            candidate: None,
            rtt: RoundTrip::default(),
            loss: LossWindow::new(),
            newest: None,
            mtu: MtuSearch::new(0, Instant::ORIGIN),
            probes: [None; PROBES_KEPT],
            next_id: 0,
            unanswered: 0,
            unheard: 0,
            probe_at: Instant::ORIGIN,
            probed_at: Instant::ORIGIN,
            last_heard: Instant::ORIGIN,
            last_data: Instant::ORIGIN,
            answers: heapless::Deque::new(),
            leaving: false,
            traffic: Traffic::default(),
            disconnects: 0,
            down_cause: DownCause::Closed,
        }
    }

    /// The path has a socket whose interface carries `interface_mtu` bytes. A client says where its server is.
    pub fn open(&mut self, place: Option<Place>, interface_mtu: u16, now: Instant) {
        self.place = place;
        self.mtu = MtuSearch::new(interface_mtu, now);
        self.start_probing(now);
    }

    /// The path's socket is gone.
    pub fn close(&mut self) {
        self.leave_up(DownCause::Closed);
        self.phase = Phase::Closed;
        self.candidate = None;
        self.answers.clear();
    }

    /// Changes what a user may set.
    pub fn configure(&mut self, settings: LinkSettings) {
        self.settings = settings;
        self.judge();
    }

    /// Says goodbye on this path with the next frame.
    pub fn leave(&mut self) {
        self.leaving = self.phase == Phase::Up;
    }

    /// A new session begins: its counters start at 0, and a path that waits for answers asks at once.
    pub fn new_session(&mut self, now: Instant) {
        self.newest = None;
        self.loss = LossWindow::new();
        if self.phase != Phase::Closed {
            self.probe_at = now;
        }
    }

    /// Takes note of a fresh, authentic packet. One newer than all before it from another address begins that address's
    /// validation; nothing but its answer moves the path.
    pub fn hear(&mut self, sign: Sign) {
        self.last_heard = sign.at;
        self.unheard = 0;
        self.traffic.received_packets = self.traffic.received_packets.saturating_add(1);
        self.traffic.received_bytes = self.traffic.received_bytes.saturating_add(sign.bytes as u64);
        if !sign.is_current {
            return;
        }
        self.loss.arrival(sign.counter);
        if self.newest.is_none_or(|newest| sign.counter > newest) {
            self.newest = Some(sign.counter);
            self.compare_place(sign);
        }
        // What is heard is no proof that the peer hears: only an answer ends silence, so ask for one.
        if self.health == Health::Silent || self.phase == Phase::Waiting {
            self.probe_at = self.probe_at.min(self.probed_at + HEARD_INTERVAL);
        }
    }

    fn compare_place(&mut self, sign: Sign) {
        if self.place == Some(sign.from) {
            return;
        }
        let is_pending = |c: &Candidate| {
            c.place == sign.from && (c.tries < CHALLENGES || sign.at.since(c.again_at) < CHALLENGE_AGAIN)
        };
        if !self.candidate.as_ref().is_some_and(is_pending) {
            self.candidate =
                Some(Candidate { place: sign.from, token: sign.token, tries: 0, asked_at: sign.at, again_at: sign.at });
        }
    }

    /// Takes note of data sent or delivered, which makes the path busy.
    pub fn note_data(&mut self, now: Instant) {
        let was_idle = now.since(self.last_data) >= BUSY_SPAN;
        self.last_data = now;
        if was_idle && self.phase == Phase::Up {
            self.probe_at = self.probe_at.min(now + BUSY_INTERVAL);
        }
    }

    /// Acts on a control frame that came from `from`.
    pub fn handle(&mut self, frame: Control, from: Place, now: Instant) {
        match frame {
            Control::Probe { id } => self.answer(Control::ProbeReply { id }, from),
            Control::Challenge { token } => self.answer(Control::ChallengeReply { token }, from),
            Control::SizeProbe { len } => self.answer(Control::SizeReply { len }, from),
            Control::ProbeReply { id } => self.handle_reply(id, from, now),
            Control::ChallengeReply { token } => self.handle_proof(token, now),
            Control::SizeReply { len } => self.mtu.answered(self.ip_len(len), now),
            Control::Leave if self.phase == Phase::Up => {
                self.leave_up(DownCause::PeerLeft);
                self.start_probing(now);
                if self.role == Role::Server {
                    // Nothing is asked there before the peer is heard again.
                    self.place = None;
                }
            }
            Control::Leave | Control::Close | Control::Fresh => {}
        }
    }

    /// The next thing to send, which counts as sent.
    pub fn errand(&mut self, now: Instant) -> Option<Errand> {
        if let Some((frame, to)) = self.answers.pop_front() {
            return Some(Errand { frame, to, pad_to: 0 });
        }
        if let Some(errand) = self.challenge(now) {
            return Some(errand);
        }
        let to = self.place.filter(|_| self.phase != Phase::Closed)?;
        if core::mem::take(&mut self.leaving) {
            return Some(Errand { frame: Control::Leave, to, pad_to: 0 });
        }
        if now >= self.probe_at && self.may_probe() {
            return Some(Errand { frame: self.send_probe(now), to, pad_to: 0 });
        }
        if self.may_measure() {
            let patience = self.patience();
            let size = self.mtu.probe(patience, now)?;
            let len = size.saturating_sub(overhead(to.address));
            return Some(Errand { frame: Control::SizeProbe { len }, to, pad_to: len });
        }
        None
    }

    /// Does what is due besides sending.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase != Phase::Up {
            return;
        }
        if now >= self.dead_at() {
            self.leave_up(DownCause::Timeout);
            self.start_probing(now);
        }
    }

    /// When [`Path::errand`] or [`Path::handle_timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        let challenge = self.candidate.filter(|c| c.tries < CHALLENGES).map(|candidate| candidate.again_at);
        let probe = self.place.filter(|_| self.may_probe()).map(|_| self.probe_at);
        let size = self.place.filter(|_| self.may_measure()).map(|_| self.mtu.deadline());
        let timeout = (self.phase == Phase::Up).then(|| self.dead_at());
        [challenge, probe, size, timeout].into_iter().flatten().min()
    }

    fn start_probing(&mut self, now: Instant) {
        self.phase = Phase::Waiting;
        self.health = Health::Good;
        self.unanswered = 0;
        self.unheard = 0;
        self.probes = [None; PROBES_KEPT];
        self.probe_at = now;
    }

    fn come_up(&mut self, now: Instant) {
        if self.phase != Phase::Up {
            self.phase = Phase::Up;
            self.health = Health::Good;
            self.probe_at = now + BUSY_INTERVAL;
            self.last_heard = now;
        }
    }

    fn leave_up(&mut self, cause: DownCause) {
        if self.phase == Phase::Up {
            self.down_cause = cause;
            self.disconnects = self.disconnects.saturating_add(1);
            self.rtt = RoundTrip::default();
        }
    }

    /// Whether a probe is sent when its time has come: an idle server leaves that to its client.
    fn may_probe(&self) -> bool {
        let is_asking = match self.phase {
            Phase::Closed => false,
            Phase::Waiting => self.probe_at.since(self.last_heard) < ASKING_SPAN,
            Phase::Up => self.unanswered > 0 || self.is_busy(self.probe_at),
        };
        is_asking || self.role == Role::Client
    }

    /// Whether path MTU probes are sent when their time has come: what is found is proved again only while it is used.
    fn may_measure(&self) -> bool {
        let is_wanted = self.mtu.is_under_way() || self.is_busy(self.mtu.deadline());
        self.phase == Phase::Up && self.health != Health::Silent && is_wanted
    }

    fn is_busy(&self, now: Instant) -> bool {
        now.since(self.last_data) < BUSY_SPAN
    }

    /// When the path is dead if nothing is heard: its timeout is over, and enough probes went unanswered. An idle
    /// server's path is asked by its client, and is dead when that missed three times.
    fn dead_at(&self) -> Instant {
        let idle = if self.unheard > SILENT_AFTER { Duration::ZERO } else { IDLE_INTERVAL * 3 };
        self.last_heard + self.settings.timeout.max(idle)
    }

    fn patience(&self) -> Duration {
        let rtt = self.rtt.smoothed().unwrap_or(YOUNG_INTERVAL);
        (rtt + (self.rtt.deviation() * 4).max(rtt >> 2)).max(MIN_PATIENCE)
    }

    fn send_probe(&mut self, now: Instant) -> Control {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        if let Some(probe) = self.probes.get_mut(usize::from(id) % PROBES_KEPT) {
            *probe = Some((id, now));
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.unheard = self.unheard.saturating_add(1);
        if self.phase == Phase::Up && self.is_silent() {
            self.health = Health::Silent;
        }
        let wait = match self.phase {
            Phase::Up if self.health != Health::Silent => self.patience(),
            Phase::Waiting if self.unanswered <= YOUNG_PROBES => YOUNG_INTERVAL,
            _ => PROBING_INTERVAL,
        };
        self.probed_at = now;
        self.probe_at = now + wait;
        Control::Probe { id }
    }

    const fn is_silent(&self) -> bool {
        self.unheard > SILENT_AFTER || self.unanswered > ONE_WAY_AFTER
    }

    fn handle_reply(&mut self, id: u16, from: Place, now: Instant) {
        let Some(probe) = self.probes.get_mut(usize::from(id) % PROBES_KEPT) else { return };
        let Some((_, sent)) = probe.take_if(|(expected, _)| *expected == id) else { return };
        self.rtt.sample(now.since(sent));
        self.unanswered = 0;
        // A client asked this very address; a server asks only addresses that are proved.
        if self.place == Some(from) {
            self.come_up(now);
        }
        self.probe_at = now + if self.is_busy(now) { BUSY_INTERVAL } else { IDLE_INTERVAL };
        self.judge();
    }

    fn challenge(&mut self, now: Instant) -> Option<Errand> {
        let wait = self.patience();
        let candidate = self.candidate.as_mut().filter(|c| c.tries < CHALLENGES && now >= c.again_at)?;
        candidate.tries = candidate.tries.saturating_add(1);
        candidate.asked_at = now;
        candidate.again_at = now + wait;
        Some(Errand { frame: Control::Challenge { token: candidate.token }, to: candidate.place, pad_to: 0 })
    }

    fn handle_proof(&mut self, token: u64, now: Instant) {
        let Some(candidate) = self.candidate.take_if(|candidate| candidate.token == token) else { return };
        self.place = Some(candidate.place);
        if candidate.tries == 1 {
            // Which of several challenges was answered is not known.
            self.rtt.sample(now.since(candidate.asked_at));
        }
        // Another address may mean another path. Mostly it is an address translator that forgot, so the size holds until
        // it is disproved.
        self.mtu.doubt(now);
        self.come_up(now);
    }

    fn answer(&mut self, frame: Control, to: Place) {
        if self.answers.is_full() {
            self.answers.pop_front();
        }
        // There is room now.
        let _ = self.answers.push_back((frame, to));
    }

    fn judge(&mut self) {
        self.health = if self.is_silent() {
            Health::Silent
        } else if self.loss.percent() >= self.settings.loss_tolerance {
            Health::Lossy
        } else if self.rtt.smoothed().is_some_and(|rtt| rtt >= self.settings.latency_tolerance) {
            Health::Slow
        } else {
            Health::Good
        };
    }

    /// The IP packet that carries a UDP payload of `len` bytes on this path.
    fn ip_len(&self, len: u16) -> u16 {
        self.place.map_or(0, |place| len.saturating_add(overhead(place.address)))
    }
}

/// What is read off a path.
impl Path {
    /// Where the path is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How good it is, while it is up.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// What the user set.
    #[must_use]
    pub const fn settings(&self) -> &LinkSettings {
        &self.settings
    }

    /// Where datagrams go.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        self.place
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

    /// Bytes of UDP payload that pass whole in this direction.
    #[must_use]
    pub fn payload_room(&self) -> Option<u16> {
        Some(self.mtu.usable().saturating_sub(overhead(self.place?.address)))
    }

    /// Whether that was measured, and is no guess.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        self.mtu.is_known()
    }

    /// Packets and bytes.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Counts a datagram handed out for sending.
    pub fn count_sent(&mut self, bytes: usize) {
        self.traffic.sent_packets = self.traffic.sent_packets.saturating_add(1);
        self.traffic.sent_bytes = self.traffic.sent_bytes.saturating_add(bytes as u64);
    }

    /// How often the path went down.
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

/// Bytes of IP and UDP headers towards `address`.
const fn overhead(address: SocketAddr) -> u16 {
    match address {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! One link of a protocol-2 session: where its peer is, whether that is proved, whether it lives, and what it carries.
//!
//! A path is *closed* (no socket), *waiting* (probed, but nobody has answered yet) or *up*. It is up once its peer answered a probe
//! or a challenge, so that bulk traffic only ever goes to an address that asked for it (RFC 9000, 8.2). While it is up it
//! is probed often under traffic and seldom when idle; unanswered probes make it silent within a second under traffic.

mod facts;
mod probing;
mod terms;

use core::net::SocketAddr;

use crate::memory::control::Control;
use crate::state::estimate::{LossWindow, RoundTrip};
use crate::state::link::{LinkSettings, Phase, Role, Traffic};
use crate::state::mtu::MtuSearch;
use crate::words::event::{DownCause, Health};
use crate::words::time::{Duration, Instant};

use terms::Accord;

/// A path that carried data lately is probed this often, for its round trip and its life.
const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// What "lately" is.
const BUSY_SPAN: Duration = Duration::from_secs(2);

/// A peer that is heard while it answers nothing is asked this often: answers of the last [`PROBES_KEPT`] count, so they
/// may take four seconds.
const HEARD_INTERVAL: Duration = Duration::from_millis(500);

/// Probes of which a late answer still counts: a queue that grows suddenly makes every answer late.
const PROBES_KEPT: usize = 8;

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

impl Place {
    /// Bytes of IP and UDP headers on the way there.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        overhead(self.address) as usize
    }
}

/// What a path wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The frame.
    pub frame: Control,
    /// Where to.
    pub to: Place,
    /// The UDP payload's length the datagram is to be padded to; 0 for none.
    pub pad_to: u16,
}

/// A reply that waits to be sent.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Probe { id: u16 },
    Challenge { token: u64 },
    Size { len: u16 },
    Terms { number: u8 },
}

impl From<Answer> for Control {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Probe { id } => Self::ProbeReply { id },
            Answer::Challenge { token } => Self::ChallengeReply { token },
            Answer::Size { len } => Self::SizeReply { len },
            Answer::Terms { number } => Self::TermsReply { number },
        }
    }
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
    answers: heapless::Deque<(Answer, Place), ANSWERS>,
    /// The goodbye to say: [`Control::Leave`] or [`Control::Close`].
    leaving: Option<Control>,
    accord: Accord,
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
    /// Random, for a challenge that it may cause: not needed of a packet from where the path is.
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
            leaving: None,
            accord: Accord::new(&settings),
            traffic: Traffic::default(),
            disconnects: 0,
            down_cause: DownCause::Closed,
        }
    }

    /// The path has a socket whose interface carries `interface_mtu` bytes. A client says where its server is.
    pub fn open(&mut self, place: Option<Place>, interface_mtu: u16, now: Instant) {
        self.place = place;
        self.mtu = MtuSearch::new(interface_mtu, now);
        self.mtu.confirm_seldom(self.is_metered());
        self.start_probing(now);
    }

    /// The path's socket is gone.
    pub fn close(&mut self) {
        self.leave_up(DownCause::Closed);
        self.phase = Phase::Closed;
        self.candidate = None;
        self.answers.clear();
    }

    /// The session has no place for the path: it waits, as one whose peer left it.
    pub fn drop_out(&mut self, now: Instant) {
        self.leave_up(DownCause::PeerLeft);
        if self.phase != Phase::Closed {
            self.start_probing(now);
        }
    }

    /// Changes what a user may set.
    pub fn configure(&mut self, settings: LinkSettings) {
        self.settings = settings;
        self.renew_terms();
        self.judge();
    }

    /// Says goodbye on this path with the next frame.
    pub fn leave(&mut self) {
        if self.phase == Phase::Up {
            self.leaving.get_or_insert(Control::Leave);
        }
    }

    /// Says goodbye for the whole session with the next frame.
    pub fn end_session(&mut self) {
        self.leaving = (self.phase == Phase::Up).then_some(Control::Close);
    }

    /// A new session begins: its counters start at 0, and a path that waits for answers asks at once.
    pub fn new_session(&mut self, now: Instant) {
        self.newest = None;
        self.accord.new_session();
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
        self.count(sign.bytes, Some(sign.from));
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

    /// Nothing sent on the path arrives, while it does on others: it is silent until its peer answers a probe.
    pub fn suspect(&mut self, now: Instant) {
        if self.phase == Phase::Up && self.health != Health::Silent {
            self.unheard = self.unheard.max(probing::SILENT_AFTER.saturating_add(1));
            self.unanswered = self.unanswered.max(self.unheard);
            self.health = Health::Silent;
            self.probe_at = now;
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

    /// Takes note of a data packet of `len` bytes of UDP payload that arrived at the peer.
    pub fn note_arrived(&mut self, len: u16, now: Instant) {
        if len > 0 && self.phase == Phase::Up {
            self.mtu.arrived(self.ip_len(len), now);
        }
    }

    /// Acts on a control frame that came from `from`.
    pub fn handle(&mut self, frame: &Control, from: Place, now: Instant) {
        match *frame {
            Control::Probe { id } => self.answer(Answer::Probe { id }, from),
            Control::Challenge { token } => self.answer(Answer::Challenge { token }, from),
            Control::SizeProbe { len } => self.answer(Answer::Size { len }, from),
            Control::ProbeReply { id } => self.handle_reply(id, from, now),
            Control::ChallengeReply { token } => self.handle_proof(token, now),
            Control::SizeReply { len } => self.mtu.answered(self.ip_len(len), now),
            Control::Terms(terms) => self.take_terms(terms, from),
            Control::TermsReply { number } => self.settle_terms(number),
            Control::Leave if self.phase == Phase::Up => {
                self.leave_up(DownCause::PeerLeft);
                self.start_probing(now);
                if self.role == Role::Server {
                    // Nothing is asked there before the peer is heard again.
                    self.place = None;
                }
            }
            Control::Leave | Control::Close | Control::Fresh | Control::Report(_) => {}
        }
    }

    /// The next thing to send, which counts as sent.
    pub fn errand(&mut self, now: Instant) -> Option<Errand> {
        if let Some((answer, to)) = self.answers.pop_front() {
            return Some(Errand { frame: answer.into(), to, pad_to: 0 });
        }
        if let Some(errand) = self.challenge(now) {
            return Some(errand);
        }
        let to = self.place.filter(|_| self.phase != Phase::Closed)?;
        if let Some(frame) = self.leaving.take() {
            return Some(Errand { frame, to, pad_to: 0 });
        }
        if let Some(errand) = self.say_terms(to, now) {
            return Some(errand);
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
        let terms = self.place.and_then(|_| self.terms_at());
        [challenge, probe, size, timeout, terms].into_iter().flatten().min()
    }

    /// The IP packet that carries a UDP payload of `len` bytes on this path.
    fn ip_len(&self, len: u16) -> u16 {
        self.place.map_or(0, |place| len.saturating_add(overhead(place.address)))
    }
}

/// Bytes of IP and UDP headers towards `address`.
const fn overhead(address: SocketAddr) -> u16 {
    match address {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(_) => 48,
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The engine of protocol 2: one peer, over up to `LINKS` links, with a reorder window of `WINDOW` packets.
//!
//! Driven like the classic engine, see [`tunnel`](super). Two things differ. Links are the client's: it numbers them, and
//! a server learns of each by the first packet that opens, so that a [`Transmit`](super::Transmit) and an
//! [`Arrival`](super::Arrival) name the port's *socket* and not a link. And a server's engine does not read initiations: its port has one
//! [`Gateway`](super::gateway::Gateway) for all peers, finds the engine of a claim's public key, and hands the claim to
//! [`Peer::answer`].
//!
//! Here is what a peer consists of and how it is set up; `sessions` has its keys, `client` the questions for them,
//! `transmit` and `receive` the ways out and in, and `time` what is due and what there is to know.

mod client;
pub mod config;
mod data;
pub mod facts;
mod members;
mod policy;
mod receive;
mod reports;
mod sessions;
mod time;
mod transmit;

use core::net::SocketAddr;

use crate::memory::pool::Pool;
use crate::memory::two::{MAC, RESPONSE, receiver_of};
use crate::stages::classify::FlowKey;
use crate::stages::schedule::Scheduler;
use crate::state::arrivals::Arrivals;
use crate::state::departures::Departures;
use crate::state::flight::Flight;
use crate::state::link::{LinkSettings, Role};
use crate::state::overflow::Overflow;
use crate::state::path::{Path, Place};
use crate::state::reach::Reach;
use crate::state::replay::ReplayWindow;
use crate::state::session::Session;
use crate::words::event::Trouble;
use crate::words::ids::{LinkId, SessionIndex};
use crate::words::limits::{MAX_DATAGRAM, MAX_LINKS, REPLAY_WORDS};
use crate::words::policy::SILENT;
use crate::words::rules::Rules;
use crate::words::time::Instant;

use super::bond::Bond;
use super::events::Told;
use super::random::Random;
use client::Asking;
use config::{ClientCredentials, PeerConfig};
use data::Load;
use facts::LinkCounts;
use members::Members;
use policy::CopyCredit;
use reports::Readings;

/// Ordering domains, numbered from 1; 0 is for packets that wait for no other.
const ORDERED: u8 = 7;

/// The same, as the size of an array; and with the unordered.
const DOMAINS: usize = ORDERED as usize;
const NUMBERINGS: usize = DOMAINS + 1;

/// Claims answered whose client has not yet proved that it holds the keys: a replayed initiation takes one place, and
/// must not take the place of the client's own.
/// The first place is for claims from where the peer is proved to be; who replays several recordings from elsewhere only
/// has the others. Who replays them from the client's address cannot show a cookie, without which no claim takes
/// another's place.
const UNPROVED: usize = 3;

/// A claim that was answered.
#[derive(Debug)]
struct Unproved<const LINKS: usize> {
    session: Session<LINKS>,
    /// Of the initiation that was answered.
    mac1: [u8; MAC],
    /// The answer, for when the same initiation comes again.
    response: [u8; RESPONSE],
}

#[derive(Debug)]
struct Member {
    path: Path,
    departures: Departures,
    arrivals: Arrivals,
    copies: CopyCredit,
    readings: Readings,
    counts: LinkCounts,
    /// It was silent when last looked at.
    is_failed: bool,
    blocked: bool,
    /// Bulk does not take it yet: see [`Reach`].
    is_far: bool,
    told: Told,
}

impl Member {
    fn new(role: Role, settings: LinkSettings) -> Self {
        Self {
            departures: Departures::new(settings.rate_bytes_per_sec),
            path: Path::new(role, settings),
            arrivals: Arrivals::default(),
            copies: CopyCredit::default(),
            readings: Readings::default(),
            counts: LinkCounts::default(),
            is_failed: false,
            blocked: false,
            is_far: false,
            told: Told::default(),
        }
    }
}

/// How often packets were sent again, and how often that was not worth it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets sent again.
    pub resent: u64,
    /// Lost packets that were not sent again: too old, or too many.
    pub unrepaired: u64,
    /// Packets of which nothing was known yet when the pool had no room for them any more.
    pub forgotten: u64,
    /// Packets sent over a second link, too.
    pub copied: u64,
    /// Reports that were not read, for they came too often.
    pub unread: u64,
}

/// One peer's engine. See the module's description.
#[derive(Debug)]
pub struct Peer<const LINKS: usize, const WINDOW: usize> {
    config: PeerConfig,
    /// Half of every session index, by which a port finds this engine.
    number: u16,
    generation: u8,
    asking: Option<Asking>,
    random: Random,
    current: Option<Session<LINKS>>,
    /// The session before, and when its keys are wiped.
    previous: Option<(Session<LINKS>, Instant)>,
    unproved: [Option<Unproved<LINKS>>; UNPROVED],
    /// Which place of `unproved` the last claim from elsewhere took.
    next_unproved: usize,
    /// The peer has not yet answered: its reorder buffer may hold what another start of this end sent.
    is_fresh: bool,
    /// The session in which the peer said that it is fresh.
    fresh_session: Option<SessionIndex>,
    members: Members<LINKS>,
    bond: Bond<WINDOW, DOMAINS>,
    /// What is done with classes of packets.
    rules: Rules,
    /// What was sent and may have to be sent again.
    flight: Flight<LINKS, WINDOW>,
    /// The next order number of each domain.
    orders: [u64; NUMBERINGS],
    /// Bytes that may be sent again.
    resend_credit: u64,
    counts: Counts,
    /// Which tiers carry data.
    overflow: Overflow,
    reach: Reach,
    /// Shares of links by their weights.
    shares: Scheduler,
    /// A copy that is to be sent next.
    copy: Option<Load>,
    /// When a link has room for what waits, while all that waits is for links without.
    pinned_until: Option<Instant>,
    /// Bytes of data sent over all links.
    sent_bytes: u64,
    report_turn: usize,
    /// When [`Peer::poll_transmit`] was called last.
    polled_at: Instant,
    /// When to look for links that failed.
    check_at: Instant,
    /// The highest order number each link brought, by domain.
    tops: [[u64; LINKS]; NUMBERINGS],
    /// Which unordered packets arrived.
    unordered: ReplayWindow<REPLAY_WORDS>,
    /// Since when no link carries anything.
    lost_since: Option<Instant>,
    /// The peer ended the session, which was not told yet.
    has_ended: bool,
    told_up: bool,
    told_session: Option<SessionIndex>,
    told_mtu: u16,
    trouble: Option<Trouble>,
}

/// Setting up.
impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// A client's engine. `number` is the port's for this engine, `seed` from the system's random source.
    #[must_use]
    pub fn client(config: PeerConfig, credentials: ClientCredentials, number: u16, seed: [u8; 32]) -> Self {
        Self::new(config, Some(Asking::new(credentials)), number, seed)
    }

    /// A server's engine for one client.
    #[must_use]
    pub fn server(config: PeerConfig, number: u16, seed: [u8; 32]) -> Self {
        Self::new(config, None, number, seed)
    }

    fn new(config: PeerConfig, asking: Option<Asking>, number: u16, seed: [u8; 32]) -> Self {
        const { assert!(LINKS >= 1 && LINKS <= MAX_LINKS) };
        let mut random = Random::new(seed);
        let [generation] = random.array();
        Self {
            bond: Bond::new(config.medium, config.max_mtu, config.reorder, FlowKey::new(random.array())),
            told_mtu: config.max_mtu,
            config,
            number,
            generation,
            asking,
            random,
            current: None,
            previous: None,
            unproved: [const { None }; UNPROVED],
            next_unproved: 0,
            is_fresh: true,
            fresh_session: None,
            members: Members::new(),
            rules: Rules::default(),
            flight: Flight::new(),
            orders: [0; NUMBERINGS],
            resend_credit: 0,
            counts: Counts::default(),
            overflow: Overflow::default(),
            reach: Reach::default(),
            shares: Scheduler::new(),
            copy: None,
            pinned_until: None,
            sent_bytes: 0,
            report_turn: 0,
            polled_at: Instant::ORIGIN,
            check_at: Instant::ORIGIN,
            tops: [[0; LINKS]; NUMBERINGS],
            unordered: ReplayWindow::new(),
            lost_since: None,
            has_ended: false,
            told_up: false,
            told_session: None,
            trouble: None,
        }
    }

    /// The number of the engine to which a session index belongs.
    #[must_use]
    pub const fn number_of(index: SessionIndex) -> u16 {
        ((index.value() >> 8) & 0xffff) as u16
    }

    /// The number of the engine a message is for; None when it names none.
    #[must_use]
    pub fn number_in(datagram: &[u8]) -> Option<u16> {
        receiver_of(datagram).map(Self::number_of)
    }

    /// This engine's number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Adds a client's link, closed, or changes the settings of the one at this place. False when there is none such.
    pub fn set_link(&mut self, id: LinkId, settings: LinkSettings) -> bool {
        let role = self.role();
        if let Some(member) = self.member_mut(id) {
            member.path.configure(settings);
            member.departures.set_ceiling(settings.rate_bytes_per_sec);
            return true;
        }
        self.members.insert(id.index(), Member::new(role, settings)).is_some()
    }

    /// A client's link has a socket, of the same number, and its server is at `server`. `interface_mtu` is what the
    /// socket's interface carries, in bytes.
    pub fn open_link(&mut self, id: LinkId, server: SocketAddr, interface_mtu: u16, now: Instant) {
        let Ok(socket) = u8::try_from(id.index()) else { return };
        if let Some(member) = self.member_mut(id) {
            member.blocked = false;
            member.path.open(Some(Place { socket, address: server }), ceiling(interface_mtu), now);
        }
        if let Some(asking) = self.asking.as_mut().filter(|_| self.current.is_none()) {
            asking.begin(now);
        }
    }

    /// The link's socket is gone.
    pub fn close_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.path.close();
        }
    }

    /// Forgets a link. Close it and drain the events first.
    pub fn remove_link(&mut self, id: LinkId) {
        self.members.remove(id.index());
    }

    /// Has the link leave the session with the next datagram.
    pub fn leave_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.path.leave();
        }
    }

    /// Ends the session: the next datagrams say so on every link that is up, one of which is enough. The engine is to be
    /// dropped once it has nothing more to send.
    pub fn close(&mut self) {
        for member in self.members.iter_mut().flatten() {
            member.path.end_session();
        }
    }

    /// Tells whether a socket takes datagrams; while it does not, its links are passed over.
    pub fn set_blocked(&mut self, socket: u8, blocked: bool) {
        for member in self.members.iter_mut().flatten() {
            if member.path.place().is_some_and(|place| place.socket == socket) {
                member.blocked = blocked;
            }
        }
    }

    /// Gives back every packet the tunnel holds, before it is dropped.
    pub fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.bond.clear(pool);
        self.flight.clear(pool);
        if let Some(load) = self.copy.take() {
            pool.put(load.slot);
        }
    }

    const fn role(&self) -> Role {
        if self.asking.is_some() { Role::Client } else { Role::Server }
    }

    fn member_mut(&mut self, id: LinkId) -> Option<&mut Member> {
        self.members.get_mut(id.index())?.as_mut()
    }
}

/// In which order a link carries data, the lowest first; none when it must not.
fn tier(member: &Member) -> Option<u8> {
    member.path.rank()
}

/// The largest IP packet probed for: what the interface carries, and a buffer holds.
fn ceiling(interface_mtu: u16) -> u16 {
    const OUTER: usize = 28;
    interface_mtu.min(u16::try_from(MAX_DATAGRAM + OUTER).unwrap_or(u16::MAX)).min(ETHERNET_MTU)
}

/// What Ethernet carries: larger paths between a router and a server on the internet do not exist.
const ETHERNET_MTU: u16 = 1500;

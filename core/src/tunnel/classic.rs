// SPDX-License-Identifier: BSD-2-Clause
//! The engine of the classic protocol, MLVPN 2.3's.

use core::net::SocketAddr;

use crate::memory::classic::{AUTH_BODY, AUTH_OK_BODY, Kind};
use crate::memory::pool::{Pool, Slot};
use crate::stages::allow::is_allowed;
use crate::stages::classify::FlowKey;
use crate::stages::ingress::{CodelLaw, Next, Popped};
use crate::stages::open::{Opened, Opener};
use crate::stages::reorder;
use crate::stages::schedule::{Candidate, Scheduler};
use crate::stages::seal::{Sealer, Ticket};
use crate::state::flows::Flow;
use crate::state::link::{Heard, Link, LinkSettings, Phase};
use crate::words::class::Class;
use crate::words::drops::{DropReason, Drops};
use crate::words::ecn::Ecn;
use crate::words::event::Event;
use crate::words::ids::{Epoch, LinkId, Order};
use crate::words::limits::{EGRESS_SLOTS, MAX_LINKS};
use crate::words::network::{MAX_ALLOWED, Network};
use crate::words::time::{Duration, Instant};

use super::bond::{Bond, Entry};
use super::config::Config;
use super::events::Told;
use super::random::Random;
use super::{Arrival, Cause, Deadline, Transmit};

/// The hold time before any link's round trip is known.
const HOLD_UNKNOWN: Duration = Duration::from_millis(100);

/// Added to the spread of the links' round-trip times: MLVPN's timestamps count whole milliseconds, and its timers
/// wake late.
const HOLD_SLACK: Duration = Duration::from_millis(10);

/// Why no link takes the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Every usable link's socket is full.
    Blocked,
    /// No link is up.
    NoLink,
}

/// A link of the tunnel and what the port was told of it.
#[derive(Debug)]
struct Member {
    link: Link,
    /// The link's socket takes nothing at the moment.
    blocked: bool,
    told: Told,
}

/// The engine. See the module's description.
#[derive(Debug)]
pub struct Tunnel<const LINKS: usize, const WINDOW: usize> {
    config: Config,
    /// The inner source addresses the peer may use; any when empty.
    allowed: heapless::Vec<Network, MAX_ALLOWED>,
    sealer: Sealer,
    opener: Opener,
    epoch: Epoch,
    random: Random,
    members: [Option<Member>; LINKS],
    /// Every member lies below this place, so that rounds over the members need not look further.
    span: usize,
    bond: Bond<WINDOW, 1>,
    scheduler: Scheduler,
    next_order: u64,
    told_up: bool,
}

/// Setting up.
impl<const LINKS: usize, const WINDOW: usize> Tunnel<LINKS, WINDOW> {
    /// A tunnel without links. `seed` must come from the system's random source, anew for every start: the classic
    /// protocol's nonces are drawn from it.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        const { assert!(LINKS >= 1 && LINKS <= MAX_LINKS) };
        let epoch = Epoch::default();
        let mut random = Random::new(seed);
        let key = FlowKey::new(random.array());
        Self {
            sealer: Sealer::new(config.key.clone(), config.cleartext_data, epoch),
            opener: Opener::new(config.key.clone(), config.cleartext_data, epoch),
            bond: Bond::new(config.medium, config.mtu, config.reorder, key),
            config,
            allowed: heapless::Vec::new(),
            epoch,
            random,
            members: [const { None }; LINKS],
            span: 0,
            scheduler: Scheduler::new(),
            next_order: 0,
            told_up: false,
        }
    }

    /// Changes the key, the MTU and the treatment of data while the tunnel runs. Links stay as they are; what was
    /// opened or ticketed under the old key is refused.
    pub fn configure(&mut self, config: Config) {
        self.epoch = self.epoch.next();
        self.sealer = Sealer::new(config.key.clone(), config.cleartext_data, self.epoch);
        self.opener = Opener::new(config.key.clone(), config.cleartext_data, self.epoch);
        self.bond.mtu = config.mtu;
        self.bond.reordering = config.reorder;
        self.config = Config { role: self.config.role, medium: self.config.medium, ..config };
    }

    /// Has the peer send from these networks only, where it is one of several: at most [`MAX_ALLOWED`].
    pub fn allow(&mut self, networks: &[Network]) {
        self.allowed = networks.iter().copied().take(MAX_ALLOWED).collect();
    }

    /// Changes the largest inner IP packet, in bytes.
    pub const fn set_mtu(&mut self, mtu: u16) {
        self.bond.mtu = mtu;
    }

    /// Adds a link, closed, or changes the settings of the one at this place. False when there is no such place.
    pub fn set_link(&mut self, id: LinkId, settings: LinkSettings, now: Instant) -> bool {
        let Some(place) = self.members.get_mut(id.index()) else { return false };
        match place {
            Some(member) => member.link.configure(settings, now),
            None => {
                let link = Link::new(self.config.role, settings, self.random.flow());
                *place = Some(Member { link, blocked: false, told: Told::default() });
                self.span = self.span.max(id.index().saturating_add(1));
            }
        }
        true
    }

    /// The link has a socket. A client passes its server's address.
    pub fn open_link(&mut self, id: LinkId, remote: Option<SocketAddr>, now: Instant) {
        if let Some(member) = self.member_mut(id) {
            member.blocked = false;
            member.link.open(remote, now);
        }
    }

    /// The link's socket is gone.
    pub fn close_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.link.close();
        }
    }

    /// Forgets a link. Close it and drain the events first, or its going down is not told.
    pub fn remove_link(&mut self, id: LinkId) {
        if let Some(place) = self.members.get_mut(id.index()) {
            *place = None;
        }
        self.span = self.members.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
    }

    /// Gives back every packet the tunnel holds, before it is dropped.
    pub fn clear<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) {
        self.bond.clear(pool);
    }

    /// Has the link say goodbye to its peer with the next datagram.
    pub fn disconnect_link(&mut self, id: LinkId) {
        if let Some(member) = self.member_mut(id) {
            member.link.disconnect();
        }
    }

    /// Tells whether the link's socket takes datagrams; while it does not, the link is passed over.
    pub fn set_blocked(&mut self, id: LinkId, blocked: bool) {
        if let Some(member) = self.member_mut(id) {
            member.blocked = blocked;
        }
    }
}

/// From the device to the links.
impl<const LINKS: usize, const WINDOW: usize> Tunnel<LINKS, WINDOW> {
    /// Whether [`Tunnel::send`] takes a packet now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        // What waits beyond waits in the device's queue.
        self.bond.waiting() < EGRESS_SLOTS && self.bond.has_room()
    }

    /// Takes a packet from the device. One that is too big comes back as an answer to its sender; see
    /// [`Tunnel::poll_deliver`].
    pub fn send<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, now: Instant) {
        self.send_over(pool, slot, &[], now);
    }

    /// As [`Tunnel::send`], a packet that filters chose these links for: it takes the first that is up. Whichever link it
    /// takes then, its peer does not hold it to restore order.
    pub fn send_over<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        links: &[LinkId],
        now: Instant,
    ) {
        let is_up = self.is_up();
        let is_link_up = |id: &LinkId| self.link(*id).is_some_and(|link| link.phase() == Phase::Up);
        let link = links.iter().copied().find(is_link_up);
        self.bond.send(pool, slot, Entry { is_up, rules: None, link }, now);
    }

    /// Seals the next datagram into `out`, which should hold
    /// [`MAX_DATAGRAM`](crate::words::limits::MAX_DATAGRAM) bytes. None when there is nothing to send, or no link to
    /// send it on.
    pub fn poll_transmit<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if let Some(transmit) = self.transmit_frame(now, out) {
            return Some(transmit);
        }
        while let Some(link) = self.choose(pool) {
            let law = self.law();
            let Some(Popped { slot, class, .. }) = self.bond.pop(pool, &law, now) else { continue };
            let order = class.ordered.then_some(Order(self.next_order));
            self.next_order = self.next_order.saturating_add(u64::from(class.ordered));
            let sent = self.ticket(link, Kind::Data, order, now).ok_or(DropReason::NoLink).and_then(|ticket| {
                let packet = pool.packet(&slot).ok_or(DropReason::Malformed)?;
                self.seal(ticket, packet.as_bytes(), out)
            });
            match sent {
                Ok(transmit) => {
                    pool.put(slot);
                    return Some(transmit);
                }
                Err(reason) => self.bond.drop_slot(pool, slot, reason),
            }
        }
        None
    }

    /// The link of the next packet; none when nothing waits or no link takes it. Without any link what waits is dropped.
    fn choose<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>) -> Option<LinkId> {
        for _ in 0..=self.bond.bulk_groups() {
            let Next { class, is_thin } = self.bond.peek()?;
            let candidates = match self.filtered(&class) {
                Some(candidate) => Ok(heapless::Vec::from_iter([candidate])),
                None if !is_thin && self.waits_for_link(&class) => {
                    self.bond.pass_over();
                    continue;
                }
                None => self.candidates(),
            };
            return match candidates {
                Ok(candidates) => self.scheduler.choose(&candidates, class.len.into()).map(LinkId::new),
                Err(Refusal::Blocked) => None,
                Err(Refusal::NoLink) => {
                    self.bond.drop_waiting(pool, DropReason::NoLink);
                    None
                }
            };
        }
        None
    }

    /// The link a filter chose, while it is up and takes something.
    fn filtered(&self, class: &Class) -> Option<Candidate> {
        let id = class.link?;
        let member = self.members.get(id.index())?.as_ref()?;
        let rate_bytes_per_sec = member.link.settings().rate_bytes_per_sec;
        let is_usable = !member.blocked && member.link.phase() == Phase::Up;
        is_usable.then_some(Candidate { index: id.index(), rate_bytes_per_sec })
    }

    /// Whether the link a filter chose is up, and only its socket is full. Bulk waits for that; a thin packet had better
    /// take another link than stand in everybody's way.
    fn waits_for_link(&self, class: &Class) -> bool {
        let member = class.link.and_then(|id| self.members.get(id.index())?.as_ref());
        member.is_some_and(|member| member.blocked && member.link.phase() == Phase::Up)
    }

    /// The next of the links' own datagrams.
    fn transmit_frame(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        for index in 0..self.span {
            let id = LinkId::new(index);
            let Some(member) = self.member_mut(id).filter(|member| !member.blocked) else { continue };
            let Some(kind) = member.link.take_frame() else { continue };
            let body: &[u8] = match kind {
                Kind::Auth => AUTH_BODY,
                Kind::AuthOk => AUTH_OK_BODY,
                Kind::KeepAlive | Kind::Data | Kind::Disconnect => &[],
            };
            let Some(ticket) = self.ticket(id, kind, None, now) else { continue };
            match self.seal(ticket, body, out) {
                Ok(transmit) => return Some(transmit),
                Err(reason) => self.bond.drops.count(reason),
            }
        }
        None
    }

    fn ticket(&mut self, id: LinkId, kind: Kind, order: Option<Order>, now: Instant) -> Option<Ticket> {
        let epoch = self.epoch;
        let member = self.members.get_mut(id.index())?.as_mut()?;
        let to = member.link.remote()?;
        let Some(header) = member.link.stamp(kind, order, now) else {
            member.link.renew_flow(self.random.flow());
            return None;
        };
        Some(Ticket { header, epoch, link: id, to })
    }

    fn seal(&mut self, ticket: Ticket, body: &[u8], out: &mut [u8]) -> Result<Transmit, DropReason> {
        let (link, to) = (ticket.link(), ticket.to());
        let len = self.sealer.seal(ticket, body, out)?;
        if let Some(member) = self.member_mut(link) {
            member.link.count_sent(len);
        }
        Ok(Transmit { link, to, len, ecn: Ecn::NotEct })
    }

    /// The links that may carry the next packet.
    fn candidates(&self) -> Result<heapless::Vec<Candidate, LINKS>, Refusal> {
        let best = self.present().filter_map(|member| tier(&member.link)).min().ok_or(Refusal::NoLink)?;
        let mut candidates = heapless::Vec::new();
        for (index, member) in self.members.iter().take(self.span).enumerate() {
            let Some(member) = member.as_ref().filter(|member| tier(&member.link) == Some(best) && !member.blocked)
            else {
                continue;
            };
            let rate_bytes_per_sec = member.link.settings().rate_bytes_per_sec;
            // As many places as links: it cannot be full.
            let _ = candidates.push(Candidate { index, rate_bytes_per_sec });
        }
        if candidates.is_empty() { Err(Refusal::Blocked) } else { Ok(candidates) }
    }
}

/// From the links to the device.
impl<const LINKS: usize, const WINDOW: usize> Tunnel<LINKS, WINDOW> {
    /// Takes a datagram that arrived on a link's socket.
    pub fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        let Some(packet) = pool.packet_mut(&slot) else {
            return self.bond.drop_slot(pool, slot, DropReason::Malformed);
        };
        match self.opener.open(packet) {
            Ok(opened) => self.accept(pool, opened, slot, arrival),
            Err(reason) => self.bond.drop_slot(pool, slot, reason),
        }
    }

    /// Takes a packet that [`Tunnel::opener`]'s copy opened, on this core or another: `receive` is opening and this.
    pub fn accept<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, opened: Opened, slot: Slot, arrival: Arrival) {
        if let Err((slot, reason)) = self.take_in(pool, opened, slot, arrival) {
            self.bond.drop_slot(pool, slot, reason);
        }
    }

    /// Opens datagrams; may be copied to another core. Copies refuse nothing after [`Tunnel::configure`], but what they
    /// open is refused by [`Tunnel::accept`].
    #[must_use]
    pub const fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The next packet for the device, in order. Write it and put the slot back into the pool.
    pub fn poll_deliver(&mut self) -> Option<Slot> {
        self.bond.reorder.poll()
    }

    fn take_in<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        opened: Opened,
        slot: Slot,
        arrival: Arrival,
    ) -> Result<(), (Slot, DropReason)> {
        if opened.epoch != self.epoch {
            return Err((slot, DropReason::StaleKey));
        }
        let header = *opened.header();
        let Some(member) = self.member_mut(arrival.link) else { return Err((slot, DropReason::LinkNotUp)) };
        let heard = Heard { header: &header, bytes: opened.datagram_len, from: arrival.from, at: arrival.at };
        let flow = if opened.is_authentic() {
            member.link.hear(heard)
        } else {
            member.link.overhear(heard).map(|()| Flow::Same)
        };
        let flow = match flow {
            Ok(flow) => flow,
            Err(reason) => return Err((slot, reason)),
        };
        let phase = member.link.phase();
        if header.kind != Kind::Data {
            member.link.handle_frame(header.kind, arrival.at);
        }
        if flow == Flow::Another {
            self.bond.reorder.restart();
        }
        match header.kind {
            Kind::Data if phase != Phase::Up => Err((slot, DropReason::LinkNotUp)),
            Kind::Data => {
                let inner = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
                if !is_allowed(inner, self.config.medium, &self.allowed) {
                    return Err((slot, DropReason::NotAllowed));
                }
                // Without a buffer numbers are not looked at: nothing protects them, and no packet is sent twice.
                let order = (header.ordered && self.bond.reordering).then_some((0, header.order));
                let wait = reorder::Wait { at: arrival.at, patience: self.hold() };
                self.bond.deliver(pool, order, slot, wait)
            }
            Kind::Auth | Kind::AuthOk | Kind::KeepAlive | Kind::Disconnect => {
                pool.put(slot);
                Ok(())
            }
        }
    }
}

/// Time and what there is to know.
impl<const LINKS: usize, const WINDOW: usize> Tunnel<LINKS, WINDOW> {
    /// When [`Tunnel::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let links = self.members.iter().take(self.span).enumerate().filter_map(|(index, member)| {
            let (at, timer) = member.as_ref()?.link.deadline()?;
            Some(Deadline { at, cause: Cause::Link(LinkId::new(index), timer) })
        });
        let reorder = self.bond.reorder.deadline().map(|at| Deadline { at, cause: Cause::Reorder });
        links.chain(reorder).min_by_key(|deadline| deadline.at)
    }

    /// Does what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for member in self.members.iter_mut().take(self.span).flatten() {
            member.link.handle_timeout(now);
        }
        self.bond.reorder.handle_timeout(now);
    }

    /// What happened, until None: differences between what was told last and what is.
    pub fn poll_event(&mut self) -> Option<Event> {
        for (index, member) in self.members.iter_mut().take(self.span).enumerate() {
            if let Some(event) = member.as_mut().and_then(|m| m.told.update(LinkId::new(index), (&m.link).into())) {
                return Some(event);
            }
        }
        let up = self.is_up();
        if core::mem::replace(&mut self.told_up, up) == up {
            return None;
        }
        Some(if up { Event::TunnelUp } else { Event::TunnelDown })
    }

    /// Whether any link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.present().any(|member| member.link.phase() == Phase::Up)
    }

    /// A link's state and measurements.
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        Some(&self.members.get(id.index())?.as_ref()?.link)
    }

    /// Every drop, by reason.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.bond.drops
    }

    /// Packets that wait for a link.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.bond.waiting()
    }

    /// Packets held for a missing one.
    #[must_use]
    pub const fn reordering(&self) -> usize {
        self.bond.reorder.held()
    }

    /// The largest inner IP packet, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.bond.mtu
    }

    /// How long packets may wait for a link.
    fn law(&self) -> CodelLaw {
        let slowest = self.present().filter_map(|member| member.link.rtt().smoothed()).max();
        CodelLaw::for_round_trip(slowest.unwrap_or_default())
    }

    /// How long a packet may be held for a missing one: the slowest link may be that much behind the fastest.
    fn hold(&self) -> Duration {
        let (mut fastest, mut slowest) = (None::<Duration>, Duration::ZERO);
        for member in self.present().filter(|member| member.link.phase() == Phase::Up) {
            let rtt = member.link.rtt();
            let Some(smoothed) = rtt.smoothed() else { return HOLD_UNKNOWN };
            fastest = Some(fastest.map_or(smoothed, |fastest| fastest.min(smoothed)));
            slowest = slowest.max(smoothed + rtt.deviation() * 4);
        }
        (slowest.saturating_sub(fastest.unwrap_or_default()) + HOLD_SLACK).min(reorder::HOLD_LIMIT)
    }

    fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().take(self.span).flatten()
    }

    fn member_mut(&mut self, id: LinkId) -> Option<&mut Member> {
        self.members.get_mut(id.index())?.as_mut()
    }
}

/// In which order links that are up are used; a tier only when those before it are empty. None when not up.
fn tier(link: &Link) -> Option<u8> {
    (link.phase() == Phase::Up).then(|| link.health().tier(link.settings().fallback_only))
}

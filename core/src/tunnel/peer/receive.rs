// SPDX-License-Identifier: BSD-2-Clause
//! From the links to the device.

use crate::memory::control::{self, Control};
use crate::memory::packet::Packet;
use crate::memory::pool::{Pool, Slot};
use crate::memory::two::{DATA_OVERHEAD, DataHeader, MessageKind};
use crate::stages::allow::is_allowed;
use crate::stages::reorder::Wait;
use crate::state::arrivals::Arrived;
use crate::state::estimate::apart;
use crate::state::handshake::HandshakeError;
use crate::state::link::{LinkSettings, Phase, Role};
use crate::state::path::{Path, Place, Sign};
use crate::state::replay::Seen;
use crate::state::session::{Session, widen};
use crate::tunnel::Arrival;
use crate::words::drops::DropReason;
use crate::words::event::Trouble;
use crate::words::ids::{LinkId, Medium, Order, SessionIndex};
use crate::words::limits::{ETHERNET_HEADER, MIN_MTU, VLAN_TAG};
use crate::words::time::{Duration, Instant};

use super::{Member, NUMBERINGS, Peer, UNPROVED, ceiling};

/// Added to the links' spread: timers wake late.
const HOLD_SLACK: Duration = Duration::from_millis(5);

/// Added to five quarters of a round trip, in which a packet found missing is asked for and comes (simulated).
const REPAIR_SLACK: Duration = Duration::from_millis(8);

/// The round trip while none is known.
const HOLD_UNKNOWN: Duration = Duration::from_millis(100);

/// A link that brought nothing for this long is not in use, and not asked whether it overtook anything. Long, because a
/// link that comes into use again says nothing for as long as its first packet takes.
const LIVE_SPAN: Duration = Duration::from_secs(5);

/// Where order numbers are widened to before any was seen: far from 0, so that the first packets may be late ones.
const FIRST_ORDER: u64 = 1 << 32;

impl<const LINKS: usize, const WINDOW: usize> Peer<LINKS, WINDOW> {
    /// Takes a datagram that arrived on a socket and names one of this engine's sessions, or answers its handshake.
    pub fn receive<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
        self.make_room(pool);
        if let Err((slot, reason)) = self.take_in(pool, slot, arrival) {
            self.bond.drop_slot(pool, slot, reason);
        }
    }

    /// The next packet for the device, in order.
    pub fn poll_deliver(&mut self) -> Option<Slot> {
        self.bond.reorder.poll()
    }

    fn take_in<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        arrival: Arrival,
    ) -> Result<(), (Slot, DropReason)> {
        let Some(packet) = pool.packet(&slot) else { return Err((slot, DropReason::Malformed)) };
        match packet.as_bytes().first().copied().and_then(MessageKind::of) {
            None => Err((slot, DropReason::Unknown)),
            Some(MessageKind::Data) => {
                let place = match self.open(pool, &slot, arrival) {
                    Ok(Some(place)) => place,
                    Ok(None) => {
                        pool.put(slot);
                        return Ok(());
                    }
                    Err(reason) => return Err((slot, reason)),
                };
                let inner = pool.packet(&slot).map_or(&[][..], |packet| packet.as_bytes());
                if !is_allowed(inner, self.config.medium, &self.config.allowed) {
                    return Err((slot, DropReason::NotAllowed));
                }
                if let Err(reason) = self.bond.follow_ecn(pool, &slot, arrival.ecn) {
                    return Err((slot, reason));
                }
                let link = place.link;
                let delivered = self.deliver(pool, slot, place, arrival.at);
                if matches!(delivered, Err((_, DropReason::Duplicate)))
                    && let Some(member) = self.member_mut(link)
                {
                    member.counts.duplicates = member.counts.duplicates.saturating_add(1);
                }
                delivered
            }
            Some(kind) => {
                let outcome = self.handshake_message(kind, packet.as_bytes(), arrival.at);
                match outcome {
                    Ok(()) => {
                        pool.put(slot);
                        Ok(())
                    }
                    Err(error) => {
                        self.trouble = trouble(error).or(self.trouble);
                        Err((slot, DropReason::Handshake))
                    }
                }
            }
        }
    }

    /// Opens a data packet and acts on its control frames. None when it carried nothing else; else the place of the inner
    /// packet, which the slot holds then.
    fn open<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: &Slot,
        arrival: Arrival,
    ) -> Result<Option<InOrder>, DropReason> {
        let packet = pool.packet_mut(slot).ok_or(DropReason::Malformed)?;
        let bytes = packet.len();
        let header = DataHeader::parse(packet.as_bytes()).map_err(|_| DropReason::Malformed)?;
        let counter = self.open_under(&header, packet, arrival.at)?;
        if usize::from(header.link) >= self.max_links() {
            return Err(DropReason::TooManyLinks);
        }
        let id = LinkId::new(header.link.into());
        let from = Place { socket: u8::try_from(arrival.link.index()).unwrap_or(u8::MAX), address: arrival.from };
        // A hash, which costs as much as opening a small packet, is drawn only where a challenge may follow.
        let is_known = self.link(id).is_some_and(|path| path.place() == Some(from));
        let token = if is_known { 0 } else { self.random.token() };
        let is_current = self.current.as_ref().is_some_and(|session| session.own_index() == header.receiver);
        let member = self.member_or_join(id, arrival.at).ok_or(DropReason::LinkNotUp)?;
        member.path.hear(Sign { counter, bytes, from, token, at: arrival.at, is_current });
        let context = Context { id, session: header.receiver, from, sent_at: header.send_time, at: arrival.at };
        let is_data = if header.flags.control {
            self.open_control(pool, slot, bytes, context)?
        } else {
            !pool.packet(slot).is_none_or(Packet::is_empty)
        };
        if !header.flags.control && !is_data {
            return Err(DropReason::Malformed);
        }
        if is_current {
            let bytes = u16::try_from(bytes.saturating_add(from.overhead())).unwrap_or(u16::MAX);
            self.note_arrival(
                id,
                Arrived {
                    session: header.receiver,
                    counter,
                    send_time: header.send_time,
                    bytes,
                    is_data,
                    at: arrival.at,
                },
            );
        }
        if !is_data {
            return Ok(None);
        }
        if let Some(session) = &mut self.current {
            session.note_use(arrival.at);
        }
        if let Some(member) = self.member_mut(id) {
            member.path.note_data(arrival.at);
        }
        let near = match header.domain.checked_sub(1) {
            None => self.unordered.highest().unwrap_or(FIRST_ORDER),
            Some(domain) => self.bond.reorder.expected(domain.into()).unwrap_or(FIRST_ORDER),
        };
        let order = Order(widen(header.order_low.into(), 24, near));
        Ok(Some(InOrder { link: id, domain: header.domain, order }))
    }

    /// Acts on the control frames at the front of a packet that came as `bytes` of datagram. Whether an inner packet is
    /// behind them, which the slot holds then.
    fn open_control<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: &Slot,
        bytes: usize,
        context: Context,
    ) -> Result<bool, DropReason> {
        let packet = pool.packet_mut(slot).ok_or(DropReason::Malformed)?;
        let (frames, rest) = control::parse(packet.as_bytes()).map_err(|_| DropReason::Malformed)?;
        let used = packet.len().saturating_sub(rest.len());
        let is_padding = frames.iter().any(|frame| matches!(frame, Control::SizeProbe { .. }));
        let claimed =
            frames.iter().all(|frame| !matches!(frame, Control::SizeProbe { len } if usize::from(*len) != bytes));
        if !claimed || !packet.trim_front(used) {
            return Err(DropReason::Malformed);
        }
        let is_data = !is_padding && !packet.is_empty();
        for frame in &frames {
            self.handle_frame(pool, frame, context);
        }
        Ok(is_data)
    }

    fn note_arrival(&mut self, id: LinkId, arrived: Arrived) {
        let Some(window) = self.current.as_ref().and_then(|session| session.window(id)) else { return };
        if let Some(member) = self.members.get_mut(id.index()).and_then(Option::as_mut) {
            member.arrivals.take_in(arrived, window);
        }
    }

    /// Puts an inner packet in its place.
    fn deliver<const SLOTS: usize>(
        &mut self,
        pool: &mut Pool<SLOTS>,
        slot: Slot,
        place: InOrder,
        now: Instant,
    ) -> Result<(), (Slot, DropReason)> {
        let InOrder { link, domain, order } = place;
        let wait = Wait { at: now, patience: self.patience(link) };
        let Some(ordered) = domain.checked_sub(1).map(usize::from) else {
            let Order(number) = order;
            if self.unordered.check(number) != Seen::Never {
                return Err((slot, DropReason::Duplicate));
            }
            self.unordered.mark(number);
            return self.bond.deliver(pool, None, slot, wait);
        };
        let delivered = self.bond.deliver(pool, Some((ordered, order)), slot, wait);
        let Order(number) = order;
        if let Some(top) = self.tops.get_mut(usize::from(domain)).and_then(|tops| tops.get_mut(link.index())) {
            *top = number.max(*top);
        }
        if self.bond.reorder.is_holding(ordered) {
            let repaired = now + self.repair_time();
            if let Some(overtaken) = self.overtaken(domain, now) {
                self.bond.reorder.prove_lost(ordered, overtaken, repaired);
            }
        }
        delivered
    }

    /// How long a packet that came over this link may wait for one that did not: what another link may take longer, and
    /// the time in which a lost one is sent again.
    fn patience(&self, id: LinkId) -> Duration {
        let own = self.members.get(id.index()).and_then(Option::as_ref).and_then(|member| member.arrivals.transit());
        let others = self.members.iter().flatten().filter_map(|member| member.arrivals.slowest());
        let longest = others.filter_map(|slowest| u16::try_from(apart(slowest, own?)).ok()).max().unwrap_or(0);
        Duration::from_micros(u64::from(longest).saturating_mul(100)) + HOLD_SLACK + self.repair_time()
    }

    /// The time in which a packet found missing is asked for and comes.
    fn repair_time(&self) -> Duration {
        let up = self.members.iter().flatten().filter(|member| self.carries(member));
        let best = up.filter_map(|member| member.path.rtt().smoothed()).min().unwrap_or(HOLD_UNKNOWN);
        best + (best >> 2) + REPAIR_SLACK
    }

    /// Every link in use has brought a packet of the domain with this number or a later one: what is missing before is
    /// lost.
    fn overtaken(&self, domain: u8, now: Instant) -> Option<u64> {
        let tops = self.tops.get(usize::from(domain))?;
        let is_live = |member: &Member| {
            self.carries(member) && member.arrivals.last_at().is_some_and(|at| now.since(at) < LIVE_SPAN)
        };
        let links = self.members.iter().zip(tops).filter(|(member, _)| member.as_ref().is_some_and(is_live));
        links.map(|(_, top)| *top).min()
    }

    /// Finds the session the packet names and opens it there.
    fn open_under(&mut self, header: &DataHeader, packet: &mut Packet, now: Instant) -> Result<u64, DropReason> {
        let named = |session: &&mut Session<LINKS>| session.own_index() == header.receiver;
        if let Some(session) = self.current.as_mut().filter(named) {
            return session.open(header, packet);
        }
        if let Some(session) = self.previous.as_mut().map(|(session, _)| session).filter(named) {
            return session.open(header, packet);
        }
        for place in 0..UNPROVED {
            let unproved = self.unproved.get_mut(place).and_then(Option::as_mut);
            if let Some(session) = unproved.map(|unproved| &mut unproved.session).filter(named) {
                let counter = session.open(header, packet)?;
                self.promote(place, now);
                return Ok(counter);
            }
        }
        Err(DropReason::NoSession)
    }

    /// The link's member; a server's joins with its first packet that opens.
    fn member_or_join(&mut self, id: LinkId, now: Instant) -> Option<&mut Member> {
        let is_server = self.asking.is_none();
        if self.members.get(id.index())?.is_none() && is_server {
            let mut path = Path::new(Role::Server, LinkSettings::default());
            path.open(None, ceiling(u16::MAX), now);
            let member = Member { path, ..Member::new(Role::Server, LinkSettings::default()) };
            self.members.insert(id.index(), member);
        }
        self.member_mut(id).filter(|member| member.path.phase() != Phase::Closed)
    }

    fn handle_frame<const SLOTS: usize>(&mut self, pool: &mut Pool<SLOTS>, frame: &Control, context: Context) {
        let Context { id, session, from, sent_at, at } = context;
        match frame {
            Control::Report(report) => self.handle_report(pool, report, sent_at, at),
            Control::Fresh => {
                if self.fresh_session.replace(session) != Some(session) {
                    // What was sent before may have been delivered by the start that was before.
                    self.flight.clear(pool);
                    self.bond.reorder.restart();
                    self.unordered.clear();
                    self.tops = [[0; LINKS]; NUMBERINGS];
                    self.members.iter_mut().flatten().for_each(|member| member.path.forget_terms());
                }
            }
            Control::Close => self.end_session(session, from, at),
            _ => {
                if matches!(frame, Control::ProbeReply { .. } | Control::ChallengeReply { .. }) {
                    self.is_fresh = false;
                }
                if let Some(member) = self.member_mut(id) {
                    member.path.handle(frame, from, at);
                }
                if matches!(frame, Control::Terms(_)) {
                    self.follow_terms(id);
                }
            }
        }
        self.follow_mtu();
    }

    /// The inner MTU follows the narrowest link that is up.
    pub(super) fn follow_mtu(&mut self) {
        let frame = match self.config.medium {
            Medium::Ip => 0,
            Medium::Ethernet => ETHERNET_HEADER + VLAN_TAG,
        };
        let counts = self.counting();
        let up = self.members.iter().flatten().filter(|member| member.path.phase() == Phase::Up && counts(member));
        let Some(room) = up.filter_map(|member| member.path.payload_room()).min() else { return };
        let mtu = usize::from(room).saturating_sub(DATA_OVERHEAD).saturating_sub(frame);
        self.bond.mtu = u16::try_from(mtu).unwrap_or(u16::MAX).clamp(MIN_MTU, self.config.max_mtu);
    }
}

/// Where a control frame came from.
#[derive(Clone, Copy)]
struct Context {
    id: LinkId,
    session: SessionIndex,
    from: Place,
    /// The packet's send time.
    sent_at: u16,
    at: Instant,
}

/// The place of an inner packet.
#[derive(Clone, Copy)]
struct InOrder {
    link: LinkId,
    domain: u8,
    order: Order,
}

/// What the user is told of a handshake message that was not accepted; nothing of what is merely late or forged.
const fn trouble(error: HandshakeError) -> Option<Trouble> {
    match error {
        HandshakeError::WrongSecret => Some(Trouble("the shared secret differs from the server's")),
        HandshakeError::Features(_) => Some(Trouble("the server needs a feature this version does not have")),
        HandshakeError::BadKey => Some(Trouble("the server's public key is not usable")),
        _ => None,
    }
}

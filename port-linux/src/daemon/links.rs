// SPDX-License-Identifier: BSD-2-Clause
//! Each link's socket: opened, lost, and opened again when what it needs is there.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use mlvpn_core::memory::classic::MAX_FIRST_BYTE;
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::time::{Duration, Instant};

use super::outbox::{Batch, ROUND};
use crate::backoff::Backoff;
use crate::config;
use crate::interface;
use crate::log::{RateLimit, Topic};
use crate::log_debug;
use crate::netlink::Change;
use crate::privilege::OpenedLink;
use crate::socket::outgoing::Outgoing;
use crate::socket::{Family, Fragmentation, LinkAddress, LinkSocket, SendError};
use crate::status::Meter;

/// A link's socket and what is needed to open it again.
#[derive(Debug)]
pub(super) struct LinkPort {
    pub(super) config: config::Link,
    socket: Option<LinkSocket>,
    /// The peer's address the socket was opened for.
    remote: Option<SocketAddr>,
    /// When to try again; armed exactly while there is no socket and no answer of the monitor is awaited.
    backoff: Backoff,
    /// What the last failure was about.
    failure: Failure,
    complaints: Complaints,
    /// The local address that was logged last.
    announced: Option<IpAddr>,
    /// The order that is with the monitor.
    asked: Option<u64>,
    /// When the peer's name is to be resolved again, while the link is not up.
    renew_at: Option<Instant>,
    /// Datagrams the socket had no room for, in order.
    unsent: VecDeque<Unsent>,
    /// What the socket was told to do with long datagrams.
    fragmentation: Fragmentation,
    /// System calls of sockets that were closed.
    closed_calls: u64,
    /// Why it is not to be opened.
    pub(super) hold: Option<Hold>,
    /// Why it has no socket, or had none before this one.
    pub(super) trouble: Option<String>,
    /// What its socket carried.
    pub(super) meter: Meter,
}

/// Why a link is not to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Somebody took it out.
    Disabled,
    /// Its interface is down.
    InterfaceDown,
}

#[derive(Debug)]
struct Unsent {
    bytes: Box<[u8]>,
    to: SocketAddr,
    ecn: Ecn,
}

/// Datagrams kept for a full socket; the engine gives a blocked link no more, so it is one round and what was kept.
const MOST_UNSENT: usize = 2 * ROUND;

/// A change of the network brings an attempt forward no closer than this to the last: changes come in swarms.
const SPACING: Duration = Duration::from_secs(1);

/// The same for names, which any change may make resolvable and few do: each attempt is a question to a name server.
const NAME_SPACING: Duration = Duration::from_secs(5);

/// A peer that has a name and has been silent for this long is looked for at the name's address of now: as long as the
/// short lifetimes of dynamic DNS, and thrice what a link takes to come up again by itself.
const NAME_LIFETIME: Duration = Duration::from_secs(30);

/// What a link's failure was about, which says what may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A name has no address, or nobody could be asked.
    Name,
    /// What the link binds to is missing, or held by another.
    Local,
    /// The open socket could not send.
    Unreachable,
}

/// How loudly to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loudness {
    /// It is new.
    Warn,
    /// It was said before, and so many times more in silence since it was last said.
    Again(u64),
    /// It was said lately.
    Debug,
}

/// What was said of a link lately, so that what repeats does not fill the log.
#[derive(Debug)]
struct Complaints {
    said: Vec<String>,
    again: RateLimit,
}

impl Complaints {
    /// More sentences than a link has reasons to fail in turn.
    const MOST: usize = 4;

    fn new() -> Self {
        Self { said: Vec::new(), again: RateLimit::new(Duration::from_secs(60)) }
    }

    fn loudness(&mut self, why: &str, now: Instant) -> Loudness {
        if !self.said.iter().any(|said| said == why) {
            if self.said.len() == Self::MOST {
                self.said.remove(0);
            }
            self.said.push(why.to_owned());
            // The minute until it is said again begins now.
            self.again.admit(now);
            return Loudness::Warn;
        }
        self.again.admit(now).map_or(Loudness::Debug, Loudness::Again)
    }
}

/// What became of datagrams.
#[derive(Debug)]
pub(super) enum Sent {
    /// They are on their way, or were for nobody: UDP does not tell.
    Yes,
    /// The socket is full; what it did not take is kept, and the link must be passed over until [`LinkPort::flush`].
    Full,
    /// One was too long for the path, whose MTU is now this, if known.
    TooLong(Option<u32>),
    /// The link cannot send: close it.
    Broken(std::io::Error),
}

impl LinkPort {
    /// A link without a socket, due to be opened.
    pub(super) fn new(config: config::Link) -> Self {
        Self {
            config,
            socket: None,
            remote: None,
            backoff: Backoff::new(),
            failure: Failure::Local,
            complaints: Complaints::new(),
            announced: None,
            asked: None,
            renew_at: None,
            unsent: VecDeque::new(),
            fragmentation: Fragmentation::Kernel,
            hold: None,
            trouble: None,
            meter: Meter::default(),
            closed_calls: 0,
        }
    }

    /// Remembers that the monitor has an order of this link.
    pub(super) fn wait_for_answer(&mut self, serial: u64) {
        self.asked = Some(serial);
        self.renew_at = None;
    }

    /// Whether the answer is to the order given last.
    pub(super) fn takes_answer(&mut self, serial: u64) -> bool {
        if self.asked == Some(serial) {
            self.asked = None;
            return true;
        }
        false
    }

    /// Whether the link is to be opened now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.hold.is_none() && self.socket.is_none() && self.asked.is_none() && self.backoff.is_due(now)
    }

    /// When the link is to be opened, if it is closed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let waits = self.hold.is_none() && self.socket.is_none() && self.asked.is_none();
        if waits { self.backoff.retry_at() } else { None }
    }

    /// Takes the socket that was opened for this link.
    pub(super) fn adopt(&mut self, OpenedLink { ends, socket, probe }: OpenedLink, now: Instant) -> &mut LinkSocket {
        let family = ends.remote.map(|remote| remote.ip()).or(ends.local).map_or(Family::V4, Family::of);
        let address = LinkAddress {
            bind_addr: ends.local,
            bind_port: self.config.bindport.unwrap_or(0),
            interface: ends.interface,
            family,
        };
        self.remote = ends.remote;
        self.fragmentation = Fragmentation::Kernel;
        self.doubt_name(now);
        self.socket.insert(LinkSocket::adopt(socket, probe, address))
    }

    /// Notes that the peer is silent: where it has a name, that may have another address by now.
    pub(super) fn doubt_name(&mut self, now: Instant) {
        let is_name = |host: &String| host.parse::<IpAddr>().is_err();
        self.renew_at = self.config.remotehost.as_ref().is_some_and(is_name).then(|| now + NAME_LIFETIME);
    }

    /// When to resolve the peer's name again, if it is silent.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.renew_at.filter(|_| self.socket.is_some())
    }

    /// Notes that the link did not open, or broke, and says when it is tried again.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) -> Instant {
        self.asked = None;
        self.failure = failure;
        self.backoff.failed(now)
    }

    /// Forgets what failed before: the next attempt is due at once.
    pub(super) fn start_over(&mut self) {
        self.asked = None;
        self.trouble = None;
        self.backoff = Backoff::new();
    }

    /// How loudly to say why the link failed.
    pub(super) fn loudness(&mut self, why: &str, now: Instant) -> Loudness {
        self.complaints.loudness(why, now)
    }

    /// Whether the socket's local address is another than the one announced before; it is announced now.
    pub(super) fn announces(&mut self, local: IpAddr) -> bool {
        self.announced.replace(local) != Some(local)
    }

    /// Notes that the link is up: the next failure is a first one.
    pub(super) fn succeeded(&mut self) {
        self.trouble = None;
        self.renew_at = None;
        self.backoff.succeeded();
    }

    /// Follows a change of the machine's network: when it can end what failed last, the link is tried soon.
    pub(super) fn hurry(&mut self, change: &Change, now: Instant) {
        if self.socket.is_none() && self.is_concerned_by(change) {
            let spacing = if self.failure == Failure::Name { NAME_SPACING } else { SPACING };
            self.backoff.hurry(now, spacing);
        }
    }

    fn is_concerned_by(&self, change: &Change) -> bool {
        match (change, self.failure) {
            (Change::LinkDown(_) | Change::AddressRemoved(..), _) | (Change::RouteChanged, Failure::Local) => false,
            // The system's resolver may use any interface, whatever the link is bound to.
            (Change::Overrun, _)
            | (Change::LinkUp(_) | Change::AddressAdded(..), Failure::Name)
            | (Change::RouteChanged, Failure::Name | Failure::Unreachable) => true,
            (Change::LinkUp(interface), failure) => match self.config.bindinterface {
                Some(bound) => interface.name == Some(bound),
                // An address can be bound to whether its interface is up or not, but not used.
                None => failure == Failure::Unreachable || self.configured_address().is_none(),
            },
            (Change::AddressAdded(index, address), _) => match (self.configured_address(), self.config.bindinterface) {
                (Some(bound), _) => *address == bound,
                (None, Some(bound)) => interface::index(&bound).is_ok_and(|bound| bound == *index),
                (None, None) => true,
            },
        }
    }

    /// The address to bind to, where the configuration has it as such.
    fn configured_address(&self) -> Option<IpAddr> {
        self.config.bindhost.as_ref().and_then(|host| host.parse().ok())
    }

    /// Notes that what the link needs went away while it was closed: a route that comes or goes does not bring it back.
    pub(super) fn lose(&mut self) {
        if self.socket.is_none() && self.failure == Failure::Unreachable {
            self.failure = Failure::Local;
        }
    }

    /// Closes the socket; returns it for deregistering.
    pub(super) fn close(&mut self) -> Option<LinkSocket> {
        self.unsent.clear();
        self.asked = None;
        self.closed_calls = self.calls();
        self.socket.take()
    }

    /// System calls made to send and receive, with all sockets the link had.
    pub(super) fn calls(&self) -> u64 {
        self.closed_calls.wrapping_add(self.socket.as_ref().map_or(0, LinkSocket::calls))
    }

    /// The open socket.
    pub(super) fn socket(&self) -> Option<&LinkSocket> {
        self.socket.as_ref()
    }

    /// The peer's address the socket was opened for; a server has none.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Sends datagrams in their order.
    pub(super) fn send(&mut self, datagrams: &[Outgoing<'_>]) -> Sent {
        if self.has_unsent() {
            // None overtakes those that wait.
            self.keep(datagrams);
            return Sent::Full;
        }
        let (sent, outcome) = self.send_now(datagrams);
        if let Sent::Full = outcome {
            self.keep(datagrams.get(sent..).unwrap_or_default());
        }
        outcome
    }

    /// Sends the datagrams kept back, when the socket has room again.
    pub(super) fn flush(&mut self) -> Sent {
        let unsent = std::mem::take(&mut self.unsent);
        let mut outcome = Sent::Yes;
        let mut begin: usize = 0;
        while begin < unsent.len() {
            let batch = unsent.iter().skip(begin).take(ROUND);
            let batch: Batch<'_> =
                batch.map(|Unsent { bytes, to, ecn }| Outgoing { bytes, to: *to, ecn: *ecn }).collect();
            let (sent, became) = self.send_now(&batch);
            begin = begin.saturating_add(sent);
            match became {
                Sent::Yes => {}
                Sent::TooLong(_) => outcome = became,
                Sent::Full | Sent::Broken(_) => {
                    outcome = became;
                    break;
                }
            }
        }
        self.unsent = unsent;
        self.unsent.drain(..begin.min(self.unsent.len()));
        outcome
    }

    /// Whether datagrams wait for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends until the socket has no room or cannot send, and says how many were dealt with.
    fn send_now(&mut self, datagrams: &[Outgoing<'_>]) -> (usize, Sent) {
        let Some(socket) = &self.socket else { return (datagrams.len(), Sent::Yes) };
        let (mut done, mut outcome) = (0, Sent::Yes);
        while let Some(rest) = datagrams.get(done..).filter(|rest| !rest.is_empty()) {
            let alike = of_one_kind(rest);
            if let Err(why) = suit_fragmentation(socket, &mut self.fragmentation, alike) {
                log_debug!(Topic::Net, "{}: datagrams may be fragmented, or may not: {why}", self.config.name);
            }
            let (sent, result) = socket.send(alike);
            // A datagram that is refused left, as far as this end can tell.
            let counted = sent.saturating_add(usize::from(matches!(result, Err(SendError::Refused(_)))));
            alike.iter().take(counted).for_each(|datagram| self.meter.count_sent(datagram.bytes.len()));
            done = done.saturating_add(counted);
            match result {
                Ok(()) | Err(SendError::Refused(_)) => {}
                Err(SendError::TooLong { path_mtu }) => {
                    done = done.saturating_add(1);
                    outcome = Sent::TooLong(path_mtu);
                }
                Err(SendError::WouldBlock) => return (done, Sent::Full),
                Err(SendError::LinkDown(why) | SendError::Io(why)) => return (done, Sent::Broken(why)),
            }
        }
        (done, outcome)
    }

    /// Whether `change` took away what the link is bound to.
    pub(super) fn is_broken_by(&self, change: &Change) -> bool {
        match change {
            Change::LinkDown(interface) => {
                let bound = self.config.bindinterface;
                bound.is_some() && interface.name == bound
            }
            Change::AddressRemoved(_, address) => self.bound_address() == Some(*address),
            Change::LinkUp(_) | Change::AddressAdded(..) | Change::RouteChanged | Change::Overrun => false,
        }
    }

    fn bound_address(&self) -> Option<IpAddr> {
        self.socket.as_ref()?.address().bind_addr
    }

    fn keep(&mut self, datagrams: &[Outgoing<'_>]) {
        let room = MOST_UNSENT.saturating_sub(self.unsent.len());
        let kept = datagrams.iter().take(room);
        self.unsent.extend(kept.map(|&Outgoing { bytes, to, ecn }| Unsent { bytes: bytes.into(), to, ecn }));
    }
}

/// Protocol 2 finds out what paths carry and so forbids fragments; the classic protocol needs them. A server of both
/// sends both from one socket, which is told when the next datagrams are of the other kind than the last.
fn suit_fragmentation(
    socket: &LinkSocket,
    last: &mut Fragmentation,
    datagrams: &[Outgoing<'_>],
) -> std::io::Result<()> {
    let wanted = if datagrams.first().is_some_and(is_classic) { Fragmentation::Kernel } else { Fragmentation::Never };
    if std::mem::replace(last, wanted) == wanted { Ok(()) } else { socket.set_fragmentation(wanted) }
}

/// The first datagrams that are all classic, or none of them.
fn of_one_kind<'a, 'b>(datagrams: &'a [Outgoing<'b>]) -> &'a [Outgoing<'b>] {
    let first = datagrams.first().is_some_and(is_classic);
    let end = datagrams.iter().position(|datagram| is_classic(datagram) != first).unwrap_or(datagrams.len());
    datagrams.get(..end).unwrap_or_default()
}

fn is_classic(datagram: &Outgoing<'_>) -> bool {
    datagram.bytes.first().is_some_and(|first| *first <= MAX_FIRST_BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Interface;

    /// The first link of a client's configuration.
    fn port(options: &str) -> LinkPort {
        let text = format!(
            "[general]\nmode = \"client\"\npassword = \"a long enough password\"\n\
             [l1]\nremotehost = \"192.0.2.1\"\nremoteport = 5080\n{options}\n"
        );
        let (config, _) = config::Config::parse("mlvpn.conf", &text).expect("a configuration");
        LinkPort::new(config.links.into_iter().next().expect("a link"))
    }

    /// Whether the change brings a link's second attempt forward.
    fn hurries(options: &str, failure: Failure, change: Change) -> bool {
        let mut port = port(options);
        for _ in 0..6 {
            port.failed(failure, Instant::ORIGIN);
        }
        let later = Instant::ORIGIN + Duration::from_secs(6);
        port.hurry(&change, later);
        port.is_due(later)
    }

    fn up(name: &str) -> Change {
        Change::LinkUp(Interface { index: 7, name: name.parse().ok() })
    }

    fn added(address: &str) -> Change {
        Change::AddressAdded(7, address.parse().expect("an address"))
    }

    #[test]
    fn a_change_hurries_the_links_it_can_concern_and_no_others() {
        let interface = "bindinterface = \"wan0\"";
        let address = "bindhost = \"192.0.2.9\"";
        for (options, failure, change, expected) in [
            (interface, Failure::Local, up("wan0"), true),
            (interface, Failure::Local, up("wan1"), false),
            (interface, Failure::Unreachable, up("wan1"), false),
            (interface, Failure::Name, up("wan1"), true),
            (address, Failure::Local, added("192.0.2.9"), true),
            (address, Failure::Local, added("192.0.2.10"), false),
            (address, Failure::Local, up("wan0"), false),
            (address, Failure::Unreachable, up("wan0"), true),
            ("", Failure::Local, up("wan0"), true),
            ("", Failure::Local, added("192.0.2.10"), true),
            ("", Failure::Local, Change::RouteChanged, false),
            ("", Failure::Unreachable, Change::RouteChanged, true),
            ("", Failure::Name, Change::RouteChanged, true),
            (interface, Failure::Local, Change::Overrun, true),
            ("", Failure::Name, Change::LinkDown(Interface { index: 7, name: None }), false),
        ] {
            assert_eq!(hurries(options, failure, change), expected, "{options} {failure:?} {change:?}");
        }
    }

    #[test]
    fn a_swarm_of_changes_asks_for_a_name_every_five_seconds_at_most() {
        let mut port = port("");
        let mut attempts = 0;
        for millis in 0..60_000 {
            let now = Instant::ORIGIN + Duration::from_millis(millis);
            if port.is_due(now) {
                attempts += 1;
                port.failed(Failure::Name, now);
            }
            port.hurry(&Change::RouteChanged, now);
        }
        // At 0, 1, 3 and 7 s by the waits themselves, and every 5 s from then on.
        assert_eq!(attempts, 4 + 10);
    }

    #[test]
    fn a_link_whose_order_could_not_be_given_is_tried_again() {
        let mut port = port("");
        port.wait_for_answer(1);
        assert_eq!(port.retry_at(), None);
        let retry_at = port.failed(Failure::Name, Instant::ORIGIN);
        assert_eq!(port.retry_at(), Some(retry_at));
        assert!(port.is_due(retry_at) && !port.takes_answer(1));
    }

    #[test]
    fn a_silent_peer_is_looked_for_again_where_it_has_a_name() {
        let socket = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket").into();
        let silent = |port: &mut LinkPort| {
            let remote = Some(([127, 0, 0, 1], 5080).into());
            let ends = crate::privilege::Ends { local: None, remote, interface: None };
            port.adopt(OpenedLink { ends, socket: socket(), probe: socket() }, Instant::ORIGIN);
            port.renew_at()
        };
        let mut by_address = port("");
        assert_eq!(silent(&mut by_address), None);
        let mut by_name = port("");
        by_name.config.remotehost = Some("vpn.example.net".to_owned());
        let at = Instant::ORIGIN + NAME_LIFETIME;
        assert_eq!(silent(&mut by_name), Some(at));
        by_name.succeeded();
        assert_eq!(by_name.renew_at(), None);
        by_name.doubt_name(at);
        assert_eq!(by_name.renew_at(), Some(at + NAME_LIFETIME));
        by_name.wait_for_answer(1);
        assert_eq!(by_name.renew_at(), None);
    }

    #[test]
    fn what_repeats_is_a_warning_once_and_then_a_line_a_minute() {
        let mut complaints = Complaints::new();
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        assert_eq!(complaints.loudness("no address", at(0)), Loudness::Warn);
        assert_eq!(complaints.loudness("no interface", at(1)), Loudness::Warn);
        for second in 2..50 {
            assert_eq!(complaints.loudness("no address", at(second)), Loudness::Debug);
        }
        assert!(matches!(complaints.loudness("no address", at(61)), Loudness::Again(48 | 49)));
        assert_eq!(complaints.loudness("no address", at(62)), Loudness::Debug);
    }
}

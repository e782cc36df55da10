// SPDX-License-Identifier: BSD-2-Clause
//! A peer that replays what a recorded MLVPN 2.3.5 said: our engine comes up on it and exchanges data, in virtual time.

use std::net::{Ipv4Addr, SocketAddr};

use mlvpn_core::memory::classic::{AUTH_BODY, AUTH_OK_BODY, Header, Kind, wire_timestamp};
use mlvpn_core::memory::packet::Packet;
use mlvpn_core::stages::open::Opener;
use mlvpn_core::state::link::{LinkSettings, Phase, Role};
use mlvpn_core::tunnel::{Arrival, Config};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::event::{DownCause, Event};
use mlvpn_core::words::ids::{Epoch, LinkId, Order};
use mlvpn_core::words::time::{Duration, Instant};
use mlvpn_tests::end::End;
use mlvpn_tests::recording::{self, Direction, Session};

const LINKS: [LinkId; 2] = [LinkId::new(0), LinkId::new(1)];

/// One of the recorded ends, played by our engine, against the recording of the other.
struct Stage<'a> {
    session: &'a Session,
    role: Role,
    end: End<2, 64, 128>,
    /// The moment of the recording's first datagram.
    start: Instant,
    now: Instant,
    sent: Vec<Said>,
    /// The peer's last timestamp on each link and when it came.
    echo: [Option<(u16, Instant)>; 2],
}

/// A datagram our engine sent, opened.
#[derive(Debug)]
struct Said {
    link: LinkId,
    header: Header,
    body: Vec<u8>,
}

fn peer_address(link: LinkId) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(198, 51, 100, link.index() as u8 + 1), 5_080))
}

impl<'a> Stage<'a> {
    fn new(session: &'a Session, role: Role) -> Self {
        let config = Config {
            role,
            medium: session.medium(),
            key: session.key(),
            cleartext_data: session.cleartext_data,
            mtu: 1_428,
            reorder: true,
        };
        // The clock of the end we play, so that the timestamps it was sent back mean round trips.
        let ours = direction(role);
        let first = session.packets.iter().find(|packet| packet.direction == ours).unwrap();
        let millis = u64::from(first.decoded.header(true).timestamp.unwrap()) + 65_536 - first.at_us / 1_000;
        let start = Instant::from_micros(millis * 1_000);
        let mut end = End::new(config, 9);
        for link in LINKS {
            assert!(end.tunnel.set_link(link, LinkSettings::default(), start));
            end.tunnel.open_link(link, (role == Role::Client).then(|| peer_address(link)), start);
        }
        Self { session, role, end, start, now: start, sent: Vec::new(), echo: [None; 2] }
    }

    /// Plays the session to its end; `copies` of each of the peer's datagrams arrive.
    fn play(&mut self, copies: usize) {
        for recorded in &self.session.packets {
            self.pass_time_until(self.start + Duration::from_micros(recorded.at_us));
            if recorded.direction != direction(self.role) {
                for _ in 0..copies {
                    let arrival = Arrival {
                        link: recorded.link(),
                        from: peer_address(recorded.link()),
                        ecn: Ecn::NotEct,
                        at: self.now,
                    };
                    assert!(self.end.receive(&recorded.datagram, arrival));
                }
                let timestamp = recorded.decoded.header(true).timestamp.unwrap();
                self.echo[recorded.link().index()] = Some((timestamp, self.now));
            } else if recorded.decoded.kind() == Kind::Data {
                assert!(self.end.send(&recorded.decoded.plaintext));
            }
            self.drain();
        }
    }

    fn pass_time_until(&mut self, at: Instant) {
        while let Some(due) = self.end.tunnel.poll_timeout().filter(|due| due.at <= at) {
            self.now = self.now.max(due.at);
            self.end.tunnel.handle_timeout(self.now);
            self.drain();
        }
        self.now = at;
    }

    fn drain(&mut self) {
        let opener = Opener::new(self.session.key(), self.session.cleartext_data, Epoch::default());
        for datagram in self.end.drain(self.now) {
            assert_eq!(datagram.to, peer_address(datagram.link));
            let mut packet = Packet::new();
            assert!(packet.copy_from(&datagram.bytes));
            let header = *opener.open(&mut packet).unwrap().header();
            self.check_timestamps(datagram.link, &header);
            self.sent.push(Said { link: datagram.link, header, body: packet.as_bytes().to_vec() });
        }
    }

    /// Ours is the clock; the peer's comes back once, advanced by how long we held it, unless that was a second.
    fn check_timestamps(&mut self, link: LinkId, header: &Header) {
        assert_eq!(header.timestamp, Some(wire_timestamp(self.now.micros() / 1_000)));
        let held = self.echo[link.index()].take().filter(|(_, at)| self.now.since(*at) < Duration::from_secs(1));
        let expected = held.map(|(peer, at)| wire_timestamp(u64::from(peer) + self.now.since(at).millis()));
        assert_eq!(header.timestamp_reply, expected, "{header:?}");
    }

    /// The plaintexts of the data that one end of the recording sent.
    fn recorded_data(&self, sender: Direction) -> Vec<Vec<u8>> {
        let data = self.session.packets.iter().filter(|p| p.direction == sender && p.decoded.kind() == Kind::Data);
        data.map(|packet| packet.decoded.plaintext.clone()).collect()
    }

    fn check_numbers(&self) {
        for link in LINKS {
            let on_link: Vec<_> = self.sent.iter().filter(|said| said.link == link).collect();
            for (counter, said) in on_link.iter().enumerate() {
                assert_eq!(said.header.counter, counter as u64);
                assert_eq!(said.header.flow, on_link[0].header.flow);
            }
            let greeting =
                if self.role == Role::Client { (Kind::Auth, AUTH_BODY) } else { (Kind::AuthOk, AUTH_OK_BODY) };
            assert_eq!((on_link[0].header.kind, on_link[0].body.as_slice()), (greeting.0, &greeting.1[..]));
            let state = self.end.tunnel.link(link).unwrap();
            let rtt_is_short = state.rtt().smoothed().is_some_and(|rtt| rtt < Duration::from_millis(100));
            // A server's measurements ended with its links.
            assert!(rtt_is_short || state.phase() != Phase::Up, "{:?}", state.rtt());
        }
        assert_ne!(
            self.sent.iter().find(|said| said.link == LINKS[0]).unwrap().header.flow,
            self.sent.iter().find(|said| said.link == LINKS[1]).unwrap().header.flow
        );
        let data: Vec<_> = self.sent.iter().filter(|said| said.header.kind == Kind::Data).collect();
        let bodies: Vec<_> = data.iter().map(|said| said.body.clone()).collect();
        assert_eq!(bodies, self.recorded_data(direction(self.role)));
        for (order, said) in data.iter().enumerate() {
            assert_eq!((said.header.order, said.header.ordered), (Order(order as u64), true));
        }
        let frames = self.sent.iter().filter(|said| said.header.kind != Kind::Data);
        assert!(frames.into_iter().all(|said| said.header.order == Order(0) && said.header.ordered));
    }
}

const fn direction(sender: Role) -> Direction {
    match sender {
        Role::Client => Direction::ClientToServer,
        Role::Server => Direction::ServerToClient,
    }
}

#[test]
fn our_client_comes_up_on_the_recorded_server_and_both_get_their_data() {
    for (name, session) in recording::sessions() {
        println!("{name}");
        let mut stage = Stage::new(&session, Role::Client);
        stage.play(1);
        assert_eq!(stage.end.tunnel.drops().total(), 0);
        assert_eq!(stage.end.take_delivered(), stage.recorded_data(Direction::ServerToClient));
        let events = stage.end.take_events();
        for event in [Event::TunnelUp, Event::LinkUp(LINKS[0]), Event::LinkUp(LINKS[1])] {
            assert_eq!(events.iter().filter(|e| **e == event).count(), 1, "{event:?} in {events:?}");
        }
        stage.check_numbers();
        LINKS.into_iter().for_each(|link| stage.end.tunnel.disconnect_link(link));
        stage.drain();
        let last: Vec<_> = stage.sent[stage.sent.len() - 2..].iter().map(|said| said.header.kind).collect();
        assert_eq!(last, [Kind::Disconnect; 2]);
        assert_eq!(stage.end.in_use(), 0);
    }
}

#[test]
fn our_server_comes_up_on_the_recorded_client_until_that_says_goodbye() {
    for (name, session) in recording::sessions() {
        println!("{name}");
        let mut stage = Stage::new(&session, Role::Server);
        stage.play(1);
        assert_eq!(stage.end.tunnel.drops().total(), 0);
        assert_eq!(stage.end.take_delivered(), stage.recorded_data(Direction::ClientToServer));
        let events = stage.end.take_events();
        for link in LINKS {
            let of_link: Vec<_> = events.iter().filter(|event| event_link(event) == Some(link)).collect();
            let moved = Event::PeerMoved(link, peer_address(link));
            let down = Event::LinkDown(link, DownCause::PeerLeft);
            assert_eq!(of_link, [&moved, &Event::LinkUp(link), &down], "{name}");
        }
        assert_eq!(events.last(), Some(&Event::TunnelDown));
        stage.check_numbers();
        assert_eq!(stage.end.in_use(), 0);
    }
}

#[test]
fn a_peer_whose_every_datagram_arrives_twice_has_its_data_delivered_once() {
    for role in [Role::Client, Role::Server] {
        for (name, session) in recording::sessions() {
            let mut stage = Stage::new(&session, role);
            stage.play(2);
            let other = if role == Role::Client { Role::Server } else { Role::Client };
            assert_eq!(stage.end.take_delivered(), stage.recorded_data(direction(other)), "{name}");
            let copies = session.packets.iter().filter(|packet| packet.direction == direction(other)).count();
            assert_eq!(stage.end.tunnel.drops().total(), copies as u64, "{name}: {:?}", stage.end.tunnel.drops());
            assert_eq!(stage.end.in_use(), 0);
        }
    }
}

const fn event_link(event: &Event) -> Option<LinkId> {
    match event {
        Event::LinkUp(link) | Event::LinkDown(link, _) | Event::LinkHealth(link, _) | Event::PeerMoved(link, _) => {
            Some(*link)
        }
        Event::TunnelUp
        | Event::TunnelDown
        | Event::NewSession
        | Event::SessionEnded
        | Event::MtuChanged(_)
        | Event::HandshakeTrouble(_) => None,
    }
}

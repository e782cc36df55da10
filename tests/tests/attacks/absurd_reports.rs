// SPDX-License-Identifier: BSD-2-Clause
//! A peer that has the keys tells absurd things of the packets it was sent.

use mlvpn_core::memory::control::{self, Control, Gap, MAX_GAPS, Report};
use mlvpn_core::memory::two::{DATA_HEADER, DataHeader, data_nonce};
use mlvpn_core::state::handshake::Established;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::inner;
use mlvpn_tests::random::Random;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;

use super::{Place, SERVER, attacker, established, sealed_as};

/// No report makes an engine send faster than this, in bytes per second: 80 Gbit/s.
const FASTEST: u64 = 10_000_000_000;

/// The attacker's end of a session with one link that is up.
struct Liar {
    world: World,
    keys: Established,
    counter: u64,
}

impl Liar {
    fn new(seed: u64) -> Self {
        let mut world: World = World::empty(seed);
        world.add_client(0, keys::config(), keys::config());
        let keys = established(&mut world, 0);
        let mut liar = Self { world, keys, counter: 0 };
        // A path is up when its address has proved itself: the server's challenge comes back.
        liar.say(&[Control::Probe { id: 1 }]);
        liar.reflect();
        assert!(liar.world.end(SERVER).peer.is_up());
        liar
    }

    fn say(&mut self, frames: &[Control]) {
        let mut body = [0; 256];
        let len = control::emit(frames, &mut body).expect("a block");
        self.put(true, &body[..len]);
    }

    fn put(&mut self, control: bool, body: &[u8]) {
        let send_time = u16::try_from((self.world.now().micros() / 100) & 0xffff).expect("16 bits");
        let place = Place { counter: self.counter, order: self.counter, send_time, ..Place::default() };
        self.counter += 1;
        self.world.inject_up(attacker(), &sealed_as(place, &self.keys, control, body));
    }

    /// Opens what the server sent and answers its questions, as an honest peer would.
    fn reflect(&mut self) {
        for flight in std::mem::take(&mut self.world.sent) {
            let Ok(header) = DataHeader::parse(&flight.bytes) else { continue };
            let mut body = flight.bytes[DATA_HEADER..].to_vec();
            let nonce = data_nonce(header.link, header.counter_low.into());
            if self.keys.receive.open(&nonce, &flight.bytes[..DATA_HEADER], &mut body).is_err() || !header.flags.control
            {
                continue;
            }
            let Ok((frames, _)) = control::parse(&body) else { continue };
            for frame in &frames {
                match frame {
                    Control::Challenge { token } => self.say(&[Control::ChallengeReply { token: *token }]),
                    Control::Probe { id } => self.say(&[Control::ProbeReply { id: *id }]),
                    _ => {}
                }
            }
        }
        self.world.sent.clear();
    }

    /// A random report: often near what is true, which gets further than noise.
    fn lie(&self, random: &mut Random) -> Report {
        let near = |random: &mut Random, most: u64| {
            let spread = [4, 100, most][random.below(3) as usize];
            random.below(spread + 1)
        };
        let mut report = Report {
            link: near(random, 255) as u8,
            session: if random.one_in(4) { random.bits() as u8 } else { self.keys.own_index.low() },
            from: near(random, u32::MAX.into()) as u32,
            span: near(random, 65_535) as u16,
            bytes: random.bits() as u32,
            busy_bytes: random.bits() as u32,
            busy_micros: near(random, u32::MAX.into()) as u32,
            echo: random.bits() as u16,
            hold: random.bits() as u16,
            least: random.bits() as u16,
            jitter: random.bits() as u16,
            ..Report::default()
        };
        for _ in 0..random.below(MAX_GAPS as u64 + 1) {
            let gap = Gap { after: near(random, 65_535) as u16, len: near(random, 65_535) as u16 };
            report.gaps.push(gap).expect("there is room");
        }
        report
    }

    /// What holds whatever was said.
    fn check(&mut self, seed: u64) {
        self.world.assert_no_slot_is_lost();
        let peer = &self.world.end(SERVER).peer;
        for link in (0..4).filter_map(|link| peer.departures(LinkId::new(link))) {
            let pace = link.rate().pace();
            assert!(pace > 0 && pace <= FASTEST, "seed {seed}: {pace} bytes per second");
            assert!(link.stall() <= Duration::from_millis(1_100), "seed {seed}: {:?}", link.stall());
        }
    }
}

#[test]
fn absurd_reports_do_no_harm_and_have_little_sent() {
    for seed in 0..30 {
        let mut liar = Liar::new(640 + seed);
        let mut random = Random::new(seed);
        let mut number = 0;
        for _ in 0..20 {
            // 2,000 reports a second, and a packet every 10 ms.
            for step in 0..100 {
                let report = liar.lie(&mut random);
                liar.say(&[Control::Report(report)]);
                if step % 20 == 0 {
                    liar.world.send(SERVER, &inner::ipv4(300, number));
                    number += 1;
                }
                liar.world.run_for(Duration::from_micros(500));
            }
            liar.check(seed);
        }
        let resent = liar.world.end(SERVER).peer.counts().resent;
        // Each packet is sent three times at most, and reports are not answered.
        let data = liar.world.sent.iter().filter(|flight| flight.bytes.len() == 330).count() as u64;
        assert!(data <= 3 * number && resent <= 2 * number, "seed {seed}: {data} for {number}, {resent} of them again");
        assert!(liar.world.sent.len() < 700, "seed {seed}: {} datagrams for 2,000 reports", liar.world.sent.len());
    }
}

#[test]
fn a_flood_of_reports_is_not_read() {
    let mut liar = Liar::new(672);
    let flood = 20_000;
    for _ in 0..flood / 8 {
        let report =
            Control::Report(Report { session: liar.keys.own_index.low(), span: u16::MAX, ..Report::default() });
        liar.say(&[const { None }; 8].map(|_: Option<()>| report.clone()));
        liar.world.run_for(Duration::from_micros(400));
    }
    let unread = liar.world.end(SERVER).peer.counts().unread;
    println!("of {flood} reports in a second {unread} are not read");
    // A link's receiver says 500 in a second at most, and 128 may have been held up.
    assert!((flood - 700..flood - 600).contains(&unread), "{unread}");
    // An honest report is read again soon.
    liar.world.run_for(Duration::from_millis(300));
    liar.say(&[Control::Report(Report { session: liar.keys.own_index.low(), ..Report::default() })]);
    assert_eq!(liar.world.end(SERVER).peer.counts().unread, unread);
    liar.check(672);
}

#[test]
fn sums_that_run_backwards_and_echoes_of_nothing_keep_the_pace_within_its_bounds() {
    let mut liar = Liar::new(670);
    let mut report = Report { session: liar.keys.own_index.low(), ..Report::default() };
    for round in 0..4_000_u32 {
        report.bytes = report.bytes.wrapping_sub(round * 1_000_003);
        report.busy_bytes = report.busy_bytes.wrapping_add(u32::MAX - round);
        report.busy_micros = report.busy_micros.wrapping_add(1);
        report.least = report.least.wrapping_sub(1);
        report.echo = report.echo.wrapping_add(31_337);
        report.jitter = if round % 2 == 0 { u16::MAX } else { 0 };
        liar.say(&[Control::Report(report.clone())]);
        liar.world.send(SERVER, &inner::ipv4(1_000, round.into()));
        liar.world.run_for(Duration::from_millis(1));
        if round % 100 == 0 {
            liar.check(670);
        }
    }
    liar.check(670);
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_and_nothing_is_delivered_twice() {
    let mut world: World = World::up(671, 2);
    world.clients[0].wires[1].delay = super::millis(40);
    let mut random = Random::new(671);
    world.filter = Box::new(move |_| !random.one_in(10));
    world.stream_both(0..2_000, 500, super::millis(1));
    world.filter = Box::new(|_| true);
    world.run_for(super::secs(2));
    for who in [super::CLIENT, SERVER] {
        let mut numbers = world.end(who).numbers();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{who:?} delivered one twice");
        // A tenth is lost on the links; without repair that were 1,800.
        assert!(count > 1_850, "{who:?}: {count}");
        let counts = world.end(who).peer.counts();
        assert!(counts.resent > 100 && counts.unread == 0, "{counts:?}");
    }
    world.assert_no_slot_is_lost();
}

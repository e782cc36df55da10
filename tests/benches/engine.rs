// SPDX-License-Identifier: BSD-2-Clause
//! What a packet costs in the engine alone: two engines, no sockets, no device. Prints a Markdown table of processor time;
//! `tests/README.md` says how to have instructions counted instead.
//!
//! `cargo bench -p mlvpn-tests --bench engine -- [ROUNDS [BYTES]]`: 2,000 rounds of 64 packets of 1,400 bytes.
//!
//! Each step is a function of its own that is never inlined, so that a profiler tells them apart by name. They are parts
//! of one journey with state of its own, a thing the closures of benchmark libraries repeat have not.

use std::hint::black_box;
use std::time::Duration as Span;

use mlvpn_core::memory::pool::{Pool, Slot};
use mlvpn_core::stages::classify::{FlowKey, classify};
use mlvpn_core::state::handshake::Offer;
use mlvpn_core::state::session_key::{Aead, SessionKey};
use mlvpn_core::tunnel::peer::Peer;
use mlvpn_core::tunnel::{Arrival, Transmit};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::limits::{MAX_DATAGRAM, MAX_LINKS, TAG};
use mlvpn_core::words::time::{Duration, Instant};
use mlvpn_tests::inner;
use mlvpn_tests::session::end::SLOTS;
use mlvpn_tests::session::keys;
use mlvpn_tests::session::world::World;
use nix::time::{ClockId, clock_gettime};

/// Packets of a round: what the daemon takes in before it sends, at the most.
const ROUND: usize = 64;

/// Rounds before the first that counts: the pace has to grow from 4 Mbit/s, and it doubles per report.
const WARM_UP: usize = 400;

/// Virtual time between rounds: 64 packets of 1,400 bytes in it are 0.7 Gbit/s.
const GAP: Duration = Duration::from_millis(1);

/// As large as the daemon's client, whose links are one of these.
const LINKS: usize = MAX_LINKS;
const WINDOW: usize = 1024;

type Engine = Peer<LINKS, WINDOW>;

/// What is measured, in the order of a packet's way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Classify,
    Admit,
    Transmit,
    Seal,
    Open,
    Accept,
    Deliver,
    Reports,
    Deadline,
}

const STEPS: [(Step, &str); 9] = [
    (Step::Classify, "classify alone"),
    (Step::Admit, "admit: classify, clamp, queue"),
    (Step::Transmit, "transmit: choose a link, seal, keep"),
    (Step::Seal, "seal alone"),
    (Step::Open, "open alone"),
    (Step::Accept, "accept: open, check, order"),
    (Step::Deliver, "deliver"),
    (Step::Reports, "reports, made and heard"),
    (Step::Deadline, "timeouts of both ends, by round"),
];

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let rounds = numbers.first().copied().unwrap_or(2_000).max(1);
    let bytes = numbers.get(1).copied().unwrap_or(1_400).clamp(inner::SHORTEST, 1_400);
    println!("| ns a packet of {bytes} bytes, {rounds} rounds of {ROUND} | ChaCha20-Poly1305 | AES-256-GCM |");
    println!("|---|---|---|");
    let columns = [false, true].map(|aes| measure(aes, rounds, bytes));
    for (step, name) in STEPS {
        let [chacha, aes] = columns.map(|column| column[step as usize]);
        println!("| {name} | {chacha:.0} | {aes:.0} |");
    }
}

/// Nanoseconds of each step, for a packet.
fn measure(aes: bool, rounds: usize, bytes: usize) -> [f64; STEPS.len()] {
    let mut course = Course::new(aes, bytes);
    (0..WARM_UP).for_each(|_| course.round());
    course.spent = [Span::ZERO; STEPS.len()];
    course.carried = 0;
    (0..rounds).for_each(|_| course.round());
    let reading = reading_time() * u32::try_from(rounds).unwrap_or(u32::MAX);
    assert!(course.carried > rounds * ROUND / 2, "the pace held back most of the packets");
    STEPS.map(|(step, _)| {
        let is_alone = matches!(step, Step::Classify | Step::Seal | Step::Open);
        let packets = if is_alone { rounds * ROUND } else { course.carried };
        course.spent[step as usize].saturating_sub(reading).as_nanos() as f64 / packets as f64
    })
}

/// Processor time this thread has used: what else the machine does counts little in it.
fn used() -> Span {
    Span::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock"))
}

/// What reading the clock itself takes.
fn reading_time() -> Span {
    const TIMES: u32 = 10_000;
    let begun = used();
    for _ in 1..TIMES {
        let _ = black_box(used());
    }
    (used() - begun) / TIMES
}

/// Two engines and the packets between them.
struct Course {
    world: World<LINKS, WINDOW>,
    now: Instant,
    packet: Vec<u8>,
    key: FlowKey,
    cipher: SessionKey,
    spent: [Span; STEPS.len()],
    /// Packets that went all the way.
    carried: usize,
    datagrams: Vec<(Transmit, [u8; MAX_DATAGRAM])>,
}

impl Course {
    fn new(aes: bool, bytes: usize) -> Self {
        let mut config = keys::config();
        config.offer = Offer { aes_in_hardware: aes, ..keys::PLAIN };
        let mut world = World::empty(1);
        world.records = false;
        world.add_client(1, config.clone(), config);
        world.run_for(Duration::from_secs(3));
        let aead = if aes { Aead::Aes256Gcm } else { Aead::ChaCha20Poly1305 };
        assert_eq!(world.clients[0].end.peer.aead(), Some(aead), "the ends agreed on another cipher");
        let now = world.now();
        Self {
            now,
            world,
            packet: segment(bytes),
            key: FlowKey::new([7; 16]),
            cipher: SessionKey::new(aead, &[5; 32]).expect("this build has both"),
            spent: [Span::ZERO; STEPS.len()],
            carried: 0,
            datagrams: vec![
                (
                    Transmit { link: LinkId::new(0), to: ([192, 0, 2, 1], 1).into(), len: 0, ecn: Ecn::NotEct },
                    [0; MAX_DATAGRAM]
                );
                2 * ROUND
            ],
        }
    }

    /// A round's packets from one device to the other, and what the ends tell each other of it.
    fn round(&mut self) {
        self.now += GAP;
        let (client_now, server_now) = (self.now + self.world.clients[0].epoch, self.now + self.world.server_epoch);
        let World { clients, pool, .. } = &mut self.world;
        let client = &mut *clients[0].end.peer;
        let mut spent = self.spent;
        let mut time = |step: Step, span: Span| spent[step as usize] += span;

        let begun = used();
        for _ in 0..ROUND {
            step_classify(black_box(&self.packet), &self.key);
        }
        time(Step::Classify, used() - begun);
        let slots: heapless::Vec<Slot, ROUND> =
            (client.waiting()..ROUND).filter_map(|_| filled(pool, &self.packet)).collect();
        let begun = used();
        for slot in slots {
            step_admit(client, pool, slot, client_now);
        }
        time(Step::Admit, used() - begun);
        let begun = used();
        let mut count = 0;
        while let Some((transmit, out)) = self.datagrams.get_mut(count)
            && let Some(sent) = step_transmit(client, pool, client_now, out)
        {
            *transmit = sent;
            count += 1;
        }
        time(Step::Transmit, used() - begun);
        self.spent = spent;
        self.ciphers();
        self.arrive(count, client_now, server_now);
    }

    /// The cipher's part, apart from the engine.
    fn ciphers(&mut self) {
        let mut sealed = [0; MAX_DATAGRAM];
        let len = self.packet.len() + TAG;
        let begun = used();
        for _ in 0..ROUND {
            step_seal(&self.cipher, black_box(&self.packet), &mut sealed[..len]);
        }
        self.spent[Step::Seal as usize] += used() - begun;
        let mut copies = [sealed; ROUND];
        let begun = used();
        for copy in &mut copies {
            step_open(&self.cipher, &mut copy[..len]);
        }
        self.spent[Step::Open as usize] += used() - begun;
    }

    fn arrive(&mut self, count: usize, client_now: Instant, server_now: Instant) {
        let World { clients, server, pool, .. } = &mut self.world;
        let wire = clients[0].wires[0].client;
        let (client, server) = (&mut *clients[0].end.peer, &mut *server.ends[0].peer);
        let arrival = |from, at| Arrival { link: LinkId::new(0), from, ecn: Ecn::NotEct, at };
        let slots: Vec<Slot> = self.datagrams[..count]
            .iter()
            .filter_map(|(transmit, bytes)| filled(pool, &bytes[..transmit.len]))
            .collect();
        let begun = used();
        for slot in slots {
            step_accept(server, pool, slot, arrival(wire, server_now));
        }
        self.spent[Step::Accept as usize] += used() - begun;
        let begun = used();
        while step_deliver(server, pool) {
            self.carried += 1;
        }
        self.spent[Step::Deliver as usize] += used() - begun;
        let begun = used();
        let mut out = [0; MAX_DATAGRAM];
        while let Some(sent) = step_report(server, pool, server_now, &mut out) {
            if let Some(slot) = filled(pool, &out[..sent.len]) {
                step_hear(client, pool, slot, arrival(mlvpn_tests::session::wire::SERVER, client_now));
            }
        }
        self.spent[Step::Reports as usize] += used() - begun;
        let begun = used();
        for (peer, now) in [(client, client_now), (server, server_now)] {
            step_timeouts(peer, now);
        }
        self.spent[Step::Deadline as usize] += used() - begun;
    }
}

/// A packet of the pool that holds these bytes.
fn filled(pool: &mut Pool<SLOTS>, bytes: &[u8]) -> Option<Slot> {
    let slot = pool.take()?;
    assert!(pool.packet_mut(&slot).is_some_and(|packet| packet.copy_from(bytes)), "too long for a buffer");
    Some(slot)
}

/// A TCP segment in IPv4 of `len` bytes in all.
fn segment(len: usize) -> Vec<u8> {
    let mut packet = inner::ipv4(len, 1);
    packet[9] = 6;
    packet[20..40]
        .copy_from_slice(&[0x9c, 0x40, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

#[inline(never)]
fn step_classify(packet: &[u8], key: &FlowKey) {
    let _ = black_box(classify(packet, Medium::Ip, 1_500, key));
}

#[inline(never)]
fn step_admit(peer: &mut Engine, pool: &mut Pool<SLOTS>, slot: Slot, now: Instant) {
    peer.send(pool, slot, now);
}

#[inline(never)]
fn step_transmit(peer: &mut Engine, pool: &mut Pool<SLOTS>, now: Instant, out: &mut [u8]) -> Option<Transmit> {
    peer.poll_transmit(pool, now, out)
}

#[inline(never)]
fn step_seal(cipher: &SessionKey, packet: &[u8], out: &mut [u8]) {
    assert!(cipher.seal(&[1; 12], &[2; 16], packet, out), "room for the tag");
}

#[inline(never)]
fn step_open(cipher: &SessionKey, packet: &mut [u8]) {
    assert!(cipher.open(&[1; 12], &[2; 16], packet).is_ok(), "sealed just now");
}

#[inline(never)]
fn step_accept(peer: &mut Engine, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
    peer.receive(pool, slot, arrival);
}

#[inline(never)]
fn step_deliver(peer: &mut Engine, pool: &mut Pool<SLOTS>) -> bool {
    peer.poll_deliver().map(|slot| pool.put(slot)).is_some()
}

#[inline(never)]
fn step_report(peer: &mut Engine, pool: &mut Pool<SLOTS>, now: Instant, out: &mut [u8]) -> Option<Transmit> {
    peer.poll_transmit(pool, now, out)
}

#[inline(never)]
fn step_hear(peer: &mut Engine, pool: &mut Pool<SLOTS>, slot: Slot, arrival: Arrival) {
    peer.receive(pool, slot, arrival);
}

#[inline(never)]
fn step_timeouts(peer: &mut Engine, now: Instant) {
    let _ = black_box(peer.poll_timeout());
    peer.handle_timeout(now);
    while peer.poll_event().is_some() {}
}

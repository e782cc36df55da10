// SPDX-License-Identifier: BSD-2-Clause
//! Hosts, engines and links, and the time that passes for them.

use std::net::Ipv4Addr;

use mlvpn::lab::link::LinkModel;
use mlvpn_core::memory::two::DATA_OVERHEAD;
use mlvpn_core::words::ids::LinkId;
use mlvpn_core::words::time::{Duration, Instant};

use super::capacity::carried;
use super::end::{End, EngineFacts};
use super::outcome::Outcome;
use super::plan::{Carrier, OUTER_HEADERS, Plan, WARM_UP, Way};
use super::probe::{self, Probe};
use super::tcp::receiver::{Received, Receiver};
use super::tcp::segment::{IP_HEADER, Segment, TCP_HEADER};
use super::tcp::sender::{Sender, Sendings, Settings};
use crate::random::Random;

/// When the world begins: some time after the origin, as on a machine that has been running.
const START: Instant = Instant::from_micros(1_000_000_000);

/// What an Ethernet interface carries.
const LINK_MTU: u64 = 1500;

/// Flows and probes begin within this time, as the seed decides: without it all seeds would be alike where links leave
/// nothing to chance.
const START_SPREAD: Duration = Duration::from_millis(20);

/// Rounds at one instant after which the world counts as stuck.
const MAX_ROUNDS: u32 = 100_000;

/// The hosts: the user's and the far one.
const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1)];

struct Flow {
    sender: Sender,
    receiver: Receiver,
    /// Bytes when the counted part began, and when the last ones came.
    before: u64,
    last_bytes: u64,
    last_at: Instant,
    gap: Duration,
}

struct World {
    plan: Plan,
    now: Instant,
    /// The tunnel's ends, user's first; none when there is no tunnel.
    ends: Option<Box<[End; 2]>>,
    /// By link used: up, then down.
    links: Vec<[LinkModel<Vec<u8>>; 2]>,
    flows: Vec<Flow>,
    probes: Vec<Probe>,
    record: Record,
}

/// What is noted every tenth of a second.
#[derive(Default)]
struct Record {
    lines: Vec<String>,
    bytes: Vec<u64>,
    rtt_sum: u64,
    rtt_count: u64,
    carried: Vec<u64>,
}

/// The trace's period.
const SAMPLE: Duration = Duration::from_millis(100);

/// Runs `plan`. The work is in the packets: some ten microseconds each through both engines.
///
/// # Panics
/// When an engine keeps time from passing, which is a bug in it.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let mut world = World::new(plan.clone());
    world.run_until(START + WARM_UP);
    world.open_flows();
    let start = world.now;
    let counted_from = start + plan.skipped;
    let end = start + plan.length;
    let mut sample_at = start + SAMPLE;
    let mut is_counting = false;
    while world.now < end {
        let until = sample_at.min(end).min(if is_counting { end } else { counted_from });
        world.run_until(until);
        if !is_counting && world.now >= counted_from {
            is_counting = true;
            world.begin_counting();
        }
        if world.now >= sample_at {
            world.sample(start);
            sample_at += SAMPLE;
        }
    }
    world.outcome()
}

impl World {
    fn new(plan: Plan) -> Self {
        let used = plan.used();
        let ends = (!matches!(plan.carrier, Carrier::Bare(_))).then(|| {
            let client = End::client(&plan.settings(Way::Up), plan.seed, START);
            Box::new([client, End::server(!plan.seed)])
        });
        let links = used.iter().map(|link| {
            let [up, down] = plan.directions(*link);
            let seed = plan.link_seed(*link).wrapping_mul(2);
            [LinkModel::new(up, seed, START), LinkModel::new(down, seed.wrapping_add(1), START)]
        });
        let links = links.collect();
        Self { plan, now: START, ends, links, flows: Vec::new(), probes: Vec::new(), record: Record::default() }
    }

    fn open_flows(&mut self) {
        let hints = self.plan.settings(Way::Down);
        if let Some(ends) = self.ends.as_mut().filter(|_| self.plan.hints) {
            hints.iter().enumerate().for_each(|(link, settings)| ends[1].set_link(link, *settings));
        }
        let counts_from = self.now + self.plan.skipped;
        let mut random = Random::new(self.plan.seed);
        let mut soon = |now: Instant| now + Duration::from_micros(random.below(START_SPREAD.micros()));
        for index in 0..self.plan.flows {
            let number = u16::try_from(index).expect("few flows");
            let ports = (40_000 + number, 5_201 + number);
            let settings = Settings {
                ports,
                algorithm: self.plan.algorithm,
                largest_payload: 1_460,
                ecn: self.plan.ecn,
                application: self.plan.application,
                seed: self.plan.seed.wrapping_add(index as u64),
            };
            self.flows.push(Flow {
                sender: Sender::new(settings, soon(self.now)),
                receiver: Receiver::new(ports.1, ports.0, 1_460),
                before: 0,
                last_bytes: 0,
                last_at: self.now,
                gap: Duration::ZERO,
            });
        }
        for host in 0..HOSTS.len() {
            self.probes.push(Probe::new(soon(self.now), (HOSTS[host], HOSTS[1 - host]), counts_from));
        }
    }

    fn begin_counting(&mut self) {
        for flow in &mut self.flows {
            flow.before = flow.receiver.received().bytes;
            (flow.last_bytes, flow.last_at, flow.gap) = (flow.before, self.now, Duration::ZERO);
        }
    }

    fn run_until(&mut self, until: Instant) {
        self.settle();
        let mut rounds = 0;
        while let Some(event) = self.next_event().filter(|event| *event <= until) {
            rounds = if event > self.now { 0 } else { rounds + 1 };
            assert!(rounds < MAX_ROUNDS, "time stands still at {} us", self.now.micros());
            self.now = self.now.max(event);
            self.land();
            self.fire();
            self.settle();
        }
        self.now = until;
    }

    fn next_event(&self) -> Option<Instant> {
        let links = self.links.iter().flatten().filter_map(LinkModel::next_event);
        let ends = self.ends.iter().flat_map(|ends| ends.iter()).filter_map(End::deadline);
        let flows = self.flows.iter().flat_map(|flow| [flow.sender.deadline(), flow.receiver.deadline()]).flatten();
        let probes = self.probes.iter().map(Probe::deadline);
        links.chain(ends).chain(flows).chain(probes).min()
    }

    /// Takes what has arrived over the links.
    fn land(&mut self) {
        for index in 0..self.links.len() {
            for way in 0..2 {
                while let Some(datagram) = self.links[index][way].poll(self.now) {
                    // What goes up arrives at the far side.
                    let side = 1 - way;
                    match &mut self.ends {
                        Some(ends) => ends[side].receive(index, &datagram, self.now),
                        None => self.arrive(side, &datagram),
                    }
                    self.deliver();
                }
            }
        }
    }

    /// At once after every call that may release packets, as the engine demands.
    fn deliver(&mut self) {
        for side in 0..2 {
            while let Some(packet) = self.ends.as_mut().and_then(|ends| ends[side].poll_deliver()) {
                self.arrive(side, &packet);
            }
        }
    }

    fn fire(&mut self) {
        let now = self.now;
        for end in self.ends.iter_mut().flat_map(|ends| ends.iter_mut()) {
            if end.deadline().is_some_and(|at| at <= now) {
                end.handle_timeout(now);
            }
        }
        self.deliver();
        for flow in &mut self.flows {
            if flow.sender.deadline().is_some_and(|at| at <= now) {
                flow.sender.handle_timeout(now);
            }
        }
    }

    /// Everybody sends what there is to send.
    fn settle(&mut self) {
        let sending = self.plan.way.sender();
        for index in 0..self.flows.len() {
            while let Some(segment) = self.flows[index].sender.poll_transmit(self.now) {
                self.leave(sending, segment.emit(HOSTS[sending], HOSTS[1 - sending]));
            }
            while let Some(segment) = self.flows[index].receiver.poll_transmit(self.now) {
                self.leave(1 - sending, segment.emit(HOSTS[1 - sending], HOSTS[sending]));
            }
        }
        for side in 0..self.probes.len() {
            while let Some(packet) = self.probes[side].poll_transmit(self.now) {
                self.leave(side, packet);
            }
        }
        let Some(ends) = &mut self.ends else { return };
        for (side, end) in ends.iter_mut().enumerate() {
            while let Some((link, datagram)) = end.poll_transmit(self.now) {
                let len = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
                // What a link refuses is lost; the link counts it.
                drop(self.links[link][side].offer(datagram, len, self.now));
            }
        }
        // The engines may have answered a host themselves.
        self.deliver();
    }

    /// A host sends a packet.
    fn leave(&mut self, side: usize, packet: Vec<u8>) {
        match &mut self.ends {
            Some(ends) => ends[side].send(packet, self.now),
            None => {
                let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
                drop(self.links[0][side].offer(packet, len, self.now));
            }
        }
    }

    /// A packet reaches a host.
    fn arrive(&mut self, side: usize, packet: &[u8]) {
        let sending = self.plan.way.sender();
        let Some(segment) = Segment::parse(packet) else {
            let is_probe = packet.get(22..24) == Some(&probe::PORT.to_be_bytes()[..]);
            if is_probe && let Some(probe) = self.probes.get_mut(1 - side) {
                probe.receive(packet, self.now);
            }
            return;
        };
        let (now, port) = (self.now, if side == sending { segment.source } else { segment.destination });
        let Some(flow) = self.flows.get_mut(usize::from(port.wrapping_sub(5_201))) else { return };
        if side == sending {
            return flow.sender.receive(&segment, now);
        }
        flow.receiver.receive(&segment, now);
        let bytes = flow.receiver.received().bytes;
        if bytes > flow.last_bytes {
            flow.gap = flow.gap.max(now.since(flow.last_at));
            (flow.last_bytes, flow.last_at) = (bytes, now);
        }
    }

    fn sample(&mut self, start: Instant) {
        let bytes: u64 = self.flows.iter().map(|flow| flow.receiver.received().bytes).sum();
        let delta = bytes - self.record.bytes.last().copied().unwrap_or(0);
        self.record.bytes.push(bytes);
        let first = &self.flows[0].sender;
        let rtt = first.rtt().smoothed().map_or(0, Duration::micros);
        self.record.rtt_sum += rtt;
        self.record.rtt_count += 1;
        if !self.plan.traced {
            return;
        }
        let window = first.window();
        let mut line = format!(
            "{},{},{},{},{},{}",
            self.now.since(start).millis(),
            delta * 80 / 1_000,
            window.segments,
            window.threshold.min(1 << 20),
            rtt,
            first.sendings().copies
        );
        let way = self.plan.way.sender();
        self.record.carried.resize(self.links.len(), 0);
        for (link, before) in self.links.iter().zip(&mut self.record.carried) {
            let carried = link[way].counters().carried_bytes;
            line +=
                &format!(",{},{},{}", link[way].queue_bytes(), carried - *before, link[way].counters().lost.total());
            *before = carried;
        }
        for link in 0..self.links.len() {
            let departures = self.ends.as_ref().and_then(|ends| ends[way].departures(LinkId::new(link)));
            let Some(departures) = departures else { continue };
            let rate = departures.rate();
            line += &format!(",{},{},{}", rate.pace() / 125, rate.capacity().unwrap_or(0) / 125, rate.queue().micros());
        }
        self.record.lines.push(line);
    }

    fn outcome(mut self) -> Outcome {
        let (now, sending) = (self.now, self.plan.way.sender());
        for flow in &mut self.flows {
            flow.gap = flow.gap.max(now.since(flow.last_at));
        }
        let payload = self.flows.iter().map(|flow| flow.receiver.received().bytes - flow.before).sum();
        let (skipped, length) = (WARM_UP + self.plan.skipped, WARM_UP + self.plan.length);
        let capacity = self.payload_of(self.carried(skipped, length));
        let engines = self.ends.as_deref().map(|ends| sum(ends.each_ref().map(End::facts))).unwrap_or_default();
        Outcome {
            payload,
            capacity,
            latency: [self.probes[sending].latency(), self.probes[1 - sending].latency()],
            gap: self.flows.iter().map(|flow| flow.gap).max().unwrap_or_default(),
            engines,
            sendings: self.flows.iter().fold(Sendings::default(), |sum, flow| sum.plus(flow.sender.sendings())),
            received: self.flows.iter().fold(Received::default(), |sum, flow| sum.plus(flow.receiver.received())),
            reached: self.reached(),
            mean_rtt: self.record.rtt_sum / self.record.rtt_count.max(1),
            trace: self.trace(),
        }
    }

    fn trace(&mut self) -> Vec<String> {
        let links =
            (1..=self.links.len()).map(|link| format!(",queue{link}_bytes,carried{link}_bytes,lost{link}_packets"));
        let rates = (1..=self.links.len())
            .map(|link| format!(",pace{link}_kbit_per_s,capacity{link}_kbit_per_s,delay{link}_micros"));
        let links = links.chain(rates);
        let heading =
            "millis,goodput_kbit_per_s,window,threshold,rtt_micros,copies".to_owned() + &links.collect::<String>();
        let lines = std::mem::take(&mut self.record.lines);
        if lines.is_empty() { lines } else { std::iter::once(heading).chain(lines).collect() }
    }

    /// Bytes the links used could carry in the flows' direction.
    fn carried(&self, from: Duration, until: Duration) -> u64 {
        let way = self.plan.way.sender();
        let one = |link: usize| carried(&self.plan.directions(link)[way], self.plan.link_seed(link), from, until);
        self.plan.used().into_iter().map(one).sum()
    }

    /// Payload in that many bytes of full packets.
    fn payload_of(&self, bytes: u64) -> u64 {
        let headers = (IP_HEADER + TCP_HEADER) as u64;
        let tunnel = if self.ends.is_some() { DATA_OVERHEAD as u64 + u64::from(OUTER_HEADERS) } else { 0 };
        bytes * (LINK_MTU - tunnel - headers) / LINK_MTU
    }

    /// When half a second first brought 90 % of what the links carry.
    fn reached(&self) -> Option<Duration> {
        const SPAN: usize = 5;
        let whole = self.payload_of(self.carried(WARM_UP, WARM_UP + self.plan.length));
        let samples = self.record.bytes.len().max(1) as u64;
        let needed = whole * 9 / 10 * SPAN as u64 / samples;
        let mut bytes = vec![0];
        bytes.extend(&self.record.bytes);
        let place = bytes.windows(SPAN + 1).position(|window| window[SPAN] - window[0] >= needed)?;
        Some(SAMPLE * place as u64)
    }
}

fn sum([one, other]: [EngineFacts; 2]) -> EngineFacts {
    let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    EngineFacts {
        drops: one.drops + other.drops,
        resends: both(one.resends, other.resends),
        duplicates: both(one.duplicates, other.duplicates),
    }
}

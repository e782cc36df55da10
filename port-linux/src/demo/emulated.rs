// SPDX-License-Identifier: BSD-2-Clause
//! The stage that needs no rights: two engines of protocol 2, two TCP stacks and the links between them in this process.
//!
//! Everything is sans-IO and runs up to the time it is told, so it plays in real and in virtual time alike.

use std::net::{IpAddr, Ipv4Addr};

use mlvpn_core::state::handshake::Offer;
use mlvpn_core::state::identity::SharedSecret;
use mlvpn_core::state::link::{LinkSettings, Phase, Role};
use mlvpn_core::tunnel::peer::config::PeerConfig;
use mlvpn_core::words::event::Health;
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::limits::EGRESS_SLOTS;
use mlvpn_core::words::time::Instant;

use super::plan::{MAX_LINKS, OUTER_HEADERS, Plan, TUNNEL_MTU};
use super::record::{LinkReading, LinkState, Reading};
use super::run::Stage;
use crate::lab::engine::TunnelEnd;
use crate::lab::tcp::{TcpConfig, TcpHost};
use crate::lab::virtual_time::{Duplex, Endpoint, EndpointId, Port, World};

/// As the daemon has.
const WINDOW: usize = 1024;

type End = TunnelEnd<MAX_LINKS, WINDOW, { WINDOW + EGRESS_SLOTS + 1 }>;

const USER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// The stage.
pub(super) struct Emulated {
    plan: Plan,
    seeds: [[u8; 32]; 2],
    scene: Option<Scene>,
}

/// What is there during an act.
struct Scene {
    world: World<Station>,
    /// The client, who receives.
    user: EndpointId,
    /// The server, who sends.
    far: EndpointId,
    /// By link of the plan; those of this act.
    wires: Vec<Option<Duplex>>,
    /// The tunnel's links.
    links: Vec<usize>,
}

impl Emulated {
    /// `seeds` draw the two ends' nonces.
    pub(super) const fn new(plan: Plan, seeds: [[u8; 32]; 2]) -> Self {
        Self { plan, seeds, scene: None }
    }
}

impl Stage for Emulated {
    fn open(&mut self, links: &[usize], now: Instant) -> Result<(), String> {
        let mut world = World::new(now);
        // Both ends are in this process, so what they share need not be kept from anybody.
        let secret = SharedSecret::from_random((*b"both ends of the demo share this").into());
        let offer = Offer { aes_in_hardware: false, max_links: MAX_LINKS as u8 };
        let allowed = std::iter::empty().collect();
        let config = PeerConfig { medium: Medium::Ip, max_mtu: TUNNEL_MTU, reorder: true, offer, allowed };
        let mut add = |role, seed| {
            let mut tunnel = End::new(role, config.clone(), secret.clone(), seed);
            for &index in links {
                tunnel.open_link(index, self.settings(role, index), now);
            }
            world.add(Station { tunnel, host: None })
        };
        let [user_seed, far_seed] = self.seeds;
        let (user, far) = (add(Role::Client, user_seed), add(Role::Server, far_seed));
        let mut wires = vec![None; self.plan.links.len()];
        for &number in links {
            let port = |endpoint| Port { endpoint, number };
            let mut spec = self.plan.links[number].spec;
            // The model is offered the tunnel's datagrams; the links carry them in UDP and IP.
            spec.overhead_bytes += u32::try_from(OUTER_HEADERS).unwrap_or_default();
            wires[number] = Some(world.connect(port(user), port(far), &spec, number as u64 + 1));
        }
        self.scene = Some(Scene { world, user, far, wires, links: links.to_vec() });
        Ok(())
    }

    fn start_transfer(&mut self, now: Instant) -> Result<(), String> {
        let Some(scene) = &mut self.scene else { return Ok(()) };
        let buffer_bytes = self.plan.buffer_bytes(&scene.links);
        let config = |local, peer, seed| TcpConfig {
            mtu: usize::from(TUNNEL_MTU),
            buffer_bytes,
            seed,
            ..TcpConfig::new(local, peer)
        };
        let receiver = TcpHost::receiver(config(USER, FAR, 1), now);
        scene.world.endpoint_mut(scene.user).host = Some(receiver);
        let sender = TcpHost::sender(config(FAR, USER, 2), None, now);
        scene.world.endpoint_mut(scene.far).host = Some(sender);
        Ok(())
    }

    fn set_link(&mut self, link: usize, up: bool, now: Instant) -> Result<(), String> {
        let Some(scene) = &mut self.scene else { return Ok(()) };
        if let Some(Some(duplex)) = scene.wires.get(link) {
            scene.world.link_mut(duplex.up).set_up(up, now);
            scene.world.link_mut(duplex.down).set_up(up, now);
        }
        Ok(())
    }

    fn advance(&mut self, now: Instant) -> Result<Reading, String> {
        let Some(scene) = &mut self.scene else { return Ok(Reading::default()) };
        scene.world.run_until(now).map_err(|stuck| stuck.to_string())?;
        let user = scene.world.endpoint(scene.user);
        let progress = user.host.as_ref().map(|host| *host.progress()).unwrap_or_default();
        let links = scene.wires.iter().enumerate().map(|(index, duplex)| scene.link_reading(index, *duplex));
        let corrupt = progress.corrupt.map(|(_, position)| position);
        Ok(Reading { payload_bytes: progress.bytes, corrupt, links: links.collect() })
    }

    fn close(&mut self) -> Result<(), String> {
        self.scene = None;
        Ok(())
    }
}

impl Emulated {
    fn settings(&self, role: Role, index: usize) -> LinkSettings {
        let link = &self.plan.links[index];
        let bits_per_second = match role {
            Role::Client => link.up_bps,
            Role::Server => link.down_bps,
        };
        LinkSettings { rate_bytes_per_sec: bits_per_second / 8, ..LinkSettings::default() }
    }
}

impl Scene {
    fn link_reading(&self, index: usize, duplex: Option<Duplex>) -> LinkReading {
        let Some(duplex) = duplex else { return LinkReading::default() };
        let counters = self.world.link(duplex.down).counters();
        let ends = [self.user, self.far].map(|id| self.world.endpoint(id).tunnel.peer().link(LinkId::new(index)));
        // The sender's view decides where packets go; the tunnel is up when it is at both ends.
        let [Some(user), Some(far)] = ends else { return LinkReading::default() };
        // A link's MTU is found out within a few round trips; TCP would begin with smaller segments before that.
        let is_ready = user.phase() == Phase::Up && user.is_measured() && far.is_measured();
        LinkReading {
            carried_bytes: counters.carried_bytes,
            offered: counters.offered,
            lost: counters.lost.total(),
            round_trip: far.rtt().smoothed().or(user.rtt().smoothed()),
            state: if is_ready { state(far.phase(), far.health()) } else { LinkState::Connecting },
        }
    }
}

const fn state(phase: Phase, health: Health) -> LinkState {
    match (phase, health) {
        (Phase::Closed | Phase::Waiting, _) => LinkState::Connecting,
        (Phase::Up, Health::Good) => LinkState::Up,
        (Phase::Up, Health::Lossy) => LinkState::Lossy,
        (Phase::Up, Health::Slow) => LinkState::Slow,
        (Phase::Up, Health::Silent) => LinkState::Silent,
    }
}

/// A tunnel end with a host behind it, once there is one.
struct Station {
    tunnel: End,
    host: Option<TcpHost>,
}

impl Endpoint for Station {
    fn on_datagram(&mut self, port: usize, datagram: Vec<u8>, now: Instant) {
        self.tunnel.on_datagram(port, datagram, now);
    }

    fn on_timer(&mut self, now: Instant) {
        if is_due(self.tunnel.next_deadline(), now) {
            self.tunnel.on_timer(now);
        }
        if let Some(host) = self.host.as_mut().filter(|host| is_due(host.next_deadline(), now)) {
            host.poll(now);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let host = self.host.as_ref().and_then(TcpHost::next_deadline);
        [self.tunnel.next_deadline(), host].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        loop {
            match self.tunnel.poll_transmit(now) {
                Some((End::DEVICE, packet)) => {
                    if let Some(host) = &mut self.host {
                        host.on_datagram(0, packet, now);
                    }
                }
                Some(datagram) => return Some(datagram),
                None => {
                    let packet = self.host.as_mut()?.poll_packet()?;
                    self.tunnel.on_datagram(End::DEVICE, packet, now);
                }
            }
        }
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Act, Stretch};
    use super::super::record::Record;
    use super::super::run::{Audience, Halt, Pace, Run};
    use super::*;
    use mlvpn_core::words::time::Duration;
    use std::io;

    struct AtOnce;

    impl Pace for AtOnce {
        fn pass(&mut self, span: Duration) -> Result<Duration, Halt> {
            Ok(span)
        }
    }

    struct Nobody;

    impl Audience for Nobody {
        fn announce(&mut self, _plan: &Plan, _act: &Act) -> io::Result<()> {
            Ok(())
        }
        fn show(&mut self, _plan: &Plan, _record: &Record) -> io::Result<()> {
            Ok(())
        }
    }

    fn play(links: &str, seconds: u32) -> Record {
        let plan = Plan::new(Some(links), Some(seconds)).expect(links);
        let mut stage = Emulated::new(plan.clone(), [[1; 32], [2; 32]]);
        let run = Run { plan: &plan, stage: &mut stage, pace: &mut AtOnce, audience: &mut Nobody }.play();
        run.expect("it plays to the end")
    }

    fn mbit(record: &Record, stretch: Stretch) -> u64 {
        record.rows.iter().find(|row| row.stretch == stretch).expect("every stretch has a row").payload_bps / 1_000_000
    }

    #[test]
    fn two_links_together_carry_more_than_the_better_one_and_every_byte_intact() {
        let record = play("16mbit/10ms,8mbit/30ms", 12);
        assert_eq!(record.problems, [""; 0]);
        let (first, second) = (mbit(&record, Stretch::Alone(0)), mbit(&record, Stretch::Alone(1)));
        let together = mbit(&record, Stretch::Together);
        assert!((13..16).contains(&first) && (6..8).contains(&second), "{first} and {second} Mbit/s alone");
        assert!(together > first + second / 2, "{together} Mbit/s together, {first} and {second} alone");
        assert_eq!(record.idle_round_trips.len(), 2);
    }

    #[test]
    fn the_same_demo_comes_out_the_same() {
        assert_eq!(play("8mbit/5ms,4mbit/20ms/0.5%", 4), play("8mbit/5ms,4mbit/20ms/0.5%", 4));
    }

    #[test]
    fn a_single_link_pulled_stops_the_transfer_until_it_is_back() {
        let record = play("4mbit/10ms", 6);
        assert_eq!(record.problems, [""; 0]);
        assert!(record.pull_gap >= Duration::from_secs(1), "{:?}", record.pull_gap);
    }

    #[test]
    fn a_tunnel_that_does_not_come_up_is_a_failure() {
        let plan = Plan::new(Some("4mbit/10ms/100%"), Some(2)).expect("a link");
        let mut stage = Emulated::new(plan.clone(), [[1; 32], [2; 32]]);
        let run = Run { plan: &plan, stage: &mut stage, pace: &mut AtOnce, audience: &mut Nobody }.play();
        assert_eq!(run, Err(Halt::Failed("no tunnel over link 1 within 10 s".to_owned())));
    }
}

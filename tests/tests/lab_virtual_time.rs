// SPDX-License-Identifier: BSD-2-Clause
//! TCP over emulated links in virtual time: deterministic, and as fast as links of that kind carry it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mlvpn::lab::link::{Change, Counters};
use mlvpn::lab::tcp::{Congestion, Progress, TcpConfig, TcpHost};
use mlvpn::lab::virtual_time::{Duplex, EndpointId, Port, World};
use mlvpn_core::words::time::{Duration, Instant};

/// Two hosts and the link between them; the receiver is the user.
struct Path {
    receiver: EndpointId,
    duplex: Duplex,
}

/// Adds a sender, a receiver and a link; `index` keeps the addresses apart.
fn add_path(world: &mut World<TcpHost>, index: u8, link: &str, base: TcpConfig, seed: u64) -> Path {
    let (here, there) = (IpAddr::V4(Ipv4Addr::new(10, 9, index, 1)), IpAddr::V4(Ipv4Addr::new(10, 9, index, 2)));
    let sender = TcpConfig { local: here, peer: there, seed, ..base };
    let receiver = TcpConfig { local: there, peer: here, seed: seed + 1, ..base };
    let sender = world.add(TcpHost::sender(sender, None, world.now()));
    let receiver = world.add(TcpHost::receiver(receiver, world.now()));
    let spec = link.parse().expect("a link");
    let (user, far) = (Port { endpoint: receiver, number: 0 }, Port { endpoint: sender, number: 0 });
    Path { receiver, duplex: world.connect(user, far, &spec, seed) }
}

fn base() -> TcpConfig {
    TcpConfig::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Goodput of the seconds `from..to` in percent of the rate.
fn percent(world: &mut World<TcpHost>, path: &Path, from: u64, to: u64, rate_bps: u64) -> u64 {
    world.run_until(Instant::from_micros(from * 1_000_000)).expect("time passes");
    let before = world.endpoint(path.receiver).progress().bytes;
    world.run_until(Instant::from_micros(to * 1_000_000)).expect("time passes");
    let bytes = world.endpoint(path.receiver).progress().bytes - before;
    bytes * 8 * 100 / (rate_bps * (to - from))
}

#[test]
fn one_flow_fills_each_of_two_links_at_once() {
    let mut world = World::new(Instant::ORIGIN);
    // Windows that fill the link without overrunning its queue: smoltcp sends no SACK, so what slow start overshoots
    // costs it seconds, and that is not what is measured here.
    let fast = add_path(&mut world, 1, "40mbit/10ms", TcpConfig { buffer_bytes: 512 << 10, ..base() }, 1);
    let slow = add_path(&mut world, 2, "10mbit/40ms", TcpConfig { buffer_bytes: 200 << 10, ..base() }, 2);
    // 1460 of 1500 bytes are payload: 97 %.
    let fast_percent = percent(&mut world, &fast, 5, 20, 40_000_000);
    assert!((93..=97).contains(&fast_percent), "{fast_percent} %");
    let slow_percent = percent(&mut world, &slow, 20, 40, 10_000_000);
    assert!((93..=97).contains(&slow_percent), "{slow_percent} %");
    for path in [&fast, &slow] {
        assert_eq!(world.endpoint(path.receiver).progress().corrupt, None);
        assert_eq!(world.endpoint(path.receiver).progress().established, 1);
    }
    assert_eq!(world.unconnected(), 0);
}

fn lossy_run(seed: u64, congestion: Congestion) -> (Progress, Counters) {
    let mut world = World::new(Instant::ORIGIN);
    let path = add_path(&mut world, 1, "20mbit/15ms/0.5%/jitter=2ms", TcpConfig { congestion, ..base() }, seed);
    world.run_for(Duration::from_secs(20)).expect("time passes");
    (*world.endpoint(path.receiver).progress(), *world.link(path.duplex.down).counters())
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for congestion in [Congestion::Cubic, Congestion::Reno] {
        let first = lossy_run(1, congestion);
        assert_eq!(first, lossy_run(1, congestion));
        assert_ne!(first.1, lossy_run(2, congestion).1);
        assert_eq!(first.0.corrupt, None);
        assert!(first.1.lost.random > 0 && first.0.bytes > 1_000_000, "{first:?}");
    }
}

#[test]
fn a_link_that_dies_and_returns_does_not_end_the_connection() {
    let mut world = World::new(Instant::ORIGIN);
    let path = add_path(&mut world, 1, "20mbit/15ms", base(), 1);
    world.run_for(Duration::from_secs(5)).expect("time passes");
    set_up(&mut world, &path, false);
    world.run_for(Duration::from_secs(2)).expect("time passes");
    set_up(&mut world, &path, true);
    let bytes = world.endpoint(path.receiver).progress().bytes;
    world.run_for(Duration::from_secs(20)).expect("time passes");
    let progress = world.endpoint(path.receiver).progress();
    assert!(progress.bytes > bytes + 10_000_000 && progress.corrupt.is_none(), "{progress:?}");
    assert!(progress.longest_gap >= Duration::from_secs(2), "{progress:?}");
    assert!(world.link(path.duplex.down).counters().lost.down > 0);
}

fn set_up(world: &mut World<TcpHost>, path: &Path, up: bool) {
    let now = world.now();
    for wire in [path.duplex.up, path.duplex.down] {
        world.link_mut(wire).change(Change::Up(up), now);
    }
}

#[test]
fn a_rate_step_shows_in_the_goodput() {
    let mut world = World::new(Instant::ORIGIN);
    let path = add_path(&mut world, 1, "30mbit/20ms", TcpConfig { buffer_bytes: 192 << 10, ..base() }, 1);
    assert!(percent(&mut world, &path, 5, 10, 30_000_000) >= 90);
    let now = world.now();
    world.link_mut(path.duplex.down).set_rate(8_000_000, now);
    let after = percent(&mut world, &path, 15, 25, 8_000_000);
    assert!((85..=98).contains(&after), "{after} %");
}

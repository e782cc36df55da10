// SPDX-License-Identifier: BSD-2-Clause
//! Emulated links between real network namespaces, used by the kernel's own TCP. Needs the right to make namespaces
//! and TUN devices; says so and passes without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration as StdDuration;

use portable_atomic::AtomicU64;

use mlvpn::lab::kernel::{Pair, round_trips, transfer};
use mlvpn::lab::namespace::{LabError, Namespace};
use mlvpn::lab::realtime::{Emulation, End, LinkId, Running, Way};
use mlvpn_core::words::time::Duration;

const USER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
const USER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1));
const FAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 2));

struct Lab {
    user: Namespace,
    far: Namespace,
    link: LinkId,
    running: Running,
}

fn build(spec: &str) -> Result<Lab, LabError> {
    let (user, far) = (Namespace::new()?, Namespace::new()?);
    let mut emulation = Emulation::new();
    let spec = spec.parse().expect("a link");
    let user_end = End { namespace: &user, interface: "link0", mtu: 1500, addresses: &[(USER, 24), (USER6, 64)] };
    let far_end = End { namespace: &far, interface: "link0", mtu: 1500, addresses: &[(FAR, 24), (FAR6, 64)] };
    let link = emulation.join(&user_end, &far_end, &spec, 1)?;
    let running = emulation.start()?;
    Ok(Lab { user, far, link, running })
}

/// The laboratory, or `None` with the reason printed where the machine forbids it.
fn lab(spec: &str) -> Option<Lab> {
    match build(spec) {
        Ok(lab) => Some(lab),
        Err(error) if error.is_forbidden() => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn kernel_tcp_gets_its_bytes_through_whole_and_never_faster_than_the_link() {
    let Some(lab) = lab("40mbit/10ms") else { return };
    let pair = Pair { sender: &lab.far, receiver: &lab.user, address: USER };
    let done = transfer(pair, 8_000_000, &AtomicU64::new(0)).expect("the transfer");
    println!("40 Mbit/s link: {} kbit/s of payload", done.bits_per_second() / 1_000);
    assert_eq!((done.bytes, done.corrupt), (8_000_000, None));
    // The payload of 1500-byte packets is below the rate even with the queue's content sent ahead of the clock.
    assert!(done.bits_per_second() <= 40_000_000, "{} bit/s", done.bits_per_second());
    let down = lab.running.counters(lab.link, Way::Down);
    assert!(down.model.delivered_bytes >= 8_000_000 && down.refused == 0, "{down:?}");
    lab.running.stop().expect("the emulator ran to the end");
}

#[test]
fn a_round_trip_takes_both_delays_over_both_families() {
    let Some(lab) = lab("40mbit/10ms") else { return };
    for address in [FAR, FAR6] {
        let pair = Pair { sender: &lab.user, receiver: &lab.far, address };
        let times = round_trips(pair, 20, StdDuration::from_millis(5)).expect("sockets");
        let mut answered: Vec<Duration> = times.into_iter().flatten().collect();
        answered.sort();
        assert!(!answered.is_empty(), "no echo came back from {address}");
        println!("{address}: fastest {} us, median {} us", answered[0].micros(), answered[answered.len() / 2].micros());
        assert!(answered[0] >= Duration::from_millis(20), "{answered:?}");
    }
}

#[test]
fn a_link_taken_down_carries_nothing_and_up_again_carries_all() {
    let Some(lab) = lab("unlimited/1ms") else { return };
    let pair = Pair { sender: &lab.user, receiver: &lab.far, address: FAR };
    lab.running.set_up(lab.link, false).expect("told");
    let times = round_trips(pair, 1, StdDuration::ZERO).expect("sockets");
    assert_eq!(times, [None]);
    assert!(lab.running.counters(lab.link, Way::Up).model.lost.down > 0);
    lab.running.set_up(lab.link, true).expect("told");
    let times = round_trips(pair, 3, StdDuration::ZERO).expect("sockets");
    assert!(times.iter().any(Option::is_some));
}

#[test]
fn a_command_and_its_sockets_live_in_the_namespace() {
    let Some(lab) = lab("unlimited/1ms") else { return };
    let mut command = lab.user.command("cat").expect("a descriptor");
    let output = command.arg("/proc/self/net/dev").output().expect("cat runs");
    let devices = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(devices.contains("link0:") && !devices.contains("eth0:"), "{devices}");
}

#[test]
fn routes_lead_by_source_where_asked() {
    let Some(lab) = lab("unlimited/1ms") else { return };
    lab.user.route_default("link0", USER, None).expect("a route");
    lab.user.route_default("link0", USER6, Some(100)).expect("a rule and a route");
    // The far side owns an address outside the link's network; only the default route leads there.
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    lab.far.configure("lo", 1500, &[(elsewhere, 32)]).expect("an address");
    let pair = Pair { sender: &lab.user, receiver: &lab.far, address: elsewhere };
    let times = round_trips(pair, 3, StdDuration::ZERO).expect("sockets");
    assert!(times.iter().any(Option::is_some));
}

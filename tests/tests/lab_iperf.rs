// SPDX-License-Identifier: BSD-2-Clause
//! iperf3 over an emulated link. Needs iperf3 and the right to make namespaces; says so and passes without.

use std::net::{IpAddr, Ipv4Addr};

use mlvpn::lab::iperf::{IperfError, IperfRun, run};
use mlvpn::lab::namespace::{LabError, Namespace};
use mlvpn::lab::realtime::{Emulation, End, LinkId, Running, Way};

const USER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));

fn build(user: &Namespace, far: &Namespace) -> Result<(LinkId, Running), LabError> {
    let mut emulation = Emulation::new();
    let end = |namespace, addresses| End { namespace, interface: "link0", mtu: 1500, addresses };
    let spec = "20mbit/5ms".parse().expect("a link");
    let link = emulation.join(&end(user, &[(USER, 24)]), &end(far, &[(FAR, 24)]), &spec, 1)?;
    Ok((link, emulation.start()?))
}

fn measure() -> Result<(), IperfError> {
    let (user, far) = (Namespace::new()?, Namespace::new()?);
    let (link, links) = build(&user, &far)?;
    for is_reversed in [false, true] {
        let congestion = Some("cubic");
        let (server, client) = (&far, &user);
        let plan = IperfRun {
            server,
            client,
            address: FAR,
            port: 5201,
            seconds: 1,
            omit_seconds: 0,
            flows: 2,
            congestion,
            is_reversed,
        };
        let result = run(&plan)?;
        println!("20 Mbit/s link, reversed {is_reversed}: {result:?}");
        assert!(result.bytes > 0);
        // Whatever iperf3 counted, the link delivered, with headers on top.
        let way = if is_reversed { Way::Down } else { Way::Up };
        assert!(links.counters(link, way).model.delivered_bytes > result.bytes, "{result:?}");
    }
    links.stop()?;
    Ok(())
}

#[test]
fn iperf3_measures_what_the_link_carried_both_ways() {
    match measure() {
        Ok(()) => {}
        Err(error @ IperfError::Missing) => eprintln!("skipped: {error}"),
        Err(IperfError::Lab(error)) if error.is_forbidden() => eprintln!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! A client's and a server's machine, as network namespaces, and several links between them.
//!
//! Link n is the interface `linkN` on both sides, in the network 10.9.N.0/24 and fd09:N::/64; the client is .1 and the
//! server .2, inside the tunnel (10.42.0.0/24, fd42::/64) as outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use mlvpn::lab::namespace::{LabError, Namespace, Prefixed};
use mlvpn::lab::realtime::{Emulation, End, LinkId, Running};
use nix::unistd::{geteuid, gettid};

use crate::configuration::Family;

/// The links' MTU in bytes: Ethernet's.
const LINK_MTU: u32 = 1500;

/// One of the two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The router with several links.
    Client,
    /// The server it talks to.
    Server,
}

impl Side {
    /// The last part of its addresses.
    const fn number(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Server => 2,
        }
    }
}

/// A side's address on a link; links count from 1.
///
/// # Panics
/// Beyond link 255.
#[must_use]
pub fn outside_address(side: Side, link: usize, family: Family) -> IpAddr {
    let link = u8::try_from(link).expect("few links");
    match family {
        Family::V4 => Ipv4Addr::new(10, 9, link, side.number()).into(),
        Family::V6 => Ipv6Addr::new(0xfd09, link.into(), 0, 0, 0, 0, 0, side.number().into()).into(),
    }
}

/// A side's address inside the tunnel.
#[must_use]
pub const fn tunnel_address(side: Side, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 42, 0, side.number())),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd42, 0, 0, 0, 0, 0, 0, side.number() as u16)),
    }
}

fn outside_addresses(side: Side, link: usize) -> [Prefixed; 2] {
    [(outside_address(side, link, Family::V4), 24), (outside_address(side, link, Family::V6), 64)]
}

/// The machines and their links, gone when dropped.
#[derive(Debug)]
pub struct Network {
    /// The client's machine.
    pub client: Namespace,
    /// The server's machine.
    pub server: Namespace,
    /// The emulator, of emulated links.
    emulator: Option<(Running, Vec<LinkId>)>,
}

impl Network {
    /// Links as described (`"100mbit/5ms"`), by the laboratory's emulator. `None`, and the reason on standard error,
    /// where the machine cannot do it.
    ///
    /// # Panics
    /// When it should be possible and fails.
    #[must_use]
    pub fn emulated(links: &[&str]) -> Option<Self> {
        Self::or_skip(|client, server| {
            let mut emulation = Emulation::new();
            let mut ids = Vec::new();
            for (spec, link) in links.iter().zip(1..) {
                let end = |namespace, side| (namespace, format!("link{link}"), outside_addresses(side, link));
                let (user, far) = (end(&client, Side::Client), end(&server, Side::Server));
                let spec = spec.parse().expect("a link's description");
                ids.push(emulation.join(&end_of(&user), &end_of(&far), &spec, link as u64)?);
            }
            let running = emulation.start()?;
            Ok(Self { client, server, emulator: Some((running, ids)) })
        })
    }

    /// Links that are veth pairs: no delay, no limit, and interfaces that can be deleted. `None` as for
    /// [`Network::emulated`].
    ///
    /// # Panics
    /// When it should be possible and fails.
    #[must_use]
    pub fn wired(links: usize) -> Option<Self> {
        let network = Self::or_skip(|client, server| Ok(Self { client, server, emulator: None }))?;
        for link in 1..=links {
            network.plug(link);
        }
        Some(network)
    }

    fn or_skip(build: impl FnOnce(Namespace, Namespace) -> Result<Self, LabError>) -> Option<Self> {
        let missing = missing();
        if let Some(what) = missing {
            eprintln!("skipped: {what}");
            return None;
        }
        let built = Namespace::new().and_then(|client| build(client, Namespace::new()?));
        match built {
            Ok(network) => Some(network),
            Err(error) if error.is_forbidden() => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Another machine, wired to the server's: `side0` on both, 10.9.99.1 there and 10.9.99.2 on the server's.
    ///
    /// # Panics
    /// When it cannot be made, or was made before.
    #[must_use]
    pub fn neighbour(&self) -> Namespace {
        let neighbour = Namespace::new().expect("another namespace");
        let make = || {
            let line = format!("link add side0 type veth peer name side0 netns {}", gettid());
            let output = neighbour.command("ip").expect("descriptors").args(line.split_whitespace()).output();
            assert!(output.is_ok_and(|output| output.status.success()), "ip {line}");
        };
        self.server.run(make).expect("the namespace can be entered");
        for (machine, number) in [(&neighbour, 1), (&self.server, 2)] {
            machine.configure("side0", LINK_MTU, &[(Ipv4Addr::new(10, 9, 99, number).into(), 24)]).expect("a new pair");
        }
        neighbour
    }

    /// A side's machine.
    #[must_use]
    pub const fn at(&self, side: Side) -> &Namespace {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Makes a wired link, or makes it again.
    ///
    /// # Panics
    /// When it exists.
    pub fn plug(&self, link: usize) {
        let name = format!("link{link}");
        // The other end's namespace is named by a thread in it, which waits meanwhile.
        let make = || {
            let peer = gettid().to_string();
            let line = format!("link add {name} type veth peer name {name} netns {peer}");
            self.ip(Side::Client, &line);
        };
        self.server.run(make).expect("the namespace can be entered");
        for side in [Side::Client, Side::Server] {
            self.at(side).configure(&name, LINK_MTU, &outside_addresses(side, link)).expect("the interface is there");
        }
    }

    /// Cuts an emulated link, or mends it: its interfaces notice nothing.
    ///
    /// # Panics
    /// When the links are not emulated.
    pub fn set_link(&self, link: usize, is_up: bool) {
        let (running, ids) = self.emulator.as_ref().expect("emulated links");
        running.set_up(ids[link - 1], is_up).expect("the emulator runs");
    }

    /// The emulator of emulated links, and the links in order.
    #[must_use]
    pub fn emulator(&self) -> Option<(&Running, &[LinkId])> {
        self.emulator.as_ref().map(|(running, ids)| (running, ids.as_slice()))
    }

    /// Runs `ip` on a side, and returns what it said.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, side: Side, line: &str) -> String {
        let mut command = self.at(side).command("ip").expect("descriptors");
        let output = command.args(line.split_whitespace()).output().expect("ip is installed");
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn end_of<'a>((namespace, interface, addresses): &'a (&'a Namespace, String, [Prefixed; 2])) -> End<'a> {
    End { namespace, interface, mtu: LINK_MTU, addresses }
}

/// What this machine lacks for running daemons in namespaces.
fn missing() -> Option<&'static str> {
    if !geteuid().is_root() {
        Some("daemons in network namespaces need root")
    } else if !std::path::Path::new("/dev/net/tun").exists() {
        Some("there is no /dev/net/tun; load the tun module")
    } else if Command::new("ip").arg("-V").output().is_err() {
        Some("ip is not installed (Debian package iproute2)")
    } else {
        None
    }
}

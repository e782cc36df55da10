// SPDX-License-Identifier: BSD-2-Clause
//! A system at work on a network's links: where its flows go.

use std::any::Any;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use mlvpn::lab::load::Transport;
use mlvpn::lab::ping::Pinger;
use mlvpn::lab::realtime::Way;
use mlvpn_core::words::time::Duration;

use super::daemons::{self, LinkRate};
use super::rivals::{self, Rival};
use super::scenario::Scenario;
use super::system::System;
use crate::configuration::Family;
use crate::daemon::Program;
use crate::network::{Network, Side, outside_address, tunnel_address};
use crate::{peer, wait};

/// Where flows go, and what must live meanwhile. Drop it before its network.
#[derive(Debug)]
pub struct Course {
    /// The server's address.
    pub address: Ipv4Addr,
    /// What carries flows there.
    pub transport: Transport,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Nothing,
    /// They end when dropped.
    Daemons {
        _both: Box<dyn Any>,
    },
    Rival(Rival),
}

/// Windows wide enough for the longest links here, for every system alike (bytes): least, default and greatest. A
/// 600 ms round trip at 28 Mbit/s and its queue hold 3 MB, which the kernel counts about double.
const SOCKET_BUFFERS: [(&str, &str); 2] =
    [("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432"), ("/proc/sys/net/ipv4/tcp_wmem", "4096 65536 33554432")];

impl Course {
    /// Starts a system over all links of a network that was made of the scenario's.
    ///
    /// # Errors
    /// Why it did not start.
    ///
    /// # Panics
    /// When one of our daemons, or MLVPN's, does not start.
    pub fn start(system: System, network: &Network, scenario: &Scenario) -> Result<Self, String> {
        for side in [Side::Client, Side::Server] {
            let widen = || SOCKET_BUFFERS.iter().try_for_each(|(path, text)| fs::write(path, text));
            let outcome = network.at(side).run(widen).map_err(|why| why.to_string())?;
            outcome.map_err(|why| format!("cannot widen TCP's buffers: {why}"))?;
        }
        let rates = rates(scenario);
        let daemons = |program: &Program, is_protocol2, rates| {
            let both = daemons::start(network, program, is_protocol2, scenario.links.len(), rates);
            let address = v4(tunnel_address(Side::Server, Family::V4));
            Self { address, transport: Transport::Tcp, running: Running::Daemons { _both: Box::new(both) } }
        };
        let rival =
            |rival: Rival| Self { address: rival.address, transport: Transport::Tcp, running: Running::Rival(rival) };
        Ok(match system {
            System::Protocol2 => daemons(&Program::ours(), true, None),
            System::Protocol2Rates => daemons(&Program::ours(), true, Some(rates.as_slice())),
            System::Classic => daemons(&Program::ours(), false, None),
            System::ClassicRates => daemons(&Program::ours(), false, Some(rates.as_slice())),
            System::Mlvpn => daemons(&peer::program_or_on_path()?, false, Some(rates.as_slice())),
            System::Glorytun => rival(rivals::glorytun(network, &rates)?),
            System::Mqvpn => rival(rivals::mqvpn(network, rates.len(), "wlb")?),
            System::MqvpnMinRtt => rival(rivals::mqvpn(network, rates.len(), "minrtt")?),
            System::Mptcp => {
                rivals::mptcp_endpoints(network, rates.len())?;
                Self::bare(1, Transport::Mptcp)
            }
            System::Link(link) => Self::bare(link, Transport::Tcp),
        })
    }

    /// No tunnel: to the server's address on a link.
    fn bare(link: usize, transport: Transport) -> Self {
        Self { address: v4(outside_address(Side::Server, link, Family::V4)), transport, running: Running::Nothing }
    }

    /// Waits until the server answers through it.
    ///
    /// # Errors
    /// That it does not, and the last words of the processes.
    pub fn await_answer(&self, network: &Network) -> Result<(), String> {
        let answers = || {
            let pinger = Pinger::start(&network.client, self.address, Duration::from_millis(100)).ok()?;
            std::thread::sleep(std::time::Duration::from_millis(250));
            let pings = pinger.stop().ok()?;
            pings.iter().any(|ping| ping.round_trip.is_some()).then_some(())
        };
        if wait::becomes(|| answers().is_some()) {
            return Ok(());
        }
        let words = if let Running::Rival(rival) = &self.running { rival.last_words() } else { String::new() };
        Err(format!("{} does not answer through the tunnel{words}", self.address))
    }
}

fn rates(scenario: &Scenario) -> Vec<LinkRate> {
    let bytes = |link, way| scenario.configured_rate(link, way) / 8;
    (1..=scenario.links.len()).map(|link| LinkRate { up: bytes(link, Way::Up), down: bytes(link, Way::Down) }).collect()
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the address was asked for as IPv4"),
    }
}

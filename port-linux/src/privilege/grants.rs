// SPDX-License-Identifier: BSD-2-Clause
//! What the worker may have of the network: the sockets of the links in the configuration the monitor itself read.

use super::protocol::{Ends, LinkOrder, Refused, reason};
use super::resolver::{Addresses, Question, Resolver, literal};
use crate::config;
use crate::interface::InterfaceName;
use crate::socket::{Family, LinkAddress, LinkSocket, OpenError};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// What the configuration says of links.
#[derive(Clone, Debug, Default)]
pub struct LinkGrants {
    /// The links.
    pub links: Vec<config::Link>,
    /// Where a client's servers are, in order; where links do not say it themselves.
    pub servers: Vec<(Option<String>, Option<u16>)>,
    /// Whether the links' interfaces may have other names than the kernel's, which only the worker learns.
    pub follows_devices: bool,
    /// The mark of what the links send, for the routing rules.
    pub mark: Option<u32>,
}

/// What a name is resolved for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// To open a link there.
    Link { serial: u64, address: Bound },
    /// To tell where the first server is.
    Server { serial: u64 },
}

/// Where a link is bound besides its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    port: u16,
    interface: Option<InterfaceName>,
}

/// An opened link, to be passed over.
pub(super) struct Opened {
    pub(super) ends: Ends,
    socket: LinkSocket,
    probe: LinkSocket,
}

impl Opened {
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.socket.as_fd().as_raw_fd(), self.probe.as_fd().as_raw_fd()]
    }
}

impl LinkGrants {
    /// What to resolve for an order; the reason when no link of the configuration is like that.
    pub(super) fn question(&self, order: &LinkOrder) -> Result<Question<Purpose>, &'static str> {
        let link = self.links.iter().find(|link| link.name == order.link.as_str());
        let link = link.ok_or("the configuration has no such link")?;
        let interface = self.interface(link, order.device)?;
        let (mut host, mut port) = (link.remotehost.clone(), link.remoteport);
        if let Some((servers_host, servers_port)) = self.servers.get(usize::from(order.server)) {
            host = host.or_else(|| servers_host.clone());
            port = port.or(*servers_port);
        }
        let address = Bound { port: link.bindport.unwrap_or(0), interface };
        let purpose = Purpose::Link { serial: order.serial, address };
        let told = order.address.filter(|_| self.follows_devices && link.takes_address);
        if told != order.address {
            return Err("the configuration binds the link to another address");
        }
        let local = told.map(|address| address.to_string()).or_else(|| link.bindhost.clone());
        Ok(Question { purpose, local, remote: host.zip(port) })
    }

    /// Which interface a link is to be bound to.
    fn interface(
        &self,
        link: &config::Link,
        told: Option<InterfaceName>,
    ) -> Result<Option<InterfaceName>, &'static str> {
        let may_differ = self.follows_devices && link.bindinterface.is_some() && told.is_some();
        if told == link.bindinterface || may_differ {
            Ok(told)
        } else {
            Err("the configuration binds the link to another interface")
        }
    }

    /// What to resolve to find the first server.
    pub(super) fn first_server(&self, serial: u64) -> Question<Purpose> {
        let remote = self.servers.first().cloned().and_then(|(host, port)| host.zip(port));
        Question { purpose: Purpose::Server { serial }, local: None, remote }
    }

    /// Opens a link's socket.
    pub(super) fn open(&self, bound: Bound, addresses: Addresses) -> Result<Opened, Refused> {
        let refused = |why: OpenError| Refused::Local(reason(&why));
        let remote = addresses.remote.map(|remote| remote.ip());
        let address = LinkAddress {
            bind_addr: addresses.local,
            bind_port: bound.port,
            interface: bound.interface,
            family: remote.or(addresses.local).map_or(Family::V4, Family::of),
        };
        let socket = LinkSocket::open(&address).map_err(refused)?;
        let probe = LinkSocket::open(&LinkAddress { bind_port: 0, ..address }).map_err(refused)?;
        if let Some(mark) = self.mark {
            let unmarked = |why: io::Error| Refused::Local(reason(&format!("cannot mark what the link sends: {why}")));
            socket.set_mark(mark).and_then(|()| probe.set_mark(mark)).map_err(unmarked)?;
        }
        let ends = Ends { local: addresses.local, remote: addresses.remote, interface: bound.interface };
        Ok(Opened { ends, socket, probe })
    }
}

/// Has a question answered: at once when both ends are written as addresses, else by the resolver, started when first
/// needed.
pub(super) fn ask(
    resolver: &mut Option<Resolver<Purpose>>,
    question: Question<Purpose>,
    started: impl FnOnce(&Resolver<Purpose>) -> io::Result<()>,
) -> Result<Option<(Purpose, Addresses)>, (Purpose, String)> {
    if let Some(addresses) = literal(&question) {
        return Ok(Some((question.purpose, addresses)));
    }
    let purpose = question.purpose.clone();
    if resolver.is_none() {
        match Resolver::start().and_then(|new| started(&new).map(|()| new)) {
            Ok(new) => *resolver = Some(new),
            Err(why) => return Err((purpose, format!("cannot start the resolver: {why}"))),
        }
    }
    match resolver {
        Some(resolver) if resolver.ask(question) => Ok(None),
        _ => Err((purpose, "too many names are being resolved".to_owned())),
    }
}

/// Where a server was found.
pub(super) fn server_of(addresses: Result<Addresses, String>) -> Result<Option<SocketAddr>, String> {
    addresses.map(|addresses| addresses.remote).map_err(|why| reason(&why))
}

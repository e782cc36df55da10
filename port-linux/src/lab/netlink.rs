// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces, addresses, routes and rules set by rtnetlink (`man 7 rtnetlink`), so that no `ip` program is needed.
//!
//! Every function acts on the calling thread's network namespace.

use std::io;
use std::net::IpAddr;

use nix::net::if_::if_nametoindex;

use crate::netlink::request::{FR_ACT_TO_TBL, FRA_SRC, FRA_TABLE, RTM_NEWRULE, Request, family, octets};

/// Brings an interface up, with the given MTU in bytes if any.
pub(super) fn bring_up(interface: &str, mtu: Option<u32>) -> io::Result<()> {
    let up = u32::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    let mut request = Request::new(libc::RTM_NEWLINK, 0);
    request.bytes(&[0; 4]); // family, padding, type
    request.word(index_of(interface)?);
    request.word(up);
    request.word(up); // the flags that change
    if let Some(mtu) = mtu {
        request.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
    }
    request.perform()
}

/// Gives an interface an address; IPv6 addresses are usable at once, without duplicate address detection.
pub(super) fn add_address(interface: &str, address: IpAddr, prefix_len: u8) -> io::Result<()> {
    const IFA_F_NODAD: u8 = 2;
    let mut request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    request.bytes(&[family(address), prefix_len, flags, 0]);
    request.word(index_of(interface)?);
    request.attribute(libc::IFA_LOCAL, &octets(address));
    request.attribute(libc::IFA_ADDRESS, &octets(address));
    request.perform()
}

/// Routes everything of one address family into an interface, in the given routing table.
pub(super) fn add_default_route(interface: &str, example: IpAddr, table: u32) -> io::Result<()> {
    let mut request = Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    let scope = if example.is_ipv4() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    // Family, lengths of destination and source, TOS, table (the attribute holds it), protocol, scope, type.
    request.bytes(&[family(example), 0, 0, 0, libc::RT_TABLE_UNSPEC, libc::RTPROT_STATIC, scope, libc::RTN_UNICAST]);
    request.word(0);
    request.attribute(libc::RTA_TABLE, &table.to_ne_bytes());
    request.attribute(libc::RTA_OIF, &index_of(interface)?.to_ne_bytes());
    request.perform()
}

/// Sends what has `source` as its source address to a routing table of its own.
pub(super) fn add_source_rule(source: IpAddr, table: u32) -> io::Result<()> {
    let mut request = Request::new(RTM_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    let bits = if source.is_ipv4() { 32 } else { 128 };
    request.bytes(&[family(source), 0, bits, 0, libc::RT_TABLE_UNSPEC, 0, 0, FR_ACT_TO_TBL]);
    request.word(0);
    request.attribute(FRA_SRC, &octets(source));
    request.attribute(FRA_TABLE, &table.to_ne_bytes());
    request.perform()
}

fn index_of(interface: &str) -> io::Result<u32> {
    Ok(if_nametoindex(interface)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_interface_is_an_error() {
        assert!(bring_up("no-such-if", None).is_err());
    }
}

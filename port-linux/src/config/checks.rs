// SPDX-License-Identifier: BSD-2-Clause
//! What no value alone can show: sockets that collide, datagrams that fragment, data anyone can read.

use std::net::Ipv6Addr;
use std::sync::Arc;

use super::Config;
use super::ini::Document;
use super::read::GENERAL;
use super::report::{Report, Reports, quotable};
use super::types::{Link, Protocol};
use crate::device::DeviceKind;

/// What an Ethernet link carries in one frame.
const LINK_MTU: u16 = 1500;
/// The tunnel's own header.
const HEADER_BYTES: u16 = 28;
/// Poly1305's tag, on everything that is sealed.
const TAG_BYTES: u16 = 16;
/// An Ethernet header, inside the tunnel when the device is a TAP.
const ETHERNET_BYTES: u16 = 14;
/// IPv4 (20) or IPv6 (40) and UDP (8).
const OUTER_BYTES: [u16; 2] = [28, 48];
/// Every IPv6 link must carry this much (RFC 8200, section 5).
const IPV6_MIN_MTU: u16 = 1280;

/// Two links bound to the same address and port get each other's packets, or one of them none.
pub(crate) fn sockets(file: &Arc<str>, document: &Document, config: &Config, reports: &mut Reports) {
    for (index, link) in config.links.iter().enumerate() {
        let Some(twin) = config.links[..index].iter().find(|other| share_socket(other, link)) else { continue };
        let message = format!("bound to the same address and port as [{}]", quotable(&twin.name));
        let report = Report::warning(file, message, "give each link its own bindport, bindhost or bindinterface");
        let section = document.section(&link.name);
        let entry = section.and_then(|section| section.entries.iter().find(|entry| entry.key == "bindport"));
        let line = entry.map_or_else(|| section.map_or(1, |section| section.line), |entry| entry.line);
        reports.push(report.at(line).in_section(&link.name).about("bindport"));
    }
}

fn share_socket(a: &Link, b: &Link) -> bool {
    let host = |link: &Link| link.bindhost.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
    a.bindport.is_some() && a.bindport == b.bindport && a.bindinterface == b.bindinterface && host(a) == host(b)
}

/// A configured MTU that makes datagrams larger than an ordinary link carries costs speed, or the connection.
pub(crate) fn mtu(file: &Arc<str>, document: &Document, config: &Config, reports: &mut Reports) {
    let Some(mtu) = config.general.mtu else { return };
    let largest = largest_mtu(config);
    // Protocol 2 finds out what each path carries, and lowers the device's MTU to it.
    if mtu > largest && config.general.protocol == Protocol::Classic {
        let outer = mtu + (LINK_MTU - largest);
        let message = format!("{mtu} makes datagrams of {outer} bytes, which fragment on links that carry {LINK_MTU}");
        let advice = format!("remove the line to have it computed, or give at most {largest}");
        reports.push(general(file, document, "mtu", message, advice));
    }
    if mtu < IPV6_MIN_MTU && config.general.ip6.is_some() {
        let message = format!("{mtu} is less than IPv6 needs");
        reports.push(general(file, document, "mtu", message, format!("give at least {IPV6_MIN_MTU}, or remove ip6")));
    }
}

/// The largest packet that fits an ordinary link whole.
fn largest_mtu(config: &Config) -> u16 {
    let over_ipv6 = config.links.iter().any(|link| {
        let hosts = [&link.remotehost, &link.bindhost];
        hosts.into_iter().flatten().any(|host| host.parse::<Ipv6Addr>().is_ok())
    });
    let tag = if config.general.cleartext_data { 0 } else { TAG_BYTES };
    let inner = if config.general.tuntap == DeviceKind::Tap { ETHERNET_BYTES } else { 0 };
    LINK_MTU - OUTER_BYTES[usize::from(over_ipv6)] - HEADER_BYTES - tag - inner
}

/// Whoever sees the links can read and forge what is not sealed.
pub(crate) fn cleartext(file: &Arc<str>, document: &Document, config: &Config, reports: &mut Reports) {
    if config.general.cleartext_data {
        let message = "data is neither encrypted nor authenticated: whoever sees a link can read and forge it";
        let advice = "set it to 0 on both sides unless all traffic is protected otherwise";
        reports.push(general(file, document, "cleartext_data", message.to_owned(), advice.to_owned()));
    }
}

fn general(file: &Arc<str>, document: &Document, option: &str, message: String, advice: String) -> Report {
    let report = Report::warning(file, message, advice).in_section(GENERAL).about(option);
    let section = document.section(GENERAL);
    match section.and_then(|section| section.entries.iter().find(|entry| entry.key == option)) {
        Some(entry) => report.at(entry.line),
        None => report,
    }
}

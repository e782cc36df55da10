// SPDX-License-Identifier: BSD-2-Clause
//! What no value alone can show: sockets that collide, datagrams that fragment, data anyone can read.

use std::net::IpAddr;
use std::sync::Arc;

use mlvpn_core::words::limits::MIN_MTU_IPV6;

use super::Config;
use super::ini::Document;
use super::mtu::USUAL_PATH_MTU;
use super::read::GENERAL;
use super::report::{Report, Reports, quotable};
use super::types::{Link, Mode, Protocol};

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

/// Two links of a client that leave from one address take one way, and no bandwidth adds up.
pub(crate) fn addresses(file: &Arc<str>, document: &Document, config: &Config, reports: &mut Reports) {
    if config.general.mode != Mode::Client {
        return;
    }
    for (index, link) in config.links.iter().enumerate() {
        let Some(host) = link.bindhost.as_deref().filter(|host| !is_wildcard(host)) else { continue };
        let alike = |other: &&Link| {
            other.bindhost == link.bindhost && other.bindinterface == link.bindinterface && !share_socket(other, link)
        };
        let Some(twin) = config.links[..index].iter().find(alike) else { continue };
        let message =
            format!("{} is the address of [{}], too: both take the same way", quotable(host), quotable(&twin.name));
        let advice = "give each link the address of its own line, or its bindinterface";
        let section = document.section(&link.name);
        let entry = section.and_then(|section| section.entries.iter().find(|entry| entry.key == "bindhost"));
        let line = entry.map_or_else(|| section.map_or(1, |section| section.line), |entry| entry.line);
        let report = Report::warning(file, message, advice).at(line).in_section(&link.name);
        reports.push(report.about("bindhost"));
    }
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn share_socket(a: &Link, b: &Link) -> bool {
    let host = |link: &Link| link.bindhost.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
    a.bindport.is_some() && a.bindport == b.bindport && a.bindinterface == b.bindinterface && host(a) == host(b)
}

/// A configured MTU that makes datagrams larger than an ordinary link carries costs speed, or the connection.
pub(crate) fn mtu(file: &Arc<str>, document: &Document, config: &Config, reports: &mut Reports) {
    let Some(mtu) = config.general.mtu else { return };
    let largest = config.usual_inner_mtu();
    // Protocol 2 finds out what each path carries, and lowers the device's MTU to it.
    if mtu > largest && config.general.protocol == Protocol::Classic {
        let outer = mtu + (USUAL_PATH_MTU - largest);
        let message = format!(
            "{mtu} makes datagrams of up to {outer} bytes, which fragment on links that carry {USUAL_PATH_MTU}"
        );
        let advice = format!("remove the line to have it computed, or give at most {largest}");
        reports.push(general(file, document, "mtu", message, advice));
    }
    if mtu < MIN_MTU_IPV6 && config.general.ip6.is_some() {
        let message = format!("{mtu} is less than IPv6 needs");
        reports.push(general(file, document, "mtu", message, format!("give at least {MIN_MTU_IPV6}, or remove ip6")));
    }
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

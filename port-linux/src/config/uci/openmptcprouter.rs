// SPDX-License-Identifier: BSD-2-Clause
//! OpenMPTCProuter's form: one section says all of the tunnel, and its links are the interfaces of the network that have
//! `multipath` and not `off`, each with the next port behind `firstport` at both ends.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mlvpn_uci::package::Package;
use mlvpn_uci::policy::LinkPolicy;
use mlvpn_uci::value::Value;

use super::lower::Lowered;
use super::sections::Placed;
use super::{Context, Link, Room};
use crate::config::read::GENERAL;
use crate::config::report::{Report, quotable};
use crate::config::types::MAX_LINKS;

/// An interface that is a link.
struct Interface {
    name: String,
    /// Its address, where the file says it.
    address: Option<Ipv4Addr>,
}

/// Writes a `config mlvpn`; nothing when that cannot be done, which was reported then.
pub(super) fn lower(file: &Arc<str>, tunnel: &Placed, context: &mut Context<'_>) -> Option<Lowered> {
    let interfaces = match interfaces(context) {
        Ok(interfaces) => interfaces,
        Err(report) => {
            context.reports.push(*report);
            return None;
        }
    };
    let mut lowered = Lowered::new();
    general(file, tunnel, &mut lowered, context);
    if interfaces.is_empty() {
        let message = "no link: no interface of the network has multipath";
        let advice = "run: uci set network.wan.multipath=on; uci commit network";
        context.reports.push(tunnel.report(Report::error(file, message, advice)));
    }
    let Some(Value::Number(first)) = tunnel.value("firstport") else { return Some(lowered) };
    for (interface, port) in interfaces.iter().zip(first.saturating_add(1)..) {
        let Ok(port) = u16::try_from(port) else {
            let advice = format!("give at most {}", usize::from(u16::MAX) - interfaces.len());
            let message = "the links have the ports behind this one, and there are not so many";
            let report = Report::error(file, message, advice).at(tunnel.line_of("firstport"));
            context.reports.push(report.in_section(&tunnel.label).about("firstport"));
            break;
        };
        link(tunnel, interface, port, &mut lowered);
    }
    Some(lowered)
}

fn general(file: &Arc<str>, tunnel: &Placed, lowered: &mut Lowered, context: &mut Context<'_>) {
    lowered.open(GENERAL, tunnel);
    lowered.push("protocol", tunnel.line, "classic");
    for (name, conf) in [
        ("mode", "mode"),
        ("password", "password"),
        ("interface_name", "interface_name"),
        ("timeout", "timeout"),
        ("reorder_buffer_size", "reorder_buffer_size"),
        ("loss_tolerance", "loss_tolerence"),
        ("latency_tolerance", "latency_tolerence"),
        ("cleartext_data", "cleartext_data"),
    ] {
        let line = tunnel.line_of(name);
        match tunnel.value(name) {
            Some(Value::Text(text)) => lowered.push(conf, line, text),
            Some(Value::Number(number)) => lowered.push(conf, line, &number.to_string()),
            Some(Value::Flag(flag)) => lowered.push(conf, line, if flag { "1" } else { "0" }),
            Some(Value::Secret) => {
                if let Some((secret, _)) = tunnel.text(name) {
                    lowered.push_secret(conf, line, secret.clone());
                }
            }
            _ => {}
        }
    }
    if tunnel.text("password").is_none() {
        tunnel.missing(file, "password", "add it, the same on both sides", context.reports);
    }
    if tunnel.text("host").is_none() && tunnel.value("mode") == Some(Value::Text("client")) {
        tunnel.missing(file, "host", "add the server's name or address", context.reports);
    }
}

fn link(tunnel: &Placed, interface: &Interface, port: u16, lowered: &mut Lowered) {
    let port_text = port.to_string();
    let firstport = tunnel.line_of("firstport");
    lowered.open(&interface.name, tunnel);
    lowered.push("bindport", firstport, &port_text);
    if let Some(address) = interface.address {
        lowered.push("bindhost", tunnel.line, &address.to_string());
    }
    if let (Some((host, line)), Some(Value::Text("client"))) = (tunnel.text("host"), tunnel.value("mode")) {
        lowered.push("remotehost", line, host);
        lowered.push("remoteport", firstport, &port_text);
    }
    lowered.links.push(Link {
        name: interface.name.clone(),
        interface: Some(interface.name.clone()),
        takes_address: interface.address.is_none(),
        policy: LinkPolicy::default(),
    });
}

/// The interfaces with `multipath`, in the order of the file.
fn interfaces(context: &Context<'_>) -> Result<Vec<Interface>, Box<Report>> {
    let [network_file, fallback_file] = ["/etc/config/network", "/etc/config/openmptcprouter"].map(Arc::<str>::from);
    let (network_text, fallback_text) = (context.sources.network, context.sources.openmptcprouter);
    let (mut network_room, mut fallback_room) = (Room::for_text(network_text), Room::for_text(fallback_text));
    let network = network_room.read(&network_file, network_text)?;
    let fallback = fallback_room.read(&fallback_file, fallback_text)?;
    let mut found = Vec::new();
    for (index, section) in network.sections().iter().enumerate() {
        if !section.kind.is("interface") || section.name.is_empty() {
            continue;
        }
        let elsewhere = || fallback.sections().iter().position(|other| other.name == section.name);
        let multipath = option(&network, index, "multipath")
            .or_else(|| elsewhere().and_then(|index| option(&fallback, index, "multipath")));
        if multipath.is_none_or(|multipath| multipath == "off") {
            continue;
        }
        let name = section.name.to_string();
        if found.len() == MAX_LINKS {
            let message = format!("more than {MAX_LINKS} interfaces with multipath");
            let report = Report::error(&network_file, message, "set multipath to off where it is not needed");
            return Err(Box::new(report.at(section.line).in_section(&format!("interface {}", quotable(&name)))));
        }
        if name == GENERAL || name.starts_with("filters") {
            let report = Report::error(&network_file, "a link cannot be called so", "give the interface another name");
            return Err(Box::new(report.at(section.line).in_section(&format!("interface {name}"))));
        }
        let address = option(&network, index, "ipaddr");
        let address = address.and_then(|text| text.split('/').next().and_then(|address| address.parse().ok()));
        found.push(Interface { name, address });
    }
    Ok(found)
}

/// The last value of an option.
fn option(package: &Package<'_, '_>, section: usize, name: &str) -> Option<String> {
    let values = package.entries_of(section).filter(|entry| entry.name.is(name));
    values.last().map(|entry| entry.value.to_string()).filter(|value| !value.is_empty())
}

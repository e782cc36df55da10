// SPDX-License-Identifier: BSD-2-Clause
//! What netifd tells of OpenWrt's interfaces: whether each is up, and which device it is then.

use std::net::Ipv4Addr;

use mlvpn::config::InterfaceName;
use mlvpn::daemon::{Control, InterfaceState};

use crate::blobmsg::{Table, Value};

/// Follows netifd's answer about every interface (`network.interface dump`).
pub(crate) fn follow_all(dump: &Table<'_>, control: &mut dyn Control) {
    let Some(Value::Array(interfaces)) = dump.find("interface") else { return };
    let mut names = Vec::new();
    for value in interfaces.values() {
        let Value::Table(interface) = value else { continue };
        if let Some((name, state)) = read(&interface) {
            control.set_interface(&name, state);
            names.push(name);
        }
    }
    control.keep_interfaces(&names);
}

/// Follows a notification about one interface (`interface.update`, `interface.down`).
pub(crate) fn follow_one(interface: &Table<'_>, control: &mut dyn Control) {
    if let Some((name, state)) = read(interface) {
        control.set_interface(&name, state);
    }
}

/// An interface that a link can name; others have names too long for that.
fn read(interface: &Table<'_>) -> Option<(InterfaceName, InterfaceState)> {
    let name = |field| interface.find(field)?.as_str()?.parse::<InterfaceName>().ok();
    let is_up = interface.find("up").and_then(|value| value.as_bool()) == Some(true);
    let state = match name("l3_device").filter(|_| is_up) {
        Some(device) => InterfaceState::Up { device, address: address(interface) },
        None => InterfaceState::Down,
    };
    Some((name("interface")?, state))
}

/// The first of the interface's IPv4 addresses.
fn address(interface: &Table<'_>) -> Option<Ipv4Addr> {
    let Some(Value::Array(addresses)) = interface.find("ipv4-address") else { return None };
    match addresses.values().next() {
        Some(Value::Table(address)) => address.find("address")?.as_str()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::to_table;

    #[derive(serde::Serialize)]
    struct Interface {
        interface: &'static str,
        up: bool,
        l3_device: Option<&'static str>,
        #[serde(rename = "ipv4-address")]
        addresses: Vec<Address>,
    }

    #[derive(serde::Serialize)]
    struct Address {
        address: &'static str,
        mask: u32,
    }

    fn state(interface: &'static str, up: bool, l3_device: Option<&'static str>) -> Option<InterfaceState> {
        state_with(interface, up, l3_device, &[])
    }

    fn state_with(
        interface: &'static str,
        up: bool,
        l3_device: Option<&'static str>,
        addresses: &[&'static str],
    ) -> Option<InterfaceState> {
        let addresses = addresses.iter().map(|address| Address { address, mask: 24 }).collect();
        let bytes = to_table(&Interface { interface, up, l3_device, addresses }).unwrap();
        read(&Table::parse(&bytes).unwrap()).map(|(name, state)| {
            assert_eq!(name.as_str(), interface);
            state
        })
    }

    #[test]
    fn an_interface_that_is_up_is_its_device_and_any_other_is_down() {
        let device = "pppoe-wan".parse().unwrap();
        assert_eq!(state("wan", true, Some("pppoe-wan")), Some(InterfaceState::Up { device, address: None }));
        assert_eq!(state("wan", false, Some("pppoe-wan")), Some(InterfaceState::Down));
        assert_eq!(state("wan", true, None), Some(InterfaceState::Down));
        assert_eq!(state("wan", true, Some("a/b")), Some(InterfaceState::Down));
        assert_eq!(state("a name that no link can have", true, Some("eth0")), None);
    }

    #[test]
    fn an_interfaces_first_address_is_told_and_nonsense_is_none() {
        let device = "eth1".parse().unwrap();
        let with = |addresses: &[&'static str]| state_with("wan", true, Some("eth1"), addresses);
        let up =
            |address: Option<&str>| Some(InterfaceState::Up { device, address: address.map(|a| a.parse().unwrap()) });
        assert_eq!(with(&["192.0.2.7", "192.0.2.8"]), up(Some("192.0.2.7")));
        assert_eq!(with(&["192.0.2.777"]), up(None));
    }
}

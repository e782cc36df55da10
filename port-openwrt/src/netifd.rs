// SPDX-License-Identifier: BSD-2-Clause
//! What netifd tells of OpenWrt's interfaces: whether each is up, and which device it is then.

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
    let state = name("l3_device").filter(|_| is_up).map_or(InterfaceState::Down, InterfaceState::Up);
    Some((name("interface")?, state))
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
    }

    fn state(interface: &'static str, up: bool, l3_device: Option<&'static str>) -> Option<InterfaceState> {
        let bytes = to_table(&Interface { interface, up, l3_device }).unwrap();
        read(&Table::parse(&bytes).unwrap()).map(|(name, state)| {
            assert_eq!(name.as_str(), interface);
            state
        })
    }

    #[test]
    fn an_interface_that_is_up_is_its_device_and_any_other_is_down() {
        let device = "pppoe-wan".parse().unwrap();
        assert_eq!(state("wan", true, Some("pppoe-wan")), Some(InterfaceState::Up(device)));
        assert_eq!(state("wan", false, Some("pppoe-wan")), Some(InterfaceState::Down));
        assert_eq!(state("wan", true, None), Some(InterfaceState::Down));
        assert_eq!(state("wan", true, Some("a/b")), Some(InterfaceState::Down));
        assert_eq!(state("a name that no link can have", true, Some("eth0")), None);
    }
}

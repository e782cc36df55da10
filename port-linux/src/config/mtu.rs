// SPDX-License-Identifier: BSD-2-Clause
//! The largest inner packet whose datagrams stay whole: what the daemon gives the device and `check` advises.

use mlvpn_core::memory::two::DATA_OVERHEAD;
use mlvpn_core::words::limits::{
    CLASSIC_HEADER, CLASSIC_OVERHEAD, ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, VLAN_TAG, inner_mtu,
};

use super::{Config, Protocol};
use crate::device::DeviceKind;
use crate::socket::Family;

/// The MTU in bytes of a path nothing is known of: Ethernet's.
pub(crate) const USUAL_PATH_MTU: u16 = 1500;

impl Config {
    /// The largest inner packet, in bytes, that needs no fragments on a path of `path_mtu` bytes over `family`.
    pub(crate) fn inner_mtu(&self, path_mtu: u32, family: Family) -> u16 {
        let own = match (self.general.protocol, self.general.cleartext_data) {
            (Protocol::Two, _) => DATA_OVERHEAD,
            (Protocol::Classic, false) => CLASSIC_OVERHEAD,
            (Protocol::Classic, true) => CLASSIC_HEADER,
        };
        self.inner_mtu_under(own, path_mtu, family)
    }

    /// The same towards the peer of a server of protocol 2 that speaks the classic protocol.
    pub(crate) fn inner_mtu_of_classic_peer(&self, path_mtu: u32, family: Family) -> u16 {
        self.inner_mtu_under(CLASSIC_OVERHEAD, path_mtu, family)
    }

    /// The same under a protocol's `own` bytes around each packet.
    fn inner_mtu_under(&self, own: usize, path_mtu: u32, family: Family) -> u16 {
        let ip_header = match family {
            Family::V4 => IPV4_HEADER,
            Family::V6 => IPV6_HEADER,
        };
        let frame = match self.general.tuntap {
            DeviceKind::Tun => 0,
            DeviceKind::Tap => ETHERNET_HEADER + VLAN_TAG,
        };
        inner_mtu(path_mtu, ip_header, own + frame)
    }

    /// The same before any link is open: as if all paths were Ethernet, over IPv6 where an address in the file says so.
    pub(crate) fn usual_inner_mtu(&self) -> u16 {
        let hosts = self.links.iter().flat_map(|link| [&link.remotehost, &link.bindhost]);
        // A colon is in no name and no IPv4 address, but in every IPv6 address, one with a zone ("%eth0") included.
        let is_ipv6 = hosts.flatten().any(|host| host.contains(':'));
        self.inner_mtu(u32::from(USUAL_PATH_MTU), if is_ipv6 { Family::V6 } else { Family::V4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(options: &str, host: &str) -> u16 {
        let text = format!(
            "[general]\nmode = \"client\"\npassword = \"a long enough password\"\n{options}\n\
             [l1]\nremotehost = \"{host}\"\nremoteport = 5080\n"
        );
        Config::parse("mlvpn.conf", &text).expect("a configuration").0.usual_inner_mtu()
    }

    #[test]
    fn a_path_of_1500_bytes_leaves_what_no_header_takes() {
        for (options, ipv4, ipv6) in [
            ("", 1428, 1408),
            ("cleartext_data = 1", 1444, 1424),
            ("tuntap = \"tap\"", 1410, 1390),
            ("tuntap = \"tap\"\ncleartext_data = 1", 1426, 1406),
        ] {
            assert_eq!([usual(options, "192.0.2.1"), usual(options, "a.example")], [ipv4, ipv4], "{options}");
            assert_eq!([usual(options, "2001:db8::1"), usual(options, "fe80::1%eth0")], [ipv6, ipv6], "{options}");
        }
    }

    #[test]
    fn the_check_advises_what_the_daemon_computes() {
        for (options, host) in
            [("tuntap = \"tap\"", "192.0.2.1"), ("tuntap = \"tap\"\ncleartext_data = 1", "fe80::1%eth0")]
        {
            let largest = usual(options, host);
            let reports = |mtu: u16| {
                let text = format!(
                    "[general]\nmode = \"client\"\npassword = \"a long enough password\"\n{options}\nmtu = {mtu}\n\
                     [l1]\nremotehost = \"{host}\"\nremoteport = 5080\n"
                );
                let (_, reports) = Config::parse("mlvpn.conf", &text).expect("a configuration");
                reports.into_iter().filter(|report| report.option.as_deref() == Some("mtu")).collect::<Vec<_>>()
            };
            assert_eq!(reports(largest), []);
            let said = reports(largest + 1);
            assert_eq!(said.len(), 1);
            assert!(said[0].advice.ends_with(&format!("give at most {largest}")), "{}", said[0]);
            assert!(said[0].message.contains("up to 1501 bytes"), "{}", said[0]);
        }
    }
}

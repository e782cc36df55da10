// SPDX-License-Identifier: BSD-2-Clause
//! `[filters]`: which links a packet from the device is for.

use mlvpn_core::memory::pool::Slot;
use mlvpn_core::stages::filter::{Step, matches, subject};
use mlvpn_core::words::ids::{LinkId, Medium};
use mlvpn_core::words::time::Instant;

use super::settings;
use super::worker::Worker;
use crate::config::Config;

/// Links a packet may have by its filters: the first that is up counts, and who names more than four for the same packets
/// means any.
const MAX_CHOICES: usize = 4;

/// Links that filters chose, in order.
pub(super) type Choices = heapless::Vec<LinkId, MAX_CHOICES>;

/// The filters of a configuration, compiled.
#[derive(Debug, Default)]
pub(super) struct Filters {
    medium: Medium,
    filters: Vec<(Vec<Step>, LinkId)>,
}

impl Filters {
    /// `place_of` says where a link of this name is; filters for one that is nowhere match nothing.
    pub(super) fn new(config: &Config, place_of: impl Fn(&str) -> Option<usize>) -> Self {
        let filters = config.filters.iter();
        Self {
            medium: settings::medium(config.general.tuntap),
            filters: filters
                .filter_map(|filter| Some((filter.steps.clone(), LinkId::new(place_of(&filter.link)?))))
                .collect(),
        }
    }

    /// The links of the filters that match, in the order of the file.
    pub(super) fn links(&self, packet: &[u8]) -> Choices {
        let mut choices = Choices::new();
        if self.filters.is_empty() {
            return choices;
        }
        let Some(packet) = subject(packet, self.medium) else { return choices };
        for (steps, link) in &self.filters {
            if !choices.contains(link) && matches(steps, packet) && choices.push(*link).is_err() {
                break;
            }
        }
        choices
    }
}

impl Worker {
    /// Hands a packet of the device to the engine, with the links that filters chose for it.
    pub(super) fn send_from_device(&mut self, slot: Slot, now: Instant) {
        let packet = self.pool.packet(&slot);
        let links = packet.map(|packet| self.filters.links(packet.as_bytes())).unwrap_or_default();
        self.engine.send(&mut self.pool, slot, &links, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[general]\nmode = server\npassword = q3Zt8uW1xYk5rPz9vNc2\n[a]\nbindport = 1\n[b]\nbindport = 2\n\
        [filters]\nb = \"udp port 5060\"\na = \"udp\"\nb = \"ip\"\n";

    fn filters(text: &str) -> Filters {
        let (config, _) = Config::parse("f", text).unwrap();
        Filters::new(&config, |name| config.links.iter().position(|link| link.name == name))
    }

    fn datagram(port: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 3, 0xe8];
        packet.extend(port.to_be_bytes());
        packet.resize(28, 0);
        packet
    }

    #[test]
    fn links_come_in_the_order_of_the_filters_that_match() {
        let filters = filters(TEXT);
        let links = |packet: &[u8]| filters.links(packet).into_iter().map(LinkId::index).collect::<Vec<_>>();
        assert_eq!(links(&datagram(5060)), [1, 0]);
        assert_eq!(links(&datagram(53)), [0, 1]);
        assert_eq!(links(&[0x60; 40]), [0; 0]);
    }

    #[test]
    fn frames_are_judged_by_the_ip_packet_in_them() {
        let filters = filters(&TEXT.replace("mode", "tuntap = tap\nmode"));
        let frame = [&[0; 12][..], &[8, 0], &datagram(5060)].concat();
        assert_eq!(filters.links(&frame).len(), 2);
        assert!(filters.links(&datagram(5060)).is_empty());
    }
}

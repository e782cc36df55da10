// SPDX-License-Identifier: BSD-2-Clause
//! The last minutes of every link, for a graph.

use serde::Serialize;

use super::meter::{Meter, SAMPLE_INTERVAL};

/// The last minutes of every link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct History {
    /// The time between two samples.
    pub interval_ms: u64,
    /// The links in the order of their configuration.
    pub links: Vec<LinkHistory>,
}

/// The last minutes of a link: rates in bytes per second, the oldest first, the last of the second that has just passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkHistory {
    /// What the configuration calls it.
    pub name: String,
    /// Towards the peer.
    pub sent_bytes_per_sec: Vec<u32>,
    /// From the peer.
    pub received_bytes_per_sec: Vec<u32>,
}

impl History {
    /// Of links by name, the last `count` samples each.
    pub fn new<'a>(links: impl Iterator<Item = (&'a str, &'a Meter)>, count: usize) -> Self {
        let links = links.map(|(name, meter)| LinkHistory {
            name: name.to_owned(),
            sent_bytes_per_sec: meter.last_samples(count).map(|sample| sample.sent).collect(),
            received_bytes_per_sec: meter.last_samples(count).map(|sample| sample.received).collect(),
        });
        Self { interval_ms: SAMPLE_INTERVAL.millis(), links: links.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_gets_the_newest_samples_last() {
        let mut meter = Meter::default();
        for bytes in [1, 2, 3] {
            meter.count_sent(bytes);
            meter.sample(SAMPLE_INTERVAL);
        }
        let history = History::new([("wan", &meter)].into_iter(), 2);
        assert_eq!(history.interval_ms, 1_000);
        assert_eq!(history.links[0].sent_bytes_per_sec, [2, 3]);
        assert_eq!(history.links[0].received_bytes_per_sec, [0, 0]);
    }
}

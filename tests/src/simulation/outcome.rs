// SPDX-License-Identifier: BSD-2-Clause
//! What came out of a run.

use mlvpn_core::words::time::Duration;

use super::end::EngineFacts;
use super::probe::Latency;
use super::tcp::receiver::Received;
use super::tcp::sender::Sendings;

/// What came out of a run, over what counts of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Payload bytes the applications received, in order.
    pub payload: u64,
    /// Payload bytes the links could have carried in full packets.
    pub capacity: u64,
    /// The probe in the flows' direction, and against it.
    pub latency: [Latency; 2],
    /// The longest time in which a flow's application received nothing.
    pub gap: Duration,
    /// What the engines told, both together.
    pub engines: EngineFacts,
    /// What the senders did, in the whole run.
    pub sendings: Sendings,
    /// What the receivers saw, in the whole run.
    pub received: Received,
    /// When the last 500 ms first brought 90 % of the capacity, after the flows' start.
    pub reached: Option<Duration>,
    /// The senders' mean smoothed round trip in microseconds, sampled with the trace's period.
    pub mean_rtt: u64,
    /// The trace: a heading and a line for each tenth of a second.
    pub trace: Vec<String>,
}

impl Outcome {
    /// Payload in tenths of a percent of what the links could have carried.
    #[must_use]
    pub fn goodput_permille(&self) -> u64 {
        self.payload * 1_000 / self.capacity.max(1)
    }
}

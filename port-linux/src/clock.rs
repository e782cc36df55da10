// SPDX-License-Identifier: BSD-2-Clause
//! The one file that reads a clock.

use std::time::Duration;

use mlvpn_core::words::time::Instant;
use nix::time::{ClockId, clock_gettime};

/// The time since boot, sleep included (`CLOCK_BOOTTIME`): it only moves forward, whatever NTP or the user does to
/// the wall clock, and a suspended machine notices on waking that its links fell silent.
///
/// # Panics
/// Never on Linux 2.6.39 or later, where the clock always exists.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    // Through std's type: the kernel's fields are 32 bits wide on some routers.
    let since_boot = Duration::from(time);
    Instant::from_micros(
        since_boot.as_secs().saturating_mul(1_000_000).saturating_add(since_boot.subsec_micros().into()),
    )
}

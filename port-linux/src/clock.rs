// SPDX-License-Identifier: BSD-2-Clause
//! The one file that reads a clock.

use mlvpn_core::words::time::Instant;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// The time since boot, sleep included (`CLOCK_BOOTTIME`): it only moves forward, whatever NTP or the user does to
/// the wall clock, and a suspended machine notices on waking that its links fell silent.
///
/// # Panics
/// Never on Linux 2.6.39 or later, where the clock always exists.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    // Boot time is never negative; the fields' own types differ between 32- and 64-bit systems.
    Instant::from_micros(time.num_microseconds().unsigned_abs())
}

/// Microseconds since boot without sleep (`CLOCK_MONOTONIC`): what systemd tells reloads apart by, and nothing else.
///
/// # Panics
/// Never: the clock always exists.
#[must_use]
pub fn monotonic_micros() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC always exists");
    time.num_microseconds().unsigned_abs()
}

/// Seconds since 1970 by the wall clock, which may jump: for dates in the log and nothing else.
///
/// # Panics
/// Never: the wall clock always exists.
#[must_use]
pub fn wall_seconds() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME always exists");
    time.num_seconds()
}

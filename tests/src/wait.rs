// SPDX-License-Identifier: BSD-2-Clause
//! Waiting for something to become so: tests wait for conditions, never for a time to pass.

use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpn_core::words::time::Duration;

/// What has not come about by then never will: a loaded machine needs seconds, not this.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: StdDuration = StdDuration::from_millis(20);

/// Whether `condition` came about within [`LIMIT`].
pub fn becomes(condition: impl FnMut() -> bool) -> bool {
    becomes_within(condition, LIMIT)
}

/// Whether `condition` came about within `limit`.
pub fn becomes_within(mut condition: impl FnMut() -> bool, limit: Duration) -> bool {
    let deadline = clock::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if clock::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

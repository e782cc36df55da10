// SPDX-License-Identifier: BSD-2-Clause
//! Figures as people read them.

/// A number of thousandths of a unit to three figures that mean something: `7.28`, `39.3`, `812`.
fn three_figures(thousandths: u64) -> String {
    match thousandths {
        0..10_000 => format!("{}.{:02}", thousandths / 1_000, thousandths % 1_000 / 10),
        10_000..100_000 => format!("{}.{}", thousandths / 1_000, thousandths % 1_000 / 100),
        _ => format!("{}", thousandths / 1_000),
    }
}

fn scaled(number: u64, units: [&str; 4]) -> String {
    let [ones, kilo, mega, giga] = units;
    match number {
        0..1_000 => format!("{number} {ones}"),
        1_000..1_000_000 => format!("{} {kilo}", three_figures(number)),
        1_000_000..1_000_000_000 => format!("{} {mega}", three_figures(number / 1_000)),
        _ => format!("{} {giga}", three_figures(number / 1_000_000)),
    }
}

/// A rate in bytes per second, in bits as links are sold.
pub(super) fn rate(bytes_per_sec: u64) -> String {
    scaled(bytes_per_sec.saturating_mul(8), ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

/// A volume in bytes.
pub(super) fn volume(bytes: u64) -> String {
    scaled(bytes, ["B", "kB", "MB", "GB"])
}

/// Microseconds as milliseconds.
pub(super) fn millis(micros: u64) -> String {
    three_figures(micros)
}

/// A time in its two largest units.
pub(super) fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_say_their_unit() {
        for (bytes, text) in
            [(0, "0 bit/s"), (910_400, "7.28 Mbit/s"), (4_912_300, "39.2 Mbit/s"), (200, "1.60 kbit/s")]
        {
            assert_eq!(rate(bytes), text);
        }
        for (bytes, text) in
            [(999, "999 B"), (612_345_678, "612 MB"), (8_123_456_789, "8.12 GB"), (1_000_000, "1.00 MB")]
        {
            assert_eq!(volume(bytes), text);
        }
        assert_eq!((millis(10_450).as_str(), millis(820).as_str()), ("10.4", "0.82"));
        for (time, text) in [(59_999, "59 s"), (61_000, "1 min 1 s"), (7_384_120, "2 h 3 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(span(time), text);
        }
    }
}

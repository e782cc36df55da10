// SPDX-License-Identifier: BSD-2-Clause
//! Figures in words, for people.

use mlvpn_core::words::time::Duration;

/// Bits per second in Mbit/s, with as many digits as matter: `46.1`, `250`, `0.064`.
pub(super) fn mbit(bits_per_second: u64) -> String {
    let kbit = (bits_per_second + 500) / 1_000;
    match kbit {
        0 => "0".to_owned(),
        1..1_000 => format!("0.{kbit:03}"),
        1_000..10_000 => tenths(kbit, 10, 2),
        10_000..100_000 => tenths(kbit, 100, 1),
        _ => ((kbit + 500) / 1_000).to_string(),
    }
}

fn tenths(kbit: u64, step: u64, digits: usize) -> String {
    let steps = (kbit + step / 2) / step;
    let per_unit = 1_000 / step;
    format!("{}.{:0digits$}", steps / per_unit, steps % per_unit)
}

/// A rate as people write it, without needless zeros: `40`, `1.5`.
pub(super) fn mbit_short(bits_per_second: u64) -> String {
    let text = mbit(bits_per_second);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Tenths of a percent: `92.5 %`.
pub(super) fn percent_in_tenths(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

/// Tenths of a percent, rounded to whole percents.
pub(super) fn percent(permille: u64) -> String {
    format!("{} %", (permille + 5) / 10)
}

/// A round-trip time: `20 ms`, `0.4 ms`, or a dash.
pub(super) fn round_trip(span: Option<Duration>) -> String {
    match span.map(Duration::micros) {
        None => "-".to_owned(),
        Some(micros @ 0..9_950) => format!("{}.{} ms", (micros + 50) / 1_000, (micros + 50) % 1_000 / 100),
        Some(micros) => format!("{} ms", (micros + 500) / 1_000),
    }
}

/// A gap: `12 ms` or `2.95 s`.
pub(super) fn gap(span: Duration) -> String {
    match span.millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis => format!("{}.{:02} s", millis / 1_000, millis % 1_000 / 10),
    }
}

/// Packets lost of those offered: `0 %`, `0.3 %`, `12 %`.
pub(super) fn loss(lost: u64, offered: u64) -> String {
    let permille = lost.saturating_mul(1_000).div_ceil(offered.max(1)).min(1_000);
    match permille {
        0 => "0 %".to_owned(),
        1..100 => percent_in_tenths(permille),
        _ => percent(permille),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        let texts = [64_000, 999_600, 1_500_000, 9_996_000, 46_149_000, 99_960_000, 250_400_000].map(mbit);
        assert_eq!(texts, ["0.064", "1.00", "1.50", "10.00", "46.1", "100.0", "250"]);
        assert_eq!([40_000_000, 1_500_000, 100_000, 200_000_000].map(mbit_short), ["40", "1.5", "0.1", "200"]);
    }

    #[test]
    fn spans_and_shares_are_short() {
        let micros = |micros| Some(Duration::from_micros(micros));
        assert_eq!(
            [None, micros(440), micros(9_960), micros(80_400)].map(round_trip),
            ["-", "0.4 ms", "10 ms", "80 ms"]
        );
        assert_eq!([12, 2_956, 60_000].map(|ms| gap(Duration::from_millis(ms))), ["12 ms", "2.95 s", "60.00 s"]);
        assert_eq!([(0, 0), (0, 10), (3, 1_000), (15, 100)].map(|(l, o)| loss(l, o)), ["0 %", "0 %", "0.3 %", "15 %"]);
        assert_eq!(percent(918), "92 %");
    }
}

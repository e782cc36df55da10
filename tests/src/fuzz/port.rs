// SPDX-License-Identifier: BSD-2-Clause
//! Targets of the Linux port: what it reads of files, of the kernel, of its own worker, and of who describes a link.

use mlvpn::config::{Config, MAX_REPORTS, Severity};
use mlvpn::filter::{self, MAX_STEPS};
use mlvpn::lab::spec::LinkSpec;
use mlvpn::lab::trace::{OPPORTUNITY_BYTES, Trace};
use mlvpn::netlink;
use mlvpn::privilege::Request;
use mlvpn_core::stages::filter::{Next, matches};

/// A configuration is refused with an error or accepted without one, and every report names a line there is.
pub fn config(data: &[u8]) {
    // As it is read from a file: what is not UTF-8 becomes a character that is not ASCII.
    let text = String::from_utf8_lossy(data);
    let loaded = Config::parse("fuzz.conf", &text);
    let (Ok((_, reports)) | Err(reports)) = &loaded;
    let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
    assert!(reports.iter().all(|report| report.line.is_none_or(|line| (1..=lines).contains(&line))), "{reports:?}");
    assert!(reports.len() <= 2 * MAX_REPORTS + 1, "{} reports", reports.len());
    assert_eq!(loaded.is_err(), reports.iter().any(|report| report.severity == Severity::Error), "{reports:?}");
    if let Ok((config, _)) = loaded {
        let again = Config::parse("fuzz.conf", &text).expect("it was accepted a moment ago").0;
        assert_eq!(config, again);
        assert!(config.filters.iter().all(|filter| config.link(&filter.link).is_some()), "a filter of no link");
    }
}

/// Notifications of the kernel tell at most one change per message.
pub fn netlink(data: &[u8]) {
    /// `nlmsghdr`, the least a message has.
    const MESSAGE: usize = 16;
    let mut changes = 0;
    netlink::parse(data, |_| changes += 1);
    assert!(changes <= data.len() / MESSAGE, "{changes} changes in {} bytes", data.len());
}

/// A request the monitor takes is written back as the bytes it came in: nothing in it was overlooked.
pub fn monitor_request(data: &[u8]) {
    if let Some(request) = Request::decode(data) {
        assert_eq!(request.encode(), data);
    }
}

/// A description of a link that is read is written back as one that means the same.
pub fn link_spec(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(spec) = text.parse::<LinkSpec>() else { return };
    let written = spec.to_string();
    assert_eq!(written.parse(), Ok(spec), "{written}");
}

/// A delivery trace that is read is written back the same.
pub fn trace(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(trace) = Trace::parse(&text) else { return };
    assert_eq!(Trace::parse(&trace.to_text()).as_ref(), Ok(&trace));
    // Each line is one opportunity, and a round takes a millisecond at least. One in 49 days rounds to nothing.
    let most = text.lines().count() as u64 * u64::from(OPPORTUNITY_BYTES) * 8 * 1_000;
    assert!(trace.mean_rate_bps() <= most);
}

/// An expression that is understood has few steps that only go forward, and judges any packet; a fault lies within it.
///
/// Input: the expression, a line's end, the packet.
pub fn filter(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let expression = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let packet = parts.next().unwrap_or_default();
    match filter::compile(&expression) {
        Err(fault) => assert!(fault.at <= expression.chars().count(), "{fault:?}"),
        Ok(steps) => {
            assert!(steps.len() <= MAX_STEPS);
            for (step, at) in steps.iter().zip(0_u16..) {
                let is_ahead = |next| {
                    if let Next::Step(place) = next { at < place && usize::from(place) < steps.len() } else { true }
                };
                assert!(is_ahead(step.yes) && is_ahead(step.no), "{expression}");
            }
            let accepted = matches(&steps, packet);
            assert!(accepted || !steps.is_empty());
        }
    }
}

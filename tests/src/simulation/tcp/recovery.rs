// SPDX-License-Identifier: BSD-2-Clause
//! What a sender does about losses: how much it may send while it repairs them (PRR, RFC 6937 as in Linux), when the
//! repair is over, and when the alarm was a false one.

use mlvpn_core::words::time::Instant;

use super::congestion::Window;

/// Where a sender stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing is missing.
    #[default]
    Open,
    /// The network marked packets: the window shrinks, nothing is missing.
    Reduced,
    /// Lost segments are sent again.
    Recovery,
    /// The timer ran out: all was taken for lost.
    Loss,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Where the sender stands.
    pub state: State,
    /// The state ends when this segment is acknowledged.
    until: u64,
    /// The window when the losses were noticed, with its threshold.
    before: Window,
    delivered: u64,
    sent: u64,
    undo: Option<Undo>,
}

/// What is known about a possibly false alarm.
#[derive(Clone, Copy, Debug)]
struct Undo {
    /// Copies sent again that were not shown to be needless.
    copies: u64,
    /// The sender's clock in milliseconds when the first copy was sent.
    first_copy_millis: Option<u32>,
    /// Any copy was sent.
    any: bool,
}

impl Recovery {
    /// Begins to shrink the window to its new threshold, until `until` is acknowledged.
    pub fn begin(&mut self, state: State, window: &mut Window, threshold: u64, until: u64) {
        (self.state, self.until, self.before) = (state, until, *window);
        (self.delivered, self.sent) = (0, 0);
        self.undo = (state == State::Recovery).then_some(Undo { copies: 0, first_copy_millis: None, any: false });
        window.threshold = threshold;
    }

    /// All is taken for lost: from `window` on, which the caller has set, until `until` is acknowledged.
    pub fn begin_loss(&mut self, before: Window, until: u64) {
        let is_first = self.state == State::Open || self.state == State::Reduced;
        (self.state, self.until) = (State::Loss, until);
        if is_first {
            self.before = before;
        }
        self.undo = Some(Undo { copies: 0, first_copy_millis: None, any: false });
    }

    /// A segment left, perhaps for the second time.
    pub fn note_sent(&mut self, is_copy: bool, now: Instant) {
        self.sent += 1;
        if let Some(undo) = self.undo.as_mut().filter(|_| is_copy) {
            undo.copies += 1;
            undo.any = true;
            undo.first_copy_millis = undo.first_copy_millis.or(Some(clock(now)));
        }
    }

    /// A copy proved needless: the receiver had the segment before.
    pub const fn note_needless(&mut self) {
        if let Some(undo) = &mut self.undo {
            undo.copies = undo.copies.saturating_sub(1);
        }
    }

    /// Whether the segments up to `first` ended the state.
    #[must_use]
    pub fn is_over(&self, first: u64) -> bool {
        self.state != State::Open && first >= self.until
    }

    /// Whether nothing had been lost: all copies were needless, or what was acknowledged left before the first copy, as its
    /// echoed time tells.
    #[must_use]
    pub fn was_false(&self, echoed_millis: Option<u32>) -> bool {
        let Some(undo) = self.undo else { return false };
        let is_early = match (undo.first_copy_millis, echoed_millis) {
            (Some(first), Some(echoed)) => echoed.wrapping_sub(first).cast_signed() < 0,
            (None, _) => true,
            _ => false,
        };
        (undo.any && undo.copies == 0) || is_early
    }

    /// Back to the window before the alarm.
    pub fn undo(&mut self, window: &mut Window) {
        window.segments = window.segments.max(self.before.segments);
        window.threshold = window.threshold.max(self.before.threshold);
        self.undo = None;
    }

    /// The state is over.
    pub fn end(&mut self, window: &mut Window) {
        if matches!(self.state, State::Reduced | State::Recovery)
            && self.undo.is_some() | (self.state == State::Reduced)
        {
            window.segments = window.threshold;
        }
        (self.state, self.undo) = (State::Open, None);
    }

    /// Sets the window while it shrinks: after `delivered` segments arrived, with `in_flight` on their way.
    pub fn shrink(&mut self, window: &mut Window, (delivered, in_flight): (u64, u64), has_advanced: bool) {
        if delivered == 0 {
            return;
        }
        self.delivered += delivered;
        let before = self.before.segments.max(1);
        let room = window.threshold.saturating_sub(in_flight);
        let quota = if in_flight > window.threshold {
            (window.threshold * self.delivered).div_ceil(before).saturating_sub(self.sent)
        } else {
            let due = self.delivered.saturating_sub(self.sent).max(delivered);
            (due + u64::from(has_advanced)).min(room)
        };
        // The first copy is sent whatever the quota.
        let quota = quota.max(u64::from(self.sent == 0));
        window.segments = in_flight + quota;
    }
}

/// The sender's clock as timestamps carry it: milliseconds.
#[must_use]
pub fn clock(now: Instant) -> u32 {
    super::segment::narrow(now.micros() / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_shrinks_in_proportion_to_what_arrives() {
        let mut window = Window { segments: 100, ..Window::default() };
        let mut recovery = Recovery::default();
        recovery.begin(State::Recovery, &mut window, 70, 100);
        let (mut in_flight, mut sent) = (99_u64, 0);
        // One segment arrives at a time; after a whole window seven were sent for ten that arrived.
        for _ in 0..99 {
            in_flight -= 1;
            recovery.shrink(&mut window, (1, in_flight), false);
            while in_flight < window.segments {
                recovery.note_sent(sent == 0, Instant::ORIGIN);
                (in_flight, sent) = (in_flight + 1, sent + 1);
            }
        }
        assert!((69..=71).contains(&sent), "{sent}");
        recovery.end(&mut window);
        assert_eq!(window.segments, 70);
    }

    #[test]
    fn an_alarm_whose_copies_were_all_needless_is_undone() {
        let mut window = Window { segments: 100, ..Window::default() };
        let mut recovery = Recovery::default();
        recovery.begin(State::Recovery, &mut window, 70, 100);
        recovery.note_sent(true, Instant::from_micros(5_000));
        assert!(!recovery.was_false(Some(5)));
        recovery.note_needless();
        assert!(recovery.was_false(Some(5)));
        recovery.undo(&mut window);
        recovery.end(&mut window);
        assert_eq!(window.segments, 100);
    }
}

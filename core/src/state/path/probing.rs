// SPDX-License-Identifier: BSD-2-Clause
//! Whether the peer answers: probes, challenges of new addresses, and what follows from their answers.

use crate::memory::control::Control;
use crate::state::estimate::RoundTrip;
use crate::state::link::{Phase, Role};
use crate::words::event::{DownCause, Health};
use crate::words::policy::Stop;
use crate::words::time::{Duration, Instant};

use super::{Answer, BUSY_INTERVAL, BUSY_SPAN, CHALLENGES, Errand, PROBES_KEPT, Path, Place};

/// A path nobody has answered on is probed this often, four times.
const YOUNG_INTERVAL: Duration = Duration::from_millis(250);

/// Then this often.
const PROBING_INTERVAL: Duration = Duration::from_secs(2);

/// The same where each probe costs money.
const METERED_PROBING_INTERVAL: Duration = Duration::from_secs(30);

/// Probes at [`YOUNG_INTERVAL`].
const YOUNG_PROBES: u8 = 4;

/// A path that fell silent is asked this often at first, so many times, for most outages are short: a radio cell changed, a
/// modem restarted. Then at [`YOUNG_INTERVAL`] until so many probes, then at [`PROBING_INTERVAL`].
const SILENT_INTERVAL: Duration = Duration::from_millis(100);
const SILENT_PROBES: u8 = 14;
const SILENT_YOUNG_PROBES: u8 = 34;

/// A server asks a path that is not up only for so long after it heard its client there. Asking is the client's part.
const ASKING_SPAN: Duration = Duration::from_secs(10);

/// An idle path is probed this often, by the client, so that address translators keep its place (RFC 4787 demands two
/// minutes of them; many give thirty seconds).
pub(super) const IDLE_INTERVAL: Duration = Duration::from_secs(25);

/// An unanswered probe is repeated after a round trip and four deviations (RFC 6298), but not sooner than this.
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// A path over which the peer is heard, but that answers none of so many probes in a row, carries one way only.
const ONE_WAY_AFTER: u8 = 10;

/// A path is silent after this many probes in a row without a sign of life.
pub(super) const SILENT_AFTER: u8 = 3;

impl Path {
    pub(super) fn start_probing(&mut self, now: Instant) {
        self.phase = Phase::Waiting;
        self.health = Health::Good;
        self.unanswered = 0;
        self.unheard = 0;
        self.probes = [None; PROBES_KEPT];
        self.probe_at = now;
    }

    fn come_up(&mut self, now: Instant) {
        if self.phase != Phase::Up {
            self.phase = Phase::Up;
            self.health = Health::Good;
            self.probe_at = now + BUSY_INTERVAL;
            self.last_heard = now;
        }
    }

    pub(super) fn leave_up(&mut self, cause: DownCause) {
        if self.phase == Phase::Up {
            self.down_cause = cause;
            self.disconnects = self.disconnects.saturating_add(1);
            self.rtt = RoundTrip::default();
        }
    }

    /// Whether a probe is sent when its time has come: an idle server leaves that to its client.
    pub(super) fn may_probe(&self) -> bool {
        let is_asking = match self.phase {
            Phase::Closed => false,
            Phase::Waiting => self.probe_at.since(self.last_heard) < ASKING_SPAN,
            Phase::Up => self.unanswered > 0 || self.is_busy(self.probe_at),
        };
        is_asking || self.role == Role::Client
    }

    /// Whether path MTU probes are sent when their time has come: what is found is proved again only while it is used.
    pub(super) fn may_measure(&self) -> bool {
        let is_wanted = self.mtu.is_under_way() || self.is_busy(self.mtu.deadline());
        self.is_alive() && self.stop() < Stop::Hard && is_wanted
    }

    fn is_busy(&self, now: Instant) -> bool {
        now.since(self.last_data) < BUSY_SPAN
    }

    /// When the path is dead if nothing is heard: its timeout is over, and enough probes went unanswered. An idle
    /// server's path is asked by its client, and is dead when that missed three times.
    pub(super) fn dead_at(&self) -> Instant {
        let idle = if self.unheard > SILENT_AFTER { Duration::ZERO } else { self.idle_interval() * 3 };
        self.last_heard + self.settings.timeout.max(idle)
    }

    pub(super) fn patience(&self) -> Duration {
        let rtt = self.rtt.smoothed().unwrap_or(YOUNG_INTERVAL);
        (rtt + (self.rtt.deviation() * 4).max(rtt >> 2)).max(MIN_PATIENCE)
    }

    pub(super) fn send_probe(&mut self, now: Instant) -> Control {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        if let Some(probe) = self.probes.get_mut(usize::from(id) % PROBES_KEPT) {
            *probe = Some((id, now));
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.unheard = self.unheard.saturating_add(1);
        if self.phase == Phase::Up && self.is_silent() {
            self.health = Health::Silent;
        }
        let wait = match self.phase {
            Phase::Up if self.health != Health::Silent => self.patience(),
            Phase::Up if self.unanswered <= SILENT_PROBES => SILENT_INTERVAL,
            Phase::Up if self.unanswered <= SILENT_YOUNG_PROBES => YOUNG_INTERVAL,
            Phase::Waiting if self.unanswered <= YOUNG_PROBES => YOUNG_INTERVAL,
            _ if self.is_metered() => METERED_PROBING_INTERVAL,
            _ => PROBING_INTERVAL,
        };
        self.probed_at = now;
        self.probe_at = now + wait;
        Control::Probe { id }
    }

    const fn is_silent(&self) -> bool {
        self.unheard > SILENT_AFTER || self.unanswered > ONE_WAY_AFTER
    }

    pub(super) fn handle_reply(&mut self, id: u16, from: Place, now: Instant) {
        let Some(probe) = self.probes.get_mut(usize::from(id) % PROBES_KEPT) else { return };
        let Some((_, sent)) = probe.take_if(|(expected, _)| *expected == id) else { return };
        self.rtt.sample(now.since(sent));
        self.unanswered = 0;
        // A client asked this very address; a server asks only addresses that are proved.
        if self.place == Some(from) {
            self.come_up(now);
        }
        self.probe_at = now + if self.is_busy(now) { BUSY_INTERVAL } else { self.idle_interval() };
        self.judge();
    }

    pub(super) fn challenge(&mut self, now: Instant) -> Option<Errand> {
        let wait = self.patience();
        let candidate = self.candidate.as_mut().filter(|c| c.tries < CHALLENGES && now >= c.again_at)?;
        candidate.tries = candidate.tries.saturating_add(1);
        candidate.asked_at = now;
        candidate.again_at = now + wait;
        Some(Errand { frame: Control::Challenge { token: candidate.token }, to: candidate.place, pad_to: 0 })
    }

    pub(super) fn handle_proof(&mut self, token: u64, now: Instant) {
        let Some(candidate) = self.candidate.take_if(|candidate| candidate.token == token) else { return };
        self.place = Some(candidate.place);
        if candidate.tries == 1 {
            // Which of several challenges was answered is not known.
            self.rtt.sample(now.since(candidate.asked_at));
        }
        // Another address may mean another path. Mostly it is an address translator that forgot, so the size holds until
        // it is disproved.
        self.mtu.doubt(now);
        self.come_up(now);
    }

    pub(super) fn answer(&mut self, answer: Answer, to: Place) {
        if self.answers.is_full() {
            self.answers.pop_front();
        }
        // There is room now.
        let _ = self.answers.push_back((answer, to));
    }

    pub(super) fn judge(&mut self) {
        self.health = self.settings.judge(self.is_silent(), &self.loss, &self.rtt);
    }
}

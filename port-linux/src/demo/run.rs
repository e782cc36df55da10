// SPDX-License-Identifier: BSD-2-Clause
//! Plays a plan on a stage, and watches.

use std::{fmt, io};

use mlvpn_core::words::time::{Duration, Instant};

use super::plan::{Act, Part, Plan, Stretch};
use super::record::{GapMeter, LinkReading, LinkSample, LinkState, Reading, Record, Sample};

/// How often the stage is looked at: the precision of the gaps.
const TICK: Duration = Duration::from_millis(5);

/// How often a sample is kept and shown.
const SAMPLE: Duration = Duration::from_millis(100);

/// When not all links have come up by then, those that have must do.
const ALL_UP: Duration = Duration::from_secs(3);

/// When none has come up by then, there is no tunnel.
const ANY_UP: Duration = Duration::from_secs(10);

/// A transfer that has not gone on for so long after the link came back is stuck: TCP, having waited in vain for up to
/// half as long before, tries again well within it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where acts are played: two ends of a tunnel, the links between them and a TCP transfer towards the user.
pub(super) trait Stage {
    /// Sets a tunnel over these links up.
    fn open(&mut self, links: &[usize], now: Instant) -> Result<(), String>;
    /// Starts a transfer without end through the tunnel.
    fn start_transfer(&mut self, now: Instant) -> Result<(), String>;
    /// Pulls a link or plugs it in again.
    fn set_link(&mut self, link: usize, up: bool, now: Instant) -> Result<(), String>;
    /// Does what is due and says how things stand.
    fn advance(&mut self, now: Instant) -> Result<Reading, String>;
    /// Takes tunnel and transfer down.
    fn close(&mut self) -> Result<(), String>;
}

/// How time passes.
pub(super) trait Pace {
    /// Lets about `span` pass; what passed in fact, never nothing.
    fn pass(&mut self, span: Duration) -> Result<Duration, Halt>;
}

/// Whom to show what is seen.
pub(super) trait Audience {
    /// A tunnel is being set up.
    fn announce(&mut self, plan: &Plan, act: &Act) -> io::Result<()>;
    /// There is a new sample.
    fn show(&mut self, plan: &Plan, record: &Record) -> io::Result<()>;
}

/// Why the demo ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// A signal of this number.
    Interrupted(i32),
    /// What went wrong.
    Failed(String),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_) => f.write_str("interrupted"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<String> for Halt {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Nobody watches any more.
impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("cannot show what happens: {error}"))
    }
}

/// A demo being played.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stage: &'a mut dyn Stage,
    pub(super) pace: &'a mut dyn Pace,
    pub(super) audience: &'a mut dyn Audience,
}

/// Where a run is.
struct Progress {
    record: Record,
    now: Instant,
    /// The reading that the sample before ended with.
    sampled: Reading,
    sampled_at: Instant,
    /// The latest reading.
    reading: Reading,
    pulled: Option<usize>,
    /// Runs while all links are there, and again from the pull on.
    gap: GapMeter,
}

impl Run<'_> {
    /// Plays every act.
    pub(super) fn play(&mut self) -> Result<Record, Halt> {
        let mut progress = Progress {
            record: Record { idle_round_trips: vec![None; self.plan.links.len()], ..Record::default() },
            now: Instant::ORIGIN,
            sampled: Reading::default(),
            sampled_at: Instant::ORIGIN,
            reading: Reading::default(),
            pulled: None,
            gap: GapMeter::new(0, Instant::ORIGIN),
        };
        for act in &self.plan.acts {
            self.play_act(act, &mut progress)?;
        }
        Ok(progress.record)
    }

    fn play_act(&mut self, act: &Act, progress: &mut Progress) -> Result<(), Halt> {
        self.audience.announce(self.plan, act)?;
        self.stage.open(&act.links, progress.now)?;
        self.wait_until_up(act, progress)?;
        for (idle, link) in progress.record.idle_round_trips.iter_mut().zip(&progress.reading.links) {
            *idle = idle.or(link.round_trip);
        }
        self.stage.start_transfer(progress.now)?;
        progress.start_sample();
        for part in &act.parts {
            self.play_part(part, progress)?;
        }
        let Reading { payload_bytes, corrupt, .. } = progress.reading;
        progress.record.bytes += payload_bytes;
        if let Some(at) = corrupt {
            progress.record.problems.push(format!("over {}, byte {at} arrived changed", names(&act.links)));
        }
        if payload_bytes == 0 {
            progress.record.problems.push(format!("over {}, no data arrived", names(&act.links)));
        }
        Ok(self.stage.close()?)
    }

    fn wait_until_up(&mut self, act: &Act, progress: &mut Progress) -> Result<(), Halt> {
        let began = progress.now;
        loop {
            self.tick(progress)?;
            let is_up = |link: &LinkReading| !matches!(link.state, LinkState::Unused | LinkState::Connecting);
            let up = progress.reading.links.iter().filter(|link| is_up(link)).count();
            let waited = progress.now.since(began);
            if up == act.links.len() || (up > 0 && waited >= ALL_UP) {
                return Ok(());
            }
            if waited >= ANY_UP {
                let limit = ANY_UP.millis() / 1_000;
                return Err(Halt::Failed(format!("no tunnel over {} within {limit} s", names(&act.links))));
            }
        }
    }

    fn play_part(&mut self, part: &Part, progress: &mut Progress) -> Result<(), Halt> {
        let began = progress.now;
        self.change_link(part.stretch, progress)?;
        let bytes = progress.reading.payload_bytes;
        while progress.now < began + part.length {
            self.watch(part.stretch, progress)?;
            if part.stretch == Stretch::Together && progress.now <= began + part.settle {
                progress.restart_gap();
            }
        }
        progress.record.close_part(self.plan, part, began);
        match part.stretch {
            Stretch::Together => progress.record.steady_gap = progress.gap.longest(),
            Stretch::Back => {
                self.see_it_go_on(bytes, progress)?;
                progress.record.pull_gap = progress.gap.longest();
            }
            Stretch::Alone(_) | Stretch::Pulled => {}
        }
        Ok(())
    }

    fn change_link(&mut self, stretch: Stretch, progress: &mut Progress) -> Result<(), Halt> {
        let (fastest, now) = (self.plan.fastest, progress.now);
        match stretch {
            Stretch::Pulled => {
                progress.pulled = Some(fastest);
                progress.record.pulled_at = Some(now);
                progress.restart_gap();
                Ok(self.stage.set_link(fastest, false, now)?)
            }
            Stretch::Back => {
                progress.pulled = None;
                progress.record.back_at = Some(now);
                Ok(self.stage.set_link(fastest, true, now)?)
            }
            Stretch::Alone(_) | Stretch::Together => Ok(()),
        }
    }

    /// Short demos end before TCP has tried again: then it is waited for.
    fn see_it_go_on(&mut self, bytes_before: u64, progress: &mut Progress) -> Result<(), Halt> {
        let began = progress.now;
        while progress.reading.payload_bytes == bytes_before {
            if progress.now >= began + PATIENCE {
                let link = self.plan.fastest + 1;
                progress.record.problems.push(format!("the transfer did not go on after link {link} came back"));
                return Ok(());
            }
            self.watch(Stretch::Back, progress)?;
        }
        Ok(())
    }

    /// Lets a tick pass, keeps a sample when it is time to, and shows it.
    fn watch(&mut self, stretch: Stretch, progress: &mut Progress) -> Result<(), Halt> {
        self.tick(progress)?;
        if progress.now.since(progress.sampled_at) >= SAMPLE {
            progress.keep_sample(stretch);
            self.audience.show(self.plan, &progress.record)?;
        }
        Ok(())
    }

    fn tick(&mut self, progress: &mut Progress) -> Result<(), Halt> {
        progress.now += self.pace.pass(TICK)?;
        progress.reading = self.stage.advance(progress.now)?;
        progress.gap.note(progress.reading.payload_bytes, progress.now);
        Ok(())
    }
}

impl Progress {
    fn restart_gap(&mut self) {
        self.gap = GapMeter::new(self.reading.payload_bytes, self.now);
    }

    fn start_sample(&mut self) {
        self.sampled = self.reading.clone();
        self.sampled_at = self.now;
    }

    fn keep_sample(&mut self, stretch: Stretch) {
        let before = |index: usize| self.sampled.links.get(index).cloned().unwrap_or_default();
        let links = self.reading.links.iter().enumerate().map(|(index, link)| LinkSample {
            carried_bytes: link.carried_bytes.saturating_sub(before(index).carried_bytes),
            offered: link.offered.saturating_sub(before(index).offered),
            lost: link.lost.saturating_sub(before(index).lost),
            round_trip: link.round_trip,
            state: link.state,
            is_pulled: self.pulled == Some(index),
        });
        self.record.samples.push(Sample {
            at: self.now,
            span: self.now.since(self.sampled_at),
            stretch,
            payload_bytes: self.reading.payload_bytes.saturating_sub(self.sampled.payload_bytes),
            links: links.collect(),
        });
        self.start_sample();
    }
}

/// Links in words, counted from one.
fn names(links: &[usize]) -> String {
    let numbers: Vec<_> = links.iter().map(|index| (index + 1).to_string()).collect();
    format!("link{} {}", if links.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

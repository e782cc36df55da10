// SPDX-License-Identifier: BSD-2-Clause
//! `mlvpn demo`: a tunnel over emulated links at work, to be watched.
//!
//! ```text
//! Plan (--links, --seconds) ─▶ Run on a Stage, at a Pace, before an Audience ─▶ Record ─▶ table, JSON, SVG
//! ```

mod daemon;
mod drawing;
mod emulated;
mod figures;
mod json;
mod kernel;
mod pace;
mod plan;
mod record;
mod run;
mod svg;
mod table;
mod view;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{DemoOptions, UsageError};
use crate::diagnostics;
use drawing::Drawing;
use emulated::Emulated;
use kernel::Kernel;
use pace::WallClock;
use plan::{Manner, Plan};
use record::Record;
use run::{Halt, Run, Stage};
use view::{Style, View};

/// Shows the demo. Exits with 0 when the tunnel carried every byte intact, 1 when not, 2 when the links mean nothing,
/// 128 and the signal's number when interrupted.
#[must_use]
pub fn run(options: &DemoOptions) -> ExitCode {
    let plan = match Plan::new(options.links.as_deref(), options.seconds) {
        Ok(plan) => Plan { manner: if options.kernel { Manner::Kernel } else { Manner::Emulated }, ..plan },
        Err(error) => {
            diagnostics::say(format_args!("mlvpn: {error}"));
            return ExitCode::from(UsageError::EXIT_CODE);
        }
    };
    match show(&plan, options) {
        Ok(record) if record.problems.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(Halt::Interrupted(signal)) => {
            diagnostics::say(format_args!("mlvpn: interrupted"));
            ExitCode::from(u8::try_from(signal).unwrap_or(0).saturating_add(128))
        }
        Err(Halt::Failed(why)) => {
            diagnostics::say(format_args!("mlvpn: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn show(plan: &Plan, options: &DemoOptions) -> Result<Record, Halt> {
    // Opened before the run, so that nobody watches it through only to learn that there will be no drawing.
    let drawing = options.svg.as_deref().map(Drawing::open).transpose()?;
    let record = play(plan, options)?;
    report(plan, &record, options)?;
    drawing.map_or(Ok(()), |drawing| drawing.finish(&svg::render(plan, &record)))?;
    Ok(record)
}

fn play(plan: &Plan, options: &DemoOptions) -> Result<Record, Halt> {
    let failed = |what: &str, error: io::Error| Halt::Failed(format!("{what}: {error}"));
    // First, so that threads and children are born with the signals blocked and leave them to this thread.
    let mut pace = WallClock::start(plan.manner).map_err(|error| failed("cannot catch signals", error))?;
    let mut stage: Box<dyn Stage> = match plan.manner {
        Manner::Emulated => Box::new(Emulated::new(plan.clone(), [seed()?, seed()?])),
        Manner::Kernel => Box::new(Kernel::new(plan, seed()?)?),
    };
    let mut view = View::new(if options.json { Style::Silent } else { Style::of_stdout() });
    Run { plan, stage: &mut *stage, pace: &mut pace, audience: &mut view }.play()
}

fn seed() -> Result<[u8; 32], Halt> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Halt::Failed(format!("the system's random source failed: {error}")))?;
    Ok(seed)
}

fn report(plan: &Plan, record: &Record, options: &DemoOptions) -> Result<(), Halt> {
    let text = if options.json { json::render(plan, record) } else { format!("\n{}", table::render(plan, record)) };
    let printed = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    printed.map_err(|error| Halt::Failed(format!("cannot print the result: {error}")))
}

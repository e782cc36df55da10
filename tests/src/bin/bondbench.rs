// SPDX-License-Identifier: BSD-2-Clause
//! Kernel TCP through bonded links in network namespaces: our tunnel, others' where they are found, the kernel's Multipath
//! TCP, and each link alone; as Markdown tables and a chart. Needs root.
//!
//! `cargo run --release --package mlvpn-tests --bin bondbench -- --help`
//!
//! Each measurement is a process of its own, so that one which fails or hangs costs no other its figures.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration as StdDuration;

use mlvpn::clock;
use mlvpn_core::words::time::Duration;
use mlvpn_tests::bench::chart::svg;
use mlvpn_tests::bench::measure::measure;
use mlvpn_tests::bench::options::{Options, Request, USAGE, parse};
use mlvpn_tests::bench::plan::{Figures, Outcome, Plan};
use mlvpn_tests::bench::report::markdown;
use mlvpn_tests::bench::scenario::{CEILING, SCENARIOS};
use mlvpn_tests::bench::system::System;
use mlvpn_tests::daemon::PrivateFolder;
use mlvpn_tests::program;
use nix::sys::signal::Signal;

/// The first argument of the process that measures once; the plan, as JSON, is the second.
const ONE: &str = "measure-one";
/// Milliseconds of pings before the load: a hundred.
const IDLE_MILLIS: u32 = 2_000;
/// For a tunnel to come up and end, beyond the load: each of the two may take the half minute that tests wait.
const OVERHEAD: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == ONE).is_some() {
        return measure_one(&arguments.next().unwrap_or_default());
    }
    match parse(arguments) {
        Ok(Request::Help) => print!("{USAGE}"),
        Ok(Request::List) => list(),
        Ok(Request::Measure(options)) => match run(&options) {
            Ok(()) => {}
            Err(why) => {
                eprintln!("bondbench: {why}");
                return ExitCode::FAILURE;
            }
        },
        Err(why) => {
            eprintln!("bondbench: {why}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn list() {
    for scenario in SCENARIOS.iter().chain([&CEILING]) {
        println!("{:12} {}", scenario.name, scenario.title);
    }
    println!();
    for system in System::BONDS {
        let missing = system.availability().err().map(|why| format!(" (left out: {why})")).unwrap_or_default();
        println!("{:12} {}{missing}", system.to_string(), system.title());
    }
}

fn run(options: &Options) -> Result<(), String> {
    let systems = systems(options)?;
    if systems.iter().any(|system| system.is_ours()) {
        // Built now, and not within the first measurement's time.
        program::mlvpn();
    }
    let plans = plans(options, &systems);
    let each = options.seconds + options.skip_seconds + IDLE_MILLIS / 1_000 + 4;
    eprintln!("{} measurements, about {} minutes", plans.len(), (plans.len() as u64 * u64::from(each)).div_ceil(60));
    let mut book = Book::open(options.out.as_deref())?;
    for (plan, number) in plans.iter().zip(1..) {
        let result = run_one(plan);
        let Plan { scenario, system, mix, heading, .. } = plan;
        let said = result.as_ref().map_or_else(|why| format!("failed: {why}"), summary);
        eprintln!("{number}/{} {scenario} {system} {mix} {heading}: {said}", plans.len());
        book.enter(Outcome { plan: plan.clone(), result })?;
    }
    print!("{}", markdown(&book.outcomes));
    Ok(())
}

fn summary(figures: &Figures) -> String {
    format!("{:.1} Mbit/s, {:.0} %", figures.goodput_bps / 1e6, figures.percent())
}

/// Those asked for, which must be there, or else all that are.
fn systems(options: &Options) -> Result<Vec<System>, String> {
    if let Some(systems) = &options.systems {
        let check = |system: &System| system.availability().map_err(|why| format!("--systems {system}: {why}"));
        systems.iter().try_for_each(check)?;
        return Ok(systems.clone());
    }
    let found = System::BONDS.into_iter().filter(|system| match system.availability() {
        Ok(()) => true,
        Err(why) => {
            eprintln!("without {system}: {why}");
            false
        }
    });
    Ok(found.collect())
}

/// Repeats outermost within a scenario: whatever else the machine does meets all systems alike.
fn plans(options: &Options, systems: &[System]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for scenario in &options.scenarios {
        let links = if options.has_references { scenario.links.len() } else { 0 };
        let all: Vec<System> = (1..=links).map(System::Link).chain(systems.iter().copied()).collect();
        for (mix, heading) in options.mixes.iter().flat_map(|&mix| options.headings.iter().map(move |&to| (mix, to))) {
            for _ in 0..options.repeats {
                plans.extend(all.iter().map(|&system| Plan {
                    scenario: scenario.name.to_owned(),
                    system,
                    mix,
                    heading,
                    skip_seconds: options.skip_seconds,
                    seconds: options.seconds,
                    idle_millis: IDLE_MILLIS,
                }));
            }
        }
    }
    plans
}

/// What was measured so far, in memory and in the folder asked for.
struct Book {
    outcomes: Vec<Outcome>,
    folder: Option<(PathBuf, File)>,
}

impl Book {
    fn open(folder: Option<&Path>) -> Result<Self, String> {
        let open = |folder: &Path| -> io::Result<(PathBuf, File)> {
            fs::create_dir_all(folder)?;
            let runs = OpenOptions::new().write(true).create(true).truncate(true).open(folder.join("runs.jsonl"))?;
            Ok((folder.to_owned(), runs))
        };
        let folder = folder.map(|folder| open(folder).map_err(|why| format!("--out {}: {why}", folder.display())));
        Ok(Self { outcomes: Vec::new(), folder: folder.transpose()? })
    }

    /// Takes an outcome in and writes everything anew, so that an end at any time loses nothing.
    fn enter(&mut self, outcome: Outcome) -> Result<(), String> {
        let json = serde_json::to_string(&outcome).map_err(|why| why.to_string())?;
        self.outcomes.push(outcome);
        let Some((folder, runs)) = &mut self.folder else { return Ok(()) };
        let write = |runs: &mut File, folder: &Path, outcomes: &[Outcome]| -> io::Result<()> {
            writeln!(runs, "{json}")?;
            fs::write(folder.join("table.md"), markdown(outcomes))?;
            fs::write(folder.join("chart.svg"), svg(outcomes))
        };
        write(runs, folder, &self.outcomes).map_err(|why| format!("--out {}: {why}", folder.display()))
    }
}

/// Measures in another process, which is ended when it takes too long.
fn run_one(plan: &Plan) -> Result<Figures, String> {
    let json = serde_json::to_string(plan).map_err(|why| why.to_string())?;
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new(this);
    command.arg(ONE).arg(json).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| why.to_string())?;
    let (output, errors) = (listen(child.stdout.take()), listen(child.stderr.take()));
    let load = Duration::from_secs(u64::from(plan.seconds + plan.skip_seconds));
    let ended = await_end(&mut child, load + OVERHEAD).map_err(|why| why.to_string())?;
    PrivateFolder::remove_left_by(child.id());
    let said = output.join().unwrap_or_default();
    let complaint = errors.join().unwrap_or_default();
    if !ended {
        return Err(format!("not done in time; {}", last_line(&complaint)));
    }
    serde_json::from_str::<Result<Figures, String>>(said.trim()).unwrap_or_else(|_| Err(last_line(&complaint)))
}

/// Reads what a child writes while it writes it.
fn listen(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a failure is all there is.
            let _what_there_is = pipe.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Whether it ended by itself; it has ended afterwards.
fn await_end(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let deadline = clock::now() + limit;
    while clock::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(StdDuration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

/// A panic's message stands before the note on backtraces.
fn last_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.len().saturating_sub(6);
    if lines.is_empty() { "it ended without a word".to_owned() } else { lines[shown..].join(" / ") }
}

/// The other process: prints the result as JSON.
fn measure_one(plan: &str) -> ExitCode {
    // Ends with whoever started it; its own children end with it.
    if let Err(why) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        eprintln!("bondbench: {why}");
        return ExitCode::FAILURE;
    }
    let result = match serde_json::from_str::<Plan>(plan) {
        Ok(plan) => measure(&plan),
        Err(why) => Err(format!("the plan cannot be read: {why}")),
    };
    let result = match result {
        Ok(Some(figures)) => Ok(figures),
        // The reason stands on standard error.
        Ok(None) => return ExitCode::FAILURE,
        Err(why) => Err(why),
    };
    match serde_json::to_string(&result) {
        Ok(json) => println!("{json}"),
        Err(why) => {
            eprintln!("bondbench: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

// SPDX-License-Identifier: BSD-2-Clause
//! The daemon: `mlvpn --config FILE`.
//!
//! Two processes. The monitor keeps root's rights, runs the status command and opens the configuration; the worker holds
//! the device, the sockets and the engine, and handles everything the network sends with as few rights as it needs.

mod client;
mod control;
mod delivery;
mod engine;
mod facts;
mod failover;
mod links;
mod options;
mod outbox;
mod packets;
mod peer_engine;
mod quota;
mod reload;
mod reports;
mod resolver;
mod routes;
mod server;
mod service;
mod settings;
mod snapshot;
mod sockets;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, Loaded, Report, Severity, open, open_file};
use crate::log::{self, Filter, Target, Topic};
use crate::privilege::{self, Capability, Identity, MonitorPlan, Split};
use crate::script::Script;
use crate::title::{self, ProcessTitle};
use crate::{diagnostics, log_warn, reactor};
pub use options::RunOptions;
pub use service::{Control, InterfaceState, LinkChange, Load, NoSuchLink, Occasion, Service, Usage, Variant};
use worker::Worker;

/// Runs `mlvpn` until it is told to end. What keeps it from starting is said on standard error.
#[must_use]
pub fn run(options: &RunOptions) -> ExitCode {
    run_variant(options, Variant::plain())
}

/// The same for another daemon.
#[must_use]
pub fn run_variant(options: &RunOptions, variant: Variant) -> ExitCode {
    let (config, warnings) = match load(&options.config, &variant.load) {
        Ok(loaded) => loaded,
        Err(reports) => {
            for report in reports {
                diagnostics::say(format_args!("{}: {report}", word(report.severity)));
            }
            return ExitCode::FAILURE;
        }
    };
    let name = variant.name;
    match start(options, variant, config, &warnings) {
        Ok(code) => code,
        Err(why) => {
            diagnostics::say(format_args!("{name}: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn load(path: &Path, load: &Load) -> Loaded {
    let name = path.to_string_lossy();
    open(path).map_err(|report| vec![*report]).and_then(|file| load(&file, &name, &open_file))
}

/// Why the daemon did not start; the text says what to do.
type StartError = Box<dyn std::error::Error>;

fn start(options: &RunOptions, variant: Variant, config: Config, warnings: &[Report]) -> Result<ExitCode, StartError> {
    let identity = privilege::identity(&options.user, options.run_as_root)?;
    let name = options.name.as_deref().unwrap_or(variant.name);
    init_log(options, name)?;
    for report in warnings {
        log_warn!(Topic::Config, "{report}");
    }
    for option in settings::not_yet_served(&config) {
        log_warn!(Topic::Config, "{option}");
    }
    reactor::block_signals()?;
    let source = reload::Source::of(options, variant.load);
    let (protocol, monitors) = (config.general.protocol, source.clone());
    let plan = MonitorPlan {
        config_path: absolute(&options.config)?,
        script: status_command(&config),
        environment: settings::script_environment(&config),
        read_environment: Box::new(move |file, open| {
            monitors.read(file, open, protocol).ok().map(|(config, _)| settings::script_environment(&config))
        }),
    };
    if !options.natural_title {
        show_title(&title::monitor_title(name));
    }
    match privilege::split(plan)? {
        Split::Ended(status) => Ok(ExitCode::from(status)),
        Split::Worker(monitor) => {
            let title = (!options.natural_title).then(ProcessTitle::open).and_then(Result::ok);
            let keep = kept_rights(&config);
            let mut worker = Worker::start(config, source, monitor)?;
            worker.title = title.map(|title| (title, name.to_owned()));
            worker.service = variant.service;
            privilege::drop_privileges(&identity, &keep)?;
            if matches!(identity, Identity::Root) {
                log_warn!(Topic::Privsep, "staying root as told; create a user and name it with --user");
            }
            worker.run()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn init_log(options: &RunOptions, name: &str) -> Result<(), StartError> {
    let topics = options
        .debug_tokens
        .iter()
        .map(|token| token.parse::<Topic>().map_err(|unknown| StartError::from(format!("-D {token}: {unknown}"))));
    let topics = topics.collect::<Result<Vec<_>, _>>()?;
    let verbosity = i32::from(log::DEFAULT_VERBOSITY).saturating_add(options.verbosity).clamp(0, i32::from(u8::MAX));
    let target = if options.debug { Target::Stderr } else { Target::Syslog };
    log::init(target, Filter::new(u8::try_from(verbosity)?, &topics), name);
    Ok(())
}

/// The monitor opens the file again when told to reload, whatever its working directory is then.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize()
}

/// The status command, when it may be run.
fn status_command(config: &Config) -> Option<Script> {
    let path = config.general.statuscommand.as_ref()?;
    Script::check(path).inspect_err(|why| log_warn!(Topic::Config, "[general] statuscommand: {why}")).ok()
}

/// The rights the worker's sockets need.
fn kept_rights(config: &Config) -> Vec<Capability> {
    let mut keep = Vec::new();
    if config.links.iter().any(|link| link.bindport.is_some_and(|port| port < 1024)) {
        keep.push(Capability::BindLowPorts);
    }
    if config.links.iter().any(|link| link.bindinterface.is_some()) && privilege::needs_raw_sockets() {
        keep.push(Capability::RawSockets);
    }
    keep
}

/// A title is decoration: a kernel that does not allow it changes nothing else.
fn show_title(text: &str) {
    if let Err(why) = ProcessTitle::open().and_then(|title| title.set(text)) {
        crate::log_debug!(Topic::Privsep, "process title: {why}");
    }
}

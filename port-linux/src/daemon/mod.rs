// SPDX-License-Identifier: BSD-2-Clause
//! The daemon: `mlvpn --config FILE`.
//!
//! Two processes. The monitor keeps root's rights, runs the status command, opens the configuration and the links' sockets,
//! and resolves names; the worker holds the device, the sockets and the engine, and handles everything the network sends
//! without rights and files.

mod advice;
mod client;
mod command;
mod control;
mod delivery;
mod engine;
mod facts;
mod failover;
mod filters;
mod links;
mod live;
mod options;
mod outbox;
mod packets;
mod peer_engine;
mod quota;
mod reload;
mod reports;
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
#[cfg(feature = "full")]
use crate::control::{Face, Sockets, ensure_free, path_of, remove};
use crate::device::TunDevice;
use crate::log::{self, Filter, Target, Topic};
use crate::privilege::{self, Identity, MonitorPlan, Split};
use crate::script::Script;
use crate::title::{self, ProcessTitle};
use crate::{diagnostics, log_info, log_warn, reactor, roles};
pub use command::{Answer, Command, CommandError, KeyText, LinkAction, LinkCommand, NewPeer};
pub use options::RunOptions;
pub use service::{
    Control, InterfaceState, LinkChange, Load, NoSuchLink, Occasion, PolicyChange, Service, TunnelChange, Usage,
    Variant,
};
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
    advice::look_at_clock();
    for sentence in settings::not_yet_served(&config).into_iter().chain(roles::cautions(&config)) {
        log_warn!(Topic::Config, "{sentence}");
    }
    reactor::block_signals()?;
    let source = reload::Source::of(options, variant.load);
    let (protocol, monitors) = (config.general.protocol, source.clone());
    let follows_devices = variant.service.is_some();
    let plan = MonitorPlan {
        config_path: absolute(&options.config)?,
        script: status_command(&config),
        orders: settings::orders(&config, follows_devices),
        read_orders: Box::new(move |file, open| {
            monitors.read(file, open, protocol).ok().map(|(config, _)| settings::orders(&config, follows_devices))
        }),
    };
    #[cfg(feature = "full")]
    ensure_free(&config.general)?;
    let device = create_device(&config)?;
    if !options.natural_title {
        show_title(&title::monitor_title(name));
    }
    #[cfg(feature = "full")]
    let control_path = path_of(&config.general, &config.general.interface_name);
    match privilege::split(plan, device)? {
        Split::Ended(status) => {
            #[cfg(feature = "full")]
            remove(&control_path);
            Ok(ExitCode::from(status))
        }
        Split::Worker(monitor, device) => {
            let title = (!options.natural_title).then(ProcessTitle::open).and_then(Result::ok);
            let mut service = variant.service;
            if service.is_none() {
                service = control_face(&config, &identity)?;
            }
            let mut worker = Worker::start(config, source, monitor, device)?;
            worker.title = title.map(|title| (title, name.to_owned()));
            worker.service = service;
            privilege::lock_down(&identity, variant.confinement)?;
            if matches!(identity, Identity::Root) {
                log_warn!(Topic::Privsep, "staying root as told; create a user and name it with --user");
            }
            worker.run()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The control sockets, opened while the process has its rights.
#[cfg(feature = "full")]
fn control_face(config: &Config, identity: &Identity) -> Result<Option<Box<dyn Service>>, StartError> {
    let group = match identity {
        Identity::User(user) => user.gid,
        Identity::Root | Identity::Unchanged => nix::unistd::getegid(),
    };
    let sockets = Sockets::open(&config.general, &config.general.interface_name, group)?;
    Ok(Some(Box::new(Face::new(sockets)?)))
}

/// A router is asked over its bus.
#[cfg(not(feature = "full"))]
fn control_face(_: &Config, _: &Identity) -> Result<Option<Box<dyn Service>>, StartError> {
    Ok(None)
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

/// The tunnel's device, made while this process may.
fn create_device(config: &Config) -> Result<TunDevice, StartError> {
    let general = &config.general;
    let mtu = general.mtu.unwrap_or_else(|| config.usual_inner_mtu());
    let create = if general.offload { TunDevice::create_offloading } else { TunDevice::create };
    let device = create(general.interface_name.as_str(), general.tuntap, u32::from(mtu))?;
    log_info!(Topic::Tuntap, "created {} interface {}", device.kind(), device.name());
    Ok(device)
}

/// A title is decoration: a kernel that does not allow it changes nothing else.
fn show_title(text: &str) {
    if let Err(why) = ProcessTitle::open().and_then(|title| title.set(text)) {
        crate::log_debug!(Topic::Privsep, "process title: {why}");
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpnd` program.

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use mlvpn::config::open_file;
use mlvpn::daemon::{self, Load, Variant};
use mlvpn::diagnostics::{self, Diagnostics};
use mlvpn::privilege::Confinement;
use mlvpnd::bus::Bus;
use mlvpnd::cli::{self, Invocation, Router, UsageError};
use mlvpnd::config::{self, Choice};

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(options, Router { socket, tunnel })) => {
            let bus = Bus::new(socket, tunnel.clone());
            let choice = Choice::new(&options.config, tunnel);
            let load: Load = Rc::new(move |file, name, open| config::load(file, name, &choice, open));
            let variant =
                Variant { name: "mlvpnd", load, service: Some(Box::new(bus)), confinement: Confinement::Jailed };
            return daemon::run_variant(&options, variant);
        }
        Ok(Invocation::Print(text)) => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        Ok(Invocation::Check(path, router)) => match check(&path, &router) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(why) => Err(why),
        },
        Ok(Invocation::Keys(command)) => command.run_in_shell(&mut Diagnostics),
        Err(error) => {
            diagnostics::say(format_args!("{error}"));
            return ExitCode::from(UsageError::EXIT_CODE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            diagnostics::say(format_args!("mlvpnd: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path, router: &Router) -> io::Result<bool> {
    let name = path.to_string_lossy();
    let opened = mlvpn::config::open(path).map_err(|report| vec![*report]);
    let choice = Choice::new(path, router.tunnel.clone());
    let loaded = opened.and_then(|file| config::load(&file, &name, &choice, &open_file));
    mlvpn::config::check_loaded(path, &loaded, &mut Diagnostics, &mut io::stdout())
}

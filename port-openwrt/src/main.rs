// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpnd` program.

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::io::{self, Write};
use std::process::ExitCode;

use mlvpn::daemon::{self, Variant};
use mlvpn::diagnostics::{self, Diagnostics};
use mlvpnd::bus::Bus;
use mlvpnd::cli::{self, Invocation, UsageError};

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(options, socket)) => {
            let bus = Box::new(Bus::new(socket));
            let variant = Variant { name: "mlvpnd", load: mlvpn::config::load_from, service: Some(bus) };
            return daemon::run_variant(&options, variant);
        }
        Ok(Invocation::Print(text)) => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        Ok(Invocation::Check(path)) => match mlvpn::config::check(&path, &mut Diagnostics, &mut io::stdout()) {
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

// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpn` program.

#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::io::{self, Write};
use std::process::ExitCode;

use mlvpn::cli::{self, Invocation, UsageError};
use mlvpn::diagnostics::{self, Diagnostics};
use mlvpn::{config, console, daemon, demo};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Invocation::Print(text)) => {
            match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error.to_string()),
            }
        }
        Ok(Invocation::Check { path }) => match config::check(&path, &mut Diagnostics, &mut io::stdout()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error.to_string()),
        },
        Ok(Invocation::Convert { path, tunnel }) => {
            match config::convert::run(&path, tunnel.as_deref(), &mut Diagnostics, &mut io::stdout()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => fail(&error.to_string()),
            }
        }
        Ok(Invocation::Keys(command)) => match command.run_in_shell(&mut Diagnostics) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Ok(Invocation::Live(live)) => console::run(live),
        Ok(Invocation::Bench(options)) => console::bench(options),
        Ok(Invocation::Run(options)) => daemon::run(&options),
        Ok(Invocation::Demo(options)) => demo::run(&options),
        Err(error) => {
            diagnostics::say_lines(&error.to_string());
            ExitCode::from(UsageError::EXIT_CODE)
        }
    }
}

fn fail(message: &str) -> ExitCode {
    diagnostics::say(format_args!("mlvpn: {message}"));
    ExitCode::FAILURE
}

// SPDX-License-Identifier: BSD-2-Clause
//! The `mlvpn` program.

use std::io::{self, Write};
use std::process::ExitCode;

use mlvpn::cli::{self, Invocation, UsageError};
use mlvpn::{config, daemon, demo};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Invocation::Print(text)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Ok(Invocation::Check { path }) => match config::check(&path, &mut io::stderr(), &mut io::stdout()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error.to_string()),
        },
        Ok(Invocation::Keys(command)) => match command.run_in_shell(&mut io::stderr()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Ok(Invocation::Run(options)) => daemon::run(&options),
        Ok(Invocation::Demo(options)) => demo::run(&options),
        Err(error) => {
            eprint!("{error}");
            ExitCode::from(UsageError::EXIT_CODE)
        }
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("mlvpn: {message}");
    ExitCode::FAILURE
}

// SPDX-License-Identifier: BSD-2-Clause
//! How to run the tunnel.

use std::path::PathBuf;

/// How to run the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// `-c`: the configuration's file.
    pub config: PathBuf,
    /// `--debug`, or any `-D`: log to standard error, not to syslog.
    pub debug: bool,
    /// `-D`: log only what these parts say; all of them if none is named.
    pub debug_tokens: Vec<String>,
    /// `--natural-title`: leave the process's title alone.
    pub natural_title: bool,
    /// `-n`: this tunnel's name in the process's title.
    pub name: Option<String>,
    /// `-u`: whom to become when started as root.
    pub user: String,
    /// `-v` counted up and `-q` counted down; 0 is the usual amount of messages.
    pub verbosity: i32,
    /// `--yes-run-as-root`: stay root.
    pub run_as_root: bool,
}

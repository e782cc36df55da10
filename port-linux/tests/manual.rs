// SPDX-License-Identifier: BSD-2-Clause
//! The manual pages and the shells' completions, made of the command line's definition and of the list of options. The files
//! are kept, so that packages only have to copy them; `MLVPN_BLESS=1 cargo test -p mlvpn --test manual` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use mlvpn::cli;
use mlvpn_uci::options::{Absent, OptionSpec, SectionKind, Takes, conf};
use mlvpn_uci::value::Expected;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds a file against what it is to be, or writes it.
#[track_caller]
fn keep(path: PathBuf, text: &str) {
    if std::env::var_os("MLVPN_BLESS").is_some() {
        fs::write(&path, text).expect("the file can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, text, "{} is old; MLVPN_BLESS=1 writes it anew", path.display());
}

fn part(name: &str) -> String {
    fs::read_to_string(folder().join("man/parts").join(name)).expect("it is kept")
}

fn rendered(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).expect("memory takes all");
    String::from_utf8(bytes).expect("text")
}

/// A text for roff's body.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\"");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// A command with its usage and its options, and those below it.
fn command_text(path: &str, command: &Command) -> String {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        let about = roff(&command.get_about().map(ToString::to_string).unwrap_or_default());
        let below = command.get_subcommands().map(|command| command_text(&path, command));
        return format!(".SS {}\n{about}.\n{}", roff(&path), below.collect::<String>());
    }
    let named = command.clone().bin_name(path.clone()).display_name(path.replace(' ', "-"));
    let man = Man::new(named.disable_help_flag(true));
    let synopsis = rendered(|out| man.render_synopsis_section(out));
    let usage = synopsis.lines().find(|line| line.starts_with("\\fB")).unwrap_or_default();
    let about = roff(&command.get_about().map(ToString::to_string).unwrap_or_default());
    let mut text = format!(".SS {}\n{usage}\n.PP\n{about}.\n", roff(&path));
    if command.get_arguments().next().is_some() {
        let options = rendered(|out| man.render_options_section(out));
        text.extend(options.lines().filter(|line| !line.starts_with(".SH")).map(|line| format!("{line}\n")));
    }
    text
}

#[test]
fn the_page_of_the_program_is_made_of_its_command_line() {
    let mut command = cli::command();
    command.build();
    let man = Man::new(command.clone());
    let options = rendered(|out| man.render_options_section(out));
    let commands: String = command.get_subcommands().map(|below| command_text("mlvpn", below)).collect();
    let text = part("mlvpn.1.in").replace("@OPTIONS@\n", &options).replace("@COMMANDS@\n", &commands);
    for command in command.get_subcommands() {
        assert!(text.contains(&format!(".SS mlvpn {}", command.get_name())), "{}", command.get_name());
    }
    keep(folder().join("man/mlvpn.1"), &text);
}

fn option_text(spec: &OptionSpec) -> String {
    let default = match spec.default {
        Absent::Required => "Must be given.".to_owned(),
        Absent::RequiredIn(case) => format!("Must be given: {case}."),
        Absent::Unset => String::new(),
        Absent::Text(text) => format!("Default: {text}."),
        Absent::Number(number) => format!("Default: {number}."),
        Absent::General => "Default: that of [general].".to_owned(),
        Absent::Computed(how) => format!("Default: {how}."),
    };
    let aliases = match spec.aliases {
        [] => String::new(),
        names => format!("Also: {}.", names.join(", ")),
    };
    let unit = if spec.unit.is_empty() { String::new() } else { format!(" ({})", spec.unit) };
    let restart = if spec.takes == Takes::Restart { "A change takes effect after a restart." } else { "" };
    let kind = format!("Value: {}{unit}.", Expected(spec.kind));
    let sentences = [format!("{}.", spec.help), kind, default, aliases, restart.to_owned()];
    let lines = sentences.iter().filter(|line| !line.is_empty()).map(|line| format!("{}\n", roff(line)));
    format!(".TP\n.B {}\n{}", roff(spec.name), lines.collect::<String>())
}

#[test]
fn the_page_of_the_configuration_has_every_option() {
    let sections = SectionKind::ALL.map(|kind| {
        let options: String = conf().filter(|spec| spec.section == kind).map(option_text).collect();
        (kind, options)
    });
    let mut text = part("mlvpn.conf.5.in");
    for (kind, options) in sections {
        let mark = format!("@{}@\n", kind.uci_type().to_uppercase());
        assert!(text.contains(&mark), "{mark}");
        text = text.replace(&mark, &options);
    }
    for spec in conf() {
        assert!(text.contains(&format!(".B {}\n", roff(spec.name))), "{}", spec.name);
    }
    keep(folder().join("man/mlvpn.conf.5"), &text);
}

#[test]
fn completions_are_made_of_the_command_line() {
    for (shell, file) in [(Shell::Bash, "mlvpn.bash"), (Shell::Zsh, "_mlvpn"), (Shell::Fish, "mlvpn.fish")] {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut cli::command(), "mlvpn", &mut bytes);
        keep(folder().join("completions").join(file), &String::from_utf8(bytes).expect("text"));
    }
}

#[test]
fn every_command_of_glorytun_has_its_counterpart_in_the_page() {
    let page = part("mlvpn.1.in");
    for command in ["bench", "bind", "keygen", "list", "path", "path set", "set", "show", "version"] {
        assert!(
            page.lines().any(|line| line.starts_with(&format!("glorytun {command}")) && line.contains('|')),
            "{command}"
        );
    }
}

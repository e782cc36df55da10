// SPDX-License-Identifier: BSD-2-Clause
//! The list of options as a table for people, and as JSON for the settings page.

use core::fmt::{self, Write};

use crate::options::{Absent, InUci, OPTIONS, OptionSpec, SectionKind, Takes, TimeUnit, ValueKind};
use crate::value::Expected;

/// Writes the table of all options in Markdown.
///
/// # Errors
/// Those of `out`.
pub fn markdown(out: &mut dyn Write) -> fmt::Result {
    out.write_str(
        "# Options\n\nMade from the list in [src/options/table.rs](src/options/table.rs) by `MLVPN_BLESS=1 cargo test -p mlvpn-uci`.\n\
         *restart*: a change takes effect when mlvpn starts again.\n",
    )?;
    for section in SectionKind::UCI {
        write!(out, "\n## `config {}`", section.uci_type())?;
        match section {
            SectionKind::General => out.write_str(", `[general]`")?,
            SectionKind::Link => out.write_str(", `[NAME]`")?,
            SectionKind::Peer => out.write_str(", `[peer NAME]`")?,
            SectionKind::Class => out.write_str(", `[class NAME]`")?,
            SectionKind::OpenMptcProuter => out.write_str(" (OpenMPTCProuter's)")?,
        }
        out.write_str(
            "\n\n| /etc/config/mlvpn | mlvpn.conf | value in UCI | default in UCI | in mlvpn.conf | since | |\n",
        )?;
        out.write_str("|---|---|---|---|---|---|---|\n")?;
        for spec in OPTIONS.iter().filter(|spec| spec.section == section) {
            row(out, spec)?;
        }
    }
    Ok(())
}

fn row(out: &mut dyn Write, spec: &OptionSpec) -> fmt::Result {
    out.write_str("| ")?;
    if let Some(uci) = &spec.in_uci {
        write!(out, "{}`{}`", if uci.is_list { "list " } else { "" }, uci.name)?;
    }
    out.write_str(" | ")?;
    if spec.in_conf {
        write!(out, "`{}`", spec.name)?;
    }
    out.write_str(" | ")?;
    if let Some(uci) = &spec.in_uci {
        write!(out, "{}", Expected(uci.kind))?;
    }
    out.write_str(" | ")?;
    if let Some(uci) = &spec.in_uci {
        default(out, uci.default)?;
    }
    out.write_str(" | ")?;
    if spec.in_conf {
        default(out, spec.default)?;
        write!(out, "{}{}", if spec.unit.is_empty() { "" } else { "; " }, spec.unit)?;
    }
    write!(out, " | {} | {}", spec.since, spec.help)?;
    if spec.takes == Takes::Restart {
        out.write_str("; *restart*")?;
    }
    out.write_str(" |\n")
}

fn default(out: &mut dyn Write, default: Absent) -> fmt::Result {
    match default {
        Absent::Required => out.write_str("required"),
        Absent::RequiredIn(case) => write!(out, "required: {case}"),
        Absent::Unset => out.write_str("none"),
        Absent::Text(text) => write!(out, "`{text}`"),
        Absent::Number(number) => write!(out, "`{number}`"),
        Absent::General => out.write_str("the tunnel's"),
        Absent::Computed(how) => out.write_str(how),
    }
}

/// Writes what the settings page needs of UCI's options: an object of section types, each an object of options.
///
/// # Errors
/// Those of `out`.
pub fn json(out: &mut dyn Write) -> fmt::Result {
    out.write_char('{')?;
    for (number, section) in SectionKind::UCI.into_iter().enumerate() {
        write!(out, "{}\n\t\"{}\": {{", if number == 0 { "" } else { "," }, section.uci_type())?;
        let specs = OPTIONS.iter().filter(|spec| spec.section == section);
        let rows = specs.filter_map(|spec| spec.in_uci.as_ref().map(|uci| (spec, uci)));
        for (number, (spec, uci)) in rows.enumerate() {
            out.write_str(if number == 0 { "\n" } else { ",\n" })?;
            member(out, spec, uci)?;
        }
        out.write_str("\n\t}")?;
    }
    out.write_str("\n}\n")
}

fn member(out: &mut dyn Write, spec: &OptionSpec, uci: &InUci) -> fmt::Result {
    write!(out, "\t\t\"{}\": {{\"type\": \"{}\"", uci.name, type_name(uci.kind))?;
    match uci.kind {
        ValueKind::Number { min, max } => write!(out, ", \"min\": {min}, \"max\": {max}")?,
        ValueKind::Duration { unit, min, max } => {
            let unit = if unit == TimeUnit::Seconds { "s" } else { "ms" };
            write!(out, ", \"unit\": \"{unit}\", \"min\": {min}, \"max\": {max}")?;
        }
        ValueKind::Mode => out.write_str(", \"choices\": [\"client\", \"server\"]")?,
        ValueKind::Protocol => out.write_str(", \"choices\": [\"2\", \"classic\"]")?,
        ValueKind::Device => out.write_str(", \"choices\": [\"tun\", \"tap\"]")?,
        _ => {}
    }
    match uci.default {
        Absent::Required => out.write_str(", \"required\": true")?,
        Absent::RequiredIn(case) => write!(out, ", \"required_in\": \"{case}\"")?,
        Absent::Text(text) => write!(out, ", \"default\": \"{text}\"")?,
        Absent::Number(number) => write!(out, ", \"default\": \"{number}\"")?,
        Absent::Computed(how) => write!(out, ", \"default_in_words\": \"{how}\"")?,
        Absent::General => out.write_str(", \"default_in_words\": \"the tunnel's\"")?,
        Absent::Unset => {}
    }
    for (name, holds) in
        [("list", uci.is_list), ("secret", uci.kind.is_secret()), ("restart", spec.takes == Takes::Restart)]
    {
        if holds {
            write!(out, ", \"{name}\": true")?;
        }
    }
    // No text of the list needs escaping; a test reads this back as JSON.
    write!(
        out,
        ", \"since\": \"{}\", \"expected\": \"{}\", \"help\": \"{}\"}}",
        spec.since,
        Expected(uci.kind),
        spec.help
    )
}

const fn type_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Mode | ValueKind::Protocol | ValueKind::Device => "choice",
        ValueKind::Password => "password",
        ValueKind::PrivateKey => "private_key",
        ValueKind::PublicKey => "public_key",
        ValueKind::SharedSecret => "shared_secret",
        ValueKind::Path => "path",
        ValueKind::Interface => "device",
        ValueKind::Host => "host",
        ValueKind::Port => "port",
        ValueKind::Address4 => "cidr4",
        ValueKind::Address6 => "cidr6",
        ValueKind::Gateway4 => "ip4",
        ValueKind::Gateway6 => "ip6",
        ValueKind::Routes4 => "networks4",
        ValueKind::Routes6 => "networks6",
        ValueKind::Networks => "networks",
        ValueKind::Forwards => "forwards",
        ValueKind::Flag => "flag",
        ValueKind::Number { .. } => "number",
        ValueKind::Switch { .. } => "switch",
        ValueKind::Duration { .. } => "duration",
        ValueKind::Rate => "rate",
        ValueKind::Volume => "volume",
        ValueKind::Endpoint => "endpoint",
        ValueKind::Network => "network",
        ValueKind::Section(_) => "section",
        ValueKind::IpProtocol => "ip_protocol",
        ValueKind::Ports => "ports",
        ValueKind::Dscp => "dscp",
    }
}

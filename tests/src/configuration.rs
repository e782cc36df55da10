// SPDX-License-Identifier: BSD-2-Clause
//! Configurations of the daemons under test.

pub mod protocol2;

use std::fmt::Write;

use crate::network::{Side, outside_address, tunnel_address};

/// The secret both sides share.
pub const PASSWORD: &str = "correct horse battery staple 77";

/// The family of the addresses the links run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The text of an `mlvpn.conf`, to be changed option by option.
#[derive(Clone, Debug)]
pub struct Configuration {
    sections: Vec<(String, Vec<(String, String)>)>,
}

impl Configuration {
    /// Of one side, with links `l1`, `l2`, ... over the network's links of the same number, which the client binds to
    /// its addresses and the server waits for on port 5080 and the number.
    #[must_use]
    pub fn new(side: Side, links: usize, outside: Family) -> Self {
        let mode = match side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let mut configuration = Self { sections: Vec::new() }
            .with("general", "mode", mode)
            .with("general", "password", PASSWORD)
            .with("general", "interface_name", "mlvpn0")
            .with("general", "ip4", &format!("{}/24", tunnel_address(side, Family::V4)))
            .with("general", "timeout", "5")
            .with("general", "reorder_buffer_size", "64");
        for link in 1..=links {
            configuration = configuration.with_link(side, link, outside);
        }
        configuration
    }

    /// With a link more.
    #[must_use]
    pub fn with_link(self, side: Side, link: usize, outside: Family) -> Self {
        let name = &format!("l{link}");
        let port = (5080 + link).to_string();
        let with = self.with(name, "bindhost", &outside_address(side, link, outside).to_string());
        match side {
            Side::Client => {
                let remote = outside_address(Side::Server, link, outside).to_string();
                with.with(name, "remotehost", &remote).with(name, "remoteport", &port)
            }
            Side::Server => with.with(name, "bindport", &port),
        }
    }

    /// With an option set, or set anew; a section is made where there is none.
    #[must_use]
    pub fn with(mut self, section: &str, option: &str, value: &str) -> Self {
        let place = self.sections.iter().position(|(name, _)| name == section).unwrap_or_else(|| {
            self.sections.push((section.to_owned(), Vec::new()));
            self.sections.len() - 1
        });
        let options = &mut self.sections[place].1;
        options.retain(|(name, _)| name != option);
        options.push((option.to_owned(), value.to_owned()));
        self
    }

    /// Without an option.
    #[must_use]
    pub fn without(mut self, section: &str, option: &str) -> Self {
        for (_, options) in self.sections.iter_mut().filter(|(name, _)| name == section) {
            options.retain(|(name, _)| name != option);
        }
        self
    }

    /// Without a section.
    #[must_use]
    pub fn without_section(mut self, section: &str) -> Self {
        self.sections.retain(|(name, _)| name != section);
        self
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, options) in &self.sections {
            text.push_str(&format!("[{name}]\n"));
            for (option, value) in options {
                writeln!(text, "{option} = \"{value}\"").expect("a String takes all");
            }
        }
        text
    }
}

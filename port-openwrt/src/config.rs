// SPDX-License-Identifier: BSD-2-Clause
//! The router's configuration: /etc/config/mlvpn, or an `mlvpn.conf` where the file is called so.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlvpn::config::uci::{self, Sources, Tunnel};
use mlvpn::config::{self, Config, Loaded, MAX_FILE_BYTES, OpenFile, Report};

/// Beside the configuration: whose interfaces are the links of OpenMPTCProuter's form.
const NETWORK: &str = "network";

/// Beside the configuration: where such an interface may have its `multipath`.
const OPENMPTCPROUTER: &str = "openmptcprouter";

/// Which tunnel, and of which folder's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The tunnel's section; the only one that is enabled when absent.
    pub tunnel: Option<String>,
    /// The folder of the configuration and of other packages', usually /etc/config.
    pub folder: PathBuf,
}

impl Choice {
    /// The tunnel of a file.
    #[must_use]
    pub fn new(file: &Path, tunnel: Option<String>) -> Self {
        let folder = file.canonicalize().ok().and_then(|file| file.parent().map(Path::to_owned));
        Self { tunnel, folder: folder.unwrap_or_default() }
    }
}

/// Reads the configuration of the tunnel that was chosen. Interfaces of links stand as
/// OpenWrt's names in it: netifd tells what each is (see [`crate::bus`]).
///
/// # Errors
/// What keeps the tunnel from running, and the warnings besides.
pub fn load(file: &File, name: &str, choice: &Choice, open: OpenFile<'_>) -> Loaded {
    if name.ends_with(".conf") {
        return config::load_from(file, name);
    }
    let text = config::read_text(file, name).map_err(|report| vec![*report])?;
    // They hold secrets of others, so they are opened where they are needed; what is missing is said then.
    let needed = uci::needs_network(&text);
    let beside = |path| if needed { beside(&choice.folder.join(path), open) } else { String::new() };
    let (network, openmptcprouter) = (beside(NETWORK), beside(OPENMPTCPROUTER));
    let sources = Sources {
        network: &network,
        openmptcprouter: &openmptcprouter,
        secret: &|path: &Path| config::read_secret(path, open),
    };
    let (tunnels, mut reports) = uci::parse(name, &text, &sources)?;
    match choose(&Arc::from(name), tunnels, choice.tunnel.as_deref()) {
        Ok(tunnel) => {
            let config = complete(tunnel, &Arc::from(name), &mut reports);
            Ok((config, reports))
        }
        Err(report) => {
            reports.push(*report);
            Err(reports)
        }
    }
}

/// The tunnel to run.
fn choose(file: &Arc<str>, tunnels: Vec<Tunnel>, wanted: Option<&str>) -> Result<Tunnel, Box<Report>> {
    let refuse = |message: String, advice: &str| Err(Box::new(Report::error(file, message, advice)));
    let names: Vec<String> = tunnels.iter().map(|tunnel| tunnel.name.clone()).collect();
    let mut found = tunnels.into_iter().filter(|tunnel| wanted.is_none_or(|wanted| tunnel.name == wanted));
    match (found.next(), found.next(), wanted) {
        (Some(tunnel), None, _) => Ok(tunnel),
        (Some(_), Some(_), _) => {
            refuse(format!("{} tunnels are enabled: {}", names.len(), names.join(", ")), "say which one: --tunnel NAME")
        }
        (None, _, Some(wanted)) => refuse(format!("no tunnel called {wanted} is enabled"), "check --tunnel"),
        (None, _, None) => {
            refuse("no tunnel is enabled".to_owned(), "run: uci set mlvpn.tunnel.enabled=1; uci commit mlvpn")
        }
    }
}

/// Gives each link the interface its section names, where it names no device.
fn complete(tunnel: Tunnel, file: &Arc<str>, reports: &mut Vec<Report>) -> Config {
    let mut config = tunnel.config;
    for link in &mut config.links {
        let said = tunnel.links.iter().find(|said| said.name == link.name);
        let Some(interface) = said.and_then(|said| said.interface.as_deref()) else { continue };
        if link.bindinterface.is_some() {
            continue;
        }
        link.bindinterface = interface.parse().ok();
        link.takes_address = said.is_some_and(|said| said.takes_address);
        if link.bindinterface.is_none() {
            let message = format!("link {}: the interface's name is too long to be followed", link.name);
            reports.push(Report::warning(file, message, "give the link the option device instead"));
        }
    }
    config
}

/// The text of a file of another package's, empty when it is not there or not for this user.
fn beside(path: &Path, open: OpenFile<'_>) -> String {
    let file = open(path).map(|file| file.take(u64::from(MAX_FILE_BYTES)));
    file.and_then(std::io::read_to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SECRET: &str = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=";

    /// What a file of this text and name is read as.
    fn read(name: &str, text: &str, tunnel: Option<&str>) -> Result<(Config, Vec<String>), Vec<String>> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mlvpnd-{}-{count}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let texts = |reports: Vec<Report>| reports.iter().map(ToString::to_string).collect();
        let choice = Choice { tunnel: tunnel.map(str::to_owned), folder: PathBuf::new() };
        load(&file, name, &choice, &config::open_file).map(|(config, reports)| (config, texts(reports))).map_err(texts)
    }

    fn tunnel(name: &str) -> String {
        format!(
            "config tunnel '{name}'\n option enabled 1\n option server 192.0.2.1:5080\n option secret '{SECRET}'\n\
             config link '{name}_wan'\n option tunnel {name}\n option interface wan\n"
        )
    }

    #[test]
    fn a_link_is_bound_to_the_interface_it_names_and_to_its_device_where_it_names_one() {
        let text = format!("{}config link lte\n option tunnel home\n option device wwan0\n", tunnel("home"));
        let (config, reports) = read("mlvpn", &text, None).unwrap();
        assert_eq!(reports, [""; 0]);
        let bound: Vec<String> = config.links.iter().map(|link| link.bindinterface.unwrap().to_string()).collect();
        assert_eq!(bound, ["wan", "wwan0"]);
    }

    #[test]
    fn one_of_several_tunnels_is_chosen_by_its_name() {
        let text = tunnel("home") + &tunnel("office");
        let refused = read("mlvpn", &text, None).unwrap_err();
        assert!(refused[0].contains("home, office") && refused[0].contains("--tunnel"), "{refused:?}");
        let (config, _) = read("mlvpn", &text, Some("office")).unwrap();
        assert_eq!(config.links[0].name, "office_wan");
        let refused = read("mlvpn", &text, Some("garden")).unwrap_err();
        assert!(refused[0].contains("garden"), "{refused:?}");
        assert!(read("mlvpn", "", None).unwrap_err().iter().any(|report| report.contains("no tunnel is enabled")));
    }

    #[test]
    fn a_file_called_conf_is_mlvpns() {
        let text = "[general]\nmode = client\npassword = \"a long enough password\"\n[l1]\nremotehost = 192.0.2.1\nremoteport = 1\n";
        let (config, _) = read("mlvpn.conf", text, None).unwrap();
        assert_eq!(config.links[0].name, "l1");
        assert!(read("mlvpn", text, None).is_err());
    }
}

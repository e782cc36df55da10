// SPDX-License-Identifier: BSD-2-Clause
//! The router's configuration: /etc/config/mlvpn, or an `mlvpn.conf` where the file is called so.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use mlvpn::config::uci::{self, Sources, Tunnel};
use mlvpn::config::{self, Config, Loaded, Report};

/// Whose interfaces are the links of OpenMPTCProuter's form.
const NETWORK: &str = "/etc/config/network";

/// Where such an interface may have its `multipath`.
const OPENMPTCPROUTER: &str = "/etc/config/openmptcprouter";

/// Reads the configuration of the tunnel called `tunnel`, or of the only one that is enabled. Interfaces of links stand as
/// OpenWrt's names in it: netifd tells what each is (see [`crate::bus`]).
///
/// # Errors
/// What keeps the tunnel from running, and the warnings besides.
pub fn load(file: &File, name: &str, tunnel: Option<&str>) -> Loaded {
    if name.ends_with(".conf") {
        return config::load_from(file, name);
    }
    let text = config::read_text(file, name).map_err(|report| vec![*report])?;
    // OpenMPTCProuter's form alone needs them, and says what is missing.
    let (network, openmptcprouter) = (beside(NETWORK), beside(OPENMPTCPROUTER));
    let sources = Sources {
        network: &network,
        openmptcprouter: &openmptcprouter,
        secret: &|path: &Path| config::read_secret(path),
    };
    let (tunnels, mut reports) = uci::parse(name, &text, &sources)?;
    match choose(&Arc::from(name), tunnels, tunnel) {
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
        if link.bindinterface.is_none() {
            let message = format!("link {}: the interface's name is too long to be followed", link.name);
            reports.push(Report::warning(file, message, "give the link the option device instead"));
        }
    }
    config
}

/// The text of a file of another package's, empty when it is not there or not for this user.
fn beside(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
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
        load(&file, name, tunnel).map(|(config, reports)| (config, texts(reports))).map_err(texts)
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

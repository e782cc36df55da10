// SPDX-License-Identifier: BSD-2-Clause
//! The configuration in the engine's words, and in the status command's.

use mlvpn_core::state::keys::ClassicKey;
use mlvpn_core::state::link::{LinkSettings, Role};
use mlvpn_core::tunnel;
use mlvpn_core::words::ids::Medium;
use mlvpn_core::words::limits::{CLASSIC_HEADER, ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, TAG, VLAN_TAG, inner_mtu};
use mlvpn_core::words::time::Duration;

use crate::config::{Config, DeviceKind, Link, Mode};
use crate::script::ScriptEnvironment;
use crate::socket::Family;

/// The MTU of a path nothing is known of: Ethernet's.
pub(super) const USUAL_PATH_MTU: u32 = 1500;

/// The engine's configuration.
pub(super) fn tunnel(config: &Config, mtu: u16) -> tunnel::Config {
    tunnel::Config {
        role: match config.general.mode {
            Mode::Client => Role::Client,
            Mode::Server => Role::Server,
        },
        medium: medium(config.general.tuntap),
        key: ClassicKey::from_password(config.general.password.expose()),
        cleartext_data: config.general.cleartext_data,
        mtu,
        reorder: config.general.reorder_buffer_size > 0,
    }
}

/// A link's settings.
pub(super) fn link(link: &Link) -> LinkSettings {
    LinkSettings {
        rate_bytes_per_sec: u64::from(link.bandwidth_upload),
        timeout: Duration::from_secs(u64::from(link.timeout_secs)),
        loss_tolerance: link.loss_tolerance_percent,
        latency_tolerance: Duration::from_millis(u64::from(link.latency_tolerance_ms)),
        fallback_only: link.fallback_only,
    }
}

/// The largest inner packet that needs no fragments on a path of `path_mtu` bytes.
pub(super) fn mtu(config: &Config, path_mtu: u32, family: Family) -> u16 {
    let ip_header = match family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    let tag = if config.general.cleartext_data { 0 } else { TAG };
    let frame = match config.general.tuntap {
        DeviceKind::Tun => 0,
        DeviceKind::Tap => ETHERNET_HEADER + VLAN_TAG,
    };
    inner_mtu(path_mtu, ip_header, CLASSIC_HEADER + tag + frame)
}

/// What the status command is told, as written in the configuration.
pub(super) fn script_environment(config: &Config) -> ScriptEnvironment {
    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    fn list(values: &[impl ToString]) -> String {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
    let general = &config.general;
    ScriptEnvironment {
        ip4: text(general.ip4.as_ref()),
        ip6: text(general.ip6.as_ref()),
        ip4_gateway: text(general.ip4_gateway),
        ip6_gateway: text(general.ip6_gateway),
        ip4_routes: list(&general.ip4_routes),
        ip6_routes: list(&general.ip6_routes),
    }
}

/// What the configuration asks for and this version does not do, each in a sentence for the log.
pub(super) fn not_yet_served(config: &Config) -> Vec<&'static str> {
    let mut sentences = Vec::new();
    if !config.filters.is_empty() {
        sentences.push("[filters] are read but not applied by this version: every packet is shared among the links");
    }
    if config.general.control_unix_path.is_some() || config.general.control_bind_port.is_some() {
        sentences.push("the control socket is not served by this version; the log and the process title show states");
    }
    sentences
}

fn medium(kind: DeviceKind) -> Medium {
    match kind {
        DeviceKind::Tun => Medium::Ip,
        DeviceKind::Tap => Medium::Ethernet,
    }
}

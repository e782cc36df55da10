// SPDX-License-Identifier: BSD-2-Clause
//! What may be asked of a running daemon: one set of commands for the bus and for the control socket, which differ only in
//! how they are written.

use std::fmt;

use mlvpn_core::state::identity::{PublicKey, SharedSecret};
use mlvpn_core::tunnel::peer::config::MAX_ALLOWED;
use mlvpn_core::words::policy::{MAX_TIER, MAX_WEIGHT};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::service::{Control, LinkChange, PolicyChange, TunnelChange, Usage};
use crate::config::{self, MAX_PEER_NAME_BYTES, Mode, Protocol};
use crate::status::{HISTORY_SAMPLES, History, LinkStatus, Peers, SAMPLE_INTERVAL, Status};

/// Peers told at once when nobody says how many: 2,000 of 500 bytes fill the longest message of a bus.
const USUAL_PEERS: u64 = 100;

/// Peers told at once at most: some 300 KB, and a millisecond of the loop's time.
const MOST_PEERS: u64 = 1_000;

/// The shortest timeout, in seconds, and the largest percentage: those of mlvpn.conf.
const LEAST_TIMEOUT_SECS: u32 = 2;
const MOST_PERCENT: u8 = 100;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// The tunnel and its links.
    Status {},
    /// The links, or the one of this name.
    Links {
        /// Which; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Some of the peers, in the order of the configuration.
    Peers {
        /// From which on; 0 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        /// How many; 100 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// What the links carried lately.
    History {
        /// Of which link; of all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// How far back; as far as is known when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// Read the configuration again.
    Reload {},
    /// Use a link otherwise.
    Link(LinkCommand),
    /// Give every link another tolerance.
    Set(TunnelChange),
    /// Admit a peer of a server.
    AddPeer(NewPeer),
    /// Part with a peer of a server.
    RemovePeer {
        /// Which.
        name: String,
    },
}

/// What to do with a link, until it is told otherwise or leaves the configuration. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkCommand {
    /// Which.
    pub name: String,
    /// When it carries traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<LinkAction>,
    /// What it can send, in bytes per second; 0: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// What it may lose and how long it may take.
    #[serde(flatten)]
    pub tolerances: TunnelChange,
    /// What it is used for, and how much.
    #[serde(flatten)]
    pub policy: PolicyChange,
}

/// When a link is to carry traffic, in the word people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkAction {
    /// As the configuration says.
    Up,
    /// Never.
    Down,
    /// Only while no other does.
    Backup,
}

impl LinkAction {
    /// Every action with its word.
    pub const ALL: [(&'static str, Self); 3] = [("up", Self::Up), ("down", Self::Down), ("backup", Self::Backup)];

    /// The action of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, action)| (known == word).then_some(action))
    }

    const fn usage(self) -> Usage {
        match self {
            Self::Up => Usage::Configured,
            Self::Down => Usage::Disabled,
            Self::Backup => Usage::Backup,
        }
    }
}

/// A peer of a server, in the words of mlvpn.conf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPeer {
    /// What to call it.
    pub name: String,
    /// Its key.
    pub public_key: String,
    /// What both know besides the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyText>,
    /// The networks it may use.
    #[serde(default)]
    pub allowed_ips: Vec<String>,
}

/// A secret as people write it: wiped after use, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(pub Zeroizing<String>);

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for KeyText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The tunnel and its links.
    Status(Box<Status>),
    /// Links.
    Links {
        /// Those asked for.
        links: Vec<LinkStatus>,
    },
    /// Peers.
    Peers(Peers),
    /// What links carried.
    History(History),
    /// A peer was admitted.
    Admitted {
        /// The tunnel's device.
        device: String,
        /// Those of the peer's networks that this machine does not send into the tunnel.
        unrouted: Vec<String>,
    },
    /// It was done; there is nothing to tell.
    Done {},
}

/// Why a command was not followed; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is nothing of this name.
    NotFound(String),
    /// It cannot be meant so.
    Invalid(String),
    /// The daemon could not do it.
    Failed(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotFound(text) | Self::Invalid(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for CommandError {}

impl Command {
    /// Does what is asked.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn run(self, control: &mut dyn Control) -> Result<Answer, CommandError> {
        match self {
            Self::Status {} => Ok(Answer::Status(Box::new(control.status()))),
            Self::Links { name } => {
                let links = control.status().links;
                only(links, name, |link| &link.name).map(|links| Answer::Links { links })
            }
            Self::Peers { first, count } => {
                let count = count.unwrap_or(USUAL_PEERS).min(MOST_PEERS);
                Ok(Answer::Peers(control.peers(clamp(first.unwrap_or(0)), clamp(count))))
            }
            Self::History { name, seconds } => history(name, seconds, control),
            Self::Reload {} => {
                let why = |why| CommandError::Failed(format!("the configuration cannot be read again: {why}"));
                control.reload().map(|()| Answer::Done {}).map_err(why)
            }
            Self::Link(command) => command.run(control),
            Self::Set(change) => set(change, control),
            Self::AddPeer(peer) => {
                let unrouted = control.add_peer(peer.read()?)?;
                let unrouted = unrouted.iter().map(|network| format!("{}/{}", network.address, network.prefix_len));
                Ok(Answer::Admitted { device: control.status().device, unrouted: unrouted.collect() })
            }
            Self::RemovePeer { name } => control.remove_peer(&name).map(|()| Answer::Done {}),
        }
    }
}

fn history(name: Option<String>, seconds: Option<u64>, control: &dyn Control) -> Result<Answer, CommandError> {
    let all = HISTORY_SAMPLES as u64;
    let samples = seconds.map_or(all, |seconds| seconds.saturating_mul(1_000).div_ceil(SAMPLE_INTERVAL.millis()));
    let mut history = control.history(clamp(samples.min(all)));
    history.links = only(history.links, name, |link| &link.name)?;
    Ok(Answer::History(history))
}

/// Those of this name, of which there must be one; all when no name is given.
fn only<T>(all: Vec<T>, name: Option<String>, name_of: impl Fn(&T) -> &String) -> Result<Vec<T>, CommandError> {
    let Some(name) = name else { return Ok(all) };
    let known = all.iter().map(|one| name_of(one).clone()).collect::<Vec<_>>();
    let found: Vec<T> = all.into_iter().filter(|one| *name_of(one) == name).collect();
    if found.is_empty() { Err(no_such_link(&name, &known)) } else { Ok(found) }
}

fn no_such_link(name: &str, known: &[String]) -> CommandError {
    let links = if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", known.join(", ")) };
    CommandError::NotFound(format!("there is no link \"{}\"; {links}", quotable(name)))
}

/// A name as it may stand in a message: what a person wrote, cut where it is no name anyway.
fn quotable(name: &str) -> String {
    name.chars().take(MAX_PEER_NAME_BYTES).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl LinkCommand {
    fn run(self, control: &mut dyn Control) -> Result<Answer, CommandError> {
        let usage = self.action.map(LinkAction::usage);
        let Self { tolerances, policy, .. } = self;
        let change = LinkChange { usage, rate_bytes_per_sec: self.rate, tolerances, policy };
        if change == LinkChange::default() {
            return Err(CommandError::Invalid(
                "nothing to change; say up, down, backup or what is to change".to_owned(),
            ));
        }
        tolerances.check()?;
        if policy != PolicyChange::default() {
            policy.check(&control.status())?;
        }
        control.change_link(&self.name, change).map_err(|_| {
            let known: Vec<String> = control.status().links.into_iter().map(|link| link.name).collect();
            no_such_link(&self.name, &known)
        })?;
        Ok(Answer::Done {})
    }
}

fn set(change: TunnelChange, control: &mut dyn Control) -> Result<Answer, CommandError> {
    if change == TunnelChange::default() {
        return Err(CommandError::Invalid("nothing to change; name a tolerance and its value".to_owned()));
    }
    change.check()?;
    control.change_tunnel(change);
    Ok(Answer::Done {})
}

impl TunnelChange {
    fn check(&self) -> Result<(), CommandError> {
        if self.timeout_secs.is_some_and(|secs| secs < LEAST_TIMEOUT_SECS) {
            return Err(CommandError::Invalid(format!("the timeout is at least {LEAST_TIMEOUT_SECS} s")));
        }
        if self.loss_tolerance_percent.is_some_and(|percent| percent > MOST_PERCENT) {
            return Err(CommandError::Invalid(format!("the loss tolerance is at most {MOST_PERCENT} %")));
        }
        Ok(())
    }
}

impl PolicyChange {
    fn check(&self, tunnel: &Status) -> Result<(), CommandError> {
        let invalid = |text: String| Err(CommandError::Invalid(text));
        if (tunnel.protocol, tunnel.mode) != (Protocol::Two.name(), Mode::Client.name()) {
            let text =
                "tier, weight, metered, download and quotas are set on the client of protocol 2; the server follows";
            return invalid(text.to_owned());
        }
        if self.tier.is_some_and(|tier| !(1..=MAX_TIER).contains(&tier)) {
            return invalid(format!("a tier is 1 to {MAX_TIER}"));
        }
        if self.weight.is_some_and(|weight| weight > MAX_WEIGHT) {
            return invalid(format!("a weight is 1 to {MAX_WEIGHT}, or 0 for none in particular"));
        }
        let limits = [(self.quota_day_soft, self.quota_day_hard), (self.quota_month_soft, self.quota_month_hard)];
        let is_idle = |(soft, hard): (Option<u64>, Option<u64>)| {
            soft.zip(hard).is_some_and(|(soft, hard)| hard > 0 && soft > hard)
        };
        if limits.into_iter().any(is_idle) {
            return invalid("a soft quota larger than the hard one has no effect; make it the smaller one".to_owned());
        }
        Ok(())
    }
}

impl NewPeer {
    /// The peer, every value of it read as in mlvpn.conf. No secret is in an error.
    fn read(&self) -> Result<config::Peer, CommandError> {
        let name = &self.name;
        let is_name = (1..=MAX_PEER_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_name {
            let text = format!("a peer's name has 1 to {MAX_PEER_NAME_BYTES} letters, digits or signs of ASCII");
            return Err(CommandError::Invalid(text));
        }
        let public_key = PublicKey::from_text(&self.public_key).map_err(|_| {
            CommandError::Invalid("the public key is none; give the output of `mlvpn pubkey` there".to_owned())
        })?;
        let secret = self.secret.as_ref().map(|text| SharedSecret::from_text(&text.0)).transpose().map_err(|_| {
            CommandError::Invalid("the secret is none; give the output of `mlvpn gensecret`".to_owned())
        })?;
        let mut allowed = Vec::new();
        for word in &self.allowed_ips {
            let network = config::network(word).ok_or_else(|| {
                CommandError::Invalid(format!("\"{}\" is no network; write ADDRESS/PREFIX", quotable(word)))
            })?;
            if !allowed.contains(&network) {
                allowed.push(network);
            }
        }
        if allowed.len() > MAX_ALLOWED {
            return Err(CommandError::Invalid(format!("more than {MAX_ALLOWED} networks; join neighbouring ones")));
        }
        let (name, password, remotehost, remoteport) = (name.clone(), None, None, None);
        Ok(config::Peer { name, public_key: Some(public_key), secret, password, remotehost, remoteport, allowed })
    }
}

fn clamp(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let text = KeyText(Zeroizing::new("q83vASNFZ4k=".to_owned()));
        let (name, public_key) = ("a".to_owned(), "k".to_owned());
        let peer = NewPeer { name, public_key, secret: Some(text), allowed_ips: Vec::new() };
        let command = Command::AddPeer(peer);
        assert!(!format!("{command:?}").contains("q83v"));
    }

    #[test]
    fn a_command_comes_back_as_it_was_written() {
        let (name, action) = ("dsl".to_owned(), Some(LinkAction::Down));
        let tolerances = TunnelChange { timeout_secs: Some(5), ..TunnelChange::default() };
        let policy = PolicyChange { tier: Some(2), metered: Some(true), ..PolicyChange::default() };
        let link = LinkCommand { name, action, tolerances, policy, ..LinkCommand::default() };
        for (command, text) in [
            (Command::Status {}, r#"{"command":"status"}"#),
            (
                Command::Link(link),
                r#"{"command":"link","name":"dsl","action":"down","timeout_secs":5,"tier":2,"metered":true}"#,
            ),
            (Command::Set(tolerances), r#"{"command":"set","timeout_secs":5}"#),
            (Command::RemovePeer { name: "a".to_owned() }, r#"{"command":"remove_peer","name":"a"}"#),
            (Command::Links { name: None }, r#"{"command":"links"}"#),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
            assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command);
        }
    }

    #[test]
    fn what_nobody_knows_is_no_command() {
        for text in [
            r#"{"command":"sideways"}"#,
            r#"{"command":"status","extra":1}"#,
            r#"{"command":"set","timout_secs":5}"#,
            r#"{"command":"link","name":"dsl","action":"sideways"}"#,
            r#"{"command":"link","name":"dsl","tiers":2}"#,
            r#"{"command":"link","name":"dsl","tier":300}"#,
            "{}",
            "[]",
            "null",
        ] {
            assert!(serde_json::from_str::<Command>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_peer_is_read_as_in_the_file() {
        let key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
        let of = |name: &str, key: &str, networks: &[&str]| NewPeer {
            name: name.to_owned(),
            public_key: key.to_owned(),
            secret: None,
            allowed_ips: networks.iter().map(|text| (*text).to_owned()).collect(),
        };
        let peer = of("home", key, &["10.0.0.0/24", "10.0.0.1", "10.0.0.0/24"]).read().unwrap();
        assert_eq!((peer.name.as_str(), peer.allowed.len()), ("home", 2));
        for (wrong, word) in [
            (of("", key, &[]), "name"),
            (of("a\nb", key, &[]), "name"),
            (of("a", "short", &[]), "mlvpn pubkey"),
            (of("a", key, &["no network"]), "no network"),
        ] {
            let error = wrong.read().unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

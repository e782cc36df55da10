// SPDX-License-Identifier: BSD-2-Clause
//! What worker and monitor say to each other: typed messages in postcard's form, one per packet of a socket pair, so
//! that no message can run into the next. The monitor believes nothing in them: reading checks every field, and a
//! message that is not written exactly as this program writes it is none.

use crate::interface::InterfaceName;
use crate::script::{LinkName, ScriptEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The longest message in bytes. The longest thing in one is why a name has no address, cut at [`MAX_REASON`].
pub(super) const MAX_MESSAGE: usize = 1024;

/// The longest answer: the paths of the files that come with a configuration are most of it.
pub(super) const MAX_ANSWER: usize = super::files::MAX_PATHS + MAX_MESSAGE;

/// The longest reason told, in bytes: a host name of 255 bytes, and a sentence of the system's about it.
pub(super) const MAX_REASON: usize = 512;

/// What a worker asks its monitor for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Set the device's MTU.
    SetMtu(Mtu),
    /// Open the configuration again and pass it over.
    OpenConfig,
    /// Run the status command, and have addresses and routes follow.
    RunScript(Run),
    /// Open the socket of a link of the configuration.
    OpenLink(LinkOrder),
    /// Say where the configuration's first server is.
    FindServer {
        /// Comes back with the answer.
        serial: u64,
    },
}

/// A device's MTU in bytes: from IPv4's least (RFC 791) to the largest IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mtu(u32);

/// One run of the status command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LooseRun", into = "LooseRun")]
pub struct Run {
    event: ScriptEvent,
    /// With link events only.
    link: Option<LinkName>,
    mtu: Mtu,
}

/// Which socket to open. Where to, where from and over what stands in the configuration, which the monitor has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOrder {
    /// Comes back with the answer, so that an answer to an outdated order is known.
    pub serial: u64,
    /// The link's name in the configuration.
    pub link: LinkName,
    /// The place of the configuration's server to lead to, where the link does not name its own.
    pub server: u16,
    /// What the link's interface is called by the kernel, where the configuration has another name for it.
    pub device: Option<InterfaceName>,
    /// That interface's address, where the configuration says that the link has it.
    pub address: Option<IpAddr>,
}

/// What the monitor answers. A file descriptor comes with some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The configuration, whose descriptor comes along, and behind it those of the files it names, at these paths, each
    /// behind a zero byte.
    Config { paths: Vec<u8> },
    /// The configuration could not be opened, for this reason of the system's.
    NoConfig(i32),
    /// What became of [`Request::OpenLink`]; with ends come two descriptors, the link's socket and one to ask for routes.
    Link { serial: u64, outcome: Result<Ends, Refused> },
    /// What became of [`Request::FindServer`].
    Server { serial: u64, found: Result<Option<SocketAddr>, String> },
}

/// A link's two ends, of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Where it binds, if to an address.
    pub local: Option<IpAddr>,
    /// Where its peer is, if known.
    pub remote: Option<SocketAddr>,
    /// The interface it is bound to.
    pub interface: Option<InterfaceName>,
}

/// Why a link was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// A name has no address, or nobody could be asked.
    Name(String),
    /// What the link binds to is missing, or held by another.
    Local(String),
}

impl Request {
    /// The request in `bytes`; `None` unless every field is one a worker may send.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }

    /// The message that [`Request::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write(self, &mut [0; MAX_MESSAGE]).map(<[u8]>::to_vec).unwrap_or_default()
    }
}

impl Mtu {
    /// `mtu` bytes, if a device can have that.
    #[must_use]
    pub const fn new(mtu: u32) -> Option<Self> {
        if mtu >= 68 && mtu <= 65_535 { Some(Self(mtu)) } else { None }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Mtu {
    type Error = &'static str;
    fn try_from(mtu: u32) -> Result<Self, Self::Error> {
        Self::new(mtu).ok_or("no device has such an MTU")
    }
}

impl From<Mtu> for u32 {
    fn from(mtu: Mtu) -> Self {
        mtu.0
    }
}

/// A run before it was seen whether it fits together.
#[derive(Serialize, Deserialize)]
struct LooseRun {
    event: ScriptEvent,
    link: Option<LinkName>,
    mtu: Mtu,
}

impl Run {
    /// A run for `event`, which is about `link` exactly when it is one of links; `None` otherwise.
    #[must_use]
    pub fn new(event: ScriptEvent, link: Option<LinkName>, mtu: Mtu) -> Option<Self> {
        (link.is_some() == event.is_of_link()).then_some(Self { event, link, mtu })
    }

    /// What the command is told.
    pub(super) fn into_parts(self) -> (ScriptEvent, Option<LinkName>, u32) {
        (self.event, self.link, self.mtu.bytes())
    }
}

impl TryFrom<LooseRun> for Run {
    type Error = &'static str;
    fn try_from(loose: LooseRun) -> Result<Self, Self::Error> {
        Self::new(loose.event, loose.link, loose.mtu).ok_or("a link event needs a link, and no other event has one")
    }
}

impl From<Run> for LooseRun {
    fn from(run: Run) -> Self {
        Self { event: run.event, link: run.link, mtu: run.mtu }
    }
}

/// Writes a message into `buffer`; `None` when it is longer.
pub(super) fn write<'a, M: Serialize>(message: &M, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    postcard::to_slice(message, buffer).ok().map(|written| &*written)
}

/// Reads a message; `None` unless every field is sound and `bytes` are what [`write`] makes of it, no other and no more.
pub(super) fn read<M: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    let message: M = postcard::from_bytes(bytes).ok()?;
    let mut again = vec![0; bytes.len()];
    (write(&message, &mut again)? == bytes).then_some(message)
}

/// A reason, short enough to be told.
pub(super) fn reason(why: &impl ToString) -> String {
    let mut text = why.to_string();
    let end = (0..=MAX_REASON.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded<M: Serialize>(message: &M) -> Vec<u8> {
        write(message, &mut [0; MAX_MESSAGE]).expect("it fits").to_vec()
    }

    fn order() -> LinkOrder {
        let link = LinkName::new(&"x".repeat(LinkName::MAX_BYTES)).expect("a name");
        LinkOrder {
            serial: u64::MAX,
            link,
            server: u16::MAX,
            device: "fifteen-letters".parse().ok(),
            address: "2001:db8::1".parse().ok(),
        }
    }

    #[test]
    fn every_message_comes_back_as_it_went_in_and_the_longest_fits() {
        let mtu = Mtu::new(1428).expect("an MTU");
        let mut requests = vec![
            Request::SetMtu(mtu),
            Request::OpenConfig,
            Request::OpenLink(order()),
            Request::FindServer { serial: 7 },
        ];
        for event in ScriptEvent::ALL {
            let link = Some(order().link).filter(|_| event.is_of_link());
            requests.push(Request::RunScript(Run::new(event, link, mtu).expect("it fits together")));
        }
        for request in requests {
            assert_eq!(read::<Request>(&encoded(&request)), Some(request));
        }
        let long = reason(&"\u{e4}".repeat(4000));
        assert_eq!(long.len(), MAX_REASON);
        let interface = order().device;
        let ends = Ends { local: "fe80::1".parse().ok(), remote: "[2001:db8::1]:65535".parse().ok(), interface };
        for answer in [
            Answer::Config { paths: b"\0/etc/a key".to_vec() },
            Answer::NoConfig(libc::ENOENT),
            Answer::Link { serial: u64::MAX, outcome: Ok(ends) },
            Answer::Link { serial: u64::MAX, outcome: Err(Refused::Name(long.clone())) },
            Answer::Server { serial: u64::MAX, found: Err(long) },
        ] {
            assert_eq!(read::<Answer>(&encoded(&answer)), Some(answer));
        }
    }

    #[test]
    fn requests_a_sound_worker_never_sends_are_refused() {
        #[derive(Serialize)]
        enum Wild {
            SetMtu(u32),
            OpenConfig,
            RunScript((ScriptEvent, Option<&'static str>, u32)),
            OpenLink((u64, &'static str, u16, Option<&'static str>, Option<IpAddr>)),
            Execute(()),
        }
        let up = ScriptEvent::TunnelUp;
        for bad in [
            Wild::SetMtu(67),
            Wild::SetMtu(65_536),
            Wild::RunScript((up, Some("adsl"), 1428)),
            Wild::RunScript((ScriptEvent::LinkUp, None, 1428)),
            Wild::RunScript((ScriptEvent::LinkUp, Some("a\nb"), 1428)),
            Wild::RunScript((up, None, 0)),
            Wild::OpenLink((1, "", 0, None, None)),
            Wild::OpenLink((1, "adsl", 0, Some("no/name"), None)),
            Wild::Execute(()),
        ] {
            assert_eq!(read::<Request>(&encoded(&bad)), None, "{:?}", encoded(&bad));
        }
        assert_eq!(read::<Request>(&encoded(&Wild::OpenConfig)), Some(Request::OpenConfig));
        assert_eq!(read::<Request>(b""), None);
        assert_eq!(read::<Request>(b"nonsense"), None);
        // One byte more, and the number of the kind in two bytes where one does.
        assert_eq!(read::<Request>(&[1, 0]), None);
        assert_eq!(read::<Request>(&[0x81, 0]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_with_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(request) = read::<Request>(&bytes) {
                prop_assert_eq!(encoded(&request), bytes);
            }
        }
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! What worker and monitor say to each other: small messages with fixed places, one per packet of a socket pair, so
//! that no message can run into the next. The monitor believes nothing in them: decoding checks every field.

use crate::interface::InterfaceName;
use crate::script::{LinkName, ScriptEvent};

/// What stands before a link's name, in bytes: the kind, the event, the MTU.
const BEFORE_LINK: usize = 6;

/// A buffer for the longest message, and a byte more: whoever fills that one sent more than any request takes.
pub(super) const MAX_MESSAGE: usize = BEFORE_LINK + LinkName::MAX_BYTES + 1;

/// The smallest and largest MTU the monitor sets, in bytes: IPv4's least (RFC 791) and the largest IP packet.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;

/// What a worker asks its monitor for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// This is the device the scripts are about. Taken once.
    NameDevice(InterfaceName),
    /// Set the device's MTU, in bytes.
    SetMtu(u32),
    /// Open the configuration again and pass it over.
    OpenConfig,
    /// Run the status command.
    RunScript {
        /// `$2`.
        event: ScriptEvent,
        /// `$3`, with link events.
        link: Option<LinkName>,
        /// MTU, in bytes.
        mtu: u32,
    },
}

/// First bytes of requests.
mod kind {
    pub(super) const NAME_DEVICE: u8 = 1;
    pub(super) const SET_MTU: u8 = 2;
    pub(super) const OPEN_CONFIG: u8 = 3;
    pub(super) const RUN_SCRIPT: u8 = 4;
}

impl Request {
    /// The message: a kind; for `RUN_SCRIPT` the event's number; the MTU (4 bytes, big-endian) where there is one;
    /// the name where there is one.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_MESSAGE);
        match self {
            Self::NameDevice(name) => {
                bytes.push(kind::NAME_DEVICE);
                bytes.extend(name.as_bytes());
            }
            Self::SetMtu(mtu) => {
                bytes.push(kind::SET_MTU);
                bytes.extend(mtu.to_be_bytes());
            }
            Self::OpenConfig => bytes.push(kind::OPEN_CONFIG),
            Self::RunScript { event, link, mtu } => {
                bytes.extend([kind::RUN_SCRIPT, event_number(*event)]);
                bytes.extend(mtu.to_be_bytes());
                bytes.extend(link.iter().flat_map(|link| link.as_str().bytes()));
            }
        }
        bytes
    }

    /// The request in `bytes`; `None` unless every field is one a worker may send.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        match kind {
            kind::NAME_DEVICE => std::str::from_utf8(rest).ok()?.parse().ok().map(Self::NameDevice),
            kind::SET_MTU => Some(Self::SetMtu(mtu(rest.try_into().ok()?)?)),
            kind::OPEN_CONFIG => rest.is_empty().then_some(Self::OpenConfig),
            kind::RUN_SCRIPT => {
                let (&number, rest) = rest.split_first()?;
                let event = *ScriptEvent::ALL.get(usize::from(number))?;
                let (size, name) = rest.split_first_chunk()?;
                let link = if name.is_empty() { None } else { Some(LinkName::new(std::str::from_utf8(name).ok()?)?) };
                let is_sound = link.is_some() == event.is_of_link();
                is_sound.then_some(Self::RunScript { event, link, mtu: mtu(*size)? })
            }
            _ => None,
        }
    }
}

fn event_number(event: ScriptEvent) -> u8 {
    match event {
        ScriptEvent::TunnelUp => 0,
        ScriptEvent::TunnelDown => 1,
        ScriptEvent::LinkUp => 2,
        ScriptEvent::LinkDown => 3,
    }
}

fn mtu(bytes: [u8; 4]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes)).filter(|mtu| MTU_RANGE.contains(mtu))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_request_comes_back_as_it_went_in_and_fits_a_message() {
        let longest = LinkName::new(&"x".repeat(LinkName::MAX_BYTES));
        let mut requests = vec![
            Request::NameDevice("fifteen-letters".parse().expect("a name")),
            Request::SetMtu(1428),
            Request::OpenConfig,
        ];
        for event in ScriptEvent::ALL {
            let link = longest.clone().filter(|_| event.is_of_link());
            requests.push(Request::RunScript { event, link, mtu: 1428 });
        }
        for request in requests {
            let bytes = request.encode();
            assert!(bytes.len() < MAX_MESSAGE);
            assert_eq!(Request::decode(&bytes), Some(request));
        }
    }

    #[test]
    fn requests_a_sound_worker_never_sends_are_refused() {
        for bad in [
            &b""[..],
            b"\x01",
            b"\x01no/name",
            b"\x02\0\0\0\x43",
            b"\x02\0\x01\0\0",
            b"\x03x",
            b"\x04\x02\0\0\x05\x94",
            b"\x04\x00\0\0\x05\x94adsl",
            b"\x04\x02\0\0\x05\x94a\nb",
            b"\x04\x04\0\0\x05\x94adsl",
            b"\x05",
        ] {
            assert_eq!(Request::decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..MAX_MESSAGE)) {
            if let Some(request) = Request::decode(&bytes) {
                prop_assert_eq!(request.encode(), bytes);
            }
        }
    }
}

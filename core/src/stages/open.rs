// SPDX-License-Identifier: BSD-2-Clause
//! Open: a datagram becomes a header and, in place, the packet it carries.

use crate::memory::classic::{Header, HeaderError, Kind};
use crate::memory::packet::Packet;
use crate::state::keys::ClassicKey;
use crate::words::drops::DropReason;
use crate::words::ids::Epoch;
use crate::words::limits::{CLASSIC_HEADER, TAG};

/// A packet whose tag verified, or cleartext data where the tunnel allows that. Only [`Opener::open`] makes one.
#[derive(Debug)]
#[must_use = "an opened packet is to be accepted by the tunnel"]
pub struct Opened {
    pub(crate) header: Header,
    /// False for cleartext data, which anyone may have sent.
    pub(crate) authentic: bool,
    /// Bytes of the whole datagram.
    pub(crate) datagram_len: usize,
    pub(crate) epoch: Epoch,
}

impl Opened {
    /// The packet's header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the tag verified; false for cleartext data.
    #[must_use]
    pub const fn is_authentic(&self) -> bool {
        self.authentic
    }
}

/// Opens datagrams. Pure: it may be copied to another core and run there.
#[derive(Clone, Debug)]
pub struct Opener {
    key: ClassicKey,
    cleartext_data: bool,
    epoch: Epoch,
}

impl Opener {
    /// An opener; with `cleartext_data` data bodies are expected bare.
    #[must_use]
    pub const fn new(key: ClassicKey, cleartext_data: bool, epoch: Epoch) -> Self {
        Self { key, cleartext_data, epoch }
    }

    /// Opens the datagram in `packet`, in place: on success `packet` is the body.
    ///
    /// Work for a forger's datagram: one pass of Poly1305 over it.
    pub fn open(&self, packet: &mut Packet) -> Result<Opened, DropReason> {
        let datagram_len = packet.len();
        let header = Header::parse(packet.as_bytes()).map_err(|error| match error {
            HeaderError::Length => DropReason::Malformed,
            HeaderError::Version | HeaderError::Kind => DropReason::Unknown,
        })?;
        let authentic = !(self.cleartext_data && header.kind == Kind::Data);
        if authentic && !header.has_tag() {
            return Err(DropReason::Malformed);
        }
        let mut clear = CLASSIC_HEADER;
        if authentic {
            let body = packet.as_mut_bytes().get_mut(CLASSIC_HEADER..).ok_or(DropReason::Malformed)?;
            self.key.open(&header.nonce(), body).map_err(|_| DropReason::Unauthentic)?;
            clear = CLASSIC_HEADER.saturating_add(TAG);
        }
        if !packet.trim_front(clear) {
            return Err(DropReason::Malformed);
        }
        Ok(Opened { header, authentic, datagram_len, epoch: self.epoch })
    }
}

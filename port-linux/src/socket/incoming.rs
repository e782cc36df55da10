// SPDX-License-Identifier: BSD-2-Clause
//! Receiving: as many datagrams as wait with one system call, and runs of them that the kernel joined (`UDP_GRO`).

use super::{LinkSocket, SendError, classify};
use crate::sys::{self, Envelope, MESSAGES_PER_CALL};
use mlvpn_core::words::ecn::Ecn;
use mlvpn_core::words::limits::MAX_DATAGRAM;
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for each run of datagrams that the kernel joined: it makes none that a UDP datagram could not be, 65,507 bytes.
const JOINED_BYTES: usize = 1 << 16;

/// Room for each datagram from a kernel that joins none: what a packet's buffer takes, and no more.
const SINGLE_BYTES: usize = MAX_DATAGRAM;

/// Errors of earlier datagrams (ICMP answers) taken off the socket per call before giving the loop its turn back.
const STALE_ERRORS_PER_READ: usize = 8;

/// Where datagrams are received, used again and again. A megabyte of address space, of which only what the kernel writes
/// to becomes memory.
#[derive(Debug)]
pub struct Inbox {
    buffer: Box<[u8]>,
    /// Bytes of `buffer` for each letter.
    part: usize,
    envelopes: [Envelope; MESSAGES_PER_CALL],
    /// How many of `envelopes` are of the last call.
    len: usize,
}

/// Datagrams from one sender that came together, each with the same mark.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    bytes: &'a [u8],
    segment: usize,
    /// Their sender.
    pub from: SocketAddr,
    /// What their IP headers say of congestion: the kernel joins only datagrams that agree in it.
    pub ecn: Ecn,
}

impl<'a> Letter<'a> {
    /// The datagrams in the order they came; an empty one is nobody's and left out.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.segment)
    }

    /// Bytes of all of them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![0; MESSAGES_PER_CALL * JOINED_BYTES].into_boxed_slice();
        Self { buffer, part: JOINED_BYTES, envelopes: [Envelope::default(); MESSAGES_PER_CALL], len: 0 }
    }

    /// What the last [`LinkSocket::receive`] brought.
    pub fn letters(&self) -> impl Iterator<Item = Letter<'_>> {
        let parts = self.buffer.chunks_exact(self.part);
        self.envelopes.iter().zip(parts).take(self.len).filter_map(|(envelope, part)| {
            let bytes = part.get(..envelope.len.min(part.len()))?;
            let segment = envelope.segment.unwrap_or(bytes.len()).max(1);
            let from = socket_address(envelope.from.as_ref()?)?;
            Some(Letter { bytes, segment, from, ecn: Ecn::from_traffic_class(envelope.class) })
        })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl LinkSocket {
    /// Receives into `inbox`, and says whether more may wait. A datagram longer than a packet's buffer may be cut.
    ///
    /// # Errors
    /// The socket failed. ICMP reports about earlier datagrams are not errors of the socket and are skipped.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<bool> {
        inbox.part = if self.is_joining { JOINED_BYTES } else { SINGLE_BYTES };
        inbox.len = 0;
        for _ in 0..STALE_ERRORS_PER_READ {
            self.count_call();
            let error = match sys::receive_messages(&self.socket, &mut inbox.buffer, inbox.part, &mut inbox.envelopes) {
                Ok(came) => {
                    inbox.len = came;
                    return Ok(came == MESSAGES_PER_CALL);
                }
                Err(error) => error,
            };
            match classify(error) {
                SendError::WouldBlock => return Ok(false),
                SendError::Io(error) => return Err(error),
                SendError::LinkDown(_) | SendError::Refused(_) | SendError::TooLong { .. } => {}
            }
        }
        Ok(true)
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

// SPDX-License-Identifier: BSD-2-Clause
//! Sending: many datagrams with one system call, and those of one size to one place as a run that the kernel cuts
//! (`UDP_SEGMENT`), which costs it little more than one datagram.
//!
//! When to send is the engine's business: what it hands out may leave now.

use super::{Family, LinkSocket, SendError, classify};
use crate::sys::{self, Control, MESSAGES_PER_CALL, Message};
use mlvpn_core::words::ecn::Ecn;
use nix::errno::Errno;
use nix::sys::socket::SockaddrStorage;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams of one run at the most: the kernel's `UDP_MAX_SEGMENTS` until Linux 6.9, since when it is 128.
const RUN_DATAGRAMS: usize = 64;

/// Bytes of one run at the most: what a UDP datagram over IPv4 can be.
const RUN_BYTES: usize = 65_507;

/// Datagrams that one call of [`LinkSocket::send`] looks at together.
const LOOKED_AT: usize = 64;

/// What the kernel may answer when it does not cut: too long (which it calls `EINVAL` before Linux 6.7), no checksum
/// possible, or a device or transform that cannot.
const CUT_REFUSALS: [Errno; 5] = [Errno::EINVAL, Errno::EMSGSIZE, Errno::EIO, Errno::EOPNOTSUPP, Errno::ENOPROTOOPT];

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// What it holds.
    pub bytes: &'a [u8],
    /// Where to.
    pub to: SocketAddr,
    /// What its IP header is to say of congestion.
    pub ecn: Ecn,
}

/// Datagrams that leave as one message: the kernel cuts it where they meet.
struct Run {
    /// Which of the parts.
    parts: Range<usize>,
    to: SockaddrStorage,
    controls: heapless::Vec<Control, 2>,
}

impl LinkSocket {
    /// Sends datagrams in their order, and says how many were sent, and why the one after these was not.
    pub fn send(&self, datagrams: &[Outgoing<'_>]) -> (usize, Result<(), SendError>) {
        let mut sent = 0;
        while let Some(rest) = datagrams.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.send_some(rest) {
                Ok(count) => sent = sent.saturating_add(count),
                Err(error) => return (sent, Err(error)),
            }
        }
        (sent, Ok(()))
    }

    /// Sends the first datagrams, at least one.
    fn send_some(&self, datagrams: &[Outgoing<'_>]) -> Result<usize, SendError> {
        let mut error = match self.send_cut(datagrams) {
            Ok(count) => return Ok(count),
            Err(error) => classify(error),
        };
        if let SendError::Refused(_) = error {
            // The report was about an earlier datagram and is taken now; this one deserves its own attempt.
            error = match self.send_cut(datagrams) {
                Ok(count) => return Ok(count),
                Err(error) => classify(error),
            };
        }
        if let (SendError::TooLong { path_mtu }, Some(first)) = (&mut error, datagrams.first()) {
            *path_mtu = self.path_mtu(first.to).ok();
        }
        Err(error)
    }

    /// Sends the first datagrams, those of one size left to the kernel to cut. When it refuses that, they leave one by
    /// one, and when that succeeds, it is not asked again for such a size: it cuts nothing into what exceeds the path's
    /// MTU, and on some ways (IPsec, a device without checksums) nothing at all.
    fn send_cut(&self, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
        let longest = self.longest_cut.get();
        let error = match self.send_runs(datagrams, longest) {
            Ok(count) => return Ok(count),
            Err(error) => error,
        };
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let first = datagrams.first().filter(|_| run_length(datagrams, longest) > 1);
        let Some(first) = first.filter(|_| CUT_REFUSALS.contains(&errno)) else { return Err(error) };
        let sent = self.send_runs(datagrams, 0)?;
        let is_for_its_length = matches!(errno, Errno::EINVAL | Errno::EMSGSIZE);
        self.longest_cut.set(if is_for_its_length { first.bytes.len().saturating_sub(1) } else { 0 });
        Ok(sent)
    }

    /// One system call, with runs of datagrams of at most `longest_cut` bytes.
    fn send_runs(&self, datagrams: &[Outgoing<'_>], longest_cut: usize) -> io::Result<usize> {
        let parts: heapless::Vec<IoSlice<'_>, LOOKED_AT> =
            datagrams.iter().take(LOOKED_AT).map(|datagram| IoSlice::new(datagram.bytes)).collect();
        let mut runs: heapless::Vec<Run, MESSAGES_PER_CALL> = heapless::Vec::new();
        let mut begin: usize = 0;
        while let Some(rest) = datagrams.get(begin..parts.len()).filter(|rest| !rest.is_empty()) {
            let end = begin.saturating_add(run_length(rest, longest_cut));
            let Some(first) = rest.first() else { break };
            if runs.push(self.run(first, begin..end)).is_err() {
                break;
            }
            begin = end;
        }
        let messages: heapless::Vec<Message<'_>, MESSAGES_PER_CALL> =
            runs.iter().map(|run| message(run, &parts)).collect();
        self.count_call();
        let sent = sys::send_messages(&self.socket, &messages)?;
        Ok(sent.checked_sub(1).and_then(|last| runs.get(last)).map_or(0, |run| run.parts.end))
    }

    fn run(&self, first: &Outgoing<'_>, parts: Range<usize>) -> Run {
        let mut controls = heapless::Vec::new();
        // There is room for both.
        if first.ecn != Ecn::NotEct {
            let class = libc::c_int::from(first.ecn.bits()).to_ne_bytes();
            let _ = controls.push(match self.address.family {
                Family::V4 => Control::new(libc::IPPROTO_IP, libc::IP_TOS, class),
                Family::V6 => Control::new(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class),
            });
        }
        if parts.len() > 1 {
            let size = u16::try_from(first.bytes.len()).unwrap_or(u16::MAX);
            let _ = controls.push(Control::new(libc::SOL_UDP, libc::UDP_SEGMENT, size.to_ne_bytes()));
        }
        Run { parts, to: SockaddrStorage::from(first.to), controls }
    }
}

fn message<'a>(run: &'a Run, parts: &'a [IoSlice<'a>]) -> Message<'a> {
    Message { parts: parts.get(run.parts.clone()).unwrap_or_default(), to: &run.to, controls: &run.controls }
}

/// How many of the first datagrams can leave as one run: to one place with one mark, each as long as the first but the
/// last, which may be shorter.
fn run_length(datagrams: &[Outgoing<'_>], longest_cut: usize) -> usize {
    let Some((first, rest)) = datagrams.split_first() else { return 0 };
    let size = first.bytes.len();
    if size == 0 || size > longest_cut {
        return 1;
    }
    let most = RUN_DATAGRAMS.min(RUN_BYTES / size).max(1);
    let mut count: usize = 1;
    for datagram in rest.iter().take(most.saturating_sub(1)) {
        let fits = (1..=size).contains(&datagram.bytes.len());
        if !fits || datagram.to != first.to || datagram.ecn != first.ecn {
            break;
        }
        count = count.saturating_add(1);
        if datagram.bytes.len() < size {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(lengths: &[usize]) -> Vec<Outgoing<'static>> {
        static ZEROS: [u8; 2000] = [0; 2000];
        let to = "192.0.2.1:5080".parse().expect("an address");
        lengths.iter().map(|&len| Outgoing { bytes: &ZEROS[..len], to, ecn: Ecn::NotEct }).collect()
    }

    #[test]
    fn a_run_is_of_one_size_and_ends_with_a_shorter_datagram_a_longer_one_or_an_empty_one() {
        for (lengths, expected) in [
            (&[1400, 1400, 1400][..], 3),
            (&[1400, 1400, 900, 900], 3),
            (&[900, 1400], 1),
            (&[900, 900, 1400], 2),
            (&[900, 0], 1),
            (&[0, 0], 1),
            (&[1400; 60], 46),
            (&[100; 80], 64),
            (&[], 0),
        ] {
            assert_eq!(run_length(&outgoing(lengths), usize::MAX), expected, "{lengths:?}");
            assert_eq!(run_length(&outgoing(lengths), 99), expected.min(1), "{lengths:?}");
        }
    }

    #[test]
    fn a_run_is_to_one_place_with_one_mark() {
        let mut datagrams = outgoing(&[1400; 4]);
        datagrams[2].ecn = Ecn::Ce;
        assert_eq!(run_length(&datagrams, usize::MAX), 2);
        datagrams[1].to = "192.0.2.2:5080".parse().expect("an address");
        assert_eq!(run_length(&datagrams, usize::MAX), 1);
    }
}

// SPDX-License-Identifier: BSD-2-Clause
//! One client: what it may send, how long it may take, and what is still to be told to it. It has no socket: bytes go in
//! with [`Client::take`], requests come out with [`Client::next`], and answers wait in [`Client::outbox`].

use mlvpn_core::words::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

use super::http::{self, Refusal, Request};

/// The longest request, in bytes: what servers commonly take of a browser's headers, and thrice the longest command.
pub(crate) const MAX_REQUEST: usize = 8 << 10;

/// How long a client may be silent, or an answer not be taken: 2.3.5's timeout.
const PATIENCE: Duration = Duration::from_secs(5);

/// A first line whose header does not follow within this is a request as 2.3.5 took them, which answered the first line.
const HEADER_PATIENCE: Duration = Duration::from_millis(300);

/// How long what an answered client still sends is read and passed over: a socket closed with unread bytes in it takes
/// the answer away from the other end.
const LINGER: Duration = Duration::from_secs(1);

/// What is passed over at most, in bytes.
const MAX_PASSED_OVER: usize = 64 << 10;

/// What ends a line by hand: 2.3.5's end of transmission.
const END: u8 = 4;

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A line at the UNIX socket, without its end.
    Line(Zeroizing<Vec<u8>>),
    /// Something of HTTP.
    Http(Result<Request, Refusal>),
}

/// Which of the two ways it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The UNIX socket: lines, or HTTP when it begins so.
    Unix,
    /// TCP: HTTP.
    Tcp,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may ask.
    Asking,
    /// It is answered, and that was all.
    Answered,
    /// The answer is sent, too.
    Lingering,
    /// It can be closed.
    Over,
}

/// A client's state.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) way: Way,
    stage: Stage,
    inbox: Zeroizing<Vec<u8>>,
    outbox: Vec<u8>,
    sent: usize,
    passed_over: usize,
    /// It sends no more.
    has_ended: bool,
    /// It was too slow: what there is of its request is all there will be.
    is_late: bool,
    is_http: bool,
    /// When it was last heard, or took something.
    active: Instant,
    deadline: Instant,
}

impl Client {
    pub(crate) fn new(way: Way, now: Instant) -> Self {
        Self {
            way,
            stage: Stage::Asking,
            inbox: Zeroizing::new(Vec::new()),
            outbox: Vec::new(),
            sent: 0,
            passed_over: 0,
            has_ended: false,
            is_late: false,
            is_http: way == Way::Tcp,
            active: now,
            deadline: now + PATIENCE,
        }
    }

    /// When it was last heard of: who is silent longest makes room for others.
    pub(crate) const fn active(&self) -> Instant {
        self.active
    }

    /// When to call [`Client::handle_timeout`].
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it can be closed.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether its half of the connection is to be shut: it has all there is.
    pub(crate) fn is_lingering(&self) -> bool {
        self.stage == Stage::Lingering
    }

    /// Whether it should be read from.
    pub(crate) fn wants_to_read(&self) -> bool {
        let may_ask = self.stage == Stage::Asking && self.outbox().is_empty() && !self.is_complete();
        !self.has_ended && (may_ask || self.stage == Stage::Lingering)
    }

    /// Whether to go on with it as soon as it can be written to: there is something to send, or to answer.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outbox().is_empty() || (self.stage == Stage::Asking && self.is_complete())
    }

    /// Takes bytes that came; none means that it sends no more.
    pub(crate) fn take(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            self.has_ended = true;
            if self.stage == Stage::Lingering || (self.inbox.is_empty() && self.outbox().is_empty()) {
                self.stage = Stage::Over;
            }
            return;
        }
        if self.stage != Stage::Asking {
            self.passed_over = self.passed_over.saturating_add(bytes.len());
            if self.passed_over > MAX_PASSED_OVER {
                self.stage = Stage::Over;
            }
            return;
        }
        if self.inbox.is_empty() && self.way == Way::Unix {
            self.is_http = [&b"GET "[..], b"HEAD "].iter().any(|method| bytes.starts_with(method));
        }
        self.reserve();
        self.inbox.extend_from_slice(bytes);
        if self.is_http {
            // The clock of a request runs from its beginning, so that one byte a second is no way to stay.
            if self.has_first_line() && !self.is_complete() {
                self.deadline = self.deadline.min(now + HEADER_PATIENCE);
            }
        } else {
            (self.active, self.deadline) = (now, now + PATIENCE);
        }
    }

    /// The next request, once the answer to the one before is gone.
    pub(crate) fn next(&mut self) -> Option<Asked> {
        if self.stage != Stage::Asking || !self.outbox().is_empty() {
            return None;
        }
        if !self.is_complete() {
            if self.inbox.len() > MAX_REQUEST {
                self.is_http |= self.way == Way::Tcp;
                return Some(if self.is_http {
                    Asked::Http(Err(Refusal::TooLong))
                } else {
                    self.take_line(MAX_REQUEST)
                });
            }
            if self.has_ended && !self.inbox.is_empty() && !self.is_http {
                return Some(self.take_line(self.inbox.len()));
            }
            return None;
        }
        if self.is_http {
            let end = http::end_of_head(&self.inbox).unwrap_or(self.inbox.len());
            let asked = if end > MAX_REQUEST {
                Err(Refusal::TooLong)
            } else if self.is_late && !self.has_first_line() {
                Err(Refusal::Timeout)
            } else {
                http::parse(self.inbox.get(..end).unwrap_or_default())
            };
            return Some(Asked::Http(asked));
        }
        let end = self.inbox.iter().position(|byte| *byte == b'\n' || *byte == END)?;
        if self.inbox.get(end) == Some(&END) {
            self.stage = Stage::Over;
            return None;
        }
        Some(self.take_line(end))
    }

    /// What to answer to what was asked last; `is_last` when the connection is over with that.
    pub(crate) fn answer(&mut self, text: String, is_last: bool, now: Instant) {
        // What was sent before holds no memory.
        self.outbox = text.into_bytes();
        self.sent = 0;
        if is_last {
            self.stage = Stage::Answered;
            self.inbox.zeroize();
        }
        (self.active, self.deadline) = (now, now + PATIENCE);
    }

    /// What waits to be sent.
    pub(crate) fn outbox(&self) -> &[u8] {
        self.outbox.get(self.sent..).unwrap_or_default()
    }

    /// The first `count` bytes of the outbox were sent.
    pub(crate) fn sent(&mut self, count: usize, now: Instant) {
        self.sent = self.sent.saturating_add(count);
        self.active = now;
        if !self.is_http {
            self.deadline = now + PATIENCE;
        }
        if self.outbox().is_empty() {
            self.outbox = Vec::new();
            self.sent = 0;
            match self.stage {
                Stage::Answered if self.has_ended => self.stage = Stage::Over,
                Stage::Answered => {
                    self.stage = Stage::Lingering;
                    self.deadline = now + LINGER;
                }
                Stage::Asking if self.has_ended && self.inbox.is_empty() => self.stage = Stage::Over,
                _ => {}
            }
        }
    }

    /// Its time is over: an HTTP request is answered with what came of it, everything else is over.
    pub(crate) fn handle_timeout(&mut self) {
        if self.stage == Stage::Asking && self.is_http && !self.inbox.is_empty() && self.outbox().is_empty() {
            self.is_late = true;
        } else {
            self.stage = Stage::Over;
        }
    }

    /// Room for a whole request at once: what grows by itself leaves copies of what it held, and that may be a key.
    fn reserve(&mut self) {
        if self.inbox.capacity() == 0 {
            self.inbox.reserve_exact(MAX_REQUEST.saturating_mul(2));
        }
    }

    fn has_first_line(&self) -> bool {
        self.inbox.contains(&b'\n') || self.has_ended
    }

    fn is_complete(&self) -> bool {
        if self.is_http {
            let is_all = self.is_late || (self.has_ended && !self.inbox.is_empty());
            return is_all || http::end_of_head(&self.inbox).is_some();
        }
        self.inbox.iter().any(|byte| *byte == b'\n' || *byte == END)
    }

    /// The first `end` bytes without carriage returns, as 2.3.5 reads a line; they and what ends them are gone then.
    fn take_line(&mut self, end: usize) -> Asked {
        let mut line = Zeroizing::new(Vec::with_capacity(end));
        line.extend(self.inbox.iter().take(end).filter(|byte| **byte != b'\r'));
        let rest = end.saturating_add(1).min(self.inbox.len());
        self.inbox.drain(..rest);
        Asked::Line(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const START: Instant = Instant::ORIGIN;

    fn later(millis: u64) -> Instant {
        START + Duration::from_millis(millis)
    }

    fn client(way: Way, bytes: &[u8]) -> Client {
        let mut client = Client::new(way, START);
        client.take(bytes, START);
        client
    }

    fn line(asked: Option<Asked>) -> String {
        match asked {
            Some(Asked::Line(line)) => String::from_utf8_lossy(&line).into_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn path(asked: Option<Asked>) -> Result<String, Refusal> {
        match asked {
            Some(Asked::Http(asked)) => asked.map(|request| request.path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_answered_one_by_one_and_the_next_waits_until_the_answer_is_gone() {
        let mut client = client(Way::Unix, b"status\r\nmetrics\nqu");
        assert_eq!(line(client.next()), "status");
        client.answer("one".to_owned(), false, START);
        assert!(client.next().is_none() && client.wants_to_write() && !client.wants_to_read());
        client.sent(2, START);
        assert!(client.next().is_none());
        client.sent(1, START);
        assert_eq!(line(client.next()), "metrics");
        client.answer("two".to_owned(), false, START);
        client.sent(3, START);
        assert!(client.next().is_none() && client.wants_to_read() && !client.wants_to_write());
        client.take(b"it\n", START);
        assert_eq!(line(client.next()), "quit");
    }

    #[test]
    fn a_line_without_an_end_counts_when_nothing_more_comes() {
        let mut client = client(Way::Unix, b"status");
        assert!(client.next().is_none());
        client.take(b"", START);
        assert_eq!(line(client.next()), "status");
        client.answer("x".to_owned(), false, START);
        client.sent(1, START);
        assert!(client.is_over());
    }

    #[test]
    fn http_is_answered_once_and_then_passed_over() {
        let mut client = client(Way::Tcp, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\nGET /again");
        assert_eq!(path(client.next()), Ok("/status".to_owned()));
        client.answer("answer".to_owned(), true, START);
        client.sent(6, START);
        assert!(client.is_lingering() && client.wants_to_read() && client.next().is_none());
        client.take(&[0; 1_000], START);
        assert!(!client.is_over());
        client.take(&[0; MAX_PASSED_OVER], START);
        assert!(client.is_over());
    }

    #[test]
    fn the_unix_socket_takes_http_and_tcp_takes_no_lines() {
        assert_eq!(path(client(Way::Unix, b"GET /status HTTP/1.1\r\n\r\n").next()), Ok("/status".to_owned()));
        let mut lines = client(Way::Tcp, b"status\n\n");
        assert_eq!(path(lines.next()), Err(Refusal::Malformed));
    }

    #[test]
    fn a_first_line_without_a_header_is_answered_soon_and_less_is_refused() {
        let mut bare = client(Way::Tcp, b"GET /status\n");
        assert!(bare.next().is_none());
        assert_eq!(bare.deadline(), later(300));
        bare.handle_timeout();
        assert_eq!(path(bare.next()), Ok("/status".to_owned()));
        let mut part = client(Way::Tcp, b"GET /sta");
        assert_eq!(part.deadline(), later(5_000));
        part.handle_timeout();
        assert_eq!(path(part.next()), Err(Refusal::Timeout));
        let mut nothing = Client::new(Way::Tcp, START);
        nothing.handle_timeout();
        assert!(nothing.is_over());
    }

    #[test]
    fn bytes_that_trickle_in_win_no_time() {
        let mut slow = Client::new(Way::Tcp, START);
        for second in 0..5 {
            slow.take(b"G", later(second * 1_000));
        }
        assert_eq!(slow.deadline(), later(5_000));
        let mut watch = client(Way::Unix, b"status\n");
        watch.take(b"status\n", later(4_000));
        assert_eq!(watch.deadline(), later(9_000));
    }

    #[test]
    fn requests_that_do_not_end_are_refused_without_taking_more_memory() {
        let mut huge = client(Way::Tcp, b"GET /");
        let chunk = [b'a'; 4_096];
        while huge.wants_to_read() && !huge.wants_to_write() && huge.inbox.len() <= MAX_REQUEST {
            huge.take(&chunk, START);
        }
        assert!(huge.inbox.capacity() <= 2 * MAX_REQUEST);
        assert_eq!(path(huge.next()), Err(Refusal::TooLong));
        let mut lines = Client::new(Way::Unix, START);
        while lines.inbox.len() <= MAX_REQUEST {
            lines.take(&chunk, START);
        }
        assert_eq!(line(lines.next()).len(), MAX_REQUEST);
        assert!(lines.inbox.capacity() <= 2 * MAX_REQUEST);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_comes_to_an_end(
            is_unix in any::<bool>(),
            chunks in vec((vec(prop_oneof![Just(b'\n'), Just(b'G'), Just(b'{'), Just(END), any::<u8>()], 0..4_096), 0_u64..3_000), 0..12),
        ) {
            let way = if is_unix { Way::Unix } else { Way::Tcp };
            let (mut client, mut now) = (Client::new(way, START), START);
            for (chunk, pause) in chunks {
                now += Duration::from_millis(pause);
                while client.deadline() <= now && !client.is_over() {
                    client.handle_timeout();
                    answer_all(&mut client, now);
                }
                if client.wants_to_read() && !client.is_over() {
                    client.take(&chunk, now);
                }
                answer_all(&mut client, now);
                prop_assert!(client.inbox.capacity() <= 2 * MAX_REQUEST);
            }
            for _ in 0..4 {
                now = now.max(client.deadline());
                if !client.is_over() {
                    client.handle_timeout();
                    answer_all(&mut client, now);
                }
            }
            prop_assert!(client.is_over(), "{client:?}");
        }
    }

    /// Answers what is asked, and has the answers taken at once.
    fn answer_all(client: &mut Client, now: Instant) {
        while let Some(asked) = client.next() {
            client.answer("answer".to_owned(), matches!(asked, Asked::Http(_)), now);
            client.sent(3, now);
            client.sent(3, now);
        }
    }

    #[test]
    fn the_end_of_transmission_ends_it() {
        let mut client = client(Way::Unix, b"status\n\x04");
        assert_eq!(line(client.next()), "status");
        client.answer("x".to_owned(), false, START);
        client.sent(1, START);
        assert!(client.next().is_none() && client.is_over());
    }
}

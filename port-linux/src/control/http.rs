// SPDX-License-Identifier: BSD-2-Clause
//! As much of HTTP/1.1 as a status interface needs: one request without a body, one answer, and the end.

/// What the answer says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// MLVPN 2.3.5's status.
    Json,
    /// Prometheus's text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Content {
    const fn text(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A request that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Without its query, in lower case: 2.3.5 did not mind either.
    pub(crate) path: String,
    /// Only the answer's head is wanted.
    pub(crate) head_only: bool,
    /// The client reads OpenMetrics.
    pub(crate) takes_openmetrics: bool,
}

/// Why a request gets no answer but this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not HTTP.
    Malformed,
    /// Nothing can be changed this way.
    Method,
    /// There is nothing there.
    NotFound,
    /// It did not come in time.
    Timeout,
    /// It does not end.
    TooLong,
}

impl Refusal {
    const fn line(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::NotFound => "404 Not Found",
            Self::Timeout => "408 Request Timeout",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }

    /// What to say, as JSON: 2.3.5 meant to.
    const fn body(self) -> &'static str {
        match self {
            Self::Malformed => "{\"error\": \"malformed request\"}\n",
            Self::Method => "{\"error\": \"only GET and HEAD are answered\"}\n",
            Self::NotFound => "{\"error\": \"unknown command\", \"commands\": [\"/status\", \"/metrics\"]}\n",
            Self::Timeout => "{\"error\": \"the request took too long\"}\n",
            Self::TooLong => "{\"error\": \"the request is too long\"}\n",
        }
    }
}

/// Where the head of a request ends in `bytes`, behind its empty line.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut is_empty = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if is_empty => return Some(at.saturating_add(1)),
            b'\n' => is_empty = true,
            b'\r' => {}
            _ => is_empty = false,
        }
    }
    None
}

/// The request in a head, or in as much of it as came. 2.3.5 took the second word of the first line, whatever followed.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let text = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), version, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(Refusal::Malformed);
    };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_word(method) || !is_word(target) || !version.is_none_or(|version| version.starts_with("HTTP/1.")) {
        return Err(Refusal::Malformed);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refusal::Method),
    };
    let path = target.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let mut accepts =
        lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let takes_openmetrics =
        accepts.any(|(_, value)| value.to_ascii_lowercase().contains("application/openmetrics-text"));
    Ok(Request { path, head_only, takes_openmetrics })
}

/// An answer. Its first five lines are 2.3.5's, but for the content where that was wrong.
pub(crate) fn answer(content: Content, body: &str, head_only: bool) -> String {
    whole("200 OK", content.text(), "", body, head_only)
}

/// The answer to what cannot be answered.
pub(crate) fn refuse(refusal: Refusal, head_only: bool) -> String {
    let more = if refusal == Refusal::Method { "Allow: GET, HEAD\r\n" } else { "" };
    whole(refusal.line(), Content::Json.text(), more, refusal.body(), head_only)
}

fn whole(status: &str, content: &str, more: &str, body: &str, head_only: bool) -> String {
    let mut text = String::with_capacity(body.len().saturating_add(256));
    let len = body.len();
    text.push_str(&format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-type: {content}\r\nAccess-Control-Allow-Origin: *\r\n\
         Server: mlvpn\r\n{more}Content-Length: {len}\r\n\r\n"
    ));
    if !head_only {
        text.push_str(body);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(head: &str) -> Result<String, Refusal> {
        parse(head.as_bytes()).map(|request| request.path)
    }

    #[test]
    fn a_head_ends_with_its_empty_line_whatever_ends_lines() {
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest"), Some(27));
        assert_eq!(end_of_head(b"GET /\n\nrest"), Some(7));
        for part in [&b"GET / HTTP/1.1\r\n"[..], b"GET / HTTP/1.1\r\nHost: x\r\n", b""] {
            assert_eq!(end_of_head(part), None);
        }
    }

    #[test]
    fn requests_are_read_as_curl_prometheus_and_2_3_5s_clients_write_them() {
        for head in [
            "GET /status HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /status",
            "GET status HTTP/1.0\n",
            "GET /STATUS?x=1 HTTP/1.1\r\n",
        ] {
            let request = parse(head.as_bytes()).expect(head);
            assert_eq!(request.path.trim_start_matches('/'), "status", "{head}");
            assert!(!request.head_only && !request.takes_openmetrics);
        }
        assert!(parse(b"HEAD /metrics HTTP/1.1\r\n").unwrap().head_only);
        let prometheus =
            "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain\r\n\r\n";
        assert!(parse(prometheus.as_bytes()).unwrap().takes_openmetrics);
    }

    #[test]
    fn nonsense_is_refused() {
        for head in [
            "",
            "\n",
            "GET",
            "GET ",
            "GET  / HTTP/1.1",
            "GET / HTTP/2.0",
            "GET /a b HTTP/1.1",
            "\u{1}GET / HTTP/1.1",
            "GET /\u{7f}",
        ] {
            assert_eq!(path(head), Err(Refusal::Malformed), "{head:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\n"), Err(Refusal::Malformed));
        assert_eq!(path("POST /status HTTP/1.1"), Err(Refusal::Method));
    }

    #[test]
    fn an_answer_has_its_length_and_a_head_no_body() {
        let text = answer(Content::Json, "{}\n", false);
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n")
                && text.ends_with("Content-Length: 3\r\n\r\n{}\n")
        );
        assert!(answer(Content::Json, "{}\n", true).ends_with("Content-Length: 3\r\n\r\n"));
        assert!(refuse(Refusal::Method, false).contains("\r\nAllow: GET, HEAD\r\n"));
    }
}

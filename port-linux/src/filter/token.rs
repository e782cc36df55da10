// SPDX-License-Identifier: BSD-2-Clause
//! The words and signs of an expression.

use std::net::Ipv6Addr;

use super::Fault;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, name, IPv4 address or range; without the backslash that may stand before it.
    Word(String),
    /// A number, decimal, octal behind a `0` or hexadecimal behind a `0x`.
    Number(u32),
    /// An IPv6 address.
    Address(Ipv6Addr),
    /// A sign of one or two characters.
    Sign(&'static str),
}

/// A token and the character it begins with, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "\"{word}\""),
            Self::Number(number) => write!(f, "{number}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Sign(sign) => write!(f, "\"{sign}\""),
        }
    }
}

/// Signs, the longer first where one begins another.
const SIGNS: [&str; 25] = [
    "&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "<", ">", "=", "!", "(", ")", "[", "]", "&", "|", "+", "-", "*",
    "/", ":", "^", "%",
];

/// Splits an expression. Work: linear in its length.
pub(super) fn read(expression: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut rest, mut at) = (expression, 0);
    let mut in_brackets = false;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            at += 1;
            continue;
        }
        let (kind, len) = next(rest, in_brackets, at)?;
        match kind {
            Kind::Sign("[") => in_brackets = true,
            Kind::Sign("]") => in_brackets = false,
            _ => {}
        }
        tokens.push(Token { kind, at });
        // Tokens are ASCII: as many bytes as characters.
        rest = rest.get(len..).unwrap_or_default();
        at += len;
    }
    Ok(tokens)
}

/// The token `rest` begins with, and its length in bytes.
fn next(rest: &str, in_brackets: bool, at: usize) -> Result<(Kind, usize), Fault> {
    let escaped = usize::from(rest.starts_with('\\'));
    let body = rest.get(escaped..).unwrap_or_default();
    let run = |is_part: fn(char) -> bool| body.find(|c| !is_part(c)).unwrap_or(body.len());
    if !in_brackets && escaped == 0 {
        let len = run(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
        let text = body.get(..len).unwrap_or_default();
        if text.matches(':').count() >= 2 {
            let advice = "write it as 2001:db8::1";
            let address = text.parse().map_err(|_| Fault::new(at, format!("{text} is no IPv6 address"), advice))?;
            return Ok((Kind::Address(address), len));
        }
    }
    let len = run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let text = body.get(..len).unwrap_or_default();
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let kind = match number(text) {
            Some(number) => Kind::Number(number),
            None => Kind::Word(text.to_owned()),
        };
        return Ok((kind, escaped + len));
    }
    let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
    sign.map(|sign| (Kind::Sign(sign), sign.len())).ok_or_else(|| {
        let what = rest.chars().next().unwrap_or('\\').escape_default();
        Fault::new(at, format!("'{what}' is not understood"), "see pcap-filter(7) for what may be written")
    })
}

fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    let is_octal = text.len() > 1 && text.starts_with('0');
    if is_octal { u32::from_str_radix(text, 8).ok() } else { text.parse().ok() }
}

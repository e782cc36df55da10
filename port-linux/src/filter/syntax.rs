// SPDX-License-Identifier: BSD-2-Clause
//! The grammar of pcap-filter(7): terms, what joins them, and what terms take over from those before.

mod arithmetic;
mod names;
mod values;

use std::net::Ipv4Addr;

use super::Fault;
use super::program::Tree;
use super::terms::{self, Direction};
use super::token::{Kind, Token};
use names::Protocol;

/// Parentheses in one another; each takes a turn of the stack.
const MAX_DEPTH: usize = 64;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Nothing was said: a host, or a network where a length follows.
    Address,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

/// What is said of a value before it, and of those after it that say nothing of themselves.
#[derive(Clone, Copy, Debug)]
struct Qualifiers {
    protocol: Option<Protocol>,
    direction: Direction,
    of: Type,
}

/// The expression; none when there is nothing. `end` is where the text ends.
pub(super) fn parse(tokens: &[Token], end: usize) -> Result<Option<Tree>, Fault> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { tokens, place: 0, end, before: None, depth: 0 };
    let tree = parser.expression()?;
    match parser.peek() {
        None => Ok(Some(tree)),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    place: usize,
    end: usize,
    /// What the value before was, if the term before was one.
    before: Option<Qualifiers>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Kind> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<&'a Kind> {
        self.tokens.get(self.place + by).map(|token| &token.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.place).map_or(self.end, |token| token.at)
    }

    fn is_word(&self, by: usize, word: &str) -> bool {
        matches!(self.ahead(by), Some(Kind::Word(is)) if is == word)
    }

    fn takes(&mut self, word: &str, sign: &str) -> bool {
        let is_it = match self.peek() {
            Some(Kind::Word(is)) => is == word,
            Some(Kind::Sign(is)) => *is == sign,
            _ => false,
        };
        self.place += usize::from(is_it);
        is_it
    }

    fn unexpected(&self) -> Fault {
        match self.peek() {
            None => Fault::new(self.end, "the expression ends in the middle", "complete it"),
            Some(Kind::Word(word)) if names::is_unsupported(word) => {
                let advice =
                    "a tunnel carries IP packets; use host, net, port, portrange, proto, tcp, udp, icmp, ip, ip6";
                Fault::new(self.at(), format!("\"{word}\" is not supported"), advice)
            }
            Some(kind) => {
                let advice = "see pcap-filter(7) for what may be written";
                Fault::new(self.at(), format!("{kind} is not understood here"), advice)
            }
        }
    }

    /// Terms joined by "and" and "or", which bind alike, from the left.
    fn expression(&mut self) -> Result<Tree, Fault> {
        let mut tree = self.term()?;
        loop {
            if self.takes("and", "&&") {
                tree = tree.and(self.term()?);
            } else if self.takes("or", "||") {
                tree = tree.or(self.term()?);
            } else {
                return Ok(tree);
            }
        }
    }

    fn term(&mut self) -> Result<Tree, Fault> {
        let is_negated = self.negations();
        let tree = if matches!(self.peek(), Some(Kind::Sign("("))) && !self.is_arithmetic() {
            self.group()?
        } else if self.begins_number() {
            self.before = None;
            arithmetic::relation(self)?
        } else {
            self.primary()?
        };
        Ok(if is_negated { tree.negated() } else { tree })
    }

    /// Whether the "not"s before a term leave it negated.
    fn negations(&mut self) -> bool {
        let mut is_negated = false;
        while self.takes("not", "!") {
            is_negated = !is_negated;
        }
        is_negated
    }

    fn group(&mut self) -> Result<Tree, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} parentheses in one another");
            return Err(Fault::new(self.at(), message, "leave out those that are not needed"));
        }
        self.place += 1;
        let tree = self.expression()?;
        self.closing(")")?;
        self.depth -= 1;
        Ok(tree)
    }

    fn closing(&mut self, sign: &str) -> Result<(), Fault> {
        if self.takes("", sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the parenthesis that opens here is part of a number: behind the one that closes it a number goes on.
    fn is_arithmetic(&self) -> bool {
        let mut open = 0_usize;
        for by in 0.. {
            match self.ahead(by) {
                None => return false,
                Some(Kind::Sign("(")) => open += 1,
                Some(Kind::Sign(")")) => {
                    open -= 1;
                    if open == 0 {
                        return self.ahead(by + 1).is_some_and(arithmetic::goes_on);
                    }
                }
                Some(_) => {}
            }
        }
        false
    }

    fn begins_number(&self) -> bool {
        match self.peek() {
            Some(Kind::Sign(sign)) => *sign == "(",
            Some(Kind::Number(_)) => self.ahead(1).is_some_and(|kind| arithmetic::goes_on(kind) && !is_slash(kind)),
            Some(Kind::Word(word)) => {
                word == "len" || names::constant(word).is_some() || matches!(self.ahead(1), Some(Kind::Sign("[")))
            }
            _ => false,
        }
    }

    /// A term of keywords and values.
    fn primary(&mut self) -> Result<Tree, Fault> {
        let Some(kind) = self.peek() else { return Err(self.unexpected()) };
        if let Kind::Word(word) = kind {
            match word.as_str() {
                "less" | "greater" => return self.length(word == "less"),
                "dscp" | "tos" => return self.traffic_class(word == "dscp"),
                _ => {}
            }
        }
        let protocol = self.protocol();
        if protocol.is_some() && self.takes("multicast", "") {
            self.before = None;
            return match protocol {
                Some(Protocol::Version(family)) => Ok(terms::multicast(family)),
                _ => Err(Fault::new(self.at(), "multicast is of ip or ip6", "write \"ip multicast\"")),
            };
        }
        let direction = self.direction()?;
        let of = self.value_type();
        if let (Some(protocol), None, None) = (protocol, direction, of)
            && !self.begins_value()
        {
            self.before = None;
            return Ok(protocol.tree());
        }
        let said = protocol.is_some() || direction.is_some() || of.is_some();
        let qualifiers = if said {
            Qualifiers { protocol, direction: direction.unwrap_or(Direction::Either), of: of.unwrap_or(Type::Address) }
        } else {
            self.taken_over()?
        };
        self.before = Some(qualifiers);
        if said {
            return self.values(qualifiers);
        }
        self.value(qualifiers)
    }

    /// What a value that says nothing of itself is: what the value before was.
    fn taken_over(&self) -> Result<Qualifiers, Fault> {
        let is_address = |word: &str| word.parse::<Ipv4Addr>().is_ok();
        match (self.peek(), self.before) {
            (Some(Kind::Number(_) | Kind::Address(_)), Some(before)) => Ok(before),
            (Some(Kind::Word(word)), Some(before)) if !names::is_unsupported(word) && is_value(word, before) => {
                Ok(before)
            }
            (Some(Kind::Address(_)), None) => Ok(Qualifiers::ADDRESS),
            (Some(Kind::Word(word)), None) if is_address(word) => Ok(Qualifiers::ADDRESS),
            (Some(Kind::Number(number)), None) => {
                let advice = format!("write \"port {number}\", or what else it is");
                Err(Fault::new(self.at(), format!("it is not said what {number} is"), advice))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A value, or several in parentheses that take over what was said before these.
    fn values(&mut self, qualifiers: Qualifiers) -> Result<Tree, Fault> {
        let is_negated = self.negations();
        let tree = if matches!(self.peek(), Some(Kind::Sign("("))) { self.group()? } else { self.value(qualifiers)? };
        Ok(if is_negated { tree.negated() } else { tree })
    }

    fn begins_value(&self) -> bool {
        match self.peek() {
            Some(Kind::Number(_) | Kind::Address(_) | Kind::Sign("(")) => true,
            Some(Kind::Word(word)) => word.starts_with(|c: char| c.is_ascii_digit()),
            _ => false,
        }
    }

    fn protocol(&mut self) -> Option<Protocol> {
        let Some(Kind::Word(word)) = self.peek() else { return None };
        let protocol = names::protocol(word)?;
        self.place += 1;
        Some(protocol)
    }

    fn direction(&mut self) -> Result<Option<Direction>, Fault> {
        let is_end = |parser: &Self, by| parser.is_word(by, "src") || parser.is_word(by, "dst");
        if !is_end(self, 0) {
            return Ok(None);
        }
        let is_source = self.is_word(0, "src");
        let joined = match self.ahead(1) {
            Some(Kind::Word(word)) if word == "or" => Some(Direction::Either),
            Some(Kind::Sign("||")) => Some(Direction::Either),
            Some(Kind::Word(word)) if word == "and" => Some(Direction::Both),
            Some(Kind::Sign("&&")) => Some(Direction::Both),
            _ => None,
        };
        if let Some(joined) = joined.filter(|_| is_end(self, 2)) {
            if self.is_word(2, "src") == is_source {
                return Err(Fault::new(self.at(), "the same end twice", "write \"src or dst\""));
            }
            self.place += 3;
            return Ok(Some(joined));
        }
        self.place += 1;
        Ok(Some(if is_source { Direction::Source } else { Direction::Destination }))
    }

    fn value_type(&mut self) -> Option<Type> {
        let Some(Kind::Word(word)) = self.peek() else { return None };
        let of = match word.as_str() {
            "host" => Type::Host,
            "net" => Type::Net,
            "port" => Type::Port,
            "portrange" => Type::PortRange,
            "proto" => Type::Proto,
            _ => return None,
        };
        self.place += 1;
        Some(of)
    }
}

impl Qualifiers {
    const ADDRESS: Self = Self { protocol: None, direction: Direction::Either, of: Type::Address };
}

fn is_slash(kind: &Kind) -> bool {
    *kind == Kind::Sign("/")
}

/// Whether a word is a value of the kind that came before.
fn is_value(word: &str, before: Qualifiers) -> bool {
    match before.of {
        Type::Address | Type::Host | Type::Net => word.starts_with(|c: char| c.is_ascii_digit()),
        Type::Port => names::service(word).is_some(),
        Type::PortRange => word.contains('-'),
        Type::Proto => names::protocol_number(word).is_some(),
    }
}

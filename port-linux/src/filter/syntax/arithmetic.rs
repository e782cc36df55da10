// SPDX-License-Identifier: BSD-2-Clause
//! Numbers of a packet, compared with constants: `ip[8] < 5`, `tcp[tcpflags] & (tcp-syn|tcp-fin) != 0`, `len >= 500`.
//!
//! libpcap computes with them as one likes; a step of ours takes bits out of one number, so `&` and `>>` may be applied
//! to it, and anything to constants.

use mlvpn_core::stages::filter::{Base, Comparison, Width};

use super::super::Fault;
use super::super::program::{Test, Tree};
use super::super::terms::{self, Family, field, protocol};
use super::super::token::Kind;
use super::{MAX_DEPTH, Parser, names};

/// One side of a comparison.
enum Side {
    Constant(u32),
    /// A number of the packet, and what must hold for it to be there.
    Number(Test, Option<Tree>),
}

/// The operators by how they bind, the loosest first; those of a group bind alike, from the left.
const OPERATORS: [&[&str]; 4] = [&["|", "&"], &["<<", ">>"], &["+", "-"], &["*", "/"]];

const RELATIONS: [&str; 7] = ["=", "==", "!=", "<", "<=", ">", ">="];

/// Whether a number goes on behind something with this.
pub(super) fn goes_on(kind: &Kind) -> bool {
    matches!(kind, Kind::Sign(sign) if RELATIONS.contains(sign) || OPERATORS.iter().any(|group| group.contains(sign)))
}

/// `len <= number` or `len >= number`.
pub(super) fn length(number: u32, is_less: bool) -> Tree {
    if is_less { relation_of(LENGTH, None, "<=", number) } else { relation_of(LENGTH, None, ">=", number) }
}

const LENGTH: Test =
    Test { base: Base::Length, width: Width::Word, mask: u32::MAX, shift: 0, comparison: Comparison::Equal, value: 0 };

/// Two sides and what is said of them.
pub(super) fn relation(parser: &mut Parser<'_>) -> Result<Tree, Fault> {
    let left = side(parser, 0)?;
    let at = parser.at();
    let sign = match parser.peek() {
        Some(Kind::Sign(sign)) if RELATIONS.contains(sign) => *sign,
        _ => return Err(parser.unexpected()),
    };
    parser.place += 1;
    let right_at = parser.at();
    match (left, side(parser, 0)?) {
        (Side::Number(test, guard), Side::Constant(value)) => Ok(relation_of(test, guard, sign, value)),
        (Side::Constant(value), Side::Number(test, guard)) => Ok(relation_of(test, guard, turned(sign), value)),
        (Side::Number(..), Side::Number(..)) => {
            let message = "two numbers of the packet cannot be compared";
            Err(Fault::new(right_at, message, "compare each with a constant"))
        }
        (Side::Constant(_), Side::Constant(_)) => {
            Err(Fault::new(at, "nothing of the packet is compared", "name a header, as in ip[8] < 5"))
        }
    }
}

/// The same relation with its sides changed.
fn turned(sign: &'static str) -> &'static str {
    match sign {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

fn relation_of(test: Test, guard: Option<Tree>, sign: &str, value: u32) -> Tree {
    let (comparison, is_negated) = match sign {
        "!=" => (Comparison::Equal, true),
        ">" => (Comparison::Above, false),
        ">=" => (Comparison::AtLeast, false),
        "<" => (Comparison::AtLeast, true),
        "<=" => (Comparison::Above, true),
        _ => (Comparison::Equal, false),
    };
    let tree = Tree::Test(Test { comparison, value, ..test });
    let tree = if is_negated { tree.negated() } else { tree };
    match guard {
        Some(guard) => guard.and(tree),
        None => tree,
    }
}

/// Operators of the group `group`, and of those that bind closer.
fn side(parser: &mut Parser<'_>, group: usize) -> Result<Side, Fault> {
    let Some(operators) = OPERATORS.get(group) else { return operand(parser) };
    let mut left = side(parser, group + 1)?;
    loop {
        let at = parser.at();
        let sign = match parser.peek() {
            Some(Kind::Sign(sign)) if operators.contains(sign) => *sign,
            _ => return Ok(left),
        };
        parser.place += 1;
        let right = side(parser, group + 1)?;
        left = apply(left, sign, right).ok_or_else(|| {
            let message = format!("\"{sign}\" cannot be applied to a number of the packet");
            Fault::new(at, message, "apply & and >> with constants to it")
        })?;
    }
}

/// None when the operator cannot be applied.
fn apply(left: Side, sign: &str, right: Side) -> Option<Side> {
    let shifted = |value: u32, by: u32| u64::from(value).checked_shl(by).unwrap_or(0) & u64::from(u32::MAX);
    Some(match (left, sign, right) {
        (Side::Constant(left), _, Side::Constant(right)) => Side::Constant(match sign {
            "|" => left | right,
            "&" => left & right,
            "<<" => u32::try_from(shifted(left, right)).ok()?,
            ">>" => left.checked_shr(right).unwrap_or(0),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            _ => left.checked_div(right)?,
        }),
        (Side::Number(test, guard), "&", Side::Constant(bits))
        | (Side::Constant(bits), "&", Side::Number(test, guard)) => {
            let mask = test.mask & u32::try_from(shifted(bits, test.shift.into())).ok()?;
            Side::Number(Test { mask, ..test }, guard)
        }
        (Side::Number(test, guard), ">>", Side::Constant(by)) => {
            let shift = u32::from(test.shift).saturating_add(by);
            let test = match u8::try_from(shift) {
                Ok(shift) if shift < 32 => Test { shift, ..test },
                _ => Test { mask: 0, shift: 0, ..test },
            };
            Side::Number(test, guard)
        }
        _ => return None,
    })
}

fn operand(parser: &mut Parser<'_>) -> Result<Side, Fault> {
    let side = match parser.peek() {
        Some(Kind::Number(number)) => Side::Constant(*number),
        Some(Kind::Sign("(")) => return parenthesis(parser),
        Some(Kind::Word(word)) if word == "len" => Side::Number(LENGTH, None),
        Some(Kind::Word(word)) => match names::constant(word) {
            Some(value) => Side::Constant(value),
            None => return accessor(parser, word),
        },
        _ => return Err(parser.unexpected()),
    };
    parser.place += 1;
    Ok(side)
}

fn parenthesis(parser: &mut Parser<'_>) -> Result<Side, Fault> {
    parser.depth += 1;
    if parser.depth > MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} parentheses in one another");
        return Err(Fault::new(parser.at(), message, "leave out those that are not needed"));
    }
    parser.place += 1;
    let inner = side(parser, 0)?;
    parser.closing(")")?;
    parser.depth -= 1;
    Ok(inner)
}

/// `ip[8]`, `tcp[2:2]`.
fn accessor(parser: &mut Parser<'_>, name: &str) -> Result<Side, Fault> {
    if !matches!(parser.ahead(1), Some(Kind::Sign("["))) {
        return Err(parser.unexpected());
    }
    let ipv4 = |number| {
        let is = terms::protocol_is(Family::V4, number).and(terms::shows_header());
        (is, Base::BehindIpv4 as fn(u16) -> Base)
    };
    let (guard, base) = match name {
        "ip" => (terms::version(Family::V4), Base::Packet as fn(u16) -> Base),
        "ip6" => (terms::version(Family::V6), Base::Packet as fn(u16) -> Base),
        "icmp6" => {
            let is = terms::version(Family::V6).and(terms::next_header_is(protocol::ICMP6));
            (is, (|at| Base::Packet(at.saturating_add(field::PAYLOAD6))) as fn(u16) -> Base)
        }
        _ => match names::payload(name) {
            Some(number) => ipv4(number),
            None => return Err(parser.unexpected()),
        },
    };
    parser.place += 2;
    let at = offset(parser)?;
    let width = width(parser)?;
    parser.closing("]")?;
    Ok(Side::Number(Test { base: base(at), width, ..LENGTH }, Some(guard)))
}

fn offset(parser: &mut Parser<'_>) -> Result<u16, Fault> {
    let at = parser.at();
    match side(parser, 0)? {
        Side::Constant(offset) => u16::try_from(offset)
            .map_err(|_| Fault::new(at, "no packet is that long", "write the place of a byte in the header")),
        Side::Number(..) => Err(Fault::new(at, "a place that the packet tells is not supported", "write a constant")),
    }
}

fn width(parser: &mut Parser<'_>) -> Result<Width, Fault> {
    if !parser.takes("", ":") {
        return Ok(Width::Byte);
    }
    let width = match parser.peek() {
        Some(Kind::Number(1)) => Width::Byte,
        Some(Kind::Number(2)) => Width::Half,
        Some(Kind::Number(4)) => Width::Word,
        _ => return Err(Fault::new(parser.at(), "a number has 1, 2 or 4 bytes", "write one of these")),
    };
    parser.place += 1;
    Ok(width)
}

// SPDX-License-Identifier: BSD-2-Clause
//! From an expression's tree to its steps.

use mlvpn_core::stages::filter::{Base, Comparison, Next, Step, Width};

use super::{Fault, MAX_STEPS};

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) base: Base,
    pub(super) width: Width,
    pub(super) mask: u32,
    pub(super) shift: u8,
    pub(super) comparison: Comparison,
    pub(super) value: u32,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Test(Test),
    Not(Box<Self>),
    /// All of them, in this order.
    All(Vec<Self>),
    /// Any of them, in this order.
    Any(Vec<Self>),
}

impl Tree {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// This and then the other; those that are alike become one list, so that long expressions stay flat.
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// This or else the other.
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut any) => {
                any.push(other);
                Self::Any(any)
            }
            first => Self::Any(vec![first, other]),
        }
    }
}

/// The steps of a tree, from its end, so that each knows where it leads.
pub(super) fn compile(tree: &Tree) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    emit(&mut steps, tree, Next::Accept, Next::Reject);
    if steps.len() > MAX_STEPS {
        let message = format!("the expression takes more than {MAX_STEPS} steps");
        return Err(Fault::new(0, message, "write several filters, or networks instead of hosts"));
    }
    let last = u16::try_from(steps.len()).unwrap_or(u16::MAX).saturating_sub(1);
    let turned = |next| match next {
        Next::Step(from_end) => Next::Step(last.saturating_sub(from_end)),
        other => other,
    };
    Ok(steps.into_iter().rev().map(|step| Step { yes: turned(step.yes), no: turned(step.no), ..step }).collect())
}

/// Puts down the steps of a tree behind those it leads to, the first of them last; where to begin with them.
fn emit(steps: &mut Vec<Step>, tree: &Tree, yes: Next, no: Next) -> Next {
    if steps.len() > MAX_STEPS {
        // It is refused anyway.
        return no;
    }
    match tree {
        Tree::Test(Test { base, width, mask, shift, comparison, value }) => {
            let step = Step {
                base: *base,
                width: *width,
                mask: *mask,
                shift: *shift,
                comparison: *comparison,
                value: *value,
                yes,
                no,
            };
            steps.push(step);
            Next::Step(u16::try_from(steps.len() - 1).unwrap_or(u16::MAX))
        }
        Tree::Not(inner) => emit(steps, inner, no, yes),
        Tree::All(all) => all.iter().rev().fold(yes, |yes, tree| emit(steps, tree, yes, no)),
        Tree::Any(any) => any.iter().rev().fold(no, |no, tree| emit(steps, tree, yes, no)),
    }
}

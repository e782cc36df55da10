// SPDX-License-Identifier: BSD-2-Clause
//! Fourth layer, stages: what happens to a packet on its way. No stage knows another; `tunnel` wires them.

pub mod allow;
pub mod clamp;
pub mod classify;
pub mod ecn;
pub mod filter;
pub mod ingress;
pub mod open;
pub mod reorder;
pub mod schedule;
pub mod seal;
pub mod too_big;

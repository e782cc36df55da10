// SPDX-License-Identifier: BSD-2-Clause
//! What the program `bondbench` is made of: links, systems that bond them, one measurement, and how many are told.
//!
//! ```text
//! options -> plan (scenario, system, flows, direction) -> measure, in a process of its own -> figures -> report, chart
//! ```

pub mod chart;
pub mod course;
pub mod daemons;
pub mod measure;
pub mod options;
pub mod plan;
pub mod report;
pub mod rivals;
pub mod scenario;
pub mod spread;
pub mod system;
pub mod wire;

// SPDX-License-Identifier: BSD-2-Clause
//! Parts of the core against naive models, on random input. A failure prints its shortest input.

mod header;
mod pool;
mod reorder;
mod replay;
mod schedule;
mod uci;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A runner whose input is the same in every run, so that a test does not pass today and fail tomorrow.
/// `MLVPN_PROPERTY_SEED=n` tries other input.
fn runner(cases: u32) -> TestRunner {
    let seed: u64 = std::env::var("MLVPN_PROPERTY_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

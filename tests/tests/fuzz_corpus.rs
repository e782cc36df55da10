// SPDX-License-Identifier: BSD-2-Clause
//! What the fuzz targets do, on stable: over the committed corpus, and over random input.

use std::path::Path;

use mlvpn_tests::fuzz::TARGETS;
use mlvpn_tests::random::Random;

#[test]
fn the_committed_corpus_passes() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

#[test]
fn random_input_passes() {
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let len = random.below(500) as usize;
        let data = random.bytes(len);
        for (name, target) in TARGETS {
            let result = std::panic::catch_unwind(|| target(&data));
            assert!(result.is_ok(), "{name} fails with the {len} bytes of seed {seed}");
        }
    }
}

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

/// A folder without a target is replayed by nobody, and so is a target that only one of the two lists has.
#[test]
fn every_target_has_a_corpus_and_a_program_and_there_are_no_others() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    for folder in ["corpus", "fuzz_targets"] {
        let entries = std::fs::read_dir(fuzz.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, known, "{folder}");
    }
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut programs: Vec<&str> =
        manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    programs.sort_unstable();
    assert_eq!(programs, known, "Cargo.toml");
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

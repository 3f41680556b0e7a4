//! All targets with their corpus, and with inputs that are made of it: a part of what the fuzzer does,
//! on any machine.
#![cfg(test)]

use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use herald_fuzz::{Mutator, TARGETS, Target};

/// Inputs for each target. `HERALD_FUZZ_RUNS` asks for another number.
const RUNS: u64 = 20_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(target.name);
    let files = fs::read_dir(&folder).expect("a corpus");
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    // The order of a directory is another on each machine.
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Says by which input a target failed: as a file of the corpus it fails again.
fn check(target: &Target, input: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let hex = input.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        panic!("{} fails by {origin}: {hex}", target.name);
    }
}

#[test]
fn no_input_of_the_corpus_nor_one_made_of_it_makes_a_target_fail() {
    let runs = std::env::var("HERALD_FUZZ_RUNS");
    let runs: u64 = runs.map_or(RUNS, |runs| runs.parse().expect("a number"));
    for target in &TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() >= 3, "{} has hardly a corpus", target.name);
        for (number, input) in corpus.iter().enumerate() {
            check(target, input, &format!("file {number} of its corpus"));
        }
        let mut mutator = Mutator::new(corpus, 1);
        for run in 0..runs {
            check(target, &mutator.next_input(), &format!("run {run}"));
        }
    }
}

#[test]
fn each_target_has_a_program_for_the_fuzzer_and_each_program_a_target() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let programs = fs::read_dir(folder().join("fuzz_targets")).unwrap();
    assert_eq!(programs.count(), TARGETS.len());
    for target in &TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        let program = fs::read_to_string(folder().join(&path)).unwrap();
        assert!(program.contains(&format!("{:?}", target.name)), "{path}");
        assert!(manifest.contains(&format!("path = {path:?}")), "{path}");
    }
}

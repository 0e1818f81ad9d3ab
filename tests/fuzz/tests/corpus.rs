//! Every input that was ever worth keeping, through its target again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails so")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// No single input takes this long, even unoptimised beside a build; under a checker of memory it may.
fn patience() -> Duration {
    let told = std::env::var("FUZZ_PATIENCE_SECONDS").ok().and_then(|it| it.parse().ok());
    Duration::from_secs(told.unwrap_or(20))
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_target_has_inputs_and_every_folder_a_target() {
    let targets: BTreeSet<String> = fuzz::TARGETS.iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(targets, names(&corpus()));
    for target in &targets {
        assert!(!names(&corpus().join(target)).is_empty(), "{target} has no input");
    }
}

#[test]
fn every_input_is_borne() {
    let mut count = 0;
    for target in fuzz::TARGETS {
        let folder = corpus().join(target.name);
        for name in names(&folder) {
            let bytes = fs::read(folder.join(&name)).unwrap();
            let begun = Instant::now();
            // The name is printed only where the target panics: tests' output is kept till then.
            println!("{}/{name}", target.name);
            (target.run)(&bytes);
            (target.run)(&[]);
            assert!(
                begun.elapsed() < patience(),
                "{}/{name} takes {:?}",
                target.name,
                begun.elapsed()
            );
            count += 1;
        }
    }
    assert!(count >= fuzz::TARGETS.len(), "{count} inputs were rerun");
}

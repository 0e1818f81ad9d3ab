//! The writable disk, as who is inside sees it, and what it takes outside.

use crate::cases;
use crate::harness::{World, leftovers};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

cases! {
    Both: it_has_the_size_that_was_asked_for, a_small_one_is_full_when_it_is, what_is_deleted_is_given_back;
    Guest: memory_takes_its_place, memory_takes_its_place_with_ids_of_its_own;
}

const BIG: &str = "dd if=/dev/zero of=/big bs=1M count=48 2> /dev/null; sync";

fn it_has_the_size_that_was_asked_for(world: &World) {
    // Blocks of 1024 bytes; the journal and the inodes have their part.
    let ask = "df -k / | tail -n 1 | { read of blocks used free rest; echo $blocks $free; }";
    let sizes = |flags: &[&str]| -> Vec<u64> {
        let output = world.sh(flags, ask);
        output.exits(0).text().split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    for (flags, kib) in [(&["--disk-size", "3g"][..], 3 << 20), (&[], 100 << 20)] {
        let seen = sizes(flags);
        let least = kib - kib / 50 - (64 << 10);
        assert!(seen.iter().all(|size| (least..=kib).contains(size)), "{flags:?}: {seen:?}");
    }
}

/// What is not there cannot be taken, and what was written before is whole.
fn a_small_one_is_full_when_it_is(world: &World) {
    let script = "echo first > /first; sync; dd if=/dev/zero of=/big bs=1M count=48; cat /first; \
                  rm /big; dd if=/dev/zero of=/small bs=1M count=4 2> /dev/null && echo room again";
    let output = world.sh(&["--disk-size", "32m"], script);
    output.prints("first\nroom again");
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
}

fn what_is_deleted_is_given_back(world: &World) {
    let taken_by = |script: &str| {
        let state = world.fresh_state();
        world.sandbox().state(&state).kept().sh(script).exits(0);
        let disk = |path: &Path| path.file_name().is_some_and(|name| name == "upper.ext4");
        let files = leftovers::files(&state).into_iter().map(|name| state.join(name));
        let disk = files.into_iter().find(|path| disk(path)).expect("a disk is kept");
        disk.metadata().unwrap().blocks() * 512
    };
    let kept = taken_by(BIG);
    assert!(kept >= 48 << 20, "{kept}");
    let deleted = taken_by(&format!("{BIG}; rm /big; sync"));
    assert!(deleted < 16 << 20, "{deleted}, of {kept}");
}

/// Writes go there, up to the size, and none of them is to be found outside.
fn memory_takes_its_place(world: &World) {
    let script = "echo first > /first; dd if=/dev/zero of=/big bs=1M count=48; cat /first; \
                  df -k / | tail -n 1 | { read of blocks rest; echo $blocks; }; rm /big; echo x > /bin/new && echo $(cat /bin/new)";
    let state = world.fresh_state();
    let run =
        world.sandbox().state(&state).kept().flags(&["--storage", "memory", "--disk-size", "16m"]);
    let output = run.sh(script);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    assert!(output.text().starts_with("first\n16384\nx"), "{}", output.text());
    let files = leftovers::files(&state).into_iter().map(|name| state.join(name));
    let disk = files.filter(|path| path.file_name().is_some_and(|name| name == "upper.ext4"));
    let bytes: u64 = disk.map(|path| path.metadata().unwrap().blocks() * 512).sum();
    assert!(bytes < 1 << 20, "{bytes}");
    // Half of 256 MiB, of which the kernel has kept some.
    let half = world.sh(
        &["--storage", "memory"],
        "df -k / | tail -n 1 | { read of blocks rest; echo $blocks; }",
    );
    let half: u64 = half.exits(0).text().trim().parse().unwrap();
    assert!((90 << 10..=128 << 10).contains(&half), "{half}");
}

fn memory_takes_its_place_with_ids_of_its_own(world: &World) {
    let script =
        "echo own > /file && stat -c %u:%g /file && chown 5:6 /file && stat -c %u:%g /file";
    world.sh(&["--storage", "memory", "--userns", "-v", "/beside"], script).prints("0:0\n5:6");
}

//! What is appended is found again; and no trailer, whoever wrote it, leads outside the file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "how a test fails")]

use payload::{Part, Payload, PayloadError, append};
use proptest::prelude::*;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

fn appended(binary: &[u8], parts: [&[u8]; 2]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let [mut kernel, mut initramfs] = parts;
    append(binary, [&mut kernel, &mut initramfs], &mut file).unwrap();
    file
}

fn read(file: &File, part: Part) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(part.length).unwrap()];
    file.read_exact_at(&mut bytes, part.offset).unwrap();
    bytes
}

/// A file that ends in a trailer of these words, after `before` bytes.
fn with_trailer(before: u64, words: [u64; 8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.set_len(before).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    let mut trailer: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    trailer.resize(128, 0);
    file.write_all(&trailer).unwrap();
    file
}

const MAGIC: u64 = u64::from_le_bytes(*b"COFFRDAM");
const VERSION: u64 = 2;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_come_back(
        binary in prop::collection::vec(any::<u8>(), 0..9000),
        kernel in prop::collection::vec(any::<u8>(), 0..9000),
        initramfs in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        let file = appended(&binary, [&kernel, &initramfs]);
        let found = Payload::locate(&file).unwrap();
        for (part, bytes) in [(found.kernel, &kernel), (found.initramfs, &initramfs)] {
            prop_assert_eq!(part.offset % 4096, 0);
            prop_assert_eq!(&read(&file, part), bytes);
        }
        let whole = Part { offset: 0, length: binary.len() as u64 };
        prop_assert_eq!(read(&file, whole), binary);
    }

    #[test]
    fn no_trailer_leads_outside_the_file(before in 0u64..20_000, words in any::<[u64; 6]>()) {
        let [a, b, c, d, e, f] = words;
        let file = with_trailer(before, [MAGIC, VERSION, a, b, c, d, e, f]);
        if let Ok(found) = Payload::locate(&file) {
            for part in [found.kernel, found.initramfs] {
                prop_assert!(part.offset.checked_add(part.length).is_some_and(|end| end <= before));
            }
        }
    }
}

#[test]
fn a_binary_with_nothing_appended_says_so() {
    for length in [0, 127, 128, 5000] {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        assert!(matches!(Payload::locate(&file), Err(PayloadError::Absent)), "{length}");
    }
}

#[test]
fn another_version_is_named() {
    let file = with_trailer(0, [MAGIC, 7, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(Payload::locate(&file), Err(PayloadError::Version(7))));
}

#[test]
fn parts_at_the_edges_are_told_from_those_beyond() {
    let whole = with_trailer(100, [MAGIC, VERSION, 0, 100, 100, 0, 0, 0]);
    assert_eq!(Payload::locate(&whole).unwrap().kernel, Part { offset: 0, length: 100 });
    for (words, which) in [
        ([MAGIC, VERSION, 0, 101, 0, 0, 0, 0], 0),
        ([MAGIC, VERSION, 0, 0, 101, 0, 0, 0], 1),
        ([MAGIC, VERSION, 0, 0, u64::MAX, 2, 0, 0], 1),
        ([MAGIC, VERSION, 1, u64::MAX, 0, 0, 0, 0], 0),
    ] {
        let refused = Payload::locate(&with_trailer(100, words));
        assert!(
            matches!(refused, Err(PayloadError::OutOfBounds { index, .. }) if index == which),
            "{words:?}: {refused:?}"
        );
    }
}

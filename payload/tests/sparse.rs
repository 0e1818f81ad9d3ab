//! A sparse file comes back as it was, holes and all; and what nobody encoded is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "how a test fails")]

use payload::sparse::{decode, encode};
use proptest::prelude::*;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};

const MIB: u64 = 1 << 20;

/// A file of this size with these bytes at these places.
fn file(size: u64, stretches: &[(u64, Vec<u8>)]) -> File {
    let file = tempfile::tempfile().unwrap();
    for (offset, bytes) in stretches {
        file.write_all_at(bytes, *offset).unwrap();
    }
    file.set_len(size).unwrap();
    file
}

fn encoded(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(file, &mut bytes).unwrap();
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_comes_back(
        size in 0u64..600_000,
        stretches in prop::collection::vec((0u64..550_000, prop::collection::vec(any::<u8>(), 1..9000)), 0..6),
    ) {
        let original = file(size, &stretches);
        let copy = tempfile::tempfile().unwrap();
        prop_assert_eq!(decode(&encoded(&original)[..], &copy).unwrap(), size);
        prop_assert!(contents(&original) == contents(&copy));
    }

    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // The size is the first word: a small one, lest the file system mind.
        let bytes = [&words(&[4096])[..], &bytes].concat();
        let _ = decode(&bytes[..], &tempfile::tempfile().unwrap());
    }
}

/// A hundred GiB of which next to nothing is there, as a template is.
#[test]
fn holes_cost_nothing() {
    let size = 100 * 1024 * MIB;
    let stretches =
        [(0, vec![1; 5000]), (50 * 1024 * MIB + 3, vec![2; 10]), (size - 4096, vec![3; 4096])];
    let original = file(size, &stretches);
    let bytes = encoded(&original);
    assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
    let copy = tempfile::tempfile().unwrap();
    assert_eq!(decode(&bytes[..], &copy).unwrap(), size);
    assert_eq!(copy.metadata().unwrap().len(), size);
    assert!(copy.metadata().unwrap().blocks() * 512 < MIB);
    for (offset, expected) in stretches {
        let mut found = vec![0; expected.len()];
        copy.read_exact_at(&mut found, offset).unwrap();
        assert_eq!(found, expected);
    }
}

#[test]
fn zeroes_that_were_written_are_holes_again() {
    let original = file(4 * MIB, &[(0, vec![0; 4 << 20]), (MIB, vec![7])]);
    let bytes = encoded(&original);
    assert_eq!(bytes.len(), 16 + 16 + 4096);
}

#[test]
fn a_file_that_cannot_be_looked_through_is_an_error() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(reader));
    assert_eq!(encode(&pipe, &mut Vec::new()).unwrap_err().kind(), ErrorKind::NotSeekable);
}

/// What would not be decoded is not encoded.
#[test]
fn too_many_stretches_are_refused() {
    const MOST: u64 = 1 << 16;
    let original = tempfile::tempfile().unwrap();
    for stretch in 0..=MOST {
        original.write_all_at(&[1], stretch * 8192).unwrap();
    }
    let error = encode(&original, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    original.set_len(MOST * 8192).unwrap();
    encode(&original, &mut std::io::sink()).unwrap();
}

#[test]
fn what_cannot_have_been_encoded_is_refused() {
    let refused = |bytes: &[u8]| {
        let file = tempfile::tempfile().unwrap();
        let kind = decode(bytes, &file).unwrap_err().kind();
        // Nothing has been made of it yet.
        (kind, file.metadata().unwrap().len())
    };
    assert_eq!(refused(&words(&[MIB, u64::MAX])), (ErrorKind::InvalidData, 0));
    assert_eq!(refused(&words(&[MIB, 1, 0, MIB + 1])), (ErrorKind::InvalidData, 0));
    assert_eq!(refused(&words(&[MIB, 1, u64::MAX, 2])), (ErrorKind::InvalidData, 0));
    assert_eq!(refused(&words(&[MIB])), (ErrorKind::UnexpectedEof, 0));
    assert_eq!(refused(&words(&[MIB, 2, 0, 1])), (ErrorKind::UnexpectedEof, 0));
    // The bytes of the stretch itself are not there.
    assert_eq!(refused(&words(&[MIB, 1, 0, 4096])).0, ErrorKind::UnexpectedEof);
}

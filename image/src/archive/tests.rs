use super::{ArchiveError, Extent, Index};
use crate::layer::TarError;
use crate::layer::tests::Archive;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use tar::EntryType;

fn index(bytes: &[u8]) -> (File, Result<Index, ArchiveError>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let index = Index::read(&file);
    (file, index)
}

fn content(file: &File, extent: Extent) -> Vec<u8> {
    let mut bytes = vec![0; extent.length.try_into().unwrap()];
    file.read_exact_at(&mut bytes, extent.offset).unwrap();
    bytes
}

#[test]
fn files_are_found_where_they_lie() {
    let (file, index) = index(
        &Archive::new()
            .directory("blobs/")
            .file("./blobs/large", &[7; 100_000])
            .file("small", b"content")
            .symlink("blobs/link", "../x/../small")
            .hard_link("hard", "blobs/link")
            .symlink("circle", "circle")
            .symlink("out", "../small")
            .entry(EntryType::Fifo, "pipe", "", b"")
            .file("../small", b"not this")
            .bytes(),
    );
    let index = index.unwrap();
    for name in ["small", "./small", "/small", "blobs/link", "hard"] {
        assert_eq!(content(&file, index.find(name).unwrap()), b"content", "{name}");
    }
    assert_eq!(content(&file, index.find("blobs/large").unwrap()), [7; 100_000]);
    for name in ["circle", "out", "pipe", "blobs"] {
        assert!(matches!(index.find(name), Err(ArchiveError::NotAFile(_))), "{name}");
    }
    for name in ["none", "", "../small", "blobs/../small"] {
        assert!(matches!(index.find(name), Err(ArchiveError::Missing(_))), "{name}");
    }
}

#[test]
fn the_last_of_a_name_counts() {
    let (file, index) = index(&Archive::new().file("a", b"one").file("a", b"two").bytes());
    assert_eq!(content(&file, index.unwrap().find("a").unwrap()), b"two");
}

#[test]
fn what_is_no_archive() {
    let error = |bytes: &[u8]| index(bytes).1.unwrap_err();
    assert!(matches!(error(&[0x1f, 0x8b, 8, 0]), ArchiveError::Compressed));
    assert!(matches!(error(b"\xfd7zXZ\0"), ArchiveError::Compressed));
    assert!(matches!(error(&[b'x'; 700]), ArchiveError::Tar(TarError::Checksum { .. })));
    // Data that is not there is noticed, although it is not read.
    let mut cut = Archive::new().file("a", &[1; 100_000]).bytes();
    cut.truncate(50_000);
    assert!(matches!(error(&cut), ArchiveError::Tar(TarError::Truncated { .. })));
}

#[test]
fn names_are_limited() {
    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..=super::MAX_ENTRIES {
        let mut header = tar::Header::new_gnu();
        header.set_path(number.to_string()).unwrap();
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, &b""[..]).unwrap();
    }
    let error = index(&archive.into_inner().unwrap()).1.unwrap_err();
    assert!(matches!(error, ArchiveError::TooMany));
}

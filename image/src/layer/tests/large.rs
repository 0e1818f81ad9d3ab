//! Files and images over 4 GiB, of which next to nothing is there.

use super::readback::fsck_file;
use super::{Algorithm, Archive, Limits};
use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use rustix::fs::SeekFrom;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

const SIZE: u64 = 1 << 40;
/// A file of that size is kept in pieces of this one.
const PIECE: u64 = SIZE >> 16;
const COUNT: u64 = 300;

/// The bytes of a file, without the pages of its holes.
fn load(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap();
        let [from, to] = [data, at].map(|offset| usize::try_from(offset).unwrap());
        file.read_exact_at(&mut bytes[from..to], data).unwrap();
    }
    bytes
}

#[test]
fn blocks_beyond_four_gib() {
    let at = |number: u64| number * 7 * PIECE + 5;
    let map: Vec<String> = (0..COUNT).map(|number| format!("{},1", at(number))).collect();
    let (size, map) = (SIZE.to_string(), map.join(","));
    let data: Vec<u8> = (0..COUNT).map(|number| u8::try_from(number % 250 + 1).unwrap()).collect();
    let after: Vec<u8> = (0u8..251).cycle().take(10_000).collect();
    let layer = Archive::new()
        .pax(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())])
        .file("sparse", &data)
        .file("after", &after)
        .bytes();
    let image = tempfile::NamedTempFile::new().unwrap();
    let limits = Limits::default();
    let report =
        crate::layer::unpack_stream(layer.as_slice(), image.as_file(), Algorithm::Sha256, &limits);
    assert!(report.unwrap().image_bytes > (1 << 32) + (1 << 28));
    fsck_file(image.path());

    let bytes = load(image.as_file());
    let fs = EroFS::new(SliceImage::new(&bytes)).unwrap();
    let mut found = Vec::new();
    fs.open("/after").unwrap().read_to_end(&mut found).unwrap();
    assert!(found == after);
    let sparse = fs.open("/sparse").unwrap();
    assert_eq!(sparse.size(), usize::try_from(SIZE).unwrap() as u64);
    for number in 0..COUNT {
        let mut three = [9; 3];
        assert_eq!(sparse.read_at(&mut three, at(number) - 1).unwrap(), 3);
        assert_eq!(three, [0, data[usize::try_from(number).unwrap()], 0], "{number}");
    }
}

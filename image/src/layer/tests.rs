//! Layers made by hand, read back from their images with a reader that is not ours.

mod costs;
mod gnu_tar;
mod hostile;
mod large;
mod merge;
mod random;
mod readback;
mod recipe;

use super::{Algorithm, EntryError, Limited, Limits, TarError, UnpackError, UnpackReport};
use crate::digest::{Digest, HashingReader};
use readback::{Seen, fsck, read_image};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use tar::{Builder, EntryType, Header};

/// Unpacks bytes in memory.
pub(crate) fn unpack_bytes(layer: &[u8]) -> Result<(UnpackReport, Vec<u8>), UnpackError> {
    unpack_within(layer, &Limits::default())
}

fn unpack_within(layer: &[u8], limits: &Limits) -> Result<(UnpackReport, Vec<u8>), UnpackError> {
    let mut image = Cursor::new(Vec::new());
    let report = super::unpack_stream(layer, &mut image, Algorithm::Sha256, limits)?;
    let image = image.into_inner();
    assert_eq!(made_again(&image), Ok(report.diff_id.clone()));
    Ok((report, image))
}

/// The digest of the archive that is made of an image.
fn made_again(image: &[u8]) -> Result<Digest, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(image).unwrap();
    let archive = super::Archive::of(&file, image.len() as u64).map_err(|it| it.to_string())?;
    let expected = archive.len();
    let mut hashing = HashingReader::new(archive, Algorithm::Sha256);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|it| it.to_string())?;
    let (digest, length) = hashing.finish();
    assert_eq!(length, expected);
    Ok(digest)
}

/// An archive in the making.
pub(crate) struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn header(kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_700_000_000);
        header
    }

    /// An entry with a name as it is, however odd; 100 bytes at most.
    pub(crate) fn entry(mut self, kind: EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        let mode = if kind == EntryType::Directory { 0o750 } else { 0o640 };
        let mut header = Self::header(kind, mode, data.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, "", data)
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    fn device(mut self, kind: EntryType, path: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(kind, 0o600, 0);
        header.set_path(path).unwrap();
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn seen(self) -> BTreeMap<Vec<u8>, Seen> {
        let (_, image) = unpack_bytes(&self.bytes()).unwrap();
        fsck(&image);
        read_image(&image)
    }

    fn error(self) -> UnpackError {
        unpack_bytes(&self.bytes()).map(|(report, _)| report).unwrap_err()
    }
}

fn names(seen: &BTreeMap<Vec<u8>, Seen>) -> Vec<&str> {
    seen.keys().map(|name| std::str::from_utf8(name).unwrap()).collect()
}

fn entry_error(archive: Archive) -> EntryError {
    match archive.error() {
        UnpackError::Entry { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_entry() {
    let seen = Archive::new()
        .directory("./")
        .directory("dir/")
        .file("dir/file", b"content")
        .file("dir/empty", b"")
        .symlink("link", "dir/file")
        .hard_link("other", "dir/file")
        .device(EntryType::Char, "char", 5, 1)
        .device(EntryType::Block, "block", 259, 70_000)
        .entry(EntryType::Fifo, "fifo", "", b"")
        .seen();
    assert_eq!(
        names(&seen),
        ["", "block", "char", "dir", "dir/empty", "dir/file", "fifo", "link", "other"]
    );
    let root = &seen[&b""[..]];
    assert_eq!((root.kind, root.mode, root.links), ('d', 0o750, 3));
    let file = &seen[&b"dir/file"[..]];
    assert_eq!(
        (file.kind, file.mode, file.links, &file.content[..]),
        ('f', 0o640, 2, &b"content"[..])
    );
    assert_eq!((file.uid, file.gid, file.mtime), (7, 8, (1_700_000_000, 0)));
    assert_eq!(seen[&b"other"[..]].inode, file.inode);
    assert_eq!(seen[&b"link"[..]].content, b"dir/file");
    assert_eq!((seen[&b"char"[..]].kind, seen[&b"char"[..]].device), ('c', Some((5, 1))));
    assert_eq!((seen[&b"block"[..]].kind, seen[&b"block"[..]].device), ('b', Some((259, 70_000))));
    assert_eq!(seen[&b"fifo"[..]].kind, 'p');
    assert_eq!(seen[&b"dir/empty"[..]].content, b"");
}

#[test]
fn sizes_around_blocks_and_tails() {
    let sizes = [1, 2047, 2048, 2049, 4095, 4096, 4097, 6144, 6145, 8192, 300_000];
    let content = |size: usize| (0u8..251).cycle().take(size).collect::<Vec<u8>>();
    let mut archive = Archive::new();
    for size in sizes {
        archive = archive.file(&size.to_string(), &content(size));
    }
    let seen = archive.seen();
    for size in sizes {
        assert_eq!(seen[size.to_string().as_bytes()].content, content(size), "{size}");
    }
}

#[test]
fn attributes_of_pax_headers() {
    let value = b"\x01\0\0\x02 binary\nwith=lines\n12 a=b\n";
    let long = "n".repeat(255);
    let seen = Archive::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"4000000000"),
            ("gid", b"3000000"),
            ("mtime", b"1700000001.123456789012"),
            ("SCHILY.xattr.security.capability", value),
            ("SCHILY.xattr.user.name", b""),
            ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/elsewhere"),
            ("SCHILY.xattr.com.apple.quarantine", b"x"),
            ("comment", b"of no meaning"),
        ])
        .file("short", b"content")
        .pax(&[("mtime", b"-1.25"), ("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .directory("opaque")
        .seen();
    let file = &seen[long.as_bytes()];
    assert_eq!(
        (file.uid, file.gid, file.mtime),
        (4_000_000_000, 3_000_000, (1_700_000_001, 123_456_789))
    );
    let xattrs: Vec<(&[u8], &[u8])> = file.xattrs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert_eq!(
        xattrs,
        [
            (&b"security.capability"[..], &value[..]),
            (b"system.posix_acl_access", b"\x02\0\0\0"),
            (b"user.name", b""),
        ]
    );
    let opaque = &seen[&b"opaque"[..]];
    assert_eq!(opaque.mtime, (-2, 750_000_000));
    assert_eq!(opaque.xattrs[&b"trusted.overlay.opaque"[..]], b"y");
}

#[test]
fn whiteouts_become_overlayfs() {
    let seen = Archive::new()
        .file("a/.wh.idle", b"")
        .file("a/.wh..wh..opq", b"")
        .device(EntryType::Char, "a/null", 0, 0)
        .file("b/.wh.gone", b"")
        .file(".wh..wh.plnk/1.2", b"")
        // Whiteouts hide lower layers only, before and after.
        .file(".wh.file", b"")
        .file("file", b"here")
        .file("late", b"here")
        .file(".wh.late", b"")
        .file(".wh.dir", b"")
        .file("dir/in", b"here")
        .file(".wh.named", b"")
        .directory("named")
        .seen();
    assert_eq!(names(&seen), ["", "a", "b", "b/gone", "dir", "dir/in", "file", "late", "named"]);
    let gone = &seen[&b"b/gone"[..]];
    assert_eq!((gone.kind, gone.device, gone.mode), ('c', Some((0, 0)), 0));
    for opaque in ["a", "dir", "named"] {
        assert_eq!(seen[opaque.as_bytes()].xattrs[&b"trusted.overlay.opaque"[..]], b"y");
    }
    assert_eq!(seen[&b"late"[..]].content, b"here");
    assert!(seen[&b"b"[..]].xattrs.is_empty());
    for bad in [".wh.", "a/.wh..", "a/.wh...", ".wh.a/b"] {
        assert_eq!(entry_error(Archive::new().file(bad, b"")), EntryError::Whiteout, "{bad}");
    }
}

#[test]
fn whiteouts_at_the_root() {
    let gone = Archive::new().file(".wh.gone", b"").file("kept", b"").seen();
    assert_eq!(names(&gone), ["", "gone", "kept"]);
    assert_eq!((gone[&b"gone"[..]].kind, gone[&b"gone"[..]].device), ('c', Some((0, 0))));
    // An opaque root hides nothing, so that the whiteouts in it still do.
    let opaque = Archive::new().file(".wh..wh..opq", b"").file(".wh.gone", b"").seen();
    assert_eq!(names(&opaque), ["", "gone"]);
}

#[test]
fn a_directory_in_the_place_of_a_file_hides_nothing() {
    let opaque = |archive: Archive| {
        let seen = archive.file("a/in", b"").seen();
        assert_eq!(names(&seen), ["", "a", "a/in"]);
        seen[&b"a"[..]].xattrs.contains_key(&b"trusted.overlay.opaque"[..])
    };
    let file = || Archive::new().file("a", b"");
    assert!(!opaque(file().directory("a")));
    assert!(!opaque(Archive::new().symlink("a", "b").directory("a")));
    assert!(!opaque(Archive::new().file(".wh.a", b"").file("a", b"").directory("a")));
    assert!(opaque(Archive::new().file(".wh.a", b"").directory("a")));
    assert!(opaque(file().directory("a").file(".wh.a", b"")));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let seen = Archive::new()
        .file("a", b"one")
        .file("a", b"two")
        .file("dir/kept", b"")
        .directory("dir")
        .file("tree/below/file", b"")
        .hard_link("survivor", "tree/below/file")
        .file("tree", b"a file now")
        .file("b", b"")
        .directory("b")
        .seen();
    assert_eq!(names(&seen), ["", "a", "b", "dir", "dir/kept", "survivor", "tree"]);
    assert_eq!(seen[&b"a"[..]].content, b"two");
    assert_eq!((seen[&b"dir"[..]].mode, seen[&b"b"[..]].kind), (0o750, 'd'));
    assert_eq!(seen[&b"survivor"[..]].links, 1);
}

#[test]
fn implied_directories_are_roots() {
    let seen = Archive::new().file("a/b/c", b"").directory("a").seen();
    assert_eq!(seen[&b"a"[..]].mode, 0o750);
    let implied = &seen[&b"a/b"[..]];
    assert_eq!((implied.mode, implied.uid, implied.mtime), (0o755, 0, (0, 0)));
}

#[test]
fn hard_links_stay_within_a_layer() {
    let missing = Archive::new().file("a", b"").hard_link("b", "lower");
    assert_eq!(entry_error(missing), EntryError::LinkTargetMissing);
    let hidden = Archive::new().file(".wh.a", b"").hard_link("b", "a");
    assert_eq!(entry_error(hidden), EntryError::LinkTargetMissing);
    let directory = Archive::new().directory("a").hard_link("b", "a");
    assert_eq!(entry_error(directory), EntryError::LinkToDirectory);
    let own = Archive::new().file("a", b"x").hard_link("a", "./a").seen();
    assert_eq!((own[&b"a"[..]].links, &own[&b"a"[..]].content[..]), (1, &b"x"[..]));
}

#[test]
fn links_on_the_way_lead_within_the_root() {
    let seen = Archive::new()
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("up", "../../../usr/./lib")
        .symlink("absolute", "/made/here")
        .file("lib/one", b"1")
        .file("up/two", b"2")
        .file("absolute/three", b"3")
        .hard_link("four", "lib/one")
        .seen();
    for (path, content) in [("usr/lib/one", b"1"), ("usr/lib/two", b"2"), ("made/here/three", b"3")]
    {
        assert_eq!(seen[path.as_bytes()].content, content, "{path}");
    }
    assert_eq!(seen[&b"four"[..]].inode, seen[&b"usr/lib/one"[..]].inode);
    let circle = Archive::new().symlink("a", "b").symlink("b", "a").file("a/x", b"");
    assert_eq!(entry_error(circle), EntryError::TooManyLinks);
    let file = Archive::new().file("a", b"").file("a/b", b"");
    assert_eq!(entry_error(file), EntryError::NotADirectory);
}

#[test]
fn the_same_archive_gives_the_same_image() {
    let layer = Archive::new().file("b", &[1; 5000]).file("a", b"x").directory("c").bytes();
    let (report, image) = unpack_bytes(&layer).unwrap();
    assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &layer));
    assert_eq!(report.image_bytes, image.len() as u64);
    assert!(image.len().is_multiple_of(4096));
    assert_eq!(unpack_bytes(&layer).unwrap(), (report, image));
}

#[test]
fn a_file_system_that_ends_in_zeroes_is_whole() {
    let layer = Archive::new().pax(&[("SCHILY.xattr.user.zeroes", &[0; 20_000])]).file("a", b"");
    let (report, image) = unpack_bytes(&layer.bytes()).unwrap();
    assert_eq!(report.image_bytes, image.len() as u64);
    fsck(&image);
}

#[test]
fn the_last_inode_may_end_a_block() {
    for count in 20..130 {
        let archive = (0..count)
            .fold(Archive::new(), |all, n| all.entry(EntryType::Fifo, &n.to_string(), "", b""));
        assert_eq!(archive.seen().len(), count + 1);
    }
}

#[test]
fn all_compressions_give_the_same() {
    let layer = Archive::new().file("a", &[42; 300_000]).bytes();
    let plain = unpack_bytes(&layer).unwrap();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let (first, second) = layer.split_at(100_001);
    let skippable: &[u8] = &[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    assert_eq!(unpack_bytes(&gzip(&layer)).unwrap(), plain);
    assert_eq!(unpack_bytes(&[gzip(first), gzip(second)].concat()).unwrap(), plain);
    assert_eq!(unpack_bytes(&zstd(&layer)).unwrap(), plain);
    let frames = [&zstd(first), skippable, &zstd(second), skippable].concat();
    assert_eq!(unpack_bytes(&frames).unwrap(), plain);

    for mut cut in [gzip(&layer), zstd(&layer), frames] {
        cut.truncate(cut.len() - 2);
        let error = unpack_bytes(&cut).unwrap_err();
        assert!(matches!(error, UnpackError::Tar(TarError::Read(_))), "{error:?}");
    }
    let mut wrong_sum = zstd(&layer);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let error = unpack_bytes(&wrong_sum).unwrap_err();
    assert!(matches!(error, UnpackError::Tar(TarError::Read(_))), "{error:?}");
    assert_eq!(unpack_bytes(b"BZh91AY&SY").unwrap_err(), UnpackError::Compression);
}

#[test]
fn limits_hold() {
    let layer = Archive::new().file("a/b/c", &[1; 9000]).file("d", b"").bytes();
    let mut limits = Limits::default();
    let limited = |limits: &Limits| match unpack_within(&layer, limits) {
        Err(UnpackError::Limit { what, .. }) => Some(what),
        other => panic!("{other:?}"),
    };
    limits.entries = 4;
    assert_eq!(limited(&limits), Some(Limited::Entries));
    limits = Limits { archive_bytes: layer.len() as u64 - 1, ..Limits::default() };
    assert_eq!(limited(&limits), Some(Limited::ArchiveBytes));
    limits = Limits { image_bytes: 4096 * 3, ..Limits::default() };
    assert_eq!(limited(&limits), Some(Limited::ImageBytes));
    limits = Limits { metadata_bytes: 200, ..Limits::default() };
    assert_eq!(limited(&limits), Some(Limited::MetadataBytes));
    limits = Limits { entries: 5, archive_bytes: layer.len() as u64, ..Limits::default() };
    unpack_within(&layer, &limits).unwrap();
}

#[test]
fn an_empty_archive_is_an_empty_root() {
    for layer in [&b""[..], &[0; 1024], &[0; 512]] {
        let (_, image) = unpack_bytes(layer).unwrap();
        fsck(&image);
        assert_eq!(names(&read_image(&image)), [""]);
    }
}

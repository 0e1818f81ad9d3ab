//! Reads images back with the crate erofs-rs, and has erofs-utils look at them.

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// One name of an image, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: char,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) mtime: (i64, u32),
    pub(super) device: Option<(u32, u32)>,
    /// A file's bytes, or a link's target.
    pub(super) content: Vec<u8>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) inode: u64,
}

/// All that is in an image, by path; the root's is empty.
pub(super) fn read_image(image: &[u8]) -> BTreeMap<Vec<u8>, Seen> {
    let fs = EroFS::new(SliceImage::new(image)).unwrap();
    let root = fs.get_inode(fs.super_block().root_inode_id()).unwrap();
    let mut seen = BTreeMap::from([(Vec::new(), see(&fs, root))]);
    for entry in fs.walk_dir("/").unwrap() {
        let entry = entry.unwrap();
        let path = entry.dir_entry.path();
        let path = path.as_bytes().strip_prefix(b"/").unwrap().to_vec();
        if !path.ends_with(b"/.") && !path.ends_with(b"/..") && path != b"." && path != b".." {
            assert!(seen.insert(path, see(&fs, entry.inode)).is_none());
        }
    }
    seen
}

fn see(fs: &EroFS<SliceImage<'_>>, inode: Inode) -> Seen {
    use rustix::fs::FileType;
    let kind = match inode.file_type() {
        FileType::RegularFile => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        other => panic!("{other:?}"),
    };
    let mut content = Vec::new();
    match kind {
        'f' => {
            fs.open_inode_file(inode).unwrap().read_to_end(&mut content).unwrap();
        }
        'l' => content = fs.read_link_inode(inode).unwrap().into_vec(),
        _ => {}
    }
    Seen {
        kind,
        mode: inode.permissions().mode() & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        links: inode.nlink(),
        mtime: inode.modified_unix(),
        device: inode.device(),
        content,
        xattrs: fs.xattrs_inode(inode).unwrap(),
        inode: inode.id(),
    }
}

/// Has `fsck.erofs` check an image (Debian's package erofs-utils).
pub(super) fn fsck(image: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(image).unwrap();
    fsck_file(file.path());
}

/// The same of an image in a file.
pub(super) fn fsck_file(image: &Path) {
    let output = Command::new("fsck.erofs").arg(image).output();
    let output = output.expect("fsck.erofs of the package erofs-utils");
    assert!(output.status.success(), "{output:?}");
}

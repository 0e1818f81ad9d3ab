use crate::Share;
use crate::inodes::TOP;
use crate::listing::Wanted;
use crate::owners::{ATTRIBUTE, Shown};
use crate::tree::Tree;
use fuse_backend_rs::abi::fuse_abi::{CreateIn, SetattrValid};
use fuse_backend_rs::api::filesystem::{Context, Entry, FileSystem, GetxattrReply, ListxattrReply};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn shared(root: &Path, readonly: bool, first_id: u32) -> Share {
    let root = rustix::fs::open(root, OFlags::PATH, Mode::empty()).unwrap();
    Share { root, readonly, first_id }
}

/// One share of a new directory, with room for so many open files; and its root's number.
fn tree(most_open: usize) -> (tempfile::TempDir, Tree, u64) {
    let root = tempfile::tempdir().unwrap();
    let tree = Tree::new(vec![shared(root.path(), false, 0)], most_open);
    let number = find(&tree, TOP, "0").inode;
    (root, tree, number)
}

fn text(name: &str) -> CString {
    CString::new(name).unwrap()
}

fn as_user(id: u32) -> Context {
    Context { uid: id, gid: id, pid: 1 }
}

fn find(tree: &Tree, parent: u64, name: &str) -> Entry {
    tree.lookup(&as_user(0), parent, &text(name)).unwrap()
}

fn code<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn create(tree: &Tree, parent: u64, name: &str, user: u32, mode: u32) -> (Entry, u64) {
    let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR) as u32;
    let how = CreateIn { flags, mode, ..CreateIn::default() };
    let (entry, handle, ..) =
        FileSystem::create(tree, &as_user(user), parent, &text(name), how).unwrap();
    (entry, handle.unwrap())
}

fn set(
    tree: &Tree,
    number: u64,
    which: SetattrValid,
    change: impl FnOnce(&mut libc::stat64),
) -> libc::stat64 {
    let mut wanted = Entry::default().attr;
    change(&mut wanted);
    tree.setattr(&as_user(0), number, wanted, None, which).unwrap().0
}

#[test]
fn no_name_leads_out() {
    let (root, tree, top) = tree(100);
    fs::create_dir(root.path().join("d")).unwrap();
    let d = find(&tree, top, "d").inode;
    let user = as_user(0);
    for name in ["..", ".", "", "d/..", "/", "/etc/passwd", "../x"] {
        let name = text(name);
        for parent in [top, d] {
            assert_eq!(code(tree.lookup(&user, parent, &name)), libc::EINVAL, "{name:?}");
            assert_eq!(code(tree.mkdir(&user, parent, &name, 0o755, 0)), libc::EINVAL);
            assert_eq!(code(tree.symlink(&user, c"x", parent, &name)), libc::EINVAL);
            assert_eq!(code(tree.link(&user, d, parent, &name)), libc::EINVAL);
            assert_eq!(code(tree.unlink(&user, parent, &name)), libc::EINVAL);
            assert_eq!(
                code(FileSystem::rename(&tree, &user, parent, &name, top, c"y", 0)),
                libc::EINVAL
            );
            assert_eq!(
                code(FileSystem::rename(&tree, &user, top, c"d", parent, &name, 0)),
                libc::EINVAL
            );
        }
    }
    for number in [0, TOP, 99, u64::MAX] {
        let refused = [libc::ESTALE, libc::EACCES];
        assert!(refused.contains(&code(tree.mkdir(&user, number, c"x", 0o755, 0))), "{number}");
    }
    assert_eq!(code(tree.lookup(&user, TOP, c"1")), libc::ENOENT);
    assert_eq!(code(tree.lookup(&user, TOP, c"../0")), libc::ENOENT);
}

#[test]
fn a_link_is_a_link_and_nothing_special_is_opened() {
    let (root, tree, top) = tree(100);
    symlink("/etc/passwd", root.path().join("out")).unwrap();
    let user = as_user(0);
    let link = find(&tree, top, "out");
    assert_eq!(link.attr.st_mode & libc::S_IFMT, libc::S_IFLNK);
    assert_eq!(tree.readlink(&user, link.inode).unwrap(), b"/etc/passwd");
    assert_eq!(code(FileSystem::open(&tree, &user, link.inode, 0, 0)), libc::EACCES);
    assert_eq!(code(tree.lookup(&user, link.inode, c"x")), libc::ENOTDIR);
    let how = CreateIn { flags: libc::O_CREAT as u32, mode: 0o644, ..CreateIn::default() };
    assert_eq!(code(FileSystem::create(&tree, &user, top, c"out", how)), libc::EACCES);
    let pipe = tree.mknod(&user, top, c"pipe", libc::S_IFIFO | 0o600, 0, 0).unwrap();
    assert_eq!(code(FileSystem::open(&tree, &user, pipe.inode, 0, 0)), libc::EACCES);
    for device in [libc::S_IFCHR, libc::S_IFBLK] {
        assert_eq!(code(tree.mknod(&user, top, c"device", device | 0o600, 0x103, 0)), libc::EPERM);
    }
}

#[test]
fn what_is_only_to_be_read_is_not_changed() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "old").unwrap();
    let tree = Tree::new(vec![shared(root.path(), true, 0)], 100);
    let top = find(&tree, TOP, "0").inode;
    let file = find(&tree, top, "file").inode;
    let user = as_user(0);
    let all = [
        code(tree.mkdir(&user, top, c"x", 0o755, 0)),
        code(tree.mknod(&user, top, c"x", libc::S_IFREG, 0, 0)),
        code(tree.symlink(&user, c"x", top, c"x")),
        code(tree.link(&user, file, top, c"x")),
        code(tree.unlink(&user, top, c"file")),
        code(FileSystem::rename(&tree, &user, top, c"file", top, c"x", 0)),
        code(FileSystem::create(&tree, &user, top, c"x", CreateIn::default())),
        code(FileSystem::open(&tree, &user, file, libc::O_RDWR as u32, 0)),
        code(FileSystem::open(&tree, &user, file, libc::O_WRONLY as u32, 0)),
        code(tree.setattr(&user, file, Entry::default().attr, None, SetattrValid::SIZE)),
        code(tree.setxattr(&user, file, c"user.x", b"x", 0)),
        code(tree.removexattr(&user, file, c"user.x")),
    ];
    assert_eq!(all, [libc::EROFS; 12]);
    FileSystem::open(&tree, &user, file, 0, 0).unwrap();
}

#[test]
fn owners_are_the_guests_inside_and_ours_outside() {
    let (root, tree, top) = tree(100);
    let own = fs::metadata(root.path()).unwrap().uid();
    let (file, _) = create(&tree, top, "file", 33, 0o640);
    assert_eq!((file.attr.st_uid, file.attr.st_gid), (33, 33));
    assert_eq!(file.attr.st_mode & 0o7777, 0o640);
    let owner = SetattrValid::UID | SetattrValid::GID | SetattrValid::MODE;
    let told = set(&tree, file.inode, owner, |wanted| {
        (wanted.st_uid, wanted.st_gid, wanted.st_mode) = (5, 6, 0o4050);
    });
    assert_eq!((told.st_uid, told.st_gid, told.st_mode & 0o7777), (5, 6, 0o4050));
    let outside = fs::metadata(root.path().join("file")).unwrap();
    assert_eq!(outside.uid(), own);
    assert_eq!(outside.permissions().mode() & 0o7777, 0o650, "no set-user-ID, and ours to serve");
    // Written by somebody else, it loses what only its owner may give it.
    let told = set(&tree, file.inode, SetattrValid::SIZE | SetattrValid::KILL_SUIDGID, |_| {});
    assert_eq!(told.st_mode & 0o7777, 0o050);
    let told = set(&tree, file.inode, owner, |wanted| wanted.st_mode = 0o644);
    assert_eq!((told.st_uid, told.st_gid, told.st_mode & 0o7777), (0, 0, 0o644));
    // In a directory that hands its group on, also to directories.
    let shared = tree.mkdir(&as_user(1), top, c"group", 0o775, 0o022).unwrap();
    set(&tree, shared.inode, owner, |wanted| (wanted.st_gid, wanted.st_mode) = (7, 0o2775));
    let (file, _) = create(&tree, shared.inode, "file", 9, 0o600);
    let below = tree.mkdir(&as_user(9), shared.inode, c"below", 0o700, 0).unwrap();
    assert_eq!((file.attr.st_uid, file.attr.st_gid), (9, 7));
    assert_eq!((below.attr.st_gid, below.attr.st_mode & 0o7777), (7, 0o2700));
}

#[test]
fn what_takes_no_attributes_is_known_as_long_as_this_lives() {
    let (root, tree, top) = tree(100);
    let owner = SetattrValid::UID | SetattrValid::GID | SetattrValid::MODE;
    let pipe = tree.mknod(&as_user(7), top, c"pipe", libc::S_IFIFO | 0o640, 0, 0).unwrap();
    let link = tree.symlink(&as_user(7), c"x", top, c"link").unwrap();
    assert_eq!((pipe.attr.st_uid, link.attr.st_uid), (7, 7));
    let told = set(&tree, pipe.inode, owner, |wanted| (wanted.st_uid, wanted.st_mode) = (8, 0o666));
    assert_eq!((told.st_uid, told.st_mode), (8, libc::S_IFIFO | 0o666));
    let times = SetattrValid::MTIME;
    set(&tree, link.inode, times, |wanted| wanted.st_mtime = 1);
    // Another file of that number is not taken for it.
    tree.unlink(&as_user(0), top, c"pipe").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(find(&tree, top, "pipe").attr.st_uid, 0);
    let plain = tree.symlink(&as_user(0), c"x", top, c"plain").unwrap();
    assert_eq!((plain.attr.st_uid, plain.attr.st_mode & 0o777), (0, 0o777));
}

#[test]
fn a_user_namespace_has_ids_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("ours"), "").unwrap();
    let tree = Tree::new(vec![shared(root.path(), false, 0x10_0000)], 100);
    let top = find(&tree, TOP, "0").inode;
    assert_eq!(find(&tree, top, "ours").attr.st_uid, 0x10_0000);
    assert_eq!(create(&tree, top, "its", 0x10_0021, 0o600).0.attr.st_uid, 0x10_0021);
    // Another sandbox, without one, knows it by the id in there.
    let plain = Tree::new(vec![shared(root.path(), false, 0)], 100);
    let top = find(&plain, TOP, "0").inode;
    assert_eq!(find(&plain, top, "its").attr.st_uid, 33);
}

#[test]
fn what_an_attribute_says_of_an_owner_is_read_with_care() {
    let parse = |text: &str| Shown::parse(text.as_bytes());
    assert_eq!(parse("1:2:644"), Some(Shown { uid: 1, gid: 2, mode: 0o644 }));
    assert_eq!(parse("1:2:0100644:file"), Some(Shown { uid: 1, gid: 2, mode: 0o644 }));
    for text in ["", ":", "1:2", "1:2:", "1:2:9", "-1:2:644", "4294967296:0:0", "1:2:x", "\u{ff}"] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn extended_attributes_are_the_guests_but_for_ours() {
    let (_root, tree, top) = tree(100);
    let user = as_user(0);
    let (file, _) = create(&tree, top, "file", 33, 0o600);
    let number = file.inode;
    match tree.setxattr(&user, number, c"user.mine", b"value", 0) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            panic!(
                "the file system of {} has no extended attributes",
                std::env::temp_dir().display()
            )
        }
        done => done.unwrap(),
    }
    let value = |size| match tree.getxattr(&user, number, c"user.mine", size) {
        Ok(GetxattrReply::Value(value)) => Ok(value),
        Ok(GetxattrReply::Count(count)) => Err(count as i32),
        Err(error) => Err(-error.raw_os_error().unwrap()),
    };
    assert_eq!(value(u32::MAX), Ok(b"value".to_vec()));
    assert_eq!((value(0), value(4)), (Err(5), Err(-libc::ERANGE)));
    let names = |size| match tree.listxattr(&user, number, size).unwrap() {
        ListxattrReply::Names(names) => names,
        ListxattrReply::Count(count) => vec![0; count as usize],
    };
    assert_eq!(names(100), b"user.mine\0");
    assert_eq!(names(0).len(), 10);
    assert_eq!(code(tree.setxattr(&user, number, ATTRIBUTE, b"0:0:4777", 0)), libc::EOPNOTSUPP);
    assert_eq!(code(tree.getxattr(&user, number, ATTRIBUTE, 100)), libc::ENODATA);
    assert_eq!(code(tree.removexattr(&user, number, ATTRIBUTE)), libc::ENODATA);
    for name in [c"trusted.x", c"security.capability", c"system.posix_acl_access"] {
        assert_eq!(code(tree.setxattr(&user, number, name, b"x", 0)), libc::EOPNOTSUPP);
    }
    tree.removexattr(&user, number, c"user.mine").unwrap();
    assert_eq!(names(100), b"");
}

/// More files known than may be open: each is found again where it is, and no other is taken for it.
#[test]
fn as_many_files_may_be_known_as_there_are() {
    let (root, tree, top) = tree(20);
    let user = as_user(0);
    let deep = (0..30).fold(top, |parent, depth| {
        let name = text(&format!("d{depth}"));
        tree.mkdir(&user, parent, &name, 0o755, 0).unwrap().inode
    });
    let numbers: Vec<u64> = (0..100)
        .map(|index| {
            let entry =
                tree.mknod(&user, deep, &text(&index.to_string()), libc::S_IFREG | 0o644, 0, 0);
            entry.unwrap().inode
        })
        .collect();
    let (known, open) = tree.inodes.counts();
    assert_eq!(known, 131);
    assert!(open <= 12, "{open}");
    for number in &numbers {
        assert_eq!(tree.getattr(&user, *number, None).unwrap().0.st_mode & 0o777, 0o644);
    }
    // The guest moves what is above them.
    FileSystem::rename(&tree, &user, top, c"d0", top, c"moved", 0).unwrap();
    for number in &numbers {
        tree.getattr(&user, *number, None).unwrap();
    }
    // Somebody else puts another file in the place of one.
    let above =
        (1..30).fold(root.path().join("moved"), |path, depth| path.join(format!("d{depth}")));
    fs::remove_file(above.join("0")).unwrap();
    fs::create_dir(above.join("0")).unwrap();
    assert_eq!(code(tree.getattr(&user, numbers[0], None)), libc::ESTALE);
    for number in numbers {
        tree.forget(&user, number, 1);
    }
    tree.forget(&user, deep, u64::MAX);
    tree.forget(&user, top, u64::MAX);
    assert_eq!(tree.inodes.counts().0, 30);
    find(&tree, top, "moved");
}

#[test]
fn what_is_open_stays_what_it_was() {
    let (root, tree, top) = tree(20);
    let user = as_user(0);
    let (file, handle) = create(&tree, top, "file", 0, 0o600);
    for index in 0..50 {
        tree.mknod(&user, top, &text(&index.to_string()), libc::S_IFREG, 0, 0).unwrap();
    }
    tree.unlink(&user, top, c"file").unwrap();
    fs::write(root.path().join("file"), "another").unwrap();
    let (told, _) = tree.getattr(&user, file.inode, None).unwrap();
    assert_eq!((told.st_size, told.st_nlink), (0, 0));
    tree.fallocate(&user, file.inode, handle, 0, 0, 4096).unwrap();
    assert_eq!(code(tree.fallocate(&user, file.inode, handle, 8, 0, 1)), libc::EOPNOTSUPP);
    assert_eq!(code(tree.fsync(&user, top, false, handle)), libc::EBADF, "another file's handle");
    tree.release(&user, file.inode, 0, handle, false, false, None).unwrap();
    assert_eq!(code(tree.fsync(&user, file.inode, false, handle)), libc::EBADF);
}

#[test]
fn so_many_may_be_open_and_no_more() {
    let (_root, tree, top) = tree(20);
    let user = as_user(0);
    let (file, first) = create(&tree, top, "file", 0, 0o600);
    let open = || FileSystem::open(&tree, &user, file.inode, 0, 0);
    for _ in 1..10 {
        open().unwrap();
    }
    assert_eq!(code(open()), libc::EMFILE);
    let how = CreateIn { flags: libc::O_CREAT as u32, ..CreateIn::default() };
    assert_eq!(code(FileSystem::create(&tree, &user, top, c"x", how)), libc::EMFILE);
    tree.release(&user, file.inode, 0, first, false, false, None).unwrap();
    open().unwrap();
    // A driver that begins anew has nothing open.
    tree.init(fuse_backend_rs::abi::fuse_abi::FsOptions::empty()).unwrap();
    open().unwrap();
}

#[test]
fn all_that_is_there_is_listed_while_it_goes() {
    let (root, tree, top) = tree(40);
    for (told, goes) in [(false, false), (true, false), (false, true), (true, true)] {
        let handle = tree.opendir(&as_user(0), top, 0).unwrap().0.unwrap();
        for index in 0..300 {
            fs::write(root.path().join(format!("file {index}")), "").unwrap();
        }
        let (mut names, mut offset) = (BTreeSet::new(), 0);
        loop {
            let before = names.len();
            let mut room = 4096;
            let wanted = Wanted { offset, size: room, told };
            tree.list(top, handle, wanted, &mut |line, entry| {
                // What the library writes for each.
                let bytes = 24 + line.name.len() + if told { 128 } else { 0 };
                let bytes = u32::try_from(bytes.next_multiple_of(8)).unwrap();
                room = room.checked_sub(bytes).expect("no more than asked");
                offset = line.offset;
                let name = String::from_utf8(line.name.to_vec()).unwrap();
                if let Some(entry) = entry.filter(|entry| entry.inode != 0) {
                    assert_eq!(entry.attr.st_ino, line.ino);
                    assert_eq!(entry.attr.st_mode >> 12, line.type_);
                    tree.forget(&as_user(0), entry.inode, 1);
                }
                if goes && name.starts_with("file") {
                    fs::remove_file(root.path().join(&name)).unwrap();
                }
                names.insert(name);
                Ok(1)
            })
            .unwrap();
            if names.len() == before {
                break;
            }
        }
        assert_eq!(names.len(), 302, "with . and ..: {told} {goes}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), if goes { 0 } else { 300 });
    }
}

#[test]
fn what_there_is_no_room_for_is_not_known() {
    let (root, tree, top) = tree(40);
    for index in 0..30 {
        fs::write(root.path().join(format!("file {index}")), "").unwrap();
    }
    let handle = tree.opendir(&as_user(0), top, 0).unwrap().0.unwrap();
    let mut told = Vec::new();
    let mut offset = 0;
    for _ in 0..40 {
        let mut room = 3;
        tree.list(top, handle, Wanted { offset, size: 4096, told: true }, &mut |line, entry| {
            if room == 0 {
                return Ok(0);
            }
            room -= 1;
            offset = line.offset;
            told.extend(entry.map(|entry| entry.inode).filter(|number| *number != 0));
            Ok(1)
        })
        .unwrap();
    }
    assert_eq!(told.len(), 30);
    // From the beginning again, though it was not read to its end.
    let handle = tree.opendir(&as_user(0), top, 0).unwrap().0.unwrap();
    let mut again = 0;
    for _ in 0..2 {
        let wanted = Wanted { offset: 0, size: 4096, told: false };
        tree.list(top, handle, wanted, &mut |_, _| {
            again += 1;
            Ok(usize::from(again % 5 != 0))
        })
        .unwrap();
    }
    assert_eq!(again, 10);
    assert_eq!(tree.inodes.counts().0, 31);
    told.iter().for_each(|number| tree.forget(&as_user(0), *number, 1));
    assert_eq!(tree.inodes.counts().0, 1);
}

#[test]
fn from_one_share_to_another_nothing_is_moved() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let shares = roots.iter().map(|root| shared(root.path(), false, 0)).collect();
    let tree = Tree::new(shares, 100);
    let [one, two] = ["0", "1"].map(|name| find(&tree, TOP, name).inode);
    let user = as_user(0);
    let (file, _) = create(&tree, one, "file", 0, 0o600);
    assert_eq!(code(FileSystem::rename(&tree, &user, one, c"file", two, c"file", 0)), libc::EXDEV);
    assert_eq!(code(tree.link(&user, file.inode, two, c"file")), libc::EXDEV);
    let whiteout = libc::RENAME_WHITEOUT;
    assert_eq!(
        code(FileSystem::rename(&tree, &user, one, c"file", one, c"x", whiteout)),
        libc::EINVAL
    );
    create(&tree, one, "other", 0, 0o600);
    let exchange = libc::RENAME_EXCHANGE;
    FileSystem::rename(&tree, &user, one, c"file", one, c"other", exchange).unwrap();
    assert_eq!(find(&tree, one, "other").inode, file.inode);
    let noreplace = libc::RENAME_NOREPLACE;
    let refused = FileSystem::rename(&tree, &user, one, c"file", one, c"other", noreplace);
    assert_eq!(code(refused), libc::EEXIST);
}

#[test]
fn a_file_alone_can_be_shared() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, "content").unwrap();
    let tree = Tree::new(vec![shared(&path, false, 0)], 100);
    let file = find(&tree, TOP, "0");
    assert_eq!(file.attr.st_size, 7);
    FileSystem::open(&tree, &as_user(0), file.inode, libc::O_RDWR as u32, 0).unwrap();
    let name: &CStr = c"x";
    assert_eq!(code(tree.lookup(&as_user(0), file.inode, name)), libc::ENOTDIR);
}

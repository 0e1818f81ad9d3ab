//! A tree of files of every kind, to be copied, and the look at what came of it.

use super::World;
use rustix::fs::{CWD, FileType, Mode};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tree.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes it, in a directory of its own.
    pub fn make(world: &World) -> Self {
        let root = world.fresh_state().join("tree");
        let at = |name: &str| root.join(name);
        std::fs::create_dir_all(at("deep/empty")).unwrap();
        std::fs::write(at("deep/file"), "text").unwrap();
        std::fs::write(at("more"), "more").unwrap();
        std::fs::hard_link(at("more"), at("same")).unwrap();
        symlink("more", at("link")).unwrap();
        symlink("/etc/passwd", at("deep/elsewhere")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|it| (it % 251) as u8).collect();
        std::fs::write(at("large"), bytes).unwrap();
        let note = rustix::fs::XattrFlags::empty();
        // Not on every file system of every machine; then it is not looked for either.
        let _ = rustix::fs::setxattr(at("more"), "user.note", b"kept", note);
        let mode = |name: &str, mode| {
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        mode("more", 0o640);
        mode("deep", 0o1777);
        mode("deep/empty", 0o500);
        for name in ["deep/file", "more", "large", "pipe", "link", "deep/empty", "deep", "."] {
            let mut touch = Command::new("touch");
            touch.args(["-h", "-d", "2001-02-03 04:05:06.789"]).arg(at(name));
            assert!(touch.status().unwrap().success());
        }
        Self { root }
    }

    /// Where it is.
    pub fn path(&self) -> String {
        self.root.display().to_string()
    }

    /// Checks that what is there is the same: kinds, modes, times, sizes, contents, links.
    #[track_caller]
    pub fn is_at(&self, path: &Path) {
        assert_eq!(look(path), look(&self.root));
        let note = |path: &Path| {
            let mut value = [0; 16];
            rustix::fs::getxattr(path.join("more"), "user.note", &mut value[..])
                .map(|length| value[..length].to_vec())
        };
        assert_eq!(note(path), note(&self.root));
    }
}

/// A line for each file.
fn look(root: &Path) -> Vec<String> {
    let (mut lines, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = left.pop() {
        let it = std::fs::symlink_metadata(&path).unwrap();
        let (links, content) = if it.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            (0, String::new())
        } else if it.is_symlink() {
            (it.nlink(), format!("{:?}", std::fs::read_link(&path).unwrap()))
        } else if it.is_file() {
            (it.nlink(), super::image::digest(&std::fs::read(&path).unwrap()))
        } else {
            (it.nlink(), String::new())
        };
        let name = path.strip_prefix(root).unwrap().display();
        let (mode, seconds, nanoseconds) = (it.mode(), it.mtime(), it.mtime_nsec());
        lines.push(format!("{name} {mode:o} {links} {seconds}.{nanoseconds} {content}"));
    }
    lines.sort();
    lines
}

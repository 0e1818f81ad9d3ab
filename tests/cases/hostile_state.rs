//! A state directory in which somebody has put what does not belong there: commands end, with what they were
//! asked for or with a word about it, and touch nothing that is outside.

use crate::cases;
use crate::harness::World;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

cases! {
    Tcg: sandboxes_that_are_none, a_lock_that_is_held, layers_that_are_none, a_store_of_other_things;
}

/// No command takes this long, but for one that boots a machine.
const SOON: std::time::Duration = std::time::Duration::from_secs(20);

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A used state directory, with one sandbox that was kept, and a directory that is none of its business.
struct Place<'w> {
    world: &'w World,
    state: PathBuf,
    outside: PathBuf,
}

impl<'w> Place<'w> {
    fn new(world: &'w World) -> Self {
        let state = world.fresh_state();
        world.sandbox().state(&state).kept().flags(&["--name", "honest"]).run(&["true"]).exits(0);
        let outside = world.scratch_file("outside");
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::write(outside.join("kept/file"), [9; 4096]).unwrap();
        Self { world, state, outside }
    }

    fn sandbox(&self, name: &[u8]) -> PathBuf {
        let path = self.state.join("sandboxes").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        path
    }

    fn layers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.state.join("store/layers/sha256")).unwrap() {
            let files = fs::read_dir(entry.unwrap().path()).unwrap();
            found.extend(files.map(|file| file.unwrap().path()));
        }
        assert!(!found.is_empty());
        found
    }

    fn command(&self, words: &[&str]) -> crate::harness::Output {
        let directory = self.state.to_str().unwrap();
        let (name, rest) = words.split_first().unwrap();
        let output = self.world.command(&[&[*name, "--state-dir", directory], rest].concat());
        assert!(output.elapsed < SOON, "{words:?} took {:?}", output.elapsed);
        output
    }

    fn run(&self) -> crate::harness::Output {
        self.world.sandbox().state(&self.state).run(&["echo", "ran"])
    }

    /// The honest sandbox is listed alone, and all outside is as it was.
    #[track_caller]
    fn is_sound(&self) {
        assert_eq!(self.command(&["ps", "-a", "-q"]).exits(0).text().lines().count(), 1);
        self.command(&["ps", "-a"]).exits(0).shows("honest");
        let names = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!((names(&self.outside), names(&self.outside.join("kept"))), (1, 1));
        assert!(fs::read(self.outside.join("kept/file")).unwrap() == [9; 4096]);
    }
}

fn sandboxes_that_are_none(world: &World) {
    let place = Place::new(world);
    let record = |name: &str| place.sandbox(name.as_bytes()).join("record.json");
    pipe(&record("piped"));
    pipe(&place.state.join("sandboxes/a-pipe"));
    symlink(place.outside.join("kept/file"), record("linked")).unwrap();
    symlink(&place.outside, place.state.join("sandboxes/a-link")).unwrap();
    symlink(place.outside.join("kept"), place.state.join("sandboxes/kept")).unwrap();
    fs::create_dir(record("a-directory")).unwrap();
    File::create(record("endless")).unwrap().set_len(1 << 40).unwrap();
    fs::write(record("no-text"), b"\xff\xfe\x00").unwrap();
    fs::write(record("deep"), "[".repeat(1 << 20)).unwrap();
    let _socket = UnixListener::bind(record("a-socket")).unwrap();
    // Only root may make one, and not everywhere.
    let _ = mknodat(CWD, record("a-device"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 5));
    for name in [&b"\xff\xfe"[..], b"two\nlines", b"\x1b[31mred", b"-rf"] {
        fs::write(place.sandbox(name).join("record.json"), b"{}").unwrap();
    }
    place.is_sound();
    for wanted in ["piped", "linked", "a-link", "a-directory", "endless", "-rf", "../outside", ""] {
        let output = place.command(&["rm", "--", wanted]);
        output.exits(125);
        assert!(output.stderr.contains("no sandbox is called"), "{wanted}: {}", output.stderr);
        assert!(!output.stderr.contains('\x1b'), "{:?}", output.stderr);
    }
    place.run().prints("ran");
    place.is_sound();
    place.command(&["rm", "honest"]).exits(0);
}

/// Making and sweeping wait for each other, and not for ever.
fn a_lock_that_is_held(world: &World) {
    let place = Place::new(world);
    let directory = File::open(place.state.join("sandboxes")).unwrap();
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let path = place.state.to_str().unwrap();
    world.command(&["ps", "--state-dir", path]).exits(125).complains(&["another process", "lock"]);
    drop(directory);
    place.is_sound();
}

fn layers_that_are_none(world: &World) {
    let place = Place::new(world);
    let replaced = |stand: &dyn Fn(&Path)| {
        for layer in place.layers() {
            fs::remove_file(&layer).unwrap();
            stand(&layer);
        }
    };
    replaced(&pipe);
    place.run().prints("ran");
    replaced(&|layer| symlink(place.outside.join("kept/file"), layer).unwrap());
    place.run().prints("ran");
    replaced(&|layer| fs::write(layer, [1; 100]).unwrap());
    place.run().prints("ran");
    assert!(place.layers().iter().all(|layer| fs::symlink_metadata(layer).unwrap().is_file()));
    // As long as one might be, and none: the guest is the first to see it.
    replaced(&|layer| fs::write(layer, [1; 4096]).unwrap());
    place.run().exits(125).complains(&["cannot start the container"]);
    replaced(&|layer| fs::create_dir(layer).unwrap());
    place.run().exits(125).complains(&["replace", "irectory"]);
    place.is_sound();
}

fn a_store_of_other_things(world: &World) {
    let place = Place::new(world);
    let store = place.state.join("store");
    for name in ["pipe", "link", "directory", "leftover"] {
        let path = store.join("partial").join(name);
        match name {
            "pipe" => pipe(&path),
            "link" => symlink(place.outside.join("kept/file"), path).unwrap(),
            "directory" => fs::create_dir(path).unwrap(),
            _ => fs::write(path, "half").unwrap(),
        }
    }
    let format = store.join("format");
    fs::remove_file(&format).unwrap();
    pipe(&format);
    place.run().prints("ran");
    assert!(!store.join("partial/leftover").exists());
    File::create(&format).unwrap().set_len(1 << 40).unwrap();
    place.run().exits(125).complains(&["the store", "format"]);
    fs::write(&format, b"\xff\xfe\x1b[31m").unwrap();
    assert!(!place.run().exits(125).stderr.contains('\x1b'));
    fs::remove_file(&format).unwrap();
    fs::create_dir(&format).unwrap();
    place.run().exits(125).complains(&["format"]);
    place.is_sound();
}

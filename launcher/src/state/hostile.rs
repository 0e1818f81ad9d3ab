//! What somebody may have put into the state directory: nothing of it hangs a command, is taken for what it is
//! not, or leads out of the directory.

use super::*;
use rustix::fs::{CWD, FileType, mknodat};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::mpsc::channel;

/// No step on files so small takes this long: what does, hangs.
const LONG: Duration = Duration::from_secs(10);

fn id(name: &str) -> ContainerId {
    ContainerId::try_from(name.to_owned()).unwrap()
}

/// The record of a sandbox that has ended, as text.
fn ended(name: &str) -> String {
    let mut record = Record::new(id(name), None, "oci:/image".to_owned(), vec!["true".to_owned()]);
    record.status = Status::Exited { exit_code: 0 };
    serde_json::to_string(&record).unwrap()
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Does it on a thread of its own: one that hangs is seen, and left.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = channel();
    std::thread::spawn(move || done.send(work()));
    told.recv_timeout(LONG).expect("it hangs, or has panicked")
}

/// A state directory with one honest sandbox that has ended, and what is outside.
struct Place {
    directory: tempfile::TempDir,
    outside: String,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), outside: ended("outside") };
        fs::create_dir_all(place.path("state/sandboxes/honest")).unwrap();
        fs::write(place.path("state/sandboxes/honest/record.json"), ended("honest")).unwrap();
        fs::create_dir_all(place.path("outside/kept")).unwrap();
        fs::write(place.path("outside/record.json"), &place.outside).unwrap();
        fs::write(place.path("outside/kept/file"), "untouched").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A directory that might be a sandbox.
    fn sandbox(&self, name: &str) -> PathBuf {
        let path = self.path("state/sandboxes").join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn sandboxes(&self) -> Sandboxes {
        Sandboxes::open(&self.path("state")).unwrap()
    }

    /// Whatever else is there, the honest one is listed alone, and nothing outside has changed.
    #[track_caller]
    fn is_sound(&self) {
        let sandboxes = self.sandboxes();
        let names = in_time(move || {
            sandboxes.sweep().unwrap();
            sandboxes.list().unwrap().into_iter().map(|record| record.id).collect::<Vec<_>>()
        });
        assert_eq!(names, [id("honest")]);
        assert_eq!(fs::read(self.path("outside/kept/file")).unwrap(), b"untouched");
        assert_eq!(fs::read_to_string(self.path("outside/record.json")).unwrap(), self.outside);
    }

    fn removed(&self, wanted: &'static str) -> Result<ContainerId, StateError> {
        let sandboxes = self.sandboxes();
        in_time(move || sandboxes.remove(wanted))
    }
}

#[test]
fn a_pipe_for_a_record_is_not_waited_for() {
    let place = Place::new();
    pipe(&place.sandbox("piped").join("record.json"));
    pipe(&place.path("state/sandboxes/a-pipe"));
    place.is_sound();
    assert!(matches!(place.removed("piped"), Err(StateError::NotFound(_))));
    assert!(place.path("state/sandboxes/piped/record.json").exists(), "it may be someone's");
}

#[test]
fn a_link_for_a_record_is_not_followed() {
    let place = Place::new();
    for (name, target) in [("outside", "outside/record.json"), ("loose", "outside/not-there")] {
        symlink(place.path(target), place.sandbox(name).join("record.json")).unwrap();
    }
    place.is_sound();
    assert!(matches!(place.removed("outside"), Err(StateError::NotFound(_))));
}

#[test]
fn a_link_for_a_sandbox_is_not_followed() {
    let place = Place::new();
    symlink(place.path("outside"), place.path("state/sandboxes/outside")).unwrap();
    // Without a record, a directory is what a kill left: not this one.
    symlink(place.path("outside/kept"), place.path("state/sandboxes/kept")).unwrap();
    symlink("circle", place.path("state/sandboxes/circle")).unwrap();
    place.is_sound();
    assert!(matches!(place.removed("outside"), Err(StateError::NotFound(_))));
    assert!(place.path("state/sandboxes/kept").is_symlink());
}

/// What is within a leftover goes with it; where a link there leads stays.
#[test]
fn a_leftover_is_removed_and_not_what_it_leads_to() {
    let place = Place::new();
    let leftover = place.sandbox("leftover");
    symlink(place.path("outside"), leftover.join("upper.ext4")).unwrap();
    symlink(place.path("outside/kept"), leftover.join("more")).unwrap();
    pipe(&leftover.join("pipe"));
    place.is_sound();
    assert!(!leftover.exists());
}

/// Else a record that lies would have another sandbox removed.
#[test]
fn a_record_speaks_for_its_own_sandbox_alone() {
    let place = Place::new();
    let liar = ended("honest").replace("\"name\":null", "\"name\":\"liar\"");
    assert!(liar.contains("liar"));
    fs::write(place.sandbox("liar").join("record.json"), liar).unwrap();
    place.is_sound();
    assert!(matches!(place.removed("liar"), Err(StateError::NotFound(_))));
    assert!(place.path("state/sandboxes/honest").exists());
}

#[test]
fn names_of_odd_bytes_are_no_sandboxes() {
    let place = Place::new();
    for name in [&b"\xff\xfe"[..], b"a\nb", b"\x1b[31mred", b"-rf", b" "] {
        let path = place.path("state/sandboxes").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("record.json"), ended("odd")).unwrap();
    }
    place.is_sound();
    assert!(matches!(place.removed("odd"), Err(StateError::NotFound(_))));
}

#[test]
fn a_record_without_end_is_not_read_to_its_end() {
    let place = Place::new();
    let file = File::create(place.sandbox("endless").join("record.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    let deep = "[".repeat(1 << 20);
    fs::write(place.sandbox("deep").join("record.json"), deep).unwrap();
    place.is_sound();
}

/// Nothing is written through a link that stands where a record is made.
#[test]
fn a_record_is_not_written_where_a_link_leads() {
    let place = Place::new();
    let sandboxes = place.sandboxes();
    let record = Record::new(id("own"), None, "oci:/image".to_owned(), Vec::new());
    let own = sandboxes.create(&record).unwrap();
    symlink(place.path("outside/kept/file"), own.path.join("record.json.new")).unwrap();
    in_time(move || own.keep(&record)).unwrap();
    assert_eq!(fs::read(place.path("outside/kept/file")).unwrap(), b"untouched");
    let record = fs::symlink_metadata(place.path("state/sandboxes/own/record.json")).unwrap();
    assert!(record.is_file());
}

#[test]
fn a_lock_that_is_never_let_go_is_an_error() {
    let place = Place::new();
    let path = place.path("state/sandboxes");
    let _held = lock(&path, FlockOperation::LockExclusive).unwrap();
    let refused = in_time(move || lock_within(&path, Duration::from_millis(50)).unwrap_err());
    assert!(matches!(refused, StateError::Held { .. }), "{refused}");
}

//! What a killed supervisor leaves, what a living one holds, and what an ended one keeps.

use super::*;

fn record(id: &str) -> Record {
    let id = ContainerId::try_from(id.to_owned()).unwrap();
    Record::new(id, None, "oci:/image".to_owned(), vec!["true".to_owned()])
}

/// As when its supervisor is killed: the lock is gone, and all else is there.
fn killed(mut own: OwnSandbox) {
    own.is_done_with = true;
}

#[test]
fn what_comes_to_nothing_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    drop(sandboxes.create(&record("vain")).unwrap());
    assert_eq!(std::fs::read_dir(directory.path().join("sandboxes")).unwrap().count(), 0);
}

#[test]
fn a_living_sandbox_is_not_swept_and_a_killed_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let own = sandboxes.create(&record("alive")).unwrap();
    assert_eq!(sandboxes.sweep().unwrap().removed, 0);
    assert!(matches!(sandboxes.remove("alive"), Err(StateError::Running(_))));
    killed(own);
    assert_eq!(sandboxes.sweep().unwrap().removed, 1);
    assert!(sandboxes.list().unwrap().is_empty());
}

#[test]
fn an_ended_sandbox_stays_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let mut ended = record("ended");
    let own = sandboxes.create(&ended).unwrap();
    ended.status = Status::Exited { exit_code: 3 };
    own.keep(&ended).unwrap();
    assert_eq!(sandboxes.sweep().unwrap().removed, 0);
    assert_eq!(sandboxes.list().unwrap(), [ended]);
    assert!(matches!(sandboxes.remove("other"), Err(StateError::NotFound(_))));
    sandboxes.remove("end").unwrap();
    assert!(sandboxes.list().unwrap().is_empty());
}

#[test]
fn what_is_half_made_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let half = directory.path().join("sandboxes/half");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("record.json.new"), b"{\"version\":").unwrap();
    let broken = directory.path().join("sandboxes/broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("record.json"), b"{\"version\": 1, \"id\":").unwrap();
    assert_eq!(sandboxes.sweep().unwrap().removed, 2);
    assert!(!half.exists() && !broken.exists());
}

#[test]
fn a_name_is_given_once() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let mut first = record("first");
    first.name = Some("job".to_owned());
    let mut second = record("second");
    second.name.clone_from(&first.name);
    let _own = sandboxes.create(&first).unwrap();
    assert!(matches!(sandboxes.create(&second), Err(StateError::NameTaken { .. })));
}

#[test]
fn an_upper_with_no_name_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let own = sandboxes.create(&record("nameless")).unwrap();
    own.create_upper(false).unwrap().set_len(1 << 20).unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path().join("sandboxes/nameless"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["record.json"]);
    own.remove().unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("sandboxes")).unwrap().count(), 0);
}

/// Another version's, and what cannot be read, may be worth something to somebody.
#[test]
fn what_is_not_understood_stays() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let newer = br#"{"version": 2, "id": "newer", "state": {}}"#.to_vec();
    let long = vec![b' '; (16 << 20) + 1];
    for (name, bytes) in [("newer", newer), ("garbage", b"\xff\xfe".to_vec()), ("long", long)] {
        let path = directory.path().join("sandboxes").join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("record.json"), bytes).unwrap();
    }
    let unreadable = directory.path().join("sandboxes/unreadable");
    std::fs::create_dir_all(unreadable.join("record.json")).unwrap();
    let swept = sandboxes.sweep().unwrap();
    assert_eq!((swept.removed, swept.left.len()), (0, 4), "{:?}", swept.left);
    assert_eq!(std::fs::read_dir(directory.path().join("sandboxes")).unwrap().count(), 4);
}

#[test]
fn a_name_goes_before_an_identifier_and_that_before_a_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    for (id, name) in [("abc1", None), ("abc2", Some("abc1")), ("abc", None), ("abd", None)] {
        let mut record = record(id);
        record.name = name.map(str::to_owned);
        let own = sandboxes.create(&record).unwrap();
        record.status = Status::Exited { exit_code: 0 };
        own.keep(&record).unwrap();
    }
    let remove = |wanted: &str| sandboxes.remove(wanted).map(|id| id.to_string());
    assert!(matches!(remove("ab"), Err(StateError::Ambiguous { ids, .. }) if ids.len() == 4));
    assert_eq!(remove("abc1").unwrap(), "abc2");
    assert_eq!(remove("abc").unwrap(), "abc");
    assert_eq!(remove("abd").unwrap(), "abd");
    assert_eq!(remove("a").unwrap(), "abc1");
    assert!(matches!(remove(""), Err(StateError::NotFound(_))));
}

#[test]
fn a_sandbox_that_is_gone_already_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let own = sandboxes.create(&record("going")).unwrap();
    std::fs::remove_dir_all(directory.path().join("sandboxes/going")).unwrap();
    own.remove().unwrap();
    assert!(!sweep_one(&directory.path().join("sandboxes/going")).unwrap());
}

#[test]
fn one_that_is_started_again_is_what_it_was_where_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let mut ended = record("ended");
    let own = sandboxes.create(&ended).unwrap();
    assert!(matches!(sandboxes.resume(&ended.id), Err(StateError::Running(_))));
    own.create_upper(true).unwrap().set_len(4096).unwrap();
    ended.status = Status::Exited { exit_code: 3 };
    own.keep(&ended).unwrap();
    let (own, again) = sandboxes.resume(&ended.id).unwrap();
    assert_eq!((again.status, own.open_upper().unwrap().1), (Status::Running, 4096));
    assert!(matches!(sandboxes.remove("ended"), Err(StateError::Running(_))));
    drop(own);
    assert_eq!(sandboxes.list().unwrap(), [ended.clone()]);
    // Killed, it has ended so: it was kept before.
    killed(sandboxes.resume(&ended.id).unwrap().0);
    sandboxes.sweep().unwrap();
    assert_eq!(sandboxes.list().unwrap()[0].status, Status::Exited { exit_code: 137 });
    sandboxes.remove("ended").unwrap();
    assert!(matches!(sandboxes.resume(&ended.id), Err(StateError::NotFound(_))));
}

//! What a killed supervisor leaves, what a living one holds, and what an ended one keeps.

use super::*;

fn record(id: &str) -> Record {
    let id = ContainerId::try_from(id.to_owned()).unwrap();
    Record::new(id, None, "oci:/image".to_owned(), vec!["true".to_owned()])
}

#[test]
fn a_living_sandbox_is_not_swept_and_a_killed_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let own = sandboxes.create(&record("alive")).unwrap();
    assert_eq!(sandboxes.sweep().unwrap(), 0);
    assert!(matches!(sandboxes.remove("alive"), Err(StateError::Running(_))));
    drop(own);
    assert_eq!(sandboxes.sweep().unwrap(), 1);
    assert!(sandboxes.list().unwrap().is_empty());
}

#[test]
fn an_ended_sandbox_stays_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let sandboxes = Sandboxes::open(directory.path()).unwrap();
    let mut ended = record("ended");
    let own = sandboxes.create(&ended).unwrap();
    ended.status = Status::Exited { exit_code: 3 };
    own.write(&ended).unwrap();
    drop(own);
    assert_eq!(sandboxes.sweep().unwrap(), 0);
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
    std::fs::write(broken.join("record.json"), b"\xff\xfe").unwrap();
    assert_eq!(sandboxes.sweep().unwrap(), 2);
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

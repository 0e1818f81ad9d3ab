use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_writable_directory_is_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let facts = StateDirFacts::ask(directory.path());
    let found = facts.found.unwrap();
    assert_eq!(found.writable, Ok(()));
    assert!(found.free_bytes > 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn without_nameless_files_a_named_one_is_made_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::File::open(directory.path()).unwrap();
    assert_eq!(make_and_remove(&open), Ok(()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// As a killed doctor leaves it.
#[test]
fn a_file_of_an_earlier_question_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".doctor"), "").unwrap();
    let open = std::fs::File::open(directory.path()).unwrap();
    assert_eq!(make_and_remove(&open), Ok(()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_store_of_another_format_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(foreign(directory.path()), None);
    std::fs::create_dir(directory.path().join("store")).unwrap();
    std::fs::write(directory.path().join("store/format"), "cofferdam store 999\n").unwrap();
    let found = |path: &Path| StateDirFacts::ask(path).found.unwrap().foreign;
    let said = found(directory.path()).unwrap();
    assert!(said.contains("store 999"), "{said}");
    // A directory that is to be made in it has nothing to do with that.
    assert_eq!(found(&directory.path().join("new")), None);
}

#[test]
fn a_qemu_that_does_not_answer_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join(QEMU);
    std::fs::write(&program, "#!/bin/sh\nexec sleep 100\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(version(&program, Duration::from_millis(100)), None);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_directory_is_told_by_its_errno() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(StateDirFacts::ask(&file).found, Err(Errno::NOTDIR));
}

#[test]
fn where_it_is_not_there_its_nearest_ancestor_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let facts = StateDirFacts::ask(&directory.path().join("missing/deeper"));
    assert!(!facts.exists);
    assert_eq!(facts.found.unwrap().writable, Ok(()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let facts = StateDirFacts::ask(Path::new("missing-below-here"));
    assert!(!facts.exists && facts.found.is_ok());
}

#[test]
fn file_systems_have_names() {
    assert_eq!(file_system_name(0xef53), "ext4");
    assert_eq!(file_system_name(0x1234), "file system 0x1234");
}

#[test]
fn a_program_is_found_where_it_may_be_executed() {
    let (plain, good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (directory, mode) in [(&plain, 0o644), (&good, 0o755)] {
        let program = directory.path().join(QEMU);
        std::fs::write(&program, "#!/bin/sh\necho 'QEMU emulator version 9.1.0 (Test)'\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
    }
    let both = format!("relative:{}:{}", plain.path().display(), good.path().display());
    let found = QemuFacts::ask(&both).unwrap();
    assert_eq!(found.path, good.path().join(QEMU));
    assert_eq!(found.version.as_deref(), Some("9.1.0 (Test)"));
    assert_eq!(QemuFacts::ask(""), None);
}

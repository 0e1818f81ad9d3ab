use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Two directories of a PATH: in the first a file without the right to run, in the second a program
/// of that name and another.
fn path() -> (tempfile::TempDir, String) {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name);
    for directory in ["one", "two", "two/folder"] {
        fs::create_dir(at(directory)).unwrap();
    }
    for (file, mode) in
        [("one/both", 0o644), ("two/both", 0o755), ("two/good", 0o755), ("one/bad", 0o644)]
    {
        fs::write(at(file), "").unwrap();
        fs::set_permissions(at(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = format!("{0}/one:{0}/absent:{0}/two", top.path().display());
    (top, path)
}

fn failure(name: &str, path: &str) -> (FailureKind, String) {
    let Failure { kind, message } = find(name, path).unwrap_err();
    (kind, message)
}

#[test]
fn a_name_is_the_first_program_in_path() {
    let (top, path) = path();
    let two = top.path().join("two");
    assert_eq!(find("good", &path).unwrap().to_str().unwrap(), two.join("good").to_str().unwrap());
    assert_eq!(find("both", &path).unwrap().to_str().unwrap(), two.join("both").to_str().unwrap());
}

#[test]
fn what_is_not_found_is_said_as_docker_does() {
    let (_top, path) = path();
    let absent = "exec: \"nope\": executable file not found in $PATH".to_owned();
    assert_eq!(failure("nope", &path), (FailureKind::NotFound, absent));
    let absent = "exec: \"bad\": executable file not found in $PATH".to_owned();
    assert_eq!(failure("bad", &path), (FailureKind::NotFound, absent));
    assert_eq!(failure("", &path).0, FailureKind::NotFound);
    assert_eq!(failure("folder", &path).0, FailureKind::NotFound);
    let absent = "exec: \"/no/such\": no such file or directory".to_owned();
    assert_eq!(failure("/no/such", &path), (FailureKind::NotFound, absent));
}

#[test]
fn what_may_not_be_run_cannot_be_invoked() {
    let (top, path) = path();
    let bad = top.path().join("one/bad").to_string_lossy().into_owned();
    let denied = format!("exec: {bad:?}: permission denied");
    assert_eq!(failure(&bad, &path), (FailureKind::CannotInvoke, denied));
    let folder = "exec: \"/tmp\": is a directory".to_owned();
    assert_eq!(failure("/tmp", &path), (FailureKind::CannotInvoke, folder));
    assert_eq!(refused("x", Errno::NOEXEC).kind, FailureKind::CannotInvoke);
}

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

fn copied(fill: impl FnOnce(&Path)) -> (tempfile::TempDir, io::Result<()>) {
    let place = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| place.path().join(name));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    fill(&from);
    let [from, to] = [from, to].map(|path| File::open(path).unwrap());
    let result = copy(from.as_fd(), to.as_fd());
    (place, result)
}

/// All that there is to know of a tree, as tar and stat tell it.
fn told(tree: &Path) -> String {
    let script = "find . -printf '%P %y %m %U %G %s %l %n %T@\\n' | sort; \
                  getfattr -R -d -m - -h . 2>/dev/null; find . -type f | sort | xargs -r sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(tree).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_kind_of_file_is_copied_as_it_is() {
    let (place, result) = copied(|from| {
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/b/file"), "contents").unwrap();
        std::fs::hard_link(from.join("a/b/file"), from.join("again")).unwrap();
        symlink("/etc/passwd", from.join("a/link")).unwrap();
        symlink("..", from.join("a/up")).unwrap();
        let script = "mkfifo -m 640 a/fifo; chmod 2751 a; chmod 4755 again; printf x > 'odd\nname'; \
                      truncate -s 10M sparse; printf end >> sparse; chmod 711 .; \
                      touch -h -d 2001-02-03T04:05:06.789 a/link again a/b a .";
        let made = Command::new("sh").args(["-ec", script]).current_dir(from).status().unwrap();
        assert!(made.success());
    });
    result.unwrap();
    let [from, to] = ["from", "to"].map(|name| place.path().join(name));
    assert_eq!(told(&from), told(&to));
    let sparse = std::fs::metadata(to.join("sparse")).unwrap();
    assert!(sparse.len() > 10 << 20 && sparse.blocks() * 512 < 1 << 20, "{sparse:?}");
    assert_eq!(std::fs::metadata(to.join("again")).unwrap().permissions().mode() & 0o7777, 0o4755);
    let [one, two] = ["again", "a/b/file"].map(|it| std::fs::metadata(to.join(it)).unwrap().ino());
    assert_eq!(one, two);
}

#[test]
fn what_is_deep_or_wide_needs_no_more_descriptors() {
    let (place, result) = copied(|from| {
        let deep: PathBuf = std::iter::repeat_n("d", 1500).collect();
        std::fs::create_dir_all(from.join(&deep)).unwrap();
        std::fs::write(from.join(deep).join("file"), "").unwrap();
        (0..300).for_each(|it| std::fs::write(from.join(it.to_string()), "").unwrap());
    });
    result.unwrap();
    assert_eq!(std::fs::read_dir(place.path().join("to")).unwrap().count(), 301);
}

#[test]
fn emptiness_is_seen() {
    let place = tempfile::tempdir().unwrap();
    let open = File::open(place.path()).unwrap();
    assert_eq!(is_empty(open.as_fd()), Ok(true));
    std::fs::write(place.path().join(".hidden"), "").unwrap();
    assert_eq!(is_empty(open.as_fd()), Ok(false));
}

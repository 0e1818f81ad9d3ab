use super::*;

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
# a comment, and what is no entry
daemon:x:1
dev:x:1000:1001:Dev:/home/dev:/bin/sh
5:x:77:78::/five:
nohome:x:1002:1002:::
wrong:x:many:0:::
keeps:x:4294967295:0:::
keepsgroup:x:1003:4294967295:::
";
const GROUP: &str = "root:x:0:\nwheel:x:10:other,dev\ndev:x:1001:dev\naudio:x:29:dev\n6:x:66:\nbad:x:y:dev\nkeeps:x:4294967295:dev\n";

fn found(user: &str) -> (u32, u32, Vec<u32>, String) {
    let Identity { uid, gid, groups, home } = look_up(user, PASSWD, GROUP).unwrap();
    (uid, gid, groups, home)
}

#[test]
fn nobody_named_is_root() {
    assert_eq!(found(""), (0, 0, vec![0], "/root".into()));
    assert_eq!(look_up("", "", "").unwrap().home, "/");
}

#[test]
fn a_name_brings_its_groups_and_home() {
    assert_eq!(found("dev"), (1000, 1001, vec![1001, 10, 29], "/home/dev".into()));
    assert_eq!(found("1000"), (1000, 1001, vec![1001, 10, 29], "/home/dev".into()));
    assert_eq!(found("nohome").3, "/");
}

#[test]
fn a_number_needs_no_entry_and_a_name_goes_before_it() {
    assert_eq!(found("4242"), (4242, 0, vec![0], "/".into()));
    assert_eq!(found("5"), (77, 78, vec![78], "/five".into()));
}

#[test]
fn a_group_that_is_named_is_the_only_one() {
    assert_eq!(found("dev:wheel"), (1000, 10, vec![10], "/home/dev".into()));
    assert_eq!(found("dev:33").1, 33);
    assert_eq!(found("dev:6").1, 66);
    assert_eq!(found("dev:").1, 1001);
    assert_eq!(found(":wheel"), (0, 10, vec![10], "/root".into()));
}

#[test]
fn what_is_not_there_is_told() {
    let error = |user| look_up(user, PASSWD, GROUP).unwrap_err();
    assert_eq!(error("ghost"), IdentityError::User("ghost".into()));
    assert_eq!(error("wrong"), IdentityError::User("wrong".into()));
    // To the kernel that number means "as it was", which is root.
    assert_eq!(error("keeps"), IdentityError::User("keeps".into()));
    assert_eq!(error("keepsgroup"), IdentityError::User("keepsgroup".into()));
    assert_eq!(error("dev:keeps"), IdentityError::Group("keeps".into()));
    assert_eq!(error("daemon"), IdentityError::User("daemon".into()));
    assert_eq!(error("dev:ghosts"), IdentityError::Group("ghosts".into()));
    assert_eq!(error("-1"), IdentityError::User("-1".into()));
    assert_eq!(error("4294967295"), IdentityError::User("4294967295".into()));
}

#[test]
fn only_a_regular_file_is_read_and_only_so_much_of_it() {
    use super::read_database as read;
    let read_database = |path: &str| read(CWD, path, ResolveFlags::NO_MAGICLINKS);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("passwd"), "root:x:0:0\n").unwrap();
    assert_eq!(read_database(&path("passwd")), "root:x:0:0\n");
    assert_eq!(read_database(&path("absent")), "");
    assert_eq!(read_database(&path("")), "");
    // Would block for ever, if it were opened as a file is.
    rustix::fs::mkfifoat(CWD, path("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(read_database(&path("fifo")), "");
    std::os::unix::fs::symlink("/proc/self/exe", path("magic")).unwrap();
    assert_eq!(read_database(&path("magic")), "");
    let large = File::create(path("large")).unwrap();
    large.set_len(1 << 40).unwrap();
    assert_eq!(read_database(&path("large")).len() as u64, MAX_DATABASE_BYTES);
}

#[test]
fn another_roots_files_are_read_within_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = File::open(directory.path()).unwrap();
    let process = |user: &str, root_refused| ProcessSpec {
        program: protocol::Program::Named,
        args: Vec::new(),
        env: Vec::new(),
        cwd: String::new(),
        user: user.to_owned(),
        capabilities: protocol::Capabilities::default(),
        no_new_privileges: true,
        root_refused,
        rlimits: Vec::new(),
        stdio: protocol::Stdio::Pipes { stdin_port: None, stdout_port: 1, stderr_port: 2 },
    };
    let identity = |user: &str, refused| {
        Databases::read_below(&root).identity_of(&process(user, refused)).map(|it| it.uid)
    };
    // This machine's own has a root, to which a link of the other may not lead.
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("etc/link")).unwrap();
    assert_eq!(identity("root", false), Err(IdentityError::User("root".into())));
    std::fs::write(directory.path().join("etc/other"), "toor:x:0:0\ndev:x:7:7\n").unwrap();
    std::os::unix::fs::symlink("/etc/other", directory.path().join("etc/passwd")).unwrap();
    assert_eq!(identity("dev", true), Ok(7));
    assert_eq!(identity("toor", false), Ok(0));
    for user in ["toor", "", "0", "0:5", "00"] {
        assert_eq!(identity(user, true), Err(IdentityError::Root(user.into())));
    }
}

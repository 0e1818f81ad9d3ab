use super::*;

/// Writes files below a new directory.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    root
}

const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn the_smallest_limit_of_all_ancestors_counts() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/a/b\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/a/memory.max", "1000\n"),
        ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/b/memory.max", "2000\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/a/b/pids.max", "77\n"),
    ]);
    let limits = Limits::read(root.path());
    assert_eq!(
        limits,
        Limits { memory_bytes: Some(1000), cpu_micros: Some(1_500_000), pids: Some(77) }
    );
}

#[test]
fn a_namespace_of_its_own_sees_the_limit_at_the_root() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", V2_MOUNT),
        ("sys/fs/cgroup/memory.max", "5000\n"),
    ]);
    assert_eq!(Limits::read(root.path()).memory_bytes, Some(5000));
}

#[test]
fn a_mount_that_begins_at_the_container_is_read_at_its_top() {
    let root = tree(&[
        ("proc/self/cgroup", "0::/docker/abc\n"),
        ("proc/self/mountinfo", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
        ("sys/fs/cgroup/memory.max", "6000\n"),
    ]);
    assert_eq!(Limits::read(root.path()).memory_bytes, Some(6000));
}

#[test]
fn a_path_outside_the_mount_falls_back_to_its_top() {
    for path in ["/../..", "/elsewhere", "/../a"] {
        let root = tree(&[
            ("proc/self/cgroup", &format!("0::{path}\n")),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "7000\n"),
            ("sys/fs/a/memory.max", "1\n"),
        ]);
        assert_eq!(Limits::read(root.path()).memory_bytes, Some(7000), "{path}");
    }
}

#[test]
fn version_one_and_its_ways_of_saying_none() {
    let mountinfo = "\
31 23 0:27 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
32 23 0:28 /docker/x /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    let cgroup = "9:cpu,cpuacct:/docker/x\n5:memory:/docker/x\n0::/docker/x\n";
    let files = |memory: &'static str, quota: &'static str| {
        tree(&[
            ("proc/self/cgroup", cgroup),
            ("proc/self/mountinfo", mountinfo),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", memory),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ])
    };
    let limited = Limits::read(files("268435456\n", "50000\n").path());
    assert_eq!(
        limited,
        Limits { memory_bytes: Some(268_435_456), cpu_micros: Some(500_000), pids: None }
    );
    let unlimited = Limits::read(files("9223372036854771712\n", "-1\n").path());
    assert_eq!(unlimited, Limits::default());
}

#[test]
fn nothing_to_read_is_no_limit() {
    assert_eq!(Limits::read(tree(&[]).path()), Limits::default());
    let root =
        tree(&[("proc/self/cgroup", "::\n0\n"), ("proc/self/mountinfo", "x - cgroup2\n - \n")]);
    assert_eq!(Limits::read(root.path()), Limits::default());
}

#[test]
fn escapes_in_mount_points_are_undone() {
    let mounts = parse_mounts("30 23 0:26 / /a\\040b rw - cgroup2 c rw\n");
    assert_eq!(mounts, [Mount { root: "/".into(), at: "/a b".into(), version: Version::Two }]);
}

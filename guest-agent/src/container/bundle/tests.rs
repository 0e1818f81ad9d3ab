use super::*;
use protocol::{
    Capabilities, ContainerId, ContainerSpec, DiskExtent, Namespaces, ProcessId, ProcessSpec,
    Resources, Rootfs, Stdio, Upper,
};

fn spec() -> ContainerSpec {
    ContainerSpec {
        id: ContainerId::try_from("box".to_owned()).unwrap(),
        hostname: "inside".into(),
        network: None,
        rootfs: Rootfs {
            layers: vec![DiskExtent { offset: 0, length: 4096 }],
            upper: Upper::Disk(DiskExtent { offset: 0, length: 4096 }),
            readonly: true,
        },
        mounts: vec![protocol::Mount {
            destination: "/scratch".into(),
            source: MountSource::Tmpfs,
            options: vec!["size=1m".into(), "noexec".into()],
        }],
        namespaces: Namespaces::default(),
        devices: DeviceAccess::Standard,
        resources: Resources { memory_bytes: Some(1 << 20), ..Resources::default() },
        seccomp: None,
        apparmor: protocol::AppArmor::Unconfined,
        masked_paths: vec!["/proc/kcore".into()],
        readonly_paths: vec!["/proc/sys".into()],
        reaper: false,
        init_id: ProcessId::try_from("init".to_owned()).unwrap(),
        init: ProcessSpec {
            program: protocol::Program::Named,
            args: vec!["prog".into()],
            env: vec!["A=b".into()],
            cwd: "/work".into(),
            user: "dev".into(),
            capabilities: Capabilities::default(),
            no_new_privileges: true,
            root_refused: false,
            rlimits: Vec::new(),
            stdio: Stdio::Pipes { stdin_port: None, stdout_port: 1, stderr_port: 2 },
        },
    }
}

fn of(spec: &ContainerSpec, joined: &[(NamespaceKind, i32)]) -> Spec {
    let around = Surroundings {
        rootfs: Path::new("/r"),
        etc: Path::new("/e"),
        joined,
        users: None,
        network: None,
        directories: &[],
    };
    runtime_spec(spec, &around).unwrap()
}

fn options(spec: &Spec, destination: &str) -> Vec<String> {
    let mounts = spec.mounts().as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.destination() == Path::new(destination));
    mount.unwrap().options().clone().unwrap()
}

#[test]
fn the_container_is_told_of_and_its_process_is_not() {
    let made = of(&spec(), &[]);
    assert_eq!(made.hostname().as_deref(), Some("inside"));
    let root = made.root().as_ref().unwrap();
    assert_eq!((root.path().as_path(), root.readonly()), (Path::new("/r"), Some(true)));
    let linux = made.linux().as_ref().unwrap();
    assert_eq!(linux.cgroups_path().as_deref(), Some(Path::new("/cofferdam/box")));
    assert_eq!(linux.masked_paths().as_deref(), Some(&["/proc/kcore".to_owned()][..]));
    assert_eq!(linux.readonly_paths().as_deref(), Some(&["/proc/sys".to_owned()][..]));
    assert!(linux.resources().is_none() && linux.seccomp().is_none());
    let process = made.process().as_ref().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
    assert_eq!(process.cwd(), Path::new("/"));
    assert!(process.capabilities().is_none() && process.no_new_privileges().is_none());
    assert!(process.rlimits().is_none() && process.terminal() != Some(true));
}

#[test]
fn whatever_is_above_another_mount_is_mounted_before_it() {
    let mut asked = spec();
    let tmpfs = |destination: &str| protocol::Mount {
        destination: destination.into(),
        source: MountSource::Tmpfs,
        options: vec!["size=1m".into(), "noexec".into()],
    };
    asked.mounts = ["/a/b", "/dev/shm", "/a", "/etc", "/dev"].map(tmpfs).into();
    let made = of(&asked, &[]);
    let mounts = made.mounts().as_ref().unwrap();
    let destinations: Vec<_> =
        mounts.iter().map(|mount| mount.destination().to_str().unwrap()).collect();
    assert_eq!(
        destinations,
        [
            "/proc",
            "/sys",
            "/a",
            "/etc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/a/b",
            "/dev/shm",
            "/sys/fs/cgroup",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
        ]
    );
}

#[test]
fn the_files_of_etc_are_as_writable_as_the_root() {
    let made = of(&spec(), &[]);
    let mounts = made.mounts().as_ref().unwrap();
    let hosts = mounts.iter().find(|mount| mount.destination() == Path::new("/etc/hosts"));
    assert_eq!(hosts.unwrap().source().as_deref(), Some(Path::new("/e/hosts")));
    for name in ETC_FILES {
        assert_eq!(options(&made, &format!("/etc/{name}")), ["bind", "rprivate", "ro"]);
    }
    let mut writable = spec();
    writable.rootfs.readonly = false;
    assert_eq!(options(&of(&writable, &[]), "/etc/hosts"), ["bind", "rprivate", "rw"]);
}

#[test]
fn only_a_network_of_its_own_is_set_as_docker_sets_it() {
    let sysctl = |spec: &ContainerSpec| of(spec, &[]).linux().as_ref().unwrap().sysctl().clone();
    let set = sysctl(&spec()).unwrap();
    assert_eq!(set["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(set["net.ipv4.ping_group_range"], "0 2147483647");
    let namespaces = Namespaces { network: NamespaceRef::Guest, ..Namespaces::default() };
    assert_eq!(sysctl(&ContainerSpec { namespaces, ..spec() }), None);
}

#[test]
fn mounts_say_what_was_asked() {
    let made = of(&spec(), &[]);
    assert_eq!(options(&made, "/scratch"), ["size=1m", "noexec"]);
    assert!(options(&made, "/sys").contains(&"ro".to_owned()));
    assert!(options(&made, "/sys/fs/cgroup").contains(&"ro".to_owned()));
    let all = of(&ContainerSpec { devices: DeviceAccess::All, ..spec() }, &[]);
    assert!(options(&all, "/sys").contains(&"rw".to_owned()));
    assert!(options(&all, "/sys/fs/cgroup").contains(&"rw".to_owned()));
}

#[test]
fn each_namespace_is_new_or_the_guests_or_another_containers() {
    let other = NamespaceRef::Container(ContainerId::try_from("other".to_owned()).unwrap());
    let namespaces = Namespaces {
        pid: other.clone(),
        network: NamespaceRef::Guest,
        uts: other,
        ..Namespaces::default()
    };
    let spec = ContainerSpec { namespaces, ..spec() };
    let made = of(&spec, &[(NamespaceKind::Pid, 7), (NamespaceKind::Uts, 9)]);
    assert_eq!(made.hostname().as_deref(), None, "it has the other's");
    let linux = made.linux().as_ref().unwrap();
    let namespaces: Vec<_> = linux.namespaces().as_ref().unwrap().iter().collect();
    let kinds: Vec<_> = namespaces
        .iter()
        .map(|ns| (ns.typ(), ns.path().clone().map(PathBuf::into_os_string)))
        .collect();
    assert_eq!(
        kinds,
        [
            (LinuxNamespaceType::Mount, None),
            (LinuxNamespaceType::Pid, Some("/proc/self/fd/7".into())),
            (LinuxNamespaceType::Uts, Some("/proc/self/fd/9".into())),
            (LinuxNamespaceType::Ipc, None),
            (LinuxNamespaceType::Cgroup, None),
        ]
    );
}

#[test]
fn a_user_namespace_is_joined_and_has_only_its_own_groups() {
    let around = Surroundings {
        rootfs: Path::new("/r"),
        etc: Path::new("/e"),
        joined: &[],
        users: Some(5),
        network: None,
        directories: &[],
    };
    let made = runtime_spec(&spec(), &around).unwrap();
    let linux = made.linux().as_ref().unwrap();
    let last = linux.namespaces().as_ref().unwrap().last().unwrap().clone();
    assert_eq!(last.typ(), LinuxNamespaceType::User);
    assert_eq!(last.path().as_deref(), Some(Path::new("/proc/self/fd/5")));
    assert_eq!(linux.sysctl().as_ref().unwrap()["net.ipv4.ping_group_range"], "0 65535");
    assert!(linux.uid_mappings().is_none(), "it has them already");
}

#[test]
fn a_network_namespace_that_is_made_already_is_joined() {
    let around = Surroundings {
        rootfs: Path::new("/r"),
        etc: Path::new("/e"),
        joined: &[],
        users: None,
        network: Some(7),
        directories: &[],
    };
    let made = runtime_spec(&spec(), &around).unwrap();
    let linux = made.linux().as_ref().unwrap();
    let paths = linux.namespaces().as_ref().unwrap().iter().filter(|it| it.path().is_some());
    let paths: Vec<_> = paths.map(|it| (it.typ(), it.path().clone().unwrap())).collect();
    assert_eq!(paths, [(LinuxNamespaceType::Network, PathBuf::from("/proc/self/fd/7"))]);
    // Whoever has made it has set it.
    assert_eq!(linux.sysctl(), &None);
}

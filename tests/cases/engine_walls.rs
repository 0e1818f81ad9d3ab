//! The walls around the launcher, as real engines build them: our own profiles in place of theirs, and what
//! `--require-walls` makes of each that is taken away.

use super::engines::{device_and_group, sandbox};
use crate::cases;
use crate::harness::engine::Engine;
use crate::harness::{World, native_kvm, workspace};
use std::os::unix::fs::chown;
use std::process::Command;

cases! {
    Outer: docker_under_our_seccomp_profile, podman_under_our_seccomp_profile,
        docker_under_our_apparmor_profile, docker_has_all_walls, podman_has_all_walls,
        docker_without_one_wall_is_refused;
}

/// Everything that a run takes: an image unpacked, streams, a disk that is kept.
const JOB: &str = "read line; echo $line; dd if=/dev/zero of=/big bs=1M count=4 2> /dev/null; sync";

fn under_our_seccomp_profile(engine: Engine, world: &World) {
    let profile = world.scratch_file("seccomp.json");
    let json = world.command(&["seccomp-profile"]);
    std::fs::write(&profile, &json.exits(0).stdout).unwrap();
    let option = format!("seccomp={}", profile.display());
    let flags = [&device_and_group()[..], &["-i", "--security-opt", &option]].concat();
    // Before anything is in its store, and once more.
    let state = format!("profile-{engine:?}").to_lowercase();
    for rm in [true, false] {
        let mut arguments = sandbox(&["-i"], JOB);
        arguments.retain(|word| rm || *word != "--rm");
        let command = engine.launcher_with_state(world, &state, &flags, &arguments);
        let output = crate::harness::Running::start(command, Some(b"heard\n".to_vec())).wait();
        output.prints("heard");
        assert_eq!(output.stderr, "");
    }
    // All that can be done to files of a shared directory.
    let shared = world.fresh_state();
    chown(&shared, Some(1000), Some(1000)).unwrap();
    let mount = format!("{}:/work", shared.display());
    let flags_and_mount = [&flags[..], &["-v", &mount]].concat();
    let script = "guest-tool posix /src | grep -v -e ': yes$' -e ' extended attribute '";
    let output = engine.run(world, &flags_and_mount, &sandbox(&["-v", "/work:/src"], script));
    let differs = output.exits(0).text().lines().count();
    assert_eq!(differs, 2, "{}", output.text());
    // It is in force: what Docker's profile allows is denied.
    let doctor = engine.run(world, &flags, &["doctor", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&doctor.exits(0).stdout).unwrap();
    assert_eq!(native_kvm::check(&said, "seccomp"), Some("ok"), "{said}");
}

fn docker_under_our_seccomp_profile(world: &World) {
    under_our_seccomp_profile(Engine::Docker, world);
}

fn podman_under_our_seccomp_profile(world: &World) {
    under_our_seccomp_profile(Engine::Podman, world);
}

fn docker_under_our_apparmor_profile(world: &World) {
    let profile = workspace().join("outer-container/apparmor/cofferdam");
    let loaded = Command::new("apparmor_parser").arg("--replace").arg(&profile).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let flags = [&device_and_group()[..], &["--security-opt", "apparmor=cofferdam"]].concat();
    let doctor = Engine::Docker.run(world, &flags, &["doctor"]);
    doctor.exits(0).shows("cofferdam (enforce)");
    Engine::Docker.run(world, &flags, &sandbox(&[], "echo in; exit 5")).exits(5).shows("in");
    // A place that Docker's own profile lets it write to, and this one does not.
    let elsewhere = ["--state-dir", "/dev/shm/state"];
    Engine::Docker.run(world, &device_and_group(), &sandbox(&elsewhere, "true")).exits(0);
    let denied = Engine::Docker.run(world, &flags, &sandbox(&elsewhere, "true"));
    denied.exits(125).complains(&["/dev/shm/state", "ermission denied"]);
}

fn has_all_walls(engine: Engine, world: &World) {
    let arguments = sandbox(&["--require-walls"], "echo walled");
    engine.run(world, &device_and_group(), &arguments).prints("walled");
}

fn docker_has_all_walls(world: &World) {
    has_all_walls(Engine::Docker, world);
}

fn podman_has_all_walls(world: &World) {
    has_all_walls(Engine::Podman, world);
}

fn docker_without_one_wall_is_refused(world: &World) {
    let taken: [(&[&str], &str, &str); 3] = [
        (&["--user", "0:0"], "root (uid 0)", "--user"),
        (&["--security-opt", "seccomp=unconfined"], "filters no system calls", "seccomp"),
        (&["--read-only=false"], "can be written to", "--read-only"),
    ];
    for (flags, names, helps) in taken {
        let flags = [&device_and_group()[..], flags].concat();
        let required = sandbox(&["--require-walls"], "echo never");
        let output = Engine::Docker.run(world, &flags, &required);
        output.exits(125).complains(&["--require-walls", names, "hint:", helps]);
        assert_eq!(output.text(), "");
    }
}
